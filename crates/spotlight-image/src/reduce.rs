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

/// [`sums`] of voxels that come part by part in raster order; the same to the last bit, however
/// they are parted.
#[derive(Clone, Debug)]
pub(crate) struct RunningSums<const N: usize> {
    total: [f64; N],
    /// The piece that is not whole yet.
    piece: [f64; N],
    filled: usize,
}

impl<const N: usize> RunningSums<N> {
    /// Of nothing.
    pub(crate) fn new() -> Self {
        Self { total: [0.0; N], piece: [0.0; N], filled: 0 }
    }

    /// Adds what `add` adds for each of the next `count` voxels.
    pub(crate) fn add(&mut self, count: usize, add: impl Fn(&mut [f64; N], usize) + Sync) {
        let head = if self.filled == 0 { 0 } else { count.min(PIECE - self.filled) };
        (0..head).for_each(|i| add(&mut self.piece, i));
        self.filled += head;
        if self.filled == PIECE {
            self.end_piece();
        }
        let whole = (count - head) / PIECE;
        let piece = |i: usize| {
            let mut sum = [0.0; N];
            let first = head + i * PIECE;
            (first..first + PIECE).for_each(|i| add(&mut sum, i));
            sum
        };
        let pieces: Vec<[f64; N]> = (0..whole).into_par_iter().map(piece).collect();
        for sum in pieces {
            self.piece = sum;
            self.end_piece();
        }
        (head + whole * PIECE..count).for_each(|i| add(&mut self.piece, i));
        self.filled += count - head - whole * PIECE;
    }

    /// What was added.
    pub(crate) fn finish(mut self) -> [f64; N] {
        if self.filled > 0 {
            self.end_piece();
        }
        self.total
    }

    fn end_piece(&mut self) {
        self.total = std::array::from_fn(|i| self.total[i] + self.piece[i]);
        (self.piece, self.filled) = ([0.0; N], 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_same_bits() {
        let numbers: Vec<f64> =
            (0..3 * PIECE + 12_345).map(|i| ((i * i) as f64).sin() * 1e3).collect();
        let [expected] = sums(numbers.len(), |range| [numbers[range].iter().sum::<f64>()]);
        for part in [1000, 65_535, 65_536, 65_537, 150_001, 1 << 20] {
            let mut running = RunningSums::new();
            for part in numbers.chunks(part) {
                running.add(part.len(), |[sum], i| *sum += part[i]);
            }
            assert_eq!(running.finish(), [expected], "{part}");
        }
        assert_eq!(RunningSums::<2>::new().finish(), [0.0; 2]);
    }
}
