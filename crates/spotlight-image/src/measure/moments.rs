//! Moments of an object up to the third power along each axis, and its inertia tensor.
//!
//! ```text
//! M(i, j, k)  = Σ w (z − cz)^i (y − cy)^j (x − cx)^k           over the voxels of the object
//! nu(i, j, k) = M(i, j, k) / s^n / M(0, 0, 0)^(1 + n / 3)      n = i + j + k, s = least spacing
//! I(a, a)     = Var(b) + Var(c),   I(a, b) = −Cov(a, b)        a, b, c the three axes
//! ```
//!
//! Voxels count as points at their centres. The inertia tensor is computed from sums of whole
//! numbers, so nothing is lost by cancellation.
//!
//! Reference: `moments`, `moments_central`, `moments_normalized` and `inertia_tensor` of
//! scikit-image 0.26.

use crate::Volume;

/// Moments; element `[i][j][k]` belongs to the powers i of z, j of y and k of x.
pub type Moments = [[[f64; 4]; 4]; 4];

/// Moments of a mask about a point (z, y, x), weighted by an image if one is given.
///
/// The point and the moments are in the units of the spacing; position 0 is the centre of the
/// first voxel of the mask. About 0 these are raw moments, about [`centroid`] central ones.
///
/// # Panics
///
/// If the shapes of mask and image differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, measure::{centroid, moments}};
///
/// let bar = Volume::filled([1, 1, 3], true);
/// let raw = moments(&bar, None, [0.0; 3], [1.0, 1.0, 0.5]);
/// assert_eq!(centroid(&raw), [0.0, 0.0, 0.5]);
/// let central = moments(&bar, None, centroid(&raw), [1.0, 1.0, 0.5]);
/// assert_eq!(central[0][0][2], 2.0 * 0.5 * 0.5);
/// ```
#[must_use]
pub fn moments(
    mask: &Volume<bool>,
    weights: Option<&Volume<f32>>,
    about: [f64; 3],
    spacing: [f64; 3],
) -> Moments {
    assert!(weights.is_none_or(|w| w.shape == mask.shape), "weights must have the mask's shape");
    let powers = |axis: usize, i: usize| {
        let distance = i as f64 * spacing[axis] - about[axis];
        [1.0, distance, distance.powi(2), distance.powi(3)]
    };
    let [_, height, width] = mask.shape;
    let along_x: Vec<[f64; 4]> = (0..width).map(|x| powers(2, x)).collect();
    let mut total = [[[0.0; 4]; 4]; 4];
    for (i, row) in mask.voxels.chunks_exact(width.max(1)).enumerate() {
        let mut sums = [0.0; 4];
        for (x, _) in row.iter().enumerate().filter(|(_, inside)| **inside) {
            let weight = weights.map_or(1.0, |weights| f64::from(weights.voxels[i * width + x]));
            sums.iter_mut().zip(along_x[x]).for_each(|(sum, power)| *sum += weight * power);
        }
        let (along_z, along_y) = (powers(0, i / height), powers(1, i % height));
        for (plane, power_z) in total.iter_mut().zip(along_z) {
            for (line, power_y) in plane.iter_mut().zip(along_y) {
                for (element, sum) in line.iter_mut().zip(sums) {
                    *element += power_z * power_y * sum;
                }
            }
        }
    }
    total
}

/// The centre (z, y, x) that raw moments tell; NaN if the weights add up to 0.
#[must_use]
pub fn centroid(raw: &Moments) -> [f64; 3] {
    [raw[1][0][0], raw[0][1][0], raw[0][0][1]].map(|first| first / raw[0][0][0])
}

/// Central moments made independent of the object's size; NaN where the powers add up to less
/// than 2.
#[must_use]
pub fn normalised_moments(central: &Moments, spacing: [f64; 3]) -> Moments {
    let least = spacing[0].min(spacing[1]).min(spacing[2]);
    let mut normalised = *central;
    for (i, plane) in normalised.iter_mut().enumerate() {
        for (j, line) in plane.iter_mut().enumerate() {
            for (k, element) in line.iter_mut().enumerate() {
                let power = (i + j + k) as f64;
                let size = central[0][0][0].powf(1.0 + power / 3.0);
                *element = if power < 2.0 { f64::NAN } else { *element / least.powf(power) / size };
            }
        }
    }
    normalised
}

