//! Scores of voxels: is the prediction like the target?

use anyhow::Result;
use rayon::prelude::*;
use spotlight_image::Volume;
use spotlight_image::evaluate::{
    MsSsim, RingCorrelation, ShellCorrelation, Ssim, dice, lateral_and_axial, mean_of_defined,
    ms_ssim, nrmse, nrmse_in_mask, pearson, pearson_in_mask, psnr, psnr_in_mask, ring_correlation,
    shell_correlation, ssim, ssim_in_mask,
};

use super::comparison::Prepared;
use super::images::{Images, Region};
use super::similarity::{fit, similarity};

/// Sides of a pixel that differ by less than this fraction are the same.
const SAME_SPACING: f64 = 0.01;

/// A score as tables call it and as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metric {
    /// Its column.
    pub(super) name: &'static str,
    /// Its row in a printed table.
    pub(super) title: &'static str,
    /// Decimals that are printed.
    pub(super) decimals: usize,
}

pub(super) const fn metric(name: &'static str, title: &'static str, decimals: usize) -> Metric {
    Metric { name, title, decimals }
}

/// The scores of a region, in the order of [`PixelScores::values`].
pub(super) const PIXEL_METRICS: [Metric; 11] = [
    metric("psnr", "PSNR (dB)", 2),
    metric("nrmse", "NRMSE", 4),
    metric("ssim", "SSIM", 3),
    metric("ms_ssim", "MS-SSIM", 3),
    metric("micro_ms3im", "MicroMS3IM", 3),
    metric("micro_ssim", "MicroSSIM", 3),
    metric("pearson", "Pearson r", 3),
    metric("dice", "Dice", 3),
    metric("frc_um", "FRC (µm)", 3),
    metric("fsc_xy_um", "FSC xy (µm)", 3),
    metric("fsc_z_um", "FSC z (µm)", 3),
];

/// Place of MicroMS3IM, which MicroSSIM follows.
pub(super) const MICRO: usize = 4;

/// Place of the resolution by rings, which those by shells follow.
pub(super) const RINGS: usize = 8;

/// The scores of one image of one contender in one region.
#[derive(Clone, Debug)]
pub(super) struct PixelScores {
    pub(super) image: usize,
    pub(super) contender: usize,
    pub(super) region: Region,
    /// The scores; NaN where they are not defined.
    pub(super) values: [f64; PIXEL_METRICS.len()],
    /// Planes in which the target is constant: they count for no MicroMS3IM.
    pub(super) constant_planes: usize,
    /// Share of the volume that is foreground.
    pub(super) foreground: f64,
    pub(super) data_range: f64,
    pub(super) shape: [usize; 3],
    pub(super) spacing_um: Option<[f64; 3]>,
}

