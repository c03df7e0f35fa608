//! Batch normalisation with ReLU: statistics forward, gradients backward.
//!
//! The forward pass has no function of its own: the next layer applies
//! [`Statistics::scale_shift`] while it reads (see [`Activation`](crate::Activation)).
//!
//! ```text
//! x̂ = (x - mean) / sqrt(variance + ε)      u = γ x̂ + β      y = max(0, u)
//! g = dy where u > 0, else 0                dβ = Σ g          dγ = Σ g x̂
//! dx = γ / sqrt(variance + ε) (g - dβ/N - x̂ dγ/N)
//! ```
//! Reference: S. Ioffe and C. Szegedy (2015), "Batch normalization".

use std::ops::Range;

use rayon::prelude::*;

use super::check_gradient;
use crate::{
    Engine,
    kernel::{
        channel::{Add, Backward, GradientMoments, Moments, Sums},
        source::Shared,
        vector::{Task, dispatch},
    },
    tensor::{BLOCK, ScaleShift, Tensor},
};

/// Voxels that one task passes over: half a megabyte.
const RUN: usize = 8 * 1024;

/// Mean and variance of every channel over all samples and voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Population variance of each channel (divided by `count`).
    pub variance: Vec<f64>,
    /// Number of values a channel: samples times voxels.
    pub count: usize,
}

impl Statistics {
    /// The statistics of `count` values a channel from their sums and sums of squares.
    pub(super) fn of_moments([sums, squares]: [Vec<f64>; 2], count: usize) -> Self {
        let mean: Vec<_> = sums.iter().map(|sum| sum / count as f64).collect();
        let variance = squares.iter().zip(&mean);
        // Rounding must not make the variance of a constant channel negative.
        let variance = variance.map(|(sum, mean)| (sum / count as f64 - mean * mean).max(0.0));
        Self { variance: variance.collect(), mean, count }
    }

    /// Normalisation by these statistics, with learned `gamma` and `beta`, as one factor and one
    /// summand a channel.
    ///
    /// # Panics
    ///
    /// If `gamma` or `beta` has not one value a channel.
    #[must_use]
    pub fn scale_shift(&self, gamma: &[f32], beta: &[f32], epsilon: f64) -> ScaleShift {
        assert_eq!(gamma.len(), self.mean.len(), "one gamma a channel");
        assert_eq!(beta.len(), self.mean.len(), "one beta a channel");
        let mut law = ScaleShift { scale: Vec::new(), shift: Vec::new() };
        for (channel, (&gamma, &beta)) in gamma.iter().zip(beta).enumerate() {
            let scale = f64::from(gamma) / (self.variance[channel] + epsilon).sqrt();
            law.scale.push(scale as f32);
            law.shift.push((f64::from(beta) - self.mean[channel] * scale) as f32);
        }
        law
    }
}

/// A run of voxels of one channel block of one sample.
struct Run {
    sample: usize,
    block: usize,
    voxels: Range<usize>,
}

/// All runs of a tensor, of a fixed length, so that sums do not depend on the threads.
fn runs(tensor: &Tensor) -> Vec<Run> {
    let mut runs = Vec::new();
    for sample in 0..tensor.batch() {
        for block in 0..tensor.blocks() {
            for start in (0..tensor.voxels()).step_by(RUN) {
                let voxels = start..(start + RUN).min(tensor.voxels());
                runs.push(Run { sample, block, voxels });
            }
        }
    }
    runs
}

impl Run {
    fn of<'a>(&self, tensor: &'a Tensor) -> &'a [[f32; BLOCK]] {
        &tensor.block(self.sample, self.block)[self.voxels.clone()]
    }

    /// Where the run lies behind the first number of the tensor.
    fn behind(&self, first: Shared, tensor: &Tensor) -> Shared {
        let voxel = (self.sample * tensor.blocks() + self.block) * tensor.voxels();
        first.offset((voxel + self.voxels.start) * BLOCK)
    }
}

/// The sixteen values of a block, with zeros for the padding.
fn padded<T: Copy + Default>(values: &[T], block: usize) -> [T; BLOCK] {
    let mut padded = [T::default(); BLOCK];
    let values = &values[block * BLOCK..];
    let count = values.len().min(BLOCK);
    padded[..count].copy_from_slice(&values[..count]);
    padded
}

impl Engine {
    /// The mean and variance of every channel, accumulated in f64.
    #[must_use]
    pub fn statistics(&self, tensor: &Tensor) -> Statistics {
        let moments = self.moments(tensor, |run| Moments { values: run.of(tensor) });
        Statistics::of_moments(moments, tensor.batch() * tensor.voxels())
    }

