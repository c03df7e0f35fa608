//! Connected components, from runs instead of voxels.
//!
//! A row is cut into runs of one value. A run is joined with the runs of the rows before
//! it that it touches, in a forest whose roots are the first runs of the components:
//!
//! ```text
//! for each run, in raster order:
//!     for each earlier run of the same value in the 2 (6, 18 and 26 neighbours: 4) rows beside it:
//!         if the two overlap (or meet at a corner, where that counts): join their trees
//! number the roots in their order
//! ```
//!
//! R. M. Haralick and L. G. Shapiro (1992), "Computer and Robot Vision", section 2.3, with
//! the forest of R. E. Tarjan (1975). The numbers are those of `skimage.measure.label`.

use rayon::prelude::*;

use super::Connectivity;
use crate::{Shape, Volume};

/// Rows that one thread cuts into runs at a time.
const ROWS: usize = 64;

/// Numbers the connected components of equal voxels 1, 2, 3 ... in the order of their
/// first voxels; voxels of the default value (`false`, 0) get 0.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::label::{Connectivity, components};
///
/// let mask = Volume::new([1, 2, 3], vec![true, false, true, false, true, false]);
/// assert_eq!(components(&mask, Connectivity::Faces).voxels, [1, 0, 2, 0, 3, 0]);
/// assert_eq!(components(&mask, Connectivity::Edges).voxels, [1, 0, 1, 0, 1, 0]);
/// ```
#[must_use]
pub fn components<T>(volume: &Volume<T>, connectivity: Connectivity) -> Volume<u32>
where
    T: Copy + PartialEq + Default + Sync,
{
    let components = Components::of(volume, connectivity, |voxel| voxel);
    let mut labels = Volume::filled(volume.shape, 0);
    components.for_each_run(|component, voxels| {
        labels.voxels[voxels].fill(component as u32 + 1);
    });
    labels
}

/// The connected components of a volume as runs of voxels.
pub(crate) struct Components {
    width: usize,
    /// The runs.
    pub(crate) rows: Rows,
    /// The component each run belongs to, from 0.
    pub(crate) component: Vec<u32>,
    /// How many there are.
    pub(crate) count: usize,
}

/// The runs of all rows of a volume, in raster order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Runs before each row, and in all rows at the end.
    pub(crate) before: Vec<u32>,
    /// First voxel and the one after the last, along x.
    pub(crate) runs: Vec<[u32; 2]>,
}

impl Rows {
    /// The runs of one row, by their places in [`Rows::runs`].
    pub(crate) fn of(&self, row: usize) -> std::ops::Range<usize> {
        self.before[row] as usize..self.before[row + 1] as usize
    }
}

impl Components {
    /// The components of equal keys; voxels with the default key belong to none.
    pub(crate) fn of<T, K>(
        volume: &Volume<T>,
        connectivity: Connectivity,
        key: impl Fn(T) -> K + Sync,
    ) -> Self
    where
        T: Copy + Sync,
        K: PartialEq + Default,
    {
        let width = volume.shape[2];
        let rows = find_runs(volume, &key);
        let value = |row: usize, [x, _]: [u32; 2]| key(volume.voxels[row * width + x as usize]);
        Self::joined(volume.shape, rows, connectivity, |rows, (row, a), (other, b)| {
            value(row, rows.runs[a]) == value(other, rows.runs[b])
        })
    }

    /// The components of runs; two that touch are joined if `same` says so of them, each told by
    /// its row and its place.
    pub(crate) fn joined(
        shape: Shape,
        rows: Rows,
        connectivity: Connectivity,
        same: impl Fn(&Rows, (usize, usize), (usize, usize)) -> bool,
    ) -> Self {
        let mut forest = Forest { parent: (0..rows.runs.len() as u32).collect() };
        for row in 0..shape[0] * shape[1] {
            for (other, reach) in earlier_rows(row, shape, connectivity).into_iter().flatten() {
                join(&rows.runs, rows.of(row), rows.of(other), reach, |a, b| {
                    if same(&rows, (row, a), (other, b)) {
                        forest.join(a as u32, b as u32);
                    }
                });
            }
        }
        let (component, count) = forest.numbers();
        Self { width: shape[2], rows, component, count }
    }

