//! What becomes of a score when faint voxels of the prediction are removed.
//!
//! Figure 3 of the paper asks whether a threshold gives F-net's predictions what Spotlight's
//! have by themselves: ten thresholds from −1.25 to 1 in standardised units, and the scores
//! of the thresholded prediction at each. The paper does not say what stands below the
//! threshold afterwards; its curves, which peak at 0, fit 0 alone.

use rayon::prelude::*;

use crate::Volume;

/// The thresholds of the paper, in standardised units.
pub const SERIES_THRESHOLDS: [f64; 10] =
    [-1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0];

/// What takes the place of voxels below a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// 0, in standardised units the mean or the foreground threshold.
    #[default]
    Zero,
    /// The threshold.
    Threshold,
    /// The smallest voxel.
    Minimum,
}

/// A copy whose voxels below the threshold are filled.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{Fill, fill_below};
///
/// let prediction = Volume::new([1, 1, 4], vec![-1.0, 0.5, 1.0, 2.0]);
/// assert_eq!(fill_below(&prediction, 1.0, Fill::Zero).voxels, [0.0, 0.0, 1.0, 2.0]);
/// assert_eq!(fill_below(&prediction, 1.0, Fill::Threshold).voxels, [1.0, 1.0, 1.0, 2.0]);
/// assert_eq!(fill_below(&prediction, 1.0, Fill::Minimum).voxels, [-1.0, -1.0, 1.0, 2.0]);
/// ```
#[must_use]
pub fn fill_below(prediction: &Volume<f32>, threshold: f64, fill: Fill) -> Volume<f32> {
    let value = match fill {
        Fill::Zero => 0.0,
        Fill::Threshold => threshold as f32,
        Fill::Minimum => prediction.voxels.iter().fold(f32::INFINITY, |least, v| least.min(*v)),
    };
    let filled = |voxel: &f32| if f64::from(*voxel) < threshold { value } else { *voxel };
    Volume::new(prediction.shape, prediction.voxels.par_iter().map(filled).collect())
}

/// A score of the prediction after each threshold.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{Fill, SERIES_THRESHOLDS, psnr, threshold_series};
///
/// let target = Volume::new([1, 1, 4], vec![0.0, 0.0, 1.0, 2.0]);
/// let prediction = Volume::new([1, 1, 4], vec![-0.3, 0.3, 1.1, 1.9]);
/// let series = threshold_series(&prediction, &SERIES_THRESHOLDS, Fill::Zero, |thresholded| {
///     psnr(&target, thresholded, 2.0)
/// });
/// assert!(series[7].1 > series[0].1);
/// ```
pub fn threshold_series<R>(
    prediction: &Volume<f32>,
    thresholds: &[f64],
    fill: Fill,
    mut score: impl FnMut(&Volume<f32>) -> R,
) -> Vec<(f64, R)> {
    let at = |threshold: &f64| (*threshold, score(&fill_below(prediction, *threshold, fill)));
    thresholds.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_a_series() {
        let prediction = Volume::new([1, 1, 3], vec![-2.0, f32::NAN, 1.0]);
        let low = fill_below(&prediction, -2.0, Fill::Zero);
        assert_eq!((low.voxels[0], low.voxels[2]), (-2.0, 1.0));
        let high = fill_below(&prediction, 9.0, Fill::Minimum);
        assert_eq!((high.voxels[0], high.voxels[2]), (-2.0, -2.0));
        assert!(high.voxels[1].is_nan());
        assert!(threshold_series(&prediction, &[], Fill::Zero, |_| ()).is_empty());
        let none: Volume<f32> = Volume::filled([0, 2, 2], 1.0);
        assert!(fill_below(&none, 0.0, Fill::Minimum).voxels.is_empty());
    }
}
