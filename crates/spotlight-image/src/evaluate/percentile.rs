//! Percentiles of many voxels without a sorted copy of them.
//!
//! The bits of an f32 become a number of the same order; the order statistic is found digit
//! by digit from the front, each by counting the voxels that share the digits before. The
//! volumes are shown one after the other, once for each digit, and need not be in memory.

use rayon::prelude::*;

use super::micro_fit::SeePair;
use crate::Volume;

/// Bits that are counted at once.
const DIGIT_BITS: u32 = 11;

/// Voxels that one thread counts at a time.
const PIECE: usize = 1 << 18;

/// Percentiles of all first and of all second volumes of some pairs, between order statistics by
/// a straight line at rank `percent / 100 · (n − 1)`, as NumPy's; NaN if there is no voxel or one
/// that is not a number. `show` is called three times.
pub(super) fn percentiles_of_pairs<E>(
    show: &mut impl FnMut(SeePair) -> Result<(), E>,
    percents: [&[f64]; 2],
) -> Result<[Vec<f64>; 2], E> {
    let mut first = [Digits::first(), Digits::first()];
    let mut all_numbers = [true; 2];
    show(&mut |a, b| {
        for (side, volume) in [a, b].into_iter().enumerate() {
            first[side].count(volume);
            all_numbers[side] &= volume.voxels.par_iter().all(|voxel| !voxel.is_nan());
        }
    })?;
    let counts = first.each_ref().map(|digits| digits.counts.iter().sum::<usize>());
    let known = [0, 1].map(|side| counts[side] > 0 && all_numbers[side]);
    let ranks = |side: usize| {
        let percents = percents[side].iter().filter(move |_| known[side]);
        percents.map(move |percent| Rank::of(*percent, counts[side]))
    };
    let mut searches: Vec<(usize, Search)> = Vec::new();
    for (side, first) in first.iter().enumerate() {
        let places = ranks(side).flat_map(|rank| [rank.below, rank.above]);
        searches.extend(places.map(|place| (side, Search::after(first, place))));
    }
    for _ in 0..2 {
        let mut digits: Vec<Digits> = searches.iter().map(|(_, s)| s.next_digits()).collect();
        show(&mut |a, b| {
            for (digits, (side, _)) in digits.iter_mut().zip(&searches) {
                digits.count([a, b][*side]);
            }
        })?;
        for (digits, (_, search)) in digits.iter().zip(&mut searches) {
            *search = Search::after(digits, search.rank);
        }
    }
    let mut found = searches.iter().map(|(_, search)| f64::from(from_ordered(search.prefix)));
    Ok([0, 1].map(|side| {
        if !known[side] {
            return vec![f64::NAN; percents[side].len()];
        }
        let between = |rank: Rank| {
            let (low, high) = (found.next().unwrap_or(f64::NAN), found.next().unwrap_or(f64::NAN));
            if rank.share == 0.0 { low } else { low + (high - low) * rank.share }
        };
        ranks(side).map(between).collect()
    }))
}

/// Between which places of the sorted numbers a percentile lies.
#[derive(Clone, Copy)]
struct Rank {
    below: usize,
    above: usize,
    share: f64,
}

impl Rank {
    fn of(percent: f64, count: usize) -> Self {
        let rank = (percent / 100.0).clamp(0.0, 1.0) * (count - 1) as f64;
        let below = rank.floor() as usize;
        Self { below, above: (below + 1).min(count - 1), share: rank - rank.floor() }
    }
}

/// A search for one order statistic, of which the leading bits are known.
struct Search {
    prefix: u32,
    fixed_bits: u32,
    /// The place among the numbers that begin with these bits.
    rank: usize,
}

impl Search {
    /// The search of a place among those that were counted, one digit later.
    fn after(digits: &Digits, mut rank: usize) -> Self {
        let mut digit = 0;
        while rank >= digits.counts[digit] {
            rank -= digits.counts[digit];
            digit += 1;
        }
        let shift = u32::BITS - digits.fixed_bits - digits.bits;
        let prefix = digits.prefix | (digit as u32) << shift;
        Self { prefix, fixed_bits: digits.fixed_bits + digits.bits, rank }
    }

    fn next_digits(&self) -> Digits {
        Digits::new(self.prefix, self.fixed_bits)
    }
}

/// How often each digit follows the bits found so far.
struct Digits {
    prefix: u32,
    fixed_bits: u32,
    bits: u32,
    counts: Vec<usize>,
}

impl Digits {
    fn first() -> Self {
        Self::new(0, 0)
    }

    fn new(prefix: u32, fixed_bits: u32) -> Self {
        let bits = DIGIT_BITS.min(u32::BITS - fixed_bits);
        Self { prefix, fixed_bits, bits, counts: vec![0; 1 << bits] }
    }

    fn count(&mut self, volume: &Volume<f32>) {
        let (prefix, fixed_bits) = (self.prefix, self.fixed_bits);
        let shift = u32::BITS - fixed_bits - self.bits;
        let digits = self.counts.len();
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
        let pieces = volume.voxels.par_chunks(PIECE).map(count_piece);
        let found = pieces.reduce(|| vec![0; digits], add);
        self.counts.iter_mut().zip(found).for_each(|(sum, count)| *sum += count);
    }
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
    use std::convert::Infallible;

    use super::*;

    fn row(voxels: &[f32]) -> Volume<f32> {
        Volume::new([1, 1, voxels.len()], voxels.to_vec())
    }

    /// Percentiles of all volumes, which are the first of the pairs.
    fn percentiles(volumes: &[&Volume<f32>], percents: &[f64]) -> Vec<f64> {
        let mut show = |see: SeePair| {
            volumes.iter().for_each(|volume| see(volume, &row(&[f32::NAN])));
            Ok::<(), Infallible>(())
        };
        let [found, of_others] = percentiles_of_pairs(&mut show, [percents, &[50.0]]).unwrap();
        assert!(of_others[0].is_nan());
        found
    }

    #[test]
    fn between_order_statistics() {
        let (a, b) = (row(&[3.0, -1.0, f32::INFINITY]), row(&[-2.5, 0.0]));
        let found = percentiles(&[&a, &b], &[0.0, 25.0, 50.0, 75.0, 30.0, 100.0]);
        assert_eq!(found, [-2.5, -1.0, 0.0, 3.0, -0.8, f64::INFINITY]);
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
        let many: Vec<f32> = (0..5001_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 12) as f32 * 0.37 - 1e5)
            .collect();
        let mut sorted = many.clone();
        sorted.sort_by(f32::total_cmp);
        let (first, second) = (row(&many[..1234]), row(&many[1234..]));
        let ranks = [0, 1, 17, 2500, 4998, 5000];
        let found = percentiles(&[&first, &second], &ranks.map(|rank| f64::from(rank) / 50.0));
        for (rank, found) in ranks.iter().zip(found) {
            // The rank itself is rounded: 17 may become 17.000000000000004.
            let expected = f64::from(sorted[*rank as usize]);
            assert!((found - expected).abs() < 1e-6, "{rank}: {found}, expected {expected}");
        }
    }

    #[test]
    fn without_numbers() {
        assert!(percentiles(&[], &[3.0])[0].is_nan());
        assert!(percentiles(&[&row(&[1.0, f32::NAN])], &[3.0])[0].is_nan());
    }
}
