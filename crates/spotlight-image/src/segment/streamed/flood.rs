//! The watershed of the voxels of a mask, which alone are in memory.
//!
//! It is [`watershed`](super::super::watershed) step by step: the same queue takes the same voxels
//! in the same order.

use super::runs::{LabelRuns, Mask, RowsBuilder, voxel_count};
use super::space::{Fault, Space, slabs};
use super::store::Store;
use crate::filter::ordered;
use crate::grid::Shape;
use crate::label::{Components, Connectivity, Rows};
use crate::segment::flood::{Neighbours, Queue};

/// Bytes that a voxel of a slab takes while its distance is read.
const READING: usize = 8;

/// Bytes of a voxel of the mask: height, label, and its share of the queue.
const FLOODING: usize = 4 + 4 + 16;

/// Part of the work before and after.
const PARTS: [f64; 2] = [0.95, 0.99];

/// How many voxels are flooded between two reports.
const REPORT: usize = 1 << 20;

/// The voxels of a mask in raster order, all others left out.
struct Sparse<'m> {
    shape: Shape,
    rows: &'m Rows,
    /// Voxels before each run.
    before: Vec<usize>,
}

impl Sparse<'_> {
    /// The number of a voxel of the grid, if it is in the mask.
    fn number(&self, voxel: usize) -> Option<usize> {
        let (row, x) = (voxel / self.shape[2], (voxel % self.shape[2]) as u32);
        let of = self.rows.of(row);
        let runs = &self.rows.runs[of.clone()];
        let run = runs.partition_point(|run| run[0] <= x).checked_sub(1)?;
        let [start, stop] = runs[run];
        (x < stop).then(|| self.before[of.start + run] + (x - start) as usize)
    }
}

/// Grows seeds until they meet or fill the mask, those furthest from the background first.
pub(super) fn flood<E>(
    distance: Store<'_, f32, E>,
    mask: Mask,
    seeds: &Components,
    connectivity: Connectivity,
    space: &Space<'_, E>,
) -> Result<LabelRuns, Fault<E>> {
    let count = voxel_count(&mask);
    let needed = (FLOODING * count) as u64 + mask.bytes();
    space.check_alone(needed, "the voxels of the foreground", None)?;
    let heights = heights(&distance, &mask, count, space)?;
    drop(distance);
    let mut before = Vec::with_capacity(mask.rows.runs.len());
    let mut known = 0;
    for [start, stop] in &mask.rows.runs {
        before.push(known);
        known += (stop - start) as usize;
    }
    let sparse = Sparse { shape: mask.shape, rows: &mask.rows, before };
    let mut labels = vec![0_u32; count];
    let mut queue = Queue::default();
    seeds.for_each_run(|seed, voxels| {
        for voxel in voxels {
            if let Some(number) = sparse.number(voxel) {
                labels[number] = seed as u32 + 1;
                queue.push(heights[number], 0, voxel);
            }
        }
    });
    let neighbours = Neighbours::new(mask.shape, connectivity);
    let (mut age, mut done) = (0, 0);
    while let Some((level, voxel)) = queue.pop() {
        let Some(own) = sparse.number(voxel) else { continue };
        let label = labels[own];
        neighbours.for_each(voxel, |neighbour| {
            if let Some(number) = sparse.number(neighbour)
                && labels[number] == 0
            {
                age += 1;
                labels[number] = label;
                queue.push(heights[number].max(level), age, neighbour);
            }
        });
        done += 1;
        if done % REPORT == 0 {
            space.tell_within(PARTS, done, count);
        }
    }
    drop((queue, heights));
    Ok(label_runs(&mask, &labels))
}

/// The height of each voxel of a mask: the deeper in it, the lower.
fn heights<E>(
    distance: &Store<'_, f32, E>,
    mask: &Mask,
    count: usize,
    space: &Space<'_, E>,
) -> Result<Vec<u32>, Fault<E>> {
    let mut heights = Vec::with_capacity(count);
    for region in slabs(mask.shape, 0, space.working_bytes() / READING) {
        if mask.is_empty_in(region) {
            continue;
        }
        let part = distance.read(region)?;
        super::runs::for_each_part(&mask.rows, mask.shape, region, |_, voxels| {
            // -0 and 0 are one height.
            heights.extend(part.voxels[voxels].iter().map(|distance| ordered(-distance + 0.0)));
        });
    }
    Ok(heights)
}

/// The runs of equal labels.
fn label_runs(mask: &Mask, labels: &[u32]) -> LabelRuns {
    let mut rows = RowsBuilder::default();
    let (mut found, mut rest) = (Vec::new(), labels);
    for row in 0..mask.shape[0] * mask.shape[1] {
        for run in mask.rows.of(row) {
            let [mut start, stop] = mask.rows.runs[run];
            let (own, later) = rest.split_at((stop - start) as usize);
            for same in own.chunk_by(|a, b| a == b) {
                let end = start + same.len() as u32;
                if same[0] != 0 {
                    rows.push([start, end]);
                    found.push(same[0]);
                }
                start = end;
            }
            rest = later;
        }
        rows.end_row();
    }
    LabelRuns { shape: mask.shape, rows: rows.finish(), labels: found }
}
