//! The distance of each voxel of a mask to the background, in a store.

use super::runs::Mask;
use super::space::{Fault, Space, slabs};
use super::store::Store;
use crate::filter::{across_planes, squared_in_planes};

/// Bytes that a voxel of a slab takes meanwhile.
const BYTES: usize = 16;

/// Parts of the work before, between and after.
const PARTS: [f64; 3] = [0.85, 0.87, 0.9];

/// The distances of [`distance_transform`](crate::filter::distance_transform) in voxels: first in
/// planes, then in columns.
pub(super) fn distance<'a, E>(
    mask: &Mask,
    space: &'a Space<'a, E>,
) -> Result<Store<'a, f32, E>, Fault<E>> {
    let store = Store::new(mask.shape, space)?;
    let planes = slabs(mask.shape, 0, space.working_bytes() / BYTES);
    for (done, region) in planes.iter().enumerate() {
        space.tell_within([PARTS[0], PARTS[1]], done, planes.len());
        store.write(region.start, &squared_in_planes(&mask.crop(*region), [1.0; 3]))?;
    }
    let columns = slabs(mask.shape, 1, space.working_bytes() / BYTES);
    for (done, region) in columns.iter().enumerate() {
        space.tell_within([PARTS[1], PARTS[2]], done, columns.len());
        if mask.is_empty_in(*region) {
            continue;
        }
        let mut squared = store.read(*region)?;
        across_planes(&mut squared, 1.0);
        store.write(region.start, &squared)?;
    }
    Ok(store)
}
