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
}

/// Number of voxels in a grid.
#[must_use]
pub fn voxel_count(shape: Shape) -> usize {
    shape.iter().product()
}

/// Index along (z, y, x) of a voxel by its place in raster order.
pub(crate) fn index_of([_, height, width]: Shape, offset: usize) -> [usize; 3] {
    let row = offset / width;
    [row / height, row % height, offset % width]
}
