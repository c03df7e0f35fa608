//! Where the cells are: Otsu's threshold and the mask above it.
//!
//! Spotlight trains on voxels that belong to cells. A rough guess of where those are is
//! enough, so one threshold per stack will do: the intensity that best splits the
//! histogram of the fluorescence image in two.
//!
//! References:
//! - N. Otsu (1979), "A threshold selection method from gray-level histograms".
//! - A. A. Kalinin et al. (2025), section 2, "Foreground estimation".
//! - `skimage.filters.threshold_otsu` of scikit-image 0.26, whose rules these are.

mod parts;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::filter::{gaussian, median_cube};
use crate::{Border, Volume, voxel::Voxel};

pub(crate) use parts::otsu_of_parts;
pub use parts::{halo, threshold_of_parts};

/// Equal bins that [`threshold`] counts intensities in, as in scikit-image.
const BINS: usize = 256;

/// The smooth recipe first takes the median over a cube of this many voxels a side,
const MEDIAN_SIZE: usize = 5;

/// then blurs with a Gaussian of this many voxels along every axis,
const SIGMA: f64 = 5.0;

/// cut off at this many standard deviations.
const TRUNCATE: f64 = 4.0;

/// Up to this many grey levels have a counter each; wider ranges are sorted instead.
const COUNTERS: usize = 1 << 20;

/// Voxels that one thread counts at a time.
const PIECE: usize = 1 << 18;

/// How [`otsu_threshold`] counts intensities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bins {
    /// That many equal bins over [min, max], the last one closed; the threshold is the
    /// centre of a bin. scikit-image's rule for floats, with 256.
    Count(usize),
    /// One bin for each grey level; the threshold is the highest level of the lower class.
    /// scikit-image's rule for whole numbers.
    Integers,
}

/// What Otsu's threshold is computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtsuRecipe {
    /// The stack after a median over 5x5x5 voxels and a Gaussian blur of 5 voxels: the
    /// recipe of the paper's author.
    #[default]
    Smooth,
    /// The stack as it is, as the paper's text reads.
    Plain,
}

/// The foreground threshold of a stack; of `integer` stacks the plain recipe counts grey
/// levels instead of 256 bins.
///
/// # Panics
///
/// If there is no voxel, or one that is not finite; if `integer` is said of a stack that
/// has other than whole numbers and the recipe is plain.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::foreground::{OtsuRecipe, mask, threshold};
///
/// let bright = |p: [usize; 3]| if p[2] < 10 { 5.0 } else { 1.0 };
/// let stack = Volume::from_fn([8, 20, 40], bright);
/// let limit = threshold(&stack, false, OtsuRecipe::Smooth);
/// let cells = mask(&stack, limit);
/// assert_eq!(cells.voxels.iter().filter(|v| **v).count(), 8 * 20 * 10);
/// ```
#[must_use]
pub fn threshold(volume: &Volume<f32>, integer: bool, recipe: OtsuRecipe) -> f64 {
    match recipe {
        OtsuRecipe::Plain if integer => otsu_threshold(volume, Bins::Integers),
        OtsuRecipe::Plain => otsu_threshold(volume, Bins::Count(BINS)),
        OtsuRecipe::Smooth => otsu_threshold(&smooth(volume), Bins::Count(BINS)),
    }
}

/// The image that the smooth recipe thresholds: median and Gaussian of a stack.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, foreground::smooth};
///
/// let flat = Volume::filled([4, 6, 6], 3.0);
/// assert_eq!(smooth(&flat), flat);
/// ```
#[must_use]
pub fn smooth(volume: &Volume<f32>) -> Volume<f32> {
    gaussian(&median_cube(volume, MEDIAN_SIZE), [SIGMA; 3], TRUNCATE, Border::Nearest)
}

/// The voxels at or above a threshold: the mask M of the paper.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, foreground::mask};
///
/// let stack = Volume::new([1, 1, 3], vec![0.5, 1.0, 1.5]);
/// assert_eq!(mask(&stack, 1.0).voxels, [false, true, true]);
/// ```
#[must_use]
pub fn mask<T: Voxel>(volume: &Volume<T>, threshold: f64) -> Volume<bool> {
    let above = volume.voxels.par_iter().map(|voxel| voxel.to_f64() >= threshold);
    Volume::new(volume.shape, above.collect())
}

