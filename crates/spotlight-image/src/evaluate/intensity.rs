//! Scores of single voxels: errors, correlation, overlap of masks.
//!
//! References: scikit-image's `peak_signal_noise_ratio`; cubic's `psnr`, `nrmse`, `pcc`.

use rayon::prelude::*;

use crate::{Volume, reduce::sums, standardise::moments};

/// Mean squared error.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, evaluate::mse};
///
/// let a = Volume::new([1, 1, 2], vec![1.0, 2.0]);
/// let b = Volume::new([1, 1, 2], vec![1.0, 4.0]);
/// assert_eq!(mse(&a, &b), 2.0);
/// ```
#[must_use]
pub fn mse(target: &Volume<f32>, prediction: &Volume<f32>) -> f64 {
    let (sum, _) = squared_error(target, prediction, None);
    sum / target.voxels.len() as f64
}

/// Root of the mean squared error as a part of `data_range`.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, evaluate::nrmse};
///
/// let target = Volume::filled([2, 3, 4], 10.0);
/// assert_eq!(nrmse(&target, &Volume::filled([2, 3, 4], 12.0), 100.0), 0.02);
/// ```
#[must_use]
pub fn nrmse(target: &Volume<f32>, prediction: &Volume<f32>, data_range: f64) -> f64 {
    mse(target, prediction).sqrt() / data_range
}

/// [`nrmse`] over the voxels of a mask; NaN for an empty mask.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn nrmse_in_mask(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    mask: &Volume<bool>,
    data_range: f64,
) -> f64 {
    mse_in_mask(target, prediction, mask).sqrt() / data_range
}

/// [`mse`] over the voxels of a mask; NaN for an empty mask.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn mse_in_mask(target: &Volume<f32>, prediction: &Volume<f32>, mask: &Volume<bool>) -> f64 {
    let (sum, count) = squared_error(target, prediction, Some(mask));
    sum / count
}

/// Peak signal-to-noise ratio in dB, `10 log10(data_range² / MSE)`; infinite for identical
/// images.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, evaluate::psnr};
///
/// let target = Volume::filled([2, 3, 4], 10.0);
/// let prediction = Volume::filled([2, 3, 4], 11.0);
/// assert_eq!(psnr(&target, &prediction, 100.0), 40.0);
/// assert_eq!(psnr(&target, &target, 100.0), f64::INFINITY);
/// ```
#[must_use]
pub fn psnr(target: &Volume<f32>, prediction: &Volume<f32>, data_range: f64) -> f64 {
    decibel(mse(target, prediction), data_range)
}

/// [`psnr`] with the error averaged over the voxels of a mask; NaN for an empty mask.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn psnr_in_mask(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    mask: &Volume<bool>,
    data_range: f64,
) -> f64 {
    decibel(mse_in_mask(target, prediction, mask), data_range)
}

/// [`psnr`] of both images times the mask, the error still averaged over the whole volume:
/// the paper's foreground PSNR.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{psnr, psnr_in_mask, psnr_masked_product};
///
/// let target = Volume::new([1, 1, 4], vec![0.0, 0.0, 5.0, 5.0]);
/// let prediction = Volume::new([1, 1, 4], vec![1.0, 1.0, 6.0, 6.0]);
/// let mask = target.map(|v| *v > 1.0);
/// assert_eq!(psnr_in_mask(&target, &prediction, &mask, 10.0), 20.0);
/// assert!(psnr_masked_product(&target, &prediction, &mask, 10.0) > 23.0);
/// ```
#[must_use]
pub fn psnr_masked_product(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    mask: &Volume<bool>,
    data_range: f64,
) -> f64 {
    let (sum, _) = squared_error(target, prediction, Some(mask));
    decibel(sum / target.voxels.len() as f64, data_range)
}

