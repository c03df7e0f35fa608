//! The numbered seeds of a mask whose distances to the background are in a store.

use super::runs::{Mask, RowsBuilder, crop};
use super::space::{Fault, Space, boxes_with_halo, common};
use super::store::Store;
use crate::Volume;
use crate::filter::Footprint;
use crate::grid::{Region, Shape, index_of, voxel_count};
use crate::label::{Components, Connectivity, Rows};
use crate::segment::peaks::{Surroundings, inner};
use crate::segment::{Peaks, Watershed, distinct_h_maxima};

/// Bytes that a voxel of a box takes while it is searched for seeds.
const SEARCHING: usize = 40;

/// The same where seeds are maxima of a height.
const RISING: usize = 24;

/// A voxel's opening depends on others this far away.
const OPENING: usize = 2;

/// Part of the work before and after.
const PARTS: [f64; 2] = [0.9, 0.95];

/// The seeds, grown and joined where they touch; their numbers are those of the components.
pub(super) fn seeds<E>(
    distance: &Store<'_, f32, E>,
    mask: &Mask,
    options: &Watershed,
    space: &Space<'_, E>,
) -> Result<Components, Fault<E>> {
    let seeds = if options.seed_height > 0.0 {
        high_seeds(distance, mask, options, space)?
    } else {
        seeds_in_ball(distance, mask, options, space)?
    };
    let shape = mask.shape;
    let grown = grow(&seeds, shape, options.seed_dilation, space)?;
    Ok(Mask { shape, rows: grown }.components(Connectivity::Corners))
}

/// The places furthest from the background in a ball around them, in raster order.
fn seeds_in_ball<E>(
    distance: &Store<'_, f32, E>,
    mask: &Mask,
    options: &Watershed,
    space: &Space<'_, E>,
) -> Result<Vec<usize>, Fault<E>> {
    let peaks = Peaks {
        footprint: Footprint::ball(options.ball_radius),
        // Every voxel of the mask lies higher than the background.
        threshold: Some(0.0),
        margin: options.seed_margin,
        ..Peaks::default()
    };
    let (mut seeds, mut any_other) = (Vec::new(), false);
    search(
        distance,
        mask,
        options,
        options.ball_radius,
        space,
        |surroundings| {
            let (maxima, others) = surroundings.maxima(&peaks);
            any_other |= others;
            maxima
        },
        &mut seeds,
    )?;
    if !any_other {
        seeds.clear();
        search(distance, mask, options, OPENING, space, |around| around.unopened(), &mut seeds)?;
    }
    seeds.sort_unstable();
    Ok(seeds)
}

