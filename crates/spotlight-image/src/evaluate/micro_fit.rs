//! The fit of MicroSSIM and MicroMS3IM to a data set, which need not be in memory.
//!
//! ```text
//! passes 1 and 2  percentiles of both sides; the range of the last plane
//! further passes  the slope of the mean similarity at a factor, until it is 0
//! ```
//!
//! Each pass sees the pairs one after the other in the same order, so that a caller may read
//! them from files again each time. The slope is followed to its root by Newton's method
//! between bounds, so that the factor is the maximum itself and not where a search stopped;
//! the window statistics are formed anew each time and never stored.
//!
//! Reference: microssim 0.0.5, `MicroSSIM.fit`.

use std::convert::Infallible;

use rayon::prelude::*;

use super::microssim::{interior_sums, plane_range};
use super::percentile::percentiles_of_pairs;
use super::window::{Means, Window};
use crate::{Border, Volume};

/// Side of the window that the factor is fitted with; scores use a Gaussian one.
const FIT_SIDE: usize = 7;

/// The factor is sought between the inverse of this and this.
const FACTOR_LIMIT: f64 = 1e6;

/// The search ends with a Newton step of this part of the factor, which leaves an error of
/// about its square.
const LAST_STEP: f64 = 1e-6;

/// Steps after which a search that has not ended is given up.
const STEPS: usize = 100;

/// What is given every pair, a target and its prediction, one after the other; a pair may also
/// come in parts of whole planes, in their order.
pub type SeePair<'a> = &'a mut (dyn FnMut(&Volume<f32>, &Volume<f32>) + Send);

/// What makes the images of a data set comparable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MicroFit {
    /// Background of the targets.
    pub offset_target: f64,
    /// Background of the predictions.
    pub offset_prediction: f64,
    /// Largest target above its background.
    pub range: f64,
    /// Gain of the prediction that makes both most similar; NaN where there is none.
    pub factor: f64,
}

/// Fits offsets, range and factor to all (target, prediction) pairs of a data set.
///
/// The paper's percentile of the background is 3. The constants C1 and C2 are those of the
/// last plane that is not constant, as upstream's are those of the last plane. The factor is
/// NaN, and with it every score, if all planes are constant or smaller than 7×7, if a voxel
/// is not a number, or if the mean has no maximum between 1e-6 and 1e6.
///
/// # Panics
///
/// If the shapes of a pair differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{micro_fit, micro_ssim};
///
/// let target = Volume::from_fn([2, 20, 20], |[z, y, x]| ((7 * z + y * x) % 23) as f32);
/// let prediction = target.map(|v| 5.0 * v + 100.0);
/// let fit = micro_fit(&[(&target, &prediction)], 3.0);
/// assert!((fit.factor - 0.2).abs() < 1e-9);
/// assert!(micro_ssim(&target, &prediction, &fit).iter().all(|s| (s - 1.0).abs() < 1e-9));
/// ```
#[must_use]
pub fn micro_fit(pairs: &[(&Volume<f32>, &Volume<f32>)], background_percentile: f64) -> MicroFit {
    let show = |see: SeePair| {
        pairs.iter().for_each(|(target, prediction)| see(target, prediction));
        Ok::<(), Infallible>(())
    };
    let Ok(fit) = micro_fit_of_each(show, background_percentile);
    fit
}