/// The intensity that splits the voxels into the two classes furthest apart.
///
/// "Furthest apart" is the largest variance between the classes; of several equal ones the
/// lowest intensity is taken. A volume of a single intensity has no two classes and yields
/// that intensity.
///
/// # Panics
///
/// If there is no voxel, or one that is not finite; with [`Bins::Integers`] if a voxel is
/// not a whole number; with [`Bins::Count`] if that is 0.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::foreground::{Bins, otsu_threshold};
///
/// let stack = Volume::new([1, 1, 4], vec![10.0_f32, 12.0, 90.0, 95.0]);
/// assert_eq!(otsu_threshold(&stack, Bins::Integers), 12.0);
/// ```
#[must_use]
pub fn otsu_threshold<T: Voxel>(volume: &Volume<T>, bins: Bins) -> f64 {
    let (low, high) = range(&volume.voxels);
    if low == high {
        return low;
    }
    let histogram = match bins {
        Bins::Count(count) => {
            let bins = EqualBins::new::<T>(low, high, count);
            let counts = count_voxels(&volume.voxels, count, |value| bins.bin_of(value));
            return bins.threshold::<T>(&counts);
        }
        Bins::Integers => grey_levels(&volume.voxels, low, high),
    };
    best_split(&histogram)
}

/// A bin: its centre and how many voxels fall in.
type Bin = (f64, u64);

/// The centre of the bin that ends the lower class.
fn best_split(histogram: &[Bin]) -> f64 {
    let moments = |(center, count): &Bin| (*count as f64, *count as f64 * center);
    let add = |sum: &mut (f64, f64), bin: (f64, f64)| {
        *sum = (sum.0 + bin.0, sum.1 + bin.1);
        Some(*sum)
    };
    let lower: Vec<_> = histogram.iter().map(moments).scan((0.0, 0.0), add).collect();
    let mut upper: Vec<_> = histogram.iter().rev().map(moments).scan((0.0, 0.0), add).collect();
    upper.reverse();
    let (mut best, mut best_variance) = (0, -1.0);
    for (bin, ((n1, sum1), (n2, sum2))) in lower.iter().zip(&upper[1..]).enumerate() {
        let distance = sum1 / n1 - sum2 / n2;
        let variance = n1 * n2 * distance * distance;
        if variance > best_variance {
            (best, best_variance) = (bin, variance);
        }
    }
    histogram[best].0
}

/// Equal bins over [low, high]. Edges are rounded to the precision of the voxels, as NumPy does,
/// so that a voxel on an edge falls on the same side.
pub(crate) struct EqualBins {
    low: f64,
    scale: f64,
    /// Where the bins begin, and where the last one ends.
    edges: Vec<f64>,
}

impl EqualBins {
    /// `count` bins for voxels from `low` to `high`.
    pub(crate) fn new<T: Voxel>(low: f64, high: f64, count: usize) -> Self {
        assert!(count > 0, "a histogram needs a bin");
        let width = round::<T>(round::<T>(high - low) / count as f64);
        let edge = |i: usize| round::<T>(round::<T>(i as f64 * width) + low);
        let mut edges: Vec<f64> = (0..count).map(edge).collect();
        edges.push(high);
        Self { low, scale: count as f64 / (high - low), edges }
    }

    /// The bin of a value from `low` to `high`.
    pub(crate) fn bin_of(&self, value: f64) -> usize {
        let count = self.edges.len() - 1;
        let guess = (((value - self.low) * self.scale) as usize).min(count - 1);
        if value < self.edges[guess] {
            guess - 1
        } else if guess + 1 < count && value >= self.edges[guess + 1] {
            guess + 1
        } else {
            guess
        }
    }

    /// Otsu's threshold of voxels of which each bin holds so many.
    pub(crate) fn threshold<T: Voxel>(&self, counts: &[u64]) -> f64 {
        let center = |edge: &[f64]| round::<T>(round::<T>(edge[0] + edge[1]) / 2.0);
        let histogram: Vec<Bin> =
            self.edges.windows(2).map(center).zip(counts.iter().copied()).collect();
        best_split(&histogram)
    }
}

