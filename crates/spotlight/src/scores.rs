//! Scores of one prediction against its target, whole and foreground.
//!
//! The foreground scores are those of the images multiplied by the target's foreground
//! mask, still averaged over the whole volume: a mistake outside the mask does not count,
//! and the volume outside it dilutes the error. The scores whose names end in `_voxels`
//! average over the voxels of the mask alone.

use serde::Serialize;
use spotlight_image::Volume;
use spotlight_image::evaluate::{
    dice, masked_product, mean_of_defined, pearson, pearson_in_mask, psnr, psnr_in_mask,
};
use spotlight_image::foreground::mask;

use crate::table::number;

/// A prediction, its target in the same units, and what the scores need to know.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// What was predicted.
    pub prediction: &'a Volume<f32>,
    /// What was measured, in the prediction's units.
    pub target: &'a Volume<f32>,
    /// Foreground begins at this value of the target.
    pub threshold: f64,
    /// The true foreground, where it is known better than by the threshold.
    pub truth: Option<&'a Volume<bool>>,
    /// How the units become intensities.
    pub intensity: Intensity,
    /// Span of intensities that the PSNR is relative to.
    pub data_range: f64,
}

/// The map `scale * value + offset` from a prediction's units to intensities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intensity {
    /// Intensity of one unit.
    pub scale: f64,
    /// Intensity of the value 0.
    pub offset: f64,
}

impl Intensity {
    /// The map of values that are intensities already.
    pub const SAME: Self = Self { scale: 1.0, offset: 0.0 };

    /// The intensities of a volume.
    #[must_use]
    pub fn of(&self, volume: &Volume<f32>) -> Volume<f32> {
        volume.map(|value| self.at(*value))
    }

    fn at(self, value: f32) -> f32 {
        (f64::from(value) * self.scale + self.offset) as f32
    }
}

/// Scores of a prediction. A score that is not defined, such as the correlation with a
/// constant image, is NaN; the PSNR of two equal images is infinite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Peak signal-to-noise ratio of the whole volume, in dB.
    pub psnr: f64,
    /// PSNR of the images multiplied by the foreground mask, in dB.
    pub psnr_fg: f64,
    /// PSNR over the voxels of the foreground mask, in dB.
    pub psnr_fg_voxels: f64,
    /// Pearson correlation of the whole volume.
    pub pearson: f64,
    /// Pearson correlation of the images multiplied by the foreground mask.
    pub pearson_fg: f64,
    /// Pearson correlation over the voxels of the foreground mask.
    pub pearson_fg_voxels: f64,
    /// Dice overlap of the predicted foreground with the true one, or with the target's.
    pub dice_fg: f64,
    /// Share of the volume that is foreground of the target.
    pub foreground: f64,
    /// Span of intensities that the PSNR is relative to.
    pub data_range: f64,
}

/// Names of the scores, in the order of [`Scores::values`].
pub const NAMES: [&str; 9] = [
    "psnr",
    "psnr_fg",
    "psnr_fg_voxels",
    "pearson",
    "pearson_fg",
    "pearson_fg_voxels",
    "dice_fg",
    "foreground",
    "data_range",
];

impl Scores {
    /// The scores as numbers, in the order of [`NAMES`].
    #[must_use]
    pub fn values(&self) -> [f64; 9] {
        [
            self.psnr,
            self.psnr_fg,
            self.psnr_fg_voxels,
            self.pearson,
            self.pearson_fg,
            self.pearson_fg_voxels,
            self.dice_fg,
            self.foreground,
            self.data_range,
        ]
    }

    /// The mean of each score over several predictions, those left out where it is NaN.
    #[must_use]
    pub fn mean(scores: &[Self]) -> Self {
        let mean = |index: usize| {
            let values: Vec<f64> = scores.iter().map(|s| s.values()[index]).collect();
            mean_of_defined(&values).0
        };
        Self {
            psnr: mean(0),
            psnr_fg: mean(1),
            psnr_fg_voxels: mean(2),
            pearson: mean(3),
            pearson_fg: mean(4),
            pearson_fg_voxels: mean(5),
            dice_fg: mean(6),
            foreground: mean(7),
            data_range: mean(8),
        }
    }

    /// Cells of a text table: PSNR whole, foreground and foreground voxels, Pearson the
    /// same, Dice.
    #[must_use]
    pub fn cells(&self) -> Vec<String> {
        let values = self.values();
        let decimals = [2, 2, 2, 3, 3, 3, 3];
        values.iter().zip(decimals).map(|(v, d)| number(Some(*v), d)).collect()
    }
}

