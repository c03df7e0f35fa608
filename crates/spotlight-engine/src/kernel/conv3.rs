//! The 3×3×3 convolution, directly.
//!
//! ```text
//! for each group of output planes:
//!   copy the input planes that are new, normalised, with one voxel of zeros around
//!   for each output block, each tile of R rows × P voxels:      // R·P accumulators of 16 channels
//!     acc = bias
//!     for each input block, kz, ky, input channel:
//!       w0, w1, w2 = weights of kx = 0, 1, 2                    // 16 output channels each
//!       for each of the tile's voxels x:
//!         acc[x] += input[x] w0 + input[x + 1] w1 + input[x + 2] w2     // one input for all lanes
//!     store acc
//! ```
//! Each input number is loaded once for three multiply-adds. The same kernel is the backward pass
//! for the data: its weights are transposed and flipped by packing.
//!
//! With very few output channels, the lanes are input channels instead; they are added at the end.

use super::{
    pack::Packed,
    padded::Padded,
    source::{Region, Scratch, Shared, Source},
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
    /// Whether values below zero become zero.
    pub(crate) relu: bool,
    /// Whether the result is added to what is there.
    pub(crate) add: bool,
}

impl Target {
    /// What is stored of a sum.
    #[inline(always)]
    pub(crate) unsafe fn finish<V: Vector>(&self, sum: V) -> V {
        // SAFETY: the caller vouches for the set.
        if self.relu { unsafe { sum.relu() } } else { sum }
    }

    /// Stores a result, or adds it to the sixteen numbers at `to`.
    #[inline(always)]
    pub(crate) unsafe fn put<V: Vector>(&self, result: V, to: *mut f32) {
        // SAFETY: the caller vouches for the set and the place.
        unsafe { if self.add { result.add(V::load(to)).store(to) } else { result.store(to) } }
    }
}

/// The convolution of one region for some output blocks.
pub(crate) struct Convolve<'a> {
    pub(crate) sources: &'a [Source<'a>],
    /// The weights of each output block, or of each output channel if there are few.
    pub(crate) weights: &'a Packed,
    pub(crate) targets: &'a [Target],
    /// The first of `targets` among all output blocks.
    pub(crate) first_target: usize,
    /// The number of output channels if the lanes are to be input channels.
    pub(crate) few: Option<usize>,
    /// Sides of the volume.
    pub(crate) shape: [usize; 3],
    pub(crate) region: Region,
    /// Output planes to compute together.
    pub(crate) group: usize,
    /// Planes that the weights reach before and after their own: one (3×3×3), or none (3×3).
    pub(crate) reach: usize,
}

/// Rows and voxels of a tile that waste the least of a region.
fn tile(accumulators: usize, rows: usize, width: usize) -> (usize, usize) {
    let tiles: &[(usize, usize)] = match accumulators {
        16.. => &[(2, 8), (4, 4)],
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
        let tile = tile(V::ACCUMULATORS, self.region.y.len(), self.shape[2]);
        // SAFETY: the caller vouches for the set.
        unsafe {
            match tile {
                _ if self.few.is_some() && V::ACCUMULATORS >= 16 => self.roll::<V, 2, 8, true>(),
                _ if self.few.is_some() => self.roll::<V, 1, 4, true>(),
                (2, 8) if V::ACCUMULATORS >= 16 => self.roll::<V, 2, 8, false>(),
                (4, 4) if V::ACCUMULATORS >= 16 => self.roll::<V, 4, 4, false>(),
                (1, 4) if V::ACCUMULATORS >= 4 => self.roll::<V, 1, 4, false>(),
                (2, 2) if V::ACCUMULATORS >= 4 => self.roll::<V, 2, 2, false>(),
                _ => self.roll::<V, 1, 2, false>(),
            }
        }
    }
}

