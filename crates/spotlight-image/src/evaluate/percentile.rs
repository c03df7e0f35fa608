//! Percentiles of many voxels without a sorted copy of them.
//!
//! The bits of an f32 become a number of the same order; the order statistic is found digit
//! by digit from the front, each by counting the voxels that share the digits before.

use rayon::prelude::*;

use crate::Volume;

/// Bits that are counted at once.
const DIGIT_BITS: u32 = 11;

/// Voxels that one thread counts at a time.
const PIECE: usize = 1 << 18;

/// The percentile of all voxels of some volumes, between order statistics by a straight
/// line at rank `percent / 100 · (n − 1)`, as NumPy's; NaN if there is no voxel or one that
/// is not a number.
pub(super) fn percentile(volumes: &[&Volume<f32>], percent: f64) -> f64 {
    let count: usize = volumes.iter().map(|volume| volume.voxels.len()).sum();
    let numbers = |volume: &&Volume<f32>| volume.voxels.par_iter().all(|v| !v.is_nan());
    if count == 0 || !volumes.iter().all(numbers) {
        return f64::NAN;
    }
    let rank = (percent / 100.0).clamp(0.0, 1.0) * (count - 1) as f64;
    let below = rank.floor();
    let low = order_statistic(volumes, below as usize);
    if rank == below {
        return low;
    }
    let high = order_statistic(volumes, below as usize + 1);
    low + (high - low) * (rank - below)
}

/// The percentile of some numbers (`percent` of 0 to 100), between order statistics by a
/// straight line at rank `percent / 100 · (n − 1)`, as NumPy's; NaN if there is none or one
/// is NaN.
///
/// # Examples
///
/// ```
/// use spotlight_image::evaluate::percentile_of_numbers;
///
/// assert_eq!(percentile_of_numbers(&[4.0, 1.0, 2.0], 25.0), 1.5);
/// ```
#[must_use]
pub fn percentile_of_numbers(numbers: &[f64], percent: f64) -> f64 {
    if numbers.is_empty() || numbers.iter().any(|number| number.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (percent / 100.0).clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let [low, high] = [rank.floor(), rank.ceil()].map(|rank| sorted[rank as usize]);
    // Of two infinite neighbours the difference is not a number.
    if low == high { low } else { low + (high - low) * rank.fract() }
}

/// The largest of all voxels; NaN if there is no voxel or one that is not a number.
pub(super) fn largest(volumes: &[&Volume<f32>]) -> f64 {
    percentile(volumes, 100.0)
}

/// The voxel that would stand at `rank` if all were sorted.
fn order_statistic(volumes: &[&Volume<f32>], mut rank: usize) -> f64 {
    let (mut prefix, mut fixed_bits) = (0_u32, 0);
    while fixed_bits < u32::BITS {
        let bits = DIGIT_BITS.min(u32::BITS - fixed_bits);
        let shift = u32::BITS - fixed_bits - bits;
        let counts = digit_counts(volumes, prefix, fixed_bits, bits);
        let mut digit = 0;
        while rank >= counts[digit] {
            rank -= counts[digit];
            digit += 1;
        }
        prefix |= (digit as u32) << shift;
        fixed_bits += bits;
    }
    f64::from(from_ordered(prefix))
}

/// How often each next digit follows the digits found so far.
fn digit_counts(volumes: &[&Volume<f32>], prefix: u32, fixed_bits: u32, bits: u32) -> Vec<usize> {
    let shift = u32::BITS - fixed_bits - bits;
    let digits = 1_usize << bits;
    let same = |key: u32| fixed_bits == 0 || (key ^ prefix) >> (u32::BITS - fixed_bits) == 0;
    let count_piece = |piece: &[f32]| {
        let mut counts = vec![0_usize; digits];
        for key in piece.iter().map(|voxel| ordered(*voxel)).filter(|key| same(*key)) {
            counts[(key >> shift) as usize & (digits - 1)] += 1;
        }
        counts
    };
    let add = |mut a: Vec<usize>, b: Vec<usize>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    let pieces = volumes.par_iter().flat_map(|volume| volume.voxels.par_chunks(PIECE));
    pieces.map(count_piece).reduce(|| vec![0; digits], add)
}

/// Bits that compare as the numbers do.
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn from_ordered(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(voxels: &[f32]) -> Volume<f32> {
        Volume::new([1, 1, voxels.len()], voxels.to_vec())
    }

    #[test]
    fn between_order_statistics() {
        let (a, b) = (row(&[3.0, -1.0, f32::INFINITY]), row(&[-2.5, 0.0]));
        let found = |percent| percentile(&[&a, &b], percent);
        assert_eq!([0.0, 25.0, 50.0, 75.0].map(found), [-2.5, -1.0, 0.0, 3.0]);
        assert_eq!(found(30.0), -0.8);
        assert_eq!(largest(&[&a, &b]), f64::INFINITY);
    }

    #[test]
    fn of_numbers() {
        let found = |percent| percentile_of_numbers(&[4.0, 1.0, 3.0, 8.0], percent);
        assert_eq!([0.0, 50.0, 75.0, 100.0].map(found), [1.0, 3.5, 5.0, 8.0]);
        assert_eq!(percentile_of_numbers(&[3.0], 99.0), 3.0);
        assert_eq!(percentile_of_numbers(&[1.0, f64::INFINITY], 0.0), 1.0);
        assert_eq!(percentile_of_numbers(&[f64::INFINITY; 2], 50.0), f64::INFINITY);
        assert!(percentile_of_numbers(&[], 50.0).is_nan());
        assert!(percentile_of_numbers(&[1.0, f64::NAN], 50.0).is_nan());
    }

    #[test]
    fn as_sorting() {
        let many: Vec<f32> = (0..5000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 12) as f32 * 0.37 - 1e5)
            .collect();
        let mut sorted = many.clone();
        sorted.sort_by(f32::total_cmp);
        let volume = row(&many);
        for rank in [0, 1, 17, 2500, 4998, 4999] {
            assert_eq!(order_statistic(&[&volume], rank), f64::from(sorted[rank]));
        }
    }

    #[test]
    fn without_numbers() {
        assert!(percentile(&[], 3.0).is_nan());
        assert!(percentile(&[&row(&[1.0, f32::NAN])], 3.0).is_nan());
    }
}
