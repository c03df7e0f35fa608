//! Scaling an image so that two of its percentiles become 0 and 1.
//!
//! ```text
//! v' = (v - p1) / (p99 - p1), not clipped;   0 everywhere if p99 - p1 <= 0.001
//! ```
//!
//! The same as `normalize99` and `normalize_img` of Cellpose 3.1.1.1.

use rayon::prelude::*;

use crate::Volume;
use crate::filter::percentiles;
use crate::grid::voxel_count;

/// Percentiles that are no further apart than this make an image of zeros.
const SMALLEST_RANGE: f32 = 1e-3;

/// Of more voxels than this, only a part is looked at for the percentiles.
const MANY_VOXELS: usize = 224 * 224 * 224;

/// What a part of many voxels has along (z, y, x), about.
const SAMPLED: [usize; 3] = [50, 224, 224];

/// How an image is scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// The percentages of the voxels below what becomes 0 and 1.
    pub percents: [f64; 2],
    /// Whether the percentiles are those of the whole stack, rather than of each plane.
    pub whole_stack: bool,
}

impl Default for Normalisation {
    fn default() -> Self {
        Self { percents: [1.0, 99.0], whole_stack: true }
    }
}

/// Scales a stack, or each of its planes. What is constant, or holds a voxel that is not a
/// number, stays as it is. (`normalize_img` of one channel.)
///
/// # Panics
///
/// If a percentage is not from 0 to 100.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::cellpose::{Normalisation, normalise};
///
/// let ramp = Volume::from_fn([1, 1, 101], |[_, _, x]| x as f32);
/// let scaled = normalise(&ramp, &Normalisation::default());
/// assert_eq!((scaled.voxels[1], scaled.voxels[99]), (0.0, 1.0));
/// assert!(scaled.voxels[0] < 0.0 && scaled.voxels[100] > 1.0);
/// ```
#[must_use]
pub fn normalise(stack: &Volume<f32>, options: &Normalisation) -> Volume<f32> {
    let mut scaled = stack.clone();
    let [depth, height, width] = stack.shape;
    if voxel_count(stack.shape) == 0 {
        return scaled;
    }
    let shape = [if options.whole_stack { depth } else { 1 }, height, width];
    for part in scaled.voxels.chunks_exact_mut(voxel_count(shape)) {
        if varies(part) {
            let mut seen = Volume::new(shape, part.to_vec());
            if part.len() > MANY_VOXELS {
                seen = sampled(&seen);
            }
            scale(part, &percentiles(&seen, &options.percents));
        }
    }
    scaled
}

/// Scales a stack by percentiles of all its voxels, be it constant or not.
/// (`normalize99`.)
///
/// # Panics
///
/// If there is no voxel, or a percentage is not from 0 to 100.
#[must_use]
pub fn normalise99(stack: &Volume<f32>, percents: [f64; 2]) -> Volume<f32> {
    let mut scaled = stack.clone();
    scale(&mut scaled.voxels, &percentiles(stack, &percents));
    scaled
}

fn varies(voxels: &[f32]) -> bool {
    let first = voxels[0];
    let varies = voxels.par_iter().any(|voxel| *voxel != first);
    varies && !voxels.par_iter().any(|voxel| voxel.is_nan())
}

/// Scales so that two limits become 0 and 1.
fn scale(voxels: &mut [f32], limits: &[f64]) {
    let (low, range) = (limits[0] as f32, limits[1] as f32 - limits[0] as f32);
    voxels.par_iter_mut().for_each(|voxel| {
        *voxel = if range > SMALLEST_RANGE { (*voxel - low) / range } else { 0.0 };
    });
}

/// Every so many voxels along each axis.
fn sampled(stack: &Volume<f32>) -> Volume<f32> {
    let step: [usize; 3] = std::array::from_fn(|axis| (stack.shape[axis] / SAMPLED[axis]).max(1));
    let shape = std::array::from_fn(|axis| stack.shape[axis].div_ceil(step[axis]));
    Volume::from_fn(shape, |[z, y, x]| stack.at([z * step[0], y * step[1], x * step[2]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_planes_stay() {
        let stack =
            Volume::from_fn([3, 1, 101], |[z, _, x]| if z == 1 { 7.0 } else { (z + x) as f32 });
        let scaled = normalise(&stack, &Normalisation { whole_stack: false, ..Default::default() });
        assert_eq!(scaled.plane(1), stack.plane(1));
        assert_eq!((scaled.plane(0)[50], scaled.plane(2)[50]), (0.5, 0.5));
        assert_eq!(normalise99(&Volume::filled([1, 2, 2], 7.0), [1.0, 99.0]).voxels, [0.0; 4]);
        let empty = Volume::<f32>::new([0, 2, 2], vec![]);
        assert_eq!(normalise(&empty, &Normalisation::default()), empty);
    }

    #[test]
    fn a_small_range_is_zero() {
        let stack = Volume::new([1, 1, 3], vec![0.0, 0.0005, 0.001]);
        assert_eq!(normalise(&stack, &Normalisation::default()).voxels, [0.0; 3]);
    }

    #[test]
    fn what_is_no_number_stays() {
        let stack = Volume::new([1, 1, 3], vec![0.0, f32::NAN, 5.0]);
        let same = normalise(&stack, &Normalisation::default());
        assert_eq!((same.voxels[0], same.voxels[2]), (0.0, 5.0));
    }

    #[test]
    fn many_voxels_are_sampled_as_the_reference_does() {
        // Steps of 101 / 50 = 2 planes, 1 row, 500 / 224 = 2 columns.
        let stack = Volume::from_fn([101, 3, 500], |[z, y, x]| (z * 10_000 + y * 1000 + x) as f32);
        let part = sampled(&stack);
        assert_eq!(part.shape, [51, 3, 250]);
        assert_eq!(part.at([2, 1, 3]), stack.at([4, 1, 6]));
    }
}
