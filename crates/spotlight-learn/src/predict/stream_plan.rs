//! In which boxes a stack that does not fit in memory is stained.
//!
//! ```text
//! unit     what the output store writes at once                  given
//! box      whole units, held until they are stained and written  chosen
//! tile     what goes through the network at once                 chosen, so many to a box
//! ```
//! As for a stack in memory, the levels from a cut on are computed whole, if memory suffices for
//! them, and the levels above in tiles. Otherwise a tile is a box with all that the network sees
//! around it, and is stained as a stack by itself, which may cut it again. Of all choices that keep
//! to the memory the one with the least work is taken. Sizes are upper bounds: where tiles lie is
//! not known here.

use spotlight_image::{Region, Shape};

use super::memory::{self, planes, voxels};
use super::plan::{self, Budget, Kept, up_halo, way_down};
use super::stream::{KNOWN_TILES, SLAB};
use super::tiles::Tiles;
use super::work;
use crate::fnet::FnetOptions;
use crate::footprint::FLOAT;

/// Voxels of the model's grid around a box that a zoom back needs, on both sides.
const ZOOM_MARGIN: usize = 2 * 30 + 2;

/// How a stack is stained box by box.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StreamPlan {
    /// The level from which on the network is computed whole, or one more than there are.
    pub(super) cut: usize,
    /// Tiles of the grid of the cut, for the way down.
    pub(super) down: Tiles,
    /// Voxels of a box of the output; the last along an axis may be smaller.
    pub(super) step: Shape,
    /// Into how many tiles a box is cut along each axis.
    pub(super) cuts: [usize; 3],
    /// Bytes that a tile may take in the network, where it is a stack by itself.
    pub(super) left: u64,
    /// Multiply-adds of all tiles on the way down, of the levels below, and of a box.
    pub(super) work: [usize; 3],
}

/// What there is to stain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    /// Voxels of the stack, of it at the voxel size of the model, with what the network needs
    /// around it, and of the stain.
    pub(super) input: Shape,
    pub(super) model: Shape,
    pub(super) fitted: Shape,
    pub(super) output: Shape,
    /// Voxels of a unit of the output.
    pub(super) unit: Shape,
}

impl StreamPlan {
    /// All boxes of the output, z slowest.
    pub(super) fn boxes(&self, output: Shape) -> Vec<Region> {
        Region::whole(output).blocks(self.step).collect()
    }
}

/// The plan with the least work within so many bytes, those that never change left out. The error
/// is the least number of bytes that suffices.
pub(super) fn plan(options: &FnetOptions, scene: &Scene, bytes: u64) -> Result<StreamPlan, u64> {
    let mut best: Option<(StreamPlan, u128)> = None;
    let mut least = u64::MAX;
    for cut in 1..=options.depth + 1 {
        let of_cut = Choices { options, scene, cut };
        let shares: &[f64] = if cut > options.depth { &[0.0] } else { &[0.0, 0.2, 0.4, 0.6] };
        for share in shares {
            match of_cut.best((bytes as f64 * share) as u64, bytes) {
                Ok(found) if best.as_ref().is_none_or(|(_, work)| found.1 < *work) => {
                    best = Some(found);
                }
                Ok(_) => {}
                Err(needed) => least = least.min(needed),
            }
        }
    }
    best.map(|(plan, _)| plan).ok_or(least)
}

/// The plans of one cut.
struct Choices<'a> {
    options: &'a FnetOptions,
    scene: &'a Scene,
    cut: usize,
}

