//! One volume through the network, whole or in tiles, within a memory budget.
//!
//! A tile is read with a halo as wide as the network looks, and starts where the network
//! down-samples, so its core is what the whole volume would have given there. At the
//! border of the volume a tile ends as the volume does, before the same zeros.

use spotlight_engine::{Engine, Tensor};
use spotlight_image::tile::tiles_with_halo;
use spotlight_image::{Shape, Volume};

use crate::fnet::Fnet;

/// Which tiles a volume is cut into.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// Voxels of a core along (z, y, x); those at the end may be smaller.
    pub(super) core: Shape,
    /// Voxels of the largest tile with its halo.
    pub(super) largest: usize,
    /// Voxels of all tiles with their halos: the work.
    pub(super) work: usize,
}

/// The tiles with the least work of those whose largest has at most `limit` voxels.
///
/// `shape` is a multiple of `multiple` along every axis. With no such tiles, the error is
/// the number of voxels of the smallest tile there is.
pub(super) fn plan(
    shape: Shape,
    halo: usize,
    multiple: usize,
    limit: usize,
) -> Result<Plan, usize> {
    let axes = shape.map(|length| axis_plans(length, halo, multiple));
    let mut best: Option<Plan> = None;
    let mut smallest = usize::MAX;
    for z in &axes[0] {
        for y in &axes[1] {
            for x in &axes[2] {
                let largest = z.largest * y.largest * x.largest;
                smallest = smallest.min(largest);
                let work = z.work * y.work * x.work;
                let better = best.as_ref().is_none_or(|best| work < best.work);
                if largest <= limit && better {
                    best = Some(Plan { core: [z.core, y.core, x.core], largest, work });
                }
            }
        }
    }
    best.ok_or(smallest)
}

/// One way to cut an axis.
struct AxisPlan {
    core: usize,
    largest: usize,
    work: usize,
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
        plans.push(AxisPlan { core, largest, work: sizes.sum() });
    }
    plans
}

/// The output of the network for a volume, tile by tile.
///
/// `progress` learns after each tile how many of how many are done.
pub(super) fn run(
    network: &Fnet,
    engine: &Engine,
    input: &Volume<f32>,
    core: Shape,
    progress: &mut dyn FnMut(usize, usize),
) -> Volume<f32> {
    let halo = [network.options.halo(); 3];
    let tiles = tiles_with_halo(input.shape, core, halo, network.options.divisor());
    let mut output = Volume::filled(input.shape, 0.0);
    for (index, tile) in tiles.iter().enumerate() {
        let part = forward(network, engine, &input.crop(tile.input));
        output.paste(tile.core.start, &part.crop(tile.core_in_input()));
        progress(index + 1, tiles.len());
    }
    output
}

fn forward(network: &Fnet, engine: &Engine, input: &Volume<f32>) -> Volume<f32> {
    let tensor = Tensor::from_planar(1, 1, input.shape, &input.voxels);
    Volume::new(input.shape, network.forward_eval(engine, &tensor).to_planar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shape: Shape, halo: usize, limit: usize, core: Shape, largest: usize) {
        let found = plan(shape, halo, 4, limit).unwrap();
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
        assert_eq!(plan([4, 8, 100], 4, 4, 10), Err(4 * 8 * 12));
        assert_eq!(plan([4, 8, 100], 4, 4, 400).unwrap().core, [4, 8, 4]);
    }
}
