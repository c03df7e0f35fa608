//! Random numbers that are the same on every machine.
//!
//! Everything is SplitMix64: a counter passed through a mixing function. Streams
//! are told apart by a number, so each object, plane or row draws from its own
//! stream and the result does not depend on the order in which threads run.
//!
//! Reference: G. L. Steele, D. Lea and C. H. Flood (2014), "Fast splittable
//! pseudorandom number generators".

/// Step of the counter: the odd number nearest 2⁶⁴ divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Above this mean a Poisson number is drawn as a rounded normal one.
const NORMAL_ABOVE: f64 = 40.0;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    spare_normal: Option<f64>,
}

impl Random {
    /// The stream of this number under this seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let state = mix(mix(seed.wrapping_add(STEP)) ^ stream.wrapping_mul(STEP));
        Self { state, spare_normal: None }
    }

    /// Any 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        unit_from_bits(self.bits())
    }

    /// Uniform in [low, high).
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// Normal with mean 0 and standard deviation 1 (the polar method).
    pub(super) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let (u, v) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let square = u * u + v * v;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare_normal = Some(v * factor);
                return u * factor;
            }
        }
    }

    /// A number of photons where `mean` are expected.
    pub(super) fn poisson(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        if mean > NORMAL_ABOVE {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        // Walk up the cumulative distribution until it passes a uniform number.
        let (mut count, mut term) = (0.0, (-mean).exp());
        let mut left = self.unit() - term;
        while left > 0.0 && term > 1e-18 {
            count += 1.0;
            term *= mean / count;
            left -= term;
        }
        count
    }

    /// A direction, uniform on the sphere.
    pub(super) fn direction(&mut self) -> [f64; 3] {
        loop {
            let point: [f64; 3] = std::array::from_fn(|_| self.between(-1.0, 1.0));
            let length = point.iter().map(|p| p * p).sum::<f64>().sqrt();
            if length > 0.1 && length <= 1.0 {
                return point.map(|p| p / length);
            }
        }
    }
}

/// SplitMix64's mixing function.
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn unit_from_bits(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_moments(mut draw: impl FnMut() -> f64, mean: f64, variance: f64) {
        const DRAWS: usize = 40_000;
        let values: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
        let found = values.iter().sum::<f64>() / DRAWS as f64;
        let spread = values.iter().map(|v| (v - found).powi(2)).sum::<f64>() / DRAWS as f64;
        // Five standard errors of the mean; the variance to 5 %.
        let tolerance = 5.0 * (variance / DRAWS as f64).sqrt();
        assert!((found - mean).abs() < tolerance, "mean {found}, want {mean}");
        assert!((spread / variance - 1.0).abs() < 0.05, "variance {spread}, want {variance}");
    }

    // First outputs of SplitMix64 with seed 1234567, as published with the Java
    // and C reference programs.
    #[test]
    fn splitmix_reference() {
        let mut random = Random { state: 1_234_567, spare_normal: None };
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }
    #[test]
    fn uniform() {
        let mut random = Random::new(1, 1);
        check_moments(|| random.unit(), 0.5, 1.0 / 12.0);
    }
    #[test]
    fn normal() {
        let mut random = Random::new(1, 2);
        check_moments(|| random.normal(), 0.0, 1.0);
    }
    #[test]
    fn poisson() {
        for mean in [0.3, 4.0, 39.0, 400.0] {
            let mut random = Random::new(1, 3);
            check_moments(|| random.poisson(mean), mean, mean);
        }
    }
    #[test]
    fn streams_differ() {
        assert_ne!(Random::new(0, 0).bits(), Random::new(0, 1).bits());
        assert_ne!(Random::new(0, 0).bits(), Random::new(1, 0).bits());
    }
}