impl Convolve<'_> {
    /// Goes through the region from plane to plane.
    #[inline(always)]
    unsafe fn roll<V: Vector, const R: usize, const P: usize, const FEW: bool>(&self) {
        let Self { sources, region, shape, group, reach, .. } = self;
        let padded = Padded::new(region, [*group, *reach], sources.len(), shape[2], [R, P]);
        let mut scratch = Scratch::take(region.samples.len() * padded.sample);
        let scratch = scratch.as_mut_ptr();
        let mut filled = 0;
        for start in (0..region.z.len()).step_by(*group) {
            let end = (start + group).min(region.z.len());
            // SAFETY: the caller vouches for the set; the buffer has the length of the strides.
            unsafe {
                while filled < end + 2 * reach {
                    padded.fill::<V>(sources, region, *shape, filled, scratch);
                    filled += 1;
                }
                for target in 0..self.targets.len() {
                    for sample in 0..region.samples.len() {
                        for plane in start..end {
                            let at = [sample, plane];
                            self.plane::<V, R, P, FEW>(&padded, scratch, target, at);
                        }
                    }
                }
            }
        }
    }

    /// Computes one output block of one plane.
    #[inline(always)]
    unsafe fn plane<V: Vector, const R: usize, const P: usize, const FEW: bool>(
        &self,
        padded: &Padded,
        scratch: *const f32,
        index: usize,
        [sample, plane]: [usize; 2],
    ) {
        let (Region { samples, z, y }, [_, rows, width]) = (&self.region, self.shape);
        let target = &self.targets[index];
        let planes = padded.planes(plane);
        for row in (0..y.len()).step_by(R) {
            for x in (0..width).step_by(P) {
                let from = sample * padded.sample + row * padded.row + x * BLOCK;
                let to = (samples.start + sample) * target.sample_stride
                    + (((z.start + plane) * rows + y.start + row) * width + x) * BLOCK;
                // SAFETY: the tile lies in the padded copy; only its voxels inside the region are
                // stored, and no other task writes this region.
                unsafe {
                    let from = scratch.add(from);
                    let sums = if FEW {
                        self.few_sums::<V, R, P>(padded, planes, from, target)
                    } else {
                        let weights = self.weights.block(self.first_target + index);
                        let bias = V::load(target.bias.as_ptr());
                        self.sums::<V, R, P, false>(padded, planes, from, weights, bias)
                    };
                    let to = target.values.get().add(to);
                    for (r, sums) in sums.iter().enumerate().take(y.len() - row) {
                        for (p, sum) in sums.iter().enumerate().take(width - x) {
                            target.put(target.finish(*sum), to.add((r * width + p) * BLOCK));
                        }
                    }
                }
            }
        }
    }

    /// The sums of one tile over all input channels and taps; with `FEW`, each lane has its own
    /// input channel.
    #[inline(always)]
    unsafe fn sums<V: Vector, const R: usize, const P: usize, const FEW: bool>(
        &self,
        padded: &Padded,
        planes: [usize; 3],
        from: *const f32,
        weights: &[f32],
        bias: V,
    ) -> [[V; P]; R] {
        let mut sums = [[bias; P]; R];
        let mut weights = weights.as_ptr();
        for (block, source) in self.sources.iter().enumerate() {
            let steps = if FEW { 1 } else { source.channels.count };
            for row in 0..3 * (1 + 2 * self.reach) {
                let offset = block * padded.block + planes[row / 3] + row % 3 * padded.row;
                for channel in 0..steps {
                    // SAFETY: the tile and its border lie in the copy; the packed weights have
                    // 3 · 16 numbers a step, row and block.
                    unsafe {
                        let taps = [
                            V::load(weights),
                            V::load(weights.add(BLOCK)),
                            V::load(weights.add(2 * BLOCK)),
                        ];
                        weights = weights.add(3 * BLOCK);
                        let from = from.add(offset + channel);
                        accumulate::<V, R, P, FEW>(&mut sums, from, padded.row, taps);
                    }
                }
            }
        }
        sums
    }

    /// The sums of one tile, one output channel after the other.
    #[inline(always)]
    unsafe fn few_sums<V: Vector, const R: usize, const P: usize>(
        &self,
        padded: &Padded,
        planes: [usize; 3],
        from: *const f32,
        target: &Target,
    ) -> [[V; P]; R] {
        let mut totals = [[[0.0_f32; BLOCK]; P]; R];
        // SAFETY: as in `sums`; every array has sixteen numbers.
        unsafe {
            for channel in 0..self.few.unwrap_or(0) {
                let (weights, zero) = (self.weights.block(channel), V::splat(0.0));
                let sums = self.sums::<V, R, P, true>(padded, planes, from, weights, zero);
                let totals = totals.as_flattened_mut().iter_mut();
                for (total, sum) in totals.zip(sums.as_flattened()) {
                    total[channel] = target.bias[channel] + sum.total();
                }
            }
            let mut vectors = [[V::splat(0.0); P]; R];
            let totals = totals.as_flattened().iter();
            for (vector, total) in vectors.as_flattened_mut().iter_mut().zip(totals) {
                *vector = V::load(total.as_ptr());
            }
            vectors
        }
    }
}

/// Adds one step's share of one (kz, ky) to the tile.
#[inline(always)]
unsafe fn accumulate<V: Vector, const R: usize, const P: usize, const FEW: bool>(
    sums: &mut [[V; P]; R],
    from: *const f32,
    row_stride: usize,
    taps: [V; 3],
) {
    for (r, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller vouches for P + 2 voxels in each of R rows.
        unsafe {
            let from = from.add(r * row_stride);
            // Each input is loaded once for its three neighbours. The loop must be short enough for
            // the compiler to unroll, or else `sums` is not kept in registers.
            for x in 0..P + 2 {
                let from = from.add(x * BLOCK);
                let value = if FEW { V::load(from) } else { V::splat(*from) };
                for (kx, &tap) in taps.iter().enumerate() {
                    if kx <= x && x - kx < P {
                        sums[x - kx] = value.mul_add(tap, sums[x - kx]);
                    }
                }
            }
        }
    }
}
