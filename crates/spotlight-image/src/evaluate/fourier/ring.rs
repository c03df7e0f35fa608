//! Fourier ring correlation of planes.

use rayon::prelude::*;

use super::curve::{FourierCurve, crossing};
use super::halves::{Image, Sampling, pack};
use super::shell::Edges;
use super::transform::{Sums, bin_sums};
use super::{CurveFit, FourierRecipe, Resolution, Source, signed};
use crate::{Volume, standardise::moments};

/// How rings are formed and read. The default is the paper's: miplib with rings of 5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingCorrelation {
    /// Order of the steps.
    pub recipe: FourierRecipe,
    /// Width of a ring in coefficients.
    pub ring_width: usize,
    /// Correlation at which an image counts as no longer resolved.
    pub threshold: f64,
    /// How the curve is read between its points.
    pub fit: CurveFit,
}

impl Default for RingCorrelation {
    fn default() -> Self {
        Self {
            recipe: FourierRecipe::Miplib,
            ring_width: 5,
            threshold: 1.0 / 7.0,
            fit: CurveFit::Linear,
        }
    }
}

/// Resolution of every plane of a stack from that plane alone, `spacing_um` between pixels.
///
/// A plane that is not square is padded with zeros. The curves of both ways to split the
/// checkerboard are averaged.
///
/// # Panics
///
/// If rings have no width.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{RingCorrelation, ring_correlation};
///
/// // A smooth blob with a chequered noise that neighbours do not share.
/// let plane = Volume::from_fn([1, 96, 96], |[_, y, x]| {
///     let [dy, dx] = [y, x].map(|i| (i as f32 - 48.0) / 9.0);
///     100.0 * (-dy * dy - dx * dx).exp() + ((y * 7919 + x * x * 104_729) % 17) as f32 / 17.0
/// });
/// let found = &ring_correlation(&plane, 0.29, &RingCorrelation::default())[0];
/// assert!(found.curve.correlation[0] > 0.98);
/// assert!(found.resolution_um > 2.0 * 0.29 && found.resolution_um < 3.0);
/// ```
#[must_use]
pub fn ring_correlation(
    stack: &Volume<f32>,
    spacing_um: f64,
    options: &RingCorrelation,
) -> Vec<Resolution> {
    let [planes, rows, columns] = stack.shape;
    let (shape, side) = ([1, rows, columns], rows.max(columns));
    let half = match options.recipe {
        FourierRecipe::Miplib => side.div_ceil(2),
        FourierRecipe::Cubic => side / 2,
    };
    let rings = Rings::new(half, spacing_um, options);
    let splits = [0, 1].map(|split| Sampling::halves(shape, side, options.recipe, split));
    let of_plane = |z: usize| {
        let image = image(stack, z, options.recipe);
        let curves = splits.each_ref().map(|halves| {
            let sums = bin_sums(pack([image, image], halves), rings.count, |k| rings.of(k));
            rings.correlation(&sums, options.recipe)
        });
        let [(first, points), (second, _)] = curves;
        let mean = first.iter().zip(&second).map(|(a, b)| 0.5 * a + 0.5 * b).collect();
        rings.resolution(mean, points, spacing_um, options, Source::Halves)
    };
    (0..planes).into_par_iter().map(of_plane).collect()
}

/// Resolution up to which each plane of a stack agrees with that of another.
///
/// Nothing is split and nothing calibrated.
///
/// # Panics
///
/// If the shapes differ, or rings have no width.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{RingCorrelation, ring_correlation_of_pair};
///
/// let a = Volume::from_fn([2, 40, 50], |[z, y, x]| ((y * y + 3 * x * z) % 31) as f32);
/// let found = ring_correlation_of_pair(&a, &a, 0.29, &RingCorrelation::default());
/// // All agrees, so there is no limit; the last ring of 25 coefficients is complete.
/// assert!(found[1].curve.correlation.iter().all(|c| (c - 1.0).abs() < 1e-9));
/// assert!(found[1].resolution_um.is_nan());
/// ```
#[must_use]
pub fn ring_correlation_of_pair(
    first: &Volume<f32>,
    second: &Volume<f32>,
    spacing_um: f64,
    options: &RingCorrelation,
) -> Vec<Resolution> {
    assert_eq!(first.shape, second.shape, "images to compare must have one shape");
    let [planes, rows, columns] = first.shape;
    let (shape, side) = ([1, rows, columns], rows.max(columns));
    let rings = Rings::new(side, spacing_um, options);
    let samplings = [0, 1].map(|_| Sampling::whole(shape, side, options.recipe));
    let of_plane = |z: usize| {
        let images = [first, second].map(|stack| image(stack, z, options.recipe));
        let sums = bin_sums(pack(images, &samplings), rings.count, |k| rings.of(k));
        let (correlation, points) = rings.correlation(&sums, options.recipe);
        rings.resolution(correlation, points, spacing_um, options, Source::Pair)
    };
    (0..planes).into_par_iter().map(of_plane).collect()
}

