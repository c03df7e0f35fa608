//! Visits the 2×2×2 neighbourhoods of a mask, as the Euler number and marching cubes do.

use crate::Volume;

/// Calls `visit` with the position and the pattern of every neighbourhood that is neither
/// empty nor full.
///
/// The neighbourhood at position p consists of the voxels p − 1 and p along each axis, and
/// voxel p − 1 + (z, y, x) is bit 4 z + 2 y + x of the pattern. Beyond the mask is background,
/// so positions run from 0 to the length of an axis.
pub(super) fn for_each_mixed_cell(mask: &Volume<bool>, mut visit: impl FnMut([usize; 3], u8)) {
    let [depth, height, width] = mask.shape;
    let outside = vec![false; width];
    let row = |z: usize, y: usize| {
        // Row numbers are one too high, so that 0 is the row before the first.
        if (1..=depth).contains(&z) && (1..=height).contains(&y) {
            &mask.voxels[((z - 1) * height + y - 1) * width..][..width]
        } else {
            &outside[..]
        }
    };
    for z in 0..=depth {
        for y in 0..=height {
            let rows = [row(z, y), row(z, y + 1), row(z + 1, y), row(z + 1, y + 1)];
            let mut pattern = 0;
            for x in 0..=width {
                pattern = (pattern >> 1) & 0b0101_0101;
                if x < width {
                    for (i, row) in rows.iter().enumerate() {
                        pattern |= u8::from(row[x]) << (2 * i + 1);
                    }
                }
                if pattern != 0 && pattern != u8::MAX {
                    visit([z, y, x], pattern);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_equal_a_naive_visit() {
        let mask = Volume::from_fn([3, 4, 5], |[z, y, x]| (z * 31 + y * 17 + x * 7) % 3 == 0);
        let mut expected = Vec::new();
        for z in 0..=3 {
            for y in 0..=4 {
                for x in 0..=5 {
                    let mut pattern = 0_u8;
                    for bit in 0..8 {
                        let voxel = [z + bit / 4, y + bit / 2 % 2, x + bit % 2];
                        let inside = (0..3).all(|a| (1..=mask.shape[a]).contains(&voxel[a]));
                        let set = inside && mask.at(voxel.map(|v| v - 1));
                        pattern |= u8::from(set) << bit;
                    }
                    if pattern != 0 && pattern != 255 {
                        expected.push(([z, y, x], pattern));
                    }
                }
            }
        }
        let mut found = Vec::new();
        for_each_mixed_cell(&mask, |position, pattern| found.push((position, pattern)));
        assert_eq!(found, expected);
    }
}
