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

use super::check_gradient;
use crate::{
    Engine,
    tensor::{BLOCK, ScaleShift, Tensor},
};

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

impl Engine {
    /// The mean and variance of every channel, accumulated in f64.
    #[must_use]
    pub fn statistics(&self, tensor: &Tensor) -> Statistics {
        let count = tensor.batch() * tensor.voxels();
        let mean_of = |value: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
            let mut sums = vec![0.0; tensor.channels()];
            for sample in 0..tensor.batch() {
                for (channel, sum) in sums.iter_mut().enumerate() {
                    let block = tensor.block(sample, channel / BLOCK);
                    *sum += block
                        .iter()
                        .map(|voxel| value(channel, f64::from(voxel[channel % BLOCK])))
                        .sum::<f64>();
                }
            }
            sums.iter().map(|sum| sum / count as f64).collect()
        };
        let mean = mean_of(&|_, x| x);
        let variance = mean_of(&|channel, x| (x - mean[channel]).powi(2));
        Statistics { mean, variance, count }
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
        let (mut grad_gamma, mut grad_beta) = (Vec::new(), Vec::new());
        for (channel, &gamma) in gamma.iter().enumerate() {
            let (block, lane) = (channel / BLOCK, channel % BLOCK);
            let (scale, shift) = (law.scale[channel], law.shift[channel]);
            let inverse = 1.0 / (stats.variance[channel] + epsilon).sqrt();
            let standard = |x: f32| (f64::from(x) - stats.mean[channel]) * inverse;
            let passed = |x: f32, g: f32| if x * scale + shift > 0.0 { f64::from(g) } else { 0.0 };
            let (mut sum, mut sum_standard) = (0.0, 0.0);
            for sample in 0..x.batch() {
                for (x, g) in x.block(sample, block).iter().zip(grad.block(sample, block)) {
                    let g = passed(x[lane], g[lane]);
                    sum += g;
                    sum_standard += g * standard(x[lane]);
                }
            }
            let (mean, mean_standard) =
                (sum / stats.count as f64, sum_standard / stats.count as f64);
            let factor = f64::from(gamma) * inverse;
            for sample in 0..x.batch() {
                let values = x.block(sample, block).iter().zip(grad.block_mut(sample, block));
                for (x, g) in values {
                    let inner = passed(x[lane], g[lane]) - mean - standard(x[lane]) * mean_standard;
                    g[lane] = (factor * inner) as f32;
                }
            }
            grad_gamma.push(sum_standard as f32);
            grad_beta.push(sum as f32);
        }
        (grad, grad_gamma, grad_beta)
    }

    /// Adds `from` to `into`, for a value that two layers read.
    ///
    /// # Panics
    ///
    /// If the tensors disagree in batch, channels or shape.
    pub fn add(&self, into: &mut Tensor, from: &Tensor) {
        check_gradient(from, into.batch(), into.shape());
        assert_eq!(from.channels(), into.channels(), "channels of the summand");
        for (to, from) in into.values_mut().iter_mut().zip(from.values()) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}
