//! The state of a network before its first step.
//!
//! As in pytorch_fnet: weights of convolutions are normal (0, 0.02), those of batch
//! normalisation normal (1, 0.02); biases of convolutions stay as PyTorch made them,
//! uniform within 1 / sqrt(fan-in).
//!
//! Reference: G. L. Steele, D. Lea, C. H. Flood (2014), "Fast splittable pseudorandom
//! number generators": the generator.

use super::parameters::{EntryKind, Layout};

/// Standard deviation of all normal draws.
const STANDARD_DEVIATION: f64 = 0.02;

/// Makes (parameters, buffers), a pure function of layout and seed.
pub(super) fn initial_state(layout: &Layout, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut parameters = Vec::with_capacity(layout.len(EntryKind::Trainable));
    let mut buffers = Vec::with_capacity(layout.len(EntryKind::Buffer));
    let mut random = Random { state: seed };
    // A bias follows its weights, whose shape tells the fan-in: axis 1 is the input
    // channels of a convolution and, as in PyTorch, the output ones of a transposed one.
    let mut bound = 0.0;
    for entry in &layout.entries {
        let count = entry.range.len();
        let is_norm = entry.name.contains(".bn");
        let part = entry.name.rsplit('.').next();
        match part {
            Some("running_mean") => buffers.extend(vec![0.0; count]),
            Some("running_var") => buffers.extend(vec![1.0; count]),
            Some("bias") if is_norm => parameters.extend(vec![0.0; count]),
            Some("bias") => parameters.extend((0..count).map(|_| random.uniform(bound))),
            _ if is_norm => parameters.extend((0..count).map(|_| random.normal(1.0))),
            _ => {
                let fan_in: usize = entry.shape[1..].iter().product();
                bound = 1.0 / (fan_in as f64).sqrt();
                parameters.extend((0..count).map(|_| random.normal(0.0)));
            }
        }
    }
    (parameters, buffers)
}

/// SplitMix64.
struct Random {
    state: u64,
}

impl Random {
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// Uniform in (-bound, bound).
    fn uniform(&mut self, bound: f64) -> f32 {
        ((2.0 * self.unit() - 1.0) * bound) as f32
    }

    /// Normal about a mean, by the Box-Muller transform.
    fn normal(&mut self, mean: f64) -> f32 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        let angle = std::f64::consts::TAU * self.unit();
        (mean + STANDARD_DEVIATION * radius * angle.cos()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::super::FnetOptions;
    use super::*;

    fn mean_and_deviation(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn distributions_are_those_of_the_reference() {
        let layout = Layout::new(&FnetOptions { width: 16, depth: 2, ..FnetOptions::default() });
        let (parameters, buffers) = initial_state(&layout, 1);
        let values = |name: &str| {
            let entry = layout.entries.iter().find(|entry| entry.name == name).unwrap();
            match entry.kind {
                EntryKind::Trainable => &parameters[entry.range.clone()],
                EntryKind::Buffer => &buffers[entry.range.clone()],
            }
        };
        let (mean, deviation) =
            mean_and_deviation(values("net_recurse.sub_2conv_less.conv1.weight"));
        assert!(mean.abs() < 5e-4 && (deviation - 0.02).abs() < 5e-4, "{mean} {deviation}");
        let (mean, deviation) = mean_and_deviation(values("net_recurse.sub_u.bn0.weight"));
        assert!((mean - 1.0).abs() < 0.02 && deviation < 0.04, "{mean} {deviation}");
        assert!(values("net_recurse.bn1.bias").iter().all(|v| *v == 0.0));
        assert!(values("net_recurse.bn1.running_var").iter().all(|v| *v == 1.0));
        // 32 input channels of 2x2x2 for the transposed convolution, but PyTorch counts 16.
        let bound = 1.0 / (16.0_f32 * 8.0).sqrt();
        let bias = values("net_recurse.convt.bias");
        assert!(
            bias.iter().all(|v| v.abs() <= bound) && bias.iter().any(|v| v.abs() > bound / 2.0)
        );
    }

    #[test]
    fn seed_decides_everything() {
        let layout = Layout::new(&FnetOptions { width: 2, depth: 1, ..FnetOptions::default() });
        assert_eq!(initial_state(&layout, 7), initial_state(&layout, 7));
        assert_ne!(initial_state(&layout, 7), initial_state(&layout, 8));
    }
}
