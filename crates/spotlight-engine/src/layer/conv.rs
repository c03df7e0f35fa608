//! The 3×3×3 convolution with one voxel of zeros around the volume.

use std::array::from_fn;

use rayon::prelude::*;

use super::{
    Statistics, TASKS_PER_THREAD, check_gradients, concatenated, partial::Partial, unfilled,
};
use crate::{
    Engine, InstructionSet,
    kernel::{
        conv3::{Convolve, Target},
        conv3_weights::{self, Correlate},
        naive::{self, Geometry, Planar},
        pack::{Order, Packed, TAPS, Weights, pack, pack_few},
        source::{Channels, Shared, Source, sources},
        vector::dispatch,
        winograd::weights::Transformed,
    },
    plan::{self, Algorithm, FEW, regions, strips},
    tensor::{Activation, BLOCK, Tensor},
};

const CONV3: Geometry = Geometry::CONV3;

impl Engine {
    /// Convolves the concatenated inputs: stride 1, zero padding 1.
    ///
    /// `weights` is (out, in, 3, 3, 3) with the last three axes (z, y, x), where `in` runs over the
    /// channels of all inputs; `bias` has one value an output channel.
    ///
    /// # Panics
    ///
    /// If the inputs disagree in batch or shape, or a slice has the wrong length.
    #[must_use]
    pub fn conv3(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        bias: &[f32],
        out_channels: usize,
    ) -> Tensor {
        self.conv3_with_moments(inputs, weights, bias, out_channels, false).0
    }

    /// [`Engine::conv3`] with the [`Engine::statistics`] of its output, which cost little while it
    /// is stored.
    ///
    /// # Panics
    ///
    /// As [`Engine::conv3`].
    #[must_use]
    pub fn conv3_with_statistics(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        bias: &[f32],
        out_channels: usize,
    ) -> (Tensor, Statistics) {
        let (output, moments) = self.conv3_with_moments(inputs, weights, bias, out_channels, true);
        let statistics = match moments {
            Some(moments) => Statistics::of_moments(moments, output.batch() * output.voxels()),
            None => self.statistics(&output),
        };
        (output, statistics)
    }

    /// The algorithm of a 3×3×3 convolution and its gradients, for `batch` volumes of `shape`.
    ///
    /// It is chosen by what the algorithms cost, the same on every machine and for any number of
    /// threads, since it changes the rounding of the results.
    #[must_use]
    pub fn conv3_algorithm(
        &self,
        batch: usize,
        shape: [usize; 3],
        in_channels: usize,
        out_channels: usize,
    ) -> Algorithm {
        plan::algorithm(self.precision(), batch, shape, [in_channels, out_channels], 3)
    }

    fn conv3_with_moments(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        bias: &[f32],
        out_channels: usize,
        moments: bool,
    ) -> (Tensor, Option<[Vec<f64>; 2]>) {
        let (batch, channels, shape) = concatenated(inputs);
        assert_eq!(weights.len(), out_channels * channels * TAPS, "weights of the convolution");
        assert_eq!(bias.len(), out_channels, "biases of the convolution");
        if self.instruction_set() == InstructionSet::Exact {
            let mut y = naive::forward(&Planar::of(inputs), weights, out_channels, CONV3);
            y.add_bias(bias);
            return (y.into_tensor(), None);
        }
        let mut output = [Tensor::unfilled(batch, out_channels, shape)];
        let weights = forward_weights(weights, channels);
        let moments = self.convolve(inputs, weights, Some(bias), &mut output, moments);
        let [output] = output;
        (output, moments)
    }

    /// The gradients with respect to the inputs of [`Engine::conv3`], one tensor an input.
    ///
    /// `grad` is the gradient with respect to the output, `input_channels` the channels of each
    /// input. An input that was normalised on load gets the gradient with respect to the value
    /// after normalisation and ReLU.
    ///
    /// # Panics
    ///
    /// If the weights do not fit the channels.
    #[must_use]
    pub fn conv3_backward_data(
        &self,
        grad: &Tensor,
        weights: &[f32],
        input_channels: &[usize],
    ) -> Vec<Tensor> {
        let channels: usize = input_channels.iter().sum();
        assert_eq!(weights.len(), grad.channels() * channels * TAPS, "weights of the convolution");
        if self.instruction_set() == InstructionSet::Exact {
            let dy = Planar::of_tensor(grad);
            return naive::backward_data(&dy, weights, channels, grad.shape(), CONV3)
                .split(input_channels);
        }
        let mut outputs = unfilled(grad, input_channels, grad.shape());
        let inputs = [Activation { tensor: grad, normalise: None }];
        self.convolve(&inputs, backward_weights(weights, channels), None, &mut outputs, false);
        outputs
    }

