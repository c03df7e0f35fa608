//! Between a fine grid and a coarse grid of half the size: the 2×2×2 convolutions of stride 2.
//!
//! One fine voxel belongs to one coarse voxel `p` and one of eight taps `t`, so everything is a
//! product of matrices; `w[o, i, t]` joins coarse channel `o` with fine channel `i`.
//!
//! ```text
//! gather    coarse[p, o]   = bias[o] + Σ_t Σ_i w[o, i, t] fine[p, t, i]   // down; up's backward
//! scatter   fine[p, t, i]  = bias[i] + Σ_o     w[o, i, t] coarse[p, o]    // up; down's backward
//! weights   dw[o, i, t]    = Σ_p coarse[p, o] fine[p, t, i]               // both
//! ```
//! Fine voxels are brought into the order `[t][block][p][16]` in scratch first, normalised.

use std::ops::Range;

use super::{
    conv3::Target,
    pack::Packed,
    source::{self, Scratch, Shared, Source},
    vector::{Task, Vector},
};
use crate::tensor::BLOCK;

/// Fine voxels of one coarse voxel.
pub(crate) const TAPS: usize = 8;

/// Sums of one pair of blocks: `[t][fine channel][coarse channel]`.
pub(crate) const PAIR: usize = TAPS * BLOCK * BLOCK;

/// Some rows of the coarse grid of one sample; rows are counted through all planes.
#[derive(Clone, Debug)]
pub(crate) struct RowRange {
    pub(crate) sample: usize,
    pub(crate) rows: Range<usize>,
}

