//! The cleanup of labels that are runs.
//!
//! Filling the holes of an object may give it voxels that were another's or none's; they are few,
//! and are kept beside the runs until all objects are done.

use std::collections::BTreeMap;

use super::runs::{LabelRuns, RowsBuilder, for_each_part};
use super::space::{Fault, Space};
use crate::Volume;
use crate::grid::{Region, voxel_count};
use crate::label::{Connectivity, fill, open_faces, searched};
use crate::segment::Cleanup;

/// Bytes that a voxel of the box of an object takes while its holes are filled.
const FILLING: usize = 8;

/// [`cleanup`](super::super::cleanup) of label runs.
pub(super) fn cleanup<E>(
    labels: LabelRuns,
    options: &Cleanup,
    space: &Space<'_, E>,
) -> Result<LabelRuns, Fault<E>> {
    space.check(2 * labels.bytes(), "the outlines of the labels", None)?;
    let most = if options.max_object_voxels > 0 { options.max_object_voxels } else { usize::MAX };
    let counts = voxel_counts(&labels);
    let values = labels.labels.clone();
    let fits = |label: u32| (options.min_object_voxels..=most).contains(&counts[&label]);
    let mut cleaned = labels.filtered(|_, run| fits(values[run]));
    drop(values);
    if options.clear_border {
        cleaned = without_border(cleaned, options.border_buffer_voxels);
    }
    if options.hole_voxels > 0 {
        cleaned = fill_holes(cleaned, options.hole_voxels, space)?;
    }
    Ok(cleaned.numbered())
}

fn voxel_counts(labels: &LabelRuns) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for ([start, stop], label) in labels.rows.runs.iter().zip(&labels.labels) {
        *counts.entry(*label).or_insert(0) += (stop - start) as usize;
    }
    counts
}

/// The connected parts that stay away from the edges in y and x, numbered.
fn without_border(labels: LabelRuns, buffer: usize) -> LabelRuns {
    let [_, height, width] = labels.shape;
    let near = |start: usize, stop: usize, length: usize| {
        start <= buffer || stop.saturating_add(buffer) >= length
    };
    let parts = labels.numbered();
    let mut reaches = vec![false; parts.count() as usize + 1];
    for row in 0..parts.rows.before.len() - 1 {
        for run in parts.rows.of(row) {
            let [start, stop] = parts.rows.runs[run].map(|x| x as usize);
            let y = row % height;
            reaches[parts.labels[run] as usize] |=
                near(y, y + 1, height) || near(start, stop, width);
        }
    }
    let numbers = parts.labels.clone();
    parts.filtered(|_, run| !reaches[numbers[run] as usize]).numbered()
}

/// Labels, and voxels that have got another one since.
struct Filled {
    labels: LabelRuns,
    changed: BTreeMap<usize, u32>,
}

/// Fills the holes of each object with fewer voxels than a number.
fn fill_holes<E>(
    labels: LabelRuns,
    min_voxels: usize,
    space: &Space<'_, E>,
) -> Result<LabelRuns, Fault<E>> {
    let shape = labels.shape;
    let regions = boxes(&labels);
    let mut filled = Filled { labels, changed: BTreeMap::new() };
    for (label, region) in regions {
        let region = searched(region, shape, min_voxels);
        let needed = (FILLING * voxel_count(region.shape)) as u64;
        space.check(needed, "the voxels of an object", Some(region))?;
        let mut object = filled.object(label, region);
        if !object.voxels.contains(&true) {
            continue;
        }
        let before = object.clone();
        if fill(&mut object, min_voxels, Connectivity::Faces, open_faces(region, shape)) {
            filled.give(label, region, &before, &object);
        }
    }
    Ok(filled.finish())
}

/// The box around each label.
fn boxes(labels: &LabelRuns) -> BTreeMap<u32, Region> {
    let height = labels.shape[1];
    let mut corners: BTreeMap<u32, [[usize; 3]; 2]> = BTreeMap::new();
    for row in 0..labels.rows.before.len() - 1 {
        let (z, y) = (row / height, row % height);
        for run in labels.rows.of(row) {
            let [start, stop] = labels.rows.runs[run].map(|x| x as usize);
            let own = corners.entry(labels.labels[run]).or_insert([[z, y, start], [z, y, stop]]);
            let [first, last] = own;
            *first = [first[0].min(z), first[1].min(y), first[2].min(start)];
            *last = [last[0].max(z + 1), last[1].max(y + 1), last[2].max(stop)];
        }
    }
    let region = |[first, last]: [[usize; 3]; 2]| Region {
        start: first,
        shape: std::array::from_fn(|axis| last[axis] - first[axis]),
    };
    corners.into_iter().map(|(label, corners)| (label, region(corners))).collect()
}

impl Filled {
    /// The voxels of a box that bear a label by now.
    fn object(&self, label: u32, region: Region) -> Volume<bool> {
        let LabelRuns { shape, rows, labels } = &self.labels;
        let mut object = Volume::filled(region.shape, false);
        for_each_part(rows, *shape, region, |run, voxels| {
            if labels[run] == label {
                object.voxels[voxels].fill(true);
            }
        });
        if !self.changed.is_empty() {
            for (row, voxels) in object.voxels.chunks_exact_mut(region.shape[2]).enumerate() {
                let start = self.start_of(region, row);
                for (voxel, now) in self.changed.range(start..start + region.shape[2]) {
                    voxels[voxel - start] = *now == label;
                }
            }
        }
        object
    }

    /// Gives a label to the voxels of a box that an object has got.
    fn give(&mut self, label: u32, region: Region, before: &Volume<bool>, after: &Volume<bool>) {
        let width = region.shape[2];
        for (voxel, (before, after)) in before.voxels.iter().zip(&after.voxels).enumerate() {
            if *after && !before {
                self.changed.insert(self.start_of(region, voxel / width) + voxel % width, label);
            }
        }
    }

    /// The place in raster order of the first voxel of a row of a box.
    fn start_of(&self, region: Region, row: usize) -> usize {
        let [_, height, width] = self.labels.shape;
        let (z, y) = (row / region.shape[1], row % region.shape[1]);
        ((region.start[0] + z) * height + region.start[1] + y) * width + region.start[2]
    }

    fn finish(self) -> LabelRuns {
        let Self { labels: LabelRuns { shape, rows, labels }, changed } = self;
        let width = shape[2];
        let (mut new_rows, mut new_labels) = (RowsBuilder::default(), Vec::new());
        let mut voxels = vec![0; width];
        for row in 0..rows.before.len() - 1 {
            let mut changed = changed.range(row * width..(row + 1) * width).peekable();
            if changed.peek().is_none() {
                for run in rows.of(row) {
                    new_rows.push(rows.runs[run]);
                    new_labels.push(labels[run]);
                }
                new_rows.end_row();
                continue;
            }
            voxels.fill(0);
            for run in rows.of(row) {
                let [start, stop] = rows.runs[run].map(|x| x as usize);
                voxels[start..stop].fill(labels[run]);
            }
            changed.for_each(|(voxel, label)| voxels[voxel - row * width] = *label);
            let mut start = 0;
            for same in voxels.chunk_by(|a, b| a == b) {
                let stop = start + same.len() as u32;
                if same[0] != 0 {
                    new_rows.push([start, stop]);
                    new_labels.push(same[0]);
                }
                start = stop;
            }
            new_rows.end_row();
        }
        LabelRuns { shape, rows: new_rows.finish(), labels: new_labels }
    }
}
