//! Points to outputs.

use super::{PATCH, Panel, Region, TILE, transform};
use crate::{
    kernel::{
        channel::Sums,
        conv3::Target,
        source::Shared,
        vector::{Task, Vector},
    },
    tensor::BLOCK,
};

/// `Aᵀ M A + bias` of one plane of one block; with the sums of the results and of their squares.
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
    /// Whether the sums are wanted.
    pub(crate) moments: bool,
}

impl Task for TransformOutput<'_> {
    type Output = [Sums; 2];

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> [Sums; 2] {
        let Self { region, shape: [_, height, width], panel, block, plane, .. } = self;
        let mut moments = [[0.0; BLOCK]; 2];
        // SAFETY: the caller vouches for the set, for the panel, and that no other task writes
        // these voxels.
        unsafe {
            let mut from = self.from.get().add(panel.offset(block, plane)).cast_const();
            for sample in region.samples.clone() {
                let z = region.z.start + plane;
                let volume = self.target.values.get().add(sample * self.target.sample_stride);
                for row in region.rows.clone() {
                    for column in region.columns.clone() {
                        let (y, x) = (TILE * row, TILE * column);
                        let to = volume.add(((z * height + y) * width + x) * BLOCK);
                        let sides = [TILE.min(height - y), TILE.min(width - x)];
                        let tile = tile::<V>(from, panel.point());
                        let sums = self.store(tile, sides, to);
                        if self.moments {
                            add(&mut moments, sums);
                        }
                        from = from.add(BLOCK);
                    }
                }
            }
        }
        moments
    }
}

impl TransformOutput<'_> {
    /// Stores the part of a tile that lies in the volume; returns its sum and sum of squares.
    #[inline(always)]
    unsafe fn store<V: Vector>(
        &self,
        tile: [[V; TILE]; TILE],
        [rows, columns]: [usize; 2],
        to: *mut f32,
    ) -> [V; 2] {
        // SAFETY: the caller vouches for the set and for the voxels.
        unsafe {
            let (target, stride) = (self.target, self.shape[2] * BLOCK);
            let bias = V::load(target.bias.as_ptr());
            let (mut sum, mut squares) = (V::splat(0.0), V::splat(0.0));
            for (y, tile) in tile.iter().enumerate().take(rows) {
                for (x, value) in tile.iter().enumerate().take(columns) {
                    let value = target.finish(value.add(bias));
                    target.put(value, to.add(y * stride + x * BLOCK));
                    if self.moments {
                        sum = sum.add(value);
                        squares = value.mul_add(value, squares);
                    }
                }
            }
            [sum, squares]
        }
    }
}

/// Adds the sums of a tile to those of the plane.
#[inline(always)]
unsafe fn add<V: Vector>(moments: &mut [Sums; 2], sums: [V; 2]) {
    for (moments, sums) in moments.iter_mut().zip(sums) {
        let mut lanes = [0.0_f32; BLOCK];
        // SAFETY: the caller vouches for the set.
        unsafe { sums.store(lanes.as_mut_ptr()) }
        moments.iter_mut().zip(lanes).for_each(|(moment, lane)| *moment += f64::from(lane));
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
