//! Stretching and equalising a stack that is read box by box.

use super::reduce::{Levels, reduce};
use super::space::{Boxes, Fault, Space, boxes};
use super::store::Store;
use crate::Volume;
use crate::filter::{
    Stretching, TileCounts, bin_of, bin_of_values, count_lower, count_upper, from_ordered,
    interpolate, joined, ordered, percentile, places, ranks_of, to_u16,
};
use crate::grid::{Region, Shape, voxel_count};
use crate::segment::{Watershed, reduced_shape};

/// Bytes that a voxel of a box takes while it is read and counted.
const READING: usize = 16;

/// Parts of the work that end after each pass over the stack, and after the equalisation.
const PARTS: [f64; 5] = [0.0, 0.12, 0.24, 0.36, 0.5];

/// [`prepare`](super::super::prepare) into a store.
pub(super) fn prepare<'a, E>(
    stack: &impl Boxes<E>,
    options: &Watershed,
    space: &'a Space<'a, E>,
) -> Result<Store<'a, f32, E>, Fault<E>> {
    let shape = stack.shape();
    let tile: Shape =
        std::array::from_fn(|axis| (shape[axis] / options.clahe_divisors[axis]).max(1));
    let tiles: usize = (0..3).map(|axis| shape[axis].div_ceil(tile[axis])).product();
    let tables = (tiles * options.clahe_bins * (size_of::<usize>() + size_of::<u16>())) as u64;
    space.check(tables, "the histograms of the tiles (prepare.clahe_divisors)", None)?;

    let regions = boxes(shape, stack.block(), space.working_bytes() / READING);
    let (counts, [lowest, highest]) = upper_halves(stack, &regions, space)?;
    let limits = percentiles(stack, &regions, &counts, options.stretch_percent, space)?;
    let stretching = Stretching::new(limits);
    let reduced = reduced_shape(shape, options.scale);
    if stretching.apply(highest) <= 0.0 {
        return Ok(Store::new(reduced, space)?);
    }
    // Neither map ever turns the order of two voxels, so the range is that of the ends.
    let [low, high] = [lowest, highest].map(|voxel| to_u16(stretching.apply(voxel)));
    let bin_of = bin_of_values(low, high, options.clahe_bins);
    let levels: Store<'_, u16, E> = Store::new(shape, space)?;
    let mut counts = TileCounts::new(shape, tile, options.clahe_bins);
    for (done, region) in regions.iter().enumerate() {
        space.tell_within([PARTS[2], PARTS[3]], done, regions.len());
        let bin = |voxel: f32| bin_of[usize::from(to_u16(stretching.apply(voxel)) - low)];
        let bins = stack.read(*region)?.map(|voxel| bin(*voxel));
        counts.add(&bins, region.start);
        levels.write(region.start, &bins)?;
    }
    let tables = counts.tables(options.clahe_clip_limit);
    let places = places(shape, tile);
    let mut range = [u16::MAX, 0];
    let regions = boxes(shape, [1, 1, shape[2]], space.working_bytes() / READING);
    for (done, region) in regions.iter().enumerate() {
        space.tell_within([PARTS[3], PARTS[4]], done, regions.len());
        let bins = levels.read(*region)?;
        let mut equalised = Volume::filled(region.shape, 0.0);
        interpolate(&bins, region.start, &places, &tables, &mut equalised);
        // They are whole, and as low as the grey levels of the equalisation.
        let equalised = equalised.map(|level| *level as u16);
        for level in &equalised.voxels {
            range = [range[0].min(*level), range[1].max(*level)];
        }
        levels.write(region.start, &equalised)?;
    }
    reduce(Levels { store: levels, range: range.map(f32::from) }, reduced, space)
}

/// How many voxels have each upper half of the bits, and the lowest and the highest voxel.
fn upper_halves<E>(
    stack: &impl Boxes<E>,
    regions: &[Region],
    space: &Space<'_, E>,
) -> Result<(Vec<usize>, [f32; 2]), Fault<E>> {
    let mut counts: Vec<usize> = Vec::new();
    let mut range = [u32::MAX, 0];
    for (done, region) in regions.iter().enumerate() {
        space.tell_within([PARTS[0], PARTS[1]], done, regions.len());
        let part = stack.read(*region)?;
        let finite = part.voxels.iter().all(|voxel| voxel.is_finite());
        assert!(finite, "segmentation needs finite voxels");
        for voxel in &part.voxels {
            let key = ordered(*voxel);
            range = [range[0].min(key), range[1].max(key)];
        }
        add(&mut counts, count_upper(&part.voxels));
    }
    Ok((counts, range.map(from_ordered)))
}

/// Two percentiles, by the lower halves of the bits of the voxels around them.
fn percentiles<E>(
    stack: &impl Boxes<E>,
    regions: &[Region],
    upper: &[usize],
    percents: [f64; 2],
    space: &Space<'_, E>,
) -> Result<[f64; 2], Fault<E>> {
    let count = voxel_count(stack.shape());
    let ranks = percents.map(|percent| ranks_of(percent, count));
    let ranks = ranks.iter().flat_map(|(rank, next)| [Some(*rank), next.map(|(rank, _)| rank)]);
    let mut halves: Vec<u32> = ranks.flatten().map(|rank| bin_of(upper, rank).0).collect();
    halves.sort_unstable();
    halves.dedup();
    let mut lower: Vec<Vec<usize>> = vec![Vec::new(); halves.len()];
    for (done, region) in regions.iter().enumerate() {
        space.tell_within([PARTS[1], PARTS[2]], done, regions.len());
        let part = stack.read(*region)?;
        for (half, counts) in halves.iter().zip(&mut lower) {
            add(counts, count_lower(&part.voxels, *half));
        }
    }
    let nth = |rank: usize| {
        let (half, rest) = bin_of(upper, rank);
        let counts = halves.binary_search(&half).map_or(&[][..], |at| &lower[at]);
        joined(half, bin_of(counts, rest).0)
    };
    Ok(percents.map(|percent| percentile(percent, count, nth)))
}

/// Adds counts to others.
fn add(counts: &mut Vec<usize>, more: Vec<usize>) {
    if counts.is_empty() {
        *counts = more;
    } else {
        counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
    }
}
