//! Scores of voxels: is the prediction like the target?

use anyhow::{Context as _, Result};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use spotlight_image::evaluate::{
    MsSsim, RingCorrelation, ShellCorrelation, Ssim, lateral_and_axial, mean_of_defined, ms_ssim,
    ring_correlation, shell_correlation, shell_correlation_bytes, ssim_in_mask_of_planes,
    ssim_of_planes,
};
use spotlight_image::grid::voxel_count;
use spotlight_image::{Shape, Volume};

use super::images::{Images, Region, See};
use super::similarity::{fit, similarity_of};
use super::sums::RegionSums;

/// Planes on both sides that the window of SSIM looks at.
const SSIM_HALO: usize = 3;

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
    /// The memory that the resolution by shells needs, where it is left out for want of it.
    pub(super) shells_need: Option<u64>,
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
        all.extend(of_image(images, image, contender, shells)?);
    }
    for (place, region) in [Region::Whole, Region::Foreground].into_iter().enumerate() {
        let fit = fit(images, region, None)?;
        for image in 0..images.len() {
            let (found, constant) = similarity_of(images, image, region, None, &fit)?;
            let scores = &mut all[Region::ALL.len() * image + place];
            scores.values[MICRO..MICRO + 2].copy_from_slice(&found);
            scores.constant_planes = constant;
        }
    }
    Ok(all)
}

/// All scores of an image but those that need a fit to the data set, by region.
fn of_image(
    images: &mut Images,
    image: usize,
    contender: usize,
    shells: bool,
) -> Result<[PixelScores; 3]> {
    let sums = RegionSums::of(|see| images.show(image, 0, see))?;
    let structure = structure(images, image)?;
    let planes = scores_of_planes(images, image)?;
    let mut shells_need = None;
    let mut values = [[f64::NAN; PIXEL_METRICS.len()]; 3];
    for (place, (region, values)) in Region::ALL.into_iter().zip(&mut values).enumerate() {
        values[0] = sums.psnr(region);
        values[1] = sums.nrmse(region);
        values[2] = structure[place];
        values[6] = sums.pearson(region);
        let Some((multi_scale, resolution)) = planes.get(place) else { continue };
        values[3] = multi_scale.iter().sum::<f64>() / multi_scale.len() as f64;
        if region == Region::Foreground {
            values[7] = sums.dice();
        }
        values[RINGS] = mean_resolution(resolution);
        if shells && sums.spacing_um().is_some() {
            match shell_resolution(images, image, region, sums.shape())? {
                Ok(found) => values[RINGS + 1..].copy_from_slice(&found),
                Err(bytes) => shells_need = Some(bytes),
            }
        }
    }
    let mut values = values.into_iter();
    Ok(Region::ALL.map(|region| PixelScores {
        image,
        contender,
        region,
        values: values.next().unwrap_or([f64::NAN; PIXEL_METRICS.len()]),
        constant_planes: 0,
        foreground: sums.foreground(),
        data_range: sums.data_range(),
        shape: sums.shape(),
        spacing_um: sums.spacing_um(),
        shells_need,
    }))
}

/// SSIM of the three regions, from slabs with half a window around them.
fn structure(images: &mut Images, image: usize) -> Result<[f64; 3]> {
    let options = Ssim::default();
    let mut totals = [[0.0; 2]; 3];
    let see: See = &mut |prepared, core| {
        let range = prepared.data_range;
        let mut add = |place: usize, planes: Vec<[f64; 2]>| {
            let total: &mut [f64; 2] = &mut totals[place];
            planes.iter().for_each(|p| *total = [total[0] + p[0], total[1] + p[1]]);
        };
        for (place, region) in [Region::Whole, Region::Foreground].into_iter().enumerate() {
            let [target, prediction] = prepared.pair(&prepared.prediction, region);
            add(place, ssim_of_planes(&target, &prediction, range, &options));
            if region == Region::Whole {
                let (pair, mask) = ([&target, &prediction], prepared.foreground());
                add(2, ssim_in_mask_of_planes(pair, &mask, core.clone(), range, &options));
            }
        }
    };
    images.show(image, SSIM_HALO, see)?;
    Ok(totals.map(|[sum, count]| sum / count))
}

