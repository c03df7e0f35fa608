//! Percentiles of many voxels without a sorted copy of them.
//!
//! The volumes are shown one after the other, once to count each half of the bits, and need not
//! be in memory.

use rayon::prelude::*;

use super::micro_fit::SeePair;
use crate::filter::{bin_of, count_lower, count_upper, joined};

/// Percentiles of all first and of all second volumes of some pairs, between order statistics by
/// a straight line at rank `percent / 100 · (n − 1)`, as NumPy's; NaN if there is no voxel or one
/// that is not a number. `show` is called twice.
pub(super) fn percentiles_of_pairs<E>(
    mut show: impl FnMut(SeePair) -> Result<(), E>,
    percents: [&[f64]; 2],
) -> Result<[Vec<f64>; 2], E> {
    let mut upper = [Vec::new(), Vec::new()];
    let mut all_numbers = [true; 2];
    show(&mut |a, b| {
        for (side, volume) in [a, b].into_iter().enumerate() {
            add(&mut upper[side], count_upper(&volume.voxels));
            all_numbers[side] &= volume.voxels.par_iter().all(|voxel| !voxel.is_nan());
        }
    })?;
    let counts = upper.each_ref().map(|counts| counts.iter().sum::<usize>());
    let known = [0, 1].map(|side| counts[side] > 0 && all_numbers[side]);
    let ranks = |side: usize| {
        let percents = percents[side].iter().filter(move |_| known[side]);
        percents.map(move |percent| Rank::of(*percent, counts[side]))
    };
    let mut searches: Vec<Search> = Vec::new();
    for (side, upper) in upper.iter().enumerate() {
        for place in ranks(side).flat_map(|rank| [rank.below, rank.above]) {
            let (upper, rank) = bin_of(upper, place);
            searches.push(Search { side, upper, rank, lower: Vec::new() });
        }
    }
    show(&mut |a, b| {
        for search in &mut searches {
            add(&mut search.lower, count_lower(&[a, b][search.side].voxels, search.upper));
        }
    })?;
    let mut found = searches.iter().map(Search::found);
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

/// Adds counts to those of the volumes before, if there are any.
fn add(sums: &mut Vec<usize>, counts: Vec<usize>) {
    if sums.is_empty() {
        *sums = counts;
    } else {
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
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

/// A search for one order statistic, of which the upper half is known.
struct Search {
    side: usize,
    upper: u32,
    /// The place among the numbers with this upper half.
    rank: usize,
    /// How many of them have each lower half.
    lower: Vec<usize>,
}

impl Search {
    fn found(&self) -> f64 {
        f64::from(joined(self.upper, bin_of(&self.lower, self.rank).0))
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::Volume;

    fn row(voxels: &[f32]) -> Volume<f32> {
        Volume::new([1, 1, voxels.len()], voxels.to_vec())
    }

    /// Percentiles of all volumes, which are the first of the pairs.
    fn percentiles(volumes: &[&Volume<f32>], percents: &[f64]) -> Vec<f64> {
        let show = |see: SeePair| {
            volumes.iter().for_each(|volume| see(volume, &row(&[f32::NAN])));
            Ok::<(), Infallible>(())
        };
        let [found, of_others] = percentiles_of_pairs(show, [percents, &[50.0]]).unwrap();
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
