//! From a curve of correlation to a resolution.
//!
//! The curve falls with the frequency; where it crosses a threshold, 1/7 by custom, the
//! images no longer agree. Noisy curves are read between points by straight lines or from a
//! smoothing spline.

use super::spline::smoothing_spline;
use super::{CurveFit, FourierRecipe};

/// Steps in which a fitted curve is searched for a crossing.
const STEPS: usize = 1024;

/// Halvings of the step that holds it.
const BISECTIONS: usize = 50;

/// Correlation of two images by spatial frequency.
#[derive(Clone, Debug, PartialEq)]
pub struct FourierCurve {
    /// Spatial frequency as a part of the highest; where in the bin is said by the recipe.
    pub frequency: Vec<f64>,
    /// Correlation of the coefficients in the bin, averaged over both splits.
    pub correlation: Vec<f64>,
    /// Coefficients in the bin.
    pub points: Vec<usize>,
}

/// The frequency at which the curve falls through the threshold; NaN where it does not, or
/// begins below.
pub(super) fn crossing(
    curve: &FourierCurve,
    recipe: FourierRecipe,
    threshold: f64,
    fit: CurveFit,
) -> f64 {
    match fit {
        CurveFit::Linear => linear_crossing(&curve.frequency, &curve.correlation, threshold),
        CurveFit::SmoothingSpline(limit) => {
            let (frequency, correlation) = (&curve.frequency, &curve.correlation);
            let Some(spline) = smoothing_spline(frequency, correlation, limit) else {
                return f64::NAN;
            };
            // miplib looks for the first point below the threshold, cubic for the first place
            // of a point where the fitted curve is.
            let fitted = frequency.iter().map(|f| spline.at(*f));
            let start = match recipe {
                FourierRecipe::Miplib => first_below(correlation.iter().copied(), threshold),
                FourierRecipe::Cubic => first_below(fitted, threshold),
            };
            let Some(start) = start.and_then(|first| first.checked_sub(1)) else {
                return f64::NAN;
            };
            nearest_crossing(|f| spline.at(f) - threshold, frequency[start])
        }
    }
}

/// The checkerboard of a single image shifts its halves by half a pixel and blurs them; this
/// is how much too coarse the resolution comes out, by the frequency of the crossing.
///
/// From S. Koho et al. (2019), supplementary note 2: fitted at the threshold 1/7.
pub(super) fn calibration(crossing: f64) -> f64 {
    0.959_881_46 * (13.904_418_96 * (crossing - 0.979_791_08)).exp() + 0.551_461_36
}

fn first_below(mut values: impl Iterator<Item = f64>, threshold: f64) -> Option<usize> {
    values.position(|value| value <= threshold)
}

fn linear_crossing(frequency: &[f64], correlation: &[f64], threshold: f64) -> f64 {
    let below = first_below(correlation.iter().copied(), threshold);
    match below {
        None | Some(0) => f64::NAN,
        Some(i) => {
            let (high, low) = (correlation[i - 1], correlation[i]);
            let share = (high - threshold) / (high - low);
            frequency[i - 1] + share * (frequency[i] - frequency[i - 1])
        }
    }
}

/// The root next to a start: above it where the curve is positive there, else below it.
fn nearest_crossing(excess: impl Fn(f64) -> f64, start: f64) -> f64 {
    let rising = excess(start) > 0.0;
    let end = if rising { 1.0 } else { 0.0 };
    let place = |step: usize| start + (end - start) * step as f64 / STEPS as f64;
    let Some(step) = (1..=STEPS).find(|step| (excess(place(*step)) > 0.0) != rising) else {
        return f64::NAN;
    };
    let (mut near, mut far) = (place(step - 1), place(step));
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (near + far);
        if (excess(middle) > 0.0) == rising { near = middle } else { far = middle }
    }
    0.5 * (near + far)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(correlation: &[f64]) -> FourierCurve {
        let frequency = (0..correlation.len()).map(|i| i as f64 / correlation.len() as f64);
        FourierCurve {
            frequency: frequency.collect(),
            correlation: correlation.to_vec(),
            points: vec![1; correlation.len()],
        }
    }

    fn check(correlation: &[f64], linear: f64, spline: f64) {
        let near = |found: f64, expected: f64| {
            (found.is_nan() && expected.is_nan()) || (found - expected).abs() < 1e-6
        };
        let curve = curve(correlation);
        let find = |fit| crossing(&curve, FourierRecipe::Miplib, 0.25, fit);
        let found = [find(CurveFit::Linear), find(CurveFit::SmoothingSpline(0.25))];
        assert!(near(found[0], linear) && near(found[1], spline), "{found:?}");
    }

    #[test]
    fn crossings() {
        // A straight line is its own spline.
        check(&[1.0, 0.8, 0.6, 0.4, 0.2], 0.75, 0.75);
        check(&[1.0, 0.8, 0.6, 0.4, 0.3], f64::NAN, f64::NAN);
        check(&[0.2, 0.8, 0.6, 0.4, 0.2], f64::NAN, f64::NAN);
        check(&[1.0, 0.0, 0.0], 0.25, f64::NAN);
        check(&[], f64::NAN, f64::NAN);
    }

    // Protocol of the paper: crossings at 0.80, 0.84, 0.88 and 0.92 of a voxel of 0.29 µm.
    #[test]
    fn calibration_table() {
        let expected = [1.150, 1.002, 0.833, 0.650];
        for (crossing, expected) in [0.80, 0.84, 0.88, 0.92].into_iter().zip(expected) {
            let found = 2.0 * 0.29 / crossing / calibration(crossing);
            assert!((found - expected).abs() < 6e-4, "{found}, expected {expected}");
        }
    }
}
