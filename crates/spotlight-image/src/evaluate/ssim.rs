//! Structural similarity: means, variances and covariance compared window by window.
//!
//! With the means u, the variances v and the covariance c over the window around a voxel,
//!
//! ```text
//! S = (2 u_x u_y + C1) (2 c + C2) / ((u_x² + u_y² + C1) (v_x + v_y + C2)),
//! C1 = (k1 · range)²,  C2 = (k2 · range)².
//! ```
//!
//! References:
//! - Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli (2004), "Image quality assessment:
//!   from error visibility to structural similarity".
//! - `skimage.metrics.structural_similarity` of scikit-image 0.26; cubic's `ssim` for masks.

use std::ops::Range;

use rayon::prelude::*;

use super::window::{Means, Window};
use crate::{Border, Volume, voxel::Voxel};

/// Constants of the structural similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ssim {
    /// The window that means are taken over.
    pub window: Window,
    /// Divides variances by n − 1 in place of n, n the voxels of the window.
    pub sample_covariance: bool,
    /// Share of the data range that keeps the quotient of the means stable.
    pub k1: f64,
    /// Share of the data range that keeps the quotient of the variances stable.
    pub k2: f64,
}

impl Default for Ssim {
    fn default() -> Self {
        Self { window: Window::Uniform(7), sample_covariance: true, k1: 0.01, k2: 0.03 }
    }
}

/// A mean over the voxels of a mask, and how many there were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskedMean {
    /// The mean; NaN if no voxel counted.
    pub mean: f64,
    /// The voxels that counted.
    pub voxels: usize,
}

/// Mean structural similarity over all voxels whose window lies inside the image; NaN if
/// none does, or if the data range is not positive.
///
/// A single plane is compared by square windows, a stack by cubes.
///
/// # Panics
///
/// If the shapes differ, or the window is even.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{Ssim, ssim};
///
/// let target = Volume::from_fn([1, 16, 16], |[_, y, x]| ((3 * y + 5 * x) % 7) as f32);
/// assert_eq!(ssim(&target, &target, 6.0, &Ssim::default()), 1.0);
/// let inverse = target.map(|v| 6.0 - v);
/// assert!(ssim(&target, &inverse, 6.0, &Ssim::default()) < 0.0);
/// ```
#[must_use]
pub fn ssim(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    data_range: f64,
    options: &Ssim,
) -> f64 {
    let planes = ssim_of_planes(target, prediction, data_range, options);
    let [sum, count] = planes.iter().fold([0.0; 2], |[a, b], [sum, count]| [a + sum, b + count]);
    sum / count
}

/// Mean structural similarity over the voxels whose whole window lies inside the mask; NaN
/// if there is none.
///
/// Near the border of the image the window is continued by a mirror at the outer face
/// ([`Border::Reflect`]), and so is the mask.
///
/// # Panics
///
/// If the shapes differ, or the window is even.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{Ssim, ssim_in_mask};
///
/// let target = Volume::from_fn([1, 9, 9], |[_, y, x]| ((3 * y + 5 * x) % 7) as f32);
/// let mask = Volume::from_fn([1, 9, 9], |[_, _, x]| x < 8);
/// let found = ssim_in_mask(&target, &target, &mask, 6.0, &Ssim::default());
/// assert_eq!((found.mean, found.voxels), (1.0, 9 * 5));
/// ```
#[must_use]
pub fn ssim_in_mask(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    mask: &Volume<bool>,
    data_range: f64,
    options: &Ssim,
) -> MaskedMean {
    let all = 0..target.shape[0];
    let planes = ssim_in_mask_of_planes([target, prediction], mask, all, data_range, options);
    let [sum, count] = planes.iter().fold([0.0; 2], |[a, b], [sum, count]| [a + sum, b + count]);
    MaskedMean { mean: sum / count, voxels: count as usize }
}

/// Sum and number of the similarities that [`ssim`] is the mean of, for each plane whose windows
/// lie inside; a window that does not fit leaves none.
///
/// Of a stack that is read in slabs each has as many planes more on both sides as half a window,
/// where there are any: then the planes of all slabs in their order are those of the stack.
///
/// # Panics
///
/// If the shapes differ, or the window is even.
#[must_use]
pub fn ssim_of_planes(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    data_range: f64,
    options: &Ssim,
) -> Vec<[f64; 2]> {
    similarity_of_planes(target, prediction, data_range, options)
}

