//! Masks and labels as runs: what is known of each row, in memory.

use crate::Volume;
use crate::grid::{Region, Shape};
use crate::label::{Components, Connectivity, Rows, find_runs};

/// A label image as the runs of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRuns {
    pub(super) shape: Shape,
    pub(super) rows: Rows,
    /// The label of each run, not 0.
    pub(super) labels: Vec<u32>,
}

/// A mask as the runs of its rows.
pub(super) struct Mask {
    pub(super) shape: Shape,
    pub(super) rows: Rows,
}

/// Bytes of a run, with its component or label.
const RUN: usize = 12;

impl LabelRuns {
    /// Labels of a grid without objects.
    pub(super) fn none(shape: Shape) -> Self {
        let rows = Rows { before: vec![0; shape[0] * shape[1] + 1], runs: Vec::new() };
        Self { shape, rows, labels: Vec::new() }
    }

    /// Number of voxels along (z, y, x).
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The largest label, which is how many objects there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.labels.iter().copied().max().unwrap_or(0)
    }

    /// The labels of a plane, row by row.
    ///
    /// # Panics
    ///
    /// If there is no such plane.
    #[must_use]
    pub fn plane(&self, z: usize) -> Vec<u32> {
        let [_, height, width] = self.shape;
        let mut plane = vec![0; height * width];
        for y in 0..height {
            for run in self.rows.of(z * height + y) {
                let [start, stop] = self.rows.runs[run].map(|x| y * width + x as usize);
                plane[start..stop].fill(self.labels[run]);
            }
        }
        plane
    }

    /// The connected parts of equal labels, numbered 1, 2, 3 ... in the order of their first
    /// voxels.
    pub(super) fn numbered(self) -> Self {
        let Self { shape, rows, labels } = self;
        let same =
            |_: &Rows, (_, a): (usize, usize), (_, b): (usize, usize)| labels[a] == labels[b];
        let parts = Components::joined(shape, rows, Connectivity::Corners, same);
        let Components { rows, mut component, .. } = parts;
        component.iter_mut().for_each(|part| *part += 1);
        Self { shape, rows, labels: component }
    }

    /// The labels for which a test of the run and its row holds.
    pub(super) fn filtered(self, mut keep: impl FnMut(usize, usize) -> bool) -> Self {
        let mut kept = RowsBuilder::default();
        let mut labels = Vec::new();
        for row in 0..self.rows.before.len() - 1 {
            for run in self.rows.of(row).filter(|run| keep(row, *run)) {
                kept.push(self.rows.runs[run]);
                labels.push(self.labels[run]);
            }
            kept.end_row();
        }
        Self { shape: self.shape, rows: kept.finish(), labels }
    }

    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.rows)
    }
}

impl Mask {
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.rows)
    }

    /// The parts that hang together.
    pub(super) fn components(self, connectivity: Connectivity) -> Components {
        Components::joined(self.shape, self.rows, connectivity, |_, _, _| true)
    }

    /// The voxels of a box.
    pub(super) fn crop(&self, region: Region) -> Volume<bool> {
        crop(&self.rows, self.shape, region, |_| true)
    }

    /// Whether a box has none of its voxels.
    pub(super) fn is_empty_in(&self, region: Region) -> bool {
        let mut any = false;
        for_each_part(&self.rows, self.shape, region, |_, _| any = true);
        !any
    }

    /// All voxels that are not in it.
    pub(super) fn complement(&self) -> Self {
        let width = self.shape[2] as u32;
        let mut rows = RowsBuilder::default();
        for row in 0..self.rows.before.len() - 1 {
            let mut from = 0;
            for run in self.rows.of(row) {
                let [start, stop] = self.rows.runs[run];
                rows.push([from, start]);
                from = stop;
            }
            rows.push([from, width]);
            rows.end_row();
        }
        Self { shape: self.shape, rows: rows.finish() }
    }
}

/// How many voxels a mask has.
pub(super) fn voxel_count(mask: &Mask) -> usize {
    mask.rows.runs.iter().map(|[start, stop]| (stop - start) as usize).sum()
}

