//! The network backwards: every layer of [`super::forward`] in the reverse order.
//!
//! A layer takes the gradient by its rectified output, writes the gradients by its
//! parameters into the flat vector and returns the gradients by what it read. What the
//! trace kept is freed as soon as it has been used.

use spotlight_engine::{Activation, Engine, Tensor};

use super::EPSILON;
use super::forward::{Kept, LevelTrace, LowerTrace};
use super::layer::{self, Operation};
use super::parameters::{Layer, Level, Lower};

/// What all layers of one backward pass share.
pub(super) struct Backward<'a> {
    pub(super) engine: &'a Engine,
    pub(super) parameters: &'a [f32],
    pub(super) gradients: &'a mut [f32],
}

impl Backward<'_> {
    /// Back through a level. The gradient by its input is made if `wanted`: not at the
    /// top, where the input is the image.
    pub(super) fn level(
        &mut self,
        level: &Level,
        input: Activation<'_>,
        trace: LevelTrace,
        mut gradient: Tensor,
        wanted: bool,
    ) -> Option<Tensor> {
        let LevelTrace { more: [first, second], lower: kept } = trace;
        if let (Some(lower), Some(kept)) = (&level.lower, kept) {
            gradient = self.lower(lower, second.activation(), *kept, gradient);
        }
        let read = first.activation();
        let gradient = self.through(Operation::Same, &level.more[1], read, second, gradient);
        let gradient = self.normalisation(&level.more[0], first, gradient);
        self.weights(Operation::Same, &level.more[0], &[input], &gradient);
        wanted.then(|| self.data(Operation::Same, &level.more[0], input, &gradient))
    }

    /// Back from a level's output to its skip, once past the skip and once through all
    /// that lies below.
    fn lower(
        &mut self,
        lower: &Lower,
        skip: Activation<'_>,
        kept: LowerTrace,
        gradient: Tensor,
    ) -> Tensor {
        let LowerTrace { down, level, up, less: [first, second] } = kept;
        let read = first.activation();
        let gradient = self.through(Operation::Same, &lower.less[1], read, second, gradient);
        let gradient = self.normalisation(&lower.less[0], first, gradient);
        let read = [skip, up.activation()];
        self.weights(Operation::Same, &lower.less[0], &read, &gradient);
        let (mut by_skip, by_up) = self.data_of_two(&lower.less[0], read, &gradient);
        drop(gradient);

        let read = level.output().activation();
        let by_deep = self.through(Operation::Up, &lower.up, read, up, by_up);
        let by_down = self.level(&lower.level, down.activation(), level, by_deep, true);
        let by_down = by_down.expect("it was wanted");
        let through_down = self.through(Operation::Down, &lower.down, skip, down, by_down);
        self.engine.add(&mut by_skip, &through_down);
        by_skip
    }

    /// Back through a whole layer with one input.
    fn through(
        &mut self,
        operation: Operation,
        layer: &Layer,
        input: Activation<'_>,
        output: Kept,
        gradient: Tensor,
    ) -> Tensor {
        let gradient = self.normalisation(layer, output, gradient);
        self.weights(operation, layer, &[input], &gradient);
        self.data(operation, layer, input, &gradient)
    }

    /// Back through rectifier and normalisation, after which the output is not needed.
    fn normalisation(&mut self, layer: &Layer, output: Kept, gradient: Tensor) -> Tensor {
        let norm = &layer.norm;
        let (by_output, by_gamma, by_beta) = self.engine.batch_norm_relu_backward(
            &output.output.tensor,
            &output.statistics,
            &self.parameters[norm.gamma.clone()],
            &self.parameters[norm.beta.clone()],
            EPSILON,
            gradient,
        );
        self.gradients[norm.gamma.clone()].copy_from_slice(&by_gamma);
        self.gradients[norm.beta.clone()].copy_from_slice(&by_beta);
        by_output
    }

    fn weights(
        &mut self,
        operation: Operation,
        layer: &Layer,
        inputs: &[Activation<'_>],
        gradient: &Tensor,
    ) {
        let convolution = &layer.convolution;
        layer::backward_weights(
            self.engine,
            operation,
            convolution,
            inputs,
            gradient,
            self.gradients,
        );
        // The normalisation subtracts the mean, so no bias before it changes anything. The
        // sum over the gradient is rounding noise, which Adam would blow up to whole steps.
        self.gradients[convolution.bias.clone()].fill(0.0);
    }

    fn data(
        &self,
        operation: Operation,
        layer: &Layer,
        input: Activation<'_>,
        gradient: &Tensor,
    ) -> Tensor {
        let (layer, parameters) = (&layer.convolution, self.parameters);
        let parts =
            layer::backward_data(self.engine, operation, layer, parameters, &[input], gradient);
        parts.into_iter().next().expect("one input has one gradient")
    }

    fn data_of_two(
        &self,
        layer: &Layer,
        inputs: [Activation<'_>; 2],
        gradient: &Tensor,
    ) -> (Tensor, Tensor) {
        let (layer, parameters) = (&layer.convolution, self.parameters);
        let operation = Operation::Same;
        let parts =
            layer::backward_data(self.engine, operation, layer, parameters, &inputs, gradient);
        let mut parts = parts.into_iter();
        let (first, second) = (parts.next(), parts.next());
        first.zip(second).expect("two inputs have two gradients")
    }
}
