//! Points to outputs.

use super::{PATCH, Panel, Region, TILE, transform};
use crate::{
    kernel::{
        conv3::Target,
        source::Shared,
        vector::{Task, Vector},
    },
    tensor::BLOCK,
};

/// `Aᵀ M A + bias` of one plane of one block.
pub(crate) struct TransformOutput<'a> {
    pub(crate) target: &'a Target,
    pub(crate) region: &'a Region,
    /// Sides of the volume.
    pub(crate) shape: [usize; 3],
    pub(crate) panel: &'a Panel,
    pub(crate) block: usize,
    /// Which of the region's planes.
    pub(crate) plane: usize,
    pub(crate) from: Shared,
}

impl Task for TransformOutput<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { target, region, shape: [_, height, width], panel, block, plane, from } = self;
        // SAFETY: the caller vouches for the set, for the panel, and that no other task writes
        // these voxels.
        unsafe {
            let bias = V::load(target.bias.as_ptr());
            let mut from = from.get().add(panel.offset(block, plane)).cast_const();
            for sample in region.samples.clone() {
                let z = region.z.start + plane;
                let volume = target.values.get().add(sample * target.sample_stride);
                for row in region.rows.clone() {
                    for column in region.columns.clone() {
                        let (y, x) = (TILE * row, TILE * column);
                        let to = volume.add(((z * height + y) * width + x) * BLOCK);
                        let sides = [TILE.min(height - y), TILE.min(width - x)];
                        let tile = tile::<V>(from, panel.point());
                        for (y, tile) in tile.iter().enumerate().take(sides[0]) {
                            for (x, value) in tile.iter().enumerate().take(sides[1]) {
                                value.add(bias).store(to.add((y * width + x) * BLOCK));
                            }
                        }
                        from = from.add(BLOCK);
                    }
                }
            }
        }
    }
}

/// The outputs of one tile, whose points are `point` numbers apart.
#[inline(always)]
unsafe fn tile<V: Vector>(from: *const f32, point: usize) -> [[V; TILE]; TILE] {
    // SAFETY: the caller vouches for all points and the set.
    unsafe {
        let zero = V::splat(0.0);
        let mut half = [[zero; PATCH]; TILE];
        for column in 0..PATCH {
            let mut points = [zero; PATCH];
            for (row, value) in points.iter_mut().enumerate() {
                *value = V::load(from.add((row * PATCH + column) * point));
            }
            for (half, value) in half.iter_mut().zip(transform::output(points)) {
                half[column] = value;
            }
        }
        let mut tile = [[zero; TILE]; TILE];
        for (tile, half) in tile.iter_mut().zip(half) {
            *tile = transform::output(half);
        }
        tile
    }
}
