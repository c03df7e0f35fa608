//! The last step to masks: small objects are removed, holes are filled plane by plane.

use crate::Volume;
use crate::label::{Connectivity, bounding_boxes, crop_object, fill, paste_object};

/// The faces of a plane that lead outside: its edges along y and x.
const SIDES: [[bool; 2]; 3] = [[false; 2], [true; 2], [true; 2]];

/// Removes objects of fewer than `min_voxels` voxels, fills holes of the others in each
/// plane across z (background in which no way over edges of pixels leads to the edge of the
/// plane) and numbers them 1, 2, 3 ... in the order of their labels.
///
/// A hole may hold voxels of other objects, which are overwritten; what is left of an object
/// when its turn comes is what counts. (`fill_holes_and_remove_small_masks` of Cellpose
/// 3.1.1.1.)
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, cellpose::fill_and_remove};
///
/// let ring = Volume::new([1, 3, 4], vec![5, 5, 5, 0, 5, 0, 5, 2, 5, 5, 5, 0]);
/// assert_eq!(fill_and_remove(&ring, 8).voxels, [1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0]);
/// ```
#[must_use]
pub fn fill_and_remove(labels: &Volume<u32>, min_voxels: usize) -> Volume<u32> {
    let mut masks = labels.clone();
    let mut number = 0;
    for (label, region) in bounding_boxes(labels) {
        let object = crop_object(&masks, label, region);
        let count = object.voxels.iter().filter(|inside| **inside).count();
        if count < min_voxels {
            paste_object(&mut masks, 0, region, &object);
        } else if count > 0 {
            number += 1;
            paste_object(&mut masks, number, region, &fill_planes(object));
        }
    }
    masks
}

fn fill_planes(mut object: Volume<bool>) -> Volume<bool> {
    let [depth, height, width] = object.shape;
    for z in 0..depth {
        let mut plane = Volume::new([1, height, width], object.plane(z).to_vec());
        if fill(&mut plane, usize::MAX, Connectivity::Faces, SIDES) {
            object.paste([z, 0, 0], &plane);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_no_holes() {
        let row = Volume::new([1, 1, 3], vec![3, 0, 3]);
        assert_eq!(fill_and_remove(&row, 0).voxels, [1, 0, 1]);
        let two = Volume::new([2, 2, 2], vec![3, 0, 3, 3, 0, 0, 9, 0]);
        assert_eq!(fill_and_remove(&two, 2).voxels, [1, 0, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn an_object_in_a_hole_is_overwritten() {
        let inside = |inner, outer| {
            Volume::from_fn([1, 3, 3], |p| if p == [0, 1, 1] { inner } else { outer })
        };
        assert_eq!(fill_and_remove(&inside(2, 1), 1).voxels, [1; 9]);
        assert_eq!(fill_and_remove(&inside(1, 2), 1).voxels, [2; 9]);
        assert_eq!(fill_and_remove(&inside(2, 1), 0).voxels, [1; 9]);
    }

    #[test]
    fn nothing_in_nothing_out() {
        let none = Volume::new([0, 4, 4], vec![]);
        assert_eq!(fill_and_remove(&none, 15), none);
        assert_eq!(fill_and_remove(&Volume::filled([2, 2, 2], 0), 15).voxels, [0; 8]);
        assert_eq!(fill_and_remove(&Volume::filled([2, 2, 2], 4), usize::MAX).voxels, [0; 8]);
    }
}
