//! The gradient of the 3×3×3 convolution with respect to its weights.
//!
//! ```text
//! for each region, each vector block, kz, ky, group of G channels of the broadcast block:
//!   acc[G][3] = sums so far                                     // 16 channels of the vector block
//!   for each row of the region whose input row (z + kz - 1, y + ky - 1) is in the volume:
//!     for each voxel q of the input row, each channel g of the group:
//!       v = input[q][g]                                         // one number for all lanes
//!       acc[g][0] += v grad[q + 1];  acc[g][1] += v grad[q];  acc[g][2] += v grad[q - 1]
//!   sums = acc
//! ```
//! Terms outside the volume are zero and left out. The input is the broadcast side and the gradient
//! the vector side, except for layers with very few outputs, where the sides change places.

use std::ops::Range;

use super::{
    source::{self, Region, Scratch, Shared, Source},
    vector::{Task, Vector},
};
use crate::tensor::BLOCK;

/// Sums of one pair of blocks: `[kz, ky][broadcast channel][kx][vector channel]`.
pub(crate) const PAIR: usize = 9 * BLOCK * 3 * BLOCK;

/// The sums of one broadcast block with all vector blocks over some regions.
pub(crate) struct Correlate<'a> {
    pub(crate) broadcast: &'a Source<'a>,
    pub(crate) vectors: &'a [Source<'a>],
    pub(crate) regions: &'a [Region],
    pub(crate) shape: [usize; 3],
    /// [`PAIR`] numbers a vector block; the sums are added to them.
    pub(crate) sums: Shared,
}

/// Rows in memory: where the first one is, and how far apart samples, planes and rows are.
#[derive(Clone, Copy)]
struct Rows {
    first: *const f32,
    sample: usize,
    plane: usize,
    row: usize,
}

impl Rows {
    /// The rows from a plane and row on.
    unsafe fn from(self, plane: usize, row: usize) -> Self {
        // SAFETY: the caller vouches for the plane and row.
        Self { first: unsafe { self.first.add(plane * self.plane + row * self.row) }, ..self }
    }
}

impl Task for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for region in self.regions {
            let around = self.around(region);
            let len = |region: &Region| {
                region.samples.len() * region.z.len() * region.y.len() * self.shape[2] * BLOCK
            };
            let (inputs, grads) = (len(&around), len(region));
            let mut scratch = Scratch::take(inputs + grads);
            let scratch = scratch.as_mut_ptr();
            // SAFETY: the caller vouches for the set; the buffer holds the rows of both regions.
            unsafe {
                let x = self.rows::<V>(self.broadcast, &around, scratch);
                for (index, vector) in self.vectors.iter().enumerate() {
                    let grad = self.rows::<V>(vector, region, scratch.add(inputs));
                    let sums = self.sums.get().add(index * PAIR);
                    for tap in 0..9 {
                        let sums = sums.add(tap * 3 * BLOCK * BLOCK);
                        self.tap::<V>(region, &around, [tap / 3, tap % 3], x, grad, sums);
                    }
                }
            }
        }
    }
}

/// The outputs among `range` whose input, `tap - 1` further, lies in `0..side`.
fn clip(range: &Range<usize>, tap: usize, side: usize) -> Range<usize> {
    range.start.max(1 - tap.min(1))..range.end.min(side + 1 - tap)
}

