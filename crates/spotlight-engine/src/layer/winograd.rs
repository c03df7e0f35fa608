//! The 3×3×3 convolution by Winograd's algorithm: regions and phases dealt to the threads.
//!
//! A region goes through three phases: transform the input, multiply, transform the output. Where
//! there are regions enough, each thread takes regions of its own; otherwise the parts of every
//! phase are dealt, too. The sums of a voxel have one order, however the work is dealt.

use std::ops::Range;

use rayon::prelude::*;

use super::{TASKS_PER_THREAD, conv::Ends};
use crate::{
    Engine,
    kernel::{
        channel::Sums,
        pack::{TAPS, Weights},
        source::{Channels, Shared, Source, sources},
        vector::dispatch,
        winograd::{
            POINTS, Panel, Region,
            correlate::{self, Correlate},
            input::{TransformGradient, TransformInput},
            multiply::Multiply,
            output::TransformOutput,
            roll,
            weights::{Gradient, TransformWeights, Transformed},
        },
    },
    memory::Buffer,
    plan::{plane_regions, tile_regions},
    tensor::{Activation, BLOCK, Tensor},
};

/// What all regions of one convolution share.
struct Convolution<'a> {
    engine: &'a Engine,
    ends: &'a Ends<'a>,
    weights: &'a Transformed,
    /// Whether the parts of a phase are dealt to the threads.
    deal: bool,
    /// Whether the sums and the sums of squares of the output channels are wanted.
    moments: bool,
}

/// Some planes of a region, and which planes of the input panel are in the volume.
struct Group<'a> {
    region: &'a Region,
    input: Panel,
    output: Panel,
    inside: Range<usize>,
    values: Shared,
    products: Shared,
}

impl Engine {
    /// Convolves with transformed weights. With `moments`, returns the sums and the sums of squares
    /// of all output channels.
    pub(super) fn winograd(
        &self,
        ends: &Ends<'_>,
        weights: &Transformed,
        moments: bool,
    ) -> Option<[Vec<f64>; 2]> {
        let blocks = [ends.sources.len(), ends.targets.len()];
        let (regions, planes) = match ends.reach {
            0 => (plane_regions(ends.batch, [ends.shape[1], ends.shape[2]], blocks), 1),
            _ => tile_regions(ends.batch, ends.shape, blocks),
        };
        let deal = regions.len() < TASKS_PER_THREAD * self.threads();
        let convolution = Convolution { engine: self, ends, weights, deal, moments };
        let of_regions: Vec<Vec<[Sums; 2]>> =
            regions.par_iter().map(|region| convolution.region(region, planes)).collect();
        moments.then(|| {
            let mut totals = vec![[[0.0; BLOCK]; 2]; ends.targets.len()];
            of_regions.iter().for_each(|sums| add_moments(&mut totals, sums));
            let of = |which: usize| {
                let lanes = totals.iter().zip(&ends.to);
                lanes.flat_map(|(sums, to)| sums[which][..to.count].iter().copied()).collect()
            };
            [of(0), of(1)]
        })
    }

    /// The weights' points.
    pub(super) fn transform_weights(
        &self,
        weights: Weights<'_>,
        depth: usize,
        inputs: &[Channels],
        outputs: &[Channels],
    ) -> Transformed {
        let count = inputs.iter().map(|input| input.count).sum();
        let mut transformed = Transformed::unfilled(depth, count, outputs.len(), 2);
        let to = Shared::new(&mut transformed.values);
        let layout = &transformed;
        (0..outputs.len() * inputs.len()).into_par_iter().for_each(|pair| {
            let (block, input) = (pair / inputs.len(), inputs[pair % inputs.len()]);
            let output = outputs[block];
            let task = TransformWeights { weights, input, output, block, layout, to };
            // SAFETY: the engine has checked the instruction set; every pair of blocks has its own
            // part of the buffer, which nobody reads before all are done.
            unsafe { dispatch(self.instruction_set(), task) }
        });
        transformed
    }
}

/// Adds sums block by block.
fn add_moments(totals: &mut [[Sums; 2]], sums: &[[Sums; 2]]) {
    let totals = totals.as_flattened_mut().as_flattened_mut().iter_mut();
    totals.zip(sums.as_flattened().as_flattened()).for_each(|(total, sum)| *total += sum);
}

