//! Scores of single voxels of images that come part by part.
//!
//! ```text
//! first time    PairSums::add      squared errors, means
//! second time   PairProducts::add  products of the deviations from the means
//! ```
//!
//! The parts come in raster order, whole rows or planes or any number of voxels; the scores are
//! those of the whole images to the last bit.

use super::intensity::decibel;
use crate::Volume;
use crate::reduce::RunningSums;

/// The first half of the scores of a pair of images, or of the voxels in a mask.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Region, Volume};
/// use spotlight_image::evaluate::{PairSums, pearson, psnr};
///
/// let target = Volume::from_fn([6, 5, 4], |[z, y, x]| ((z * y + x) % 7) as f32);
/// let prediction = target.map(|v| 0.5 * v + (v * 9.0).sin());
/// let planes = |z| Region { start: [z, 0, 0], shape: [2, 5, 4] };
/// let mut sums = PairSums::default();
/// for z in [0, 2, 4] {
///     sums.add(&target.crop(planes(z)), &prediction.crop(planes(z)), None);
/// }
/// let mut products = sums.products();
/// for z in [0, 2, 4] {
///     products.add(&target.crop(planes(z)), &prediction.crop(planes(z)), None);
/// }
/// assert_eq!(sums.psnr(7.0), psnr(&target, &prediction, 7.0));
/// assert_eq!(products.pearson(), pearson(&target, &prediction));
/// ```
#[derive(Clone, Debug)]
pub struct PairSums {
    errors: RunningSums<2>,
    /// One of the voxels: deviations from it are exact where all voxels are equal.
    origin: Option<[f64; 2]>,
    sums: RunningSums<3>,
}

impl Default for PairSums {
    fn default() -> Self {
        Self { errors: RunningSums::new(), origin: None, sums: RunningSums::new() }
    }
}

impl PairSums {
    /// Adds the next part; with a mask only the voxels in it.
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn add(
        &mut self,
        target: &Volume<f32>,
        prediction: &Volume<f32>,
        mask: Option<&Volume<bool>>,
    ) {
        let inside = inside(target, prediction, mask);
        let at = |i: usize| [&target.voxels, &prediction.voxels].map(|v| f64::from(v[i]));
        self.origin = self.origin.or_else(|| (0..target.voxels.len()).find(|i| inside(*i)).map(at));
        self.errors.add(target.voxels.len(), |[sum, count], i| {
            if inside(i) {
                let [target, prediction] = at(i);
                *sum += (target - prediction).powi(2);
                *count += 1.0;
            }
        });
        let Some([origin_a, origin_b]) = self.origin else {
            return self.sums.add(target.voxels.len(), |_, _| ());
        };
        self.sums.add(target.voxels.len(), |[sum_a, sum_b, count], i| {
            if inside(i) {
                let [a, b] = at(i);
                *sum_a += a - origin_a;
                *sum_b += b - origin_b;
                *count += 1.0;
            }
        });
    }

    /// Mean squared error; NaN of no voxel.
    #[must_use]
    pub fn mse(&self) -> f64 {
        let [sum, count] = self.errors.clone().finish();
        sum / count
    }

    /// Peak signal-to-noise ratio in dB, as [`super::psnr`].
    #[must_use]
    pub fn psnr(&self, data_range: f64) -> f64 {
        decibel(self.mse(), data_range)
    }

    /// Root of the mean squared error as a part of the range, as [`super::nrmse`].
    #[must_use]
    pub fn nrmse(&self, data_range: f64) -> f64 {
        self.mse().sqrt() / data_range
    }

    /// The second half, to which the same parts are to be added again.
    #[must_use]
    pub fn products(&self) -> PairProducts {
        let [sum_a, sum_b, count] = self.sums.clone().finish();
        let means = [sum_a / count, sum_b / count];
        PairProducts { origin: self.origin, means, sums: RunningSums::new() }
    }
}

/// The second half of the scores of [`PairSums`].
#[derive(Clone, Debug)]
pub struct PairProducts {
    origin: Option<[f64; 2]>,
    /// Of the deviations from the origin.
    means: [f64; 2],
    sums: RunningSums<3>,
}

