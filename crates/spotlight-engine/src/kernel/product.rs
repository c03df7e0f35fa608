//! Products of matrices, some rows and some vectors of sixteen columns at a time.
//!
//! ```text
//! acc[R][B] += Σ_k a[r][k] b[k][B]         // one a for all lanes, B vectors of b
//! ```
//! The sums stay in registers: R·B of them, with B vectors of `b` and one number of `a`.

use super::vector::Vector;
use crate::tensor::BLOCK;

/// A product whose rows are computed in tiles.
///
/// # Safety
///
/// The caller of `tile` vouches for the set of `V`, for `R` rows from `first` on and for `B` output
/// blocks.
pub(crate) trait Rows {
    /// Computes and stores `R` rows of `B` blocks.
    unsafe fn tile<V: Vector, const R: usize, const B: usize>(&self, first: usize);
}

/// Computes `rows` rows in tiles that use the registers well.
///
/// # Safety
///
/// As for [`Rows::tile`], for all rows.
#[inline(always)]
pub(crate) unsafe fn tiles<V: Vector, const B: usize>(rows: usize, product: &impl Rows) {
    let mut row = 0;
    while row < rows {
        // SAFETY: the caller vouches for all rows.
        unsafe {
            row += match (V::ROWS, rows - row) {
                (12.., 24.. | 12..16 | 20) => tile::<V, 12, B>(row, product),
                (12.., 8..) => tile::<V, 8, B>(row, product),
                (6..12, 6..) => tile::<V, 6, B>(row, product),
                (6.., 4..) => tile::<V, 4, B>(row, product),
                (_, 2..) => tile::<V, 2, B>(row, product),
                _ => tile::<V, 1, B>(row, product),
            };
        }
    }
}

/// Computes `R` rows; returns `R`.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const B: usize>(
    row: usize,
    product: &impl Rows,
) -> usize {
    // SAFETY: the caller vouches for the rows.
    unsafe { product.tile::<V, R, B>(row) }
    R
}

/// Adds the products of `count` numbers of each row, whose rows are a block apart, with `B` vectors
/// for each number.
///
/// # Safety
///
/// The pointers are good for these numbers; the processor has the set of `V`.
#[inline(always)]
pub(crate) unsafe fn accumulate<V: Vector, const R: usize, const B: usize>(
    acc: &mut [[V; B]; R],
    from: *const f32,
    count: usize,
    with: *const f32,
) {
    for k in 0..count {
        // SAFETY: the caller vouches for the numbers.
        unsafe {
            let mut b = [V::splat(0.0); B];
            for (index, b) in b.iter_mut().enumerate() {
                *b = V::load(with.add((k * B + index) * BLOCK));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let a = V::splat(*from.add(r * BLOCK + k));
                for (acc, &b) in acc.iter_mut().zip(&b) {
                    *acc = a.mul_add(b, *acc);
                }
            }
        }
    }
}
