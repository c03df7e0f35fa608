//! MicroMS3IM and MicroSSIM of a data set: one fit of offsets, range and gain for all images.

use std::borrow::Cow;

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_image::evaluate::{
    Fill, MicroFit, MsSsim, SeePair, fill_below, mean_of_defined, micro_fit_of_each, micro_ms3im,
    micro_ssim,
};

use super::comparison::Prepared;
use super::images::{Images, Region};

/// Percentile of all intensities that is the background, as in microssim.
const BACKGROUND_PERCENTILE: f64 = 3.0;

/// Faint voxels that are removed: those below the threshold, and what takes their place.
pub(super) type Removal = Option<(f64, Fill)>;

/// The prediction as it is, or with its faint voxels removed.
pub(super) fn predicted(prepared: &Prepared, removal: Removal) -> Cow<'_, Volume<f32>> {
    match removal {
        None => Cow::Borrowed(&prepared.prediction),
        Some((threshold, fill)) => Cow::Owned(fill_below(&prepared.prediction, threshold, fill)),
    }
}

/// Fits all images in one region.
pub(super) fn fit(images: &mut Images, region: Region, removal: Removal) -> Result<MicroFit> {
    let show = |see: SeePair| -> Result<()> {
        for index in 0..images.len() {
            images.show(index, 0, &mut |prepared, _| {
                let [target, prediction] = prepared.pair(&predicted(prepared, removal), region);
                see(&target, &prediction);
            })?;
        }
        Ok(())
    };
    micro_fit_of_each(show, BACKGROUND_PERCENTILE)
}

/// MicroMS3IM and MicroSSIM of an image, each the mean over its planes, and how many planes
/// are left out because the target is constant there.
pub(super) fn similarity_of(
    images: &mut Images,
    image: usize,
    region: Region,
    removal: Removal,
    fit: &MicroFit,
) -> Result<([f64; 2], usize)> {
    let mut scores = [Vec::new(), Vec::new()];
    let mut constant = 0;
    images.show(image, 0, &mut |prepared, _| {
        let [target, prediction] = prepared.pair(&predicted(prepared, removal), region);
        scores[0].extend(micro_ms3im(&target, &prediction, fit, &MsSsim::default()));
        scores[1].extend(micro_ssim(&target, &prediction, fit));
        let is_constant = |z: &usize| {
            let plane = target.plane(*z);
            plane.iter().all(|voxel| *voxel == plane[0])
        };
        constant += (0..target.shape[0]).filter(is_constant).count();
    })?;
    Ok((scores.map(|planes| mean_of_defined(&planes).0), constant))
}