/// Sum and number of the similarities that [`ssim_in_mask`] is the mean of, for some planes.
///
/// Of a stack that is read in slabs these are the planes that have as many around them as half a
/// window, or all that there are.
///
/// # Panics
///
/// If the shapes differ, or the window is even.
#[must_use]
pub fn ssim_in_mask_of_planes(
    [target, prediction]: [&Volume<f32>; 2],
    mask: &Volume<bool>,
    planes: Range<usize>,
    data_range: f64,
    options: &Ssim,
) -> Vec<[f64; 2]> {
    assert_eq!(mask.shape, target.shape, "the mask must have the shape of the images");
    let means = Means::new(target.shape, options.window, Border::Reflect);
    let similarity = Similarity::new(data_range, options, &means);
    let terms = pair_terms(target, prediction);
    let planes = planes.into_par_iter().map(|z| {
        let mut total = [0.0; 2];
        let terms = |i: usize| {
            let [a, b, squares, product] = terms(i);
            [a, b, squares, product, f64::from(u8::from(mask.voxels[i]))]
        };
        means.of_plane(z, terms, |_, row| {
            for [a, b, squares, product, inside] in row {
                // The smallest weight of a window is far above the rounding of the sum.
                if *inside > 1.0 - 1e-12 {
                    total[0] += similarity.of(&[*a, *b, *squares, *product]);
                    total[1] += 1.0;
                }
            }
        });
        total
    });
    planes.collect()
}

/// The structural similarity around every voxel; beyond the border the images are continued
/// by a mirror at the outer face.
///
/// # Panics
///
/// If the shapes differ, or the window is even.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{Ssim, ssim_map};
///
/// let target = Volume::from_fn([2, 5, 8], |[z, y, x]| (z + y * x) as f32);
/// assert_eq!(ssim_map(&target, &target, 29.0, &Ssim::default()), target.map(|_| 1.0));
/// ```
#[must_use]
pub fn ssim_map(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    data_range: f64,
    options: &Ssim,
) -> Volume<f32> {
    let [_, rows, columns] = target.shape;
    let means = Means::new(target.shape, options.window, Border::Reflect);
    let similarity = Similarity::new(data_range, options, &means);
    let terms = pair_terms(target, prediction);
    let mut map = Volume::filled(target.shape, 0.0_f32);
    map.voxels.par_chunks_mut((rows * columns).max(1)).enumerate().for_each(|(z, plane)| {
        means.of_plane(z, &terms, |y, row| {
            for (to, means) in plane[y * columns..].iter_mut().zip(row) {
                *to = similarity.of(means) as f32;
            }
        });
    });
    map
}

/// Sum and number of similarities over the interior of each plane; a window that does not
/// fit leaves none.
pub(super) fn similarity_of_planes<T: Voxel>(
    target: &Volume<T>,
    prediction: &Volume<T>,
    data_range: f64,
    options: &Ssim,
) -> Vec<[f64; 2]> {
    let means = Means::new(target.shape, options.window, Border::Reflect);
    let similarity = Similarity::new(data_range, options, &means);
    let terms = pair_terms(target, prediction);
    let [planes, rows, columns] = target.shape;
    if !means.fits() {
        return vec![[0.0; 2]; planes];
    }
    let [in_z, in_y, in_x] = means.radius();
    let plane = |z: usize| {
        let mut total = [0.0; 2];
        means.of_plane(z, &terms, |y, row| {
            if (in_y..rows - in_y).contains(&y) {
                let interior = &row[in_x..columns - in_x];
                total[0] += interior.iter().map(|means| similarity.of(means)).sum::<f64>();
                total[1] += interior.len() as f64;
            }
        });
        total
    };
    (in_z..planes - in_z).into_par_iter().map(plane).collect()
}

/// Both images, the sum of their squares and their product.
pub(super) fn pair_terms<'a, T: Voxel>(
    a: &'a Volume<T>,
    b: &'a Volume<T>,
) -> impl Fn(usize) -> [f64; 4] + Sync + 'a {
    assert_eq!(a.shape, b.shape, "images to compare must have one shape");
    |i| {
        let (a, b) = (a.voxels[i].to_f64(), b.voxels[i].to_f64());
        [a, b, a * a + b * b, a * b]
    }
}

/// The formula with its constants.
struct Similarity {
    c1: f64,
    c2: f64,
    unbias: f64,
}

impl Similarity {
    fn new(data_range: f64, options: &Ssim, means: &Means) -> Self {
        let count: usize = means.radius().iter().map(|radius| 2 * radius + 1).product();
        let unbias = count as f64 / (count as f64 - 1.0);
        // Without a range flat windows would be compared by their rounding.
        let data_range = if data_range > 0.0 { data_range } else { f64::NAN };
        Self {
            c1: (options.k1 * data_range).powi(2),
            c2: (options.k2 * data_range).powi(2),
            unbias: if options.sample_covariance { unbias } else { 1.0 },
        }
    }

