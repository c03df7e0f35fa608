//! The network with its upper levels in tiles and its lower ones whole.
//!
//! Nearly all memory is taken by the upper levels: each level needs a quarter of what the one
//! above it needs. And nearly all of what an output voxel sees around it, 108 voxels at depth 4,
//! is seen by the lower levels: the topmost alone looks 5 voxels far. So the levels above a cut
//! go through the engine in tiles, on the way down and again on the way up, and those from the
//! cut on in one piece:
//!
//! ```text
//! for each tile of the grid of the cut    x[tile] = down(image[tile and halo])
//!                                         y       = level(x)                      whole
//! for each tile of the image              stain[tile] = up(image[tile and halo], y[tile and halo])
//! ```
//!
//! What `up` needs of the way down is computed again. Tiles begin where the network halves its
//! grid and end, at the border of the volume, before the same zeros as the whole; so all values
//! are those of the network in one piece. What lies between the passes is kept as plain planes of
//! channels, from which tiles are cut.

use rayon::prelude::*;
use spotlight_engine::{Engine, Tensor};
use spotlight_image::grid::voxel_count;
use spotlight_image::tile::Tile;
use spotlight_image::{Region, Shape, Volume};

use super::memory::channels;
use super::plan::Plan;
use crate::fnet::{
    FixedFnet, FixedLevel, Fnet, FnetOptions, Known, predict_level, predict_pair, read,
};

/// The output of the network for a volume, in the tiles of the plan.
///
/// `progress` learns after each tile how many of how many multiply-adds are done.
pub(super) fn run(
    network: &Fnet,
    engine: &Engine,
    image: Planes,
    plan: &Plan,
    progress: &mut dyn FnMut(usize, usize),
) -> Planes {
    let Some(cut) = plan.cut else {
        let tensor = Tensor::from_planar(1, image.channels, image.shape, &image.values);
        drop(image);
        let stain = network.forward_eval(engine, &tensor);
        drop(tensor);
        progress(plan.work.all, plan.work.all);
        return Planes::of(&stain);
    };
    let fixed = network.fixed(false);
    let levels = Levels::of(&fixed, &network.options, engine, cut);
    let mut done = 0;
    let mut tell = |work: usize| {
        done += work;
        progress(done, plan.work.all);
    };
    let below = levels.needs_below().then(|| {
        let mut below = levels.empty(plan.down.shape);
        for tile in plan.down.all() {
            let part = levels.down(image.tensor(finer(tile.input, cut)));
            below.paste(&part, &tile);
            tell(plan.work.down);
        }
        let deep = levels.deep(below);
        tell(plan.work.deep);
        deep
    });
    let mut stain = Planes::zeros(network.options.out_channels, image.shape);
    for tile in plan.up.all() {
        let part = levels.up(image.tensor(tile.input), below.as_ref(), &tile);
        stain.paste(&part, &tile);
        tell(plan.work.up);
    }
    stain
}

/// An image, a stain or what is between two levels: volumes of channels (channel, z, y, x).
#[derive(Clone, PartialEq)]
pub(super) struct Planes {
    pub(super) channels: usize,
    pub(super) shape: Shape,
    pub(super) values: Vec<f32>,
}

/// A network and its levels, the top one first, cut above one of them.
pub(super) struct Levels<'a> {
    engine: &'a Engine,
    network: &'a FixedFnet<'a>,
    levels: Vec<&'a FixedLevel<'a>>,
    cut: usize,
    /// Channels of the input of the level of the cut.
    channels: usize,
}

impl<'a> Levels<'a> {
    pub(super) fn of(
        network: &'a FixedFnet<'a>,
        options: &FnetOptions,
        engine: &'a Engine,
        cut: usize,
    ) -> Self {
        let below = |level: &&'a FixedLevel<'a>| level.lower.as_ref().map(|lower| &lower.level);
        let levels = std::iter::successors(Some(&network.top), below).collect();
        Self { engine, network, levels, cut, channels: channels(options, cut).0 }
    }

    /// Whether there is a level below the cut.
    pub(super) fn needs_below(&self) -> bool {
        self.cut < self.levels.len()
    }

