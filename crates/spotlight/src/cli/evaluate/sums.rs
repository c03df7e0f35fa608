//! Scores of single voxels of an image in all regions, summed up plane by plane.

use anyhow::Result;
use spotlight_image::evaluate::{PairProducts, PairSums, masked_product};
use spotlight_image::{Shape, Volume};

use super::comparison::Prepared;
use super::images::{Region, See};
use crate::scores::Scores;

/// Sums over an image, the regions in the order of [`Region::ALL`].
#[derive(Clone, Debug, Default)]
pub(super) struct RegionSums {
    sums: [PairSums; 3],
    products: Option<[PairProducts; 3]>,
    shape: Shape,
    /// Voxels of the foreground of the target.
    foreground: u64,
    /// Voxels of the true foreground, of the predicted one, and of both.
    overlap: [u64; 3],
    data_range: f64,
    spacing_um: Option<[f64; 3]>,
}

impl RegionSums {
    /// Of one image, which `show` shows twice, plane after plane.
    pub(super) fn of(mut show: impl FnMut(See) -> Result<()>) -> Result<Self> {
        let mut sums = Self::default();
        show(&mut |prepared, _| sums.add(prepared))?;
        let mut products = sums.sums.each_ref().map(PairSums::products);
        show(&mut |prepared, _| {
            let [whole, foreground, inside] = &mut products;
            of_regions(prepared, |region, target, prediction, mask| match region {
                Region::Whole => whole.add(target, prediction, mask),
                Region::Foreground => foreground.add(target, prediction, mask),
                Region::ForegroundVoxels => inside.add(target, prediction, mask),
            });
        })?;
        Ok(Self { products: Some(products), ..sums })
    }

    fn add(&mut self, prepared: &Prepared) {
        let [whole, foreground, inside] = &mut self.sums;
        of_regions(prepared, |region, target, prediction, mask| match region {
            Region::Whole => whole.add(target, prediction, mask),
            Region::Foreground => foreground.add(target, prediction, mask),
            Region::ForegroundVoxels => inside.add(target, prediction, mask),
        });
        let foreground = prepared.foreground();
        self.foreground += foreground.voxels.iter().filter(|inside| **inside).count() as u64;
        let truth = &prepared.truth.as_ref().unwrap_or(&foreground).voxels;
        for (is, value) in truth.iter().zip(&prepared.prediction.voxels) {
            // Above, not at: a model that is clipped at the threshold marks the background so.
            let predicted = f64::from(*value) > prepared.threshold;
            let counted = [*is, predicted, *is && predicted];
            self.overlap = [0, 1, 2].map(|i| self.overlap[i] + u64::from(counted[i]));
        }
        let [planes, rows, columns] = prepared.target.shape;
        self.shape = [self.shape[0] + planes, rows, columns];
        (self.data_range, self.spacing_um) = (prepared.data_range, prepared.spacing_um);
    }

    pub(super) fn psnr(&self, region: Region) -> f64 {
        self.sums[place(region)].psnr(self.data_range)
    }

    pub(super) fn nrmse(&self, region: Region) -> f64 {
        self.sums[place(region)].nrmse(self.data_range)
    }

    pub(super) fn pearson(&self, region: Region) -> f64 {
        self.products.as_ref().map_or(f64::NAN, |products| products[place(region)].pearson())
    }

    /// Dice of the prediction above the threshold with the true mask, or else with the target's.
    pub(super) fn dice(&self) -> f64 {
        let [truth, predicted, both] = self.overlap;
        let sizes = truth + predicted;
        if sizes == 0 { 1.0 } else { 2.0 * both as f64 / sizes as f64 }
    }

    /// Share of the volume that is foreground of the target.
    pub(super) fn foreground(&self) -> f64 {
        self.foreground as f64 / self.shape.iter().product::<usize>() as f64
    }

    pub(super) fn data_range(&self) -> f64 {
        self.data_range
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn spacing_um(&self) -> Option<[f64; 3]> {
        self.spacing_um
    }

    /// The scores of a single prediction.
    pub(super) fn scores(&self) -> Scores {
        Scores {
            psnr: self.psnr(Region::Whole),
            psnr_fg: self.psnr(Region::Foreground),
            psnr_fg_voxels: self.psnr(Region::ForegroundVoxels),
            pearson: self.pearson(Region::Whole),
            pearson_fg: self.pearson(Region::Foreground),
            pearson_fg_voxels: self.pearson(Region::ForegroundVoxels),
            dice_fg: self.dice(),
            foreground: self.foreground(),
            data_range: self.data_range,
        }
    }
}

fn place(region: Region) -> usize {
    Region::ALL.iter().position(|other| *other == region).unwrap_or(0)
}

/// Calls `see` with the intensities of each region, and the mask where only its voxels count.
fn of_regions(
    prepared: &Prepared,
    mut see: impl FnMut(Region, &Volume<f32>, &Volume<f32>, Option<&Volume<bool>>),
) {
    let foreground = prepared.foreground();
    let [target, prediction] = prepared.pair(&prepared.prediction, Region::Whole);
    see(Region::Whole, &target, &prediction, None);
    see(Region::ForegroundVoxels, &target, &prediction, Some(&foreground));
    let target = masked_product(&target, &foreground);
    let prediction = masked_product(&prediction, &foreground);
    see(Region::Foreground, &target, &prediction, None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores::{Comparison, Intensity, score};

    #[test]
    fn planes_add_up_to_the_scores_of_the_whole() {
        let noise = |factor: usize, [z, y, x]: [usize; 3]| {
            ((factor * z * z + 31 * y * x + 7 * x * x + y) % 1009) as f32 * 0.01
        };
        let shape = [7, 111, 97];
        let target = Volume::from_fn(shape, |at| noise(3, at));
        let prediction = Volume::from_fn(shape, |at| 0.5 * noise(3, at) + noise(2, at));
        let truth = target.map(|v| *v > 4.0);
        let whole = Prepared {
            prediction,
            target,
            threshold: 5.0,
            truth: Some(truth),
            intensity: Intensity { scale: 300.0, offset: 100.0 },
            data_range: 3000.0,
            spacing_um: None,
        };
        let expected = score(&Comparison {
            prediction: &whole.prediction,
            target: &whole.target,
            threshold: whole.threshold,
            truth: whole.truth.as_ref(),
            intensity: whole.intensity,
            data_range: whole.data_range,
        });
        for step in [1, 3, 7] {
            let show = |see: See| {
                for first in (0..7).step_by(step) {
                    let count = step.min(7 - first);
                    see(&whole.planes(first..first + count), 0..count);
                }
                Ok(())
            };
            assert_eq!(RegionSums::of(show).unwrap().scores(), expected);
        }
    }
}
