//! Nuclei in a fluorescence stack, by thresholding and a seeded watershed.
//!
//! ```text
//! stretch      clip((v - low) / (high - low)) between two percentiles          Watershed
//! equalise     CLAHE                                                            |
//! reduce       half the size, anti-aliased                                      |   prepare
//! smooth       median                                                           |
//! threshold    Otsu; fill small holes                                           |   foreground
//! split        distance to the background, its maxima as seeds, flood           |   split
//! clean up     size, border, holes of each object                               Cleanup
//! ```
//!
//! All lengths and sizes are in voxels of the reduced grid, on which the labels come out.
//! The steps are functions of their own, so that one can be repeated with other settings;
//! [`tune`] does so to find the settings that fit a truth best.
//!
//! References:
//! - A. A. Kalinin et al. (2025), appendix A.3, and the libraries morphocell and cubic.
//! - CellProfiler's tutorial "3D monolayer", which the paper follows, with CLAHE added.

mod cleanup;
mod flood;
mod h_maxima;
mod peaks;
pub mod streamed;
mod tune;

pub use cleanup::{Cleanup, cleanup};
pub use flood::watershed;
pub use h_maxima::{distinct_h_maxima, h_maxima};
pub use peaks::{Peaks, local_maxima, local_maxima_in};
pub use tune::{Example, Grid, Trial, rank_trials, trial_scores, tune};

use peaks::inner;
use serde::{Deserialize, Serialize};

use crate::filter::{Clahe, Footprint, clahe, dilate, distance_transform, median_cube, stretch};
use crate::foreground::{Bins, otsu_threshold};
use crate::label::{Connectivity, components, fill_small_holes};
use crate::resample::{Resize, rescale_shape, resize_owned};
use crate::{Shape, Volume};

/// How [`segment`] finds nuclei; the default is the paper's as far as it is known, and
/// CellProfiler's tutorial where it is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watershed {
    /// Percentiles of the stack that are stretched to 0 and 1.
    pub stretch_percent: [f64; 2],
    /// Tiles of the contrast equalisation along (z, y, x); a tile has that part of the
    /// stack's voxels, rounded down.
    pub clahe_divisors: [usize; 3],
    /// Limit of the contrast equalisation, see [`Clahe::clip_limit`].
    pub clahe_clip_limit: f64,
    /// Bins of the contrast equalisation.
    pub clahe_bins: usize,
    /// Factor of the size along (z, y, x); an axis that shrinks is smoothed before.
    pub scale: [f64; 3],
    /// Voxels along each side of the median's cube; odd, 1 for no median.
    pub median_size: usize,
    /// Bins of Otsu's threshold.
    pub threshold_bins: usize,
    /// Holes of the foreground with fewer voxels than this are filled.
    pub hole_voxels: usize,
    /// Radius of the ball in which a seed is the place furthest from the background.
    pub ball_radius: usize,
    /// Above 0, seeds are the [`distinct_h_maxima`] of the distance with this height in
    /// voxels, in place of those by the ball; 0 for the ball.
    pub seed_height: f64,
    /// Seeds grow by a ball of this radius, so that neighbours become one; 0 for none.
    pub seed_dilation: usize,
    /// Seeds this near to the edge of the stack do not count; 1 is the outermost voxel.
    pub seed_margin: usize,
    /// Which voxels the flood goes on to.
    pub connectivity: Connectivity,
    /// What is removed and filled at the end.
    pub cleanup: Cleanup,
}

impl Default for Watershed {
    fn default() -> Self {
        Self {
            stretch_percent: [0.1, 99.9],
            clahe_divisors: [2, 3, 5],
            clahe_clip_limit: 0.015,
            clahe_bins: 256,
            scale: [0.5; 3],
            median_size: 5,
            threshold_bins: 256,
            // A ball of 20 voxels across, by CellProfiler's rule.
            hole_voxels: 4189,
            ball_radius: 10,
            seed_height: 0.0,
            seed_dilation: 1,
            seed_margin: 1,
            connectivity: Connectivity::Faces,
            cleanup: Cleanup::default(),
        }
    }
}

/// Segments the nuclei of a fluorescence stack; labels are 1, 2, 3 ... on the reduced grid.
///
/// The result's shape is [`reduced_shape`]; [`resize`](crate::resample::resize) with
/// [`Order::Nearest`](crate::resample::Order::Nearest) brings labels back to the grid of the
/// stack. A stack of one value has no nuclei, and one without voxels stays as it is. An axis
/// of one voxel is taken for none: one plane is segmented as an image.
///
/// # Panics
///
/// If a voxel is not finite, or an option is outside its range.
///
/// # Examples
///
/// ```
/// use spotlight_image::segment::{Watershed, segment};
/// use spotlight_image::Volume;
///
/// let is_in = |p: [usize; 3], x: usize| {
///     let square = |a: usize, b: usize| a.abs_diff(b).pow(2);
///     square(p[0], 20) + square(p[1], 30) + square(p[2], x) <= 14 * 14
/// };
/// let nuclei = |p| if is_in(p, 26) || is_in(p, 50) { 1000.0 } else { 10.0 };
/// let labels = segment(&Volume::from_fn([40, 60, 80], nuclei), &Watershed::default());
/// assert_eq!(labels.shape, [20, 30, 40]);
/// assert_eq!(labels.voxels.iter().max(), Some(&2));
/// ```
#[must_use]
pub fn segment(volume: &Volume<f32>, options: &Watershed) -> Volume<u32> {
    if volume.voxels.is_empty() {
        return volume.map(|_| 0);
    }
    let mask = foreground(&prepare(volume, options), options);
    cleanup(&split(&mask, options), &options.cleanup)
}