    /// The gradients with respect to the weights of [`Engine::conv3`]; overwrites
    /// `grad_weights`, whose order is that of the weights.
    ///
    /// # Panics
    ///
    /// If the inputs and the gradient disagree in batch or shape, or a slice has the wrong length.
    pub fn conv3_backward_weights(
        &self,
        inputs: &[Activation<'_>],
        grad: &Tensor,
        grad_weights: &mut [f32],
    ) {
        let (batch, channels, shape) = concatenated(inputs);
        let output = (batch, shape);
        check_gradients(grad, output, (channels, TAPS), grad_weights);
        if self.instruction_set() == InstructionSet::Exact {
            let dy = Planar::of_tensor(grad);
            naive::round(&naive::backward_weights(&Planar::of(inputs), &dy, CONV3), grad_weights);
            return;
        }
        if self.conv3_algorithm(batch, shape, channels, grad.channels()) == Algorithm::Winograd {
            self.winograd_weights(inputs, grad, grad_weights);
            return;
        }
        let vectors = [Activation { tensor: grad, normalise: None }];
        let (inputs, vectors) = (sources(inputs), sources(&vectors));
        let [out, input] = [channels * TAPS, TAPS];
        // The sums of one broadcast channel with sixteen vector channels cost the same as those
        // with one: very few outputs are the broadcast side.
        if grad.channels() <= FEW && grad.channels() < channels {
            let order = Order { out: input, input: out, flipped: true };
            self.correlate(&vectors, &inputs, (batch, shape), order, grad_weights);
        } else {
            let order = Order { out, input, flipped: false };
            self.correlate(&inputs, &vectors, (batch, shape), order, grad_weights);
        }
    }
}

impl Engine {
    /// Convolves `inputs` into `outputs`, both concatenated along the channels.
    fn convolve(
        &self,
        inputs: &[Activation<'_>],
        weights: Weights<'_>,
        bias: Option<&[f32]>,
        outputs: &mut [Tensor],
        moments: bool,
    ) -> Option<[Vec<f64>; 2]> {
        let ends = Ends::new(inputs, bias, false, outputs);
        let algorithm = self.algorithm_of(&ends);
        self.install(|| {
            let packed = self.pack3(algorithm, weights, &ends);
            self.convolve_packed(&ends, &packed, moments)
        })
    }

    /// The algorithm for a convolution.
    pub(super) fn algorithm_of(&self, ends: &Ends<'_>) -> Algorithm {
        let count = |channels: &[Channels]| channels.iter().map(|channels| channels.count).sum();
        let channels = [count(&ends.from), count(&ends.to)];
        plan::algorithm(self.precision(), ends.batch, ends.shape, channels, ends.depth())
    }

    /// Brings weights into the order of an algorithm's kernels.
    pub(super) fn pack3(
        &self,
        algorithm: Algorithm,
        weights: Weights<'_>,
        ends: &Ends<'_>,
    ) -> Packed3 {
        let Ends { from, to, .. } = ends;
        match algorithm {
            Algorithm::Winograd => {
                Packed3::Winograd(self.transform_weights(weights, ends.depth(), from, to))
            }
            Algorithm::Direct if to.len() == 1 && to[0].count <= FEW => {
                let pack = if ends.reach == 0 { pack_few::<9> } else { pack_few::<TAPS> };
                Packed3::Few(pack(weights, from, to[0].count), to[0].count)
            }
            Algorithm::Direct => {
                let pack = if ends.reach == 0 { pack::<9> } else { pack::<TAPS> };
                Packed3::Direct(pack(weights, from, to))
            }
        }
    }

    /// Convolves with packed weights. With `moments`, returns the sums and the sums of squares of
    /// all output channels where the algorithm has them.
    pub(super) fn convolve_packed(
        &self,
        ends: &Ends<'_>,
        packed: &Packed3,
        moments: bool,
    ) -> Option<[Vec<f64>; 2]> {
        match packed {
            Packed3::Winograd(weights) => return self.winograd(ends, weights, moments),
            Packed3::Direct(weights) => self.convolve_directly(ends, weights, None),
            Packed3::Few(weights, few) => self.convolve_directly(ends, weights, Some(*few)),
        }
        None
    }

    fn convolve_directly(&self, ends: &Ends<'_>, weights: &Packed, few: Option<usize>) {
        let Ends { sources, targets, batch, shape, reach, .. } = ends;
        let tasks = TASKS_PER_THREAD * self.threads();
        let (regions, group) = strips(*batch, *shape, sources.len(), tasks);
        // Few regions: the output blocks are dealt to several tasks, too.
        let deals = tasks.div_ceil(regions.len()).min(targets.len());
        let hand = targets.len().div_ceil(deals);
        let deals = targets.len().div_ceil(hand);
        (0..regions.len() * deals).into_par_iter().for_each(|task| {
            let first_target = task % deals * hand;
            let targets = &targets[first_target..(first_target + hand).min(targets.len())];
            let (region, shape, reach) = (regions[task / deals].clone(), *shape, *reach);
            let task = Convolve {
                sources,
                weights,
                targets,
                first_target,
                few,
                shape,
                region,
                group,
                reach,
            };
            // SAFETY: the engine has checked the instruction set; the tasks write different
            // blocks or regions of the outputs, which are borrowed for as long as they run.
            unsafe { dispatch(self.instruction_set(), task) }
        });
    }

    /// Sums the products of broadcast and vector channels into `grad_weights`, in which
    /// `order.input` is the distance between broadcast and `order.out` that between vector
    /// channels.
    fn correlate(
        &self,
        broadcasts: &[Source<'_>],
        vectors: &[Source<'_>],
        (batch, shape): (usize, [usize; 3]),
        order: Order,
        grad_weights: &mut [f32],
    ) {
        let regions = regions(batch, shape, 2);
        let shared = Shared::new(grad_weights);
        self.install(|| {
            let mut partial =
                Partial::new(regions.len(), broadcasts.len(), vectors.len(), conv3_weights::PAIR);
            partial.fill(|items, block, sums| {
                let (broadcast, regions) = (&broadcasts[block], &regions[items]);
                let task = Correlate { broadcast, vectors, regions, shape, sums };
                // SAFETY: the engine has checked the instruction set; the sums are the task's own.
                unsafe { dispatch(self.instruction_set(), task) }
            });
            partial.totals(|broadcast, vector, sums| {
                let (broadcast, vector) = (&broadcasts[broadcast], &vectors[vector]);
                let (sums, _) = sums.as_chunks::<BLOCK>();
                for channel in 0..broadcast.channels.count {
                    let lines: [&[f32; BLOCK]; TAPS] = from_fn(|tap| {
                        let tap = if order.flipped { TAPS - 1 - tap } else { tap };
                        &sums[(tap / 3 * BLOCK + channel) * 3 + tap % 3]
                    });
                    for lane in 0..vector.channels.count {
                        let start = (vector.channels.first + lane) * order.out
                            + (broadcast.channels.first + channel) * order.input;
                        // SAFETY: the taps of this pair of channels, which belongs to one pair of
                        // blocks.
                        let taps = unsafe {
                            std::slice::from_raw_parts_mut(shared.get().add(start), TAPS)
                        };
                        taps.iter_mut().zip(lines).for_each(|(tap, line)| *tap = line[lane]);
                    }
                }
            });
        });
    }
}

/// Weights (out, in, 3, 3, 3) of `channels` inputs as the forward pass reads them.
pub(super) fn forward_weights(values: &[f32], channels: usize) -> Weights<'_> {
    let order = Order { out: channels * TAPS, input: TAPS, flipped: false };
    Weights { values, order, scale: None }
}

/// The same weights as the backward pass for the data reads them: transposed and flipped.
pub(super) fn backward_weights(values: &[f32], channels: usize) -> Weights<'_> {
    let order = Order { out: TAPS, input: channels * TAPS, flipped: true };
    Weights { values, order, scale: None }
}

/// Weights in the order of an algorithm's kernels.
pub(super) enum Packed3 {
    Direct(Packed),
    /// For this number of outputs, very few.
    Few(Packed, usize),
    Winograd(Transformed),
}

/// Both ends of a convolution: what is read and where it is stored, in blocks.
pub(super) struct Ends<'a> {
    pub(super) batch: usize,
    /// Sides of the inputs.
    pub(super) shape: [usize; 3],
    pub(super) sources: Vec<Source<'a>>,
    /// Channels of the input blocks in their concatenation, and of the output blocks.
    pub(super) from: Vec<Channels>,
    pub(super) to: Vec<Channels>,
    pub(super) targets: Vec<Target>,
    /// Planes that a 3×3×3 convolution reads before and after its own; none if it is 3×3.
    pub(super) reach: usize,
}

impl<'a> Ends<'a> {
    /// The outputs are borrowed for no longer than this: the caller must keep them alive and alone.
    pub(super) fn new(
        inputs: &[Activation<'a>],
        bias: Option<&[f32]>,
        relu: bool,
        outputs: &mut [Tensor],
    ) -> Self {
        let (batch, _, shape) = concatenated(inputs);
        let sources = sources(inputs);
        let from = sources.iter().map(|source| source.channels).collect();
        let (to, targets) = targets(outputs, bias, relu);
        Self { batch, shape, sources, from, to, targets, reach: 1 }
    }

    /// Planes of the weights of a pair of channels.
    pub(super) fn depth(&self) -> usize {
        1 + 2 * self.reach
    }
}

/// The blocks of all outputs: their channels in the concatenation, and where to store them.
pub(super) fn targets(
    outputs: &mut [Tensor],
    bias: Option<&[f32]>,
    relu: bool,
) -> (Vec<Channels>, Vec<Target>) {
    let (mut channels, mut targets) = (Vec::new(), Vec::new());
    let mut before = 0;
    for output in outputs {
        let stride = output.voxels() * BLOCK;
        let (blocks, total) = (output.blocks(), output.channels());
        let values = output.values_mut().as_flattened_mut();
        for block in 0..blocks {
            let first = before + block * BLOCK;
            let count = BLOCK.min(total - block * BLOCK);
            let mut padded = [0.0; BLOCK];
            if let Some(bias) = bias {
                padded[..count].copy_from_slice(&bias[first..first + count]);
            }
            let values = Shared::new(&mut values[block * stride..]);
            channels.push(Channels { first, count });
            let sample_stride = blocks * stride;
            targets.push(Target { values, sample_stride, bias: padded, relu, add: false });
        }
        before += total;
    }
    (channels, targets)
}
