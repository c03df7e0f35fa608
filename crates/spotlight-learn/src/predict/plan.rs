//! Which levels of the network go through the engine in tiles, and in which tiles.
//!
//! For each level at which the network can be cut, the largest tiles that keep to the memory are
//! found for the way down and for the way up; of all cuts the one with the least work is taken.
//! Work is multiply-adds, those of halos and those that are done twice included.

use spotlight_image::Shape;

use super::memory::{self, channels, planes, voxels};
use super::tiles::Tiles;
use super::work;
use crate::fnet::{FnetOptions, receptive_field_halo};

/// How a volume goes through the network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// The level from which on the network is computed whole; one more than there are levels
    /// where none is. None: the network is computed in one piece.
    pub(super) cut: Option<usize>,
    /// Tiles of the grid of the cut, for the way down.
    pub(super) down: Tiles,
    /// Tiles of the image, for the way up.
    pub(super) up: Tiles,
    /// Multiply-adds.
    pub(super) work: Work,
}

/// Multiply-adds of the parts of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Work {
    /// Of a tile on the way down.
    pub(super) down: usize,
    /// Of the levels that are computed whole.
    pub(super) deep: usize,
    /// Of a tile on the way up.
    pub(super) up: usize,
    /// Of all.
    pub(super) all: usize,
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
            Ok(plan) if best.as_ref().is_none_or(|best| plan.work.all < best.work.all) => {
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
    let whole = Tiles::whole(shape);
    let Some(cut) = cut else {
        // The image is freed when it is a tensor, and the stain made when the tensors are freed.
        let planar = planes(options.in_channels.max(options.out_channels), all);
        let needed = budget.volumes.max(planar) + memory::whole(options, all);
        let plan = Plan::of(options, None, whole, whole);
        return if needed <= budget.bytes { Ok(plan) } else { Err(needed) };
    };
    let kept = Kept::of(options, cut, all);
    let (down, up) = (Cost::down(options, cut), Cost::up(options, cut));
    let (image, stain) = (planes(options.in_channels, all), planes(options.out_channels, all));
    let volumes = budget.volumes.max(image + kept.input).max(image + stain + kept.deep);
    // Tensors and, beside them, the planes of one tile.
    let share = down.share().min(up.share());
    let tensors = (budget.bytes.saturating_sub(volumes) as f64 * share) as u64;
    let deep = memory::deep(options, cut, all);
    let way_down = way_down(options, shape, cut, down.limit(tensors));
    let way_up = way_up(options, shape, cut, up.limit(tensors));
    match (way_down, way_up) {
        (Ok(down), Ok(up)) if deep <= tensors => Ok(Plan::of(options, Some(cut), down, up)),
        (way_down, way_up) => {
            let of_down = way_down.map_or_else(|voxels| down.bytes(voxels), |_| 0);
            let of_up = way_up.map_or_else(|voxels| up.bytes(voxels), |_| 0);
            Err(volumes + (deep.max(of_down).max(of_up) as f64 / share).ceil() as u64)
        }
    }
}

/// Bytes of the planes that lie between the passes.
pub(super) struct Kept {
    /// The input of the level of the cut.
    pub(super) input: u64,
    /// Its output.
    pub(super) deep: u64,
}

impl Kept {
    pub(super) fn of(options: &FnetOptions, cut: usize, voxels: u64) -> Self {
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
        Self { voxels, tensors, planes: planes(options.in_channels, voxels) + part }
    }

    fn up(options: &FnetOptions, cut: usize) -> Self {
        let voxels = 1 << (3 * (options.depth + 1));
        let part = Kept::of(options, cut, voxels).deep;
        let tensors = memory::up(options, cut, voxels);
        // A tile of the stain, and its core.
        Self { voxels, tensors, planes: part.max(2 * planes(options.out_channels, voxels)) }
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
    fn of(options: &FnetOptions, cut: Option<usize>, down: Tiles, up: Tiles) -> Self {
        let (level, all) = (cut.unwrap_or(0), voxels(up.shape));
        let mut work = Work {
            down: work::down(options, level, (down.voxels() as u64) << (3 * level)),
            deep: work::deep(options, level, all),
            up: work::up(options, level, up.voxels() as u64),
            all: 0,
        };
        work.all = down.count() * work.down + work.deep + up.count() * work.up;
        Self { cut, down, up, work }
    }

    /// The smallest tiles that there are, or those of up to so many times as many voxels.
    #[cfg(test)]
    pub(super) fn smallest(options: &FnetOptions, shape: Shape, cut: usize, times: usize) -> Self {
        let choose = |way: fn(&FnetOptions, Shape, usize, usize) -> Result<Tiles, usize>| {
            let least = way(options, shape, cut, 0).map_or_else(|least| least, |_| 0);
            way(options, shape, cut, times * least).expect("the limit is not below the least")
        };
        Self::of(options, Some(cut), choose(way_down), choose(way_up))
    }
}

/// Tiles for the way down, of at most so many voxels of the image. The error is the least number.
pub(super) fn way_down(
    options: &FnetOptions,
    shape: Shape,
    cut: usize,
    limit: usize,
) -> Result<Tiles, usize> {
    if cut > options.depth {
        return Ok(Tiles::whole(shape));
    }
    let grid = shape.map(|side| side >> cut);
    Tiles::choose(grid, down_halo(cut), 1, limit >> (3 * cut)).map_err(|least| least << (3 * cut))
}

/// Tiles for the way up, of at most so many voxels. The error is the least number.
fn way_up(options: &FnetOptions, shape: Shape, cut: usize, limit: usize) -> Result<Tiles, usize> {
    let multiple = 1 << cut.min(options.depth);
    Tiles::choose(shape, up_halo(options, cut), multiple, limit)
}

/// How many voxels of the grid of the cut, on each side, an input of its level depends on.
///
/// Two convolutions a level look 2 (2^cut - 1) voxels of the image far: less than two of these.
fn down_halo(cut: usize) -> usize {
    if cut == 1 { 1 } else { 2 }
}

/// How many voxels, on each side, a voxel of the stain depends on, where the output of the level
/// of the cut is known.
pub(super) fn up_halo(options: &FnetOptions, cut: usize) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let work = plans.clone().map(|plan| plan.work.all as f64 / plans[0].work.all as f64);
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
}
