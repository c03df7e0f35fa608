//! Fourier shell correlation of volumes, by direction.
//!
//! Light microscopes resolve less along z than across. A shell of frequencies is divided
//! into sectors by its angle to the z axis: near 0° are the frequencies along z, near 90°
//! those in the plane.

use super::curve::{FourierCurve, crossing};
use super::halves::{Image, Sampling, pack};
use super::transform::{Sums, bin_sums};
use super::{CurveFit, FourierRecipe, Resolution, Source, signed};
use crate::{Shape, Volume, standardise::moments};

/// How shells and sectors are formed and read; the default is that of cubic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShellCorrelation {
    /// Thickness of a shell in coefficients of the longest axis.
    pub shell_width: usize,
    /// Angle of a sector, a divisor of 90.
    pub sector_degrees: usize,
    /// Correlation at which an image counts as no longer resolved.
    pub threshold: f64,
    /// How the curve is read between its points.
    pub fit: CurveFit,
}

impl Default for ShellCorrelation {
    fn default() -> Self {
        Self {
            shell_width: 1,
            sector_degrees: 15,
            threshold: 0.143,
            fit: CurveFit::SmoothingSpline(0.05),
        }
    }
}

/// The resolution in the directions of one sector.
#[derive(Clone, Debug, PartialEq)]
pub struct SectorResolution {
    /// Angle to the z axis at the middle of the sector.
    pub degrees: f64,
    /// Its curve; correlations of opposite phase are negative, bins without a coefficient are
    /// left out.
    pub resolution: Resolution,
}

/// Resolution of a volume by direction, from that volume alone; nearest to z first.
///
/// The volume is centred on its mean, padded with zeros to a cube and split: planes are added
/// in pairs, and of each plane the checkerboard is taken apart. The curves of both splits are
/// averaged. Spacings are along (z, y, x), the highest frequency is that of the coarsest axis.
///
/// # Panics
///
/// If the sector is no divisor of 90°, or shells have no width.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{ShellCorrelation, lateral_and_axial, shell_correlation};
///
/// // A blob that is long in z, in noise that neighbours do not share.
/// let volume = Volume::from_fn([40, 40, 40], |[z, y, x]| {
///     let [dz, dy, dx] = [z, y, x].map(|i| i as f32 - 20.0);
///     let noise = ((z * 31 + y * 7919 + x * x * 104_729) % 17) as f32 / 17.0;
///     90.0 * (-(dz / 9.0).powi(2) - (dy / 3.0).powi(2) - (dx / 3.0).powi(2)).exp() + noise
/// });
/// let options = ShellCorrelation { sector_degrees: 45, ..ShellCorrelation::default() };
/// let sectors = shell_correlation(&volume, [0.3; 3], &options);
/// let [lateral, axial] = lateral_and_axial(&sectors);
/// assert!(lateral < axial, "{lateral} {axial}");
/// ```
#[must_use]
pub fn shell_correlation(
    volume: &Volume<f32>,
    spacing_um: [f64; 3],
    options: &ShellCorrelation,
) -> Vec<SectorResolution> {
    let side = volume.shape.into_iter().max().unwrap_or(0);
    let sectors = Sectors::new(side / 2, spacing_um, options);
    let image = centred(volume);
    let curves = [0, 1].map(|split| {
        let halves = Sampling::halves(volume.shape, side, FourierRecipe::Cubic, split);
        sectors.correlation(&bin_sums(pack([image, image], &halves), sectors.bins(), |k| {
            sectors.bin(k)
        }))
    });
    let [mut first, second] = curves;
    for (first, second) in first.iter_mut().zip(&second) {
        first.0 = 0.5 * first.0 + 0.5 * second.0;
    }
    sectors.resolutions(&first, options, Source::Halves)
}

/// Memory in bytes that [`shell_correlation`] of a volume of this shape takes beside the volume,
/// on this many threads.
///
/// ```
/// use spotlight_image::evaluate::shell_correlation_bytes;
///
/// // Half of the planes, rows and columns as complex numbers, and four slabs for each thread.
/// assert_eq!(shell_correlation_bytes([8, 100, 100], 2), 16 * 4 * 50 * 50 + 2 * 64 * 50 * 50);
/// ```
#[must_use]
pub fn shell_correlation_bytes([planes, rows, columns]: Shape, threads: usize) -> u64 {
    let half = planes.max(rows).max(columns) as u64 / 2;
    let values = 16 * planes.div_ceil(2) as u64 * rows.div_ceil(2) as u64 * half;
    values + 64 * threads as u64 * half * half
}

