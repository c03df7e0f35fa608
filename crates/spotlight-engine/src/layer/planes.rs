//! Layers of 2D networks, forward only: a batch of planes is a tensor of depth 1.
//!
//! ```text
//! convolution   y[o, p] = bias[o] + Σ_i Σ_t w[o, i, t] x[i, p + t]      3×3, zeros around; or 1×1
//! maximum       y[c, p] = max of x[c] over the 2×2 pixels of p
//! mean          y[c]    = mean of x[c] over all pixels, for each sample
//! ```
//! What surrounds a convolution in a residual network costs no pass of its own: the normalisation
//! and ReLU before it and the doubling of its input happen on load, the sum with another branch
//! when the result is stored.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::{
    concatenated,
    conv::{Ends, Packed3},
};
use crate::{
    Engine, InstructionSet,
    kernel::{
        channel::Moments,
        naive::{self, Geometry, Planar},
        pack::{Order, Packed, Weights, pack_half},
        point::{Point, TOGETHER},
        pool::Pool,
        source::Source,
        vector::dispatch,
    },
    plan::Algorithm,
    tensor::{Activation, BLOCK, Tensor},
};

/// Weights of one pair of channels of a 3×3 convolution.
const TAPS: usize = 9;

/// Pixels that one task of a 1×1 convolution or of a maximum takes, about.
const PIXELS: usize = 2048;

/// A batch of planes as a convolution reads it.
#[derive(Clone, Copy, Debug)]
pub struct Planes<'a> {
    /// The stored planes, a tensor of depth 1, and their normalisation with ReLU.
    pub activation: Activation<'a>,
    /// Whether every pixel is read as a square of 2×2 pixels: nearest neighbours at twice the size.
    pub doubled: bool,
}

/// A convolution of planes, 3×3 with one pixel of zeros around or 1×1, with fixed weights.
///
/// The weights in the order of the kernels are kept from call to call: up to four times the memory
/// of the weights.
///
/// # Examples
///
/// ```
/// use spotlight_engine::{
///     Activation, Engine, EngineOptions, PlaneConvolution, Planes, Tensor,
/// };
///
/// let engine = Engine::new(&EngineOptions::default())?;
/// let planes = Tensor::from_planar(1, 1, [1, 1, 3], &[1.0, 2.0, 3.0]);
/// let activation = Activation { tensor: &planes, normalise: None };
/// let sum = PlaneConvolution::new(3, vec![1.0; 9], vec![0.5]);
/// let output = engine.convolve_planes(&Planes { activation, doubled: false }, &sum);
/// assert_eq!(output.to_planar(), [3.5, 6.5, 5.5]);
/// # Ok::<(), spotlight_engine::EngineError>(())
/// ```
pub struct PlaneConvolution {
    pub(super) side: usize,
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    direct: OnceLock<Packed3>,
    winograd: OnceLock<Packed3>,
    point: OnceLock<Packed>,
}

impl PlaneConvolution {
    /// A convolution with `side`×`side` weights (out, in, y, x); `bias` has one value an output
    /// channel.
    ///
    /// # Panics
    ///
    /// If `side` is neither 1 nor 3, there is no bias, or the weights are not a whole number of
    /// squares for each output.
    #[must_use]
    pub fn new(side: usize, weights: Vec<f32>, bias: Vec<f32>) -> Self {
        assert!([1, 3].contains(&side), "convolutions of planes are 1×1 or 3×3");
        assert!(!bias.is_empty(), "a convolution has an output");
        assert_eq!(weights.len() % (bias.len() * side * side), 0, "weights of the convolution");
        let (direct, winograd, point) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { side, weights, bias, direct, winograd, point }
    }

    /// Number of input channels.
    pub(super) fn in_channels(&self) -> usize {
        self.weights.len() / (self.bias.len() * self.side * self.side)
    }
}

impl Engine {
    /// Convolves planes.
    ///
    /// # Panics
    ///
    /// If the planes have another depth than 1 or do not fit the weights.
    #[must_use]
    pub fn convolve_planes(&self, planes: &Planes<'_>, layer: &PlaneConvolution) -> Tensor {
        let (batch, _, shape) = plane_shape(planes);
        let mut output = Tensor::unfilled(batch, layer.bias.len(), shape);
        self.convolve_planes_into(planes, layer, &mut output, false);
        output
    }

    /// Adds convolved planes to `sum`.
    ///
    /// # Panics
    ///
    /// As [`Engine::convolve_planes`], and if `sum` has another batch, shape or other channels than
    /// the result.
    pub fn add_convolved_planes(
        &self,
        planes: &Planes<'_>,
        layer: &PlaneConvolution,
        sum: &mut Tensor,
    ) {
        let (batch, _, shape) = plane_shape(planes);
        let found = (sum.batch(), sum.channels(), sum.shape());
        assert_eq!(found, (batch, layer.bias.len(), shape), "what is added to fits");
        self.convolve_planes_into(planes, layer, sum, true);
    }

