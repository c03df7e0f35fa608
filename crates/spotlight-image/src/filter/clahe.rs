//! Contrast limited adaptive histogram equalisation (CLAHE) in 3D.
//!
//! Each tile of the volume gets a mapping of grey levels that makes its histogram flat, but
//! for a limit on the height of a bin, which limits the slope of the mapping and so the
//! contrast. A voxel is mapped by the tiles around it, weighted by how near it is to their
//! centres:
//!
//! ```text
//! level = round(16383 · (v - min) / (max - min)) of the 16-bit voxel v
//! for each tile: h = histogram of level / width of a bin, clipped and spread (tables)
//!                mapping = 16383 · cumulative sum of h / voxels of a tile
//! voxel = Σ over the 8 tiles around it of weight · mapping[level / width of a bin]
//! scale the result to [0, 1]
//! ```
//!
//! References:
//! - K. Zuiderveld (1994), "Contrast limited adaptive histogram equalization", Graphics Gems IV.
//! - `skimage.exposure.equalize_adapthist` of scikit-image 0.26, whose rules, orders of
//!   summation and roundings these are.

mod tables;

use rayon::prelude::*;

use crate::{Shape, Volume};
pub(crate) use tables::{Tables, TileCounts};

/// Grey levels that the equalisation works with, as in scikit-image.
const LEVELS: usize = 1 << 14;

/// The largest level of a 16-bit image.
const MAX_U16: f32 = 65_535.0;

/// Voxels that one thread handles at a time.
const PIECE: usize = 1 << 16;

/// How [`clahe`] equalises; the default is scikit-image's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clahe {
    /// Voxels of a tile along (z, y, x), at least 1; an eighth of the volume if `None`.
    pub tile: Option<Shape>,
    /// The largest part of a tile's voxels that a bin of its histogram may hold; 0 for no
    /// limit. Higher values give more contrast.
    pub clip_limit: f64,
    /// Bins of a histogram, from 1 to 16,384.
    pub bins: usize,
}

impl Default for Clahe {
    fn default() -> Self {
        Self { tile: None, clip_limit: 0.01, bins: 256 }
    }
}

/// Equalises the contrast of each neighbourhood; values lie in [0, 1] before and after.
///
/// Values outside [0, 1] are clipped and NaN is taken for 0. The result reaches from 0 to 1
/// exactly; what a constant volume becomes is rounding alone. The result takes the place of the
/// volume; beside it 2 bytes a voxel are needed, and 2 for each bin of each tile.
///
/// # Panics
///
/// If an axis of a tile is 0, or there are no bins or too many.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::filter::{Clahe, clahe};
///
/// let dim = Volume::from_fn([4, 16, 16], |[_, y, x]| 0.2 + 0.001 * (y + x) as f32);
/// let options = Clahe { tile: Some([2, 8, 8]), clip_limit: 0.02, ..Clahe::default() };
/// let clear = clahe(dim, &options);
/// assert!(clear.voxels.contains(&0.0) && clear.voxels.contains(&1.0));
/// ```
#[must_use]
pub fn clahe(mut volume: Volume<f32>, options: &Clahe) -> Volume<f32> {
    let tile = options.tile.unwrap_or_else(|| volume.shape.map(|length| (length / 8).max(1)));
    assert!(!tile.contains(&0), "a tile of {tile:?} voxels is empty");
    assert!((1..=LEVELS).contains(&options.bins), "{} bins, not 1 to {LEVELS}", options.bins);
    if volume.voxels.is_empty() {
        return volume;
    }
    let bins = bins(&volume, options.bins);
    let tables = Tables::new(&bins, tile, options.clip_limit, options.bins);
    interpolate(&bins, [0; 3], &places(bins.shape, tile), &tables, &mut volume);
    scale_to_unit(&mut volume.voxels);
    volume
}

