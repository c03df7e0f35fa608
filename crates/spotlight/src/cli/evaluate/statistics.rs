//! What the scores need to know of a target before its first voxel is compared, found part by
//! part: moments, threshold and span, the same as those of the whole stack in memory.

use std::ops::Range;

use anyhow::Result;
use spotlight_image::foreground::{OtsuRecipe, halo, threshold_of_parts};
use spotlight_image::grid::{boxes_of_blocks, voxel_count};
use spotlight_image::standardise::RunningMoments;
use spotlight_image::{Region, Shape};
use spotlight_io::OpenStack;

use super::comparison::{Statistics, planes};
use crate::cli::failure;
use crate::cli::stacks::{into_f32, reading_bytes};

/// Bytes that a voxel takes while a part is smoothed: it, its medians, its blurs.
const SMOOTHING_BYTES: u64 = 28;

/// Parts are not made smaller than this along an axis.
const LEAST_SIDE: usize = 8;

/// The statistics of a stack, of which no more is in memory than these bytes hold.
pub(super) fn statistics(
    stack: &OpenStack,
    recipe: OtsuRecipe,
    memory_bytes: u64,
) -> Result<Statistics> {
    let slabs = slabs(stack, memory_bytes);
    let mut running = RunningMoments::default();
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for slab in &slabs {
        let slab = planes(stack, Some(slab))?;
        running.add(&slab.voxels);
        for voxel in &slab.voxels {
            (low, high) = (low.min(*voxel), high.max(*voxel));
        }
    }
    let Some(mut running) = running.mean() else {
        let path = stack.path().display();
        return Err(failure(format!("{path} has no voxels"), "name a stack that has some"));
    };
    for slab in &slabs {
        running.add(&planes(stack, Some(slab))?.voxels);
    }
    let shape = stack.shape();
    let parts = parts(shape, recipe, (memory_bytes / SMOOTHING_BYTES) as usize);
    let integer = stack.sample_type().is_integer();
    let read = |region: Region| anyhow::Ok(into_f32(stack.read(region)?));
    let threshold = threshold_of_parts(shape, &parts, integer, recipe, read)?;
    let span = f64::from(high) - f64::from(low);
    Ok(Statistics { moments: running.finish(), threshold, span })
}

/// Ranges of planes that fit into memory.
fn slabs(stack: &OpenStack, memory_bytes: u64) -> Vec<Range<usize>> {
    let [depth, height, width] = stack.shape();
    let of_plane = reading_bytes(stack.sample_type()) * (height * width).max(1) as u64;
    let fit = ((memory_bytes / of_plane) as usize).clamp(1, depth.max(1));
    let at_once = stack.block()[0].max(1);
    let step = if fit > at_once { fit / at_once * at_once } else { fit };
    (0..depth).step_by(step).map(|first| first..(first + step).min(depth)).collect()
}

/// Boxes that have no more voxels than these together with what smoothing reaches around them.
fn parts(shape: Shape, recipe: OtsuRecipe, max_voxels: usize) -> Vec<Region> {
    let around = 2 * halo(recipe);
    let mut core = shape;
    let with_halo =
        |core: Shape| -> Shape { std::array::from_fn(|i| (core[i] + around).min(shape[i])) };
    while voxel_count(with_halo(core)) > max_voxels {
        let longest = (0..3).filter(|axis| core[*axis] > LEAST_SIDE).max_by_key(|axis| core[*axis]);
        let Some(axis) = longest else { break };
        core[axis] = core[axis].div_ceil(2);
    }
    boxes_of_blocks(shape, core, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_with_what_is_around_them() {
        let shape = [100, 700, 900];
        for recipe in [OtsuRecipe::Smooth, OtsuRecipe::Plain] {
            let found = parts(shape, recipe, 1_000_000);
            let around = 2 * halo(recipe);
            for part in &found {
                let largest: usize = part.shape.iter().map(|side| side + around).product();
                assert!(largest <= 2_000_000, "{part:?}");
            }
            let covered: usize = found.iter().map(|part| voxel_count(part.shape)).sum();
            assert_eq!(covered, voxel_count(shape));
        }
        assert_eq!(parts(shape, OtsuRecipe::Smooth, usize::MAX), [Region::whole(shape)]);
        assert!(parts(shape, OtsuRecipe::Smooth, 1).iter().all(|part| part.shape[0] <= 8));
    }
}
