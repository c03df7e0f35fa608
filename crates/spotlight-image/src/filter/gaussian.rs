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
            let blur = Blur::new(sigma, truncate, border, volume.shape[axis]);
            result = Some(correlate(result.as_ref().unwrap_or(volume), axis, &blur));
        }
    }
    result.unwrap_or_else(|| volume.clone())
}

fn correlate<T: Voxel>(volume: &Volume<T>, axis: usize, blur: &Blur) -> Volume<T> {
    let length = volume.shape[axis];
    along_axis(volume, axis, blur.radius(), length, |line, new| {
        blur.extend(line, length);
        for (window, sum) in line.windows(2 * blur.radius() + 1).zip(new) {
            *sum = weighted_sum(window, &blur.half);
        }
    })
}

/// The blur of lines of one length.
pub(crate) struct Blur {
    /// The weights at distance 0, 1, 2, ... from the centre.
    half: Vec<f64>,
    /// The voxels that stand before the first one and after the last, or the constant.
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
    constant: f64,
}

impl Blur {
    pub(crate) fn new(sigma: f64, truncate: f64, border: Border, length: usize) -> Self {
        let half = half_kernel(sigma, truncate);
        let radius = half.len() - 1;
        let beyond = |index: isize| (length > 0).then(|| border.inside(index, length)).flatten();
        let before = (0..radius).map(|i| beyond(i as isize - radius as isize)).collect();
        let after = (0..radius).map(|i| beyond((length + i) as isize)).collect();
        Self { half, before, after, constant: border.constant() }
    }

    /// How far the kernel reaches.
    pub(crate) fn radius(&self) -> usize {
        self.half.len() - 1
    }

    /// Blurs the `length` voxels that stand [`Blur::radius`] after the start of a line;
    /// the result begins at its start.
    pub(crate) fn shift(&self, line: &mut [Lanes], length: usize) {
        self.extend(line, length);
        for i in 0..length {
            line[i] = weighted_sum(&line[i..=i + 2 * self.radius()], &self.half);
        }
    }

    /// Fills the margins of a line.
    fn extend(&self, line: &mut [Lanes], length: usize) {
        let (radius, constant) = (self.radius(), [self.constant; LANES]);
        for i in 0..radius {
            line[i] = self.before[i].map_or(constant, |from| line[radius + from]);
            line[radius + length + i] = self.after[i].map_or(constant, |from| line[radius + from]);
        }
    }
}

/// The weights at distance 0, 1, 2, ... from the centre.
fn half_kernel(sigma: f64, truncate: f64) -> Vec<f64> {
    let radius = (truncate * sigma + 0.5) as usize;
    let weight = |distance: usize| (-0.5 * (distance as f64 / sigma).powi(2)).exp();
    let weights: Vec<f64> = (0..=radius).map(weight).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    weights.into_iter().map(|w| w / sum).collect()
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
