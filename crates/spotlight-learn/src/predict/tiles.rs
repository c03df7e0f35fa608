//! Which levels of the network go through the engine in tiles, and which tiles.
//!
//! For each level at which the network can be cut, the largest tiles that keep to the memory are
//! found for the way down and for the way up; of all cuts the one with the least work is taken.
//! Work is multiply-adds, those of halos and those that are done twice included.

use spotlight_image::tile::{Tile, tiles_with_halo};
use spotlight_image::{Region, Shape};

use super::memory::{self, channels, planes, voxels};
use super::work;
use crate::fnet::{FnetOptions, receptive_field_halo};

/// How a volume goes through the network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// The level from which on the network is computed whole; one more than there are levels
    /// where none is. None: the network is computed in one piece.
    pub(super) cut: Option<usize>,
    /// Multiply-adds of the levels that are computed whole.
    pub(super) deep_work: usize,
    options: FnetOptions,
    shape: Shape,
    down: Axes,
    up: Axes,
}

/// Tiles: voxels of a core along (z, y, x), of the largest tile and of all tiles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Axes {
    core: Shape,
    largest: usize,
    all: usize,
}

/// The memory for a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Bytes for volumes and tensors.
    pub(super) bytes: u64,
    /// Bytes of volumes when the network does not run.
    pub(super) volumes: u64,
}

/// The plan with the least work that keeps to the budget for a volume whose sides are multiples of
/// the network's divisor. The error is the least number of bytes that suffices.
pub(super) fn plan(options: &FnetOptions, shape: Shape, budget: Budget) -> Result<Plan, u64> {
    let mut best: Option<Plan> = None;
    let mut needed = u64::MAX;
    let plans = std::iter::once(None).chain((1..=options.depth + 1).map(Some));
    for found in plans.map(|cut| of_cut(options, shape, cut, budget)) {
        match found {
            Ok(plan) if best.as_ref().is_none_or(|best| plan.work() < best.work()) => {
                best = Some(plan);
            }
            Ok(_) => {}
            Err(bytes) => needed = needed.min(bytes),
        }
    }
    best.ok_or(needed)
}

/// The plan with the least work of those that cut the network there.
fn of_cut(
    options: &FnetOptions,
    shape: Shape,
    cut: Option<usize>,
    budget: Budget,
) -> Result<Plan, u64> {
    let all = voxels(shape);
    let mut plan = Plan {
        cut,
        deep_work: work::deep(options, cut.unwrap_or(0), all),
        options: *options,
        shape,
        down: Axes::default(),
        up: Axes::default(),
    };
    let Some(cut) = cut else {
        // The image is freed when it is a tensor, and the stain made when the tensors are freed.
        let needed = budget.volumes.max(planes(1, all)) + memory::whole(options, all);
        return if needed <= budget.bytes { Ok(plan) } else { Err(needed) };
    };
    let kept = Kept::of(options, cut, all);
    let (down, up) = (Cost::down(options, cut), Cost::up(options, cut));
    let volumes =
        budget.volumes.max(planes(1, all) + kept.input).max(2 * planes(1, all) + kept.deep);
    // Tensors and, beside them, the planes of one tile.
    let share = down.share().min(up.share());
    let tensors = (budget.bytes.saturating_sub(volumes) as f64 * share) as u64;
    let deep = memory::deep(options, cut, all);
    let mut needed = deep;
    if cut <= options.depth {
        let grid = shape.map(|side| side >> cut);
        let limit = down.limit(tensors) >> (3 * cut);
        match axes(grid, down_halo(cut), 1, limit) {
            Ok(axes) => plan.down = axes,
            Err(smallest) => needed = needed.max(down.bytes(smallest << (3 * cut))),
        }
    }
    match axes(shape, up_halo(options, cut), 1 << cut.min(options.depth), up.limit(tensors)) {
        Ok(axes) => plan.up = axes,
        Err(smallest) => needed = needed.max(up.bytes(smallest)),
    }
    if needed > tensors { Err(volumes + (needed as f64 / share).ceil() as u64) } else { Ok(plan) }
}

/// Bytes of the planes that lie between the passes.
struct Kept {
    /// The input of the level of the cut.
    input: u64,
    /// Its output.
    deep: u64,
}

impl Kept {
    fn of(options: &FnetOptions, cut: usize, voxels: u64) -> Self {
        let (from, own) = channels(options, cut);
        let [from, own] = if cut > options.depth { [0; 2] } else { [from, own] };
        let coarse = voxels >> (3 * cut);
        Self { input: planes(from, coarse), deep: planes(own, coarse) }
    }
}

/// What a tile takes, in bytes for this many voxels: the least number that all levels divide.
struct Cost {
    voxels: u64,
    tensors: u64,
    planes: u64,
}