/// The bin of each voxel's grey level.
fn bins(volume: &Volume<f32>, count: usize) -> Volume<u16> {
    let mut bins = Volume::filled(volume.shape, 0_u16);
    let pieces = bins.voxels.par_chunks_mut(PIECE).zip(volume.voxels.par_chunks(PIECE));
    let (low, high) = pieces
        .map(|(bins, voxels)| {
            let mut range = (u16::MAX, 0);
            for (bin, voxel) in bins.iter_mut().zip(voxels) {
                *bin = to_u16(*voxel);
                range = (range.0.min(*bin), range.1.max(*bin));
            }
            range
        })
        .reduce(|| (u16::MAX, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    let bin_of = bin_of_values(low, high, count);
    bins.voxels.par_iter_mut().for_each(|bin| *bin = bin_of[usize::from(*bin - low)]);
    bins
}

/// The bin of each 16-bit value of an image, from the lowest to the highest.
pub(crate) fn bin_of_values(low: u16, high: u16, count: usize) -> Vec<u16> {
    let last = (LEVELS - 1) as f64;
    let level = |value: u16| {
        if low == high {
            return f64::from(value).min(last);
        }
        (f64::from(value - low) / f64::from(high - low) * last).round_ties_even()
    };
    let width = 1 + LEVELS / count;
    (low..=high).map(|value| (level(value) as usize / width) as u16).collect()
}

/// [0, 1] to 0 ... 65535, halves rounded to even; never lower for a higher voxel.
pub(crate) fn to_u16(voxel: f32) -> u16 {
    // Where f32 has no fractions any more, addition rounds to whole numbers.
    const WHOLE: f32 = (1_u32 << 23) as f32;
    let scaled = (voxel.max(0.0) * MAX_U16).min(MAX_U16);
    (scaled + WHOLE).to_bits() as u16
}

/// The two tiles that a place on an axis lies between, and how near it is to each.
#[derive(Clone, Copy)]
pub(crate) struct Between {
    tiles: [usize; 2],
    weights: [f64; 2],
}

/// Tiles and weights for each place on an axis.
fn between(length: usize, tile: usize) -> Vec<Between> {
    let last = length.div_ceil(tile) - 1;
    let place = |index: usize| {
        let (block, offset) = ((index + tile / 2) / tile, (index + tile / 2) % tile);
        let part = offset as f64 / tile as f64;
        Between { tiles: [block.saturating_sub(1), block.min(last)], weights: [1.0 - part, part] }
    };
    (0..length).map(place).collect()
}

/// Tiles and weights for each place on each axis of a volume.
pub(crate) fn places(shape: Shape, tile: Shape) -> [Vec<Between>; 3] {
    std::array::from_fn(|axis| between(shape[axis], tile[axis]))
}

/// Maps each voxel of a box that begins at `start` by the tiles around it; whole numbers come out.
pub(crate) fn interpolate(
    bins: &Volume<u16>,
    start: [usize; 3],
    places: &[Vec<Between>; 3],
    tables: &Tables,
    result: &mut Volume<f32>,
) {
    let [_, height, width] = bins.shape;
    let places: [&[Between]; 3] =
        std::array::from_fn(|axis| &places[axis][start[axis]..start[axis] + bins.shape[axis]]);
    let rows = result.voxels.par_chunks_mut(width).zip(bins.voxels.par_chunks(width));
    rows.enumerate().for_each(|(row, (result, bins))| {
        let (z, y) = (places[0][row / height], places[1][row % height]);
        let mut start = 0;
        for stretch in places[2].chunk_by(|a, b| a.tiles == b.tiles) {
            let x_tiles = stretch[0].tiles;
            // In the order of summation: z slowest.
            let mappings: [&[u16]; 8] = std::array::from_fn(|i| {
                tables.mapping([z.tiles[i >> 2], y.tiles[i >> 1 & 1], x_tiles[i & 1]])
            });
            let stop = start + stretch.len();
            let voxels = result[start..stop].iter_mut().zip(&bins[start..stop]);
            for ((voxel, bin), x) in voxels.zip(stretch) {
                let mut sum = 0.0_f32;
                for (i, mapping) in mappings.iter().enumerate() {
                    let weight = x.weights[i & 1] * y.weights[i >> 1 & 1] * z.weights[i >> 2];
                    sum += (f64::from(mapping[usize::from(*bin)]) * weight) as f32;
                }
                *voxel = f32::from(sum as u16);
            }
            start = stop;
        }
    });
}

/// Scales to [0, 1]; what is constant is clipped to it.
fn scale_to_unit(voxels: &mut [f32]) {
    let widen = |(low, high): (f32, f32), v: &f32| (low.min(*v), high.max(*v));
    let none = || (f32::INFINITY, f32::NEG_INFINITY);
    let range = voxels.par_chunks(PIECE).map(|piece| piece.iter().fold(none(), widen));
    let (low, high) = range.reduce(none, |a, b| (a.0.min(b.0), a.1.max(b.1)));
    voxels.par_iter_mut().for_each(|v| {
        *v = to_unit(*v, low, high);
    });
}

/// A value of an image from `low` to `high`, scaled to [0, 1]; a constant is clipped to it.
pub(crate) fn to_unit(value: f32, low: f32, high: f32) -> f32 {
    if low == high { value.clamp(0.0, 1.0) } else { (value - low) / (high - low) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_are_rounded_half_to_even() {
        let halves = [0.5, 1.5, 2.5, 65_533.5];
        let found = halves.map(|v| to_u16(v / MAX_U16));
        assert_eq!(found, [0, 2, 2, 65_534]);
        assert_eq!([-1.0, 0.0, 1.0, 7.0, f32::NAN].map(to_u16), [0, 0, 65_535, 65_535, 0]);
    }

    #[test]
    fn a_constant_volume_stays_constant() {
        for (value, expected) in [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0)] {
            let flat = Volume::filled([3, 5, 4], value);
            assert_eq!(clahe(flat, &Clahe::default()), Volume::filled([3, 5, 4], expected));
        }
    }

    #[test]
    fn one_voxel_and_none() {
        let one = Volume::filled([1, 1, 1], 0.5);
        assert_eq!(clahe(one, &Clahe::default()).voxels.len(), 1);
        let none = Volume::filled([0, 4, 4], 0.5);
        assert_eq!(clahe(none.clone(), &Clahe::default()), none);
    }
}
