//! The normal distribution and its inverse.
//!
//! ```text
//! Φ(z) = erfc(−z / √2) / 2
//! erf(x) = 2/√π · e^(−x²) · (x + 2x³/3 + 4x⁵/15 + …)                    for small x
//! erfc(x) = e^(−x²)/(x √π) / (1 + 1/(2x²) / (1 + 2/(2x²) / (1 + …)))    for large x
//! ```
//!
//! Reference: M. Abramowitz, I. A. Stegun (1964), "Handbook of mathematical functions",
//! 7.1.6 and 7.1.14.

use std::f64::consts::{PI, SQRT_2};

/// From here on the continued fraction is used.
const LARGE: f64 = 2.5;

/// Levels of the continued fraction: enough for the last digit at [`LARGE`].
const LEVELS: u32 = 80;

/// Probability of a value below z.
pub(super) fn cumulative(z: f64) -> f64 {
    0.5 * complementary_error(-z / SQRT_2)
}

/// The value that a share of the distribution lies below; infinite for 0 and 1.
pub(super) fn quantile(probability: f64) -> f64 {
    if probability.is_nan() || !(0.0..=1.0).contains(&probability) {
        return f64::NAN;
    }
    let (mut low, mut high) = (-40.0, 40.0);
    if probability == 0.0 || probability == 1.0 {
        return if probability == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    // 80 units halved 60 times is below the spacing of numbers.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if cumulative(middle) < probability { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

fn complementary_error(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - complementary_error(-x);
    }
    if x < LARGE {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term > 1e-17 * sum {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return 1.0 - 2.0 / PI.sqrt() * (-x * x).exp() * sum;
    }
    let level = |inner: f64, n: u32| 1.0 + f64::from(n) / (2.0 * x * x) / inner;
    let fraction = (1..=LEVELS).rev().fold(1.0, level);
    (-x * x).exp() / (x * PI.sqrt()) / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    // SciPy 1.17: scipy.special.ndtr and ndtri.
    #[test]
    fn as_scipy() {
        for (z, expected) in [
            (-8.0, 6.22096057427174e-16),
            (-3.3, 0.00048342414238377744),
            (-1.2, 0.11506967022170822),
            (-0.4, 0.3445782583896758),
            (0.0, 0.5),
            (0.7, 0.758036347776927),
            (2.0, 0.9772498680518208),
            (5.0, 0.9999997133484281),
        ] {
            let found = cumulative(z);
            assert!((found / expected - 1.0).abs() < 1e-12, "{z}: {found}, expected {expected}");
        }
        for (probability, expected) in [
            (1e-10, -6.361340902404056),
            (0.025, -1.9599639845400545),
            (0.3, -0.5244005127080409),
            (0.5, 0.0),
            (0.975, 1.959963984540054),
        ] {
            let found = quantile(probability);
            assert!((found - expected).abs() < 1e-12, "{probability}: {found}");
        }
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
        assert!(quantile(f64::NAN).is_nan());
    }
}
