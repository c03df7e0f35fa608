//! The layers: what to compute, cut into tasks for the threads.

mod batch_norm;
mod conv;
mod down;
mod fixed;
mod half;
mod partial;
mod planes;
mod up;
mod winograd;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod plane_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thread_tests;
#[cfg(test)]
mod winograd_tests;

pub use batch_norm::Statistics;
pub use fixed::{FixedConvolution, Kind};
pub use planes::{PlaneConvolution, Planes};

use crate::tensor::{Activation, Tensor};

/// Tasks a thread should have at least, so that all finish at about the same time.
const TASKS_PER_THREAD: usize = 4;

/// Checks that the inputs can be concatenated and agree with their normalisation; returns their
/// batch, channels and shape.
fn concatenated(inputs: &[Activation<'_>]) -> (usize, usize, [usize; 3]) {
    assert!(!inputs.is_empty(), "a layer has at least one input");
    let first = inputs[0].tensor;
    for Activation { tensor, normalise } in inputs {
        assert_eq!(tensor.batch(), first.batch(), "inputs have one batch");
        assert_eq!(tensor.shape(), first.shape(), "inputs have one shape");
        if let Some(law) = normalise {
            assert_eq!(law.scale.len(), tensor.channels(), "one scale a channel");
            let shifts = [tensor.channels(), tensor.batch() * tensor.channels()];
            assert!(shifts.contains(&law.shift.len()), "one shift a channel, or for each sample");
        }
    }
    let channels = inputs.iter().map(|input| input.tensor.channels()).sum();
    (first.batch(), channels, first.shape())
}

/// Tensors for the gradients with respect to the inputs of a layer, still to be filled.
fn unfilled(grad: &Tensor, input_channels: &[usize], shape: [usize; 3]) -> Vec<Tensor> {
    let of_input = |&channels: &usize| Tensor::unfilled(grad.batch(), channels, shape);
    input_channels.iter().map(of_input).collect()
}

/// Checks that the gradient fits the output of a layer.
fn check_gradient(grad: &Tensor, batch: usize, shape: [usize; 3]) {
    assert_eq!(grad.batch(), batch, "batch of the gradient");
    assert_eq!(grad.shape(), shape, "shape of the gradient");
}

/// Checks that the gradient fits the output of a layer with `in_channels` inputs and `taps` weights
/// for each pair of channels, and the slice its weights.
fn check_gradients(
    grad: &Tensor,
    (batch, shape): (usize, [usize; 3]),
    (in_channels, taps): (usize, usize),
    grad_weights: &[f32],
) {
    check_gradient(grad, batch, shape);
    let weights = grad.channels() * in_channels * taps;
    assert_eq!(grad_weights.len(), weights, "gradient of the weights");
}