fn bytes(rows: &Rows) -> u64 {
    (rows.before.len() * size_of::<u32>() + rows.runs.len() * RUN) as u64
}

/// The voxels of a box that are in a run for which a test holds.
pub(super) fn crop(
    rows: &Rows,
    shape: Shape,
    region: Region,
    is_in: impl Fn(usize) -> bool,
) -> Volume<bool> {
    let mut mask = Volume::filled(region.shape, false);
    for_each_part(rows, shape, region, |run, voxels| {
        if is_in(run) {
            mask.voxels[voxels].fill(true);
        }
    });
    mask
}

/// Calls a function with every run that reaches into a box, and the voxels of the box in it.
pub(super) fn for_each_part(
    rows: &Rows,
    shape: Shape,
    region: Region,
    mut call: impl FnMut(usize, std::ops::Range<usize>),
) {
    let [depth, height, width] = region.shape;
    let (first, stop) = (region.start[2], region.start[2] + width);
    for z in 0..depth {
        for y in 0..height {
            let of = rows.of((region.start[0] + z) * shape[1] + region.start[1] + y);
            let runs = &rows.runs[of.clone()];
            let before = runs.partition_point(|run| run[1] as usize <= first);
            let inside = runs[before..].iter().take_while(|run| (run[0] as usize) < stop);
            for (index, run) in inside.enumerate() {
                let [from, to] = run.map(|x| (x as usize).clamp(first, stop) - first);
                let row = (z * height + y) * width;
                call(of.start + before + index, row + from..row + to);
            }
        }
    }
}

/// Rows that are made run by run.
pub(super) struct RowsBuilder {
    before: Vec<u32>,
    runs: Vec<[u32; 2]>,
}

impl Default for RowsBuilder {
    fn default() -> Self {
        Self { before: vec![0], runs: Vec::new() }
    }
}

impl RowsBuilder {
    /// Adds a run to the row that is being made, unless it is empty.
    pub(super) fn push(&mut self, run: [u32; 2]) {
        if run[0] < run[1] {
            self.runs.push(run);
        }
    }

    pub(super) fn end_row(&mut self) {
        self.before.push(self.runs.len() as u32);
    }

    /// Adds all rows of a mask.
    pub(super) fn extend(&mut self, mask: &Volume<bool>) {
        let rows = find_runs(mask, &|voxel: bool| voxel);
        let known = self.runs.len() as u32;
        self.before.extend(rows.before[1..].iter().map(|before| before + known));
        self.runs.extend(rows.runs);
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.before.len() * size_of::<u32>() + self.runs.len() * RUN) as u64
    }

    pub(super) fn finish(mut self) -> Rows {
        self.runs.shrink_to_fit();
        Rows { before: self.before, runs: self.runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(shape: Shape) -> Volume<bool> {
        Volume::from_fn(shape, |[z, y, x]| (x * x + 3 * y + z) % 5 < 3)
    }

    #[test]
    fn runs_and_voxels_are_one_mask() {
        let shape = [3, 4, 9];
        let whole = mask(shape);
        let mut rows = RowsBuilder::default();
        for z in 0..3 {
            rows.extend(&whole.crop(Region { start: [z, 0, 0], shape: [1, 4, 9] }));
        }
        let runs = Mask { shape, rows: rows.finish() };
        let region = Region { start: [1, 1, 2], shape: [2, 3, 5] };
        assert_eq!(runs.crop(region), whole.crop(region));
        assert_eq!(voxel_count(&runs), whole.voxels.iter().filter(|voxel| **voxel).count());
        let all = Region::whole(shape);
        assert_eq!(runs.complement().crop(all), whole.map(|voxel| !voxel));
        assert_eq!(runs.complement().complement().crop(all), whole);
        assert!(!runs.is_empty_in(all));
        assert!(runs.is_empty_in(Region { start: [0; 3], shape: [0, 4, 9] }));
    }
}
