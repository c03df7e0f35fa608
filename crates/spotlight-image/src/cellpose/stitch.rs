//! Joining objects of planes to objects of a stack.
//!
//! An object of a plane takes over the number of the object in the plane before with which
//! its intersection over union is largest, if that is at least a threshold and no other
//! object of its plane does better there; else it gets a new number.
//!
//! The same as `stitch3D` of Cellpose 3.1.1.1, but for one thing: where the first planes hold
//! objects and an empty one follows before any two planes have been joined, the reference
//! begins again at 1 after it and so gives one number to objects that have nothing in
//! common. Here every new object has a new number.

use std::collections::BTreeMap;

use crate::Volume;
use crate::label::voxel_counts;

/// Joins the objects of each plane to those of the plane before it.
///
/// Labels need to be unique in their plane only. Of two objects that overlap one before
/// equally well both are joined to it.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, cellpose::stitch};
///
/// let planes = Volume::new([2, 1, 5], vec![1, 1, 0, 2, 2, 2, 2, 0, 0, 1]);
/// assert_eq!(stitch(&planes, 0.25).voxels, [1, 1, 0, 2, 2, 1, 1, 0, 0, 2]);
/// ```
#[must_use]
pub fn stitch(planes: &Volume<u32>, threshold: f64) -> Volume<u32> {
    let mut stitched = planes.clone();
    let [depth, height, width] = planes.shape;
    let size = height * width;
    let mut largest = 0;
    for z in 0..depth {
        let (done, rest) = stitched.voxels.split_at_mut(z * size);
        let plane = &mut rest[..size];
        let mut number = if z == 0 {
            plane.iter().map(|label| (*label, *label)).collect()
        } else {
            partners(&done[(z - 1) * size..], plane, [height, width], threshold)
        };
        for label in plane.iter() {
            number.entry(*label).or_insert(0);
        }
        number.remove(&0);
        for partner in number.values_mut().filter(|partner| **partner == 0) {
            largest += 1;
            *partner = largest;
        }
        number.insert(0, 0);
        plane.iter_mut().for_each(|label| *label = number[label]);
        largest = plane.iter().copied().fold(largest, u32::max);
    }
    stitched
}

/// The object before that each object of a plane is joined to.
fn partners(
    before: &[u32],
    plane: &[u32],
    [height, width]: [usize; 2],
    threshold: f64,
) -> BTreeMap<u32, u32> {
    let sizes = |labels: &[u32]| voxel_counts(&Volume::new([1, height, width], labels.to_vec()));
    let (old_sizes, new_sizes) = (sizes(before), sizes(plane));
    let mut overlaps: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for (old, new) in before.iter().zip(plane).filter(|(old, new)| **old != 0 && **new != 0) {
        *overlaps.entry((*new, *old)).or_insert(0) += 1;
    }
    let union = |new, old, both: usize| new_sizes[&new] + old_sizes[&old] - both;
    let ious: Vec<(u32, u32, f64)> = overlaps
        .into_iter()
        .map(|((new, old), both)| (new, old, both as f64 / union(new, old, both) as f64))
        .filter(|(_, _, iou)| *iou >= threshold)
        .collect();
    let mut best_of_old: BTreeMap<u32, f64> = BTreeMap::new();
    for (_, old, iou) in &ious {
        let best = best_of_old.entry(*old).or_insert(0.0);
        *best = best.max(*iou);
    }
    let mut best_of_new: BTreeMap<u32, (u32, f64)> = BTreeMap::new();
    for (new, old, iou) in ious.into_iter().filter(|(_, old, iou)| *iou >= best_of_old[old]) {
        let best = best_of_new.entry(new).or_insert((old, iou));
        // Of equal ones the first.
        if iou > best.1 {
            *best = (old, iou);
        }
    }
    best_of_new.into_iter().map(|(new, (old, _))| (new, old)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(width: usize, planes: &[u32], threshold: f64, expected: &[u32]) {
        let planes = Volume::new([planes.len() / width, 1, width], planes.to_vec());
        assert_eq!(stitch(&planes, threshold).voxels, expected);
    }

    #[test]
    fn the_best_overlap_wins() {
        check(4, &[1, 1, 1, 1, 1, 1, 1, 2], 0.2, &[1, 1, 1, 1, 1, 1, 1, 2]);
        check(4, &[1, 1, 1, 1, 1, 1, 2, 2], 0.2, &[1, 1, 1, 1, 1, 1, 1, 1]);
        check(4, &[1, 1, 2, 2, 1, 1, 1, 1], 0.2, &[1, 1, 2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn thresholds_without_end() {
        check(2, &[1, 1, 1, 1], f64::INFINITY, &[1, 1, 2, 2]);
        check(2, &[1, 0, 1, 1], f64::NEG_INFINITY, &[1, 0, 1, 1]);
    }

    #[test]
    fn after_an_empty_plane_all_are_new() {
        // The reference gives 1 to the last object, too.
        check(2, &[1, 0, 0, 0, 0, 1], 0.25, &[1, 0, 0, 0, 0, 2]);
        check(2, &[0, 0, 0, 1], 0.25, &[0, 0, 0, 1]);
        check(2, &[], 0.25, &[]);
    }
}
