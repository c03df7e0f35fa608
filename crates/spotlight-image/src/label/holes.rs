//! Filling holes of a mask.

use super::{Components, Connectivity};
use crate::{Shape, Volume};

/// Fills all that is enclosed: background that no way over the faces of voxels leads from
/// to the edge of the volume. (`scipy.ndimage.binary_fill_holes`.)
///
/// An axis of one voxel is taken for none: of one plane, holes in the plane are filled.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, label::fill_holes};
///
/// let ring = |p: [usize; 3]| p != [0, 1, 1];
/// let filled = fill_holes(&Volume::from_fn([1, 3, 3], ring));
/// assert!(filled.voxels.iter().all(|voxel| *voxel));
/// ```
#[must_use]
pub fn fill_holes(mask: &Volume<bool>) -> Volume<bool> {
    let mut filled = mask.clone();
    fill(&mut filled, usize::MAX, Connectivity::Faces, all_faces(mask.shape));
    filled
}

/// Fills components of the background that have fewer than `min_voxels` voxels, at the
/// edge of the volume too. (`skimage.morphology.remove_small_holes` with a `max_size` of
/// `min_voxels - 1`.)
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::label::{Connectivity, fill_small_holes};
///
/// let mask = Volume::new([1, 1, 6], vec![true, false, true, false, false, true]);
/// let filled = fill_small_holes(&mask, 2, Connectivity::Faces);
/// assert_eq!(filled.voxels, [true, true, true, false, false, true]);
/// ```
#[must_use]
pub fn fill_small_holes(
    mask: &Volume<bool>,
    min_voxels: usize,
    connectivity: Connectivity,
) -> Volume<bool> {
    let mut filled = mask.clone();
    fill(&mut filled, min_voxels, connectivity, [[false; 2]; 3]);
    filled
}

/// The faces of a volume, all but those of an axis of one voxel (if there is another axis).
pub(super) fn all_faces(shape: Shape) -> [[bool; 2]; 3] {
    shape.map(|length| [length > 1 || shape == [1; 3]; 2])
}

/// Fills components of the background with fewer than `min_voxels` voxels, but none that
/// reaches one of the faces of the volume (first and last along each axis) that lead
/// outside. Returns whether it filled any.
pub(crate) fn fill(
    mask: &mut Volume<bool>,
    min_voxels: usize,
    connectivity: Connectivity,
    outside: [[bool; 2]; 3],
) -> bool {
    let holes = Components::of(mask, connectivity, |voxel: bool| !voxel);
    let mut fillable: Vec<bool> =
        holes.voxel_counts().into_iter().map(|count| count < min_voxels).collect();
    let [depth, height, width] = mask.shape;
    holes.for_each_run(|hole, voxels| {
        let row = voxels.start / width;
        let at = |index: usize, length: usize, [first, last]: [bool; 2]| {
            (first && index == 0) || (last && index + 1 == length)
        };
        let reaches = at(row / height, depth, outside[0])
            || at(row % height, height, outside[1])
            || at(voxels.start - row * width, width, [outside[2][0], false])
            || at(voxels.end - 1 - row * width, width, [false, outside[2][1]]);
        fillable[hole] &= !reaches;
    });
    let any = fillable.contains(&true);
    if any {
        holes.for_each_run(|hole, voxels| {
            if fillable[hole] {
                mask.voxels[voxels].fill(true);
            }
        });
    }
    any
}
