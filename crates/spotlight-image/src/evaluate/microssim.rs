//! MicroSSIM and MicroMS3IM: structural similarity for microscopy, free of offset and gain.
//!
//! Both subtract the background, divide by one range and multiply the prediction by a factor
//! α that serves it best, then compare plane by plane. Offsets, range and α are those of a
//! whole data set, so that one fit serves all images that are to be compared:
//!
//! ```text
//! o_t, o_p = 3rd percentile of all targets, of all predictions;  m = max(targets) − o_t
//! t = (target − o_t) / m,  p = (prediction − o_p) / m
//! α = argmax of the mean over all windows of
//!     (2α u_t u_p + C1) (2α c + C2) / ((u_t² + α² u_p² + C1) (v_t + α² v_p + C2))
//! ```
//!
//! with 7×7 windows inside each plane; [`micro_fit`](super::micro_fit()) finds them. "MS3IM" is
//! multi-scale structural similarity of planes; nothing in it is 3D.
//!
//! References:
//! - A. Ashesh, J. Deschamps, F. Jug (2024), "MicroSSIM: improved structural similarity for
//!   comparing microscopy data".
//! - microssim 0.0.5, `MicroSSIM` and `MicroMS3IM`.

use rayon::prelude::*;

use super::micro_fit::MicroFit;
use super::ms_ssim::{MsSsim, multi_scale};
use super::ssim::{Ssim, similarity_of_planes};
use super::window::{Means, Window};
use crate::{Border, Volume};

/// The three factors of MicroSSIM, each the mean over a plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MicroComponents {
    /// Agreement of the local means.
    pub luminance: f64,
    /// Agreement of the local standard deviations.
    pub contrast: f64,
    /// Correlation.
    pub structure: f64,
}

/// MicroSSIM of every plane; NaN for a plane whose target is constant or that is smaller
/// than the window of 11×11.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn micro_ssim(target: &Volume<f32>, prediction: &Volume<f32>, fit: &MicroFit) -> Vec<f64> {
    let options = Ssim { window: Window::Gaussian(1.5), ..Ssim::default() };
    let scores = of_planes(target, prediction, fit, |target, prediction, range| {
        let planes = similarity_of_planes(target, prediction, range, &options);
        [planes[0][0] / planes[0][1]]
    });
    scores.into_iter().map(|[score]| score).collect()
}

/// MicroMS3IM of every plane; NaN for a plane whose target is constant or that is too small
/// for its scales: with the five of the default an extent below 176.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{MsSsim, mean_of_defined, micro_fit, micro_ms3im};
///
/// let mut target = Volume::from_fn([2, 176, 176], |[z, y, x]| ((7 * z + y * x) % 23) as f32);
/// target.voxels[..176 * 176].fill(4.0);
/// let fit = micro_fit(&[(&target, &target)], 3.0);
/// let planes = micro_ms3im(&target, &target, &fit, &MsSsim::default());
/// assert!(planes[0].is_nan());
/// let (mean, left_out) = mean_of_defined(&planes);
/// assert!((mean - 1.0).abs() < 1e-9 && left_out == 1);
/// ```
#[must_use]
pub fn micro_ms3im(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    fit: &MicroFit,
    options: &MsSsim,
) -> Vec<f64> {
    let scores = of_planes(target, prediction, fit, |target, prediction, range| {
        [multi_scale(target, prediction, range, options)]
    });
    scores.into_iter().map(|[score]| score).collect()
}

/// The factors of [`micro_ssim`] of every plane, NaN where that is.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn micro_components(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    fit: &MicroFit,
) -> Vec<MicroComponents> {
    let components = of_planes(target, prediction, fit, |target, prediction, range| {
        let [c1, c2] = [(0.01 * range).powi(2), (0.03 * range).powi(2)];
        let means = Means::new(target.shape, Window::Gaussian(1.5), Border::Reflect);
        let planes = [target.voxels.as_slice(), &prediction.voxels];
        let voxel = |i: usize| planes.map(|plane| plane[i]);
        let [luminance, contrast, structure, count] =
            interior_sums(&means, target.shape, voxel, |statistics| {
                let [u_t, u_p, v_t, v_p, c] = statistics;
                let deviations = 2.0 * (v_t * v_p).max(0.0).sqrt() + c2;
                [
                    (2.0 * u_t * u_p + c1) / (u_t * u_t + u_p * u_p + c1),
                    deviations / (v_t + v_p + c2),
                    (2.0 * c + c2) / deviations,
                    1.0,
                ]
            });
        [luminance / count, contrast / count, structure / count]
    });
    let named = |[luminance, contrast, structure]: [f64; 3]| MicroComponents {
        luminance,
        contrast,
        structure,
    };
    components.into_iter().map(named).collect()
}

/// Mean of the numbers that are defined (NaN if none is), and how many were left out.
#[must_use]
pub fn mean_of_defined(values: &[f64]) -> (f64, usize) {
    let defined: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let mean = defined.iter().sum::<f64>() / defined.len() as f64;
    (mean, values.len() - defined.len())
}

