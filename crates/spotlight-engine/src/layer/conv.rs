//! The 3×3×3 convolution with one voxel of zeros around the volume.

use std::array::from_fn;

use rayon::prelude::*;

use super::{TASKS_PER_THREAD, check_gradients, concatenated, partial::Partial, unfilled};
use crate::{
    Engine, InstructionSet, Precision,
    kernel::{
        conv3::{Convolve, Target},
        conv3_weights::{self, Correlate},
        naive::{self, Geometry, Planar},
        pack::{Order, TAPS, pack, pack_few},
        source::{Channels, Shared, Source, sources},
        vector::dispatch,
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
        let (batch, channels, shape) = concatenated(inputs);
        assert_eq!(weights.len(), out_channels * channels * TAPS, "weights of the convolution");
        assert_eq!(bias.len(), out_channels, "biases of the convolution");
        if self.instruction_set() == InstructionSet::Exact {
            let mut y = naive::forward(&Planar::of(inputs), weights, out_channels, CONV3);
            y.add_bias(bias);
            return y.into_tensor();
        }
        let mut output = [Tensor::unfilled(batch, out_channels, shape)];
        let order = Order { out: channels * TAPS, input: TAPS, flipped: false };
        self.convolve(inputs, weights, order, Some(bias), &mut output);
        let [output] = output;
        output
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
        let order = Order { out: TAPS, input: channels * TAPS, flipped: true };
        let inputs = [Activation { tensor: grad, normalise: None }];
        self.convolve(&inputs, weights, order, None, &mut outputs);
        outputs
    }

    /// The gradients with respect to the weights and biases of [`Engine::conv3`]; overwrites
    /// `grad_weights` and `grad_bias`, whose order is that of the weights and biases.
    ///
    /// # Panics
    ///
    /// If the inputs and the gradient disagree in batch or shape, or a slice has the wrong length.
    pub fn conv3_backward_weights(
        &self,
        inputs: &[Activation<'_>],
        grad: &Tensor,
        grad_weights: &mut [f32],
        grad_bias: &mut [f32],
    ) {
        let (batch, channels, shape) = concatenated(inputs);
        let output = (batch, shape);
        check_gradients(grad, output, (channels, TAPS), grad_weights, grad_bias);
        if self.instruction_set() == InstructionSet::Exact {
            let dy = Planar::of_tensor(grad);
            naive::round(&naive::backward_weights(&Planar::of(inputs), &dy, CONV3), grad_weights);
            return self.channel_sums(grad, grad_bias);
        }
        if self.algorithm(batch, shape, channels, grad.channels()) == Algorithm::Winograd {
            self.winograd_weights(inputs, grad, grad_weights);
            return self.channel_sums(grad, grad_bias);
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
        self.channel_sums(grad, grad_bias);
    }
}

impl Engine {
    /// The algorithm for a convolution or its gradients.
    fn algorithm(
        &self,
        batch: usize,
        shape: [usize; 3],
        inputs: usize,
        outputs: usize,
    ) -> Algorithm {
        match self.precision() {
            Precision::Fast => plan::algorithm(batch, shape, inputs, outputs),
            Precision::Precise => Algorithm::Direct,
        }
    }

    /// Convolves `inputs` into `outputs`, both concatenated along the channels.
    fn convolve(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        order: Order,
        bias: Option<&[f32]>,
        outputs: &mut [Tensor],
    ) {
        let (batch, _, shape) = concatenated(inputs);
        let channels = |of: usize, more: &Tensor| of + more.channels();
        let ins = inputs.iter().map(|input| input.tensor).fold(0, channels);
        let outs = outputs.iter().fold(0, channels);
        if self.algorithm(batch, shape, ins, outs) == Algorithm::Winograd {
            return self.winograd(inputs, weights, order, bias, outputs);
        }
        let sources = sources(inputs);
        let from: Vec<_> = sources.iter().map(|source| source.channels).collect();
        let (to, targets) = targets(outputs, bias);
        let few = (to.len() == 1 && to[0].count <= FEW).then_some(to[0].count);
        let (regions, group) =
            strips(batch, shape, sources.len(), TASKS_PER_THREAD * self.threads());
        // Few regions: the output blocks are dealt to several tasks, too.
        let deals = (TASKS_PER_THREAD * self.threads()).div_ceil(regions.len()).min(targets.len());
        let hand = targets.len().div_ceil(deals);
        let deals = targets.len().div_ceil(hand);
        self.install(|| {
            let weights = match few {
                None => pack(weights, order, &from, &to),
                Some(out) => pack_few(weights, order, &from, out),
            };
            (0..regions.len() * deals).into_par_iter().for_each(|task| {
                let first_target = task % deals * hand;
                let targets = &targets[first_target..(first_target + hand).min(targets.len())];
                let region = regions[task / deals].clone();
                let (sources, weights) = (&sources, &weights);
                let task =
                    Convolve { sources, weights, targets, first_target, few, shape, region, group };
                // SAFETY: the engine has checked the instruction set; the tasks write different
                // blocks or regions of `outputs`, which are borrowed for as long as they run.
                unsafe { dispatch(self.instruction_set(), task) }
            });
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

/// The blocks of all outputs: their channels in the concatenation, and where to store them.
pub(super) fn targets(
    outputs: &mut [Tensor],
    bias: Option<&[f32]>,
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
            targets.push(Target { values, sample_stride: blocks * stride, bias: padded });
        }
        before += total;
    }
    (channels, targets)
}