impl Convolution<'_> {
    /// Computes all planes of a region, some at a time; returns the sums of each output block.
    fn region(&self, region: &Region, planes: usize) -> Vec<[Sums; 2]> {
        let Ends { sources, targets, shape, reach, .. } = self.ends;
        let mut moments = vec![[[0.0; BLOCK]; 2]; targets.len()];
        let panels = |planes: usize| {
            let tiles = region.tiles();
            let input = Panel { blocks: sources.len(), planes: planes + 2 * reach, tiles };
            (input, Panel { blocks: targets.len(), planes, tiles })
        };
        let (input, output) = panels(planes);
        let mut values = Buffer::new(input.len());
        let mut products = Buffer::new(output.len());
        let (values, products) = (Shared::new(&mut values), Shared::new(&mut products));
        let mut kept = 0;
        for start in region.z.clone().step_by(planes) {
            let z = start..(start + planes).min(region.z.end);
            let inside =
                reach - start.min(*reach)..(z.len() + 2 * reach).min(shape[0] + reach - start);
            let (input, output) = panels(z.len());
            let region = region.planes(z.clone());
            if z.len() < planes {
                // Another layout: nothing can be kept.
                kept = 0;
            }
            let group = Group { region: &region, input, output, inside, values, products };
            add_moments(&mut moments, &self.planes(&group, kept));
            if z.end < shape[0] && *reach > 0 {
                // SAFETY: the panel is this task's own, and all of its phases are over.
                unsafe { roll(&input, values) }
                kept = 2;
            }
        }
        moments
    }

    /// The three phases for some planes, of which the first `kept` are transformed already; returns
    /// the sums of each output block.
    fn planes(&self, group: &Group<'_>, kept: usize) -> Vec<[Sums; 2]> {
        let Group { region, input, output, inside, values, products } = group;
        let Ends { sources, from: channels, targets, shape, reach, .. } = self.ends;
        let (weights, deal, moments) = (self.weights, self.deal, self.moments);
        let (shape, reach, set) = (*shape, *reach, self.engine.instruction_set());
        let (from, to) = (*values, *products);
        let planes = kept.max(inside.start)..inside.end;
        each(deal, planes.len() * sources.len(), |part| {
            let (block, plane) = (part / planes.len(), planes.start + part % planes.len());
            let source = &sources[block];
            let (panel, to) = (input, from);
            let task = TransformInput { source, region, shape, panel, block, plane, reach, to };
            // SAFETY: the engine has checked the instruction set; every part writes its own plane
            // and block of the panel.
            unsafe { dispatch(set, task) }
        });
        let groups = weights.groups();
        each(deal, POINTS * groups, |part| {
            let (point, group, inside) = (part / groups, part % groups, inside.clone());
            let task =
                Multiply { point, group, weights, channels, input, output, inside, from, to };
            // SAFETY: as above; every part writes its own point and blocks.
            unsafe { dispatch(set, task) }
        });
        let sums = each(deal, region.z.len() * targets.len(), |part| {
            let (block, plane) = (part / region.z.len(), part % region.z.len());
            let (target, panel, from) = (&targets[block], output, to);
            let task =
                TransformOutput { target, region, shape, panel, block, plane, from, moments };
            // SAFETY: as above; every part writes its own voxels of the output, which is borrowed
            // for as long as the tasks run.
            unsafe { dispatch(set, task) }
        });
        let mut moments = vec![[[0.0; BLOCK]; 2]; targets.len()];
        for (part, sums) in sums.iter().enumerate() {
            let block = part / region.z.len();
            add_moments(&mut moments[block..=block], std::slice::from_ref(sums));
        }
        moments
    }
}

/// Numbers that the sums of all parts together may have: sixteen megabytes.
const PART_SUMS: usize = 4 * 1024 * 1024;

/// Parts that there should be, so that many cores are busy without further dealing.
const PARTS: usize = 16;

/// What all parts of one correlation share.
struct Correlation<'a> {
    engine: &'a Engine,
    inputs: &'a [Source<'a>],
    gradients: &'a [Source<'a>],
    shape: [usize; 3],
    layout: correlate::Sums,
    deal: bool,
}

impl Engine {
    /// Overwrites `grad_weights` with the sums of the products of `inputs` and `grad`.
    pub(super) fn winograd_weights(
        &self,
        inputs: &[Activation<'_>],
        grad: &Tensor,
        grad_weights: &mut [f32],
    ) {
        let (batch, shape) = (grad.batch(), grad.shape());
        let gradients = [Activation { tensor: grad, normalise: None }];
        let (inputs, gradients) = (sources(inputs), sources(&gradients));
        let (inputs, gradients) = (&inputs, &gradients);
        let layout = correlate::Sums { inputs: inputs.len(), outputs: gradients.len() };
        let (regions, planes) = tile_regions(batch, shape, [inputs.len(), gradients.len()]);
        // The same for any number of threads, and so are the sums.
        let parts = (PART_SUMS / layout.len()).clamp(1, PARTS).min(regions.len());
        let step = regions.len().div_ceil(parts);
        let parts: Vec<_> = regions.chunks(step).collect();
        let deal = parts.len() < TASKS_PER_THREAD * self.threads();
        let correlation = Correlation { engine: self, inputs, gradients, shape, layout, deal };
        self.install(|| {
            let mut sums = Buffer::new(parts.len() * layout.len());
            let of_parts = sums.par_chunks_exact_mut(layout.len()).zip(&parts);
            of_parts.for_each(|(sums, regions)| {
                sums.fill(0.0);
                let sums = Shared::new(sums);
                regions.iter().for_each(|region| correlation.region(region, planes, sums));
            });
            correlation.store(&mut sums, grad_weights);
        });
    }
}

impl Correlation<'_> {
    /// Adds the products of all planes of a region to the sums, some planes at a time.
    fn region(&self, region: &Region, planes: usize, sums: Shared) {
        let tiles = region.tiles();
        let panels = |planes: usize| {
            let input = Panel { blocks: self.inputs.len(), planes: planes + 2, tiles };
            (input, Panel { blocks: self.gradients.len(), planes, tiles })
        };
        let (input, gradient) = panels(planes);
        let (mut values, mut slopes) = (Buffer::new(input.len()), Buffer::new(gradient.len()));
        let (values, slopes) = (Shared::new(&mut values), Shared::new(&mut slopes));
        let mut kept = 0;
        for start in region.z.clone().step_by(planes) {
            let z = start..(start + planes).min(region.z.end);
            let inside = 1 - start.min(1)..(z.len() + 2).min(self.shape[0] + 1 - start);
            let (input, output) = panels(z.len());
            let region = region.planes(z.clone());
            if z.len() < planes {
                kept = 0;
            }
            let products = slopes;
            let group = Group { region: &region, input, output, inside, values, products };
            self.planes(&group, kept, sums);
            if z.end < self.shape[0] {
                // SAFETY: the panel is this task's own, and all of its phases are over.
                unsafe { roll(&input, values) }
                kept = 2;
            }
        }
    }

