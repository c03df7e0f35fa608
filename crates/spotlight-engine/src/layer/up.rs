//! The transposed 2×2×2 convolution with stride 2: twice the size.

use super::{check_gradients, concatenated, unfilled};
use crate::{
    Engine,
    kernel::half::{Direction, TAPS},
    tensor::{Activation, Tensor},
};

impl Engine {
    /// Convolves the concatenated inputs, transposed, with stride 2: each voxel becomes a cube of
    /// 2×2×2 voxels.
    ///
    /// `weights` is (in, out, 2, 2, 2), where `in` runs over the channels of all inputs.
    ///
    /// # Panics
    ///
    /// If the inputs disagree in batch or shape, or a slice has the wrong length.
    #[must_use]
    pub fn up2(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        bias: &[f32],
        out_channels: usize,
    ) -> Tensor {
        let (batch, channels, shape) = concatenated(inputs);
        assert_eq!(weights.len(), channels * out_channels * TAPS, "weights of the convolution");
        assert_eq!(bias.len(), out_channels, "biases of the convolution");
        let doubled = shape.map(|side| 2 * side);
        let mut output = [Tensor::unfilled(batch, out_channels, doubled)];
        self.between(Direction::Scatter, inputs, weights, Some(bias), &mut output);
        let [output] = output;
        output
    }

    /// The gradients with respect to the inputs of [`Engine::up2`], one tensor an input.
    ///
    /// # Panics
    ///
    /// If a side of the gradient is odd or the weights do not fit the channels.
    #[must_use]
    pub fn up2_backward_data(
        &self,
        grad: &Tensor,
        weights: &[f32],
        input_channels: &[usize],
    ) -> Vec<Tensor> {
        let channels: usize = input_channels.iter().sum();
        assert_eq!(weights.len(), channels * grad.channels() * TAPS, "weights of the convolution");
        assert!(
            grad.shape().iter().all(|side| side % 2 == 0),
            "the sides of the gradient are even"
        );
        let shape = grad.shape().map(|side| side / 2);
        let mut outputs = unfilled(grad, input_channels, shape);
        let inputs = [Activation { tensor: grad, normalise: None }];
        self.between(Direction::Gather, &inputs, weights, None, &mut outputs);
        outputs
    }

    /// The gradients with respect to the weights of [`Engine::up2`]; overwrites
    /// `grad_weights`.
    ///
    /// # Panics
    ///
    /// If the inputs and the gradient disagree in batch or shape, or a slice has the wrong length.
    pub fn up2_backward_weights(
        &self,
        inputs: &[Activation<'_>],
        grad: &Tensor,
        grad_weights: &mut [f32],
    ) {
        let (batch, channels, shape) = concatenated(inputs);
        let output = (batch, shape.map(|side| 2 * side));
        check_gradients(grad, output, (channels, TAPS), grad_weights);
        let fine = [Activation { tensor: grad, normalise: None }];
        self.between_weights(&fine, inputs, grad_weights);
    }
}