/// A number as precise as a voxel.
fn round<T: Voxel>(x: f64) -> f64 {
    if T::WHOLE { x } else { T::from_f64(x).to_f64() }
}

/// The grey levels that occur.
///
/// Levels that do not occur would change nothing: no split after them differs from the
/// split after the level below.
fn grey_levels<T: Voxel>(voxels: &[T], low: f64, high: f64) -> Vec<Bin> {
    let whole = |v: &T| v.to_f64().fract() == 0.0;
    assert!(T::WHOLE || voxels.par_iter().all(whole), "grey levels must be whole numbers");
    let levels = high - low + 1.0;
    if levels <= COUNTERS as f64 {
        let counts = count_voxels(voxels, levels as usize, |value| (value - low) as usize);
        let bins = counts.into_iter().enumerate().map(|(i, count)| (low + i as f64, count));
        return bins.filter(|(_, count)| *count > 0).collect();
    }
    let mut values: Vec<f64> = voxels.iter().map(|v| v.to_f64()).collect();
    values.par_sort_unstable_by(f64::total_cmp);
    values.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)).collect()
}

/// Counts the voxels in each of `bins` bins.
pub(crate) fn count_voxels<T: Voxel>(
    voxels: &[T],
    bins: usize,
    bin: impl Fn(f64) -> usize + Sync,
) -> Vec<u64> {
    let none = || vec![0; bins];
    let count = |mut counts: Vec<u64>, piece: &[T]| {
        piece.iter().for_each(|voxel| counts[bin(voxel.to_f64())] += 1);
        counts
    };
    let add = |mut counts: Vec<u64>, others: Vec<u64>| {
        counts.iter_mut().zip(others).for_each(|(a, b)| *a += b);
        counts
    };
    voxels.par_chunks(PIECE).fold(none, count).reduce(none, add)
}

fn range<T: Voxel>(voxels: &[T]) -> (f64, f64) {
    assert!(!voxels.is_empty(), "no voxels, no threshold");
    let widen = |(low, high): (f64, f64), voxel: &T| {
        let value = voxel.to_f64();
        assert!(value.is_finite(), "a voxel is {value}; thresholds need finite voxels");
        (low.min(value), high.max(value))
    };
    let none = || (f64::INFINITY, f64::NEG_INFINITY);
    let join = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
    voxels.par_chunks(PIECE).map(|piece| piece.iter().fold(none(), widen)).reduce(none, join)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(voxels: &[f32], bins: Bins, expected: f64) {
        let image = Volume::new([1, 1, voxels.len()], voxels.to_vec());
        let found = otsu_threshold(&image, bins);
        assert!((found - expected).abs() < 1e-12, "found {found}, want {expected}");
    }

    // Expected values are those of skimage.filters.threshold_otsu, version 0.26.
    #[test]
    fn two_levels() {
        check(&[0.0, 0.0, 1.0, 1.0], Bins::Count(256), 0.001_953_125);
    }
    #[test]
    fn uneven_classes() {
        check(&[0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 100.0], Bins::Count(256), 2.148_437_5);
    }
    #[test]
    fn two_grey_levels_are_both_foreground() {
        check(&[100.0, 100.0, 100.0, 4000.0], Bins::Integers, 100.0);
    }
    #[test]
    fn constant_volume_yields_its_intensity() {
        check(&[7.5; 5], Bins::Count(256), 7.5);
        check(&[7.0; 5], Bins::Integers, 7.0);
    }

    #[test]
    fn wide_ranges_agree_with_counters() {
        let small = [3_u32, 3, 5, 9, 9, 12, 700, 800, 801, 801];
        let volume = Volume::new([1, 2, 5], small.to_vec());
        let narrow = otsu_threshold(&volume, Bins::Integers);
        let wide = volume.map(|v| v * 5_000_000);
        assert_eq!(otsu_threshold(&wide, Bins::Integers), narrow * 5e6);
    }

    #[test]
    #[should_panic(expected = "finite")]
    fn not_a_number() {
        check(&[0.0, f32::NAN], Bins::Count(256), 0.0);
    }
}