/// Calls a function with every box and what is around it, and collects the places it finds.
fn search<E>(
    distance: &Store<'_, f32, E>,
    mask: &Mask,
    options: &Watershed,
    halo: usize,
    space: &Space<'_, E>,
    mut find: impl FnMut(&Surroundings<'_>) -> Vec<[usize; 3]>,
    seeds: &mut Vec<usize>,
) -> Result<(), Fault<E>> {
    let shape = mask.shape;
    let inner = inner(shape, options.seed_margin);
    let regions = boxes_with_halo(shape, halo.max(1), space.working_bytes() / SEARCHING);
    for (done, core) in regions.iter().enumerate() {
        space.tell_within(PARTS, done, regions.len());
        let core = common(*core, inner);
        if voxel_count(core.shape) == 0 || mask.is_empty_in(core) {
            continue;
        }
        let region = core.grown(halo.max(1), shape);
        let found = find(&Surroundings {
            image: &distance.read(region)?,
            mask: &mask.crop(region),
            core: core.seen_from(region),
            inner: common(region, inner).seen_from(region),
        });
        seeds.extend(found.into_iter().map(|place| offset(shape, region, place)));
        let bytes = (seeds.len() * size_of::<usize>()) as u64;
        space.check(2 * bytes, "the seeds", None)?;
    }
    Ok(())
}

/// The maxima of the distance that rise by the height, in raster order.
///
/// All ways between two parts of the mask that do not touch lead over the background, which lies
/// at 0: each part is done by itself.
fn high_seeds<E>(
    distance: &Store<'_, f32, E>,
    mask: &Mask,
    options: &Watershed,
    space: &Space<'_, E>,
) -> Result<Vec<usize>, Fault<E>> {
    let shape = mask.shape;
    let inner = inner(shape, options.seed_margin);
    let copy = Mask { shape, rows: mask.rows.clone() };
    let parts = copy.components(Connectivity::Corners);
    let mut seeds = Vec::new();
    for (part, own) in boxes_of(&parts, shape).into_iter().enumerate() {
        space.tell_within(PARTS, part, parts.count);
        let region = own.grown(1, shape);
        let needed = (RISING * voxel_count(region.shape)) as u64;
        space.check(needed, "the voxels of a piece of the foreground", Some(region))?;
        let here = crop(&parts.rows, shape, region, |run| parts.component[run] as usize == part);
        let known = common(region, inner).seen_from(region);
        let mut hills = Volume::filled(region.shape, 0.0);
        hills.paste(known.start, &distance.read(region)?.crop(known));
        let voxels = hills.voxels.iter_mut().zip(&here.voxels);
        voxels.filter(|(_, here)| !**here).for_each(|(height, _)| *height = 0.0);
        let maxima = distinct_h_maxima(&hills, options.seed_height, Connectivity::Corners);
        let found = maxima.voxels.iter().enumerate().filter(|(_, is_maximum)| **is_maximum);
        let places = found.map(|(voxel, _)| index_of(region.shape, voxel));
        seeds.extend(places.map(|place| offset(shape, region, place)));
    }
    seeds.sort_unstable();
    Ok(seeds)
}

/// The box around each component.
fn boxes_of(parts: &Components, shape: Shape) -> Vec<Region> {
    let mut corners = vec![[[usize::MAX; 3], [0; 3]]; parts.count];
    for row in 0..shape[0] * shape[1] {
        for run in parts.rows.of(row) {
            let [first, stop] = &mut corners[parts.component[run] as usize];
            let [from, to] = parts.rows.runs[run].map(|x| x as usize);
            let (z, y) = (row / shape[1], row % shape[1]);
            *first = [first[0].min(z), first[1].min(y), first[2].min(from)];
            *stop = [stop[0].max(z + 1), stop[1].max(y + 1), stop[2].max(to)];
        }
    }
    let region = |[start, stop]: [[usize; 3]; 2]| Region {
        start,
        shape: std::array::from_fn(|axis| stop[axis] - start[axis]),
    };
    corners.into_iter().map(region).collect()
}

/// The place in raster order of a voxel of a box.
fn offset(shape: Shape, region: Region, place: [usize; 3]) -> usize {
    let [z, y, x]: [usize; 3] = std::array::from_fn(|axis| region.start[axis] + place[axis]);
    (z * shape[1] + y) * shape[2] + x
}

/// Dilates seeds, which are in raster order, by a ball.
fn grow<E>(
    seeds: &[usize],
    shape: Shape,
    radius: usize,
    space: &Space<'_, E>,
) -> Result<Rows, Fault<E>> {
    let [depth, height, width] = shape;
    let ball = Footprint::ball(radius).rows;
    let mut rows = RowsBuilder::default();
    let mut plane = Volume::filled([1, height, width], false);
    for z in 0..depth {
        plane.voxels.fill(false);
        let size = height * width;
        let first = seeds.partition_point(|seed| *seed < z.saturating_sub(radius) * size);
        let stop = seeds.partition_point(|seed| *seed < (z + radius + 1).min(depth) * size);
        for seed in &seeds[first..stop] {
            let [from, y, x] = index_of(shape, *seed);
            for row in ball.iter().filter(|row| from.checked_add_signed(row.z) == Some(z)) {
                let Some(y) = y.checked_add_signed(row.y).filter(|y| *y < height) else { continue };
                let start = x.saturating_add_signed(row.x[0]);
                let stop = (x + row.x[1] as usize + 1).min(width);
                plane.voxels[y * width + start..y * width + stop].fill(true);
            }
        }
        rows.extend(&plane);
        space.check(2 * rows.bytes(), "the outlines of the seeds", None)?;
    }
    Ok(rows.finish())
}
