//! Convolutions for prediction, whose weights do not change any more.
//!
//! Batch normalisation with fixed statistics is one factor and one summand a channel. The factor
//! goes into the weights while they are brought into the order of the kernels, the summand into the
//! bias, and ReLU happens when a sum is stored: the next layer reads what is there.

use std::sync::OnceLock;

use super::{
    concatenated,
    conv::{Ends, Packed3, forward_weights},
    half::{half_weights, halved, pack_half_of},
};
use crate::{
    Engine, InstructionSet,
    kernel::{
        half::{self, Direction},
        pack::{self, Packed, Weights},
    },
    plan::Algorithm,
    tensor::{Activation, ScaleShift, Tensor},
};

/// Which of the three convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 3×3×3 with one voxel of zeros around the volume: [`Engine::conv3`].
    Same,
    /// 2×2×2 with stride 2: [`Engine::down2`].
    Down,
    /// Transposed 2×2×2 with stride 2: [`Engine::up2`].
    Up,
}

/// A convolution with fixed weights and, where it has one, the normalisation with ReLU behind it.
///
/// # Examples
///
/// ```
/// use spotlight_engine::{Activation, Engine, EngineOptions, FixedConvolution, Kind, Tensor};
///
/// let engine = Engine::new(&EngineOptions::default())?;
/// let input = Tensor::from_planar(1, 1, [1, 1, 3], &[1.0, 2.0, 3.0]);
/// let mut weights = [0.0; 27];
/// weights[13] = 2.0;
/// let layer = FixedConvolution::new(Kind::Same, &weights, &[-3.0], None, true);
/// let output = engine.fixed(&[Activation { tensor: &input, normalise: None }], &layer);
/// assert_eq!(output.to_planar(), [-1.0, 1.0, 3.0]);
/// # Ok::<(), spotlight_engine::EngineError>(())
/// ```
pub struct FixedConvolution<'a> {
    kind: Kind,
    weights: &'a [f32],
    bias: Vec<f32>,
    /// The factor of each output channel. With a normalisation there is a ReLU behind it.
    scale: Option<Vec<f32>>,
    keep: bool,
    direct: OnceLock<Packed3>,
    winograd: OnceLock<Packed3>,
    half: OnceLock<Packed>,
}

impl<'a> FixedConvolution<'a> {
    /// A convolution with `weights` and `bias` in the order of its kind, and with the normalisation
    /// and ReLU behind it if `normalise` is given.
    ///
    /// With `keep`, the weights in the order of the kernels are kept from call to call: up to four
    /// times the memory of the weights. Without, they are made at every call.
    ///
    /// # Panics
    ///
    /// If `normalise` has not one value for each bias.
    #[must_use]
    pub fn new(
        kind: Kind,
        weights: &'a [f32],
        bias: &[f32],
        normalise: Option<&ScaleShift>,
        keep: bool,
    ) -> Self {
        let mut bias = bias.to_vec();
        if let Some(ScaleShift { scale, shift }) = normalise {
            assert!(scale.len() == bias.len() && shift.len() == bias.len(), "one law a channel");
            for (bias, (scale, shift)) in bias.iter_mut().zip(scale.iter().zip(shift)) {
                *bias = bias.mul_add(*scale, *shift);
            }
        }
        let scale = normalise.map(|law| law.scale.clone());
        let (direct, winograd) = (OnceLock::new(), OnceLock::new());
        Self { kind, weights, bias, scale, keep, direct, winograd, half: OnceLock::new() }
    }
}

impl Engine {
    /// Convolves the concatenated inputs and, where the layer has them, normalises and rectifies.
    ///
    /// # Panics
    ///
    /// If the inputs disagree in batch or shape or do not fit the weights, or a side to halve is
    /// odd.
    #[must_use]
    pub fn fixed(&self, inputs: &[Activation<'_>], layer: &FixedConvolution<'_>) -> Tensor {
        let (batch, channels, shape) = concatenated(inputs);
        let (out, relu) = (layer.bias.len(), layer.scale.is_some());
        let (shape, taps) = match layer.kind {
            Kind::Same => (shape, pack::TAPS),
            Kind::Down => (halved(shape), half::TAPS),
            Kind::Up => (shape.map(|side| 2 * side), half::TAPS),
        };
        assert_eq!(layer.weights.len(), out * channels * taps, "weights of the convolution");
        if self.instruction_set() == InstructionSet::Exact {
            return self.fixed_exactly(inputs, layer);
        }
        let mut outputs = [Tensor::unfilled(batch, out, shape)];
        let ends = Ends::new(inputs, Some(&layer.bias), relu, &mut outputs);
        let scale = layer.scale.as_deref();
        self.install(|| match layer.kind {
            Kind::Same => self.fixed_same(layer, channels, &ends),
            Kind::Down | Kind::Up => {
                let gather = layer.kind == Kind::Down;
                let direction = if gather { Direction::Gather } else { Direction::Scatter };
                let weights = half_weights(direction, layer.weights, &ends);
                let pack = || pack_half_of(Weights { scale, ..weights }, &ends);
                kept(&layer.half, layer.keep, pack, |packed| {
                    self.between_packed(direction, &ends, packed);
                });
            }
        });
        let [output] = outputs;
        output
    }

    fn fixed_same(&self, layer: &FixedConvolution<'_>, channels: usize, ends: &Ends<'_>) {
        let algorithm = self.algorithm_of(ends);
        let place = match algorithm {
            Algorithm::Direct => &layer.direct,
            Algorithm::Winograd => &layer.winograd,
        };
        let (weights, scale) = (forward_weights(layer.weights, channels), layer.scale.as_deref());
        let pack = || self.pack3(algorithm, Weights { scale, ..weights }, ends);
        kept(place, layer.keep, pack, |packed| {
            self.convolve_packed(ends, packed, false);
        });
    }

    /// By the definition: the weights are multiplied first.
    fn fixed_exactly(&self, inputs: &[Activation<'_>], layer: &FixedConvolution<'_>) -> Tensor {
        let mut weights = layer.weights.to_vec();
        let out = layer.bias.len();
        if let Some(scale) = &layer.scale {
            let outputs_first = layer.kind != Kind::Up;
            let run = if outputs_first { weights.len() / out } else { half::TAPS };
            for (index, run) in weights.chunks_exact_mut(run).enumerate() {
                run.iter_mut().for_each(|weight| *weight *= scale[index % out]);
            }
        }
        let mut output = match layer.kind {
            Kind::Same => self.conv3(inputs, &weights, &layer.bias, out),
            Kind::Down => self.down2(inputs, &weights, &layer.bias, out),
            Kind::Up => self.up2(inputs, &weights, &layer.bias, out),
        };
        if layer.scale.is_some() {
            let values = output.values_mut().as_flattened_mut();
            values.iter_mut().filter(|value| **value < 0.0).for_each(|value| *value = 0.0);
        }
        output
    }
}

/// Calls `work` with what is kept in `place`, or with something made for this once.
fn kept<T>(place: &OnceLock<T>, keep: bool, make: impl FnOnce() -> T, work: impl FnOnce(&T)) {
    if keep { work(place.get_or_init(make)) } else { work(&make()) }
}
