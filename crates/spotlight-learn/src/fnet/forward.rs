//! The network forwards in training, with a trace kept for the way back.
//!
//! Between layers lies what a convolution wrote, before its normalisation; batch
//! normalisation and rectifier are one scale and shift per channel, applied when the
//! next layer reads. So each layer costs one tensor, not three.

use spotlight_engine::{Activation, Engine, ScaleShift, Statistics, Tensor};

use super::layer::{self, Operation};
use super::parameters::{Layer, Level, Norm};
use super::{EPSILON, MOMENTUM};

/// A convolution's output, and how the next layer normalises it on reading.
#[derive(Debug)]
pub(super) struct Normalised {
    pub(super) tensor: Tensor,
    on_load: ScaleShift,
}

impl Normalised {
    pub(super) fn activation(&self) -> Activation<'_> {
        Activation { tensor: &self.tensor, normalise: Some(&self.on_load) }
    }
}

/// What training keeps of one layer for the way back.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) output: Normalised,
    pub(super) statistics: Statistics,
}

impl Kept {
    pub(super) fn activation(&self) -> Activation<'_> {
        self.output.activation()
    }
}

/// What training keeps of a level and all below it.
#[derive(Debug)]
pub(super) struct LevelTrace {
    pub(super) more: [Kept; 2],
    pub(super) lower: Option<Box<LowerTrace>>,
}

/// What training keeps of the way down and up.
#[derive(Debug)]
pub(super) struct LowerTrace {
    pub(super) down: Kept,
    pub(super) level: LevelTrace,
    pub(super) up: Kept,
    pub(super) less: [Kept; 2],
}

impl LevelTrace {
    /// What the level hands to the one above.
    pub(super) fn output(&self) -> &Kept {
        self.lower.as_ref().map_or(&self.more[1], |lower| &lower.less[1])
    }
}

/// What a training pass reads and, for the running statistics, writes.
pub(super) struct Training<'a> {
    pub(super) engine: &'a Engine,
    pub(super) parameters: &'a [f32],
    pub(super) buffers: &'a mut [f32],
}

impl Training<'_> {
    /// A level with the statistics of the batch.
    pub(super) fn level(&mut self, level: &Level, input: Activation<'_>) -> LevelTrace {
        let more = self.pair(&level.more, &[input]);
        let lower = level.lower.as_ref().map(|lower| {
            let skip = more[1].activation();
            let down = self.layer(Operation::Down, &lower.down, &[skip]);
            let level = self.level(&lower.level, down.activation());
            let up = self.layer(Operation::Up, &lower.up, &[level.output().activation()]);
            let less = self.pair(&lower.less, &[skip, up.activation()]);
            Box::new(LowerTrace { down, level, up, less })
        });
        LevelTrace { more, lower }
    }

    fn pair(&mut self, layers: &[Layer; 2], inputs: &[Activation<'_>]) -> [Kept; 2] {
        let first = self.layer(Operation::Same, &layers[0], inputs);
        let second = self.layer(Operation::Same, &layers[1], &[first.activation()]);
        [first, second]
    }

    fn layer(&mut self, operation: Operation, layer: &Layer, inputs: &[Activation<'_>]) -> Kept {
        let convolution = &layer.convolution;
        let (tensor, statistics) = layer::forward_with_statistics(
            self.engine,
            operation,
            convolution,
            self.parameters,
            inputs,
        );
        self.update_running(&layer.norm, &statistics);
        let on_load = scale_shift(self.parameters, &layer.norm, &statistics);
        Kept { output: Normalised { tensor, on_load }, statistics }
    }

    /// Moves the running statistics towards the batch's, with the unbiased variance.
    fn update_running(&mut self, norm: &Norm, batch: &Statistics) {
        let count = batch.count as f64;
        let unbiased = if batch.count > 1 { count / (count - 1.0) } else { 1.0 };
        let laws = [(&norm.mean, &batch.mean, 1.0), (&norm.variance, &batch.variance, unbiased)];
        for (range, values, factor) in laws {
            for (running, value) in self.buffers[range.clone()].iter_mut().zip(values) {
                let kept = (1.0 - MOMENTUM) * f64::from(*running);
                *running = (kept + MOMENTUM * factor * value) as f32;
            }
        }
    }
}

fn scale_shift(parameters: &[f32], norm: &Norm, statistics: &Statistics) -> ScaleShift {
    let (gamma, beta) = (&parameters[norm.gamma.clone()], &parameters[norm.beta.clone()]);
    statistics.scale_shift(gamma, beta, EPSILON)
}