    /// The input of the level of the cut, on its grid, before any tile is known.
    pub(super) fn empty(&self, shape: Shape) -> Planes {
        Planes::zeros(self.channels, shape)
    }

    /// The input of the level of the cut in a tile of its grid, from the image there.
    pub(super) fn down(&self, image: Tensor) -> Planes {
        let mut output = image;
        for FixedLevel { more, lower } in &self.levels[..self.cut] {
            let skip = predict_pair(self.engine, more, output);
            let lower = lower.as_ref().expect("levels above a cut have a lower one");
            output = self.engine.fixed(&[read(&skip)], &lower.down);
        }
        Planes::of(&output)
    }

    /// The output of the level of the cut for its whole input.
    pub(super) fn deep(&self, input: Planes) -> Planes {
        let tensor = input.tensor(Region { start: [0; 3], shape: input.shape });
        drop(input);
        Planes::of(&predict_level(self.engine, self.levels[self.cut], tensor, None))
    }

    /// The output of the network for a tile, right in its core.
    pub(super) fn up(&self, image: Tensor, below: Option<&Planes>, tile: &Tile) -> Planes {
        let cut = self.cut;
        let part = || below.expect("the cut is a level").tensor(coarser(tile.input, cut));
        let known = below.is_some().then_some(Known { levels_down: cut, output: &part });
        let top = predict_level(self.engine, self.levels[0], image, known);
        let stain = self.engine.fixed(&[read(&top)], &self.network.output);
        drop(top);
        Planes::of(&stain)
    }
}

impl Planes {
    /// Volumes of one shape as channels.
    pub(super) fn join(volumes: Vec<Volume<f32>>) -> Self {
        let (channels, shape) = (volumes.len(), volumes[0].shape);
        assert!(volumes.iter().all(|volume| volume.shape == shape), "channels of one shape");
        let mut volumes = volumes.into_iter().map(|volume| volume.voxels);
        let mut values = volumes.next().unwrap_or_default();
        volumes.for_each(|volume| values.extend(volume));
        Self { channels, shape, values }
    }

    /// Each channel as a volume.
    pub(super) fn split(mut self) -> Vec<Volume<f32>> {
        let voxels = voxel_count(self.shape);
        let others = self.values.split_off(voxels);
        let mut volumes = vec![Volume::new(self.shape, self.values)];
        let more = others.chunks_exact(voxels.max(1));
        volumes.extend(more.map(|values| Volume::new(self.shape, values.to_vec())));
        volumes
    }

    pub(super) fn zeros(channels: usize, shape: Shape) -> Self {
        Self { channels, shape, values: vec![0.0; channels * voxel_count(shape)] }
    }

    pub(super) fn of(tensor: &Tensor) -> Self {
        let (channels, shape) = (tensor.channels(), tensor.shape());
        Self { channels, shape, values: tensor.to_planar() }
    }

    /// A region as the engine reads it.
    pub(super) fn tensor(&self, region: Region) -> Tensor {
        if region.shape == self.shape {
            return Tensor::from_planar(1, self.channels, self.shape, &self.values);
        }
        let part = self.crop(region);
        Tensor::from_planar(1, part.channels, part.shape, &part.values)
    }

    /// A region of all channels.
    pub(super) fn crop(&self, region: Region) -> Self {
        let mut part = Self::zeros(self.channels, region.shape);
        copy(self, region.start, &mut part, [0; 3], region.shape);
        part
    }

    /// Writes the core of a tile, of which `part` holds all.
    pub(super) fn paste(&mut self, part: &Self, tile: &Tile) {
        self.paste_part(part, tile.core_in_input().start, &tile.core);
    }

    /// Writes to a region what `part` has from a place on.
    pub(super) fn paste_part(&mut self, part: &Self, from: [usize; 3], to: &Region) {
        copy(part, from, self, to.start, to.shape);
    }

    /// The value of each channel, if all have but one.
    pub(super) fn uniform_values(&self) -> Option<Vec<f32>> {
        let channels = self.values.chunks_exact(voxel_count(self.shape).max(1));
        let value = |channel: &[f32]| {
            let first = channel[0];
            channel.iter().all(|value| *value == first).then_some(first)
        };
        channels.map(value).collect()
    }
}

