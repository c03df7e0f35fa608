//! Texture of an object: grey-level co-occurrence of neighbouring voxels.
//!
//! ```text
//! level = floor((value − min) / (max − min) × levels), the maximum in the last level
//! for each of the 13 directions to half of the 26 neighbours:
//!     P(i, j) = part of the pairs inside the object with levels i and j, counted both ways
//!     contrast      = Σ P (i − j)²          dissimilarity = Σ P |i − j|
//!     homogeneity   = Σ P / (1 + (i − j)²)  asm = Σ P²,  energy = √asm
//!     correlation   = Σ P (i − μ)(j − μ) / σ²,  1 where σ < 1e-15
//!     entropy       = −Σ P ln P
//! each the mean over the directions that have a pair
//! ```
//!
//! References:
//! - R. M. Haralick, K. Shanmugam, I. Dinstein (1973), "Textural features for image
//!   classification".
//! - `cubic.feature.texture.glcm_features` of cubic 0.8; `graycoprops` of scikit-image.

use super::table::Unit;
use crate::{Volume, voxel::Voxel};

/// Names and units of [`texture`].
pub(super) const COLUMNS: [(&str, Unit); 7] = [
    ("texture_contrast", Unit::One),
    ("texture_dissimilarity", Unit::One),
    ("texture_homogeneity", Unit::One),
    ("texture_asm", Unit::One),
    ("texture_energy", Unit::One),
    ("texture_correlation", Unit::One),
    ("texture_entropy", Unit::One),
];

/// Steps (z, y, x) to one of each two opposite neighbours.
const DIRECTIONS: [[isize; 3]; 13] = [
    [0, 0, 1],
    [0, 1, -1],
    [0, 1, 0],
    [0, 1, 1],
    [1, -1, -1],
    [1, -1, 0],
    [1, -1, 1],
    [1, 0, -1],
    [1, 0, 0],
    [1, 0, 1],
    [1, 1, -1],
    [1, 1, 0],
    [1, 1, 1],
];

/// The level of voxels outside the object; levels are below it.
const OUTSIDE: u8 = u8::MAX;

/// A spread of levels below this has no direction to correlate in.
const NO_SPREAD: f64 = 1e-15;

/// Contrast, dissimilarity, homogeneity, angular second moment, energy, correlation and
/// entropy of the voxels in a mask.
///
/// All are NaN where no two voxels of the mask are neighbours or a voxel is not finite. Levels
/// are taken in the arithmetic of the image's voxels (f64 for whole numbers), as NumPy does;
/// fewer than one level count as one.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, measure::texture};
///
/// let image = Volume::new([1, 1, 4], vec![0.0_f32, 1.0, 0.0, 1.0]);
/// let [contrast, _, homogeneity, ..] = texture(&image, &image.map(|_| true), 2);
/// assert_eq!((contrast, homogeneity), (1.0, 0.5));
/// ```
#[must_use]
pub fn texture<T: Voxel>(image: &Volume<T>, mask: &Volume<bool>, levels: u8) -> [f64; 7] {
    assert_eq!(image.shape, mask.shape, "the mask must have the image's shape");
    let levels = levels.max(1);
    let Some(quantised) = quantise(image, mask, levels) else { return [f64::NAN; 7] };
    let mut total = [0.0; 7];
    let mut directions = 0.0;
    let mut pairs = vec![0_u32; usize::from(levels).pow(2)];
    for direction in DIRECTIONS {
        pairs.fill(0);
        count_pairs(&quantised, direction, usize::from(levels), &mut pairs);
        let count: u64 = pairs.iter().map(|n| u64::from(*n)).sum();
        if count > 0 {
            directions += 1.0;
            let properties = properties(&pairs, usize::from(levels), count as f64);
            total.iter_mut().zip(properties).for_each(|(sum, value)| *sum += value);
        }
    }
    total.map(|sum| sum / directions)
}

