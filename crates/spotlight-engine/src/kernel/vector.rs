//! Sixteen numbers at once: the one thing that differs between instruction sets.
//!
//! Every kernel is written once, over [`Vector`]; `avx512`, `avx2` and `portable` implement the
//! trait and nothing else. A kernel is a [`Task`]; [`dispatch`] compiles it once for each set and
//! chooses at run time. All functions between `dispatch` and the intrinsics are `inline(always)`,
//! so that they become part of the one function that has the target features.

use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::instruction_set::InstructionSet;

/// Sixteen `f32`: one voxel of one channel block.
///
/// # Safety
///
/// All functions need a processor with the instruction set of the implementation. `load` reads
/// and `store` writes sixteen numbers, at any alignment.
pub(crate) trait Vector: Copy {
    /// How many vectors a kernel may use as accumulators without running out of registers.
    const ACCUMULATORS: usize;
    /// How many rows of a product of matrices a kernel may sum at once.
    const ROWS: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * factor + summand`; fused where the set can.
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// The positive part; NaN stays NaN.
    unsafe fn relu(self) -> Self;
    /// The sum of the sixteen numbers.
    unsafe fn total(self) -> f32;
    /// `self` where `condition` is positive, otherwise zero.
    unsafe fn where_positive(self, condition: Self) -> Self;
}

/// Work that is compiled once for every instruction set.
pub(crate) trait Task {
    type Output;

    /// Does the work; implementations are `#[inline(always)]`.
    ///
    /// # Safety
    ///
    /// The processor has the instruction set of `V`.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Runs `task` with an instruction set.
///
/// # Safety
///
/// The processor has `set`.
pub(crate) unsafe fn dispatch<T: Task>(set: InstructionSet, task: T) -> T::Output {
    // SAFETY: the caller vouches for the set.
    unsafe {
        match set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::run(task),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::run(task),
            _ => task.run::<portable::Portable>(),
        }
    }
}
