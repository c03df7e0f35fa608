//! Channel blocks as kernels read them: normalised on the way into a scratch buffer.

use std::{cell::Cell, ops::Range};

use super::vector::Vector;
use crate::{
    memory::Buffer,
    tensor::{Activation, BLOCK, Tensor},
};

/// A box of voxels of some samples; along x it is always the whole row.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) samples: Range<usize>,
    pub(crate) z: Range<usize>,
    pub(crate) y: Range<usize>,
}

/// Factors and summands of the sixteen channels of a block; zero for the padding.
pub(crate) type Law = [[f32; BLOCK]; 2];

/// A run of channels in one block: the first in the concatenation, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// One channel block of one input.
pub(crate) struct Source<'a> {
    tensor: &'a Tensor,
    block: usize,
    /// The block's channels in the concatenation of all inputs.
    pub(crate) channels: Channels,
    /// The normalisation to apply on load: none, one for all samples, or one a sample.
    laws: Vec<Law>,
    /// Whether every voxel is read as a square of 2×2 voxels in its plane.
    doubled: bool,
}

/// The blocks of all inputs, one after the other.
pub(crate) fn sources<'a>(inputs: &[Activation<'a>]) -> Vec<Source<'a>> {
    let mut sources = Vec::new();
    let mut first = 0;
    for &Activation { tensor, normalise } in inputs {
        for block in 0..tensor.blocks() {
            let start = block * BLOCK;
            let count = BLOCK.min(tensor.channels() - start);
            let shifts = normalise.map(|law| (law, law.shift.chunks_exact(tensor.channels())));
            let laws = shifts.into_iter().flat_map(|(law, shifts)| {
                shifts.map(move |shift| {
                    let mut padded = [[0.0; BLOCK]; 2];
                    padded[0][..count].copy_from_slice(&law.scale[start..start + count]);
                    padded[1][..count].copy_from_slice(&shift[start..start + count]);
                    padded
                })
            });
            let channels = Channels { first: first + start, count };
            sources.push(Source { tensor, block, channels, laws: laws.collect(), doubled: false });
        }
        first += tensor.channels();
    }
    sources
}

impl Source<'_> {
    /// The same source, each voxel of which is read as a square of 2×2 voxels in its plane.
    pub(crate) fn doubled(self) -> Self {
        Self { doubled: true, ..self }
    }

    /// By how many bits coordinates along y and x are shifted to those of the stored voxels.
    #[inline(always)]
    pub(crate) fn shift(&self) -> usize {
        usize::from(self.doubled)
    }

    /// The stored voxels of one row.
    pub(crate) fn row(&self, sample: usize, z: usize, y: usize) -> &[[f32; BLOCK]] {
        let [_, rows, width] = self.tensor.shape();
        let y = y >> self.shift();
        &self.tensor.block(sample, self.block)[(z * rows + y) * width..][..width]
    }

    /// The stored voxels of one sample.
    pub(crate) fn voxels(&self, sample: usize) -> &[[f32; BLOCK]] {
        self.tensor.block(sample, self.block)
    }

    /// The normalisation of a sample.
    #[inline(always)]
    pub(crate) fn law(&self, sample: usize) -> Option<&Law> {
        self.laws.get(sample).or(self.laws.last())
    }

    /// How many numbers apart samples are.
    pub(crate) fn sample_stride(&self) -> usize {
        self.tensor.blocks() * self.tensor.voxels() * BLOCK
    }
}

/// Copies `voxels` voxels and applies the normalisation.
///
/// # Safety
///
/// Both pointers are good for `voxels * 16` numbers; the processor has the set of `V`.
#[inline(always)]
pub(crate) unsafe fn copy<V: Vector>(from: &[[f32; BLOCK]], law: Option<&Law>, to: *mut f32) {
    // SAFETY: the caller vouches for the pointer and the set; every offset is below the length.
    unsafe {
        match law {
            None => to.copy_from_nonoverlapping(from.as_flattened().as_ptr(), from.len() * BLOCK),
            Some([scale, shift]) => {
                let (scale, shift) = (V::load(scale.as_ptr()), V::load(shift.as_ptr()));
                for (index, voxel) in from.iter().enumerate() {
                    let x = V::load(voxel.as_ptr());
                    x.mul_add(scale, shift).relu().store(to.add(index * BLOCK));
                }
            }
        }
    }
}

/// [`copy`] of every voxel twice.
///
/// # Safety
///
/// As for [`copy`], with `to` good for twice the numbers.
#[inline(always)]
pub(crate) unsafe fn copy_twice<V: Vector>(from: &[[f32; BLOCK]], law: Option<&Law>, to: *mut f32) {
    for (index, voxel) in from.iter().enumerate() {
        // SAFETY: the caller vouches for the pointer and the set.
        unsafe {
            let mut value = V::load(voxel.as_ptr());
            if let Some([scale, shift]) = law {
                value = value.mul_add(V::load(scale.as_ptr()), V::load(shift.as_ptr())).relu();
            }
            value.store(to.add(2 * index * BLOCK));
            value.store(to.add((2 * index + 1) * BLOCK));
        }
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Buffer>> = const { Cell::new(None) };
}

/// This thread's buffer, lent to one task; it goes back when dropped.
///
/// A guard and not a function that takes a closure, because code in a closure is compiled without
/// the target features of the kernel around it.
pub(crate) struct Scratch {
    buffer: Buffer,
}

impl Scratch {
    /// At least `len` numbers, with any content.
    pub(crate) fn take(len: usize) -> Self {
        let kept = SCRATCH.take().filter(|buffer| buffer.len() >= len);
        Self { buffer: kept.unwrap_or_else(|| Buffer::new(len)) }
    }

    /// The first number.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.buffer.as_mut_ptr()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.set(Some(std::mem::replace(&mut self.buffer, Buffer::new(0))));
    }
}

/// A pointer that tasks share because each writes other places behind it.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: a pointer is only a number; every use has its own reason.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr())
    }

    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }

    /// The pointer some numbers further; only where it points at a number may it be used.
    pub(crate) fn offset(self, numbers: usize) -> Self {
        Self(self.0.wrapping_add(numbers))
    }
}
