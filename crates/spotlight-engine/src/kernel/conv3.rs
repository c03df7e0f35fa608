//! The 3×3×3 convolution, directly.
//!
//! ```text
//! copy the region's input rows, normalised, with one voxel of zeros around, to scratch
//! for each output block:
//!   for each tile of R rows × P voxels:                        // R·P accumulators of 16 channels
//!     acc = bias
//!     for each input block, kz, ky, input channel:
//!       w0, w1, w2 = weights of kx = 0, 1, 2                   // 16 output channels each
//!       for each of the tile's R rows, each of its P + 2 input voxels x:
//!         v = input[x]                                         // one number for all lanes
//!         acc[x] += v w0;  acc[x - 1] += v w1;  acc[x - 2] += v w2
//!     store acc
//! ```
//! Each input number is loaded once for three multiply-adds. The same kernel is the backward pass
//! for the data: its weights are transposed and flipped by packing.

use super::{
    pack::Packed,
    source::{self, Region, Scratch, Shared, Source},
    vector::{Task, Vector},
};
use crate::tensor::BLOCK;

/// An output block: where its first sample's first voxel is, and how far apart samples are.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) values: Shared,
    pub(crate) sample_stride: usize,
    /// The bias of each channel; zero for the padding.
    pub(crate) bias: [f32; BLOCK],
}

/// The convolution of one region for some output blocks.
pub(crate) struct Convolve<'a> {
    pub(crate) sources: &'a [Source<'a>],
    pub(crate) weights: &'a Packed,
    pub(crate) targets: &'a [Target],
    /// The first of `targets` among all output blocks.
    pub(crate) first_target: usize,
    /// Sides of the volume.
    pub(crate) shape: [usize; 3],
    pub(crate) region: Region,
}

/// Distances, in numbers, inside the padded copy of the input.
#[derive(Clone, Copy)]
struct Strides {
    row: usize,
    plane: usize,
    block: usize,
    sample: usize,
}

/// Rows and voxels of a tile that waste the least of a region.
fn tile(accumulators: usize, rows: usize, width: usize) -> (usize, usize) {
    let tiles: &[(usize, usize)] = match accumulators {
        16.. => &[(2, 8), (1, 16), (4, 4)],
        4.. => &[(1, 4), (2, 2)],
        _ => &[(1, 2)],
    };
    let work = |&&(r, p): &&(usize, usize)| rows.next_multiple_of(r) * width.next_multiple_of(p);
    tiles.iter().min_by_key(work).copied().unwrap_or((1, 2))
}

impl Task for Convolve<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller vouches for the set.
        unsafe {
            match tile(V::ACCUMULATORS, self.region.y.len(), self.shape[2]) {
                (1, 16) if V::ACCUMULATORS >= 16 => self.with_tile::<V, 1, 16>(),
                (2, 8) if V::ACCUMULATORS >= 16 => self.with_tile::<V, 2, 8>(),
                (4, 4) if V::ACCUMULATORS >= 16 => self.with_tile::<V, 4, 4>(),
                (1, 4) if V::ACCUMULATORS >= 4 => self.with_tile::<V, 1, 4>(),
                (2, 2) if V::ACCUMULATORS >= 4 => self.with_tile::<V, 2, 2>(),
                _ => self.with_tile::<V, 1, 2>(),
            }
        }
    }
}

