//! The F-net: a recursive 3D U-Net with batch normalisation.
//!
//! A level of the U is a function of itself one size smaller and twice as wide:
//!
//! ```text
//! level(x) = less( concatenate( a, up(level(down(a))) ) )      with a = more(x)
//! ```
//!
//! where `more` and `less` are two 3x3x3 convolutions, `down` a 2x2x2 convolution with
//! stride 2 and `up` its transpose, each followed by batch normalisation and rectifier;
//! the deepest level is `more` alone. A last 3x3x3 convolution makes the image.
//!
//! References:
//! - C. Ounkomol et al. (2018), "Label-free prediction of three-dimensional fluorescence
//!   images from transmitted-light microscopy".
//! - S. Ioffe and C. Szegedy (2015), "Batch normalization".

mod backward;
mod describe;
mod fixed;
mod forward;
mod initialise;
mod layer;
mod parameters;
mod receptive_field;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spotlight_engine::{Activation, Engine, Tensor};

pub use describe::{LayerShape, layer_shapes};
pub use fixed::FixedFnet;
pub(crate) use fixed::{FixedLevel, Known, predict_level, predict_pair, read};
pub use parameters::{Entry, EntryKind};
pub use receptive_field::receptive_field_halo;

use backward::Backward;
use forward::{LevelTrace, Training};
use layer::Operation;
use parameters::Layout;

/// Added to variances before their root is taken.
const EPSILON: f64 = 1e-5;

/// Weight of a batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Size of the network; the defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FnetOptions {
    /// Channels of the top level; each lower level has twice as many.
    pub width: usize,
    /// Number of times the image is halved.
    pub depth: usize,
    /// Channels of the input image.
    pub in_channels: usize,
    /// Channels of the predicted image.
    pub out_channels: usize,
}

impl Default for FnetOptions {
    fn default() -> Self {
        Self { width: 32, depth: 4, in_channels: 1, out_channels: 1 }
    }
}

impl FnetOptions {
    /// Every side of an input is a multiple of this: 2 to the power of the depth.
    #[must_use]
    pub fn divisor(&self) -> usize {
        1 << self.depth
    }

    /// How many voxels around it, on each side, an output voxel depends on.
    #[must_use]
    pub fn halo(&self) -> usize {
        receptive_field_halo(self.depth)
    }
}

/// A network: its size and its state.
///
/// # Examples
///
/// ```
/// use spotlight_engine::{Engine, EngineOptions, Tensor};
/// use spotlight_learn::fnet::{Fnet, FnetOptions};
///
/// let network = Fnet::new(&FnetOptions { width: 2, depth: 1, ..FnetOptions::default() }, 0);
/// let engine = Engine::new(&EngineOptions::default())?;
/// let image = Tensor::zeros(1, 1, [2, 4, 6]);
/// assert_eq!(network.forward_eval(&engine, &image).shape(), [2, 4, 6]);
/// # Ok::<(), spotlight_engine::EngineError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fnet {
    /// Its size.
    pub options: FnetOptions,
    /// The trainable values, in the order of [`Fnet::entries`].
    pub parameters: Vec<f32>,
    /// Running means and variances, in the order of [`Fnet::entries`].
    pub buffers: Vec<f32>,
    layout: Arc<Layout>,
}

/// What [`Fnet::forward_train`] keeps for [`Fnet::backward`].
#[derive(Debug)]
pub struct Trace {
    input: Tensor,
    top: LevelTrace,
}

impl Fnet {
    /// A network before its first step; the state follows from the seed.
    ///
    /// # Panics
    ///
    /// If a number of channels is 0.
    #[must_use]
    pub fn new(options: &FnetOptions, seed: u64) -> Self {
        let counts = [options.width, options.in_channels, options.out_channels];
        assert!(!counts.contains(&0), "a network has channels: {options:?}");
        let layout = Layout::new(options);
        let (parameters, buffers) = initialise::initial_state(&layout, seed);
        Self { options: *options, parameters, buffers, layout: Arc::new(layout) }
    }