/// MS-SSIM and the resolution by rings of every plane, whole and times the mask.
fn scores_of_planes(images: &mut Images, image: usize) -> Result<[(Vec<f64>, Vec<f64>); 2]> {
    let mut found = [(); 2].map(|()| (Vec::new(), Vec::new()));
    let see: See = &mut |prepared, _| {
        for (region, found) in [Region::Whole, Region::Foreground].into_iter().zip(&mut found) {
            let [target, prediction] = prepared.pair(&prepared.prediction, region);
            found.0.extend(ms_ssim_of_planes(&target, &prediction, prepared.data_range));
            found.1.extend(ring_resolutions(&prediction, prepared.spacing_um));
        }
    };
    images.show(image, 0, see)?;
    Ok(found)
}

/// Plane by plane: five scales of a volume would need 96 planes.
fn ms_ssim_of_planes(target: &Volume<f32>, prediction: &Volume<f32>, range: f64) -> Vec<f64> {
    let [planes, rows, columns] = target.shape;
    let plane =
        |volume: &Volume<f32>, z: usize| Volume::new([1, rows, columns], volume.plane(z).to_vec());
    let of_plane =
        |z: usize| ms_ssim(&plane(target, z), &plane(prediction, z), range, &MsSsim::default());
    (0..planes).into_par_iter().map(of_plane).collect()
}

/// Resolution of each plane; none where pixels are not square.
pub(super) fn ring_resolutions(volume: &Volume<f32>, spacing_um: Option<[f64; 3]>) -> Vec<f64> {
    let Some([_, y, x]) = spacing_um.filter(has_square_pixels) else { return Vec::new() };
    let planes = ring_correlation(volume, 0.5 * (y + x), &RingCorrelation::default());
    planes.iter().map(|plane| plane.resolution_um).collect()
}

/// Mean resolution over the planes that have one; NaN where none has.
pub(super) fn mean_resolution(planes: &[f64]) -> f64 {
    let found = planes.iter().copied().filter(|um| um.is_finite());
    mean_of_defined(&found.collect::<Vec<_>>()).0
}

/// Whether one number is the pixel size.
pub(super) fn has_square_pixels([_, y, x]: &[f64; 3]) -> bool {
    (y - x).abs() <= SAME_SPACING * y.max(*x)
}

/// In the plane and along z, of the prediction alone, which must be in memory whole; else the
/// memory that it needs.
fn shell_resolution(
    images: &mut Images,
    image: usize,
    region: Region,
    shape: Shape,
) -> Result<Result<[f64; 2], u64>> {
    let of_volume = 4 * voxel_count(shape) as u64;
    let [allowed, of_slab] = images.beside(shape);
    let for_threads = |threads: usize| of_volume + shell_correlation_bytes(shape, threads);
    if for_threads(1).max(of_volume + of_slab) > allowed {
        return Ok(Err(images.memory_for(for_threads(1).max(of_volume + of_slab))));
    }
    let most = rayon::current_num_threads();
    let threads = (1..=most).rev().find(|threads| for_threads(*threads) <= allowed).unwrap_or(1);
    // Slabs are read beside the volume: within what it leaves.
    let (mut voxels, mut spacing) = (Vec::with_capacity(voxel_count(shape)), None);
    images.show_within(of_volume, image, &mut |prepared, _| {
        let [_, prediction] = prepared.pair(&prepared.prediction, region);
        voxels.extend_from_slice(&prediction.voxels);
        spacing = prepared.spacing_um;
    })?;
    let volume = Volume::new(shape, voxels);
    let Some(spacing_um) = spacing else { return Ok(Ok([f64::NAN; 2])) };
    let correlate = || shell_correlation(&volume, spacing_um, &ShellCorrelation::default());
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.context("while starting the threads")?;
    Ok(Ok(lateral_and_axial(&pool.install(correlate))))
}