/// Headings of [`Scores::cells`].
pub const HEADINGS: [&str; 7] =
    ["PSNR", "PSNR fg", "PSNR fg voxels", "r", "r fg", "r fg voxels", "Dice fg"];

/// Scores a prediction.
///
/// A voxel of the prediction counts as foreground if it lies *above* the threshold: a
/// model whose output is clipped at the threshold marks the background with that value.
///
/// # Panics
///
/// If the volumes differ in shape.
#[must_use]
pub fn score(comparison: &Comparison) -> Scores {
    let Comparison { prediction, target, threshold, truth, intensity, data_range } = *comparison;
    let foreground = mask(target, threshold);
    let predicted = prediction.map(|value| f64::from(*value) > threshold);
    let [target, prediction] = [target, prediction].map(|volume| intensity.of(volume));
    let [target_fg, prediction_fg] = [&target, &prediction].map(|v| masked_product(v, &foreground));
    let inside = foreground.voxels.iter().filter(|inside| **inside).count();
    Scores {
        psnr: psnr(&target, &prediction, data_range),
        psnr_fg: psnr(&target_fg, &prediction_fg, data_range),
        psnr_fg_voxels: psnr_in_mask(&target, &prediction, &foreground, data_range),
        pearson: pearson(&target, &prediction),
        pearson_fg: pearson(&target_fg, &prediction_fg),
        pearson_fg_voxels: pearson_in_mask(&target, &prediction, &foreground),
        dice_fg: dice(truth.unwrap_or(&foreground), &predicted),
        foreground: inside as f64 / foreground.voxels.len() as f64,
        data_range,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f32]) -> Volume<f32> {
        Volume::new([1, 1, values.len()], values.to_vec())
    }

    #[track_caller]
    fn check(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "found {found}, expected {expected}");
    }

    #[test]
    fn scores_by_hand() {
        let target = line(&[0.0, 0.0, 2.0, 4.0]);
        let prediction = line(&[1.0, 0.0, 2.0, 3.0]);
        let truth = Volume::new([1, 1, 4], vec![true, true, true, true]);
        let mut comparison = Comparison {
            prediction: &prediction,
            target: &target,
            threshold: 1.0,
            truth: None,
            intensity: Intensity { scale: 10.0, offset: 100.0 },
            data_range: 40.0,
        };
        let scores = score(&comparison);
        // Squared errors 100, 0, 0, 100; those in the foreground 0, 100.
        check(scores.psnr, 10.0 * (1600.0_f64 / 50.0).log10());
        check(scores.psnr_fg, 10.0 * (1600.0_f64 / 25.0).log10());
        check(scores.psnr_fg_voxels, 10.0 * (1600.0_f64 / 50.0).log10());
        check(scores.pearson_fg_voxels, 1.0);
        check(scores.dice_fg, 1.0);
        check(scores.foreground, 0.5);
        // The value at the threshold is background of the prediction.
        comparison.truth = Some(&truth);
        check(score(&comparison).dice_fg, 2.0 * 2.0 / 6.0);
    }

    #[test]
    fn correlations_do_not_depend_on_the_scale_but_on_the_offset_outside_the_mask() {
        let target = line(&[0.0, 1.0, 2.0, 4.0]);
        let prediction = line(&[0.5, 0.7, 2.5, 3.0]);
        let at = |intensity| {
            score(&Comparison {
                prediction: &prediction,
                target: &target,
                threshold: 1.5,
                truth: None,
                intensity,
                data_range: 1.0,
            })
        };
        let (one, two) = (at(Intensity::SAME), at(Intensity { scale: 3.0, offset: 0.0 }));
        check(two.pearson, one.pearson);
        check(two.pearson_fg, one.pearson_fg);
        assert!((at(Intensity { scale: 1.0, offset: 9.0 }).pearson_fg - one.pearson_fg) > 1e-4);
    }

    #[test]
    fn a_mean_leaves_out_what_is_not_defined() {
        let mut one = Scores::mean(&[]);
        assert!(one.psnr.is_nan());
        (one.psnr, one.pearson) = (20.0, f64::NAN);
        let two = Scores { psnr: 30.0, pearson: 0.5, ..one };
        let mean = Scores::mean(&[one, two]);
        check(mean.psnr, 25.0);
        check(mean.pearson, 0.5);
    }
}
