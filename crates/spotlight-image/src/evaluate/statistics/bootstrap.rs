//! Intervals by the bootstrap: the statistic of many samples drawn from the sample.
//!
//! References:
//! - B. Efron (1987), "Better bootstrap confidence intervals".
//! - `scipy.stats.bootstrap` of SciPy 1.17, methods `percentile` and `BCa`; seaborn's bands.

use rayon::prelude::*;

use super::normal::{cumulative, quantile};
use crate::evaluate::percentile::percentile_of_numbers;
use crate::simulate::random::Random;

/// Which part of the resampled statistics is the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BootstrapInterval {
    /// Their middle part, as in the paper's bands.
    #[default]
    Percentile,
    /// The part that corrects for bias and skewness (BCa).
    BiasCorrected,
}

/// How an interval is formed; the default is that of the paper's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Samples drawn.
    pub resamples: usize,
    /// Share of the interval.
    pub level: f64,
    /// Chooses the samples.
    pub seed: u64,
    /// Which part is taken.
    pub interval: BootstrapInterval,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95, seed: 0, interval: BootstrapInterval::Percentile }
    }
}

/// A statistic and where it may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The statistic of the sample.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The mean of the values that are numbers and its interval; NaN where none is.
///
/// # Examples
///
/// ```
/// use spotlight_image::evaluate::{Bootstrap, bootstrap_mean};
///
/// let scores = [0.71, 0.74, 0.69, f64::NAN, 0.80, 0.77];
/// let found = bootstrap_mean(&scores, &Bootstrap::default());
/// assert!((found.estimate - 0.742).abs() < 1e-12);
/// assert!(0.69 < found.low && found.low < 0.742 && 0.742 < found.high && found.high < 0.80);
/// assert_eq!(found, bootstrap_mean(&scores, &Bootstrap::default()));
/// ```
#[must_use]
pub fn bootstrap_mean(values: &[f64], options: &Bootstrap) -> Interval {
    bootstrap(values, |values| values.iter().sum::<f64>() / values.len() as f64, options)
}

/// A statistic of the values that are numbers and its interval; NaN where none is.
///
/// Without spread in the resampled statistics both ends are the estimate. The same seed gives
/// the same interval, whatever the number of threads.
#[must_use]
pub fn bootstrap(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> f64 + Sync,
    options: &Bootstrap,
) -> Interval {
    let values: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    if values.is_empty() {
        return Interval { estimate: f64::NAN, low: f64::NAN, high: f64::NAN };
    }
    let resampled = |sample: usize| {
        let mut random = Random::new(options.seed, sample as u64);
        let drawn: Vec<f64> = values.iter().map(|_| values[random.below(values.len())]).collect();
        statistic(&drawn)
    };
    let statistics: Vec<f64> = (0..options.resamples).into_par_iter().map(resampled).collect();
    let estimate = statistic(&values);
    let tail = 0.5 * (1.0 - options.level);
    let [low, high] = match options.interval {
        BootstrapInterval::Percentile => [tail, 1.0 - tail],
        BootstrapInterval::BiasCorrected => {
            let bias = bias(&statistics, estimate);
            let acceleration = acceleration(&values, &statistic);
            [tail, 1.0 - tail].map(|share| {
                let shifted = bias + quantile(share);
                cumulative(bias + shifted / (1.0 - acceleration * shifted))
            })
        }
    };
    Interval {
        estimate,
        low: percentile_of_numbers(&statistics, 100.0 * low),
        high: percentile_of_numbers(&statistics, 100.0 * high),
    }
}

/// Where the estimate stands among the resampled statistics, as a normal number.
fn bias(statistics: &[f64], estimate: f64) -> f64 {
    let below = statistics.iter().filter(|statistic| **statistic < estimate).count();
    let up_to = statistics.iter().filter(|statistic| **statistic <= estimate).count();
    quantile((below + up_to) as f64 / (2 * statistics.len()) as f64)
}

/// How fast the spread changes with the statistic, from leaving out one value at a time.
fn acceleration(values: &[f64], statistic: &impl Fn(&[f64]) -> f64) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let without = |left_out: usize| {
        let rest = values.iter().enumerate().filter(|(i, _)| *i != left_out);
        statistic(&rest.map(|(_, value)| *value).collect::<Vec<f64>>())
    };
    let all: Vec<f64> = (0..values.len()).map(without).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let power = |exponent| all.iter().map(|value| (mean - value).powi(exponent)).sum::<f64>();
    let (squares, cubes) = (power(2), power(3));
    if squares == 0.0 { 0.0 } else { cubes / (6.0 * squares.powf(1.5)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEWED: [f64; 12] = [2.1, 3.4, 2.9, 8.8, 4.0, 3.1, 2.7, 5.5, 3.3, 2.2, 12.0, 3.8];

    fn check(interval: BootstrapInterval, low: f64, high: f64) {
        let found =
            bootstrap_mean(&SKEWED, &Bootstrap { seed: 7, interval, ..Bootstrap::default() });
        assert!((found.low - low).abs() < 1e-9 && (found.high - high).abs() < 1e-9, "{found:?}");
    }

    // The same samples in Python, numpy.percentile and SciPy 1.17's BCa interval.
    #[test]
    fn as_scipy() {
        check(BootstrapInterval::Percentile, 3.1164583333333336, 6.341875);
        check(BootstrapInterval::BiasCorrected, 3.283333333333333, 6.75);
    }

    #[test]
    fn without_spread() {
        let corrected =
            Bootstrap { interval: BootstrapInterval::BiasCorrected, ..Bootstrap::default() };
        for options in [Bootstrap::default(), corrected] {
            let one = bootstrap_mean(&[0.25], &options);
            assert_eq!((one.estimate, one.low, one.high), (0.25, 0.25, 0.25));
            let equal = bootstrap_mean(&[0.25; 8], &options);
            assert_eq!((equal.low, equal.high), (0.25, 0.25));
            assert!(bootstrap_mean(&[f64::NAN], &options).estimate.is_nan());
            let none = bootstrap_mean(&[], &options);
            assert!(none.low.is_nan() && none.high.is_nan());
        }
    }

    #[test]
    fn seeds_choose_samples() {
        let with_seed = |seed| bootstrap_mean(&SKEWED, &Bootstrap { seed, ..Bootstrap::default() });
        assert_ne!(with_seed(1), with_seed(2));
        let median = |values: &[f64]| percentile_of_numbers(values, 50.0);
        let found = bootstrap(&SKEWED, median, &Bootstrap::default());
        assert!((found.estimate - 3.35).abs() < 1e-12 && found.low < 3.35 && found.high > 3.35);
    }
}
