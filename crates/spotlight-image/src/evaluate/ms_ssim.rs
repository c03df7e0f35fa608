//! Multi-scale structural similarity, as in torchmetrics.
//!
//! ```text
//! for each scale, the finest first:
//!     the images are continued by a mirror at the centre of the last voxel
//!     variance  v = max(mean(x²) − mean(x)², 0) under a Gaussian window
//!     cs   = mean of (2 c + C2) / (v_x + v_y + C2), as far as windows lie inside
//!     ssim = mean of the structural similarity over all voxels
//!     halve both images by the mean over 2×2 (2×2×2) voxels, an odd one dropped
//! result = Π max(cs, 0)^weight over all scales but the last, there max(ssim, 0)^weight
//! ```
//!
//! References:
//! - Z. Wang, E. P. Simoncelli, A. C. Bovik (2003), "Multiscale structural similarity for
//!   image quality assessment".
//! - `multiscale_structural_similarity_index_measure` of torchmetrics 1.8, in f64.

use rayon::prelude::*;

use super::ssim::pair_terms;
use super::window::{Means, Window};
use crate::{Border, Volume, grid::voxel_count, voxel::Voxel};

/// Scales, window and constants.
#[derive(Clone, Debug, PartialEq)]
pub struct MsSsim {
    /// Exponent of each scale, the finest first.
    pub weights: Vec<f64>,
    /// Standard deviation of the Gaussian window, in voxels of each scale.
    pub sigma: f64,
    /// Share of the data range that keeps the quotient of the means stable.
    pub k1: f64,
    /// Share of the data range that keeps the quotient of the variances stable.
    pub k2: f64,
}

impl Default for MsSsim {
    fn default() -> Self {
        let weights = vec![0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
        Self { weights, sigma: 1.5, k1: 0.01, k2: 0.03 }
    }
}

/// Multi-scale structural similarity of two images; NaN where they are too small, or the
/// data range is not positive.
///
/// A single plane is compared in 2D, a stack in 3D. With s scales and a window of side w
/// the extents along y and x divided by (s − 1)² (whole part, at least by 1) must exceed
/// w − 1, and no scale may be shorter than half a window: five scales need 176 voxels.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{MsSsim, ms_ssim};
///
/// let target = Volume::from_fn([1, 180, 180], |[_, y, x]| ((y / 9 + x / 7) % 4) as f32);
/// let options = MsSsim::default();
/// assert!((ms_ssim(&target, &target, 3.0, &options) - 1.0).abs() < 1e-12);
/// assert!(ms_ssim(&target, &target.map(|v| v * 0.5), 3.0, &options) < 0.9);
/// ```
#[must_use]
pub fn ms_ssim(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    data_range: f64,
    options: &MsSsim,
) -> f64 {
    multi_scale(target, prediction, data_range, options)
}

/// [`ms_ssim`] of images of any type.
pub(super) fn multi_scale<T: Voxel>(
    target: &Volume<T>,
    prediction: &Volume<T>,
    data_range: f64,
    options: &MsSsim,
) -> f64 {
    assert_eq!(target.shape, prediction.shape, "images to compare must have one shape");
    if data_range.is_nan() || data_range <= 0.0 || !large_enough(target.shape, options) {
        return f64::NAN;
    }
    let last = options.weights.len() - 1;
    let mut product = 1.0;
    let mut halves: Option<[Volume<f64>; 2]> = None;
    for (scale, weight) in options.weights.iter().enumerate() {
        let [contrast, similarity] = match &halves {
            None => scale_means(target, prediction, data_range, options),
            Some([a, b]) => scale_means(a, b, data_range, options),
        };
        let value = if scale == last { similarity } else { contrast };
        // A comparison, since the maximum of NaN and 0 would be 0.
        product *= if value < 0.0 { 0.0 } else { value }.powf(*weight);
        if scale < last {
            halves = Some(match &halves {
                None => [halve(target), halve(prediction)],
                Some([a, b]) => [halve(a), halve(b)],
            });
        }
    }
    product
}

fn large_enough(shape: [usize; 3], options: &MsSsim) -> bool {
    let window = Window::Gaussian(options.sigma).weights(shape);
    let scales = options.weights.len();
    let divisor = scales.saturating_sub(1).max(1).pow(2);
    let axes = if shape[0] == 1 { 1..3 } else { 0..3 };
    let mut lateral = 1..3;
    scales > 0
        && lateral.all(|axis| shape[axis] / divisor >= window[axis].len())
        && (1..3).all(|axis| shape[axis] >> scales > 0)
        && axes.into_iter().all(|axis| shape[axis] >> (scales - 1) > window[axis].len() / 2)
}

/// Means of contrast times structure over the interior, and of the similarity over all.
fn scale_means<T: Voxel>(
    a: &Volume<T>,
    b: &Volume<T>,
    data_range: f64,
    options: &MsSsim,
) -> [f64; 2] {
    let means = Means::new(a.shape, Window::Gaussian(options.sigma), Border::Mirror);
    let (c1, c2) = ((options.k1 * data_range).powi(2), (options.k2 * data_range).powi(2));
    let terms = pair_terms(a, b);
    let inner = [0, 1, 2].map(|axis| {
        let radius = means.radius()[axis];
        radius..a.shape[axis].saturating_sub(radius)
    });
    let planes = (0..a.shape[0]).into_par_iter().map(|z| {
        let mut total = [0.0; 2];
        means.of_plane(z, &terms, |y, row| {
            let interior = inner[0].contains(&z) && inner[1].contains(&y);
            for (x, [a, b, squares, product]) in row.iter().enumerate() {
                let (means, both) = (a * a + b * b, a * b);
                let contrast = (2.0 * (product - both) + c2) / ((squares - means).max(0.0) + c2);
                total[1] += contrast * (2.0 * both + c1) / (means + c1);
                if interior && inner[2].contains(&x) {
                    total[0] += contrast;
                }
            }
        });
        total
    });
    let planes: Vec<[f64; 2]> = planes.collect();
    let sum = planes.iter().fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d]);
    let interior: usize = inner.iter().map(|range| range.len()).product();
    [sum[0] / interior as f64, sum[1] / voxel_count(a.shape) as f64]
}

