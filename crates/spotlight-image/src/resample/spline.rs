//! B-splines along one axis: coefficients from samples, samples from coefficients.
//!
//! An interpolating cubic spline is a sum of B-splines whose coefficients follow from the
//! samples by one recursion forwards and one backwards (pole sqrt(3) - 2, gain 6). Where
//! the recursion starts depends on how the image goes on beyond its edge.
//!
//! References:
//! - M. Unser, A. Aldroubi, M. Eden (1991), "Fast B-spline transforms for continuous image
//!   representation and interpolation", IEEE PAMI 13(3).
//! - P. Virtanen et al. (2020), SciPy, whose `scipy.ndimage.zoom` this follows.

use crate::Border;
use crate::lines::{LANES, Lanes};

/// The pole of the cubic recursion, sqrt(3) - 2.
const POLE: f64 = -0.267_949_192_431_122_7;

/// Terms of the starting sum below this are lost in f64 anyway.
const NEGLIGIBLE: f64 = 1e-20;

/// How to turn the samples of a line into cubic spline coefficients.
pub(crate) struct Prefilter {
    /// The first coefficient of the forward pass as a weighted sum of the first samples.
    first: Vec<f64>,
    /// The last coefficient of the backward pass: weights of the last sample and of the
    /// one before.
    last: [f64; 2],
}

impl Prefilter {
    /// For lines of this many samples.
    ///
    /// [`Border::Reflect`] and [`Border::Nearest`] mirror at the outer face of the last
    /// voxel, the others at its centre, as in SciPy.
    pub(crate) fn new(border: Border, length: usize) -> Self {
        let power = |exponent: usize| POLE.powi(exponent.min(10_000) as i32);
        let (period, last, lead) = match border {
            Border::Reflect | Border::Nearest => (2 * length, [POLE / (POLE - 1.0), 0.0], POLE),
            Border::Mirror | Border::Constant(_) | Border::Cutoff(_) => {
                let weight = POLE / (POLE * POLE - 1.0);
                ((2 * length).saturating_sub(2), [weight, POLE * weight], 1.0)
            }
        };
        let whole_period = 1.0 - power(period);
        let outer_face = usize::from(lead != 1.0);
        let mut first: Vec<f64> = (0..length)
            .map(|i| {
                let back = period - outer_face - i;
                // The two ends of a line mirrored at voxel centres occur once a period.
                let twice = outer_face == 1 || (i > 0 && i + 1 < length);
                let weight = power(i) + if twice { power(back) } else { 0.0 };
                lead * weight / whole_period
            })
            .take_while(|weight| weight.abs() > NEGLIGIBLE)
            .collect();
        if let (1, Some(own)) = (outer_face, first.first_mut()) {
            *own += 1.0;
        }
        Self { first, last }
    }

    /// Replaces samples by coefficients.
    pub(crate) fn apply(&self, line: &mut [Lanes]) {
        let count = line.len();
        if count < 2 {
            return;
        }
        let mut before = [0.0; LANES];
        for (sample, weight) in line.iter().zip(&self.first) {
            for lane in 0..LANES {
                before[lane] += 6.0 * weight * sample[lane];
            }
        }
        line[0] = before;
        for sample in &mut line[1..] {
            for lane in 0..LANES {
                before[lane] = 6.0 * sample[lane] + POLE * before[lane];
            }
            *sample = before;
        }
        let mut after: Lanes = std::array::from_fn(|lane| {
            self.last[0] * line[count - 1][lane] + self.last[1] * line[count - 2][lane]
        });
        line[count - 1] = after;
        for sample in line[..count - 1].iter_mut().rev() {
            for lane in 0..LANES {
                after[lane] = POLE * (after[lane] - sample[lane]);
            }
            *sample = after;
        }
    }
}

/// Weights of the four coefficients around a place `fraction` past the second of them.
pub(crate) fn cubic_weights(fraction: f64) -> [f64; 4] {
    let near = |distance: f64| (distance * distance * (distance - 2.0) * 3.0 + 4.0) / 6.0;
    let rest = 1.0 - fraction;
    let (first, second, third) = (rest * rest * rest / 6.0, near(fraction), near(rest));
    [first, second, third, 1.0 - first - second - third]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(samples: &[f64]) -> Vec<Lanes> {
        samples.iter().map(|v| [*v; LANES]).collect()
    }

    /// The spline through the coefficients takes the sample values at whole positions.
    #[track_caller]
    fn check(border: Border, folds_as: Border, samples: &[f64]) {
        let mut line = lanes(samples);
        Prefilter::new(border, samples.len()).apply(&mut line);
        for (i, sample) in samples.iter().enumerate() {
            let at =
                |offset: isize| line[folds_as.inside(i as isize + offset, line.len()).unwrap()][0];
            let found = (at(-1) + 4.0 * at(0) + at(1)) / 6.0;
            assert!((found - sample).abs() < 1e-12, "{border:?} at {i}: {found}, want {sample}");
        }
    }

    #[test]
    fn coefficients_interpolate() {
        let samples: Vec<f64> = (0..80).map(|i| ((i * i) % 17) as f64 - 5.0).collect();
        for length in [2, 3, 4, 7, 80] {
            check(Border::Mirror, Border::Mirror, &samples[..length]);
            check(Border::Constant(1.0), Border::Mirror, &samples[..length]);
            check(Border::Reflect, Border::Reflect, &samples[..length]);
            check(Border::Nearest, Border::Reflect, &samples[..length]);
        }
    }

    #[test]
    fn weights_sum_to_one_and_are_symmetric() {
        for fraction in [0.0, 0.25, 0.5, 0.9] {
            let (there, back) = (cubic_weights(fraction), cubic_weights(1.0 - fraction));
            assert!((there.iter().sum::<f64>() - 1.0).abs() < 1e-15);
            for i in 0..4 {
                assert!((there[i] - back[3 - i]).abs() < 1e-15);
            }
        }
    }
}
