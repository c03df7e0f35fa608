//! Profiles: what a population of objects looks like, and how far two populations are apart.
//!
//! ```text
//! range(feature)   = percentiles of the feature over the true objects of all images
//! scaled           = (value − low) / (high − low)
//! profile(feature) = median over the matched objects, on each side
//! distance         = 1 − cos(true profile, predicted profile)
//! ```
//!
//! References: A. A. Kalinin et al. (2025), Figure 2, "Distance"; `cubic.metrics.feature` and
//! `cubic.feature.voxel` of cubic 0.8.

use super::table::FeatureTable;

/// Ranges of no width are taken to be this wide: the resolution of f32, as in cubic.
const LEAST_WIDTH: f64 = f32::EPSILON as f64;

/// Percentile of values (`percent` of 0 to 100), linear between neighbours; NaN of none or
/// where a value is NaN.
///
/// # Examples
///
/// ```
/// use spotlight_image::measure::percentile;
///
/// assert_eq!(percentile(&[4.0, 1.0, 2.0], 25.0), 1.5);
/// ```
#[must_use]
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    if values.is_empty() || values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (percent / 100.0 * (sorted.len() - 1) as f64).clamp(0.0, (sorted.len() - 1) as f64);
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    if low == high { low } else { low + (high - low) * rank.fract() }
}

/// Values of a feature scaled so that a range (low, high) becomes 0 to 1; nothing is clipped.
#[must_use]
pub fn scale_by_range(values: &[f64], (low, high): (f64, f64)) -> Vec<f64> {
    let width = if high == low { LEAST_WIDTH } else { high - low };
    values.iter().map(|value| (value - low) / width).collect()
}

/// Cosine distance of two profiles, `1 − a · b / (|a| |b|)`; 1 if one of them is all 0.
///
/// # Panics
///
/// If they have different lengths.
///
/// # Examples
///
/// ```
/// use spotlight_image::measure::cosine_distance;
///
/// assert_eq!(cosine_distance(&[1.0, 0.0], &[0.0, 3.0]), 1.0);
/// assert_eq!(cosine_distance(&[1.0, 0.0], &[0.0, 0.0]), 1.0);
/// ```
#[must_use]
pub fn cosine_distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "profiles to compare must have one length");
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
    if norms == 0.0 { 1.0 } else { 1.0 - dot(a, b) / norms }
}

/// Distance between the median profiles of objects that are pairs (true row, predicted row).
///
/// `ranges` gives the range of each feature by name; the features are those that have one.
/// Features with a NaN in either table are left out, matched or not. NaN without a pair.
///
/// # Panics
///
/// If a range names a feature that one of the tables lacks, or a pair a row.
#[must_use]
pub fn profile_distance(
    truth: &FeatureTable,
    prediction: &FeatureTable,
    pairs: &[(usize, usize)],
    ranges: &[(String, (f64, f64))],
) -> f64 {
    if pairs.is_empty() {
        return f64::NAN;
    }
    let mut profiles = [Vec::new(), Vec::new()];
    for (name, range) in ranges {
        let values = [truth, prediction].map(|table| {
            let column = table.column(name);
            &column.unwrap_or_else(|| panic!("no feature {name} in the table")).values
        });
        if values.iter().any(|values| values.iter().any(|value| value.is_nan())) {
            continue;
        }
        let of_true: Vec<f64> = pairs.iter().map(|pair| values[0][pair.0]).collect();
        let of_predicted: Vec<f64> = pairs.iter().map(|pair| values[1][pair.1]).collect();
        for (profile, values) in profiles.iter_mut().zip([of_true, of_predicted]) {
            profile.push(percentile(&scale_by_range(&values, *range), 50.0));
        }
    }
    let [truth, prediction] = profiles;
    cosine_distance(&truth, &prediction)
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Object, Unit};
    use super::*;
    use crate::Region;

    fn table(columns: &[(&str, &[f64])]) -> FeatureTable {
        let object = |label| Object {
            label,
            region: Region::whole([1, 1, 1]),
            voxels: 1,
            centroid: [0.0; 3],
            touches_border: false,
        };
        let column = |(name, values): &(&str, &[f64])| Column {
            name: (*name).to_owned(),
            unit: Unit::One,
            values: values.to_vec(),
        };
        FeatureTable {
            objects: (0..columns[0].1.len() as u32).map(object).collect(),
            columns: columns.iter().map(column).collect(),
            spacing_um: None,
        }
    }

    #[test]
    fn percentiles_of_few_values() {
        assert!(percentile(&[], 50.0).is_nan());
        assert!(percentile(&[1.0, f64::NAN], 50.0).is_nan());
        assert_eq!(percentile(&[3.0], 99.0), 3.0);
        assert_eq!(percentile(&[1.0, 2.0, 4.0, 8.0], 50.0), 3.0);
        assert_eq!(percentile(&[1.0, f64::INFINITY], 0.0), 1.0);
    }

    #[test]
    fn distances_of_matched_objects() {
        let truth = table(&[("a", &[0.0, 2.0, 9.0]), ("b", &[1.0, 1.0, 1.0])]);
        let other = table(&[("a", &[4.0, 2.0]), ("b", &[1.0, 3.0])]);
        let ranges = [(String::from("a"), (0.0, 2.0)), (String::from("b"), (1.0, 2.0))];
        // Profiles (½, 0) and (1½, 1).
        let found = profile_distance(&truth, &other, &[(0, 0), (1, 1)], &ranges);
        assert!((found - (1.0 - 1.5 / 3.25_f64.sqrt())).abs() < 1e-15);
        assert!(profile_distance(&truth, &other, &[], &ranges).is_nan());
        assert!(profile_distance(&truth, &truth, &[(0, 0), (1, 1)], &ranges).abs() < 1e-15);
    }

    #[test]
    fn features_with_a_gap_are_left_out() {
        let truth = table(&[("a", &[1.0, f64::NAN]), ("b", &[1.0, 3.0])]);
        let ranges = [(String::from("a"), (0.0, 1.0)), (String::from("b"), (0.0, 1.0))];
        assert_eq!(profile_distance(&truth, &truth, &[(0, 0)], &ranges), 0.0);
    }

    #[test]
    fn a_range_without_width_does_not_divide_by_zero() {
        let scaled = scale_by_range(&[2.0, 2.0 + LEAST_WIDTH], (2.0, 2.0));
        assert_eq!(scaled, [0.0, 1.0]);
    }
}
