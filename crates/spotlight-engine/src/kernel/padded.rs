//! A rolling copy of a convolution's input: normalised, with one voxel of zeros around.
//!
//! ```text
//! input planes of a region:   z-1  z  z+1  z+2 ...      slot of a plane = plane mod slots
//! one group of output planes needs group + 2 input planes; the next group overwrites the oldest
//! ```
//! With the border in the copy, the kernels have no special cases at the edges; as the copy rolls
//! along z, every input plane is normalised only once.

use super::{
    source::{self, Region, Source},
    vector::Vector,
};
use crate::tensor::BLOCK;

/// How the copy lies in scratch; distances are in numbers.
#[derive(Clone, Copy)]
pub(crate) struct Padded {
    pub(crate) row: usize,
    plane: usize,
    pub(crate) block: usize,
    pub(crate) sample: usize,
    /// Planes in the copy.
    slots: usize,
    /// Planes that an output plane reads before and after its own.
    reach: usize,
}

impl Padded {
    /// For `group` output planes at a time, in tiles of `tile` rows and voxels. A kernel reads
    /// `reach` planes before and after its own: one, or none.
    pub(crate) fn new(
        region: &Region,
        [group, reach]: [usize; 2],
        blocks: usize,
        width: usize,
        tile: [usize; 2],
    ) -> Self {
        let row = (width.next_multiple_of(tile[1]) + 2) * BLOCK;
        let plane = (region.y.len().next_multiple_of(tile[0]) + 2) * row;
        let slots = group + 2 * reach;
        let block = slots * plane;
        Self { row, plane, block, sample: blocks * block, slots, reach }
    }

    /// Offsets of the three input planes of the region's output plane number `plane`; of its own
    /// plane first where that is the only one.
    pub(crate) fn planes(&self, plane: usize) -> [usize; 3] {
        [0, 1, 2].map(|kz| (plane + kz) % self.slots * self.plane)
    }

    /// Copies the input plane number `plane` of all samples and blocks of the region; plane 0 is
    /// `reach` planes below the region.
    ///
    /// # Safety
    ///
    /// `scratch` holds `sample` numbers a sample; the processor has the set of `V`.
    #[inline(always)]
    pub(crate) unsafe fn fill<V: Vector>(
        &self,
        sources: &[Source<'_>],
        region: &Region,
        shape: [usize; 3],
        plane: usize,
        scratch: *mut f32,
    ) {
        let slot = plane % self.slots * self.plane;
        for (index, sample) in region.samples.clone().enumerate() {
            for (block, source) in sources.iter().enumerate() {
                for row in 0..region.y.len() + 2 {
                    let offset = index * self.sample + block * self.block + slot + row * self.row;
                    // These coordinates are one more than the input's: no negative numbers.
                    let z = region.z.start + plane + 1 - self.reach;
                    let y = region.y.start + row;
                    let inside = (1..=shape[0]).contains(&z) && (1..=shape[1]).contains(&y);
                    // SAFETY: the row lies in the buffer by construction of the strides; the
                    // caller vouches for the set.
                    unsafe {
                        let to = scratch.add(offset);
                        if inside {
                            let from = source.row(sample, z - 1, y - 1);
                            let end = (shape[2] + 1) * BLOCK;
                            V::splat(0.0).store(to);
                            let (law, inner) = (source.law(sample), to.add(BLOCK));
                            match source.shift() {
                                0 => source::copy::<V>(from, law, inner),
                                _ => source::copy_twice::<V>(from, law, inner),
                            }
                            to.add(end).write_bytes(0, self.row - end);
                        } else {
                            to.write_bytes(0, self.row);
                        }
                    }
                }
            }
        }
    }
}
