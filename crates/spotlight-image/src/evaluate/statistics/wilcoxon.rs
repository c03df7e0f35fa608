//! Wilcoxon's signed-rank test of paired scores.
//!
//! ```text
//! differences d = a − b without those that are 0; their magnitudes get ranks, equal ones
//!     the mean of theirs;  R+ = sum of ranks of positive, R− of negative differences
//! few pairs: p from all 2ⁿ signs, counted by the sum they give
//! else:      z = (R+ − n(n+1)/4) / sqrt((n(n+1)(2n+1) − Σ(t³ − t)/2) / 24), t equal ranks
//! ```
//!
//! References:
//! - F. Wilcoxon (1945), "Individual comparisons by ranking methods".
//! - `scipy.stats.wilcoxon` of SciPy 1.17 with its default arguments, whose choice between
//!   the exact and the normal distribution this makes too.

use super::normal::cumulative;

/// Up to this many pairs the exact distribution is used, if no ranks are equal,
const EXACT_PAIRS: usize = 50;

/// and up to this many if ranks are equal or differences 0.
const EXACT_PAIRS_WITH_TIES: usize = 13;

/// The result of the test, two-sided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedRank {
    /// The smaller of the sums of ranks of positive and of negative differences.
    pub statistic: f64,
    /// Probability of a difference this large or larger if the pairs do not differ; 1 if no
    /// pair differs, NaN if there is no pair.
    pub p_value: f64,
    /// Pairs that differ.
    pub pairs: usize,
}

/// Tests whether paired scores differ, two-sided. Pairs with a score that is not a number are
/// left out.
///
/// # Panics
///
/// If the lengths differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::evaluate::wilcoxon;
///
/// let spotlight = [0.81, 0.84, 0.79, 0.88, 0.90, 0.77];
/// let fnet = [0.80, 0.81, 0.75, 0.82, 0.83, 0.72];
/// let found = wilcoxon(&spotlight, &fnet);
/// assert_eq!((found.statistic, found.p_value, found.pairs), (0.0, 2.0 / 64.0, 6));
/// ```
#[must_use]
pub fn wilcoxon(a: &[f64], b: &[f64]) -> SignedRank {
    assert_eq!(a.len(), b.len(), "scores to compare must come in pairs");
    let all = a.iter().zip(b).map(|(a, b)| a - b).filter(|difference| !difference.is_nan());
    let all: Vec<f64> = all.collect();
    if all.is_empty() {
        return SignedRank { statistic: f64::NAN, p_value: f64::NAN, pairs: 0 };
    }
    let mut differences: Vec<f64> = all.iter().copied().filter(|d| *d != 0.0).collect();
    differences.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let pairs = differences.len();
    let (ranks, ties) = doubled_ranks(&differences);
    let positive = differences.iter().zip(&ranks).filter(|(difference, _)| **difference > 0.0);
    let plus: usize = positive.map(|(_, rank)| rank).sum();
    let minus = pairs * (pairs + 1) - plus;
    let plain = ties.is_empty() && pairs == all.len();
    let exact = all.len() <= if plain { EXACT_PAIRS } else { EXACT_PAIRS_WITH_TIES };
    let p_value = if pairs == 0 {
        1.0
    } else if exact {
        exact_probability(&ranks, plus)
    } else {
        normal_probability(pairs as f64, &ties, plus as f64 / 2.0)
    };
    SignedRank { statistic: plus.min(minus) as f64 / 2.0, p_value, pairs }
}

/// Twice the rank of every number of rising magnitude, and how many share a rank where
/// several do.
fn doubled_ranks(differences: &[f64]) -> (Vec<usize>, Vec<usize>) {
    let (mut ranks, mut ties) = (Vec::with_capacity(differences.len()), Vec::new());
    for equal in differences.chunk_by(|a, b| a.abs() == b.abs()) {
        // The mean of the first rank + 1 and the last.
        let doubled = 2 * ranks.len() + 1 + equal.len();
        ranks.extend(std::iter::repeat_n(doubled, equal.len()));
        if equal.len() > 1 {
            ties.push(equal.len());
        }
    }
    (ranks, ties)
}

