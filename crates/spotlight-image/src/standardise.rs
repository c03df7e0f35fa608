//! Whole-stack standardisation.
//!
//! Stacks are compared and learned from in units of their own standard deviation. F-net
//! subtracts the mean (C. Ounkomol et al., 2018); Spotlight subtracts the foreground
//! threshold from the target instead, so that 0 divides background from foreground
//! (A. A. Kalinin et al., 2025, appendix A.4). Both divide by the standard deviation about
//! the mean of the same unfiltered stack.

use rayon::prelude::*;

use crate::reduce::{RunningSums, sums};
use crate::{Volume, voxel::Voxel};

/// The middle planes that [`moments_around_centre`] looks at, as in F-net.
const CENTRE_PLANES: usize = 32;

/// Mean and standard deviation of the voxels of a stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the population (divided by n); exactly 0 if all voxels
    /// are equal.
    pub std: f64,
}

/// Mean and standard deviation over all voxels.
///
/// # Panics
///
/// If there is no voxel.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, standardise::moments};
///
/// let stack = Volume::new([1, 1, 4], vec![1.0_f32, 3.0, 1.0, 3.0]);
/// let found = moments(&stack);
/// assert_eq!((found.mean, found.std), (2.0, 1.0));
/// ```
#[must_use]
pub fn moments<T: Voxel>(volume: &Volume<T>) -> Moments {
    moments_of(&volume.voxels)
}

/// Mean and standard deviation over the 32 middle planes only, those around plane n // 2.
///
/// A stack of fewer planes is taken whole. This is F-net's later choice
/// (`norm_around_center`), not the one of its paper.
///
/// # Panics
///
/// If there is no voxel.
#[must_use]
pub fn moments_around_centre<T: Voxel>(volume: &Volume<T>) -> Moments {
    let planes = volume.shape[0];
    let count = planes.min(CENTRE_PLANES);
    let first = (planes / 2).saturating_sub(CENTRE_PLANES / 2).min(planes - count);
    let plane = volume.shape[1] * volume.shape[2];
    moments_of(&volume.voxels[first * plane..(first + count) * plane])
}

/// [`moments`] of a stack that comes part by part; the same to the last bit.
///
/// The parts come twice, each time in raster order: first to [`RunningMoments::add`], then to
/// [`RunningDeviations::add`].
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::standardise::{RunningMoments, moments};
///
/// let stack = Volume::from_fn([6, 5, 4], |[z, y, x]| ((z * y + x) % 7) as f32);
/// let parts = stack.voxels.chunks(20);
/// let mut running = RunningMoments::default();
/// parts.clone().for_each(|part| running.add(part));
/// let mut running = running.mean().unwrap();
/// parts.for_each(|part| running.add(part));
/// assert_eq!(running.finish(), moments(&stack));
/// ```
#[derive(Clone, Debug)]
pub struct RunningMoments {
    origin: Option<f64>,
    sum: RunningSums<1>,
    count: u64,
}

impl Default for RunningMoments {
    fn default() -> Self {
        Self { origin: None, sum: RunningSums::new(), count: 0 }
    }
}

impl RunningMoments {
    /// Adds the next voxels.
    pub fn add(&mut self, voxels: &[f32]) {
        let Some(first) = voxels.first() else { return };
        let origin = *self.origin.get_or_insert(f64::from(*first));
        self.sum.add(voxels.len(), |[sum], i| *sum += f64::from(voxels[i]) - origin);
        self.count += voxels.len() as u64;
    }

    /// The mean, about which the same voxels are to be added again; none of no voxels.
    #[must_use]
    pub fn mean(self) -> Option<RunningDeviations> {
        let (origin, count) = (self.origin?, self.count as f64);
        let [sum] = self.sum.finish();
        Some(RunningDeviations { origin, shift: sum / count, count, squares: RunningSums::new() })
    }
}

/// The second half of [`RunningMoments`].
#[derive(Clone, Debug)]
pub struct RunningDeviations {
    origin: f64,
    shift: f64,
    count: f64,
    squares: RunningSums<1>,
}

impl RunningDeviations {
    /// Adds the next voxels, again from the first on.
    pub fn add(&mut self, voxels: &[f32]) {
        let (origin, shift) = (self.origin, self.shift);
        self.squares.add(voxels.len(), |[squares], i| {
            *squares += (f64::from(voxels[i]) - origin - shift).powi(2);
        });
    }

    /// Mean and standard deviation.
    #[must_use]
    pub fn finish(self) -> Moments {
        let [squares] = self.squares.finish();
        Moments { mean: self.origin + self.shift, std: (squares / self.count).sqrt() }
    }
}

/// Every voxel as `(voxel - centre) / scale`.
///
/// # Panics
///
/// If the scale is not a positive number. (A stack of one value has no scale.)
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::standardise::{moments, standardise};
///
/// let stack = Volume::new([1, 1, 4], vec![10.0, 30.0, 10.0, 30.0]);
/// let found = standardise(&stack, 10.0, moments(&stack).std);
/// assert_eq!(found.voxels, [0.0, 2.0, 0.0, 2.0]);
/// ```
#[must_use]
pub fn standardise(volume: &Volume<f32>, centre: f64, scale: f64) -> Volume<f32> {
    assert!(scale > 0.0, "the scale must be a positive number, is {scale}");
    let voxels = volume.voxels.par_iter().map(|v| ((f64::from(*v) - centre) / scale) as f32);
    Volume::new(volume.shape, voxels.collect())
}

/// Deviations are taken from the first voxel first: sums stay small, and equal voxels
/// have a deviation of exactly 0.
fn moments_of<T: Voxel>(voxels: &[T]) -> Moments {
    assert!(!voxels.is_empty(), "no voxels, no moments");
    let count = voxels.len() as f64;
    let origin = voxels[0].to_f64();
    let [sum] = sums(voxels.len(), |range| {
        [voxels[range].iter().map(|v| v.to_f64() - origin).sum::<f64>()]
    });
    let shift = sum / count;
    let [squares] = sums(voxels.len(), |range| {
        [voxels[range].iter().map(|v| (v.to_f64() - origin - shift).powi(2)).sum::<f64>()]
    });
    Moments { mean: origin + shift, std: (squares / count).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_voxels_have_no_deviation() {
        let found = moments(&Volume::filled([3, 50, 999], 0.1_f32));
        assert_eq!(found, Moments { mean: f64::from(0.1_f32), std: 0.0 });
    }

    #[track_caller]
    fn check_centre(planes: usize, expected: std::ops::Range<usize>) {
        let stack = Volume::from_fn([planes, 1, 1], |[z, _, _]| (z * z) as f32);
        let part = Volume::from_fn([expected.len(), 1, 1], |[z, _, _]| {
            ((z + expected.start) * (z + expected.start)) as f32
        });
        assert_eq!(moments_around_centre(&stack), moments(&part));
    }

    #[test]
    fn centre_is_half_the_number_of_planes() {
        check_centre(5, 0..5);
        check_centre(32, 0..32);
        check_centre(33, 0..32);
        check_centre(34, 1..33);
        check_centre(65, 16..48);
    }

    #[test]
    #[should_panic(expected = "positive")]
    fn no_scale() {
        let stack = Volume::filled([1, 1, 2], 1.0);
        let _ = standardise(&stack, 1.0, moments(&stack).std);
    }
}
