//! One layer forwards and backwards, whichever of the three convolutions it has.

use spotlight_engine::{Activation, Engine, Statistics, Tensor};

use super::parameters::Convolution;

/// The convolution of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// 3x3x3 with a border of zeros: the same size.
    Same,
    /// 2x2x2 with stride 2: half the size.
    Down,
    /// Transposed 2x2x2 with stride 2: twice the size.
    Up,
}

/// The convolution's output, bias added.
pub(super) fn forward(
    engine: &Engine,
    operation: Operation,
    layer: &Convolution,
    parameters: &[f32],
    inputs: &[Activation<'_>],
) -> Tensor {
    let (weights, bias) = (&parameters[layer.weights.clone()], &parameters[layer.bias.clone()]);
    match operation {
        Operation::Same => engine.conv3(inputs, weights, bias, layer.out_channels),
        Operation::Down => engine.down2(inputs, weights, bias, layer.out_channels),
        Operation::Up => engine.up2(inputs, weights, bias, layer.out_channels),
    }
}

/// The convolution's output, bias added, with its statistics.
pub(super) fn forward_with_statistics(
    engine: &Engine,
    operation: Operation,
    layer: &Convolution,
    parameters: &[f32],
    inputs: &[Activation<'_>],
) -> (Tensor, Statistics) {
    if let Operation::Same = operation {
        let (weights, bias) = (&parameters[layer.weights.clone()], &parameters[layer.bias.clone()]);
        return engine.conv3_with_statistics(inputs, weights, bias, layer.out_channels);
    }
    let output = forward(engine, operation, layer, parameters, inputs);
    let statistics = engine.statistics(&output);
    (output, statistics)
}

/// The gradients by what the convolution read, one for each input.
pub(super) fn backward_data(
    engine: &Engine,
    operation: Operation,
    layer: &Convolution,
    parameters: &[f32],
    inputs: &[Activation<'_>],
    gradient: &Tensor,
) -> Vec<Tensor> {
    let weights = &parameters[layer.weights.clone()];
    let channels: Vec<usize> = inputs.iter().map(|input| input.tensor.channels()).collect();
    match operation {
        Operation::Same => engine.conv3_backward_data(gradient, weights, &channels),
        Operation::Down => engine.down2_backward_data(gradient, weights, &channels),
        Operation::Up => engine.up2_backward_data(gradient, weights, &channels),
    }
}

/// Writes the gradient by the weights.
pub(super) fn backward_weights(
    engine: &Engine,
    operation: Operation,
    layer: &Convolution,
    inputs: &[Activation<'_>],
    gradient: &Tensor,
    gradients: &mut [f32],
) {
    let weights = &mut gradients[layer.weights.clone()];
    match operation {
        Operation::Same => engine.conv3_backward_weights(inputs, gradient, weights),
        Operation::Down => engine.down2_backward_weights(inputs, gradient, weights),
        Operation::Up => engine.up2_backward_weights(inputs, gradient, weights),
    }
}