/// [`micro_fit`] where no more than one pair need be in memory: `show` gives every pair to its
/// argument, in the same order each time that it is called: some seven times, and twice that where
/// the factor is a hundred or a hundredth.
///
/// # Errors
///
/// The first of `show`.
///
/// # Panics
///
/// If the shapes of a pair differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{SeePair, micro_fit, micro_fit_of_each};
///
/// let read = |seed: usize| {
///     Volume::from_fn([2, 20, 20], |[z, y, x]| ((7 * z + seed * y * x) % 23) as f32)
/// };
/// let show = |see: SeePair| {
///     (1..3).for_each(|seed| see(&read(seed), &read(seed + 1)));
///     Ok::<(), std::io::Error>(())
/// };
/// let [a, b, c] = [1, 2, 3].map(read);
/// assert_eq!(micro_fit_of_each(show, 3.0)?, micro_fit(&[(&a, &b), (&b, &c)], 3.0));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn micro_fit_of_each<E>(
    mut show: impl FnMut(SeePair) -> Result<(), E>,
    background_percentile: f64,
) -> Result<MicroFit, E> {
    let mut last_range = None;
    let show_and_look = |see: SeePair| {
        show(&mut |target, prediction| {
            assert_eq!(target.shape, prediction.shape, "images to compare must have one shape");
            let mut ranges = (0..target.shape[0]).rev().map(|z| plane_range(target.plane(z)));
            last_range = ranges.find(|range| *range > 0.0).or(last_range);
            see(target, prediction);
        })
    };
    let wanted = [&[background_percentile, 100.0][..], &[background_percentile]];
    let [of_targets, of_predictions] = percentiles_of_pairs(show_and_look, wanted)?;
    let mut fit = MicroFit {
        offset_target: of_targets[0],
        offset_prediction: of_predictions[0],
        range: of_targets[1] - of_targets[0],
        factor: f64::NAN,
    };
    let last_range = last_range.map(|range| range / fit.range).filter(|range| *range > 0.0);
    if let Some(range) = last_range {
        let constants = [(0.01 * range).powi(2), (0.03 * range).powi(2)];
        fit.factor = best_factor(|factor| {
            let mut total = [0.0; 2];
            show(&mut |target, prediction| {
                for [slope, curve] in slopes((target, prediction), &fit, constants, factor) {
                    total = [total[0] + slope, total[1] + curve];
                }
            })?;
            Ok(total)
        })?;
    }
    Ok(fit)
}

/// First and second derivative by the factor of the similarity, summed over all windows of
/// each plane.
fn slopes(
    (target, prediction): (&Volume<f32>, &Volume<f32>),
    fit: &MicroFit,
    [c1, c2]: [f64; 2],
    factor: f64,
) -> Vec<[f64; 2]> {
    let shape = [1, target.shape[1], target.shape[2]];
    let of_plane = |z: usize| {
        let means = Means::new(shape, Window::Uniform(FIT_SIDE), Border::Reflect);
        let (target, prediction) = (target.plane(z), prediction.plane(z));
        let gain = 1.0 / fit.range;
        let voxel = |i: usize| {
            [
                (f64::from(target[i]) - fit.offset_target) * gain,
                (f64::from(prediction[i]) - fit.offset_prediction) * gain,
            ]
        };
        interior_sums(&means, shape, voxel, |[u_t, u_p, v_t, v_p, c]| {
            let (p, v) = (u_t * u_p, u_p * u_p);
            let [a1, a2] = [2.0 * factor * p + c1, 2.0 * factor * c + c2];
            let b1 = u_t * u_t + factor * factor * v + c1;
            let b2 = v_t + factor * factor * v_p + c2;
            let [slope_b1, slope_b2] = [2.0 * factor * v, 2.0 * factor * v_p];
            // S = N / D, so S' = (N' − S D') / D and S'' = (N'' − 2 S' D' − S D'') / D.
            let slope_n = 2.0 * (p * a2 + c * a1);
            let slope_d = slope_b1 * b2 + slope_b2 * b1;
            let curve_d = 2.0 * (v * b2 + slope_b1 * slope_b2 + v_p * b1);
            let inverse = 1.0 / (b1 * b2);
            let similarity = a1 * a2 * inverse;
            let slope = (slope_n - similarity * slope_d) * inverse;
            let curve = (8.0 * p * c - 2.0 * slope * slope_d - similarity * curve_d) * inverse;
            [slope, curve]
        })
    };
    (0..target.shape[0]).into_par_iter().map(of_plane).collect()
}