    /// Calls a function with the component and the voxels of every run, in raster order.
    pub(crate) fn for_each_run(&self, mut call: impl FnMut(usize, std::ops::Range<usize>)) {
        for (row, ends) in self.rows.before.windows(2).enumerate() {
            for run in ends[0] as usize..ends[1] as usize {
                let [start, stop] = self.rows.runs[run].map(|x| row * self.width + x as usize);
                call(self.component[run] as usize, start..stop);
            }
        }
    }

    /// How many voxels each component has.
    pub(crate) fn voxel_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.count];
        for ([start, stop], component) in self.rows.runs.iter().zip(&self.component) {
            counts[*component as usize] += (stop - start) as usize;
        }
        counts
    }
}

/// Cuts every row into runs.
pub(crate) fn find_runs<T, K>(volume: &Volume<T>, key: &(impl Fn(T) -> K + Sync)) -> Rows
where
    T: Copy + Sync,
    K: PartialEq + Default,
{
    let width = volume.shape[2].max(1);
    let cut = |rows: &[T]| {
        let (mut counts, mut runs) = (Vec::with_capacity(ROWS), Vec::new());
        let none = K::default();
        for row in rows.chunks_exact(width) {
            let first = runs.len();
            let mut x = 0;
            while x < width {
                let value = key(row[x]);
                let same = row[x + 1..].iter().position(|voxel| key(*voxel) != value);
                let stop = same.map_or(width, |length| x + 1 + length);
                if value != none {
                    runs.push([x as u32, stop as u32]);
                }
                x = stop;
            }
            counts.push((runs.len() - first) as u32);
        }
        (counts, runs)
    };
    let parts: Vec<_> = volume.voxels.par_chunks(ROWS * width).map(cut).collect();
    let mut before = vec![0];
    for count in parts.iter().flat_map(|(counts, _)| counts) {
        before.push(before[before.len() - 1] + count);
    }
    before.resize(volume.shape[0] * volume.shape[1] + 1, 0);
    let runs: Vec<Vec<[u32; 2]>> = parts.into_iter().map(|(_, runs)| runs).collect();
    Rows { before, runs: runs.concat() }
}

/// The rows before a row in which its voxels have neighbours, and how far beyond the ends
/// of a run such a neighbour may lie.
fn earlier_rows(row: usize, shape: Shape, connectivity: Connectivity) -> [Option<(usize, u32)>; 4] {
    let (z, y) = (row / shape[1], row % shape[1]);
    let reach = |steps: usize| u32::from(connectivity.steps() > steps);
    let diagonal = connectivity != Connectivity::Faces;
    [
        (diagonal && z > 0 && y > 0).then(|| (row - shape[1] - 1, reach(2))),
        (z > 0).then(|| (row - shape[1], reach(1))),
        (diagonal && z > 0 && y + 1 < shape[1]).then(|| (row - shape[1] + 1, reach(2))),
        (y > 0).then(|| (row - 1, reach(1))),
    ]
}

/// Calls a function with every pair of runs of two rows that touch.
fn join(
    runs: &[[u32; 2]],
    row: std::ops::Range<usize>,
    other: std::ops::Range<usize>,
    reach: u32,
    mut touch: impl FnMut(usize, usize),
) {
    let mut first = other.start;
    for a in row {
        let [start, stop] = runs[a];
        while first < other.end && runs[first][1] + reach <= start {
            first += 1;
        }
        let touching = (first..other.end).take_while(|b| runs[*b][0] < stop + reach);
        touching.for_each(|b| touch(a, b));
    }
}

/// The root of the tree that a node is in; the way there gets shorter.
pub(crate) fn root(parent: &mut [u32], mut node: u32) -> u32 {
    while parent[node as usize] != node {
        let grandparent = parent[parent[node as usize] as usize];
        parent[node as usize] = grandparent;
        node = grandparent;
    }
    node
}

/// Trees of runs; the root of a tree is its first run.
struct Forest {
    parent: Vec<u32>,
}

impl Forest {
    fn join(&mut self, a: u32, b: u32) {
        let [a, b] = [a, b].map(|run| root(&mut self.parent, run));
        self.parent[a.max(b) as usize] = a.min(b);
    }

    /// The number of each run's tree, and how many trees there are.
    fn numbers(mut self) -> (Vec<u32>, usize) {
        let mut count = 0;
        // A parent comes before its children and has its number already.
        for run in 0..self.parent.len() {
            let parent = self.parent[run] as usize;
            self.parent[run] = if parent == run {
                count += 1;
                count - 1
            } else {
                self.parent[parent]
            };
        }
        (self.parent, count as usize)
    }
}
