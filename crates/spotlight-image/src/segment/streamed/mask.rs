//! The foreground of a prepared stack that is in a store, as runs.

use super::runs::{Mask, RowsBuilder};
use super::space::{Fault, Space, boxes_with_halo, slabs};
use super::store::Store;
use crate::filter::median_cube;
use crate::foreground::otsu_of_parts;
use crate::label::Connectivity;
use crate::segment::Watershed;

/// Bytes that a voxel of a box takes while its median is found.
const SMOOTHING: usize = 20;

/// So many times the outlines of the mask are in memory, as runs of the mask and of what is not.
const OUTLINES: u64 = 4;

/// Parts of the work before and after.
const PARTS: [f64; 2] = [0.7, 0.85];

/// The median of a stack.
pub(super) fn smooth<'a, E>(
    prepared: Store<'a, f32, E>,
    options: &Watershed,
    space: &'a Space<'a, E>,
) -> Result<Store<'a, f32, E>, Fault<E>> {
    if options.median_size == 1 {
        return Ok(prepared);
    }
    let (shape, halo) = (prepared.shape, options.median_size / 2);
    let smooth = Store::new(shape, space)?;
    let regions = boxes_with_halo(shape, halo, space.working_bytes() / SMOOTHING);
    for (done, core) in regions.iter().enumerate() {
        space.tell_within(PARTS, done, regions.len());
        let region = core.grown(halo, shape);
        let medians = median_cube(&prepared.read(region)?, options.median_size);
        smooth.write(core.start, &medians.crop(core.seen_from(region)))?;
    }
    Ok(smooth)
}

/// The voxels above Otsu's threshold, without small holes.
pub(super) fn foreground<E>(
    smooth: Store<'_, f32, E>,
    options: &Watershed,
    space: &Space<'_, E>,
) -> Result<Mask, Fault<E>> {
    let shape = smooth.shape;
    let regions = slabs(shape, 0, space.working_bytes() / SMOOTHING);
    let threshold = threshold(&smooth, options.threshold_bins, space)?;
    let mut rows = RowsBuilder::default();
    for region in regions {
        let part = smooth.read(region)?;
        rows.extend(&part.map(|voxel| f64::from(*voxel) > threshold));
        space.check(OUTLINES * rows.bytes(), "the outlines of the foreground", None)?;
    }
    drop(smooth);
    Ok(without_small_holes(Mask { shape, rows: rows.finish() }, options.hole_voxels))
}

/// Otsu's threshold of a stack.
fn threshold<E>(
    smooth: &Store<'_, f32, E>,
    bins: usize,
    space: &Space<'_, E>,
) -> Result<f64, Fault<E>> {
    let regions = slabs(smooth.shape, 0, space.working_bytes() / SMOOTHING);
    otsu_of_parts(bins, &mut |see| {
        for region in &regions {
            see(&smooth.read(*region)?.voxels);
        }
        Ok(())
    })
}

/// Fills components of the background with fewer voxels than a number.
fn without_small_holes(mask: Mask, min_voxels: usize) -> Mask {
    let shape = mask.shape;
    let holes = mask.complement().components(Connectivity::Faces);
    let counts = holes.voxel_counts();
    if counts.iter().all(|count| *count >= min_voxels) {
        return mask;
    }
    drop(mask);
    let mut background = RowsBuilder::default();
    for row in 0..shape[0] * shape[1] {
        for run in holes.rows.of(row) {
            if counts[holes.component[run] as usize] >= min_voxels {
                background.push(holes.rows.runs[run]);
            }
        }
        background.end_row();
    }
    Mask { shape, rows: background.finish() }.complement()
}