    fn convolve_planes_into(
        &self,
        planes: &Planes<'_>,
        layer: &PlaneConvolution,
        output: &mut Tensor,
        add: bool,
    ) {
        let (_, channels, shape) = plane_shape(planes);
        assert_eq!(channels, layer.in_channels(), "channels of the planes");
        if self.instruction_set() == InstructionSet::Exact {
            let result = exactly(planes, layer);
            if add {
                self.add(output, &result);
            } else {
                *output = result;
            }
            return;
        }
        let inputs = [planes.activation];
        let mut ends = Ends::new(&inputs, Some(&layer.bias), false, std::slice::from_mut(output));
        ends.targets.iter_mut().for_each(|target| target.add = add);
        ends.reach = 0;
        self.install(|| {
            if layer.side == 1 {
                self.point(&ends, layer, planes.doubled);
                return;
            }
            if planes.doubled {
                ends.shape = shape;
                ends.sources = ends.sources.drain(..).map(Source::doubled).collect();
            }
            let algorithm = self.algorithm_of(&ends);
            let place = match algorithm {
                Algorithm::Direct => &layer.direct,
                Algorithm::Winograd => &layer.winograd,
            };
            let order = Order { out: channels * TAPS, input: TAPS, flipped: false };
            let weights = Weights { values: &layer.weights, order, scale: None };
            let packed = place.get_or_init(|| self.pack3(algorithm, weights, &ends));
            self.convolve_packed(&ends, packed, false);
        });
    }

    /// The 1×1 convolution.
    fn point(&self, ends: &Ends<'_>, layer: &PlaneConvolution, doubled: bool) {
        let order = Order { out: layer.in_channels(), input: 1, flipped: false };
        let weights = Weights { values: &layer.weights, order, scale: None };
        let pack = || pack_half::<1>(weights, &ends.from, &ends.to, TOGETHER);
        let weights = layer.point.get_or_init(pack);
        let Ends { sources, targets, batch, shape: [_, height, width], .. } = ends;
        let pixels = height * width;
        let runs = pixels.div_ceil(PIXELS);
        (0..batch * runs).into_par_iter().for_each(|task| {
            let (sample, start) = (task / runs, task % runs * PIXELS);
            let (pixels, width) = (start..(start + PIXELS).min(pixels), *width);
            let task = Point { sources, weights, targets, sample, pixels, width, doubled };
            // SAFETY: the engine has checked the instruction set; the tasks write different
            // pixels of the output, which is borrowed for as long as they run.
            unsafe { dispatch(self.instruction_set(), task) }
        });
    }

    /// The maximum of every square of 2×2 pixels of a batch of planes: half the size.
    ///
    /// # Panics
    ///
    /// If the planes have another depth than 1 or a side along y or x is odd.
    #[must_use]
    pub fn max_pool_planes(&self, planes: &Tensor) -> Tensor {
        let [depth, height, width] = planes.shape();
        assert!(depth == 1, "planes have a depth of 1");
        assert!(height % 2 == 0 && width % 2 == 0, "the sides to halve are even");
        let shape = [1, height / 2, width / 2];
        let mut output = Tensor::unfilled(planes.batch(), planes.channels(), shape);
        let pairs = (PIXELS / width).clamp(1, height / 2);
        self.install(|| {
            let to = output.values_mut().par_chunks_mut(height / 2 * (width / 2));
            let from = planes.values().par_chunks(height * width);
            from.zip(to).for_each(|(from, to)| {
                let to = to.par_chunks_mut(pairs * (width / 2));
                from.par_chunks(2 * pairs * width).zip(to).for_each(|(from, to)| {
                    // SAFETY: the engine has checked the instruction set.
                    unsafe { dispatch(self.instruction_set(), Pool { from, width, to }) }
                });
            });
        });
        output
    }

    /// The mean of every channel of every sample, in the order (sample, channel).
    #[must_use]
    pub fn sample_means(&self, tensor: &Tensor) -> Vec<f64> {
        let blocks = tensor.blocks();
        let of_block = |index: usize| {
            let values = tensor.block(index / blocks, index % blocks);
            // SAFETY: the engine has checked the instruction set.
            let [sums, _] = unsafe { dispatch(self.instruction_set(), Moments { values }) };
            sums.map(|sum| sum / values.len() as f64)
        };
        let means: Vec<[f64; BLOCK]> =
            self.install(|| (0..tensor.batch() * blocks).into_par_iter().map(of_block).collect());
        let samples = means.chunks_exact(blocks);
        samples.flat_map(|means| means.as_flattened()[..tensor.channels()].to_vec()).collect()
    }
}

/// Batch, channels and shape of planes as they are read.
fn plane_shape(planes: &Planes<'_>) -> (usize, usize, [usize; 3]) {
    let (batch, channels, [depth, height, width]) = concatenated(&[planes.activation]);
    assert_eq!(depth, 1, "planes have a depth of 1");
    let factor = if planes.doubled { 2 } else { 1 };
    (batch, channels, [1, factor * height, factor * width])
}

/// By the definition: in a volume of depth 1, a 3×3 convolution is the middle plane of a 3×3×3 one.
fn exactly(planes: &Planes<'_>, layer: &PlaneConvolution) -> Tensor {
    let mut x = Planar::of(&[planes.activation]);
    if planes.doubled {
        x = x.doubled();
    }
    let out = layer.bias.len();
    let mut y = if layer.side == 1 {
        naive::forward(&x, &layer.weights, out, Geometry::POINT)
    } else {
        let in_middle = |taps: &[f32]| {
            let mut volume = [0.0; 27];
            volume[TAPS..2 * TAPS].copy_from_slice(taps);
            volume
        };
        let weights: Vec<f32> = layer.weights.chunks_exact(TAPS).flat_map(in_middle).collect();
        naive::forward(&x, &weights, out, Geometry::CONV3)
    };
    y.add_bias(&layer.bias);
    y.into_tensor()
}
