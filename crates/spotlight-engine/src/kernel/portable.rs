//! Sixteen numbers in an array, in plain Rust that compilers turn into the vectors of the target.

use std::array::from_fn;

use super::vector::Vector;

#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 16]);

// SAFETY (all blocks): the trait's callers vouch for sixteen valid numbers behind pointers.
impl Vector for Portable {
    // The 128-bit targets with 32 registers (64-bit ARM) hold twice as many as x86-64's SSE2.
    const ACCUMULATORS: usize = 2;
    const ROWS: usize = 2;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 16])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { from.cast::<[f32; 16]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { to.cast::<[f32; 16]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // Without a fused instruction `f32::mul_add` would be a slow library call.
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            Self(from_fn(|i| self.0[i].mul_add(factor.0[i], summand.0[i])))
        } else {
            Self(from_fn(|i| self.0[i] * factor.0[i] + summand.0[i]))
        }
    }

    #[inline(always)]
    unsafe fn relu(self) -> Self {
        Self(from_fn(|i| if self.0[i] < 0.0 { 0.0 } else { self.0[i] }))
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        let four: [f32; 4] =
            from_fn(|i| self.0[i] + self.0[i + 4] + self.0[i + 8] + self.0[i + 12]);
        four[0] + four[1] + four[2] + four[3]
    }

    #[inline(always)]
    unsafe fn where_positive(self, condition: Self) -> Self {
        Self(from_fn(|i| if condition.0[i] > 0.0 { self.0[i] } else { 0.0 }))
    }
}