/// Rows of the coarse grid and the grid's height and width.
#[derive(Clone)]
pub(crate) struct Patch {
    pub(crate) range: RowRange,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Patch {
    /// Coarse voxels.
    fn voxels(&self) -> usize {
        self.range.rows.len() * self.width
    }

    /// The first fine voxel of tap 0 of a coarse row.
    fn fine_row(&self, row: usize) -> (usize, usize) {
        (2 * (row / self.height), 2 * (row % self.height))
    }

    /// Copies fine blocks to `[t][block][p][16]`.
    #[inline(always)]
    unsafe fn take_fine<V: Vector>(&self, sources: &[Source<'_>], line: *mut f32, to: *mut f32) {
        let tap_stride = sources.len() * self.voxels() * BLOCK;
        for (block, source) in sources.iter().enumerate() {
            for (index, row) in self.range.rows.clone().enumerate() {
                let (z, y) = self.fine_row(row);
                for half in 0..4 {
                    let from = source.row(self.range.sample, z + half / 2, y + half % 2);
                    let at = (block * self.voxels() + index * self.width) * BLOCK;
                    // SAFETY: `line` holds a fine row and `to` all blocks and taps.
                    unsafe {
                        source::copy::<V>(from, source.law.as_ref(), line);
                        for x in 0..self.width {
                            for kx in 0..2 {
                                let to = to.add((2 * half + kx) * tap_stride + at + x * BLOCK);
                                V::load(line.add((2 * x + kx) * BLOCK)).store(to);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Copies coarse blocks to `[block][p][16]`.
    #[inline(always)]
    unsafe fn take_coarse<V: Vector>(&self, sources: &[Source<'_>], mut to: *mut f32) {
        for source in sources {
            for row in self.range.rows.clone() {
                let from = source.row(self.range.sample, row / self.height, row % self.height);
                // SAFETY: the caller vouches for a buffer of all rows and blocks.
                unsafe {
                    source::copy::<V>(from, source.law.as_ref(), to);
                    to = to.add(self.width * BLOCK);
                }
            }
        }
    }
}

/// The direction of a convolution between the grids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From fine to coarse.
    Gather,
    /// From coarse to fine.
    Scatter,
}

/// Some rows of a convolution, all output blocks.
pub(crate) struct Between<'a> {
    pub(crate) direction: Direction,
    pub(crate) sources: &'a [Source<'a>],
    pub(crate) weights: &'a Packed,
    pub(crate) targets: &'a [Target],
    pub(crate) patch: Patch,
}

impl Task for Between<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let voxels = self.patch.voxels() * BLOCK;
        let line = 2 * self.patch.width * BLOCK;
        let taken = match self.direction {
            Direction::Gather => TAPS * self.sources.len() * voxels,
            Direction::Scatter => self.sources.len() * voxels,
        };
        // The last tile may read a few voxels too many.
        let mut scratch = Scratch::take(line + taken + 16 * BLOCK);
        let line_buffer = scratch.as_mut_ptr();
        // SAFETY: the caller vouches for the set; the buffer has the lengths that are used.
        unsafe {
            let taken = line_buffer.add(line);
            match self.direction {
                Direction::Gather => self.patch.take_fine::<V>(self.sources, line_buffer, taken),
                Direction::Scatter => self.patch.take_coarse::<V>(self.sources, taken),
            }
            for index in 0..self.targets.len() {
                if V::ACCUMULATORS >= 16 {
                    self.block::<V, 16>(index, taken);
                } else if V::ACCUMULATORS >= 4 {
                    self.block::<V, 4>(index, taken);
                } else {
                    self.block::<V, 2>(index, taken);
                }
            }
        }
    }
}

impl Between<'_> {
    /// Computes one output block from the copied input.
    #[inline(always)]
    unsafe fn block<V: Vector, const P: usize>(&self, index: usize, taken: *const f32) {
        let target = &self.targets[index];
        let weights = self.weights.block(index);
        let (voxels, all_taps) = (self.patch.voxels(), self.direction == Direction::Gather);
        let (columns, steps) = if all_taps { (1, TAPS) } else { (TAPS, 1) };
        let column_len = weights.len() / columns;
        for column in 0..columns {
            for first in (0..voxels).step_by(P) {
                // SAFETY: the tile lies in the copy, whose end is padded by one tile; the caller
                // vouches for the set.
                unsafe {
                    let mut sums = [V::load(target.bias.as_ptr()); P];
                    let mut weights = weights.as_ptr().add(column * column_len);
                    let mut from = taken.add(first * BLOCK);
                    for _ in 0..steps {
                        for source in self.sources {
                            for channel in 0..source.channels.count {
                                let weight = V::load(weights);
                                weights = weights.add(BLOCK);
                                for (p, sum) in sums.iter_mut().enumerate() {
                                    let value = V::splat(*from.add(p * BLOCK + channel));
                                    *sum = value.mul_add(weight, *sum);
                                }
                            }
                            from = from.add(voxels * BLOCK);
                        }
                    }
                    for (p, sum) in sums.iter().enumerate().take(voxels - first) {
                        sum.store(self.place(target, column, first + p));
                    }
                }
            }
        }
    }

    /// Where the result of coarse voxel `p` and tap `column` belongs.
    #[inline(always)]
    unsafe fn place(&self, target: &Target, column: usize, p: usize) -> *mut f32 {
        let Patch { range, height, width } = &self.patch;
        let offset = match self.direction {
            Direction::Gather => range.rows.start * width + p,
            Direction::Scatter => {
                let (z, y) = self.patch.fine_row(range.rows.start + p / width);
                let (z, y) = (z + column / 4, y + column / 2 % 2);
                (z * 2 * height + y) * 2 * width + 2 * (p % width) + column % 2
            }
        };
        // SAFETY: the voxel lies in the output, of which no other task writes these rows.
        unsafe { target.values.get().add(range.sample * target.sample_stride + offset * BLOCK) }
    }
}

/// The sums of one fine block with all coarse blocks over some rows.
pub(crate) struct Correlate<'a> {
    pub(crate) fine: &'a Source<'a>,
    pub(crate) coarse: &'a [Source<'a>],
    pub(crate) patches: &'a [Patch],
    /// [`PAIR`] numbers a coarse block; the sums are added to them.
    pub(crate) sums: Shared,
}

impl Task for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for patch in self.patches {
            let (voxels, line) = (patch.voxels() * BLOCK, 2 * patch.width * BLOCK);
            let mut scratch = Scratch::take(line + (TAPS + 1) * voxels);
            let line_buffer = scratch.as_mut_ptr();
            // SAFETY: the caller vouches for the set and the sums; the buffer has the lengths used.
            unsafe {
                let fine = line_buffer.add(line);
                let coarse = fine.add(TAPS * voxels);
                patch.take_fine::<V>(std::slice::from_ref(self.fine), line_buffer, fine);
                for (index, source) in self.coarse.iter().enumerate() {
                    patch.take_coarse::<V>(std::slice::from_ref(source), coarse);
                    for tap in 0..TAPS {
                        let fine = fine.add(tap * voxels);
                        let sums = self.sums.get().add(index * PAIR + tap * BLOCK * BLOCK);
                        if V::ACCUMULATORS >= 16 {
                            products::<V, 16>(fine, coarse, patch.voxels(), sums);
                        } else {
                            products::<V, 4>(fine, coarse, patch.voxels(), sums);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of sixteen fine with sixteen coarse channels to `sums`, `G` at a time.
#[inline(always)]
unsafe fn products<V: Vector, const G: usize>(
    fine: *const f32,
    coarse: *const f32,
    voxels: usize,
    sums: *mut f32,
) {
    for group in (0..BLOCK).step_by(G) {
        // SAFETY: the caller vouches for the voxels, the sums and the set.
        unsafe {
            let (fine, sums) = (fine.add(group), sums.add(group * BLOCK));
            let mut acc = [V::splat(0.0); G];
            for (g, acc) in acc.iter_mut().enumerate() {
                *acc = V::load(sums.add(g * BLOCK));
            }
            for p in 0..voxels {
                let vector = V::load(coarse.add(p * BLOCK));
                for (g, acc) in acc.iter_mut().enumerate() {
                    *acc = V::splat(*fine.add(p * BLOCK + g)).mul_add(vector, *acc);
                }
            }
            for (g, acc) in acc.iter().enumerate() {
                acc.store(sums.add(g * BLOCK));
            }
        }
    }
}