/// The root of a slope where it falls, uphill from 1; NaN if there is none within the limit.
fn best_factor<E>(mut slopes: impl FnMut(f64) -> Result<[f64; 2], E>) -> Result<f64, E> {
    let mut factor = 1.0;
    // Between these the slope falls from positive to negative.
    let (mut low, mut high) = (0.0, f64::INFINITY);
    for _ in 0..STEPS {
        let [slope, curve] = slopes(factor)?;
        if slope.is_nan() || !(1.0 / FACTOR_LIMIT..=FACTOR_LIMIT).contains(&factor) {
            return Ok(f64::NAN);
        }
        if slope > 0.0 {
            low = factor;
        } else {
            high = factor;
        }
        let newton = factor - slope / curve;
        if curve < 0.0 && (newton - factor).abs() <= LAST_STEP * factor {
            return Ok(newton);
        }
        // At most twice or half as far; where the mean is not concave exactly that.
        let uphill = if slope > 0.0 { 2.0 * factor } else { 0.5 * factor };
        let next = if curve < 0.0 { newton.clamp(0.5 * factor, 2.0 * factor) } else { uphill };
        factor = if low < next && next < high { next } else { 0.5 * (low + high) };
    }
    Ok(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texture(shape: [usize; 3]) -> Volume<f32> {
        Volume::from_fn(shape, |[z, y, x]| ((7 * z + 3 * y * y + 5 * x + y * x) % 29) as f32)
    }

    #[test]
    fn slopes_are_derivatives() {
        let (target, other) = (texture([2, 20, 20]), texture([2, 21, 20]));
        let prediction = other.crop(crate::Region::whole(target.shape));
        let prediction = Volume::new(
            target.shape,
            prediction.voxels.iter().zip(&target.voxels).map(|(a, b)| a * 0.3 + b.sqrt()).collect(),
        );
        let fit = MicroFit { offset_target: 1.0, offset_prediction: 2.0, range: 28.0, factor: 1.0 };
        let at = |factor| {
            let planes = slopes((&target, &prediction), &fit, [1e-3, 1e-2], factor);
            planes.iter().fold([0.0; 2], |[a, b], [slope, curve]| [a + slope, b + curve])
        };
        let numeric = (at(1.3 + 1e-5)[0] - at(1.3 - 1e-5)[0]) / 2e-5;
        assert!((numeric - at(1.3)[1]).abs() < 1e-4 * numeric.abs(), "{numeric} {:?}", at(1.3));
    }

    #[test]
    fn a_pair_in_parts_has_the_same_fit() {
        let target = texture([7, 24, 26]);
        let prediction = target.map(|voxel| 0.3 * voxel + (voxel * 5.0).sin());
        let expected = micro_fit(&[(&target, &prediction)], 3.0);
        assert!(expected.factor.is_finite());
        let found = micro_fit_of_each(
            |see| {
                for [first, count] in [[0, 3], [3, 1], [4, 3]] {
                    let region = crate::Region { start: [first, 0, 0], shape: [count, 24, 26] };
                    see(&target.crop(region), &prediction.crop(region));
                }
                Ok::<(), Infallible>(())
            },
            3.0,
        );
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn no_maximum() {
        let found = |slopes: [f64; 2]| best_factor(|_| Ok::<_, Infallible>(slopes)).unwrap();
        assert!(found([-1.0, 1.0]).is_nan() && found([1.0, 1.0]).is_nan());
        assert!(found([f64::NAN; 2]).is_nan());
    }

    #[test]
    fn an_error_ends_the_fit() {
        let target = texture([2, 9, 9]);
        let prediction = target.map(|voxel| 5.0 * voxel);
        let mut calls = 0;
        let fit = micro_fit_of_each(
            |see| {
                calls += 1;
                see(&target, &prediction);
                if calls == 5 { Err("unplugged") } else { Ok(()) }
            },
            3.0,
        );
        assert_eq!((fit, calls), (Err("unplugged"), 5));
    }

    #[test]
    #[should_panic(expected = "one shape")]
    fn pairs_must_agree() {
        let _ = micro_fit(&[(&texture([1, 9, 9]), &texture([1, 9, 8]))], 3.0);
    }
}
