//! Removing what the edge of the image cuts.

use super::{Components, Connectivity};
use crate::Volume;

/// Sets objects that come within a distance of the edge to 0; the others keep their labels.
///
/// `buffer_voxels` is that distance along (z, y, x): 0 removes what touches the edge, 1 also
/// what lies one voxel away from it; edges of an axis with `None` do not count. An object is
/// a connected component (26 neighbours) of equal labels, so that of a label in two parts
/// one may stay. (`skimage.segmentation.clear_border`.)
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, label::clear_border};
///
/// let labels = Volume::new([1, 1, 5], vec![1, 0, 2, 0, 0]);
/// assert_eq!(clear_border(&labels, [None, None, Some(0)]).voxels, [0, 0, 2, 0, 0]);
/// ```
#[must_use]
pub fn clear_border(labels: &Volume<u32>, buffer_voxels: [Option<usize>; 3]) -> Volume<u32> {
    let objects = Components::of(labels, Connectivity::Corners, |label| label);
    let [_, height, width] = labels.shape;
    let mut reaches = vec![false; objects.count];
    let near = |axis: usize, start: usize, stop: usize| {
        let length = labels.shape[axis];
        buffer_voxels[axis].is_some_and(|buffer| start <= buffer || stop + buffer >= length)
    };
    objects.for_each_run(|object, voxels| {
        let row = voxels.start / width;
        let (z, y) = (row / height, row % height);
        let (start, stop) = (voxels.start - row * width, voxels.end - row * width);
        reaches[object] |= near(0, z, z + 1) || near(1, y, y + 1) || near(2, start, stop);
    });
    let mut cleared = labels.clone();
    objects.for_each_run(|object, voxels| {
        if reaches[object] {
            cleared.voxels[voxels].fill(0);
        }
    });
    cleared
}
