//! Percentiles of a stack, and stretching it between two of them.

use rayon::prelude::*;

use super::order::{bin_of, count_lower, count_upper, joined};
use crate::Volume;

/// The values that these percentages of the voxels lie below.
///
/// Between two voxels in order of size the value is interpolated, as in `numpy.percentile`:
/// percentage q stands at place q / 100 · (n - 1) of the n voxels.
///
/// # Panics
///
/// If there is no voxel, or a percentage is not from 0 to 100.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, filter::percentiles};
///
/// let volume = Volume::new([1, 1, 5], vec![4.0, 1.0, 2.0, 8.0, 3.0]);
/// assert_eq!(percentiles(&volume, &[50.0, 90.0]), [3.0, 6.4]);
/// ```
#[must_use]
pub fn percentiles(volume: &Volume<f32>, percents: &[f64]) -> Vec<f64> {
    assert!(!volume.voxels.is_empty(), "no voxels, no percentiles");
    let mut ranks = Ranks::new(&volume.voxels);
    let count = volume.voxels.len();
    percents.iter().map(|percent| percentile(*percent, count, |rank| ranks.nth(rank))).collect()
}

/// A percentile of `count` voxels, of which `nth` tells the one at a place in order of size.
pub(crate) fn percentile(percent: f64, count: usize, mut nth: impl FnMut(usize) -> f32) -> f64 {
    let (first, second) = ranks_of(percent, count);
    let low = f64::from(nth(first));
    let Some((rank, part)) = second else { return low };
    let high = f64::from(nth(rank));
    // From the nearer end, as NumPy does.
    if part < 0.5 { low + (high - low) * part } else { high - (high - low) * (1.0 - part) }
}

/// The places in order of size that a percentile lies between: the first, and the second with the
/// way to it where it does not lie on the first.
pub(crate) fn ranks_of(percent: f64, count: usize) -> (usize, Option<(usize, f64)>) {
    assert!((0.0..=100.0).contains(&percent), "{percent} % is not a percentile");
    let place = percent / 100.0 * (count - 1) as f64;
    let part = place.fract();
    (place as usize, (part != 0.0).then_some((place as usize + 1, part)))
}

/// Maps the range between two percentiles to [0, 1] and clips what lies outside.
///
/// A stack of one value, or one whose two percentiles are equal, becomes 0 everywhere.
///
/// # Panics
///
/// If there is no voxel, or a percentage is not from 0 to 100.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, filter::stretch};
///
/// let volume = Volume::new([1, 1, 5], vec![4.0, 1.0, 2.0, 8.0, 3.0]);
/// assert_eq!(stretch(&volume, [25.0, 75.0]).voxels, [1.0, 0.0, 0.0, 1.0, 0.5]);
/// ```
#[must_use]
pub fn stretch(volume: &Volume<f32>, percents: [f64; 2]) -> Volume<f32> {
    let limits = percentiles(volume, &percents);
    let stretching = Stretching::new([limits[0], limits[1]]);
    Volume::new(volume.shape, volume.voxels.par_iter().map(|v| stretching.apply(*v)).collect())
}

/// The map from the range between two values to [0, 1].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretching {
    low: f32,
    high: f32,
    width: f32,
}

impl Stretching {
    pub(crate) fn new([low, high]: [f64; 2]) -> Self {
        Self { low: low as f32, high: high as f32, width: (high - low) as f32 }
    }

    /// Where a voxel comes to lie; never lower for a higher voxel.
    pub(crate) fn apply(&self, voxel: f32) -> f32 {
        if self.width <= 0.0 {
            return 0.0;
        }
        // In f32, as the reference does it.
        ((voxel.max(self.low).min(self.high) - self.low) / self.width).min(1.0)
    }
}

/// Voxels in order of size, sorted no further than is asked for.
struct Ranks<'a> {
    voxels: &'a [f32],
    /// How many voxels have each upper half of the bits.
    upper: Vec<usize>,
    /// An upper half, and how many of its voxels have each lower half.
    lower: Option<(u32, Vec<usize>)>,
}

impl<'a> Ranks<'a> {
    fn new(voxels: &'a [f32]) -> Self {
        Self { voxels, upper: count_upper(voxels), lower: None }
    }

    /// The voxel at a place in order of size.
    fn nth(&mut self, rank: usize) -> f32 {
        let (upper, rest) = bin_of(&self.upper, rank);
        // Ranks are asked for in pairs, which mostly share the upper half.
        if self.lower.as_ref().is_none_or(|(known, _)| *known != upper) {
            self.lower = Some((upper, count_lower(self.voxels, upper)));
        }
        let lower = self.lower.as_ref().map_or(0, |(_, counts)| bin_of(counts, rest).0);
        joined(upper, lower)
    }
}
