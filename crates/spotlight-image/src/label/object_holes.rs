//! Filling the holes of each object of a label image.
//!
//! What is a hole of one object may hold voxels of another; they are overwritten. Objects
//! are treated in the order of their labels.

use super::holes::{all_faces, fill};
use super::{Connectivity, bounding_boxes};
use crate::grid::{Region, voxel_count};
use crate::{Shape, Volume};

/// Fills all that an object encloses. (`cubic`'s `fill_label_holes`, after StarDist.)
///
/// An axis of one voxel is taken for none, as in [`fill_holes`](super::fill_holes).
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, label::fill_object_holes};
///
/// let ring = |p: [usize; 3]| if p == [0, 1, 1] { 0 } else { 5 };
/// let filled = fill_object_holes(&Volume::from_fn([1, 3, 3], ring));
/// assert!(filled.voxels.iter().all(|label| *label == 5));
/// ```
#[must_use]
pub fn fill_object_holes(labels: &Volume<u32>) -> Volume<u32> {
    let outside = all_faces(labels.shape);
    let mut filled = labels.clone();
    for (label, region) in bounding_boxes(labels) {
        let mut object = crop_object(labels, label, region);
        // Where the box of an object touches the edge of the image, that is outside, too.
        fill(&mut object, usize::MAX, Connectivity::Faces, outside);
        paste_object(&mut filled, label, region, &object);
    }
    filled
}

/// Fills holes of objects that have fewer than `min_voxels` voxels.
///
/// A hole is a component (6 neighbours) of all that does not bear the label, at the edge of
/// the image too: `skimage.morphology.remove_small_holes` of one label after the other.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, label::fill_small_object_holes};
///
/// let labels = Volume::new([1, 1, 7], vec![1, 1, 0, 1, 0, 0, 2]);
/// assert_eq!(fill_small_object_holes(&labels, 2).voxels, [1, 1, 1, 1, 0, 0, 2]);
/// ```
#[must_use]
pub fn fill_small_object_holes(labels: &Volume<u32>, min_voxels: usize) -> Volume<u32> {
    let mut filled = labels.clone();
    for (label, region) in bounding_boxes(labels) {
        // Larger than the object if others have filled a part of it: that does no harm.
        let region = searched(region, labels.shape, min_voxels);
        let mut object = crop_object(&filled, label, region);
        let outside = open_faces(region, labels.shape);
        if object.voxels.contains(&true)
            && fill(&mut object, min_voxels, Connectivity::Faces, outside)
        {
            paste_object(&mut filled, label, region, &object);
        }
    }
    filled
}

/// Fills holes of fewer than `min_voxels` voxels in each object plane by plane: first in
/// the planes across z, then in those across y, then across x.
///
/// A hole is a component (4 neighbours) of all in the plane that does not bear the label,
/// at the edge of the plane too. (`cubic`'s `fill_holes_slicer`.)
#[must_use]
pub fn fill_object_holes_in_planes(labels: &Volume<u32>, min_voxels: usize) -> Volume<u32> {
    let mut filled = labels.clone();
    for (label, region) in bounding_boxes(labels) {
        let mut region = region;
        for axis in 0..3 {
            let (mut flat, mut shape) = (region, labels.shape);
            (flat.start[axis], flat.shape[axis], shape[axis]) = (0, 1, 1);
            // A small plane is a hole even if it has nothing of the object.
            let small = voxel_count(shape) < min_voxels;
            if small || searched(flat, shape, min_voxels) != flat {
                region = Region::whole(labels.shape);
            }
        }
        let mut object = crop_object(&filled, label, region);
        for axis in 0..3 {
            let mut outside = open_faces(region, labels.shape);
            outside[axis] = [false; 2];
            let mut plane = Region::whole(object.shape);
            plane.shape[axis] = 1;
            for index in 0..object.shape[axis] {
                plane.start[axis] = index;
                let mut part = object.crop(plane);
                if fill(&mut part, min_voxels, Connectivity::Faces, outside) {
                    object.paste(plane.start, &part);
                }
            }
        }
        paste_object(&mut filled, label, region, &object);
    }
    filled
}

/// Where to search for holes of fewer than `min_voxels` voxels of an object in this box:
/// there, if all beyond the box hangs together in larger pieces, and everywhere if not.
pub(crate) fn searched(region: Region, shape: Shape, min_voxels: usize) -> Region {
    let open = |axis: &usize| region.shape[*axis] < shape[*axis];
    let open: Vec<usize> = (0..3).filter(open).collect();
    let smallest = match open.as_slice() {
        [] => return region,
        [axis] => {
            let plane = voxel_count(shape) / shape[*axis];
            let before = region.start[*axis];
            let after = shape[*axis] - region.stop()[*axis];
            let pieces = [before, after].into_iter().filter(|planes| *planes > 0);
            pieces.min().map_or(0, |planes| planes * plane)
        }
        _ => voxel_count(shape) - voxel_count(region.shape),
    };
    if smallest < min_voxels { Region::whole(shape) } else { region }
}

/// The faces of a box that are not faces of the volume.
pub(crate) fn open_faces(region: Region, shape: Shape) -> [[bool; 2]; 3] {
    std::array::from_fn(|axis| [region.start[axis] > 0, region.stop()[axis] < shape[axis]])
}

/// The voxels of a region that bear a label.
pub(crate) fn crop_object(labels: &Volume<u32>, label: u32, region: Region) -> Volume<bool> {
    labels.crop(region).map(|voxel| *voxel == label)
}

/// Gives a label to the voxels of a region that are an object's.
pub(crate) fn paste_object(
    labels: &mut Volume<u32>,
    label: u32,
    region: Region,
    object: &Volume<bool>,
) {
    let width = region.shape[2];
    for (row, voxels) in object.voxels.chunks_exact(width).enumerate() {
        let (z, y) = (row / region.shape[1], row % region.shape[1]);
        let start = [region.start[0] + z, region.start[1] + y, region.start[2]];
        let first = labels.offset(start);
        for (voxel, inside) in labels.voxels[first..first + width].iter_mut().zip(voxels) {
            if *inside {
                *voxel = label;
            }
        }
    }
}
