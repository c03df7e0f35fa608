//! The 1×1 convolution of planes: a product of matrices, pixel by pixel.
//!
//! ```text
//! y[p, o] = bias[o] + Σ_i w[o, i] x[p, i]
//! ```
//! Pixels that are read as they are stored are read in place; normalised ones are copied first. For
//! planes of twice the size, every result is stored as a square of 2×2 pixels: the convolution of a
//! doubled plane is the doubled convolution.

use std::ops::Range;

use super::{
    conv3::Target,
    pack::Packed,
    product::{Rows, accumulate, tiles},
    source::{self, Scratch, Source},
    vector::{Task, Vector},
};
use crate::tensor::BLOCK;

/// Output blocks that are computed together.
pub(crate) const TOGETHER: usize = 2;

/// Some pixels of one sample, all output blocks.
pub(crate) struct Point<'a> {
    /// The blocks of one tensor, all normalised or none.
    pub(crate) sources: &'a [Source<'a>],
    pub(crate) weights: &'a Packed,
    pub(crate) targets: &'a [Target],
    pub(crate) sample: usize,
    /// Pixels of the stored planes.
    pub(crate) pixels: Range<usize>,
    /// Pixels of a row of the stored planes.
    pub(crate) width: usize,
    /// Whether every result is stored as a square of 2×2 pixels.
    pub(crate) doubled: bool,
}

impl Task for Point<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { sources, sample, pixels, .. } = &self;
        let copied = sources[0].law(*sample).is_some();
        let numbers = if copied { sources.len() * pixels.len() * BLOCK } else { 0 };
        let mut scratch = Scratch::take(numbers);
        // SAFETY: the caller vouches for the set; the scratch holds all blocks of the pixels.
        unsafe {
            let mut from = scratch.as_mut_ptr();
            let mut block = pixels.len() * BLOCK;
            if copied {
                for (index, source) in sources.iter().enumerate() {
                    let voxels = &source.voxels(*sample)[pixels.clone()];
                    source::copy::<V>(voxels, source.law(*sample), from.add(index * block));
                }
            } else {
                // The blocks of a tensor lie one behind the other.
                let voxels = sources[0].voxels(*sample);
                block = voxels.len() * BLOCK;
                from = voxels.as_ptr().add(pixels.start).cast_mut().cast();
            }
            for (group, targets) in self.targets.chunks(TOGETHER).enumerate() {
                let weights = self.weights.block(group).as_ptr();
                let product = Pixels { point: &self, targets, weights, from, block };
                match targets.len() {
                    TOGETHER => tiles::<V, TOGETHER>(pixels.len(), &product),
                    _ => tiles::<V, 1>(pixels.len(), &product),
                }
            }
        }
    }
}

/// The product of some pixels for some output blocks.
struct Pixels<'a> {
    point: &'a Point<'a>,
    targets: &'a [Target],
    weights: *const f32,
    /// The first pixel of the first block, and numbers from one block to the next.
    from: *const f32,
    block: usize,
}

impl Rows for Pixels<'_> {
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const B: usize>(&self, first: usize) {
        // SAFETY: the caller vouches for the set, for `R` pixels of every block, and that no other
        // task writes them.
        unsafe {
            let mut acc = [[V::splat(0.0); B]; R];
            for acc in &mut acc {
                for (b, acc) in acc.iter_mut().enumerate() {
                    *acc = V::load(self.targets[b].bias.as_ptr());
                }
            }
            let (mut from, mut with) = (self.from.add(first * BLOCK), self.weights);
            for source in self.point.sources {
                accumulate(&mut acc, from, source.channels.count, with);
                with = with.add(source.channels.count * B * BLOCK);
                from = from.add(self.block);
            }
            // Out of the registers first: a loop with so much in it is not unrolled.
            let mut sums = [[[0.0_f32; BLOCK]; B]; R];
            for (sums, acc) in sums.iter_mut().zip(&acc) {
                for (sum, acc) in sums.iter_mut().zip(acc) {
                    acc.store(sum.as_mut_ptr());
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (sum, target) in sums.iter().zip(self.targets) {
                    self.put::<V>(target, V::load(sum.as_ptr()), first + r);
                }
            }
        }
    }
}

impl Pixels<'_> {
    /// Stores the sum of one pixel.
    #[inline(always)]
    unsafe fn put<V: Vector>(&self, target: &Target, sum: V, pixel: usize) {
        let Point { sample, pixels, width, doubled, .. } = self.point;
        let pixel = pixels.start + pixel;
        // SAFETY: as for `tile`.
        unsafe {
            let result = target.finish(sum);
            let to = target.values.get().add(sample * target.sample_stride);
            if *doubled {
                let (y, x) = (pixel / width, pixel % width);
                for row in [2 * y, 2 * y + 1] {
                    let to = to.add((row * 2 * width + 2 * x) * BLOCK);
                    target.put(result, to);
                    target.put(result, to.add(BLOCK));
                }
            } else {
                target.put(result, to.add(pixel * BLOCK));
            }
        }
    }
}