/// Stretches, equalises and reduces a stack: the steps before the median. One that has a single
/// value between the percentiles of the stretch becomes 0 everywhere.
///
/// # Panics
///
/// As [`segment`]; if there is no voxel.
#[must_use]
pub fn prepare(volume: &Volume<f32>, options: &Watershed) -> Volume<f32> {
    let finite = volume.voxels.iter().all(|voxel| voxel.is_finite());
    assert!(finite, "segmentation needs finite voxels");
    let tile =
        std::array::from_fn(|axis| (volume.shape[axis] / options.clahe_divisors[axis]).max(1));
    let equalisation =
        Clahe { tile: Some(tile), clip_limit: options.clahe_clip_limit, bins: options.clahe_bins };
    let stretched = stretch(volume, options.stretch_percent);
    let shape = reduced_shape(volume.shape, options.scale);
    if stretched.voxels.iter().all(|voxel| *voxel <= 0.0) {
        // Of a stack of one value, equalisation would make the rounding of its own weights.
        return Volume::filled(shape, 0.0);
    }
    resize_owned(clahe(stretched, &equalisation), shape, &Resize::default())
}

/// The shape of the grid that a stack is segmented on; an axis of one voxel stays as it is.
#[must_use]
pub fn reduced_shape(shape: Shape, scale: [f64; 3]) -> Shape {
    rescale_shape(
        shape,
        std::array::from_fn(|axis| if shape[axis] == 1 { 1.0 } else { scale[axis] }),
    )
}

/// Smooths and thresholds a prepared stack: true where there are nuclei.
///
/// # Panics
///
/// As [`segment`]; if there is no voxel.
#[must_use]
pub fn foreground(prepared: &Volume<f32>, options: &Watershed) -> Volume<bool> {
    let smooth = median_cube(prepared, options.median_size);
    let threshold = otsu_threshold(&smooth, Bins::Count(options.threshold_bins));
    let mask = smooth.map(|voxel| f64::from(*voxel) > threshold);
    fill_small_holes(&mask, options.hole_voxels, Connectivity::Faces)
}

/// Splits a mask into objects by how far they reach from the background.
///
/// Seeds are the places furthest from the background in a ball around them, joined where
/// they touch; the watershed of the negative distance grows them to fill the mask.
/// A piece of the mask without a seed gets none: one that lies in the margin, and a mask
/// that covers the whole volume. (`cubic`'s `segment_watershed`.)
///
/// With a [`seed_height`](Watershed::seed_height), seeds are the places from where the way to
/// any place further from the background comes nearer to it by that many voxels. A piece of
/// the mask that reaches less far than that from the background has no seed.
///
/// # Examples
///
/// ```
/// use spotlight_image::segment::{Watershed, split};
/// use spotlight_image::Volume;
///
/// // Two blocks, joined by a thin bridge.
/// let mask = Volume::from_fn([9, 9, 19], |[z, y, x]| {
///     let inside = (1..8).contains(&z) && (1..8).contains(&y);
///     inside && ((1..8).contains(&x) || (11..18).contains(&x) || (y == 4 && x < 18 && x > 0))
/// });
/// let options = Watershed { ball_radius: 3, ..Watershed::default() };
/// let labels = split(&mask, &options);
/// assert_eq!(labels.at([4, 4, 2]), 1);
/// assert_eq!(labels.at([4, 4, 16]), 2);
/// ```
#[must_use]
pub fn split(mask: &Volume<bool>, options: &Watershed) -> Volume<u32> {
    let distance: Volume<f32> = distance_transform(mask, [1.0; 3]);
    let seeds = seeds(&distance, mask, options);
    let depth = distance.map(|d| -d);
    drop(distance);
    watershed(&depth, &seeds, Some(mask), options.connectivity)
}

/// The numbered seeds of a mask with its distance to the background.
fn seeds(distance: &Volume<f32>, mask: &Volume<bool>, options: &Watershed) -> Volume<u32> {
    let seeds = if options.seed_height > 0.0 {
        high_seeds(distance, options)
    } else {
        seeds_in_ball(distance, mask, options)
    };
    let grown = match options.seed_dilation {
        0 => seeds,
        radius => dilate(&seeds, &Footprint::ball(radius)),
    };
    components(&grown, Connectivity::Corners)
}

/// The places furthest from the background in a ball around them.
fn seeds_in_ball(distance: &Volume<f32>, mask: &Volume<bool>, options: &Watershed) -> Volume<bool> {
    let peaks = Peaks {
        footprint: Footprint::ball(options.ball_radius),
        margin: options.seed_margin,
        ..Peaks::default()
    };
    let mut seeds = Volume::filled(mask.shape, false);
    for place in local_maxima_in(distance, mask, &peaks) {
        let offset = seeds.offset(place);
        seeds.voxels[offset] = true;
    }
    seeds
}

/// The maxima of the distance that rise by the height.
fn high_seeds(distance: &Volume<f32>, options: &Watershed) -> Volume<bool> {
    // As for the ball, voxels in the margin are no part of the mask, and nor is one that has
    // no background. Where the distance is 0 no maximum is: that is the background.
    let inner = inner(distance.shape, options.seed_margin);
    let mut known = distance.crop(inner);
    known.voxels.iter_mut().filter(|d| !d.is_finite()).for_each(|d| *d = 0.0);
    let mut hills = Volume::filled(distance.shape, 0.0);
    hills.paste(inner.start, &known);
    drop(known);
    distinct_h_maxima(&hills, options.seed_height, Connectivity::Corners)
}
