//! How a volume is cut into regions that fit the cache.

use std::{fmt, ops::Range};

use crate::{
    Precision,
    kernel::{
        source::Region,
        winograd::{self, POINTS, TILE},
    },
    tensor::BLOCK,
};

/// Numbers of input a task copies at a time: half a megabyte, half of a usual second-level cache.
const SCRATCH: usize = 128 * 1024;

/// Voxels that a pass over the weights of one output block should serve, so that reading the
/// weights costs little.
const VOXELS_PER_PASS: usize = 128;

/// Regions for a rolling copy along z, and the number of output planes to compute together.
///
/// A copy of `group + 2` input planes of `blocks` channel blocks fits the cache. There are about
/// `tasks` regions at least, where that does not make them thinner than four planes.
pub(crate) fn strips(
    batch: usize,
    shape: [usize; 3],
    blocks: usize,
    tasks: usize,
) -> (Vec<Region>, usize) {
    let [depth, height, width] = shape;
    let lines = SCRATCH / ((width + 2) * BLOCK * blocks);
    let whole = (depth + 2) * (height + 2);
    let wanted = VOXELS_PER_PASS.div_ceil(depth * height * width);
    let samples = if whole <= lines { wanted.max(lines / whole) } else { wanted };
    if samples > 1 {
        let samples = samples.min(batch.div_ceil(tasks.min(4))).max(wanted.min(batch));
        let regions = parts(batch, samples).into_iter();
        let regions = regions.map(|samples| Region { samples, z: 0..depth, y: 0..height });
        return (regions.collect(), depth);
    }
    let rows = parts(height, (lines / 3).saturating_sub(2).clamp(4, height.max(4)));
    let planes = (lines / (rows[0].len() + 2)).saturating_sub(2).clamp(1, depth);
    let runs = tasks.div_ceil(batch * rows.len()).min(depth.div_ceil(4));
    let runs = parts(depth, depth.div_ceil(runs));
    let mut regions = Vec::new();
    for sample in 0..batch {
        for z in &runs {
            for y in &rows {
                let (z, y) = (z.clone(), y.clone());
                regions.push(Region { samples: sample..sample + 1, z, y });
            }
        }
    }
    (regions, planes.min(runs[0].len()))
}

/// Regions of `batch` volumes of `shape` whose input, with a border of one voxel and `blocks`
/// channel blocks, fits the cache. Depends on nothing else, so that sums over regions are the same
/// for any number of threads.
pub(crate) fn regions(batch: usize, shape: [usize; 3], blocks: usize) -> Vec<Region> {
    let [depth, height, width] = shape;
    let lines = (SCRATCH / ((width + 2) * BLOCK * blocks)).max(9);
    let whole = (depth + 2) * (height + 2);
    if whole <= lines {
        let parts = parts(batch, lines / whole);
        return parts
            .into_iter()
            .map(|samples| Region { samples, z: 0..depth, y: 0..height })
            .collect();
    }
    let (planes, rows) = best_box(lines, depth, height);
    let mut regions = Vec::new();
    for sample in 0..batch {
        for z in parts(depth, planes) {
            for y in parts(height, rows) {
                regions.push(Region { samples: sample..sample + 1, z: z.clone(), y });
            }
        }
    }
    regions
}

/// The planes and rows, with a border of one, that make the best use of `lines` lines.
fn best_box(lines: usize, depth: usize, height: usize) -> (usize, usize) {
    let mut best = (1, 1);
    let mut best_share = 0.0;
    for planes in 1..=depth.min(8) {
        let mut rows = (lines / (planes + 2)).saturating_sub(2).clamp(1, height);
        // Whole tiles: no tile of rows is higher than four.
        if rows > 4 && rows < height {
            rows -= rows % 4;
        }
        if planes > 1 && (planes + 2) * (rows + 2) > lines {
            continue;
        }
        let share = (planes * rows) as f64 / ((planes + 2) * (rows + 2)) as f64;
        if share > best_share {
            (best, best_share) = ((planes, rows), share);
        }
    }
    best
}