impl Choices<'_> {
    /// The plan with the least work within so many bytes, where the tiles of the way down have
    /// tensors of at most `tensors` bytes or are the smallest; or what the least plan takes.
    fn best(&self, tensors: u64, bytes: u64) -> Result<(StreamPlan, u128), u64> {
        let Self { options, scene, cut } = *self;
        let all = voxels(scene.fitted);
        let kept = Kept::of(options, cut, all);
        let deep = memory::deep(options, cut, all);
        let (down, down_bytes) = self.way_down(tensors);
        let mut best: Option<(StreamPlan, u128)> = None;
        let mut least = u64::MAX;
        let whole = [
            work::down(options, cut, (down.voxels() as u64) << (3 * cut)) * down.count(),
            work::deep(options, cut, all),
        ];
        let steps: [Vec<usize>; 3] = std::array::from_fn(|axis| self.steps(axis));
        for step in product(&steps) {
            let boxes: usize = (0..3).map(|axis| scene.output[axis].div_ceil(step[axis])).product();
            let cores: Shape = std::array::from_fn(|axis| self.core(step[axis], axis));
            let nested = cut > options.depth;
            let most = if nested { 1 } else { 8 };
            let pieces: [Vec<usize>; 3] = cores.map(|core| (1..=core.min(most)).collect());
            for cuts in product(&pieces) {
                let tile: Shape =
                    std::array::from_fn(|axis| self.tile(cores[axis].div_ceil(cuts[axis]), axis));
                let held = self.source(tile) + self.held(step, cores);
                let left = bytes.saturating_sub(held);
                let (needed, of_tile) = if nested {
                    match plan::plan(options, tile, Budget { bytes: left, volumes: 0 }) {
                        Ok(inner) if held <= bytes => (held, inner.work.all),
                        Ok(_) => (held, 0),
                        Err(inner) => (held + inner, 0),
                    }
                } else {
                    let tensors =
                        deep.max(memory::up(options, cut, voxels(tile))).max(down_bytes.0);
                    let down = kept.input + kept.deep.max(down_bytes.1);
                    let image =
                        planes(options.in_channels + 2 * options.out_channels, voxels(tile));
                    let up = kept.deep + held + image;
                    (tensors + down.max(up), work::up(options, cut, voxels(tile)))
                };
                least = least.min(needed);
                if needed > bytes {
                    continue;
                }
                let of_box = of_tile * cuts.iter().product::<usize>();
                let total = (whole[0] + whole[1]) as u128 + of_box as u128 * boxes as u128;
                if best.as_ref().is_none_or(|(_, work)| total < *work) {
                    let work = [whole[0], whole[1], of_box];
                    best = Some((StreamPlan { cut, down, step, cuts, left, work }, total));
                }
            }
        }
        best.ok_or(least)
    }

    /// The tiles of the way down within so many bytes of tensors, or else the smallest; with the
    /// bytes of their tensors and of what is read for them.
    fn way_down(&self, tensors: u64) -> (Tiles, (u64, u64)) {
        let Self { options, scene, cut } = *self;
        if cut > options.depth {
            return (Tiles::whole(scene.fitted), (0, 0));
        }
        let a_block = 1_u64 << (3 * (options.depth + 1));
        let of_tensors = memory::down(options, cut, a_block).max(1);
        let limit = u128::from(tensors) * u128::from(a_block) / u128::from(of_tensors);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let tiles = way_down(options, scene.fitted, cut, limit)
            .or_else(|least| way_down(options, scene.fitted, cut, least))
            .unwrap_or_else(|_| Tiles::whole(scene.fitted.map(|side| side >> cut)));
        let voxels = (tiles.voxels() as u64) << (3 * cut);
        let image = tiles.input.map(|side| side << cut);
        let read = self.source(image) + planes(options.in_channels, voxels);
        (tiles, (memory::down(options, cut, voxels), read))
    }

    /// Lengths of boxes along an axis: one unit, two, three, four, six, eight ... and all.
    fn steps(&self, axis: usize) -> Vec<usize> {
        let (unit, length) = (self.scene.unit[axis], self.scene.output[axis]);
        let most = length.div_ceil(unit);
        let mut counts = vec![1];
        let mut next = 2;
        while next < most {
            counts.push(next);
            if next * 3 / 2 < most {
                counts.push(next * 3 / 2);
            }
            next *= 2;
        }
        counts.push(most);
        counts.dedup();
        counts.into_iter().map(|count| (count * unit).min(length)).collect()
    }

    /// Voxels along an axis of the fitted grid that a box of the output needs.
    fn core(&self, step: usize, axis: usize) -> usize {
        let Scene { model, output, fitted, .. } = *self.scene;
        if model == output {
            return step.min(fitted[axis]);
        }
        let ratio = model[axis] as f64 / output[axis] as f64;
        let margin = if model[axis] == output[axis] { 0 } else { ZOOM_MARGIN };
        ((step as f64 * ratio).ceil() as usize + margin).min(fitted[axis])
    }

    /// Voxels along an axis that a tile with such a core has at most.
    fn tile(&self, core: usize, axis: usize) -> usize {
        let multiple = 1 << self.cut.min(self.options.depth);
        let most = core + 2 * up_halo(self.options, self.cut) + 2 * (multiple - 1);
        (most / multiple * multiple).min(self.scene.fitted[axis])
    }

    /// Bytes while a tile of the fitted grid is read, beside its own: of its slabs as stored and as
    /// f32, of the zoom's two volumes of f64, and on the grids of the model and of the network.
    fn source(&self, tile: Shape) -> u64 {
        let Scene { input, model, .. } = *self.scene;
        let zoomed = input != model;
        let depth = tile[0].min(SLAB + if zoomed { ZOOM_MARGIN } else { 0 });
        let growth = voxels(input) as f64 / voxels(model) as f64;
        let wide = if zoomed { 16.0 * growth.max(1.0) } else { 0.0 };
        let each = 3.0 * FLOAT as f64 * growth + wide + 2.0 * FLOAT as f64;
        let slab = voxels([depth, tile[1], tile[2]]) as f64;
        (slab * each) as u64 * self.options.in_channels as u64
    }

    /// Bytes of a box while it is put together and written.
    fn held(&self, step: Shape, cores: Shape) -> u64 {
        let channels = self.options.out_channels;
        let Scene { model, output, .. } = *self.scene;
        let zoomed = if model == output { 0 } else { 16 * voxels(step).max(voxels(cores)) };
        // The stain of the box on the grid of the model, and tiles that are remembered; as written,
        // and its chunks.
        planes((1 + KNOWN_TILES) * channels, voxels(cores))
            + zoomed
            + 3 * planes(channels, voxels(step))
    }
}

