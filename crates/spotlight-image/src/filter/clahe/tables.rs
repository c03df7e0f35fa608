//! The mapping of grey levels of each tile.

use rayon::prelude::*;

use super::LEVELS;
use crate::{Border, Shape, Volume};

/// Mappings from bins to grey levels, one for each tile.
pub(crate) struct Tables {
    /// Number of tiles along (z, y, x).
    shape: Shape,
    bins: usize,
    levels: Vec<u16>,
}

impl Tables {
    pub(super) fn new(image: &Volume<u16>, tile: Shape, clip_limit: f64, bins: usize) -> Self {
        let mut counts = TileCounts::new(image.shape, tile, bins);
        counts.add(image, [0; 3]);
        counts.tables(clip_limit)
    }

    /// The mapping of the tile at (z, y, x).
    pub(super) fn mapping(&self, [z, y, x]: [usize; 3]) -> &[u16] {
        let index = (z * self.shape[1] + y) * self.shape[2] + x;
        &self.levels[index * self.bins..][..self.bins]
    }
}

/// The histograms of the tiles of a volume, filled box by box; beyond the edge the volume is
/// mirrored.
pub(crate) struct TileCounts {
    tile: Shape,
    /// Number of tiles along (z, y, x).
    shape: Shape,
    bins: usize,
    /// For each axis and tile, the places it counts, in order; some twice.
    places: [Vec<Vec<usize>>; 3],
    counts: Vec<usize>,
}

impl TileCounts {
    pub(crate) fn new(volume: Shape, tile: Shape, bins: usize) -> Self {
        let shape: Shape = std::array::from_fn(|axis| volume[axis].div_ceil(tile[axis]));
        let places = std::array::from_fn(|axis| {
            let of_tile = |index: usize| {
                let start = index * tile[axis];
                let inside = |i: usize| Border::Mirror.inside(i as isize, volume[axis]);
                let mut places: Vec<usize> =
                    (start..start + tile[axis]).filter_map(inside).collect();
                places.sort_unstable();
                places
            };
            (0..shape[axis]).map(of_tile).collect()
        });
        let counts = vec![0; shape.iter().product::<usize>() * bins];
        Self { tile, shape, bins, places, counts }
    }

    /// Counts the bins of a box that begins at `start`.
    pub(crate) fn add(&mut self, image: &Volume<u16>, start: [usize; 3]) {
        let Self { shape, places, .. } = self;
        self.counts.par_chunks_mut(self.bins).enumerate().for_each(|(index, counts)| {
            let tile =
                [index / (shape[1] * shape[2]), index / shape[2] % shape[1], index % shape[2]];
            let [z, y, x]: [&[usize]; 3] = std::array::from_fn(|axis| {
                let places = &places[axis][tile[axis]];
                let stop = start[axis] + image.shape[axis];
                let first = places.partition_point(|place| *place < start[axis]);
                &places[first..places.partition_point(|place| *place < stop)]
            });
            for z in z {
                for y in y {
                    let row = image.offset([z - start[0], y - start[1], 0]);
                    let row = &image.voxels[row..][..image.shape[2]];
                    for x in x {
                        counts[usize::from(row[x - start[2]])] += 1;
                    }
                }
            }
        });
    }

    /// The mappings that make the histograms flat.
    pub(crate) fn tables(self, clip_limit: f64) -> Tables {
        let Self { tile, shape, bins, mut counts, .. } = self;
        let voxels = tile.iter().product::<usize>();
        // A part of the voxels, cut off to a whole number, but never nothing.
        let limit =
            if clip_limit > 0.0 { (clip_limit * voxels as f64).max(1.0) as usize } else { voxels };
        let mut levels = vec![0; counts.len()];
        let tiles = levels.par_chunks_mut(bins).zip(counts.par_chunks_mut(bins));
        tiles.for_each(|(mapping, counts)| {
            clip(counts, limit);
            let last = (LEVELS - 1) as f64;
            let (scale, mut sum) = (last / voxels as f64, 0);
            for (level, count) in mapping.iter_mut().zip(counts) {
                sum += *count;
                *level = (sum as f64 * scale).min(last) as u16;
            }
        });
        Tables { shape, bins, levels }
    }
}

/// Clips the counts to a limit and spreads what was clipped over the other bins.
fn clip(counts: &mut [usize], limit: usize) {
    let clipped: usize = counts.iter().map(|count| count.saturating_sub(limit)).sum();
    let share = clipped / counts.len();
    let upper = limit.saturating_sub(share);
    let mut given = 0;
    for count in counts.iter_mut() {
        if *count < upper {
            *count += share;
            given += share;
        }
        // A bin that its share has lifted may be among these.
        if *count >= upper {
            given += limit.saturating_sub(*count);
            *count = limit;
        }
    }
    spread(counts, limit, clipped.saturating_sub(given));
}

/// Gives what is left to bins below the limit, one to each in turn, in even steps.
fn spread(counts: &mut [usize], limit: usize, mut excess: usize) {
    while excess > 0 {
        let before = excess;
        for first in 0..counts.len() {
            let below = counts.iter().filter(|count| **count < limit).count();
            let step = (below / excess).max(1);
            let mut given = 0;
            for count in counts[first..].iter_mut().step_by(step).filter(|count| **count < limit) {
                *count += 1;
                given += 1;
            }
            if given >= excess {
                return;
            }
            excess -= given;
        }
        if excess == before {
            return;
        }
    }
}
