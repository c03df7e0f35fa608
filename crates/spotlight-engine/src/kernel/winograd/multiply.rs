//! The product of matrices of one point.
//!
//! ```text
//! for each sample, each group of R rows (tiles) of the planes:
//!   acc[R][B] = 0                                          // B output blocks of 16 channels
//!   for each kz, input block, input channel k:
//!     u[B] = U[kz][k]
//!     for each row r:  acc[r] += V[row + r + kz T][k] u    // one input for all lanes
//!   M[row] = acc
//! ```
//! Planes outside the volume are zero, so the steps that would read them are left out.

use std::ops::Range;

use super::{Panel, weights::Transformed};
use crate::{
    kernel::{
        source::{Channels, Shared},
        vector::{Task, Vector},
    },
    tensor::BLOCK,
};

/// One point's product for one group of output blocks.
pub(crate) struct Multiply<'a> {
    pub(crate) point: usize,
    /// Which group of output blocks.
    pub(crate) group: usize,
    pub(crate) weights: &'a Transformed,
    /// Channels of the input blocks.
    pub(crate) channels: &'a [Channels],
    pub(crate) input: &'a Panel,
    pub(crate) output: &'a Panel,
    /// Which of the input's planes are in the volume.
    pub(crate) inside: Range<usize>,
    pub(crate) from: Shared,
    pub(crate) to: Shared,
}

impl Task for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let blocks = self.weights.group_blocks(self.group);
        // SAFETY: the caller vouches for the set, the panels and that no other task writes these
        // blocks of this point.
        unsafe {
            match blocks {
                2 => self.blocks::<V, 2>(),
                _ => self.blocks::<V, 1>(),
            }
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    unsafe fn blocks<V: Vector, const B: usize>(&self) {
        for sample in 0..self.input.samples {
            // Runs of planes that see the same of their neighbours along z.
            let mut plane = 0;
            while plane < self.output.planes {
                let taps = self.taps(plane);
                let end = (plane + 1..self.output.planes)
                    .find(|&next| self.taps(next) != taps)
                    .unwrap_or(self.output.planes);
                let rows = (end - plane) * self.output.tiles;
                let from = self.point * self.input.point() + self.input.offset(0, sample, plane);
                let to = self.point * self.output.point()
                    + self.output.offset(self.weights.first_block(self.group), sample, plane);
                // SAFETY: the rows lie in the panels.
                unsafe {
                    let (from, to) = (self.from.get().add(from), self.to.get().add(to));
                    self.rows::<V, B>(rows, taps, from, to);
                }
                plane = end;
            }
        }
    }

    /// The kz whose input plane is in the volume, for an output plane of the region.
    fn taps(&self, plane: usize) -> Range<usize> {
        self.inside.start.saturating_sub(plane)..(self.inside.end - plane).min(3)
    }

    /// Cuts rows into groups that use the registers well.
    #[inline(always)]
    unsafe fn rows<V: Vector, const B: usize>(
        &self,
        rows: usize,
        taps: Range<usize>,
        from: *const f32,
        to: *mut f32,
    ) {
        let mut row = 0;
        while row < rows {
            let left = rows - row;
            // SAFETY: the caller vouches for all rows.
            unsafe {
                let (from, to) = (from.add(row * BLOCK), to.add(row * BLOCK));
                row += match (V::ROWS, left) {
                    (12.., 24.. | 12..16 | 20) => self.tile::<V, 12, B>(&taps, from, to),
                    (12.., 8..) => self.tile::<V, 8, B>(&taps, from, to),
                    (6..12, 6..) => self.tile::<V, 6, B>(&taps, from, to),
                    (6.., 4..) => self.tile::<V, 4, B>(&taps, from, to),
                    (_, 2..) => self.tile::<V, 2, B>(&taps, from, to),
                    _ => self.tile::<V, 1, B>(&taps, from, to),
                };
            }
        }
    }

    /// The sums of `R` rows; returns `R`.
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const B: usize>(
        &self,
        taps: &Range<usize>,
        from: *const f32,
        to: *mut f32,
    ) -> usize {
        // SAFETY: the caller vouches for `R` rows of every block and plane; the weights have
        // `B` vectors for every tap and channel.
        unsafe {
            let mut acc = [[V::splat(0.0); B]; R];
            for tap in taps.clone() {
                let from = from.add(tap * self.input.plane());
                let mut weights = self.weights.of(self.point, self.group, tap);
                for (block, channels) in self.channels.iter().enumerate() {
                    let from = from.add(block * self.input.block());
                    for channel in 0..channels.count {
                        let from = from.add(channel);
                        let mut u = [V::splat(0.0); B];
                        for (b, u) in u.iter_mut().enumerate() {
                            *u = V::load(weights.add(b * BLOCK));
                        }
                        weights = weights.add(B * BLOCK);
                        for (r, acc) in acc.iter_mut().enumerate() {
                            let value = V::splat(*from.add(r * BLOCK));
                            for (acc, &u) in acc.iter_mut().zip(&u) {
                                *acc = value.mul_add(u, *acc);
                            }
                        }
                    }
                }
            }
            for (r, acc) in acc.iter().enumerate() {
                for (b, acc) in acc.iter().enumerate() {
                    acc.store(to.add(b * self.output.block() + r * BLOCK));
                }
            }
        }
        R
    }
}