/// The level of each voxel, [`OUTSIDE`] outside the mask; none if a voxel is not finite
/// or no voxel is inside.
fn quantise<T: Voxel>(image: &Volume<T>, mask: &Volume<bool>, levels: u8) -> Option<Volume<u8>> {
    let inside = || image.voxels.iter().zip(&mask.voxels).filter(|(_, inside)| **inside);
    let (mut least, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in inside().map(|(value, _)| value.to_f64()) {
        if !value.is_finite() {
            return None;
        }
        (least, largest) = (least.min(value), largest.max(value));
    }
    if least > largest {
        return None;
    }
    // NumPy computes in the type of the image unless that is whole.
    let round = |value: f64| if T::WHOLE { value } else { T::from_f64(value).to_f64() };
    let span = round(largest - least);
    let level = |(value, inside): (&T, &bool)| {
        if !inside {
            return OUTSIDE;
        }
        if span <= 0.0 {
            return 0;
        }
        let part = round(round(value.to_f64() - least) / span);
        // The cast cuts off the fraction.
        (round(part * f64::from(levels)) as u8).min(levels - 1)
    };
    let voxels = image.voxels.iter().zip(&mask.voxels).map(level).collect();
    Some(Volume { shape: image.shape, voxels })
}

/// Counts the pairs of levels of voxels one step apart.
fn count_pairs(levels: &Volume<u8>, step: [isize; 3], count: usize, pairs: &mut [u32]) {
    let [depth, height, width] = levels.shape;
    let row = |z: usize, y: usize| &levels.voxels[(z * height + y) * width..][..width];
    for z in 0..depth.saturating_sub(step[0].unsigned_abs()) {
        for y in 0..height {
            let Some(other_y) = y.checked_add_signed(step[1]).filter(|y| *y < height) else {
                continue;
            };
            let (mut from, mut to) = (row(z, y), row(z.saturating_add_signed(step[0]), other_y));
            match step[2] {
                1 => (from, to) = (&from[..width - 1], &to[1..]),
                -1 => (from, to) = (&from[1..], &to[..width - 1]),
                _ => (),
            }
            for (a, b) in from.iter().zip(to) {
                if *a != OUTSIDE && *b != OUTSIDE {
                    pairs[usize::from(*a) * count + usize::from(*b)] += 1;
                }
            }
        }
    }
}

/// What the co-occurrence matrix of one direction says.
fn properties(pairs: &[u32], levels: usize, count: f64) -> [f64; 7] {
    let [mut contrast, mut dissimilarity, mut homogeneity] = [0.0; 3];
    let [mut asm, mut entropy, mut mean] = [0.0; 3];
    let part = |i: usize, j: usize| {
        let both = u64::from(pairs[i * levels + j]) + u64::from(pairs[j * levels + i]);
        both as f64 / (2.0 * count)
    };
    for i in 0..levels {
        for j in 0..levels {
            let p = part(i, j);
            if p > 0.0 {
                let difference = i.abs_diff(j) as f64;
                contrast += p * difference * difference;
                dissimilarity += p * difference;
                homogeneity += p / (1.0 + difference * difference);
                asm += p * p;
                entropy -= p * p.ln();
                mean += p * i as f64;
            }
        }
    }
    // Counted both ways, rows and columns have the same mean and spread.
    let (mut variance, mut covariance) = (0.0, 0.0);
    for i in 0..levels {
        for j in 0..levels {
            let p = part(i, j);
            variance += p * (i as f64 - mean).powi(2);
            covariance += p * (i as f64 - mean) * (j as f64 - mean);
        }
    }
    let spread = variance.sqrt();
    let correlation = if spread < NO_SPREAD { 1.0 } else { covariance / variance };
    [contrast, dissimilarity, homogeneity, asm, asm.sqrt(), correlation, entropy]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_in_all_directions() {
        let image = Volume::from_fn([3, 4, 5], |[z, y, x]| ((z * 5 + y * 3 + x * 7) % 4) as u8);
        let mask = Volume::from_fn([3, 4, 5], |[z, y, x]| (z + y * x) % 5 != 1);
        let levels = quantise(&image, &mask, 4).unwrap();
        for direction in DIRECTIONS {
            let mut found = vec![0; 16];
            count_pairs(&levels, direction, 4, &mut found);
            let mut expected = vec![0; 16];
            for (i, level) in levels.voxels.iter().enumerate() {
                let place = [i / 20, i / 5 % 4, i % 5];
                let next = [0, 1, 2].map(|a| place[a].wrapping_add_signed(direction[a]));
                if (0..3).all(|a| next[a] < levels.shape[a]) && *level != OUTSIDE {
                    let other = levels.at(next);
                    if other != OUTSIDE {
                        expected[usize::from(*level) * 4 + usize::from(other)] += 1;
                    }
                }
            }
            assert_eq!(found, expected, "{direction:?}");
        }
    }

    #[test]
    fn undefined_textures_are_not_numbers() {
        let lonely = Volume::new([1, 1, 3], vec![true, false, true]);
        let image = Volume::new([1, 1, 3], vec![1.0_f32, 2.0, 3.0]);
        assert!(texture(&image, &lonely, 32).iter().all(|v| v.is_nan()));
        let bad = image.map(|v| if *v == 2.0 { f32::INFINITY } else { *v });
        assert!(texture(&bad, &image.map(|_| true), 32).iter().all(|v| v.is_nan()));
        assert!(!texture(&bad, &lonely, 32)[0].is_finite());
        assert!(texture(&image, &image.map(|_| false), 32)[0].is_nan());
    }

    #[test]
    fn a_flat_object_is_perfectly_regular() {
        let image = Volume::filled([2, 3, 3], 7_u16);
        let expected = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        assert_eq!(texture(&image, &image.map(|_| true), 32), expected);
        assert_eq!(texture(&image, &image.map(|_| true), 0), expected);
    }

    #[test]
    fn grey_levels_may_be_shifted_and_scaled() {
        let image = Volume::from_fn([3, 4, 5], |[z, y, x]| ((z * 5 + y * 3 + x * 7) % 16) as f32);
        let inside = image.map(|_| true);
        let other = image.map(|v| 2.0 * v + 5.0);
        assert_eq!(texture(&image, &inside, 8), texture(&other, &inside, 8));
    }
}
