//! The gradient of the weights of one point.
//!
//! ```text
//! for each output block, group of G input channels:
//!   acc[G][3] = sums so far                                  // 16 output channels, kz = 0, 1, 2
//!   for each row (tile) of V, over all planes:
//!     for each channel g of the group:
//!       v = V[row][g]                                        // one number for all lanes
//!       acc[g][kz] += v W[row - kz T]      for the kz whose plane has a gradient
//!   sums = acc
//! ```

use std::ops::Range;

use super::{POINTS, Panel};
use crate::{
    kernel::{
        source::Shared,
        vector::{Task, Vector},
    },
    tensor::BLOCK,
};

/// Sums of one point of one pair of blocks: `[kz][input channel][output channel]`.
pub(crate) const PAIR: usize = 3 * BLOCK * BLOCK;

/// Where the sums `[point][input block][output block][kz][16][16]` lie.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Sums {
    /// Numbers from one point to the next: an odd number of cache lines.
    pub(crate) fn point(self) -> usize {
        ((self.inputs * self.outputs * PAIR / BLOCK) | 1) * BLOCK
    }

    /// Numbers of all sums.
    pub(crate) fn len(self) -> usize {
        POINTS * self.point()
    }

    /// Where a pair of blocks starts in point 0.
    pub(crate) fn offset(self, input: usize, output: usize) -> usize {
        (input * self.outputs + output) * PAIR
    }
}

/// Adds the products of one point and input block with all output blocks to the sums.
pub(crate) struct Correlate<'a> {
    pub(crate) point: usize,
    pub(crate) block: usize,
    /// True channels of the input block.
    pub(crate) channels: usize,
    /// Transformed inputs, with one plane more before and one after those of the gradient.
    pub(crate) input: &'a Panel,
    /// Transformed gradients.
    pub(crate) gradient: &'a Panel,
    /// Which of the input's planes are in the volume.
    pub(crate) inside: Range<usize>,
    pub(crate) from: Shared,
    pub(crate) with: Shared,
    pub(crate) layout: Sums,
    pub(crate) sums: Shared,
}

impl Task for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for output in 0..self.layout.outputs {
            let mut channel = 0;
            while channel < self.channels {
                // SAFETY: the caller vouches for the set and the panels, and that no other task
                // uses these sums.
                unsafe {
                    if V::ROWS >= 12 {
                        self.group::<V, 8>(output, channel);
                        channel += 8;
                    } else if V::ROWS >= 6 {
                        self.group::<V, 2>(output, channel);
                        channel += 2;
                    } else {
                        self.group::<V, 1>(output, channel);
                        channel += 1;
                    }
                }
            }
        }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    unsafe fn group<V: Vector, const G: usize>(&self, output: usize, channel: usize) {
        let start = self.point * self.layout.point() + self.layout.offset(self.block, output);
        let from = self.point * self.input.point() + channel;
        let with = self.point * self.gradient.point();
        // SAFETY: the caller vouches for everything that the layouts reach.
        unsafe {
            let sums = self.sums.get().add(start + channel * BLOCK);
            let mut acc = [[V::splat(0.0); 3]; G];
            for (g, acc) in acc.iter_mut().enumerate() {
                for (kz, acc) in acc.iter_mut().enumerate() {
                    *acc = V::load(sums.add((kz * BLOCK + g) * BLOCK));
                }
            }
            let from = self.from.get().add(from + self.input.offset(self.block, 0));
            let with = self.with.get().add(with + self.gradient.offset(output, 0));
            self.planes::<V, G>(from, with, &mut acc);
            for (g, acc) in acc.iter().enumerate() {
                for (kz, acc) in acc.iter().enumerate() {
                    acc.store(sums.add((kz * BLOCK + g) * BLOCK));
                }
            }
        }
    }

    /// The kz with a gradient plane for a plane of the input.
    fn taps(&self, plane: usize) -> (usize, usize) {
        ((plane + 1).saturating_sub(self.gradient.planes), (plane + 1).min(3))
    }

    /// All planes, in runs with the same kz.
    #[inline(always)]
    unsafe fn planes<V: Vector, const G: usize>(
        &self,
        from: *const f32,
        with: *const f32,
        acc: &mut [[V; 3]; G],
    ) {
        let mut plane = self.inside.start;
        while plane < self.inside.end {
            let taps = self.taps(plane);
            let end = (plane + 1..self.inside.end)
                .find(|&next| self.taps(next) != taps)
                .unwrap_or(self.inside.end);
            let rows = (end - plane) * self.input.tiles;
            let stride = self.gradient.plane();
            // SAFETY: for every kz of the run, the planes of the gradient are `plane - kz` and on.
            unsafe {
                let from = from.add(plane * stride);
                // The plane of kz 0, which may lie behind the last one: no kz 0 is used then.
                let with = with.wrapping_add(plane * stride);
                match taps {
                    (0, 3) => run::<V, G, 0, 3>(rows, stride, from, with, acc),
                    (0, 2) => run::<V, G, 0, 2>(rows, stride, from, with, acc),
                    (1, 3) => run::<V, G, 1, 3>(rows, stride, from, with, acc),
                    (0, 1) => run::<V, G, 0, 1>(rows, stride, from, with, acc),
                    (1, 2) => run::<V, G, 1, 2>(rows, stride, from, with, acc),
                    _ => run::<V, G, 2, 3>(rows, stride, from, with, acc),
                }
            }
            plane = end;
        }
    }
}

/// Adds the products of some rows for kz from `FIRST` to before `END`.
#[inline(always)]
unsafe fn run<V: Vector, const G: usize, const FIRST: usize, const END: usize>(
    rows: usize,
    plane: usize,
    from: *const f32,
    with: *const f32,
    acc: &mut [[V; 3]; G],
) {
    let with: [*const f32; 3] = std::array::from_fn(|kz| with.wrapping_sub(kz * plane));
    let mut sums = *acc;
    for row in 0..rows {
        // SAFETY: the caller vouches for the rows and the set.
        unsafe {
            let from = from.add(row * BLOCK);
            let mut vectors = [V::splat(0.0); 3];
            for kz in FIRST..END {
                vectors[kz] = V::load(with[kz].add(row * BLOCK));
            }
            for (g, sums) in sums.iter_mut().enumerate() {
                let value = V::splat(*from.add(g));
                for kz in FIRST..END {
                    sums[kz] = value.mul_add(vectors[kz], sums[kz]);
                }
            }
        }
    }
    *acc = sums;
}