/// Probability over all signs of a sum as far from the middle.
fn exact_probability(ranks: &[usize], plus: usize) -> f64 {
    let largest: usize = ranks.iter().sum();
    let mut probability = vec![0.0; largest + 1];
    probability[0] = 1.0;
    for rank in ranks {
        for sum in (0..=largest).rev() {
            let with_rank = if sum >= *rank { probability[sum - rank] } else { 0.0 };
            probability[sum] = 0.5 * (probability[sum] + with_rank);
        }
    }
    let below: f64 = probability[..=plus].iter().sum();
    let above: f64 = probability[plus..].iter().sum();
    (2.0 * below.min(above)).min(1.0)
}

fn normal_probability(pairs: f64, ties: &[usize], plus: f64) -> f64 {
    let cubes = ties.iter().map(|t| (*t as f64).powi(3) - *t as f64).sum::<f64>();
    let variance = (pairs * (pairs + 1.0) * (2.0 * pairs + 1.0) - cubes / 2.0) / 24.0;
    let z = (plus - pairs * (pairs + 1.0) / 4.0) / variance.sqrt();
    2.0 * cumulative(-z.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: &[f64], b: &[f64], statistic: f64, p_value: f64) {
        let found = wilcoxon(a, b);
        assert_eq!(found.statistic, statistic);
        assert!((found.p_value / p_value - 1.0).abs() < 1e-12, "{found:?}, expected {p_value}");
        assert_eq!(wilcoxon(b, a), found);
    }

    fn sequence(count: usize, factor: usize, offset: usize, modulus: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * factor + offset) % modulus) as f64).collect()
    }

    // SciPy 1.17: scipy.stats.wilcoxon(a, b).
    #[test]
    fn exact() {
        check(
            &[12.1, 9.8, 14.2, 11.0, 10.5, 13.3, 8.9, 12.7, 11.9, 10.1],
            &[11.25, 10.4, 12.9, 11.7, 9.1, 11.3, 8.6, 10.2, 12.15, 9.95],
            11.0,
            0.10546875,
        );
        let scaled = |values: Vec<f64>, by: f64| values.iter().map(|v| v / by).collect::<Vec<_>>();
        let a = scaled(sequence(50, 7919, 0, 1009), 1009.0);
        let b: Vec<f64> =
            scaled(sequence(50, 104_729, 0, 997), 997.0).iter().map(|v| v * 0.8).collect();
        check(&a, &b, 360.0, 0.01201539412868495);
        check(&[1.0], &[2.0], 0.0, 1.0);
    }

    #[test]
    fn equal_ranks_and_zeros_of_few_pairs() {
        let b = [2.0, 1.0, 5.0, 2.0, 2.0, 9.0, 4.0, 9.0];
        check(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &b, 15.5, 0.7890625);
        let b = [1.0, 3.0, 2.0, 6.0, 8.0, 10.0];
        check(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &b, 1.5, 0.1875);
    }

    #[test]
    fn normal() {
        check(&sequence(30, 37, 0, 23), &sequence(30, 17, 5, 19), 170.5, 0.3092364709003551);
        check(&sequence(14, 37, 0, 23), &sequence(14, 17, 5, 19), 36.5, 0.3145777180292063);
        let a: Vec<f64> = sequence(60, 7919, 0, 1009).iter().map(|v| v / 1009.0).collect();
        let b: Vec<f64> = sequence(60, 104_729, 0, 997).iter().map(|v| v / 997.0 * 0.8).collect();
        check(&a, &b, 524.0, 0.006433668250174249);
    }

    #[test]
    fn nothing_to_compare() {
        let none = wilcoxon(&[], &[]);
        assert!(none.p_value.is_nan() && none.pairs == 0);
        assert!(wilcoxon(&[f64::NAN], &[1.0]).p_value.is_nan());
        let equal = wilcoxon(&[1.0; 3], &[1.0; 3]);
        assert_eq!((equal.statistic, equal.p_value, equal.pairs), (0.0, 1.0, 0));
    }

    #[test]
    #[should_panic(expected = "pairs")]
    fn lengths_must_agree() {
        let _ = wilcoxon(&[1.0], &[1.0, 2.0]);
    }
}
