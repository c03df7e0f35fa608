//! The 2×2×2 convolution with stride 2: half the size.

use super::{check_gradient, concatenated};
use crate::{
    Engine,
    kernel::naive::{self, Geometry, Planar},
    tensor::{Activation, Tensor},
};

/// Weights of one pair of channels.
const TAPS: usize = 8;

/// Half of each side.
fn halved(shape: [usize; 3]) -> [usize; 3] {
    assert!(shape.iter().all(|side| side % 2 == 0), "the sides to halve are even: {shape:?}");
    shape.map(|side| side / 2)
}

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
        let (_, channels, shape) = concatenated(inputs);
        let _ = halved(shape);
        assert_eq!(weights.len(), out_channels * channels * TAPS, "weights of the convolution");
        assert_eq!(bias.len(), out_channels, "biases of the convolution");
        let mut y = naive::forward(&Planar::of(inputs), weights, out_channels, Geometry::DOWN2);
        y.add_bias(bias);
        y.into_tensor()
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
        let dy = Planar::of_tensor(grad);
        let shape = grad.shape().map(|side| 2 * side);
        naive::backward_data(&dy, weights, channels, shape, Geometry::DOWN2).split(input_channels)
    }

    /// The gradients with respect to the weights and biases of [`Engine::down2`]; overwrites
    /// `grad_weights` and `grad_bias`.
    ///
    /// # Panics
    ///
    /// If the inputs and the gradient disagree in batch or shape, or a slice has the wrong length.
    pub fn down2_backward_weights(
        &self,
        inputs: &[Activation<'_>],
        grad: &Tensor,
        grad_weights: &mut [f32],
        grad_bias: &mut [f32],
    ) {
        let (batch, channels, shape) = concatenated(inputs);
        check_gradient(grad, batch, halved(shape));
        assert_eq!(
            grad_weights.len(),
            grad.channels() * channels * TAPS,
            "gradient of the weights"
        );
        assert_eq!(grad_bias.len(), grad.channels(), "gradient of the biases");
        let dy = Planar::of_tensor(grad);
        let dw = naive::backward_weights(&Planar::of(inputs), &dy, Geometry::DOWN2);
        grad_weights.iter_mut().zip(dw).for_each(|(to, from)| *to = from as f32);
        let db = naive::channel_sums(&dy);
        grad_bias.iter_mut().zip(db).for_each(|(to, from)| *to = from as f32);
    }
}
