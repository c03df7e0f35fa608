//! The product of matrices of one point.
//!
//! ```text
//! for each group of R rows (tiles) of the planes:
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
        product::{Rows, accumulate, tiles},
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
        // Runs of planes that see the same of their neighbours along z.
        let mut plane = 0;
        while plane < self.output.planes {
            let taps = self.taps(plane);
            let end = (plane + 1..self.output.planes)
                .find(|&next| self.taps(next) != taps)
                .unwrap_or(self.output.planes);
            let rows = (end - plane) * self.output.tiles;
            let from = self.point * self.input.point() + self.input.offset(0, plane);
            let block = self.weights.first_block(self.group);
            let to = self.point * self.output.point() + self.output.offset(block, plane);
            // SAFETY: the rows lie in the panels.
            unsafe {
                let (from, to) = (self.from.get().add(from), self.to.get().add(to));
                tiles::<V, B>(rows, &Planes { product: self, taps, from, to });
            }
            plane = end;
        }
    }

    /// The kz whose input plane is in the volume, for an output plane of the region.
    fn taps(&self, plane: usize) -> Range<usize> {
        let depth = self.weights.depth();
        self.inside.start.saturating_sub(plane)..(self.inside.end - plane).min(depth)
    }
}

/// Rows of planes that see the same of their neighbours along z.
struct Planes<'a> {
    product: &'a Multiply<'a>,
    taps: Range<usize>,
    from: *const f32,
    to: *mut f32,
}

impl Rows for Planes<'_> {
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const B: usize>(&self, first: usize) {
        let Multiply { point, group, weights, channels, input, output, .. } = self.product;
        // SAFETY: the caller vouches for `R` rows of every block and plane; the weights have
        // `B` vectors for every tap and channel.
        unsafe {
            let mut acc = [[V::splat(0.0); B]; R];
            for tap in self.taps.clone() {
                let from = self.from.add(tap * input.plane() + first * BLOCK);
                let mut with = weights.of(*point, *group, tap);
                for (block, channels) in channels.iter().enumerate() {
                    let from = from.add(block * input.block());
                    accumulate(&mut acc, from, channels.count, with);
                    with = with.add(channels.count * B * BLOCK);
                }
            }
            for (r, acc) in acc.iter().enumerate() {
                for (b, acc) in acc.iter().enumerate() {
                    acc.store(self.to.add(b * output.block() + (first + r) * BLOCK));
                }
            }
        }
    }
}