/// Resolution by direction up to which two volumes agree; nearest to z first.
///
/// # Panics
///
/// If the shapes differ, the sector is no divisor of 90°, or shells have no width.
#[must_use]
pub fn shell_correlation_of_pair(
    first: &Volume<f32>,
    second: &Volume<f32>,
    spacing_um: [f64; 3],
    options: &ShellCorrelation,
) -> Vec<SectorResolution> {
    assert_eq!(first.shape, second.shape, "images to compare must have one shape");
    let side = first.shape.into_iter().max().unwrap_or(0);
    let sectors = Sectors::new(side, spacing_um, options);
    let samplings = [0, 1].map(|_| Sampling::whole(first.shape, side, FourierRecipe::Cubic));
    let pair = pack([centred(first), centred(second)], &samplings);
    let curve = sectors.correlation(&bin_sums(pair, sectors.bins(), |k| sectors.bin(k)));
    sectors.resolutions(&curve, options, Source::Pair)
}

/// Resolution in the plane and along z: that of the sector nearest to the plane, and that of
/// the sector below 45° furthest from the z axis, since there are the most coefficients.
///
/// Where a sector has none the next takes its place: for z first those nearer to the axis,
/// then those above 45°. NaN where no sector has one.
#[must_use]
pub fn lateral_and_axial(sectors: &[SectorResolution]) -> [f64; 2] {
    let defined = |sector: &&SectorResolution| !sector.resolution.resolution_um.is_nan();
    let value = |sector: Option<&SectorResolution>| {
        sector.map_or(f64::NAN, |sector| sector.resolution.resolution_um)
    };
    let below = sectors.iter().rev().filter(|sector| sector.degrees < 45.0);
    let above = sectors.iter().filter(|sector| sector.degrees >= 45.0);
    [value(sectors.iter().rev().find(defined)), value(below.chain(above).find(defined))]
}

fn centred(volume: &Volume<f32>) -> Image<'_> {
    let mean = if volume.voxels.is_empty() { 0.0 } else { moments(volume).mean };
    Image { shape: volume.shape, voxels: &volume.voxels, mean }
}

/// Even divisions of the frequencies up to the highest that all axes hold.
pub(super) struct Edges {
    shape: Shape,
    /// Frequency of the first coefficient along each axis.
    step: [f64; 3],
    edges: Vec<f64>,
}

impl Edges {
    /// An axis of one voxel has no frequencies.
    pub(super) fn new(shape: Shape, spacing: [f64; 3], width: usize) -> Self {
        assert!(width > 0, "shells must have a width");
        // In the order of operations of the reference, since frequencies fall on edges.
        let lengths = [0, 1, 2].map(|axis| shape[axis] as f64 * spacing[axis]);
        let step = lengths.map(|length| 1.0 / length);
        let axes = [0, 1, 2].into_iter().filter(|axis| shape[*axis] > 1);
        let finest = axes.clone().fold(f64::INFINITY, |least, axis| least.min(step[axis]));
        let highest = axes
            .fold(f64::INFINITY, |least, axis| least.min((shape[axis] / 2) as f64 / lengths[axis]));
        let edges = if highest.is_finite() {
            let count = (highest / (width as f64 * finest)).ceil().max(1.0);
            let edge =
                |i: usize| if i as f64 == count { highest } else { i as f64 * (highest / count) };
            (0..=count as usize).map(edge).collect()
        } else {
            Vec::new()
        };
        Self { shape, step, edges }
    }

    pub(super) fn middles(&self) -> Vec<f64> {
        self.edges.windows(2).map(|edges| 0.5 * (edges[0] + edges[1])).collect()
    }

    fn frequency(&self, k: [usize; 3]) -> [f64; 3] {
        [0, 1, 2].map(|axis| signed(k[axis], self.shape[axis]) * self.step[axis])
    }

    /// The shell of a coefficient; what lies beyond the last belongs to it, the mean to none.
    pub(super) fn shell(&self, k: [usize; 3]) -> Option<usize> {
        let radius = self.frequency(k).iter().map(|f| f * f).sum::<f64>().sqrt();
        if radius == 0.0 || self.edges.len() < 2 {
            return None;
        }
        let last = self.edges.len() - 2;
        let mut shell = ((radius / self.edges[1]) as usize).min(last);
        while shell > 0 && radius < self.edges[shell] {
            shell -= 1;
        }
        while shell < last && radius >= self.edges[shell + 1] {
            shell += 1;
        }
        Some(shell)
    }
}

/// Shells times sectors of a cube.
struct Sectors {
    edges: Edges,
    degrees: usize,
    count: usize,
    shells: usize,
}

