//! Sums over many voxels, in f64, that do not depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

/// Voxels are summed in pieces of this many, and the pieces in their order.
const PIECE: usize = 1 << 16;

/// Adds up what `terms` yields for every piece of `0..count`.
pub(crate) fn sums<const N: usize>(
    count: usize,
    terms: impl Fn(Range<usize>) -> [f64; N] + Sync,
) -> [f64; N] {
    let piece = |i: usize| i * PIECE..count.min((i + 1) * PIECE);
    let pieces = 0..count.div_ceil(PIECE);
    let parts: Vec<[f64; N]> = pieces.into_par_iter().map(|i| terms(piece(i))).collect();
    parts.iter().fold([0.0; N], |total, part| std::array::from_fn(|i| total[i] + part[i]))
}
