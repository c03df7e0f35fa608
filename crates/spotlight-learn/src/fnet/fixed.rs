//! The network for prediction: its state does not change any more.
//!
//! Each normalisation has fixed statistics, so it is folded into the convolution before it.

use std::borrow::Borrow;

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
        let top = predict_level(engine, &self.top, input, None);
        engine.fixed(&[read(&top)], &self.output)
    }
}

/// What is known of a level below, so that it need not be computed.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    /// How many levels below.
    pub(crate) levels_down: usize,
    /// Makes its output.
    pub(crate) output: &'a dyn Fn() -> Tensor,
}

/// Predicts a level with all below it, or down to what is known. What has been read is freed at
/// once, the input, too, if it is not borrowed.
pub(crate) fn predict_level(
    engine: &Engine,
    level: &FixedLevel<'_>,
    input: impl Borrow<Tensor>,
    known: Option<Known<'_>>,
) -> Tensor {
    let skip = predict_pair(engine, &level.more, input);
    let Some(lower) = &level.lower else { return skip };
    let deep = match known {
        Some(Known { levels_down: 1, output }) => output(),
        _ => {
            let down = engine.fixed(&[read(&skip)], &lower.down);
            let known = known.map(|known| Known { levels_down: known.levels_down - 1, ..known });
            predict_level(engine, &lower.level, down, known)
        }
    };
    let up = engine.fixed(&[read(&deep)], &lower.up);
    drop(deep);
    // The first of the two reads skip and up; the second needs neither any more.
    let first = engine.fixed(&[read(&skip), read(&up)], &lower.less[0]);
    drop((skip, up));
    engine.fixed(&[read(&first)], &lower.less[1])
}

/// Two convolutions, one after the other.
pub(crate) fn predict_pair(
    engine: &Engine,
    layers: &[FixedConvolution<'_>; 2],
    input: impl Borrow<Tensor>,
) -> Tensor {
    let first = engine.fixed(&[read(input.borrow())], &layers[0]);
    drop(input);
    engine.fixed(&[read(&first)], &layers[1])
}

pub(crate) fn read(tensor: &Tensor) -> Activation<'_> {
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