/// Inertia tensor of a mask for each unit of its mass, axes (z, y, x); NaN if it is empty.
///
/// # Examples
///
/// A box of a × b × c voxels has (b² + c² − 2) / 12 on the diagonal.
///
/// ```
/// use spotlight_image::{Volume, measure::inertia_tensor};
///
/// let tensor = inertia_tensor(&Volume::filled([3, 5, 7], true), [1.0; 3]);
/// assert_eq!(tensor[0], [72.0 / 12.0, 0.0, 0.0]);
/// ```
#[must_use]
pub fn inertia_tensor(mask: &Volume<bool>, spacing: [f64; 3]) -> [[f64; 3]; 3] {
    let covariance = covariance(mask, spacing);
    let mut tensor = covariance.map(|row| row.map(|element| 0.0 - element));
    for (axis, row) in tensor.iter_mut().enumerate() {
        let (b, c) = ((axis + 1) % 3, (axis + 2) % 3);
        row[axis] = covariance[b][b] + covariance[c][c];
    }
    tensor
}

/// Covariance of the voxel positions, ddof 0.
fn covariance(mask: &Volume<bool>, spacing: [f64; 3]) -> [[f64; 3]; 3] {
    let [_, height, width] = mask.shape;
    let mut count = 0_i128;
    let mut first = [0_i128; 3];
    let mut second = [[0_i128; 3]; 3];
    for (i, row) in mask.voxels.chunks_exact(width.max(1)).enumerate() {
        let (mut n, mut sum, mut squares) = (0_u64, 0_u64, 0_u64);
        for (x, inside) in (0..).zip(row) {
            let inside = u64::from(*inside);
            n += inside;
            sum += inside * x;
            squares += inside * x * x;
        }
        let [n, sum, squares] = [n, sum, squares].map(i128::from);
        let (z, y) = ((i / height) as i128, (i % height) as i128);
        count += n;
        first = [first[0] + z * n, first[1] + y * n, first[2] + sum];
        second[0][0] += z * z * n;
        second[1][1] += y * y * n;
        second[2][2] += squares;
        second[0][1] += z * y * n;
        second[0][2] += z * sum;
        second[1][2] += y * sum;
    }
    let element = |a: usize, b: usize| {
        let (a, b) = (a.min(b), a.max(b));
        let scaled = (count * second[a][b] - first[a] * first[b]) as f64;
        scaled / (count as f64).powi(2) * spacing[a] * spacing[b]
    };
    [0, 1, 2].map(|a| [0, 1, 2].map(|b| element(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inertia_follows_from_the_central_moments() {
        let mask =
            Volume::from_fn([6, 7, 8], |[z, y, x]| (z * 31 + y * 17 + x * 7 + x * y) % 5 < 2);
        let spacing = [0.29, 0.2, 0.108];
        let raw = moments(&mask, None, [0.0; 3], spacing);
        let m = moments(&mask, None, centroid(&raw), spacing);
        let n = m[0][0][0];
        let tensor = inertia_tensor(&mask, spacing);
        let expected = [
            [m[0][2][0] + m[0][0][2], -m[1][1][0], -m[1][0][1]],
            [-m[1][1][0], m[2][0][0] + m[0][0][2], -m[0][1][1]],
            [-m[1][0][1], -m[0][1][1], m[2][0][0] + m[0][2][0]],
        ];
        for (row, expected) in tensor.iter().zip(expected) {
            for (found, expected) in row.iter().zip(expected) {
                assert!((found - expected / n).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn moments_of_nothing_have_no_centre() {
        let none = Volume::filled([2, 2, 2], false);
        assert!(centroid(&moments(&none, None, [0.0; 3], [1.0; 3])).iter().all(|v| v.is_nan()));
        assert!(inertia_tensor(&none, [1.0; 3])[0][0].is_nan());
    }

    #[test]
    fn normalised_moments_do_not_see_the_spacing() {
        let mask = Volume::from_fn([4, 4, 4], |[z, y, x]| z + y * x < 5);
        let of = |spacing: f64| {
            let spacing = [spacing; 3];
            let raw = moments(&mask, None, [0.0; 3], spacing);
            normalised_moments(&moments(&mask, None, centroid(&raw), spacing), spacing)
        };
        let (a, b) = (of(1.0), of(0.3));
        assert!(a[1][0][0].is_nan() && b[0][0][0].is_nan());
        assert!((a[2][0][1] - b[2][0][1]).abs() < 1e-12);
        assert!((a[1][1][0] - b[1][1][0]).abs() < 1e-12);
    }
}