/// [`psnr`] after the gain and offset that suit the prediction best; NaN if either image
/// has no variance.
///
/// The target is standardised and the prediction fitted to it by least squares, which
/// leaves the mean squared error `1 − r²` of Pearson's r. The data range is the span of
/// the target in its standard deviations.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, evaluate::psnr_scale_invariant};
///
/// let target = Volume::new([1, 1, 4], vec![0.0, 1.0, 2.0, 4.0]);
/// let prediction = Volume::new([1, 1, 4], vec![0.0, 1.0, 2.0, 3.0]);
/// let brighter = prediction.map(|v| 10.0 * v + 7.0);
/// let score = psnr_scale_invariant(&target, &prediction);
/// assert!((score - psnr_scale_invariant(&target, &brighter)).abs() < 1e-9);
/// ```
#[must_use]
pub fn psnr_scale_invariant(target: &Volume<f32>, prediction: &Volume<f32>) -> f64 {
    let r = pearson(target, prediction);
    if r.is_nan() {
        return f64::NAN;
    }
    let least = target.voxels.iter().fold(f32::INFINITY, |least, v| least.min(*v));
    let largest = target.voxels.iter().fold(f32::NEG_INFINITY, |largest, v| largest.max(*v));
    let span = f64::from(largest) - f64::from(least);
    decibel(1.0 - r * r, span / moments(target).std)
}

/// The image times the mask: 0 outside, for the foreground scores of whole images.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, evaluate::masked_product};
///
/// let image = Volume::new([1, 1, 3], vec![1.0, 2.0, 3.0]);
/// assert_eq!(masked_product(&image, &image.map(|v| *v > 1.0)).voxels, [0.0, 2.0, 3.0]);
/// ```
#[must_use]
pub fn masked_product(image: &Volume<f32>, mask: &Volume<bool>) -> Volume<f32> {
    assert_eq!(image.shape, mask.shape, "the mask must have the shape of the image");
    let voxels = image.voxels.par_iter().zip(&mask.voxels);
    let voxels = voxels.map(|(voxel, inside)| if *inside { *voxel } else { 0.0 });
    Volume::new(image.shape, voxels.collect())
}

/// Pearson's correlation coefficient; NaN if either image has no variance.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, evaluate::pearson};
///
/// let a = Volume::new([1, 1, 3], vec![1.0, 2.0, 3.0]);
/// let b = a.map(|v| 5.0 - 2.0 * v);
/// assert_eq!(pearson(&a, &b), -1.0);
/// assert!(pearson(&a, &Volume::filled([1, 1, 3], 4.0)).is_nan());
/// ```
#[must_use]
pub fn pearson(a: &Volume<f32>, b: &Volume<f32>) -> f64 {
    correlation(a, b, None)
}

/// [`pearson`] over the voxels of a mask; NaN for an empty mask.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn pearson_in_mask(a: &Volume<f32>, b: &Volume<f32>, mask: &Volume<bool>) -> f64 {
    correlation(a, b, Some(mask))
}

/// Dice's overlap `2 |A ∩ B| / (|A| + |B|)` of two masks; 1 if both are empty.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, evaluate::dice};
///
/// let a = Volume::new([1, 1, 3], vec![true, true, false]);
/// let b = Volume::new([1, 1, 3], vec![true, false, false]);
/// assert_eq!(dice(&a, &b), 2.0 / 3.0);
/// ```
#[must_use]
pub fn dice(a: &Volume<bool>, b: &Volume<bool>) -> f64 {
    assert_eq!(a.shape, b.shape, "masks to compare must have one shape");
    let size = |mask: &Volume<bool>| mask.voxels.iter().filter(|v| **v).count();
    let both = a.voxels.iter().zip(&b.voxels).filter(|(a, b)| **a && **b).count();
    let sizes = size(a) + size(b);
    if sizes == 0 { 1.0 } else { 2.0 * both as f64 / sizes as f64 }
}

pub(super) fn decibel(mse: f64, data_range: f64) -> f64 {
    10.0 * (data_range * data_range / mse).log10()
}

/// Sum of squared differences over the mask, and the voxels in the mask.
fn squared_error(
    target: &Volume<f32>,
    prediction: &Volume<f32>,
    mask: Option<&Volume<bool>>,
) -> (f64, f64) {
    let [sum, count] = masked_sums(target, prediction, mask, |target, prediction| {
        [(target - prediction).powi(2), 1.0]
    });
    (sum, count)
}

