//! Euler number of an object: its pieces, less its tunnels, plus its cavities.
//!
//! The union of closed unit cubes has the Euler characteristic V − E + F − C, vertices less
//! edges plus faces less cubes, where each counts once however many voxels share it. Closed
//! cubes that share only a corner are connected: this is connectivity 26. Every vertex, edge
//! and face is counted at the 2×2×2 neighbourhood of its lowest vertex, so the number is a sum
//! over neighbourhoods of a function of their pattern.
//!
//! References:
//! - J. Ohser, W. Nagel, K. Schladitz (2002), "The Euler number of discretized sets".
//! - `skimage.measure.euler_number` of scikit-image 0.26, connectivity 3.

use super::cell::for_each_mixed_cell;
use crate::Volume;

/// What a neighbourhood of each pattern adds.
const CONTRIBUTIONS: [i64; 256] = contributions();

/// Euler number of a mask with connectivity 26.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, measure::euler_number};
///
/// let ring = Volume::new([1, 3, 3], vec![true, true, true, true, false, true, true, true, true]);
/// assert_eq!(euler_number(&ring), 0);
/// let shell = Volume::from_fn([3, 3, 3], |position| position != [1, 1, 1]);
/// assert_eq!(euler_number(&shell), 2);
/// ```
#[must_use]
pub fn euler_number(mask: &Volume<bool>) -> i64 {
    let mut total = 0;
    // A full neighbourhood adds 1 − 3 + 3 − 1 = 0, an empty one nothing.
    for_each_mixed_cell(mask, |_, pattern| total += CONTRIBUTIONS[usize::from(pattern)]);
    total
}

const fn contributions() -> [i64; 256] {
    /// Voxels on the upper side along z, y and x.
    const UPPER: [usize; 3] = [0b1111_0000, 0b1100_1100, 0b1010_1010];
    let mut table = [0; 256];
    let mut pattern = 1;
    while pattern < 256 {
        let vertex = 1;
        let mut edges = 0;
        let mut faces = 0;
        let mut axis = 0;
        while axis < 3 {
            // The edge upwards along an axis has four voxels, the face along two axes two.
            edges += (pattern & UPPER[axis] != 0) as i64;
            faces += (pattern & UPPER[axis] & UPPER[(axis + 1) % 3] != 0) as i64;
            axis += 1;
        }
        let cube = (pattern & 0b1000_0000 != 0) as i64;
        table[pattern] = vertex - edges + faces - cube;
        pattern += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::noise;
    use super::*;

    /// Counts the distinct elements of the union of closed cubes.
    fn oracle(mask: &Volume<bool>) -> i64 {
        let mut elements = BTreeSet::new();
        for (i, _) in mask.voxels.iter().enumerate().filter(|(_, inside)| **inside) {
            let [_, height, width] = mask.shape;
            let voxel = [i / width / height, i / width % height, i % width];
            // Elements of a cube by their centres in half voxels: odd along an axis they span.
            for part in 0..27 {
                let offset = [part / 9, part / 3 % 3, part % 3];
                elements.insert([0, 1, 2].map(|a| 2 * voxel[a] + offset[a]));
            }
        }
        let sign = |e: &[usize; 3]| if e.iter().sum::<usize>() % 2 == 0 { 1 } else { -1 };
        elements.iter().map(sign).sum()
    }

    #[test]
    fn euler_number_equals_the_count_of_elements() {
        for seed in 0..40 {
            let mask = noise([4, 5, 6], seed, 2 * seed as u64 + 10);
            assert_eq!(euler_number(&mask), oracle(&mask), "{seed}");
        }
    }

    #[test]
    fn two_voxels_that_share_a_corner_are_one_piece() {
        let diagonal = Volume::from_fn([2, 2, 2], |[z, y, x]| z == y && y == x);
        assert_eq!(euler_number(&diagonal), 1);
        let apart = Volume::new([1, 1, 3], vec![true, false, true]);
        assert_eq!(euler_number(&apart), 2);
    }
}