    /// A network of zeros, to be filled.
    pub(crate) fn zeroed(options: &FnetOptions) -> Self {
        let layout = Layout::new(options);
        let parameters = vec![0.0; layout.len(EntryKind::Trainable)];
        let buffers = vec![0.0; layout.len(EntryKind::Buffer)];
        Self { options: *options, parameters, buffers, layout: Arc::new(layout) }
    }

    /// The tensors of a network of this size, without making it.
    pub(crate) fn entries_of(options: &FnetOptions) -> Vec<Entry> {
        Layout::new(options).entries
    }

    /// All tensors of the state, trainable ones in the order of PyTorch's module.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.layout.entries
    }

    /// The values of a tensor of the state.
    #[must_use]
    pub fn values(&self, entry: &Entry) -> &[f32] {
        match entry.kind {
            EntryKind::Trainable => &self.parameters[entry.range.clone()],
            EntryKind::Buffer => &self.buffers[entry.range.clone()],
        }
    }

    /// The values of a tensor of the state, for writing.
    pub fn values_mut(&mut self, entry: &Entry) -> &mut [f32] {
        match entry.kind {
            EntryKind::Trainable => &mut self.parameters[entry.range.clone()],
            EntryKind::Buffer => &mut self.buffers[entry.range.clone()],
        }
    }

    /// The network ready to predict, its normalisations folded into its convolutions.
    ///
    /// With `keep`, the weights in the order of the engine's kernels are kept from one prediction
    /// to the next, which takes up to four times their memory; without, they are made anew.
    #[must_use]
    pub fn fixed(&self, keep: bool) -> FixedFnet<'_> {
        FixedFnet::new(self, keep)
    }

    /// Predicts once, with the running statistics.
    ///
    /// # Panics
    ///
    /// If the input has other channels than the network or a side that is no multiple of
    /// [`FnetOptions::divisor`].
    #[must_use]
    pub fn forward_eval(&self, engine: &Engine, input: &Tensor) -> Tensor {
        self.fixed(false).forward(engine, input)
    }

    /// Predicts with the statistics of the batch, as in training, and updates the running
    /// ones. The trace is what [`Fnet::backward`] needs.
    ///
    /// # Panics
    ///
    /// As [`Fnet::forward_eval`].
    #[must_use]
    pub fn forward_train(&mut self, engine: &Engine, input: Tensor) -> (Tensor, Trace) {
        self.check_input(&input);
        let parameters = &self.parameters;
        let mut training = Training { engine, parameters, buffers: &mut self.buffers };
        let image = Activation { tensor: &input, normalise: None };
        let top = training.level(&self.layout.top, image);
        let read = [top.output().activation()];
        let output = &self.layout.output;
        let output = layer::forward(engine, Operation::Same, output, parameters, &read);
        (output, Trace { input, top })
    }

    /// From the gradient by the output to those by all parameters, which overwrite
    /// `gradients`; its order is that of `parameters`.
    ///
    /// # Panics
    ///
    /// If `gradients` has another length than `parameters`, or the trace is of another
    /// network or batch.
    pub fn backward(&self, engine: &Engine, trace: Trace, gradient: Tensor, gradients: &mut [f32]) {
        assert_eq!(gradients.len(), self.parameters.len(), "one gradient a parameter");
        let Trace { input, top } = trace;
        let (output, parameters) = (&self.layout.output, self.parameters.as_slice());
        let same = Operation::Same;
        let read = [top.output().activation()];
        layer::backward_weights(engine, same, output, &read, &gradient, gradients);
        gradients[output.bias.clone()].copy_from_slice(&engine.bias_gradient(&gradient));
        let by_top = layer::backward_data(engine, same, output, parameters, &read, &gradient);
        let by_top = by_top.into_iter().next().expect("one input has one gradient");
        drop(gradient);
        let image = Activation { tensor: &input, normalise: None };
        let mut backward = Backward { engine, parameters, gradients };
        backward.level(&self.layout.top, image, top, by_top, false);
    }

    fn check_input(&self, input: &Tensor) {
        assert_eq!(input.channels(), self.options.in_channels, "channels of the input");
        let divisor = self.options.divisor();
        assert!(
            input.shape().iter().all(|side| side % divisor == 0),
            "sides {:?} are no multiples of {divisor}",
            input.shape()
        );
    }
}