/// An algorithm of the 3×3×3 convolution and its gradients, or of the 3×3 convolution of planes,
/// which is its middle plane: a third of the multiplications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The sum of its definition: 27 multiplications for each pair of channels and voxel.
    Direct,
    /// Winograd's F(4×4, 3×3) in the plane, the sum of the definition along z: 6.75
    /// multiplications, and transforms for each channel.
    Winograd,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Direct => "direct",
            Self::Winograd => "winograd",
        })
    }
}

/// What the transforms of a tile cost a channel, and what those of a weight cost, in
/// multiply-adds. Measured with AVX-512 on two cores; the choices between algorithms do not
/// hang on the exact values.
const TILE_COST: f64 = 600.0;
const WEIGHT_COST: f64 = 60.0;

/// The cost of a transformed weight where all of them are more than a cache holds, and how many
/// that is: 32 megabytes.
const FAR_WEIGHT_COST: f64 = 130.0;
const NEAR_WEIGHTS: f64 = 8.0 * 1024.0 * 1024.0;

/// Up to this many channels count as very few: the direct kernels have a way of their own for them.
pub(crate) const FEW: usize = 4;

/// The faster algorithm for a convolution with 3×3×3 weights, or with 3×3 (a kernel depth of 1),
/// or for its gradients; where they shall be precise, the direct sum.
///
/// The direct sum takes `27 · in · out` multiply-adds a voxel; Winograd's `108 · in · out` for
/// each tile of sixteen, the transforms of the tiles, and those of `108 · in · out` weights. The
/// choice must not depend on the number of threads or on the clock: the same work gives the same
/// bits on every machine with these instructions.
pub(crate) fn algorithm(
    precision: Precision,
    batch: usize,
    [depth, height, width]: [usize; 3],
    [inputs, outputs]: [usize; 2],
    kernel_depth: usize,
) -> Algorithm {
    if precision == Precision::Precise || inputs.min(outputs) <= FEW {
        return Algorithm::Direct;
    }
    let planes = (batch * depth) as f64;
    let pairs = (inputs.next_multiple_of(BLOCK) * outputs.next_multiple_of(BLOCK)) as f64;
    let channels = (inputs.next_multiple_of(BLOCK) + outputs.next_multiple_of(BLOCK)) as f64;
    let tiles = planes * (height.div_ceil(TILE) * width.div_ceil(TILE)) as f64;
    let depth = kernel_depth as f64;
    let direct = 9.0 * depth * pairs * planes * (height * width) as f64;
    let weights = 36.0 * depth * pairs;
    let weight_cost = if weights > NEAR_WEIGHTS { FAR_WEIGHT_COST } else { WEIGHT_COST };
    let winograd = tiles * (weights + TILE_COST * channels) + weight_cost * weights;
    if winograd < direct { Algorithm::Winograd } else { Algorithm::Direct }
}

/// Numbers that the transformed tiles of a region should have: three megabytes.
const PANELS: usize = 768 * 1024;

/// Tiles of a plane that a region should have.
const TILES: usize = 16;

/// Tiles of a row of a plane that a region may have, so that six rows of voxels stay in the cache.
const COLUMNS: usize = 64;

/// Regions of tiles for a Winograd convolution, whole along z, and the number of planes to compute
/// together. Depends on nothing else, so that sums over regions are the same for any number of
/// threads.
///
/// The weights of a point are read once for all rows (tiles) of the planes that are computed
/// together, so there should be about as many rows as channels, and the tiles should fit the cache
/// of a core.
pub(crate) fn tile_regions(
    batch: usize,
    [depth, height, width]: [usize; 3],
    [inputs, outputs]: [usize; 2],
) -> (Vec<winograd::Region>, usize) {
    let rows_wanted = (BLOCK * inputs.max(outputs)).max(128);
    let (rows, columns) = (height.div_ceil(TILE), width.div_ceil(TILE));
    let strips = even_parts(columns, TILES);
    let rows = even_parts(rows, (TILES / strips[0].len()).max(1));
    let tiles = rows[0].len() * strips[0].len();
    let is_whole = strips.len() == 1 && rows.len() == 1;
    let plane = POINTS * BLOCK * (inputs + outputs) * tiles;
    let fitting = (PANELS / plane).saturating_sub(1).min(rows_wanted.div_ceil(tiles));
    let planes = if is_whole { depth } else { fitting.clamp(1, depth) };
    let samples = if is_whole { rows_wanted.div_ceil(tiles * depth) } else { 1 };
    let regions = in_all_parts(&even_parts(batch, samples), depth, &rows, &strips);
    (regions, depth.div_ceil(depth.div_ceil(planes)))
}

