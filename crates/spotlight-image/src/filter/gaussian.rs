//! Gaussian blur, one axis after the other.
//!
//! The kernel is sampled at whole voxels, cut off and divided by its sum, as in SciPy's
//! `scipy.ndimage.gaussian_filter`.

use crate::lines::{LANES, Lanes, along_axis};
use crate::{Border, Volume, voxel::Voxel};

/// Blurs with a Gaussian of standard deviation `sigma` (in voxels) along (z, y, x).
///
/// The kernel ends at `truncate` standard deviations: its radius is
/// `floor(truncate * sigma + 0.5)` voxels. An axis with a `sigma` of 0 stays as it is.
/// Sums are formed in f64 and stored in the voxels' type after each axis, as SciPy does.
///
/// # Panics
///
/// If a `sigma` or `truncate` is negative or not a number.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Border, Volume, filter::gaussian};
///
/// let point = Volume::new([1, 1, 5], vec![0.0_f32, 0.0, 1.0, 0.0, 0.0]);
/// let blurred = gaussian(&point, [0.0, 0.0, 1.0], 4.0, Border::Nearest);
/// assert!((blurred.voxels[2] - 0.39894).abs() < 1e-5);
/// ```
#[must_use]
pub fn gaussian<T: Voxel>(
    volume: &Volume<T>,
    sigma: [f64; 3],
    truncate: f64,
    border: Border,
) -> Volume<T> {
    assert!(truncate >= 0.0, "truncate must not be negative, is {truncate}");
    assert!(sigma.iter().all(|s| *s >= 0.0), "sigma must not be negative, is {sigma:?}");
    let mut result = None;
    for (axis, sigma) in sigma.into_iter().enumerate() {
        if sigma > 0.0 {
            let half = half_kernel(sigma, truncate);
            result = Some(correlate(result.as_ref().unwrap_or(volume), axis, &half, border));
        }
    }
    result.unwrap_or_else(|| volume.clone())
}

/// The weights at distance 0, 1, 2, ... from the centre.
fn half_kernel(sigma: f64, truncate: f64) -> Vec<f64> {
    let radius = (truncate * sigma + 0.5) as usize;
    let weight = |distance: usize| (-0.5 * (distance as f64 / sigma).powi(2)).exp();
    let weights: Vec<f64> = (0..=radius).map(weight).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    weights.into_iter().map(|w| w / sum).collect()
}

fn correlate<T: Voxel>(volume: &Volume<T>, axis: usize, half: &[f64], border: Border) -> Volume<T> {
    let (length, radius) = (volume.shape[axis], half.len() - 1);
    let beyond = |index: isize| (length > 0).then(|| border.inside(index, length)).flatten();
    let before: Vec<_> = (0..radius).map(|i| beyond(i as isize - radius as isize)).collect();
    let after: Vec<_> = (0..radius).map(|i| beyond((length + i) as isize)).collect();
    let constant = [border.constant(); LANES];
    along_axis(volume, axis, radius, length, |line, new| {
        for i in 0..radius {
            line[i] = before[i].map_or(constant, |from| line[radius + from]);
            line[radius + length + i] = after[i].map_or(constant, |from| line[radius + from]);
        }
        for (i, sum) in new.iter_mut().enumerate() {
            *sum = weighted_sum(&line[i..=i + 2 * radius], half);
        }
    })
}

/// The kernel at the middle of a window.
fn weighted_sum(window: &[Lanes], half: &[f64]) -> Lanes {
    let radius = half.len() - 1;
    let mut sum = window[radius].map(|v| v * half[0]);
    let (left, right) = (&window[..radius], &window[radius + 1..]);
    for ((a, b), weight) in left.iter().zip(right.iter().rev()).zip(half.iter().rev()) {
        for lane in 0..LANES {
            sum[lane] += (a[lane] + b[lane]) * weight;
        }
    }
    sum
}