/// Calls `score` with every plane of both images normalised and the range of the target's;
/// all is NaN where the target's is constant.
fn of_planes<const N: usize>(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    fit: &MicroFit,
    score: impl Fn(&Volume<f64>, &Volume<f64>, f64) -> [f64; N] + Sync,
) -> Vec<[f64; N]> {
    assert_eq!(target.shape, prediction.shape, "images to compare must have one shape");
    let [planes, rows, columns] = target.shape;
    let normalised = |plane: &[f32], offset: f64, gain: f64| {
        let voxels = plane.iter().map(|voxel| (f64::from(*voxel) - offset) * gain).collect();
        Volume::new([1, rows, columns], voxels)
    };
    let of_plane = |z: usize| {
        let range = plane_range(target.plane(z)) / fit.range;
        if fit.factor.is_nan() || range.is_nan() || range <= 0.0 {
            return [f64::NAN; N];
        }
        let gain = 1.0 / fit.range;
        let target = normalised(target.plane(z), fit.offset_target, gain);
        let gain = fit.factor / fit.range;
        let prediction = normalised(prediction.plane(z), fit.offset_prediction, gain);
        score(&target, &prediction, range)
    };
    (0..planes).into_par_iter().map(of_plane).collect()
}

/// Largest less smallest voxel.
pub(super) fn plane_range(plane: &[f32]) -> f64 {
    let ends = (f32::INFINITY, f32::NEG_INFINITY);
    let (low, high) = plane.iter().fold(ends, |(low, high), v| (low.min(*v), high.max(*v)));
    f64::from(high) - f64::from(low)
}

/// Sums over the windows inside a plane of what `values` makes of their statistics: mean of
/// the target, mean of the prediction, variance of each, covariance.
pub(super) fn interior_sums<const N: usize>(
    means: &Means,
    shape: [usize; 3],
    voxel: impl Fn(usize) -> [f64; 2],
    values: impl Fn([f64; 5]) -> [f64; N],
) -> [f64; N] {
    let mut total = [0.0; N];
    if !means.fits() {
        return total;
    }
    let [_, in_y, in_x] = means.radius();
    let count = ((2 * in_y + 1) * (2 * in_x + 1)) as f64;
    let unbias = count / (count - 1.0);
    let terms = |i: usize| {
        let [t, p] = voxel(i);
        [t, p, t * t, p * p, t * p]
    };
    means.of_plane(0, terms, |y, row| {
        if (in_y..shape[1] - in_y).contains(&y) {
            for [t, p, tt, pp, tp] in &row[in_x..shape[2] - in_x] {
                let variances = [tt - t * t, pp - p * p, tp - t * p].map(|v| unbias * v);
                let values = values([*t, *p, variances[0], variances[1], variances[2]]);
                total.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
    });
    total
}

#[cfg(test)]
mod tests {
    use super::super::micro_fit::micro_fit;
    use super::*;

    fn texture(shape: [usize; 3]) -> Volume<f32> {
        Volume::from_fn(shape, |[z, y, x]| ((7 * z + 3 * y * y + 5 * x + y * x) % 29) as f32)
    }

    #[test]
    fn gain_and_offset_do_not_count() {
        let target = texture([3, 24, 26]);
        let fit = micro_fit(&[(&target, &target)], 3.0);
        assert!((fit.factor - 1.0).abs() < 1e-12, "{fit:?}");
        for (gain, offset) in [(1e-4, 0.0), (40.0, -7.0), (1.5, 1e3)] {
            let prediction = target.map(|v| gain * v + offset);
            let fit = micro_fit(&[(&target, &prediction)], 3.0);
            assert!((fit.factor * f64::from(gain) - 1.0).abs() < 1e-4, "{gain}: {fit:?}");
            let scores = micro_ssim(&target, &prediction, &fit);
            assert!(scores.iter().all(|score| (score - 1.0).abs() < 1e-4), "{scores:?}");
        }
    }

    #[test]
    fn the_last_plane_that_varies_gives_the_constants() {
        let target = texture([3, 20, 20]);
        let mut masked = target.clone();
        masked.voxels[800..].fill(0.0);
        let fit = micro_fit(&[(&masked, &masked)], 3.0);
        assert!((fit.factor - 1.0).abs() < 1e-12, "{fit:?}");
        let scores = micro_ssim(&masked, &masked, &fit);
        assert!(scores[2].is_nan() && mean_of_defined(&scores).1 == 1, "{scores:?}");
        let of_plane = micro_components(&masked, &masked, &fit);
        assert!(of_plane[2].structure.is_nan());
        assert!((of_plane[0].structure - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_fit() {
        let flat = Volume::filled([2, 20, 20], 3.0);
        let fit = micro_fit(&[(&flat, &texture([2, 20, 20]))], 3.0);
        assert!(fit.factor.is_nan());
        let scores = micro_ms3im(&flat, &flat, &fit, &MsSsim::default());
        assert!(scores.iter().all(|score| score.is_nan()));
        assert!(mean_of_defined(&scores).0.is_nan());
        let tiny = texture([1, 5, 5]);
        assert!(micro_fit(&[(&tiny, &tiny)], 3.0).factor.is_nan());
        assert!(micro_fit(&[], 3.0).factor.is_nan());
    }
}
