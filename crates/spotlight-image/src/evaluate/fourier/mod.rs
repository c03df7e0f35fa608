//! Resolution by Fourier correlation: up to which frequency two images agree.
//!
//! ```text
//! C(bin) = |Σ A(k) B*(k)| / sqrt(Σ |A(k)|² Σ |B(k)|²)   over the coefficients k of a bin
//! resolution = 2 · spacing / (frequency where C falls to the threshold, as a part of the
//!              highest), for a single image divided by a calibration
//! ```
//!
//! Bins are rings in planes ([`ring_correlation`]) or, in volumes, the parts of shells in
//! sectors of one direction ([`shell_correlation`]). Two images may be given, or one, which
//! is then taken apart like a checkerboard.
//!
//! References:
//! - S. Koho et al. (2019), "Fourier ring correlation simplifies image restoration in
//!   fluorescence microscopy", and its program miplib 1.0.6.
//! - cubic 0.8, the library of the paper's author.

mod curve;
mod halves;
mod ring;
mod shell;
mod spline;
mod transform;

pub use curve::FourierCurve;
pub use ring::{RingCorrelation, ring_correlation, ring_correlation_of_pair};
pub use shell::{
    SectorResolution, ShellCorrelation, lateral_and_axial, shell_correlation,
    shell_correlation_bytes, shell_correlation_of_pair,
};

/// In which order an image is windowed and split, and what a ring is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FourierRecipe {
    /// miplib, the program the paper names: the padded square is windowed, then split; ring i
    /// lies at `i·w <= |k| < (i + 1)·w` and is named after its inner edge; coefficients in
    /// the corners are left out; the curve ends with a 0 where the last ring is incomplete.
    #[default]
    Miplib,
    /// cubic 0.8, the later library of the paper's author: the mean is subtracted first, the
    /// halves are windowed; rings divide the frequencies up to the highest evenly and are
    /// named after their middles, as a part of that of the last; the coefficient of the mean
    /// is left out, those in the corners belong to the last ring.
    Cubic,
}

/// How a curve is read between its points.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum CurveFit {
    /// Straight lines.
    #[default]
    Linear,
    /// A cubic smoothing spline with this sum of squared residuals; the paper's author takes
    /// 0.25 with miplib, 0.05 with cubic. Fewer than 4 points have none.
    SmoothingSpline(f64),
}

/// A measured curve and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// The curve.
    pub curve: FourierCurve,
    /// The frequency where it falls through the threshold, as a part of the highest; NaN
    /// where it does not, or begins below.
    pub crossing: f64,
    /// The smallest distance that is resolved, in the unit of the spacing: µm.
    pub resolution_um: f64,
}

/// Whether a correlation was measured between the halves of one image or between two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Halves,
    Pair,
}

impl Source {
    /// Divides the resolution.
    fn calibration(self, crossing: f64) -> f64 {
        match self {
            Self::Halves => curve::calibration(crossing),
            Self::Pair => 1.0,
        }
    }
}

/// Index of a coefficient below and above 0.
fn signed(coefficient: usize, length: usize) -> f64 {
    if coefficient < length.div_ceil(2) {
        coefficient as f64
    } else {
        coefficient as f64 - length as f64
    }
}
