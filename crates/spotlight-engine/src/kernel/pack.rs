//! Weights in the order in which the 3×3×3 kernel reads them.
//!
//! `[out block][in block][kz][ky][in channel][kx][16 out channels]`, with only the true channels
//! of an input block and zeros for the padding of an output block.

use rayon::prelude::*;

use super::source::Shared;
use crate::tensor::BLOCK;

/// Weights of one pair of channels.
pub(crate) const TAPS: usize = 27;

/// A run of channels in one block: the first in the concatenation, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

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
    values: Vec<f32>,
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
    let mut values = vec![0.0_f32; outputs.len() * block];
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

fn pack_pair(weights: &[f32], order: Order, input: Channels, out: Channels, target: &mut [f32]) {
    for lane in 0..out.count {
        for channel in 0..input.count {
            let start = (out.first + lane) * order.out + (input.first + channel) * order.input;
            let source = &weights[start..start + TAPS];
            for row in 0..9 {
                let to = &mut target[(row * input.count + channel) * 3 * BLOCK..][..3 * BLOCK];
                for kx in 0..3 {
                    let tap = row * 3 + kx;
                    let tap = if order.flipped { TAPS - 1 - tap } else { tap };
                    to[kx * BLOCK + lane] = source[tap];
                }
            }
        }
    }
}