impl Correlate<'_> {
    /// The region with a border of one voxel, as far as it is in the volume.
    fn around(&self, region: &Region) -> Region {
        let grow = |range: &Range<usize>, side: usize| {
            range.start.saturating_sub(1)..(range.end + 1).min(side)
        };
        Region {
            samples: region.samples.clone(),
            z: grow(&region.z, self.shape[0]),
            y: grow(&region.y, self.shape[1]),
        }
    }

    /// The rows of a region: where they are stored, or normalised copies in `scratch`.
    #[inline(always)]
    unsafe fn rows<V: Vector>(
        &self,
        source: &Source<'_>,
        region: &Region,
        scratch: *mut f32,
    ) -> Rows {
        let row = self.shape[2] * BLOCK;
        let Some(_) = source.law(0) else {
            return Rows {
                first: source
                    .row(region.samples.start, region.z.start, region.y.start)
                    .as_ptr()
                    .cast(),
                sample: source.sample_stride(),
                plane: self.shape[1] * row,
                row,
            };
        };
        let plane = region.y.len() * row;
        let sample = region.z.len() * plane;
        let mut to = scratch;
        for sample in region.samples.clone() {
            for z in region.z.clone() {
                for y in region.y.clone() {
                    // SAFETY: the caller vouches for the set and for a buffer of all rows.
                    unsafe {
                        source::copy::<V>(source.row(sample, z, y), source.law(sample), to);
                        to = to.add(row);
                    }
                }
            }
        }
        Rows { first: scratch, sample, plane, row }
    }

    /// Adds the products of one (kz, ky) to `sums`.
    #[inline(always)]
    unsafe fn tap<V: Vector>(
        &self,
        region: &Region,
        around: &Region,
        [kz, ky]: [usize; 2],
        x: Rows,
        grad: Rows,
        sums: *mut f32,
    ) {
        let z = clip(&region.z, kz, self.shape[0]);
        let y = clip(&region.y, ky, self.shape[1]);
        let counts = [region.samples.len(), z.len(), y.len()];
        if z.is_empty() || y.is_empty() {
            return;
        }
        // SAFETY: the clipped rows lie in both regions; the caller vouches for the set and sums.
        unsafe {
            let grad = grad.from(z.start - region.z.start, y.start - region.y.start);
            let x = x.from(z.start + kz - 1 - around.z.start, y.start + ky - 1 - around.y.start);
            let width = self.shape[2];
            let mut channel = 0;
            while channel < self.broadcast.channels.count {
                let x = Rows { first: x.first.add(channel), ..x };
                let sums = sums.add(channel * 3 * BLOCK);
                if self.broadcast.channels.count == 1 || V::ACCUMULATORS < 4 {
                    group::<V, 1>(x, grad, counts, width, sums);
                    channel += 1;
                } else if V::ACCUMULATORS < 16 {
                    group::<V, 2>(x, grad, counts, width, sums);
                    channel += 2;
                } else {
                    group::<V, 8>(x, grad, counts, width, sums);
                    channel += 8;
                }
            }
        }
    }
}

/// Adds the products of `G` channels with the gradient to `sums`.
#[inline(always)]
unsafe fn group<V: Vector, const G: usize>(
    x: Rows,
    grad: Rows,
    [samples, planes, rows]: [usize; 3],
    width: usize,
    sums: *mut f32,
) {
    // SAFETY: the caller vouches for the rows, for 3 · G vectors of sums, and for the set.
    unsafe {
        let mut acc = [[V::splat(0.0); 3]; G];
        for (index, acc) in acc.as_flattened_mut().iter_mut().enumerate() {
            *acc = V::load(sums.add(index * BLOCK));
        }
        for sample in 0..samples {
            for plane in 0..planes {
                for row in 0..rows {
                    let of = |rows: Rows| {
                        rows.first.add(sample * rows.sample + plane * rows.plane + row * rows.row)
                    };
                    row_products::<V, G>(of(x), of(grad), width, &mut acc);
                }
            }
        }
        for (index, acc) in acc.as_flattened().iter().enumerate() {
            acc.store(sums.add(index * BLOCK));
        }
    }
}

/// The products of one row.
#[inline(always)]
unsafe fn row_products<V: Vector, const G: usize>(
    x: *const f32,
    grad: *const f32,
    width: usize,
    acc: &mut [[V; 3]; G],
) {
    // SAFETY: the caller vouches for `width` voxels of both rows and for the set.
    unsafe {
        let first = V::load(grad);
        for (g, acc) in acc.iter_mut().enumerate() {
            acc[1] = V::splat(*x.add(g)).mul_add(first, acc[1]);
        }
        if width == 1 {
            return;
        }
        let second = V::load(grad.add(BLOCK));
        for (g, acc) in acc.iter_mut().enumerate() {
            acc[0] = V::splat(*x.add(g)).mul_add(second, acc[0]);
        }
        for q in 1..width - 1 {
            let (x, grad) = (x.add(q * BLOCK), grad.add(q * BLOCK));
            let (next, here) = (V::load(grad.add(BLOCK)), V::load(grad));
            let previous = V::load(grad.sub(BLOCK));
            for (g, acc) in acc.iter_mut().enumerate() {
                let value = V::splat(*x.add(g));
                acc[0] = value.mul_add(next, acc[0]);
                acc[1] = value.mul_add(here, acc[1]);
                acc[2] = value.mul_add(previous, acc[2]);
            }
        }
        let (x, grad) = (x.add((width - 1) * BLOCK), grad.add((width - 1) * BLOCK));
        let (here, previous) = (V::load(grad), V::load(grad.sub(BLOCK)));
        for (g, acc) in acc.iter_mut().enumerate() {
            let value = V::splat(*x.add(g));
            acc[1] = value.mul_add(here, acc[1]);
            acc[2] = value.mul_add(previous, acc[2]);
        }
    }
}
