//! Figure 3 of the paper: would a threshold give a prediction what another has by itself?
//!
//! ```text
//! for none and for each threshold t in standardised units:
//!     voxels of the prediction below t → 0 (--fill)
//!     scores of the foreground, MicroMS3IM with a fit of its own
//!     segmentation by the seeded watershed, average precision against the true labels
//! ```

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_image::evaluate::{Fill, SERIES_THRESHOLDS, overlap, psnr};
use spotlight_image::segment::segment;

use super::comparison::Prepared;
use super::images::{Images, Region};
use super::objects::{mean_average_precision, on_grid_of};
use super::pixels::{Metric, mean_resolution, metric, ring_resolutions};
use super::similarity::{Removal, fit, predicted, similarity_of};
use crate::cli::failure;
use crate::cli::labels::Labels;
use crate::cli::stacks::spacing_of_grid;
use crate::recipe::SegmentRecipe;

/// The scores at a threshold, in the order of [`ThresholdScores::values`].
pub(super) const THRESHOLD_METRICS: [Metric; 5] = [
    metric("psnr", "PSNR (dB)", 2),
    metric("micro_ms3im", "MicroMS3IM", 3),
    metric("frc_um", "FRC (µm)", 3),
    metric("inverse_frc", "1/FRC (1/µm)", 3),
    metric("average_precision", "AP 0.50–0.95", 3),
];

/// The scores of one image of one contender at one threshold.
#[derive(Clone, Debug)]
pub(super) struct ThresholdScores {
    pub(super) image: usize,
    pub(super) contender: usize,
    /// In standardised units; NaN for the prediction as it is.
    pub(super) threshold: f64,
    /// Of the foreground; NaN where they are not defined.
    pub(super) values: [f64; THRESHOLD_METRICS.len()],
    /// Objects that the watershed found.
    pub(super) objects: usize,
}

/// How the series is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesOptions<'a> {
    pub(super) contender: usize,
    pub(super) fill: Fill,
    /// How the predictions are segmented.
    pub(super) recipe: &'a SegmentRecipe,
}

/// Scores all images of a contender at all thresholds; `truth` reads the true labels of an
/// image, where it has any, and `tell` learns the place in the series and the image.
pub(super) fn threshold_scores(
    images: &mut Images,
    options: SeriesOptions,
    truth: impl Fn(usize) -> Result<Option<Labels>>,
    mut tell: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<ThresholdScores>> {
    let SeriesOptions { contender, fill, recipe } = options;
    let thresholds = std::iter::once(f64::NAN).chain(SERIES_THRESHOLDS);
    let mut all = Vec::new();
    for (place, threshold) in thresholds.enumerate() {
        let removal: Removal = (!threshold.is_nan()).then_some((threshold, fill));
        tell(place, 0)?;
        let fit = fit(images, Region::Foreground, removal)?;
        for image in 0..images.len() {
            tell(place, image)?;
            let truth = truth(image)?;
            let region = Region::Foreground;
            let ([multi_scale, _], _) = similarity_of(images, image, region, removal, &fit)?;
            let for_what = "the segmentation at thresholds";
            all.push(images.show_whole(
                image,
                for_what,
                |prepared| -> Result<ThresholdScores> {
                    let prediction = predicted(prepared, removal);
                    let [target, shown] = prepared.pair(&prediction, region);
                    let resolution =
                        mean_resolution(&ring_resolutions(&shown, prepared.spacing_um));
                    let psnr = psnr(&target, &shown, prepared.data_range);
                    drop((target, shown));
                    let watershed = recipe.watershed_for(prepared.spacing_um);
                    let labels = segment(&prediction, &watershed.ok_or_else(missing_spacing)?);
                    let objects = labels.voxels.iter().copied().max().unwrap_or(0) as usize;
                    let precision = match truth {
                        Some(truth) => mean_precision(&truth, labels, prepared)?,
                        None => f64::NAN,
                    };
                    let values = [psnr, multi_scale, resolution, 1.0 / resolution, precision];
                    Ok(ThresholdScores { image, contender, threshold, values, objects })
                },
            )??);
        }
    }
    Ok(all)
}

/// The error of stacks whose voxel size the recipe needs.
fn missing_spacing() -> anyhow::Error {
    failure(
        "--thresholds segment at a voxel size, and neither predictions nor targets give theirs",
        "segment on half the stacks' own grid with --set grid.rule=scale",
    )
}

/// Mean average precision over 0.50 to 0.95 of labels on the reduced grid of a prediction.
fn mean_precision(truth: &Labels, labels: Volume<u32>, prepared: &Prepared) -> Result<f64> {
    let spacing_um = prepared
        .spacing_um
        .map(|spacing| spacing_of_grid(spacing, prepared.prediction.shape, labels.shape));
    let labels = Labels { volume: labels, spacing_um, path: "the segmented prediction".into() };
    let overlap = overlap(&on_grid_of(truth, &labels)?, &labels.volume);
    Ok(mean_average_precision(&overlap))
}
