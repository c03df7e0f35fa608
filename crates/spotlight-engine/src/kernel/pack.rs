//! Weights in the order in which the direct kernels read them.
//!
//! For 3×3×3: `[out block][in block][kz][ky][in channel][kx][16 out channels]`, with only the true
//! channels of an input block and zeros for the padding of an output block.

use rayon::prelude::*;

use super::source::{Channels, Shared};
use crate::{memory::Buffer, tensor::BLOCK};

/// Weights of one pair of channels.
pub(crate) const TAPS: usize = 27;

/// How a convolution's weights lie in memory as seen by a kernel.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// Distance between output channels.
    pub(crate) out: usize,
    /// Distance between input channels.
    pub(crate) input: usize,
    /// Whether the taps run backwards, as in the backward pass for the data.
    pub(crate) flipped: bool,
}

/// A convolution's weights as they are stored.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) order: Order,
    /// A factor for each output channel.
    pub(crate) scale: Option<&'a [f32]>,
}

impl Weights<'_> {
    /// The `N` taps of one input channel with the channels of an output block, zero for its padding.
    #[inline(always)]
    pub(crate) fn lanes<const N: usize>(&self, input: usize, out: Channels) -> [[f32; BLOCK]; N] {
        let mut lanes = [[0.0; BLOCK]; N];
        for (lane, out) in (out.first..out.first + out.count).enumerate() {
            let start = input * self.order.input + out * self.order.out;
            let taps = &self.values[start..start + N];
            let scale = self.scale.map_or(1.0, |scale| scale[out]);
            for (tap, &value) in taps.iter().enumerate() {
                let tap = if self.order.flipped { N - 1 - tap } else { tap };
                lanes[tap][lane] = value * scale;
            }
        }
        lanes
    }

    /// [`Weights::lanes`] of 3×3×3 taps, plane by plane.
    #[inline(always)]
    pub(crate) fn lanes_in_planes(&self, input: usize, out: Channels) -> [[[f32; BLOCK]; 9]; 3] {
        let lanes = self.lanes::<TAPS>(input, out);
        std::array::from_fn(|kz| std::array::from_fn(|tap| lanes[9 * kz + tap]))
    }
}

/// Packed weights and where each output block starts.
pub(crate) struct Packed {
    values: Buffer,
    block: usize,
}

impl Packed {
    /// The weights of one output block, or of one group of them.
    pub(crate) fn block(&self, out: usize) -> &[f32] {
        &self.values[out * self.block..][..self.block]
    }
}

/// Packs weights of `N` taps (27, or 9 for planes) for a kernel that reads `inputs` and writes
/// `outputs`.
pub(crate) fn pack<const N: usize>(
    weights: Weights<'_>,
    inputs: &[Channels],
    outputs: &[Channels],
) -> Packed {
    let total: usize = inputs.iter().map(|input| input.count).sum();
    let block = total * N * BLOCK;
    let mut values = Buffer::new(outputs.len() * block);
    let shared = Shared::new(&mut values);
    (0..outputs.len() * inputs.len()).into_par_iter().for_each(|pair| {
        let (out, input) = (outputs[pair / inputs.len()], inputs[pair % inputs.len()]);
        let start = pair / inputs.len() * block + input.first * N * BLOCK;
        let len = input.count * N * BLOCK;
        // SAFETY: every pair of blocks has its own part of `values`, which outlives the tasks.
        let target = unsafe { std::slice::from_raw_parts_mut(shared.get().add(start), len) };
        for channel in 0..input.count {
            let lanes = weights.lanes::<N>(input.first + channel, out);
            for (tap, lanes) in lanes.iter().enumerate() {
                let at = ((tap / 3 * input.count + channel) * 3 + tap % 3) * BLOCK;
                target[at..at + BLOCK].copy_from_slice(lanes);
            }
        }
    });
    Packed { values, block }
}

/// Packs weights for very few outputs: `[out channel][in block][kz][ky][kx][16 in channels]`.
pub(crate) fn pack_few<const N: usize>(
    weights: Weights<'_>,
    inputs: &[Channels],
    out: usize,
) -> Packed {
    let block = inputs.len() * N * BLOCK;
    let mut values = Buffer::new(out * block);
    values.fill(0.0);
    let outputs = Channels { first: 0, count: out };
    for (input, number) in inputs.iter().zip(0..) {
        for lane in 0..input.count {
            let lanes = weights.lanes::<N>(input.first + lane, outputs);
            for (tap, lanes) in lanes.iter().enumerate() {
                for (channel, &value) in lanes.iter().enumerate().take(out) {
                    values[channel * block + (number * N + tap) * BLOCK + lane] = value;
                }
            }
        }
    }
    Packed { values, block }
}

/// Packs the weights of a 2×2×2 convolution with its eight taps, or of a 1×1×1 with its one, in
/// the order `[group of out blocks][t][in channel][out block][16 out channels]`, with up to
/// `together` blocks a group. To the fine grid, each tap is a column of its own; the order is the
/// same.
pub(crate) fn pack_half<const N: usize>(
    weights: Weights<'_>,
    inputs: &[Channels],
    outputs: &[Channels],
    together: usize,
) -> Packed {
    let total: usize = inputs.iter().map(|input| input.count).sum();
    let block = N * total * together * BLOCK;
    let groups: Vec<_> = outputs.chunks(together).collect();
    let mut values = Buffer::new(groups.len() * block);
    values.par_chunks_exact_mut(block).zip(groups).for_each(|(target, group)| {
        // Inputs follow each other without gaps in the concatenation.
        for channel in 0..total {
            for (index, &out) in group.iter().enumerate() {
                for (tap, lanes) in weights.lanes::<N>(channel, out).iter().enumerate() {
                    let at = ((tap * total + channel) * group.len() + index) * BLOCK;
                    target[at..at + BLOCK].copy_from_slice(lanes);
                }
            }
        }
    });
    Packed { values, block }
}
