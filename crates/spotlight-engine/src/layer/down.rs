//! The 2×2×2 convolution with stride 2: half the size.

use super::{check_gradients, concatenated, half::halved, unfilled};
use crate::{
    Engine,
    kernel::half::{Direction, TAPS},
    tensor::{Activation, Tensor},
};

impl Engine {
    /// Convolves the concatenated inputs with stride 2 and without padding.
    ///
    /// `weights` is (out, in, 2, 2, 2), where `in` runs over the channels of all inputs.
    ///
    /// # Panics
    ///
    /// If a side of the inputs is odd, the inputs disagree in batch or shape, or a slice has the
    /// wrong length.
    #[must_use]
    pub fn down2(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        bias: &[f32],
        out_channels: usize,
    ) -> Tensor {
        let (batch, channels, shape) = concatenated(inputs);
        let coarse = halved(shape);
        assert_eq!(weights.len(), out_channels * channels * TAPS, "weights of the convolution");
        assert_eq!(bias.len(), out_channels, "biases of the convolution");
        let mut output = [Tensor::unfilled(batch, out_channels, coarse)];
        self.between(Direction::Gather, inputs, weights, Some(bias), &mut output);
        let [output] = output;
        output
    }

    /// The gradients with respect to the inputs of [`Engine::down2`], one tensor an input.
    ///
    /// # Panics
    ///
    /// If the weights do not fit the channels.
    #[must_use]
    pub fn down2_backward_data(
        &self,
        grad: &Tensor,
        weights: &[f32],
        input_channels: &[usize],
    ) -> Vec<Tensor> {
        let channels: usize = input_channels.iter().sum();
        assert_eq!(weights.len(), grad.channels() * channels * TAPS, "weights of the convolution");
        let shape = grad.shape().map(|side| 2 * side);
        let mut outputs = unfilled(grad, input_channels, shape);
        let inputs = [Activation { tensor: grad, normalise: None }];
        self.between(Direction::Scatter, &inputs, weights, None, &mut outputs);
        outputs
    }

    /// The gradients with respect to the weights of [`Engine::down2`]; overwrites
    /// `grad_weights`.
    ///
    /// # Panics
    ///
    /// If the inputs and the gradient disagree in batch or shape, or a slice has the wrong length.
    pub fn down2_backward_weights(
        &self,
        inputs: &[Activation<'_>],
        grad: &Tensor,
        grad_weights: &mut [f32],
    ) {
        let (batch, channels, shape) = concatenated(inputs);
        let output = (batch, halved(shape));
        check_gradients(grad, output, (channels, TAPS), grad_weights);
        let coarse = [Activation { tensor: grad, normalise: None }];
        self.between_weights(inputs, &coarse, grad_weights);
    }
}