/// Scores all images of a contender; `tell` learns which image is next.
pub(super) fn pixel_scores(
    images: &mut Images,
    contender: usize,
    shells: bool,
    mut tell: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<PixelScores>> {
    let mut all = Vec::new();
    for image in 0..images.len() {
        tell(image)?;
        all.extend(images.show(image, |prepared| {
            Region::ALL.map(|region| of_region(prepared, image, contender, region, shells))
        })?);
    }
    for (place, region) in [Region::Whole, Region::Foreground].into_iter().enumerate() {
        let fit = fit(images, region, None)?;
        for image in 0..images.len() {
            let (found, constant) = images.show(image, |prepared| {
                let [target, prediction] = prepared.pair(&prepared.prediction, region);
                similarity(&target, &prediction, &fit)
            })?;
            let scores = &mut all[Region::ALL.len() * image + place];
            scores.values[MICRO..MICRO + 2].copy_from_slice(&found);
            scores.constant_planes = constant;
        }
    }
    Ok(all)
}

/// All scores of an image but those that need a fit to the data set.
fn of_region(
    prepared: &Prepared,
    image: usize,
    contender: usize,
    region: Region,
    shells: bool,
) -> PixelScores {
    let [target, prediction] = prepared.pair(&prepared.prediction, region);
    let foreground = prepared.foreground();
    let inside = foreground.voxels.iter().filter(|inside| **inside).count();
    let range = prepared.data_range;
    let values = if region == Region::ForegroundVoxels {
        let structure =
            ssim_in_mask(&target, &prediction, &foreground, range, &Ssim::default()).mean;
        let mut values = [f64::NAN; PIXEL_METRICS.len()];
        values[0] = psnr_in_mask(&target, &prediction, &foreground, range);
        values[1] = nrmse_in_mask(&target, &prediction, &foreground, range);
        values[2] = structure;
        values[6] = pearson_in_mask(&target, &prediction, &foreground);
        values
    } else {
        let shells = shells.then(|| shell_resolution(&prediction, prepared.spacing_um));
        let [lateral, axial] = shells.unwrap_or([f64::NAN; 2]);
        [
            psnr(&target, &prediction, range),
            nrmse(&target, &prediction, range),
            ssim(&target, &prediction, range, &Ssim::default()),
            mean_ms_ssim(&target, &prediction, range),
            f64::NAN,
            f64::NAN,
            pearson(&target, &prediction),
            if region == Region::Foreground { overlap(prepared, &foreground) } else { f64::NAN },
            ring_resolution(&prediction, prepared.spacing_um),
            lateral,
            axial,
        ]
    };
    PixelScores {
        image,
        contender,
        region,
        values,
        constant_planes: 0,
        foreground: inside as f64 / foreground.voxels.len() as f64,
        data_range: range,
        shape: target.shape,
        spacing_um: prepared.spacing_um,
    }
}

/// Dice of the prediction above the threshold with the true mask, or else with the target's.
fn overlap(prepared: &Prepared, foreground: &Volume<bool>) -> f64 {
    let predicted = prepared.prediction.map(|value| f64::from(*value) > prepared.threshold);
    dice(prepared.truth.as_ref().unwrap_or(foreground), &predicted)
}

/// Plane by plane: five scales of a volume would need 96 planes.
fn mean_ms_ssim(target: &Volume<f32>, prediction: &Volume<f32>, range: f64) -> f64 {
    let [planes, rows, columns] = target.shape;
    let plane =
        |volume: &Volume<f32>, z: usize| Volume::new([1, rows, columns], volume.plane(z).to_vec());
    let of_plane =
        |z: usize| ms_ssim(&plane(target, z), &plane(prediction, z), range, &MsSsim::default());
    let scores: Vec<f64> = (0..planes).into_par_iter().map(of_plane).collect();
    scores.iter().sum::<f64>() / planes as f64
}

/// Mean resolution over the planes that have one; NaN where pixels are not square.
pub(super) fn ring_resolution(volume: &Volume<f32>, spacing_um: Option<[f64; 3]>) -> f64 {
    let Some([_, y, x]) = spacing_um.filter(has_square_pixels) else { return f64::NAN };
    let planes = ring_correlation(volume, 0.5 * (y + x), &RingCorrelation::default());
    let found = planes.iter().map(|plane| plane.resolution_um).filter(|um| um.is_finite());
    mean_of_defined(&found.collect::<Vec<_>>()).0
}

/// Whether one number is the pixel size.
pub(super) fn has_square_pixels([_, y, x]: &[f64; 3]) -> bool {
    (y - x).abs() <= SAME_SPACING * y.max(*x)
}

/// In the plane and along z; NaN without a voxel size.
fn shell_resolution(volume: &Volume<f32>, spacing_um: Option<[f64; 3]>) -> [f64; 2] {
    let options = ShellCorrelation::default();
    spacing_um.map_or([f64::NAN; 2], |spacing_um| {
        lateral_and_axial(&shell_correlation(volume, spacing_um, &options))
    })
}
