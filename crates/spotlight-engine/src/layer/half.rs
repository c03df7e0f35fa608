//! The convolutions between a grid and the grid of half its size, for down and up alike.
//!
//! Both layers have weights `[coarse channel, fine channel, tap]` and need the same three
//! operations: gather, scatter and the gradient of the weights.

use rayon::prelude::*;

use super::{TASKS_PER_THREAD, conv::Ends, partial::Partial};
use crate::{
    Engine, InstructionSet,
    kernel::{
        half::{Between, Correlate, Direction, PAIR, Patch, RowRange, TAPS, TOGETHER},
        naive::{self, Geometry, Planar},
        pack::{Order, Packed, Weights, pack_half},
        source::{Channels, Shared, sources},
        vector::dispatch,
    },
    tensor::{Activation, BLOCK, Tensor},
};

/// Numbers of fine voxels that a task copies at a time: half a megabyte.
const SCRATCH: usize = 128 * 1024;

/// The rows of a coarse grid, cut so that the fine voxels of `blocks` blocks fit the cache.
fn patches(batch: usize, [depth, height, width]: [usize; 3], blocks: usize) -> Vec<Patch> {
    let step = (SCRATCH / (TAPS * width * BLOCK * blocks)).max(1);
    let rows = depth * height;
    let step = rows.div_ceil(rows.div_ceil(step));
    let mut patches = Vec::new();
    for sample in 0..batch {
        for start in (0..rows).step_by(step) {
            let range = RowRange { sample, rows: start..(start + step).min(rows) };
            patches.push(Patch { range, height, width });
        }
    }
    patches
}

impl Engine {
    /// Convolves `inputs` into `outputs`, both concatenated along the channels: one is fine, the
    /// other coarse.
    pub(super) fn between(
        &self,
        direction: Direction,
        inputs: &[Activation<'_>],
        weights: &[f32],
        bias: Option<&[f32]>,
        outputs: &mut [Tensor],
    ) {
        if self.instruction_set() == InstructionSet::Exact {
            return between_exactly(direction, inputs, weights, bias, outputs);
        }
        let ends = Ends::new(inputs, bias, false, outputs);
        let weights = half_weights(direction, weights, &ends);
        self.install(|| self.between_packed(direction, &ends, &pack_half_of(weights, &ends)));
    }

    /// Convolves with packed weights.
    pub(super) fn between_packed(&self, direction: Direction, ends: &Ends<'_>, weights: &Packed) {
        let Ends { batch, shape, sources, targets, .. } = ends;
        let coarse = match direction {
            Direction::Gather => halved(*shape),
            Direction::Scatter => *shape,
        };
        let patches = patches(*batch, coarse, sources.len());
        // Few patches: the output blocks are dealt to several tasks, too.
        let groups = targets.len().div_ceil(TOGETHER);
        let deals = (TASKS_PER_THREAD * self.threads()).div_ceil(patches.len()).min(groups);
        let hand = groups.div_ceil(deals);
        let deals = groups.div_ceil(hand);
        (0..patches.len() * deals).into_par_iter().for_each(|task| {
            let first_group = task % deals * hand;
            let end = ((first_group + hand) * TOGETHER).min(targets.len());
            let targets = &targets[first_group * TOGETHER..end];
            let patch = patches[task / deals].clone();
            let task = Between { direction, sources, weights, targets, first_group, patch };
            // SAFETY: the engine has checked the instruction set; the tasks write different
            // rows or blocks of the outputs, which are borrowed for as long as they run.
            unsafe { dispatch(self.instruction_set(), task) }
        });
    }

    /// The gradient of the weights from the fine and the coarse side.
    pub(super) fn between_weights(
        &self,
        fine: &[Activation<'_>],
        coarse: &[Activation<'_>],
        grad_weights: &mut [f32],
    ) {
        if self.instruction_set() == InstructionSet::Exact {
            let (fine, coarse) = (Planar::of(fine), Planar::of(coarse));
            let sums = naive::backward_weights(&fine, &coarse, Geometry::DOWN2);
            return naive::round(&sums, grad_weights);
        }
        let patches = patches(coarse[0].tensor.batch(), coarse[0].tensor.shape(), 2);
        let fine_channels: usize = fine.iter().map(|input| input.tensor.channels()).sum();
        let (fine, coarse) = (sources(fine), sources(coarse));
        let shared = Shared::new(grad_weights);
        self.install(|| {
            let mut partial = Partial::new(patches.len(), fine.len(), coarse.len(), PAIR);
            partial.fill(|items, block, sums| {
                let (fine, coarse, patches) = (&fine[block], &coarse, &patches[items]);
                let task = Correlate { fine, coarse, patches, sums };
                // SAFETY: the engine has checked the instruction set; the sums are the task's own.
                unsafe { dispatch(self.instruction_set(), task) }
            });
            partial.totals(|block, vector, sums| {
                let (fine, coarse) = (&fine[block], &coarse[vector]);
                for lane in 0..coarse.channels.count {
                    for channel in 0..fine.channels.count {
                        let pair = (coarse.channels.first + lane) * fine_channels
                            + fine.channels.first
                            + channel;
                        for tap in 0..TAPS {
                            // SAFETY: the pair of channels and the tap are those of a weight, and
                            // each weight belongs to one pair of blocks.
                            unsafe {
                                *shared.get().add(pair * TAPS + tap) =
                                    sums[(tap * BLOCK + channel) * BLOCK + lane];
                            }
                        }
                    }
                }
            });
        });
    }
}

/// The sides of the coarse grid: half of each side.
pub(super) fn halved(fine: [usize; 3]) -> [usize; 3] {
    assert!(fine.iter().all(|side| side % 2 == 0), "the sides to halve are even: {fine:?}");
    fine.map(|side| side / 2)
}

/// Weights `[coarse channel, fine channel, tap]` as a direction reads them.
pub(super) fn half_weights<'a>(
    direction: Direction,
    values: &'a [f32],
    ends: &Ends<'_>,
) -> Weights<'a> {
    let count = |channels: &[Channels]| channels.iter().map(|c| c.count).sum::<usize>() * TAPS;
    let (out, input) = match direction {
        Direction::Gather => (count(&ends.from), TAPS),
        Direction::Scatter => (TAPS, count(&ends.to)),
    };
    Weights { values, order: Order { out, input, flipped: false }, scale: None }
}

/// The weights in the order of the kernels.
pub(super) fn pack_half_of(weights: Weights<'_>, ends: &Ends<'_>) -> Packed {
    pack_half::<TAPS>(weights, &ends.from, &ends.to, TOGETHER)
}

/// [`Engine::between`] by its definition.
fn between_exactly(
    direction: Direction,
    inputs: &[Activation<'_>],
    weights: &[f32],
    bias: Option<&[f32]>,
    outputs: &mut [Tensor],
) {
    let channels: Vec<usize> = outputs.iter().map(Tensor::channels).collect();
    let (total, shape, x) = (channels.iter().sum(), outputs[0].shape(), Planar::of(inputs));
    let mut y = match direction {
        Direction::Gather => naive::forward(&x, weights, total, Geometry::DOWN2),
        Direction::Scatter => naive::backward_data(&x, weights, total, shape, Geometry::DOWN2),
    };
    if let Some(bias) = bias {
        y.add_bias(bias);
    }
    for (output, part) in outputs.iter_mut().zip(y.split(&channels)) {
        *output = part;
    }
}
