//! Weights in the order in which the kernels read them.
//!
//! For 3×3×3: `[out block][in block][kz][ky][in channel][kx][16 out channels]`, with only the true channels
//! of an input block and zeros for the padding of an output block.

use std::array::from_fn;

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

/// Packed weights and where each output block starts.
pub(crate) struct Packed {
    values: Buffer,
    block: usize,
}

impl Packed {
    /// The weights of one output block.
    pub(crate) fn block(&self, out: usize) -> &[f32] {
        &self.values[out * self.block..][..self.block]
    }
}

/// Packs `weights` for a kernel that reads `inputs` and writes `outputs`.
pub(crate) fn pack(
    weights: &[f32],
    order: Order,
    inputs: &[Channels],
    outputs: &[Channels],
) -> Packed {
    let total: usize = inputs.iter().map(|input| input.count).sum();
    let block = total * TAPS * BLOCK;
    let mut values = Buffer::new(outputs.len() * block);
    let shared = Shared::new(&mut values);
    (0..outputs.len() * inputs.len()).into_par_iter().for_each(|pair| {
        let (out, input) = (outputs[pair / inputs.len()], pair % inputs.len());
        let before: usize = inputs[..input].iter().map(|input| input.count).sum();
        let start = pair / inputs.len() * block + before * TAPS * BLOCK;
        let len = inputs[input].count * TAPS * BLOCK;
        // SAFETY: every pair of blocks has its own part of `values`, which outlives the tasks.
        let target = unsafe { std::slice::from_raw_parts_mut(shared.get().add(start), len) };
        pack_pair(weights, order, inputs[input], out, target);
    });
    Packed { values, block }
}

/// Packs `weights` for very few outputs: `[out channel][in block][kz][ky][kx][16 in channels]`.
pub(crate) fn pack_few(weights: &[f32], order: Order, inputs: &[Channels], out: usize) -> Packed {
    let block = inputs.len() * TAPS * BLOCK;
    let mut values = Buffer::new(out * block);
    values.fill(0.0);
    for (channel, target) in values.chunks_exact_mut(block).enumerate() {
        for (input, target) in inputs.iter().zip(target.chunks_exact_mut(TAPS * BLOCK)) {
            for lane in 0..input.count {
                let start = channel * order.out + (input.first + lane) * order.input;
                for tap in 0..TAPS {
                    let from = if order.flipped { TAPS - 1 - tap } else { tap };
                    target[tap * BLOCK + lane] = weights[start + from];
                }
            }
        }
    }
    Packed { values, block }
}

/// Packs the weights of a 2×2×2 convolution, `[o, i, t]` with `t` of eight taps, in the order
/// `[group of out blocks][t][in channel][out block][16 out channels]`, with up to `together` blocks
/// a group. For `scatter` the outputs are the fine channels `i`, and each tap is a column of its
/// own; the order is the same.
pub(crate) fn pack_half(
    weights: &[f32],
    [out_stride, input_stride]: [usize; 2],
    inputs: &[Channels],
    outputs: &[Channels],
    together: usize,
) -> Packed {
    let total: usize = inputs.iter().map(|input| input.count).sum();
    let block = 8 * total * together * BLOCK;
    let groups: Vec<_> = outputs.chunks(together).collect();
    let mut values = Buffer::new(groups.len() * block);
    values.par_chunks_exact_mut(block).zip(groups).for_each(|(target, group)| {
        // Inputs follow each other without gaps in the concatenation.
        for channel in 0..total {
            for (index, out) in group.iter().enumerate() {
                let none = [0.0; 8];
                let lanes: [&[f32; 8]; BLOCK] = from_fn(|lane| {
                    let at = (out.first + lane) * out_stride + channel * input_stride;
                    let taps = weights.get(at..).and_then(|rest| rest.first_chunk());
                    taps.filter(|_| lane < out.count).unwrap_or(&none)
                });
                for tap in 0..8 {
                    let at = ((tap * total + channel) * group.len() + index) * BLOCK;
                    let values: [f32; BLOCK] = from_fn(|lane| lanes[lane][tap]);
                    target[at..at + BLOCK].copy_from_slice(&values);
                }
            }
        }
    });
    Packed { values, block }
}

fn pack_pair(weights: &[f32], order: Order, input: Channels, out: Channels, target: &mut [f32]) {
    let no_weights = [0.0_f32; TAPS];
    for channel in 0..input.count {
        let of_channel = (input.first + channel) * order.input;
        let lanes: [&[f32; TAPS]; BLOCK] = from_fn(|lane| {
            let start = of_channel + (out.first + lane) * order.out;
            let taps = weights.get(start..).and_then(|rest| rest.first_chunk());
            taps.filter(|_| lane < out.count).unwrap_or(&no_weights)
        });
        for tap in 0..TAPS {
            let from = if order.flipped { TAPS - 1 - tap } else { tap };
            let at = ((tap / 3 * input.count + channel) * 3 + tap % 3) * BLOCK;
            let values: [f32; BLOCK] = from_fn(|lane| lanes[lane][from]);
            target[at..at + BLOCK].copy_from_slice(&values);
        }
    }
}
