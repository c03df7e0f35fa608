//! [`Volume`]: a stack of voxels, the data every stage passes on.

use crate::grid::{Region, Shape, voxel_count};

/// A z-stack in memory: voxels in (z, y, x) order, x fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume<T> {
    /// Number of voxels along (z, y, x).
    pub shape: Shape,
    /// The voxels, `shape[0] * shape[1] * shape[2]` of them.
    pub voxels: Vec<T>,
}

impl<T> Volume<T> {
    /// Wraps voxels given in (z, y, x) order.
    ///
    /// # Panics
    ///
    /// If the number of voxels is not the product of the shape.
    #[must_use]
    pub fn new(shape: Shape, voxels: Vec<T>) -> Self {
        assert_eq!(voxels.len(), voxel_count(shape), "voxels do not fill shape {shape:?}");
        Self { shape, voxels }
    }

    /// Makes a volume from a function of the position (z, y, x).
    #[must_use]
    pub fn from_fn(shape: Shape, mut voxel: impl FnMut([usize; 3]) -> T) -> Self {
        let mut voxels = Vec::with_capacity(voxel_count(shape));
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                for x in 0..shape[2] {
                    voxels.push(voxel([z, y, x]));
                }
            }
        }
        Self { shape, voxels }
    }

    /// Applies a function to every voxel.
    #[must_use]
    pub fn map<U>(&self, function: impl FnMut(&T) -> U) -> Volume<U> {
        Volume { shape: self.shape, voxels: self.voxels.iter().map(function).collect() }
    }

    /// Position of a voxel in [`Volume::voxels`].
    #[must_use]
    pub fn offset(&self, [z, y, x]: [usize; 3]) -> usize {
        (z * self.shape[1] + y) * self.shape[2] + x
    }

    /// One (y, x) plane, row by row.
    ///
    /// # Panics
    ///
    /// If the volume has no such plane.
    #[must_use]
    pub fn plane(&self, z: usize) -> &[T] {
        let size = self.shape[1] * self.shape[2];
        &self.voxels[z * size..(z + 1) * size]
    }
}

impl<T: Clone> Volume<T> {
    /// A volume of one value.
    #[must_use]
    pub fn filled(shape: Shape, value: T) -> Self {
        Self { shape, voxels: vec![value; voxel_count(shape)] }
    }

    /// Copies a region out.
    ///
    /// # Panics
    ///
    /// If the region does not lie inside the volume.
    #[must_use]
    pub fn crop(&self, region: Region) -> Self {
        assert!(region.fits(self.shape), "{region:?} is not inside {:?}", self.shape);
        let mut voxels = Vec::with_capacity(voxel_count(region.shape));
        for z in region.start[0]..region.stop()[0] {
            for y in region.start[1]..region.stop()[1] {
                let from = self.offset([z, y, region.start[2]]);
                voxels.extend_from_slice(&self.voxels[from..from + region.shape[2]]);
            }
        }
        Self { shape: region.shape, voxels }
    }
}

impl<T: Copy> Volume<T> {
    /// The voxel at (z, y, x).
    ///
    /// # Panics
    ///
    /// If the position lies outside.
    #[must_use]
    pub fn at(&self, position: [usize; 3]) -> T {
        self.voxels[self.offset(position)]
    }

    /// Writes a smaller volume into this one, its first voxel at `start`.
    ///
    /// # Panics
    ///
    /// If the smaller volume does not fit there.
    pub fn paste(&mut self, start: [usize; 3], part: &Self) {
        let region = Region { start, shape: part.shape };
        assert!(region.fits(self.shape), "{region:?} is not inside {:?}", self.shape);
        for z in 0..part.shape[0] {
            for y in 0..part.shape[1] {
                let from = part.offset([z, y, 0]);
                let to = self.offset([start[0] + z, start[1] + y, start[2]]);
                let row = &part.voxels[from..from + part.shape[2]];
                self.voxels[to..to + part.shape[2]].copy_from_slice(row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_and_paste_are_inverse() {
        let image = Volume::from_fn([3, 4, 5], |[z, y, x]| 100 * z + 10 * y + x);
        let region = Region { start: [1, 2, 1], shape: [2, 2, 3] };
        let part = image.crop(region);
        assert_eq!(part.voxels, [121, 122, 123, 131, 132, 133, 221, 222, 223, 231, 232, 233]);
        let mut other = Volume::filled([3, 4, 5], 0);
        other.paste(region.start, &part);
        assert_eq!(other.crop(region), part);
        assert_eq!(other.voxels.iter().filter(|v| **v != 0).count(), 12);
    }
}