impl Convolve<'_> {
    #[inline(always)]
    unsafe fn with_tile<V: Vector, const R: usize, const P: usize>(&self) {
        let row = (self.shape[2].next_multiple_of(P) + 2) * BLOCK;
        let plane = (self.region.y.len().next_multiple_of(R) + 2) * row;
        let block = (self.region.z.len() + 2) * plane;
        let strides = Strides { row, plane, block, sample: self.sources.len() * block };
        let mut scratch = Scratch::take(self.region.samples.len() * strides.sample);
        let scratch = scratch.as_mut_ptr();
        // SAFETY: the caller vouches for the set; the buffer has the length of the strides.
        unsafe {
            self.fill::<V>(strides, scratch);
            for index in 0..self.targets.len() {
                self.sweep::<V, R, P>(strides, scratch, index);
            }
        }
    }

    /// Copies the region's input with its border of zeros.
    #[inline(always)]
    unsafe fn fill<V: Vector>(&self, strides: Strides, scratch: *mut f32) {
        let Region { samples, z, y } = &self.region;
        let (planes, rows) = (z.len() + 2, (strides.plane / strides.row).min(y.len() + 2));
        for (sample_index, sample) in samples.clone().enumerate() {
            for (block, source) in self.sources.iter().enumerate() {
                for plane in 0..planes {
                    for row in 0..rows {
                        let offset = sample_index * strides.sample
                            + block * strides.block
                            + plane * strides.plane
                            + row * strides.row;
                        // The region's coordinate is one more than the row's: no negative numbers.
                        let (above_z, above_y) = (z.start + plane, y.start + row);
                        let inside = (1..=self.shape[0]).contains(&above_z)
                            && (1..=self.shape[1]).contains(&above_y);
                        // SAFETY: the offsets stay inside the buffer by construction of the
                        // strides; the caller vouches for the set.
                        unsafe {
                            let to = scratch.add(offset);
                            if inside {
                                let from = source.row(sample, above_z - 1, above_y - 1);
                                let end = (from.len() + 1) * BLOCK;
                                V::splat(0.0).store(to);
                                source::copy::<V>(from, source.law.as_ref(), to.add(BLOCK));
                                to.add(end).write_bytes(0, strides.row - end);
                            } else {
                                to.write_bytes(0, strides.row);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Computes one output block of the region.
    #[inline(always)]
    unsafe fn sweep<V: Vector, const R: usize, const P: usize>(
        &self,
        strides: Strides,
        scratch: *const f32,
        index: usize,
    ) {
        let [_, rows, width] = self.shape;
        let target = &self.targets[index];
        let weights = self.weights.block(self.first_target + index).as_ptr();
        let Region { samples, z, y } = &self.region;
        for (sample_index, sample) in samples.clone().enumerate() {
            for (plane, z) in z.clone().enumerate() {
                for row in (0..y.len()).step_by(R) {
                    for x in (0..width).step_by(P) {
                        let from = sample_index * strides.sample
                            + plane * strides.plane
                            + row * strides.row
                            + x * BLOCK;
                        let to = sample * target.sample_stride
                            + ((z * rows + y.start + row) * width + x) * BLOCK;
                        // SAFETY: the tile lies in the padded copy; only its voxels inside the
                        // volume are stored, and no other task writes this region.
                        unsafe {
                            let bias = V::load(target.bias.as_ptr());
                            let sums =
                                self.sum::<V, R, P>(strides, scratch.add(from), weights, bias);
                            let to = target.values.get().add(to);
                            for (r, sums) in sums.iter().enumerate().take(y.len() - row) {
                                for (p, sum) in sums.iter().enumerate().take(width - x) {
                                    sum.store(to.add((r * width + p) * BLOCK));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The sums of one tile over all input channels and taps.
    #[inline(always)]
    unsafe fn sum<V: Vector, const R: usize, const P: usize>(
        &self,
        strides: Strides,
        from: *const f32,
        mut weights: *const f32,
        bias: V,
    ) -> [[V; P]; R] {
        let mut sums = [[bias; P]; R];
        for (block, source) in self.sources.iter().enumerate() {
            for row in 0..9 {
                let offset =
                    block * strides.block + row / 3 * strides.plane + row % 3 * strides.row;
                for channel in 0..source.channels.count {
                    // SAFETY: the tile and its border lie in the copy; the packed weights have
                    // 3 · 16 numbers a channel, row and block.
                    unsafe {
                        let taps = [
                            V::load(weights),
                            V::load(weights.add(BLOCK)),
                            V::load(weights.add(2 * BLOCK)),
                        ];
                        weights = weights.add(3 * BLOCK);
                        let from = from.add(offset + channel);
                        accumulate(&mut sums, from, strides.row, taps);
                    }
                }
            }
        }
        sums
    }
}

/// Adds one input channel's share of one (kz, ky) to the tile.
#[inline(always)]
unsafe fn accumulate<V: Vector, const R: usize, const P: usize>(
    sums: &mut [[V; P]; R],
    from: *const f32,
    row_stride: usize,
    taps: [V; 3],
) {
    for (r, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller vouches for P + 2 voxels in each of R rows.
        unsafe {
            let from = from.add(r * row_stride);
            // Every input voxel is used for three neighbours; the compiler unrolls the loop, loads
            // each voxel once and keeps `sums` in registers.
            for (x, sum) in sums.iter_mut().enumerate() {
                for (kx, &tap) in taps.iter().enumerate() {
                    *sum = V::splat(*from.add((x + kx) * BLOCK)).mul_add(tap, *sum);
                }
            }
        }
    }
}
