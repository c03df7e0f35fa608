//! The maximum of 2×2 pixels of a plane.

use super::vector::{Task, Vector};
use crate::tensor::BLOCK;

/// The maxima of some rows of pairs of rows of one block.
pub(crate) struct Pool<'a> {
    /// Whole rows, an even number of them.
    pub(crate) from: &'a [[f32; BLOCK]],
    /// Pixels of a row, an even number.
    pub(crate) width: usize,
    pub(crate) to: &'a mut [[f32; BLOCK]],
}

impl Task for Pool<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let pairs = self.from.chunks_exact(2 * self.width);
        for (rows, to) in pairs.zip(self.to.chunks_exact_mut(self.width / 2)) {
            let (upper, lower) = rows.split_at(self.width);
            for (x, to) in to.iter_mut().enumerate() {
                for (channel, to) in to.iter_mut().enumerate() {
                    let [a, b] = [upper[2 * x][channel], upper[2 * x + 1][channel]];
                    let [c, d] = [lower[2 * x][channel], lower[2 * x + 1][channel]];
                    *to = larger(larger(a, b), larger(c, d));
                }
            }
        }
    }
}

/// The larger of two numbers; NaN if one is, as in PyTorch.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}