/// Copies a box of all channels.
fn copy(from: &Planes, start: [usize; 3], to: &mut Planes, at: [usize; 3], shape: Shape) {
    let (from_shape, to_shape) = (from.shape, to.shape);
    let offset = |[_, height, width]: Shape, [z, y, x]: [usize; 3]| (z * height + y) * width + x;
    let channels = to.values.par_chunks_mut(voxel_count(to_shape));
    channels.zip(from.values.par_chunks(voxel_count(from_shape))).for_each(|(to, from)| {
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                let read = offset(from_shape, [start[0] + z, start[1] + y, start[2]]);
                let write = offset(to_shape, [at[0] + z, at[1] + y, at[2]]);
                to[write..write + shape[2]].copy_from_slice(&from[read..read + shape[2]]);
            }
        }
    });
}

pub(super) fn finer(region: Region, levels: usize) -> Region {
    let scale = |sides: [usize; 3]| sides.map(|side| side << levels);
    Region { start: scale(region.start), shape: scale(region.shape) }
}

pub(super) fn coarser(region: Region, levels: usize) -> Region {
    let scale = |sides: [usize; 3]| sides.map(|side| side >> levels);
    Region { start: scale(region.start), shape: scale(region.shape) }
}

#[cfg(test)]
mod tests {
    use spotlight_engine::EngineOptions;

    use super::*;
    use crate::fnet::FnetOptions;

    /// A network in which all layers matter about equally, and no two channels are alike.
    fn network(depth: usize) -> Fnet {
        let options = FnetOptions { width: 3, depth, in_channels: 2, out_channels: 2 };
        let mut network = Fnet::new(&options, 1);
        for (index, entry) in network.entries().to_vec().iter().enumerate() {
            // Convolutions keep the variance; factors and variances lie around 1.
            let fan_in: usize = entry.shape[1..].iter().product();
            let is_summand = entry.name.ends_with("bias") || entry.name.ends_with("mean");
            let [scale, centre] = match entry.shape.len() {
                1 => [0.4, if is_summand { 0.0 } else { 1.0 }],
                _ => [(24.0 / fan_in as f32).sqrt(), 0.0],
            };
            for (i, value) in network.values_mut(entry).iter_mut().enumerate() {
                let noise = ((i * 7919 + index * 104_729) % 1009) as f32 / 1009.0 - 0.5;
                *value = centre + scale * noise;
            }
        }
        network
    }

    /// Cuts the network at every level and the volume into the smallest tiles, and larger ones.
    #[track_caller]
    fn check(depth: usize, shape: Shape) {
        let (network, engine) = (network(depth), Engine::new(&EngineOptions::default()).unwrap());
        let channel = |c: usize| {
            Volume::from_fn(shape, |[z, y, x]| ((z * 31 + y * 17 + x * (7 + c)) % 23) as f32 / 5.0)
        };
        let image = Planes::join(vec![channel(0), channel(1)]);
        let tensor = Tensor::from_planar(1, 2, shape, &image.values);
        let whole = network.forward_eval(&engine, &tensor).to_planar();
        let least = whole.iter().copied().fold(f32::INFINITY, f32::min);
        let range = whole.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least;
        for (cut, times) in (1..=depth + 1).flat_map(|cut| [1, 3].map(|times| (cut, times))) {
            let plan = Plan::smallest(&network.options, shape, cut, times);
            let (mut told, mut all) = (Vec::new(), 0);
            let stain = run(&network, &engine, image.clone(), &plan, &mut |done, of| {
                told.push(done);
                all = of;
            });
            assert_eq!((stain.channels, stain.shape), (2, shape));
            let differences = stain.values.iter().zip(&whole).map(|(a, b)| (a - b).abs());
            let largest = differences.fold(0.0, f32::max);
            assert!(largest < 2e-5 * range, "{largest} of {range} by {plan:?}");
            assert!(told.is_sorted() && told.last() == Some(&all), "{told:?} of {all}");
            assert!(told.len() >= plan.up.count());
        }
    }

    #[test]
    fn every_cut_gives_the_values_of_the_whole() {
        check(0, [3, 9, 17]);
        check(1, [6, 18, 34]);
        check(2, [8, 20, 80]);
        check(3, [8, 16, 176]);
    }
}