    /// Goes back through ReLU and batch normalisation in training mode.
    ///
    /// `x` holds the values before normalisation, `stats` their statistics, `grad` the gradient
    /// with respect to the output of the ReLU; its memory is used for the result. Returns the
    /// gradients with respect to `x`, `gamma` and `beta`.
    ///
    /// # Panics
    ///
    /// If `x` and `grad` disagree in batch, channels or shape, or a slice has the wrong length.
    #[must_use]
    pub fn batch_norm_relu_backward(
        &self,
        x: &Tensor,
        stats: &Statistics,
        gamma: &[f32],
        beta: &[f32],
        epsilon: f64,
        mut grad: Tensor,
    ) -> (Tensor, Vec<f32>, Vec<f32>) {
        check_gradient(&grad, x.batch(), x.shape());
        assert_eq!(grad.channels(), x.channels(), "channels of the gradient");
        let law = stats.scale_shift(gamma, beta, epsilon);
        let law = |block| [padded(&law.scale, block), padded(&law.shift, block)];
        let [sums, products] = self.moments(x, |run| GradientMoments {
            x: run.of(x),
            grad: run.of(&grad),
            law: law(run.block),
            mean: padded(&stats.mean, run.block),
        });
        let inverse: Vec<_> = stats.variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
        let count = stats.count as f64;
        let per_channel = |value: &dyn Fn(usize) -> f64| -> Vec<f32> {
            (0..x.channels()).map(|channel| value(channel) as f32).collect()
        };
        let minus_mean = per_channel(&|channel| -stats.mean[channel]);
        let factor = per_channel(&|channel| f64::from(gamma[channel]) * inverse[channel]);
        let offset = per_channel(&|channel| -sums[channel] / count);
        let slope = per_channel(&|channel| -products[channel] * inverse[channel].powi(2) / count);
        let runs = runs(x);
        let first = Shared::new(grad.values_mut().as_flattened_mut());
        self.install(|| {
            runs.par_iter().for_each(|run| {
                let task = Backward {
                    x: run.of(x),
                    grad: run.behind(first, x),
                    law: law(run.block),
                    minus_mean: padded(&minus_mean, run.block),
                    factor: padded(&factor, run.block),
                    offset: padded(&offset, run.block),
                    slope: padded(&slope, run.block),
                };
                // SAFETY: the engine has checked the instruction set; every run is another part of
                // the gradient, which is borrowed for as long as the tasks run.
                unsafe { dispatch(self.instruction_set(), task) }
            });
        });
        let grad_gamma = per_channel(&|channel| products[channel] * inverse[channel]);
        (grad, grad_gamma, per_channel(&|channel| sums[channel]))
    }

    /// Adds `from` to `into`, for a value that two layers read.
    ///
    /// # Panics
    ///
    /// If the tensors disagree in batch, channels or shape.
    pub fn add(&self, into: &mut Tensor, from: &Tensor) {
        check_gradient(from, into.batch(), into.shape());
        assert_eq!(from.channels(), into.channels(), "channels of the summand");
        let first = Shared::new(into.values_mut().as_flattened_mut());
        self.install(|| {
            runs(from).par_iter().for_each(|run| {
                let task = Add { into: run.behind(first, from), from: run.of(from) };
                // SAFETY: as in `batch_norm_relu_backward`.
                unsafe { dispatch(self.instruction_set(), task) }
            });
        });
    }

    /// The gradient with respect to the biases of any convolution: the sum of every channel of the
    /// gradient with respect to its output.
    ///
    /// A bias before a batch normalisation has no effect, so its gradient is zero and need not be
    /// asked for.
    #[must_use]
    pub fn bias_gradient(&self, grad: &Tensor) -> Vec<f32> {
        let [totals, _] = self.moments(grad, |run| Moments { values: run.of(grad) });
        totals.into_iter().map(|total| total as f32).collect()
    }

    /// Two sums a channel, over all runs of a tensor, added in a fixed order.
    fn moments<T: Task<Output = [Sums; 2]>>(
        &self,
        tensor: &Tensor,
        task: impl Fn(&Run) -> T + Sync,
    ) -> [Vec<f64>; 2] {
        let runs = runs(tensor);
        let of_runs: Vec<[Sums; 2]> = self.install(|| {
            // SAFETY: the engine has checked the instruction set.
            let sums = |run| unsafe { dispatch(self.instruction_set(), task(run)) };
            runs.par_iter().map(sums).collect()
        });
        let mut totals = [vec![0.0; tensor.channels()], vec![0.0; tensor.channels()]];
        for (run, sums) in runs.iter().zip(of_runs) {
            for (totals, sums) in totals.iter_mut().zip(sums) {
                let totals = totals[run.block * BLOCK..].iter_mut();
                totals.zip(sums).for_each(|(total, sum)| *total += sum);
            }
        }
        totals
    }
}
