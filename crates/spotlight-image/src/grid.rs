//! Shapes and regions of a voxel grid. Axes are (z, y, x) everywhere.

/// Number of voxels along (z, y, x).
pub type Shape = [usize; 3];

/// A box of voxels inside a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First voxel along (z, y, x).
    pub start: [usize; 3],
    /// Number of voxels along (z, y, x).
    pub shape: Shape,
}

impl Region {
    /// The region that covers a whole grid.
    #[must_use]
    pub fn whole(shape: Shape) -> Self {
        Self { start: [0; 3], shape }
    }

    /// One past the last voxel along (z, y, x).
    #[must_use]
    pub fn stop(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.start[axis] + self.shape[axis])
    }

    /// Whether every voxel of the region lies in a grid of this shape.
    #[must_use]
    pub fn fits(&self, shape: Shape) -> bool {
        (0..3).all(|axis| self.stop()[axis] <= shape[axis])
    }

    /// The boxes of a size that cover the region, in raster order; the last along each axis may be
    /// smaller.
    ///
    /// # Panics
    ///
    /// If an axis of the size is 0 and that of the region is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_image::Region;
    ///
    /// let region = Region { start: [2, 0, 5], shape: [1, 1, 7] };
    /// let blocks: Vec<Region> = region.blocks([4, 1, 3]).collect();
    /// let along_x = blocks.iter().map(|block| (block.start[2], block.shape[2]));
    /// assert_eq!(along_x.collect::<Vec<_>>(), [(5, 3), (8, 3), (11, 1)]);
    /// ```
    pub fn blocks(self, size: Shape) -> impl Iterator<Item = Self> + use<> {
        let counts: Shape = std::array::from_fn(|axis| self.shape[axis].div_ceil(size[axis]));
        (0..voxel_count(counts)).map(move |number| {
            let at = index_of(counts, number);
            let offset: [usize; 3] = std::array::from_fn(|axis| at[axis] * size[axis]);
            Self {
                start: std::array::from_fn(|axis| self.start[axis] + offset[axis]),
                shape: std::array::from_fn(|axis| size[axis].min(self.shape[axis] - offset[axis])),
            }
        })
    }

    /// The region with so many voxels more on all sides, as far as a grid of this shape goes.
    #[must_use]
    pub fn grown(self, by: usize, shape: Shape) -> Self {
        let start = self.start.map(|start| start.saturating_sub(by));
        let length = |axis: usize| (self.stop()[axis] + by).min(shape[axis]) - start[axis];
        Self { start, shape: std::array::from_fn(length) }
    }

    /// The region as seen from the first voxel of another that holds it.
    #[must_use]
    pub fn seen_from(self, outer: Self) -> Self {
        let start = std::array::from_fn(|axis| self.start[axis] - outer.start[axis]);
        Self { start, shape: self.shape }
    }
}

/// Number of voxels in a grid.
#[must_use]
pub fn voxel_count(shape: Shape) -> usize {
    shape.iter().product()
}

/// Boxes that cover a grid in raster order, each of whole multiples of a block but at the far
/// ends of the grid, and of no more than `max_voxels` unless a single block has more.
///
/// Boxes are wide before they are high, and high before they are deep.
///
/// # Examples
///
/// ```
/// use spotlight_image::grid::{boxes_of_blocks, voxel_count};
///
/// let boxes = boxes_of_blocks([4, 100, 90], [1, 16, 90], 3 * 16 * 90);
/// assert_eq!(boxes.len(), 4 * 3);
/// assert_eq!((boxes[2].start, boxes[2].shape), ([0, 96, 0], [1, 4, 90]));
/// ```
#[must_use]
pub fn boxes_of_blocks(shape: Shape, block: Shape, max_voxels: usize) -> Vec<Region> {
    if voxel_count(shape) == 0 {
        return Vec::new();
    }
    let mut size: Shape = std::array::from_fn(|axis| block[axis].clamp(1, shape[axis]));
    for axis in [2, 1, 0] {
        let others = voxel_count(size) / size[axis];
        let blocks = max_voxels / others / size[axis];
        size[axis] = (blocks.max(1) * size[axis]).min(shape[axis]);
    }
    Region::whole(shape).blocks(size).collect()
}

/// Index along (z, y, x) of a voxel by its place in raster order.
pub(crate) fn index_of([_, height, width]: Shape, offset: usize) -> [usize; 3] {
    let row = offset / width;
    [row / height, row % height, offset % width]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_cover_the_grid_once() {
        let shape = [5, 13, 17];
        for (block, max) in [([1, 1, 1], 1), ([2, 3, 4], 30), ([1, 13, 17], 500), ([8, 8, 8], 0)] {
            let mut counts = vec![0; voxel_count(shape)];
            for Region { start, shape: [depth, height, width] } in
                boxes_of_blocks(shape, block, max)
            {
                let largest = block.map(|side| side.max(1)).iter().product::<usize>().max(max);
                assert!(depth * height * width <= largest);
                for i in 0..depth * height * width {
                    let [z, y, x] = index_of([depth, height, width], i);
                    let [z, y, x] = [start[0] + z, start[1] + y, start[2] + x];
                    counts[(z * shape[1] + y) * shape[2] + x] += 1;
                }
            }
            assert!(counts.iter().all(|count| *count == 1), "{block:?} {max}");
        }
        assert_eq!(boxes_of_blocks(shape, [1, 13, 17], 1 << 20), [Region::whole(shape)]);
        assert_eq!(boxes_of_blocks([0, 3, 3], [1, 1, 1], 9), []);
    }
}