impl PairProducts {
    /// Adds the next part, again from the first on.
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn add(
        &mut self,
        target: &Volume<f32>,
        prediction: &Volume<f32>,
        mask: Option<&Volume<bool>>,
    ) {
        let inside = inside(target, prediction, mask);
        let Some([origin_a, origin_b]) = self.origin else { return };
        let [mean_a, mean_b] = self.means;
        self.sums.add(target.voxels.len(), |[ab, aa, bb], i| {
            if inside(i) {
                let a = f64::from(target.voxels[i]) - origin_a - mean_a;
                let b = f64::from(prediction.voxels[i]) - origin_b - mean_b;
                *ab += a * b;
                *aa += a * a;
                *bb += b * b;
            }
        });
    }

    /// Pearson's correlation coefficient; NaN if either image has no variance.
    #[must_use]
    pub fn pearson(&self) -> f64 {
        let [ab, aa, bb] = self.sums.clone().finish();
        if aa == 0.0 || bb == 0.0 { f64::NAN } else { (ab / (aa * bb).sqrt()).clamp(-1.0, 1.0) }
    }
}

fn inside<'a>(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    mask: Option<&'a Volume<bool>>,
) -> impl Fn(usize) -> bool + Sync + 'a {
    assert_eq!(target.shape, prediction.shape, "images to compare must have one shape");
    assert!(mask.is_none_or(|mask| mask.shape == target.shape), "the mask must have their shape");
    move |i| mask.is_none_or(|mask| mask.voxels[i])
}

#[cfg(test)]
mod tests {
    use super::super::{nrmse, nrmse_in_mask, pearson, pearson_in_mask, psnr, psnr_in_mask};
    use super::*;
    use crate::Region;

    #[test]
    fn parts_have_the_scores_of_the_whole() {
        let shape = [9, 101, 173];
        let noise = |factor: usize, [z, y, x]: [usize; 3]| {
            ((factor * z * z + 31 * y * x + 7 * x * x + y) % 1009) as f32 * 0.37 + 4000.0
        };
        let target = Volume::from_fn(shape, |at| noise(3, at));
        let prediction = Volume::from_fn(shape, |at| noise(3, at) * 0.5 + noise(5, at));
        let masks = [
            Volume::filled(shape, true),
            // Nothing in the first parts.
            Volume::from_fn(shape, |[z, y, x]| z > 4 && (y * x) % 3 > 0),
            Volume::filled(shape, false),
        ];
        for (mask, planes) in masks.iter().zip([1, 2, 4]).chain(masks.iter().zip([9, 4, 1])) {
            let all = mask.voxels.iter().all(|inside| *inside);
            let parts: Vec<Region> = (0..9)
                .step_by(planes)
                .map(|z| Region { start: [z, 0, 0], shape: [planes.min(9 - z), 101, 173] })
                .collect();
            let mut sums = PairSums::default();
            for part in &parts {
                let mask = mask.crop(*part);
                let mask = (!all).then_some(&mask);
                sums.add(&target.crop(*part), &prediction.crop(*part), mask);
            }
            let mut products = sums.products();
            for part in &parts {
                let mask = mask.crop(*part);
                let mask = (!all).then_some(&mask);
                products.add(&target.crop(*part), &prediction.crop(*part), mask);
            }
            let found = [sums.psnr(400.0), sums.nrmse(400.0), products.pearson()];
            let expected = if all {
                [
                    psnr(&target, &prediction, 400.0),
                    nrmse(&target, &prediction, 400.0),
                    pearson(&target, &prediction),
                ]
            } else {
                [
                    psnr_in_mask(&target, &prediction, mask, 400.0),
                    nrmse_in_mask(&target, &prediction, mask, 400.0),
                    pearson_in_mask(&target, &prediction, mask),
                ]
            };
            for (found, expected) in found.iter().zip(expected) {
                assert!(*found == expected || (found.is_nan() && expected.is_nan()), "{found}");
            }
        }
    }
}