fn correlation(a: &Volume<f32>, b: &Volume<f32>, mask: Option<&Volume<bool>>) -> f64 {
    // Deviations from one of the voxels are exact where all voxels are equal.
    let inside = |i: &usize| mask.is_none_or(|mask| mask.voxels[*i]);
    let Some(first) = (0..a.voxels.len()).find(inside) else { return f64::NAN };
    assert_eq!(a.shape, b.shape, "images to compare must have one shape");
    let (a0, b0) = (f64::from(a.voxels[first]), f64::from(b.voxels[first]));
    let [sum_a, sum_b, count] = masked_sums(a, b, mask, |a, b| [a - a0, b - b0, 1.0]);
    let (mean_a, mean_b) = (sum_a / count, sum_b / count);
    let [ab, aa, bb] = masked_sums(a, b, mask, |a, b| {
        let (a, b) = (a - a0 - mean_a, b - b0 - mean_b);
        [a * b, a * a, b * b]
    });
    if aa == 0.0 || bb == 0.0 { f64::NAN } else { (ab / (aa * bb).sqrt()).clamp(-1.0, 1.0) }
}

/// Sums of `terms` over the voxels of the mask, or over all.
fn masked_sums<const N: usize>(
    a: &Volume<f32>,
    b: &Volume<f32>,
    mask: Option<&Volume<bool>>,
    terms: impl Fn(f64, f64) -> [f64; N] + Sync,
) -> [f64; N] {
    assert_eq!(a.shape, b.shape, "images to compare must have one shape");
    assert!(mask.is_none_or(|mask| mask.shape == a.shape), "the mask must have their shape");
    sums(a.voxels.len(), |range| {
        let mut total = [0.0; N];
        for i in range {
            if mask.is_none_or(|mask| mask.voxels[i]) {
                let terms = terms(f64::from(a.voxels[i]), f64::from(b.voxels[i]));
                total.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
        }
        total
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(voxels: &[f32]) -> Volume<f32> {
        Volume::new([1, 1, voxels.len()], voxels.to_vec())
    }

    #[test]
    fn masked_scores_by_hand() {
        let (a, b) = (row(&[0.0, 1.0, 2.0, 9.0]), row(&[1.0, 1.0, 4.0, 0.0]));
        let mask = Volume::new([1, 1, 4], vec![true, true, true, false]);
        let (inside, product) = (5.0 / 3.0, 5.0 / 4.0);
        let decibel = |mse: f64| 10.0 * (9.0 / mse).log10();
        assert_eq!(psnr_in_mask(&a, &b, &mask, 3.0), decibel(inside));
        assert_eq!(psnr_masked_product(&a, &b, &mask, 3.0), decibel(product));
        assert!((pearson_in_mask(&a, &b, &mask) - 0.75_f64.sqrt()).abs() < 1e-15);
    }

    // cubic 0.8.0: psnr(true, test, scale_invariant=True).
    #[test]
    fn scale_invariant_psnr_of_cubic() {
        let target = row(&[1.0, 4.0, 2.0, 8.0, 5.0, 7.0, 3.0]);
        let prediction = row(&[12.0, 31.0, 25.0, 60.0, 52.0, 44.0, 40.0]);
        let found = psnr_scale_invariant(&target, &prediction);
        assert!((found - 15.945293455047407).abs() < 1e-9, "{found}");
    }

    #[test]
    #[should_panic(expected = "one shape")]
    fn images_of_two_shapes() {
        let _ = nrmse(&row(&[1.0]), &row(&[1.0, 2.0]), 1.0);
    }

    #[test]
    fn degenerate_images() {
        let none = Volume::filled([1, 1, 3], false);
        let (a, flat) = (row(&[1.0, 2.0, 4.0]), row(&[0.1; 3]));
        assert!(psnr_in_mask(&a, &a, &none, 1.0).is_nan());
        assert!(nrmse_in_mask(&a, &a, &none, 1.0).is_nan());
        assert!(psnr_scale_invariant(&flat, &a).is_nan());
        assert!(psnr_scale_invariant(&a, &flat).is_nan());
        assert!(pearson_in_mask(&a, &a, &none).is_nan());
        assert!(pearson(&flat, &a).is_nan());
        assert_eq!(pearson(&a, &a), 1.0);
        assert_eq!(dice(&none, &none), 1.0);
    }
}
