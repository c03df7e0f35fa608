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
    product::{Rows, accumulate, tiles},
    source::{self, Scratch, Shared, Source},
    vector::{Task, Vector},
};
use crate::tensor::BLOCK;

/// Fine voxels of one coarse voxel.
pub(crate) const TAPS: usize = 8;

/// Output blocks that are computed together.
pub(crate) const TOGETHER: usize = 2;

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
                        source::copy::<V>(from, source.law(self.range.sample), line);
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
                    source::copy::<V>(from, source.law(self.range.sample), to);
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
    /// The group of output blocks, of all, that `targets` start with.
    pub(crate) first_group: usize,
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
        let mut scratch = Scratch::take(line + taken);
        let line_buffer = scratch.as_mut_ptr();
        // SAFETY: the caller vouches for the set; the buffer has the lengths that are used.
        unsafe {
            let taken = line_buffer.add(line);
            match self.direction {
                Direction::Gather => self.patch.take_fine::<V>(self.sources, line_buffer, taken),
                Direction::Scatter => self.patch.take_coarse::<V>(self.sources, taken),
            }
            for (index, targets) in self.targets.chunks(TOGETHER).enumerate() {
                let weights = self.weights.block(self.first_group + index);
                match targets.len() {
                    TOGETHER => self.group::<V, TOGETHER>(targets, weights, taken),
                    _ => self.group::<V, 1>(targets, weights, taken),
                }
            }
        }
    }
}

impl Between<'_> {
    /// Computes some output blocks from the copied input.
    #[inline(always)]
    unsafe fn group<V: Vector, const B: usize>(
        &self,
        targets: &[Target],
        weights: &[f32],
        taken: *const f32,
    ) {
        // To the fine grid, every tap is a product of its own; to the coarse one, a summand.
        let columns = if self.direction == Direction::Gather { 1 } else { TAPS };
        let channels: usize = self.sources.iter().map(|source| source.channels.count).sum();
        for column in 0..columns {
            let weights = &weights[column * channels * B * BLOCK..];
            // SAFETY: the caller vouches for the set, the copy and the targets.
            unsafe {
                let between = self;
                tiles::<V, B>(
                    self.patch.voxels(),
                    &Column { between, targets, column, weights, taken },
                );
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

/// The product of one tap, or of all.
struct Column<'a> {
    between: &'a Between<'a>,
    targets: &'a [Target],
    column: usize,
    weights: &'a [f32],
    taken: *const f32,
}

impl Rows for Column<'_> {
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const B: usize>(&self, first: usize) {
        let Between { direction, sources, patch, .. } = self.between;
        let steps = if *direction == Direction::Gather { TAPS } else { 1 };
        // SAFETY: the tile lies in the copy; the caller vouches for the set.
        unsafe {
            let mut acc = [[V::splat(0.0); B]; R];
            for acc in &mut acc {
                for (b, acc) in acc.iter_mut().enumerate() {
                    *acc = V::load(self.targets[b].bias.as_ptr());
                }
            }
            let mut with = self.weights.as_ptr();
            let mut from = self.taken.add(first * BLOCK);
            for _ in 0..steps {
                for source in *sources {
                    accumulate(&mut acc, from, source.channels.count, with);
                    with = with.add(source.channels.count * B * BLOCK);
                    from = from.add(patch.voxels() * BLOCK);
                }
            }
            // Out of the registers first: a loop with so much in it is not unrolled, and sums that
            // are chosen by a running number would never have been in registers.
            let mut sums = [[[0.0_f32; BLOCK]; B]; R];
            for (sums, acc) in sums.iter_mut().zip(&acc) {
                for (b, sum) in sums.iter_mut().enumerate() {
                    self.targets[b].finish(acc[b]).store(sum.as_mut_ptr());
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (sum, target) in sums.iter().zip(self.targets) {
                    let to = self.between.place(target, self.column, first + r);
                    V::load(sum.as_ptr()).store(to);
                }
            }
        }
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