/// Regions of tiles for a Winograd convolution of planes, with `inputs` and `outputs` channel
/// blocks: the tiles are counted as in [`tile_regions`], in rows as long as the planes allow.
pub(crate) fn plane_regions(
    batch: usize,
    [height, width]: [usize; 2],
    [inputs, outputs]: [usize; 2],
) -> Vec<winograd::Region> {
    let (rows, columns) = (height.div_ceil(TILE), width.div_ceil(TILE));
    let wanted = (BLOCK * inputs.max(outputs)).max(128);
    let fitting = PANELS / (POINTS * BLOCK * (inputs + outputs));
    let tiles = fitting.clamp(wanted / 2, wanted);
    let samples = (tiles / (rows * columns)).max(1);
    let strips = even_parts(columns, tiles.min(COLUMNS));
    let rows = even_parts(rows, (tiles / strips[0].len()).max(1));
    in_all_parts(&even_parts(batch, samples), 1, &rows, &strips)
}

/// A region, whole along z, for each part of the samples, rows and columns.
fn in_all_parts(
    samples: &[Range<usize>],
    depth: usize,
    rows: &[Range<usize>],
    columns: &[Range<usize>],
) -> Vec<winograd::Region> {
    let mut regions = Vec::new();
    for samples in samples {
        for rows in rows {
            for columns in columns {
                let (samples, rows, columns) = (samples.clone(), rows.clone(), columns.clone());
                regions.push(winograd::Region { samples, z: 0..depth, rows, columns });
            }
        }
    }
    regions
}

/// `0..len` in parts of nearly the same length, at most `most` each.
fn even_parts(len: usize, most: usize) -> Vec<Range<usize>> {
    let step = len.div_ceil(len.div_ceil(most));
    (0..len).step_by(step).map(|start| start..(start + step).min(len)).collect()
}

/// `0..len` in parts of nearly the same length, at most `most` each; cuts lie at multiples of four
/// where parts are longer than that.
fn parts(len: usize, most: usize) -> Vec<Range<usize>> {
    let count = len.div_ceil(most.max(1));
    let mut step = len.div_ceil(count);
    if step > 4 && step.next_multiple_of(4) <= most {
        step = step.next_multiple_of(4);
    }
    (0..len).step_by(step).map(|start| start..(start + step).min(len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(batch: usize, shape: [usize; 3], blocks: usize) {
        for regions in [regions(batch, shape, blocks), strips(batch, shape, blocks, 8).0] {
            let mut seen = vec![0; batch * shape[0] * shape[1]];
            for Region { samples, z, y } in regions {
                for (sample, z) in samples.flat_map(|s| z.clone().map(move |z| (s, z))) {
                    for y in y.clone() {
                        seen[(sample * shape[0] + z) * shape[1] + y] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{batch} {shape:?} {blocks}");
        }
    }

    // Many voxels: fewer multiplications win. Few voxels for many weights, or very few channels:
    // the sum of the definition.
    #[test]
    fn the_algorithm_follows_from_the_work() {
        for (batch, shape, channels, wanted) in [
            (2, [32, 64, 64], [32, 32], Algorithm::Winograd),
            (1, [8, 16, 16], [128, 128], Algorithm::Winograd),
            (2, [2, 4, 4], [512, 512], Algorithm::Direct),
            (2, [4, 8, 8], [512, 256], Algorithm::Direct),
            (24, [4, 8, 8], [512, 256], Algorithm::Winograd),
            (2, [32, 64, 64], [1, 32], Algorithm::Direct),
            (2, [32, 64, 64], [32, 1], Algorithm::Direct),
        ] {
            let found = algorithm(Precision::Fast, batch, shape, channels, 3);
            assert_eq!(found, wanted, "{shape:?} {channels:?}");
        }
    }

    #[test]
    fn regions_cover_every_row_once() {
        for (blocks, side) in [(1, 64), (2, 64), (4, 32), (16, 8), (32, 4), (1, 1), (3, 77)] {
            check(3, [side / 4 + 1, side, side], blocks);
            check(1, [1, side, 2 * side], blocks);
        }
    }
}
