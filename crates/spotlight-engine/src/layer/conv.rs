//! The 3×3×3 convolution with one voxel of zeros around the volume.

use super::{check_gradient, concatenated};
use crate::{
    Engine,
    kernel::naive::{self, Geometry, Planar},
    tensor::{Activation, Tensor},
};

/// Weights of one pair of channels.
const TAPS: usize = 27;

impl Engine {
    /// Convolves the concatenated inputs: stride 1, zero padding 1.
    ///
    /// `weights` is (out, in, 3, 3, 3) with the last three axes (z, y, x), where `in` runs over the
    /// channels of all inputs; `bias` has one value an output channel.
    ///
    /// # Panics
    ///
    /// If the inputs disagree in batch or shape, or a slice has the wrong length.
    #[must_use]
    pub fn conv3(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        bias: &[f32],
        out_channels: usize,
    ) -> Tensor {
        let (_, channels, _) = concatenated(inputs);
        assert_eq!(weights.len(), out_channels * channels * TAPS, "weights of the convolution");
        assert_eq!(bias.len(), out_channels, "biases of the convolution");
        let mut y = naive::forward(&Planar::of(inputs), weights, out_channels, Geometry::CONV3);
        y.add_bias(bias);
        y.into_tensor()
    }

    /// The gradients with respect to the inputs of [`Engine::conv3`], one tensor an input.
    ///
    /// `grad` is the gradient with respect to the output, `input_channels` the channels of each
    /// input. An input that was normalised on load gets the gradient with respect to the value
    /// after normalisation and ReLU.
    ///
    /// # Panics
    ///
    /// If the weights do not fit the channels.
    #[must_use]
    pub fn conv3_backward_data(
        &self,
        grad: &Tensor,
        weights: &[f32],
        input_channels: &[usize],
    ) -> Vec<Tensor> {
        let channels: usize = input_channels.iter().sum();
        assert_eq!(weights.len(), grad.channels() * channels * TAPS, "weights of the convolution");
        let dy = Planar::of_tensor(grad);
        naive::backward_data(&dy, weights, channels, grad.shape(), Geometry::CONV3)
            .split(input_channels)
    }

    /// The gradients with respect to the weights and biases of [`Engine::conv3`]; overwrites
    /// `grad_weights` and `grad_bias`, whose order is that of the weights and biases.
    ///
    /// # Panics
    ///
    /// If the inputs and the gradient disagree in batch or shape, or a slice has the wrong length.
    pub fn conv3_backward_weights(
        &self,
        inputs: &[Activation<'_>],
        grad: &Tensor,
        grad_weights: &mut [f32],
        grad_bias: &mut [f32],
    ) {
        let (batch, channels, shape) = concatenated(inputs);
        check_gradient(grad, batch, shape);
        assert_eq!(
            grad_weights.len(),
            grad.channels() * channels * TAPS,
            "gradient of the weights"
        );
        assert_eq!(grad_bias.len(), grad.channels(), "gradient of the biases");
        let dy = Planar::of_tensor(grad);
        let dw = naive::backward_weights(&Planar::of(inputs), &dy, Geometry::CONV3);
        grad_weights.iter_mut().zip(dw).for_each(|(to, from)| *to = from as f32);
        let db = naive::channel_sums(&dy);
        grad_bias.iter_mut().zip(db).for_each(|(to, from)| *to = from as f32);
    }
}