/// Every combination of one element for each axis.
fn product(axes: &[Vec<usize>; 3]) -> impl Iterator<Item = Shape> + '_ {
    axes[0].iter().flat_map(move |z| {
        axes[1].iter().flat_map(move |y| axes[2].iter().map(move |x| [*z, *y, *x]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(output: Shape) -> Scene {
        Scene { input: output, model: output, fitted: output, output, unit: [32, 256, 256] }
    }

    #[test]
    fn a_large_stack_is_stained_in_little_memory() {
        let options = FnetOptions::default();
        let scene = scene([512, 2048, 2048]);
        let plans = [16, 4, 2].map(|gib: u64| plan(&options, &scene, gib << 30).unwrap());
        let all = |plan: &StreamPlan| {
            let [down, deep, of_box] = plan.work.map(|work| work as f64);
            down + deep + of_box * plan.boxes(scene.output).len() as f64
        };
        let once = work::up(&options, options.depth + 1, voxels(scene.output)) as f64;
        let more = plans.each_ref().map(|plan| all(plan) / once);
        assert!(more.is_sorted(), "{more:?}");
        assert!(more[0] < 3.5, "{more:?}");
        let least = plan(&options, &scene, 0).unwrap_err();
        assert!(plan(&options, &scene, least).is_ok());
        assert!(plan(&options, &scene, least - 1).is_err());
        assert!(least < 3 << 29, "{least}");
    }

    #[test]
    fn levels_are_computed_whole_where_that_is_less_work() {
        let options = FnetOptions::default();
        let cut = |shape: Shape, gib: u64| plan(&options, &scene(shape), gib << 30).unwrap().cut;
        assert_eq!(cut([64, 1024, 1024], 4), 2);
        assert_eq!(cut([256, 1024, 1024], 4), 3);
        assert_eq!(cut([256, 1024, 1024], 32), 5);
    }

    #[test]
    fn boxes_cover_the_output_once() {
        let tiny = FnetOptions { width: 2, depth: 1, ..FnetOptions::default() };
        let scene = Scene { unit: [4, 8, 8], ..scene([10, 30, 50]) };
        let least = plan(&tiny, &scene, 0).unwrap_err();
        let found = plan(&tiny, &scene, 2 * least).unwrap();
        let boxes = found.boxes(scene.output);
        let mut seen = vec![0; 10 * 30 * 50];
        for region in &boxes {
            assert!((0..3).all(|axis| region.start[axis].is_multiple_of(scene.unit[axis])));
            for z in region.start[0]..region.stop()[0] {
                for y in region.start[1]..region.stop()[1] {
                    for x in region.start[2]..region.stop()[2] {
                        seen[(z * 30 + y) * 50 + x] += 1;
                    }
                }
            }
        }
        assert!(boxes.len() > 1 && seen.iter().all(|count| *count == 1));
    }
}
