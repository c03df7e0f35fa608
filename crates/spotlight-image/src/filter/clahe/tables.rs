//! The mapping of grey levels of each tile.

use rayon::prelude::*;

use super::LEVELS;
use crate::{Border, Shape, Volume};

/// Mappings from bins to grey levels, one for each tile.
pub(super) struct Tables {
    /// Number of tiles along (z, y, x).
    shape: Shape,
    bins: usize,
    levels: Vec<u16>,
}

impl Tables {
    pub(super) fn new(image: &Volume<u16>, tile: Shape, clip_limit: f64, bins: usize) -> Self {
        let shape: Shape = std::array::from_fn(|axis| image.shape[axis].div_ceil(tile[axis]));
        let voxels = tile.iter().product::<usize>();
        // A part of the voxels, cut off to a whole number, but never nothing.
        let limit =
            if clip_limit > 0.0 { (clip_limit * voxels as f64).max(1.0) as usize } else { voxels };
        let mut levels = vec![0; shape.iter().product::<usize>() * bins];
        levels.par_chunks_mut(bins).enumerate().for_each(|(index, mapping)| {
            let place =
                [index / (shape[1] * shape[2]), index / shape[2] % shape[1], index % shape[2]];
            let mut counts = histogram(image, place, tile, bins);
            clip(&mut counts, limit);
            let last = (LEVELS - 1) as f64;
            let (scale, mut sum) = (last / voxels as f64, 0);
            for (level, count) in mapping.iter_mut().zip(counts) {
                sum += count;
                *level = (sum as f64 * scale).min(last) as u16;
            }
        });
        Self { shape, bins, levels }
    }

    /// The mapping of the tile at (z, y, x).
    pub(super) fn mapping(&self, [z, y, x]: [usize; 3]) -> &[u16] {
        let index = (z * self.shape[1] + y) * self.shape[2] + x;
        &self.levels[index * self.bins..][..self.bins]
    }
}

/// Counts the bins in a tile; beyond the edge the volume is mirrored.
fn histogram(image: &Volume<u16>, place: [usize; 3], tile: Shape, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    let [z, y, x]: [Vec<usize>; 3] = std::array::from_fn(|axis| {
        let start = place[axis] * tile[axis];
        let inside = |i: usize| Border::Mirror.inside(i as isize, image.shape[axis]);
        (start..start + tile[axis]).filter_map(inside).collect()
    });
    for z in &z {
        for y in &y {
            let row = &image.voxels[image.offset([*z, *y, 0])..][..image.shape[2]];
            for x in &x {
                counts[usize::from(row[*x])] += 1;
            }
        }
    }
    counts
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