impl Cost {
    fn down(options: &FnetOptions, cut: usize) -> Self {
        let voxels = 1 << (3 * (options.depth + 1));
        let part = Kept::of(options, cut, voxels).input;
        let tensors = memory::down(options, cut, voxels);
        Self { voxels, tensors, planes: planes(1, voxels) + part }
    }

    fn up(options: &FnetOptions, cut: usize) -> Self {
        let voxels = 1 << (3 * (options.depth + 1));
        let part = Kept::of(options, cut, voxels).deep;
        let tensors = memory::up(options, cut, voxels);
        // A tile of the stain, and its core.
        Self { voxels, tensors, planes: part.max(2 * planes(1, voxels)) }
    }

    /// The part of the memory of a tile that tensors take.
    fn share(&self) -> f64 {
        self.tensors as f64 / (self.tensors + self.planes) as f64
    }

    /// Voxels of the largest tile whose tensors take at most so many bytes.
    fn limit(&self, bytes: u64) -> usize {
        let limit = u128::from(bytes) * u128::from(self.voxels) / u128::from(self.tensors);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Bytes of the tensors of a tile.
    fn bytes(&self, voxels: usize) -> u64 {
        let bytes = (voxels as u128 * u128::from(self.tensors)).div_ceil(u128::from(self.voxels));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl Plan {
    /// Cores of this shape, whatever memory they take.
    #[cfg(test)]
    pub(super) fn of_cores(options: &FnetOptions, shape: Shape, cut: usize, core: Shape) -> Self {
        let budget = Budget { bytes: u64::MAX >> 8, volumes: 0 };
        let mut plan = of_cut(options, shape, Some(cut), budget).expect("a lot of memory");
        (plan.down.core, plan.up.core) = (core, core);
        plan
    }

    /// Tiles of the grid of the cut, for the way down.
    pub(super) fn down_tiles(&self) -> Vec<Tile> {
        let cut = self.cut.unwrap_or(0);
        let grid = self.shape.map(|side| side >> cut);
        tiles_with_halo(grid, self.down.core, [down_halo(cut); 3], 1)
    }

    /// Tiles of the image, for the way up.
    pub(super) fn up_tiles(&self) -> Vec<Tile> {
        let Some(cut) = self.cut else {
            let all = Region { start: [0; 3], shape: self.shape };
            return vec![Tile { input: all, core: all }];
        };
        let multiple = 1 << cut.min(self.options.depth);
        tiles_with_halo(self.shape, self.up.core, [up_halo(&self.options, cut); 3], multiple)
    }

    /// Multiply-adds of all passes.
    pub(super) fn work(&self) -> usize {
        let options = &self.options;
        let Some(cut) = self.cut else {
            return self.deep_work + work::output(options, voxels(self.shape));
        };
        let down = work::down(options, cut, (self.down.all as u64) << (3 * cut));
        down + self.deep_work + work::up(options, cut, self.up.all as u64)
    }

    /// Multiply-adds of a tile on the way down.
    pub(super) fn down_work(&self, tile: &Tile) -> usize {
        let cut = self.cut.unwrap_or(0);
        work::down(&self.options, cut, voxels(tile.input.shape) << (3 * cut))
    }

    /// Multiply-adds of a tile on the way up.
    pub(super) fn up_work(&self, tile: &Tile) -> usize {
        work::up(&self.options, self.cut.unwrap_or(0), voxels(tile.input.shape))
    }
}

/// How many voxels of the grid of the cut, on each side, an input of its level depends on.
///
/// Two convolutions a level look 2 (2^cut - 1) voxels of the image far: less than two of these.
fn down_halo(cut: usize) -> usize {
    if cut == 1 { 1 } else { 2 }
}

/// How many voxels, on each side, a voxel of the stain depends on, where the output of the level
/// of the cut is known.
fn up_halo(options: &FnetOptions, cut: usize) -> usize {
    if cut > options.depth {
        return receptive_field_halo(options.depth);
    }
    let reach = |voxel: i64| {
        let (first, last) = level_input(0, cut, (voxel - 1, voxel + 1));
        (voxel - first).max(last - voxel)
    };
    let furthest = (0..1_i64 << cut).map(reach).max().unwrap_or(0);
    usize::try_from(furthest).unwrap_or(0)
}

/// The positions along an axis of a level's input on which those of its output depend, where the
/// output of the level of the cut is known.
fn level_input(level: usize, cut: usize, output: (i64, i64)) -> (i64, i64) {
    let two_convolutions = |(first, last): (i64, i64)| (first - 2, last + 2);
    let joined = two_convolutions(output);
    if level + 1 == cut {
        return two_convolutions(joined);
    }
    let coarse = (joined.0.div_euclid(2), joined.1.div_euclid(2));
    let below = level_input(level + 1, cut, coarse);
    two_convolutions((joined.0.min(2 * below.0), joined.1.max(2 * below.1 + 1)))
}

/// The tiles with the least work of those whose largest has at most `limit` voxels.
///
/// `shape` is a multiple of `multiple` along every axis. With no such tiles, the error is
/// the number of voxels of the smallest tile there is.
fn axes(shape: Shape, halo: usize, multiple: usize, limit: usize) -> Result<Axes, usize> {
    let plans = shape.map(|length| axis_plans(length, halo, multiple));
    let mut best: Option<Axes> = None;
    let mut smallest = usize::MAX;
    for z in &plans[0] {
        for y in &plans[1] {
            for x in &plans[2] {
                let largest = z.largest * y.largest * x.largest;
                smallest = smallest.min(largest);
                let all = z.all * y.all * x.all;
                let better = best.as_ref().is_none_or(|best| all < best.all);
                if largest <= limit && better {
                    best = Some(Axes { core: [z.core, y.core, x.core], largest, all });
                }
            }
        }
    }
    best.ok_or(smallest)
}

/// One way to cut an axis: voxels of a core, of the longest tile and of all tiles.
struct AxisPlan {
    core: usize,
    largest: usize,
    all: usize,
}

/// The ways to cut an axis, the whole first, down to cores of `multiple`.
fn axis_plans(length: usize, halo: usize, multiple: usize) -> Vec<AxisPlan> {
    let mut plans: Vec<AxisPlan> = Vec::new();
    for parts in 1..=length / multiple {
        let core = length.div_ceil(parts);
        if plans.last().is_some_and(|plan| plan.core == core) {
            continue;
        }
        let (shape, cores) = ([multiple, multiple, length], [multiple, multiple, core]);
        let tiles = tiles_with_halo(shape, cores, [0, 0, halo], multiple);
        let sizes = tiles.iter().map(|tile| tile.input.shape[2]);
        let largest = sizes.clone().max().unwrap_or(0);
        plans.push(AxisPlan { core, largest, all: sizes.sum() });
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shape: Shape, halo: usize, limit: usize, core: Shape, largest: usize) {
        let found = axes(shape, halo, 4, limit).unwrap();
        assert_eq!((found.core, found.largest), (core, largest));
    }

    #[test]
    fn the_whole_is_taken_where_it_fits() {
        check([8, 16, 32], 8, 8 * 16 * 32, [8, 16, 32], 8 * 16 * 32);
    }

    #[test]
    fn the_axis_that_costs_least_is_cut() {
        // Two halves of 16 with a halo of 4 on one side.
        check([8, 16, 32], 4, 8 * 16 * 32 - 1, [8, 16, 16], 8 * 16 * 20);
    }

    #[test]
    fn the_smallest_tile_is_told_where_none_fits() {
        // Cores of 4 with a halo of 4: 12 voxels, 8 at the border; an axis of 4 stays whole.
        assert_eq!(axes([4, 8, 100], 4, 4, 10), Err(4 * 8 * 12));
        assert_eq!(axes([4, 8, 100], 4, 4, 400).unwrap().core, [4, 8, 4]);
    }

    /// The paper's network.
    fn cut_at(shape: Shape, gib: f64) -> Result<Plan, u64> {
        let bytes = (gib * f64::from(1 << 30)) as u64;
        plan(&FnetOptions::default(), shape, Budget { bytes, volumes: 0 })
    }

    #[test]
    fn less_memory_means_a_deeper_cut_and_more_work() {
        let shape = [64, 224, 336];
        let plans = [4.0, 2.2, 1.0, 0.3].map(|gib| cut_at(shape, gib).unwrap());
        assert_eq!(plans.clone().map(|plan| plan.cut), [None, Some(5), Some(1), Some(2)]);
        let work = plans.clone().map(|plan| plan.work() as f64 / plans[0].work() as f64);
        assert_eq!(work[1], 1.0, "one tile of all levels frees its input early");
        assert!(work[2] > 1.1 && work[2] < 1.3, "{work:?}");
        assert!(work[3] > work[2] && work[3] < 2.5, "{work:?}");
    }

    #[test]
    fn the_least_memory_that_is_named_suffices() {
        for shape in [[16, 16, 16], [64, 224, 336], [80, 1024, 1024]] {
            let least = cut_at(shape, 0.0).unwrap_err();
            let with = |bytes| plan(&FnetOptions::default(), shape, Budget { bytes, volumes: 0 });
            assert!(with(least).is_ok() && with(least - least / 1000).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn work_is_told_to_its_end() {
        for gib in [0.3, 1.0, 2.2, 4.0] {
            let plan = cut_at([64, 224, 336], gib).unwrap();
            let up: usize = plan.up_tiles().iter().map(|tile| plan.up_work(tile)).sum();
            let down = match plan.cut {
                Some(1..=4) => plan.down_tiles().iter().map(|tile| plan.down_work(tile)).sum(),
                _ => 0,
            };
            assert_eq!(up + down + plan.deep_work, plan.work(), "{gib} GiB");
        }
    }
}
