//! Passes over the voxels of one channel block: sums, and the two passes back through batch
//! normalisation and ReLU. Sums are in f64.

use super::{
    source::{Law, Shared},
    vector::{Task, Vector},
};
use crate::tensor::BLOCK;

/// One f64 a channel of a block.
pub(crate) type Sums = [f64; BLOCK];

/// Sum and sum of squares of every channel.
pub(crate) struct Moments<'a> {
    pub(crate) values: &'a [[f32; BLOCK]],
}

impl Task for Moments<'_> {
    type Output = [Sums; 2];

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> [Sums; 2] {
        let (mut sum, mut squares) = ([0.0; BLOCK], [0.0; BLOCK]);
        for voxel in self.values {
            for channel in 0..BLOCK {
                let value = f64::from(voxel[channel]);
                sum[channel] += value;
                squares[channel] += value * value;
            }
        }
        [sum, squares]
    }
}

/// Sums of `g` and of `g · (x - mean)`, where `g` is the gradient that ReLU lets through.
pub(crate) struct GradientMoments<'a> {
    pub(crate) x: &'a [[f32; BLOCK]],
    pub(crate) grad: &'a [[f32; BLOCK]],
    pub(crate) law: Law,
    pub(crate) mean: Sums,
}

impl Task for GradientMoments<'_> {
    type Output = [Sums; 2];

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> [Sums; 2] {
        let (mut sum, mut product) = ([0.0; BLOCK], [0.0; BLOCK]);
        // SAFETY: the caller vouches for the set; every pointer is that of an array of sixteen.
        unsafe {
            let [scale, shift] = self.law.each_ref().map(|law| V::load(law.as_ptr()));
            for (x, grad) in self.x.iter().zip(self.grad) {
                let mut passed = [0.0_f32; BLOCK];
                let output = V::load(x.as_ptr()).mul_add(scale, shift);
                V::load(grad.as_ptr()).where_positive(output).store(passed.as_mut_ptr());
                for channel in 0..BLOCK {
                    let g = f64::from(passed[channel]);
                    sum[channel] += g;
                    product[channel] += g * (f64::from(x[channel]) - self.mean[channel]);
                }
            }
        }
        [sum, product]
    }
}

/// Replaces the gradient by `factor · (g + offset + slope · (x - mean))`.
pub(crate) struct Backward<'a> {
    pub(crate) x: &'a [[f32; BLOCK]],
    /// As many voxels as `x`.
    pub(crate) grad: Shared,
    pub(crate) law: Law,
    pub(crate) minus_mean: [f32; BLOCK],
    pub(crate) factor: [f32; BLOCK],
    pub(crate) offset: [f32; BLOCK],
    pub(crate) slope: [f32; BLOCK],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller vouches for the set and for `grad`, which only this task uses.
        unsafe {
            let [scale, shift] = self.law.each_ref().map(|law| V::load(law.as_ptr()));
            let (factor, offset) = (V::load(self.factor.as_ptr()), V::load(self.offset.as_ptr()));
            let minus_mean = V::load(self.minus_mean.as_ptr());
            let (slope, zero) = (V::load(self.slope.as_ptr()), V::splat(0.0));
            for (index, x) in self.x.iter().enumerate() {
                let at = self.grad.get().add(index * BLOCK);
                let x = V::load(x.as_ptr());
                let g = V::load(at).where_positive(x.mul_add(scale, shift));
                let inner = x.add(minus_mean).mul_add(slope, g.add(offset));
                inner.mul_add(factor, zero).store(at);
            }
        }
    }
}

/// Adds one run of voxels to another.
pub(crate) struct Add<'a> {
    /// As many voxels as `from`.
    pub(crate) into: Shared,
    pub(crate) from: &'a [[f32; BLOCK]],
}

impl Task for Add<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (index, from) in self.from.iter().enumerate() {
            // SAFETY: the caller vouches for the set and for `into`, which only this task uses.
            unsafe {
                let at = self.into.get().add(index * BLOCK);
                V::load(at).add(V::load(from.as_ptr())).store(at);
            }
        }
    }
}