    /// From the means of a window in the order of [`pair_terms`].
    #[inline]
    fn of(&self, [a, b, squares, product]: &[f64; 4]) -> f64 {
        let (means, both) = (a * a + b * b, a * b);
        let variances = self.unbias * (squares - means);
        let covariance = self.unbias * (product - both);
        (2.0 * both + self.c1) * (2.0 * covariance + self.c2)
            / ((means + self.c1) * (variances + self.c2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Region;

    fn image(shape: [usize; 3], factor: usize) -> Volume<f32> {
        Volume::from_fn(shape, |[z, y, x]| ((factor * z + 3 * y + 5 * x * x) % 13) as f32)
    }

    #[test]
    fn the_map_holds_the_mean() {
        let (a, b) = (image([4, 8, 9], 7), image([4, 8, 9], 6));
        let options = Ssim { window: Window::Uniform(3), ..Ssim::default() };
        let map = ssim_map(&a, &b, 12.0, &options);
        let mut sum = 0.0;
        for z in 1..3 {
            for y in 1..7 {
                sum += (1..8).map(|x| f64::from(map.at([z, y, x]))).sum::<f64>();
            }
        }
        assert!((sum / (2.0 * 6.0 * 7.0) - ssim(&a, &b, 12.0, &options)).abs() < 1e-6);
    }

    #[test]
    fn slabs_have_the_planes_of_the_whole() {
        for depth in [1, 2, 6, 7, 19] {
            let shape = [depth, 12, 13];
            let (a, b) = (image(shape, 7), image(shape, 6));
            let mask = Volume::from_fn(shape, |[_, y, x]| y < 11 && x > 2);
            let options = Ssim::default();
            let (mut inside, mut in_mask) = ([0.0; 2], [0.0; 2]);
            for first in (0..depth).step_by(2) {
                let stop = (first + 2).min(depth);
                let (start, end) = (first.saturating_sub(3), (stop + 3).min(depth));
                let region = Region { start: [start, 0, 0], shape: [end - start, 12, 13] };
                let (a, b, mask) = (a.crop(region), b.crop(region), mask.crop(region));
                let add = |total: &mut [f64; 2], planes: Vec<[f64; 2]>| {
                    planes.iter().for_each(|p| *total = [total[0] + p[0], total[1] + p[1]]);
                };
                add(&mut inside, ssim_of_planes(&a, &b, 12.0, &options));
                let core = first - start..stop - start;
                let planes = ssim_in_mask_of_planes([&a, &b], &mask, core, 12.0, &options);
                add(&mut in_mask, planes);
            }
            let expected = ssim(&a, &b, 12.0, &options);
            let found = inside[0] / inside[1];
            assert!(found == expected || (found.is_nan() && expected.is_nan()), "{depth}: {found}");
            assert_eq!(found.is_nan(), (2..7).contains(&depth));
            let expected = ssim_in_mask(&a, &b, &mask, 12.0, &options);
            assert_eq!(
                (in_mask[0] / in_mask[1], in_mask[1] as usize),
                (expected.mean, expected.voxels)
            );
        }
    }

    #[test]
    fn a_mask_without_an_interior() {
        let a = image([1, 12, 12], 1);
        let none = Volume::filled([1, 12, 12], false);
        let found = ssim_in_mask(&a, &a, &none, 12.0, &Ssim::default());
        assert!(found.mean.is_nan() && found.voxels == 0);
        let thin = Volume::from_fn([1, 12, 12], |[_, y, _]| (3..9).contains(&y));
        let found = ssim_in_mask(&a, &a, &thin, 12.0, &Ssim::default());
        assert!(found.mean.is_nan() && found.voxels == 0);
    }

    #[test]
    fn an_image_smaller_than_the_window() {
        let a = image([3, 12, 12], 1);
        assert!(ssim(&a, &a, 12.0, &Ssim::default()).is_nan());
    }

    #[test]
    fn no_range_is_not_a_number() {
        let flat = Volume::filled([1, 12, 12], 0.3);
        assert!(ssim(&flat, &flat, 0.0, &Ssim::default()).is_nan());
    }

    #[test]
    #[should_panic(expected = "one shape")]
    fn shapes_must_agree() {
        let _ = ssim(&image([1, 9, 9], 1), &image([1, 9, 8], 1), 12.0, &Ssim::default());
    }
}