    fn planes(&self, group: &Group<'_>, kept: usize, sums: Shared) {
        let Group { region, input, output, inside, values, products } = group;
        let (shape, set) = (self.shape, self.engine.instruction_set());
        let (from, with) = (*values, *products);
        let planes = kept.max(inside.start)..inside.end;
        each(self.deal, planes.len() * self.inputs.len(), |part| {
            let (block, plane) = (part / planes.len(), planes.start + part % planes.len());
            let source = &self.inputs[block];
            let (panel, reach, to) = (input, 1, from);
            let task = TransformInput { source, region, shape, panel, block, plane, reach, to };
            // SAFETY: the engine has checked the instruction set; every part writes its own plane
            // and block of the panel.
            unsafe { dispatch(set, task) }
        });
        each(self.deal, region.z.len() * self.gradients.len(), |part| {
            let (block, plane) = (part / region.z.len(), part % region.z.len());
            let source = &self.gradients[block];
            let task =
                TransformGradient { source, region, shape, panel: output, block, plane, to: with };
            // SAFETY: as above.
            unsafe { dispatch(set, task) }
        });
        each(self.deal, POINTS * self.inputs.len(), |part| {
            let (point, block) = (part / self.inputs.len(), part % self.inputs.len());
            let (channels, inside, layout) =
                (self.inputs[block].channels.count, inside.clone(), self.layout);
            let gradient = output;
            let task = Correlate {
                point,
                block,
                channels,
                input,
                gradient,
                inside,
                from,
                with,
                layout,
                sums,
            };
            // SAFETY: as above; every part adds to sums of its own.
            unsafe { dispatch(set, task) }
        });
    }

    /// Adds the sums of all parts in their order and transforms them to the gradient of the
    /// weights, (out, in, 3, 3, 3).
    fn store(&self, sums: &mut [f32], grad_weights: &mut [f32]) {
        let Self { layout, inputs, gradients, .. } = *self;
        let (total, more) = sums.split_at_mut(layout.len());
        let more = &*more;
        total.par_chunks_mut(layout.point()).enumerate().for_each(|(point, total)| {
            for part in more.chunks_exact(layout.len()) {
                let part = &part[point * layout.point()..][..layout.point()];
                total.iter_mut().zip(part).for_each(|(total, more)| *total += more);
            }
        });
        let (from, to) = (Shared::new(total), Shared::new(grad_weights));
        let channels: usize = inputs.iter().map(|source| source.channels.count).sum();
        (0..inputs.len() * gradients.len()).into_par_iter().for_each(|pair| {
            let (input, output) = (pair / gradients.len(), pair % gradients.len());
            let (x, dy) = (inputs[input].channels, gradients[output].channels);
            for channel in 0..x.count {
                let from = from.offset(layout.offset(input, output) + channel * BLOCK);
                let task = Gradient { from, point: layout.point(), tap: BLOCK * BLOCK };
                // SAFETY: the engine has checked the instruction set; the sums are complete.
                let taps = unsafe { dispatch(self.engine.instruction_set(), task) };
                for lane in 0..dy.count {
                    let place = ((dy.first + lane) * channels + x.first + channel) * TAPS;
                    // SAFETY: the taps of one pair of channels, which belongs to one pair of
                    // blocks; the weights are borrowed for as long as the tasks run.
                    let weights =
                        unsafe { std::slice::from_raw_parts_mut(to.get().add(place), TAPS) };
                    weights.iter_mut().zip(&taps).for_each(|(to, tap)| *to = tap[lane]);
                }
            }
        });
    }
}

/// Calls `work` for every part, on all threads if the parts are to be dealt; returns what it
/// returned, in the order of the parts.
fn each<T: Send>(deal: bool, parts: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    if deal {
        (0..parts).into_par_iter().map(&work).collect()
    } else {
        (0..parts).map(work).collect()
    }
}