/// Means over pairs of voxels along every axis (of a plane: along y and x).
fn halve<T: Voxel>(image: &Volume<T>) -> Volume<f64> {
    let step = [if image.shape[0] == 1 { 1 } else { 2 }, 2, 2];
    let shape = [0, 1, 2].map(|axis| image.shape[axis] / step[axis]);
    let share = 1.0 / step.iter().product::<usize>() as f64;
    let columns = image.shape[2];
    Volume::from_fn(shape, |[z, y, x]| {
        let mut sum = 0.0;
        for plane in 0..step[0] {
            for row in 0..2 {
                let first = image.offset([step[0] * z + plane, 2 * y + row, 0]);
                let pair = &image.voxels[first..first + columns][2 * x..2 * x + 2];
                sum += pair[0].to_f64() + pair[1].to_f64();
            }
        }
        sum * share
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_drops_the_odd_voxel() {
        let image = Volume::new([1, 3, 4], (0..12).map(f64::from).collect());
        assert_eq!(halve(&image), Volume::new([1, 1, 2], vec![2.5, 4.5]));
        let stack = Volume::new([2, 2, 2], (0..8).map(f64::from).collect());
        assert_eq!(halve(&stack).voxels, [3.5]);
    }

    #[test]
    fn too_small() {
        let of = |shape| {
            let image = Volume::filled(shape, 1.0_f32);
            ms_ssim(&image, &image, 1.0, &MsSsim::default())
        };
        assert!(of([1, 175, 200]).is_nan());
        assert_eq!(of([1, 176, 200]), 1.0);
        assert!(of([64, 176, 200]).is_nan());
        let none = MsSsim { weights: vec![], ..MsSsim::default() };
        let image = Volume::filled([1, 200, 200], 1.0);
        assert!(ms_ssim(&image, &image, 1.0, &none).is_nan());
    }

    #[test]
    fn no_range_is_not_a_number() {
        let flat = Volume::filled([1, 180, 180], 1.0);
        assert!(ms_ssim(&flat, &flat, 0.0, &MsSsim::default()).is_nan());
    }
}