impl Sectors {
    fn new(side: usize, spacing_um: [f64; 3], options: &ShellCorrelation) -> Self {
        let degrees = options.sector_degrees;
        let divides = degrees > 0 && 90 % degrees == 0;
        assert!(divides, "a sector must be a divisor of 90 degrees, is {degrees}");
        let edges = Edges::new([side; 3], spacing_um, options.shell_width);
        let shells = edges.edges.len().saturating_sub(1);
        Self { edges, degrees, count: 90 / degrees, shells }
    }

    fn bins(&self) -> usize {
        self.count * self.shells
    }

    fn bin(&self, k: [usize; 3]) -> Option<usize> {
        let shell = self.edges.shell(k)?;
        let [z, y, x] = self.edges.frequency(k);
        let degrees = (y * y + x * x).sqrt().atan2(z.abs()).to_degrees();
        let sector = ((degrees / self.degrees as f64) as usize).min(self.count - 1);
        Some(sector * self.shells + shell)
    }

    /// Correlation and number of coefficients of every bin.
    fn correlation(&self, sums: &[Sums]) -> Vec<(f64, usize)> {
        let of_bin = |sums: &Sums| {
            let correlation = sums.cross / (sums.first * sums.second).sqrt();
            (if correlation.is_finite() { correlation } else { 0.0 }, sums.points)
        };
        sums.iter().map(of_bin).collect()
    }

    fn resolutions(
        &self,
        bins: &[(f64, usize)],
        options: &ShellCorrelation,
        source: Source,
    ) -> Vec<SectorResolution> {
        let highest = self.edges.edges.last().copied().unwrap_or(f64::NAN);
        let middles = self.edges.middles();
        let of_sector = |sector: usize| {
            let bins = bins[sector * self.shells..][..self.shells].iter().zip(&middles);
            let (mut frequency, mut correlation, mut points) = (vec![], vec![], vec![]);
            for ((value, count), middle) in bins.filter(|((_, count), _)| *count > 0) {
                frequency.push(middle / highest);
                correlation.push(*value);
                points.push(*count);
            }
            let curve = FourierCurve { frequency, correlation, points };
            let crossing = crossing(&curve, FourierRecipe::Cubic, options.threshold, options.fit);
            let resolution_um = 1.0 / (crossing * highest) / source.calibration(crossing);
            SectorResolution {
                degrees: (sector as f64 + 0.5) * self.degrees as f64,
                resolution: Resolution { curve, crossing, resolution_um },
            }
        };
        (0..self.count).map(of_sector).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(degrees: f64, resolution_um: f64) -> SectorResolution {
        let curve = FourierCurve { frequency: vec![], correlation: vec![], points: vec![] };
        let resolution = Resolution { curve, crossing: f64::NAN, resolution_um };
        SectorResolution { degrees, resolution }
    }

    #[test]
    fn which_sector_speaks_for_a_direction() {
        let nan = f64::NAN;
        let find = |values: [f64; 4]| {
            let degrees = [11.25, 33.75, 56.25, 78.75];
            let sectors: Vec<_> =
                degrees.into_iter().zip(values).map(|(d, v)| sector(d, v)).collect();
            lateral_and_axial(&sectors)
        };
        assert_eq!(find([1.0, 2.0, 3.0, 4.0]), [4.0, 2.0]);
        assert_eq!(find([1.0, nan, 3.0, nan]), [3.0, 1.0]);
        assert_eq!(find([nan, nan, 3.0, 4.0]), [4.0, 3.0]);
        assert!(find([nan; 4])[0].is_nan() && find([nan; 4])[1].is_nan());
    }

    #[test]
    fn what_has_no_resolution() {
        let options = ShellCorrelation { sector_degrees: 45, ..ShellCorrelation::default() };
        for shape in [[12, 12, 12], [1, 1, 1], [0, 0, 0], [2, 30, 20]] {
            let flat = Volume::filled(shape, 0.1);
            let sectors = shell_correlation(&flat, [0.3; 3], &options);
            assert_eq!(sectors.len(), 2);
            assert!(lateral_and_axial(&sectors)[0].is_nan(), "{sectors:?}");
            let sectors = shell_correlation_of_pair(&flat, &flat, [0.3; 3], &options);
            assert!(lateral_and_axial(&sectors)[1].is_nan(), "{sectors:?}");
        }
    }

    #[test]
    #[should_panic(expected = "divisor of 90")]
    fn sectors_fill_the_quarter() {
        let options = ShellCorrelation { sector_degrees: 20, ..ShellCorrelation::default() };
        let _ = shell_correlation(&Volume::filled([4; 3], 1.0), [0.3; 3], &options);
    }
}
