//! The network for prediction: its state does not change any more.
//!
//! Each normalisation has fixed statistics, so it is folded into the convolution before it.

use spotlight_engine::{
    Activation, Engine, FixedConvolution, Kind, ScaleShift, Statistics, Tensor,
};

use super::parameters::{Layer, Level, Lower, Norm};
use super::{EPSILON, Fnet};

/// A network that predicts; made by [`Fnet::fixed`].
pub struct FixedFnet<'a> {
    network: &'a Fnet,
    pub(crate) top: FixedLevel<'a>,
    pub(crate) output: FixedConvolution<'a>,
}

/// A level and all below it, layer by layer as in [`Level`].
pub(crate) struct FixedLevel<'a> {
    pub(crate) more: [FixedConvolution<'a>; 2],
    pub(crate) lower: Option<Box<FixedLower<'a>>>,
}

/// The way down from a level and back up to it.
pub(crate) struct FixedLower<'a> {
    pub(crate) down: FixedConvolution<'a>,
    pub(crate) level: FixedLevel<'a>,
    pub(crate) up: FixedConvolution<'a>,
    pub(crate) less: [FixedConvolution<'a>; 2],
}

impl<'a> FixedFnet<'a> {
    pub(super) fn new(network: &'a Fnet, keep: bool) -> Self {
        let fix = Fix { network, keep };
        let output = &network.layout.output;
        let (weights, bias) = (output.weights.clone(), output.bias.clone());
        let (weights, bias) = (&network.parameters[weights], &network.parameters[bias]);
        let output = FixedConvolution::new(Kind::Same, weights, bias, None, keep);
        Self { network, top: fix.level(&network.layout.top), output }
    }

    /// Predicts, with the running statistics.
    ///
    /// # Panics
    ///
    /// If the input has other channels than the network or a side that is no multiple of
    /// [`FnetOptions::divisor`](super::FnetOptions::divisor).
    #[must_use]
    pub fn forward(&self, engine: &Engine, input: &Tensor) -> Tensor {
        self.network.check_input(input);
        let top = level(engine, &self.top, input);
        engine.fixed(&[read(&top)], &self.output)
    }
}

/// Predicts a level; tensors are freed as soon as they have been read.
fn level(engine: &Engine, fixed: &FixedLevel<'_>, input: &Tensor) -> Tensor {
    let pair = |layers: &[FixedConvolution<'_>; 2], inputs: &[Activation<'_>]| {
        let first = engine.fixed(inputs, &layers[0]);
        engine.fixed(&[read(&first)], &layers[1])
    };
    let skip = pair(&fixed.more, &[read(input)]);
    let Some(lower) = &fixed.lower else { return skip };
    let down = engine.fixed(&[read(&skip)], &lower.down);
    let deep = level(engine, &lower.level, &down);
    drop(down);
    let up = engine.fixed(&[read(&deep)], &lower.up);
    drop(deep);
    // The first of the two reads skip and up; the second needs neither any more.
    let first = engine.fixed(&[read(&skip), read(&up)], &lower.less[0]);
    drop((skip, up));
    engine.fixed(&[read(&first)], &lower.less[1])
}

fn read(tensor: &Tensor) -> Activation<'_> {
    Activation { tensor, normalise: None }
}

/// Fixes the layers of a network.
struct Fix<'a> {
    network: &'a Fnet,
    keep: bool,
}

impl<'a> Fix<'a> {
    fn level(&self, level: &Level) -> FixedLevel<'a> {
        let lower = level.lower.as_ref().map(|lower| {
            let Lower { down, level, up, less } = lower.as_ref();
            Box::new(FixedLower {
                down: self.layer(Kind::Down, down),
                level: self.level(level),
                up: self.layer(Kind::Up, up),
                less: less.each_ref().map(|layer| self.layer(Kind::Same, layer)),
            })
        });
        FixedLevel { more: level.more.each_ref().map(|layer| self.layer(Kind::Same, layer)), lower }
    }

    fn layer(&self, kind: Kind, layer: &Layer) -> FixedConvolution<'a> {
        let parameters = &self.network.parameters;
        let weights = &parameters[layer.convolution.weights.clone()];
        let bias = &parameters[layer.convolution.bias.clone()];
        FixedConvolution::new(kind, weights, bias, Some(&self.law(&layer.norm)), self.keep)
    }

    /// The running statistics with what was learned, as one factor and one summand a channel.
    fn law(&self, norm: &Norm) -> ScaleShift {
        let Fnet { parameters, buffers, .. } = self.network;
        let widen = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect();
        let mean = widen(&buffers[norm.mean.clone()]);
        let variance = widen(&buffers[norm.variance.clone()]);
        let (gamma, beta) = (&parameters[norm.gamma.clone()], &parameters[norm.beta.clone()]);
        Statistics { mean, variance, count: 0 }.scale_shift(gamma, beta, EPSILON)
    }
}