fn image(stack: &Volume<f32>, z: usize, recipe: FourierRecipe) -> Image<'_> {
    let shape = [1, stack.shape[1], stack.shape[2]];
    let plane = stack.plane(z);
    let mean = match recipe {
        FourierRecipe::Miplib => 0.0,
        FourierRecipe::Cubic if plane.is_empty() => 0.0,
        FourierRecipe::Cubic => moments(&Volume::new(shape, plane.to_vec())).mean,
    };
    Image { shape, voxels: plane, mean }
}

/// The ring of every coefficient of a square.
struct Rings {
    side: usize,
    table: Vec<Option<u32>>,
    count: usize,
    frequency: Vec<f64>,
}

impl Rings {
    fn new(side: usize, spacing_um: f64, options: &RingCorrelation) -> Self {
        let width = options.ring_width;
        assert!(width > 0, "rings must have a width");
        let edges = Edges::new([1, side, side], [spacing_um; 3], width);
        let (count, frequency): (_, Vec<f64>) = match options.recipe {
            FourierRecipe::Miplib => {
                let highest = side / 2;
                let inner = (0..highest).step_by(width).map(|r| r as f64 / highest as f64);
                (side / (2 * width), inner.collect())
            }
            FourierRecipe::Cubic => {
                let middles = edges.middles();
                let last = middles.last().copied().unwrap_or(f64::NAN);
                (middles.len(), middles.iter().map(|middle| middle / last).collect())
            }
        };
        let ring = |[ky, kx]: [usize; 2]| match options.recipe {
            FourierRecipe::Miplib => {
                let [ky, kx] = [signed(ky, side), signed(kx, side)];
                let ring = ((ky * ky + kx * kx).sqrt() / width as f64) as usize;
                (ring < count).then_some(ring)
            }
            FourierRecipe::Cubic => edges.shell([0, ky, kx]),
        };
        let places = (0..side).flat_map(|ky| (0..side / 2 + 1).map(move |kx| [ky, kx]));
        let table = places.map(|k| ring(k).map(|ring| ring as u32)).collect();
        Self { side, table, count, frequency }
    }

    fn of(&self, [_, ky, kx]: [usize; 3]) -> Option<usize> {
        self.table[ky * (self.side / 2 + 1) + kx].map(|ring| ring as usize)
    }

    /// Correlation and number of coefficients of every ring.
    fn correlation(&self, sums: &[Sums], recipe: FourierRecipe) -> (Vec<f64>, Vec<usize>) {
        let without = match recipe {
            FourierRecipe::Miplib => 0.0,
            FourierRecipe::Cubic => 1.0,
        };
        let of_ring = |sums: &Sums| {
            let correlation = sums.cross.abs() / (sums.first * sums.second).sqrt();
            if correlation.is_finite() { correlation } else { without }
        };
        let mut correlation: Vec<f64> = sums.iter().map(of_ring).collect();
        let mut points: Vec<usize> = sums.iter().map(|sums| sums.points).collect();
        correlation.resize(self.frequency.len(), 0.0);
        points.resize(self.frequency.len(), 0);
        (correlation, points)
    }

    fn resolution(
        &self,
        correlation: Vec<f64>,
        points: Vec<usize>,
        spacing_um: f64,
        options: &RingCorrelation,
        source: Source,
    ) -> Resolution {
        let curve = FourierCurve { frequency: self.frequency.clone(), correlation, points };
        let crossing = crossing(&curve, options.recipe, options.threshold, options.fit);
        let resolution_um = 2.0 * spacing_um / crossing / source.calibration(crossing);
        Resolution { curve, crossing, resolution_um }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(stack: &Volume<f32>) -> Vec<Resolution> {
        ring_correlation(stack, 0.29, &RingCorrelation::default())
    }

    #[test]
    fn what_has_no_resolution() {
        assert!(find(&Volume::filled([0, 30, 30], 1.0)).is_empty());
        for shape in [[1, 40, 30], [2, 1, 1], [1, 0, 0], [1, 9, 9]] {
            let zero = find(&Volume::filled(shape, 0.0));
            assert!(zero.iter().all(|found| found.resolution_um.is_nan()), "{zero:?}");
        }
        // The window of a constant image agrees with itself until rounding is all there is.
        let options =
            RingCorrelation { recipe: FourierRecipe::Cubic, ..RingCorrelation::default() };
        let flat = ring_correlation(&Volume::filled([1, 64, 64], 0.1), 0.29, &options);
        assert!(flat[0].resolution_um.is_nan(), "{flat:?}");
    }

    #[test]
    fn gain_does_not_count() {
        let stack = Volume::from_fn([2, 60, 50], |[z, y, x]| {
            let noise = ((y * 7919 + x * x * 104_729 + z) % 17) as f32;
            60.0 * (-((y as f32 - 30.0) / 9.0).powi(2)).exp() + noise
        });
        let found = find(&stack);
        assert!(found.iter().all(|found| found.resolution_um > 0.0), "{found:?}");
        for (a, b) in found.iter().zip(find(&stack.map(|v| 8.0 * v))) {
            assert!((a.resolution_um - b.resolution_um).abs() < 1e-9);
        }
    }

    #[test]
    #[should_panic(expected = "one shape")]
    fn shapes_must_agree() {
        let (a, b) = (Volume::filled([1, 9, 9], 1.0), Volume::filled([1, 9, 8], 1.0));
        let _ = ring_correlation_of_pair(&a, &b, 0.29, &RingCorrelation::default());
    }
}
