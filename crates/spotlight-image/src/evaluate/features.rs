//! Distance between the feature profiles of true and predicted objects.
//!
//! ```text
//! scale every feature by its range:   v → (v − low) / (high − low)
//! profile = median of each feature over the matched objects, of either side
//! distance = 1 − cos(true profile, predicted profile)
//! ```
//!
//! A feature table holds one row for each object, in the order of the labels in
//! [`Overlap`](super::Overlap), and one column for each feature.
//!
//! Reference: cubic 0.8, `cosine_median` and `norm_features_by_range`.

use super::objects::ObjectMatch;
use super::percentile::percentile_of_numbers;

/// Stands for the width of a range that has none, as in the reference.
const NO_WIDTH: f64 = f32::EPSILON as f64;

/// Ends of the range of every feature: two percentiles of all objects of all tables.
///
/// The 1st and the 99th of the true objects of the evaluated images are the choice for the
/// paper. Values that are not numbers are left out; without any the ends are NaN.
///
/// # Panics
///
/// If rows differ in length.
///
/// # Examples
///
/// ```
/// use spotlight_image::evaluate::feature_ranges;
///
/// let areas = vec![vec![529.0], vec![640.0], vec![416.0], vec![486.0]];
/// let found = feature_ranges(&[&areas], [1.0, 99.0]);
/// assert!((found[0][0] - 418.1).abs() < 1e-9 && (found[0][1] - 636.67).abs() < 1e-9);
/// ```
#[must_use]
pub fn feature_ranges(tables: &[&[Vec<f64>]], percentiles: [f64; 2]) -> Vec<[f64; 2]> {
    let rows: Vec<&Vec<f64>> = tables.iter().flat_map(|table| table.iter()).collect();
    let columns = columns(rows.iter().copied());
    let column = |column: usize| {
        let values = rows.iter().map(|row| row[column]);
        let values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
        percentiles.map(|percent| percentile_of_numbers(&values, percent))
    };
    (0..columns).map(column).collect()
}

/// Cosine distance between the median profiles of matched objects, from 0 for profiles of one
/// direction to 2; NaN without a match.
///
/// Features with a value that is not a number, in any object of either table, are left out.
/// A profile of zeros, or of no features, is at distance 1 to all. A range without width
/// counts as one of 1.2e-7. Without `ranges` features are compared in their own units, where
/// the largest, volumes, are all that counts.
///
/// # Panics
///
/// If rows differ in length, if there is not one range for each feature, or if a match names
/// an object that has no row.
///
/// # Examples
///
/// ```
/// use spotlight_image::evaluate::{ObjectMatch, feature_distance};
///
/// let truth = [vec![500.0, 0.5], vec![600.0, 0.6], vec![100.0, 0.1]];
/// let prediction = [vec![520.0, 0.5]];
/// let matches = [ObjectMatch { true_object: 0, predicted_object: 0, iou: 0.9 }];
/// let ranges = [[0.0, 1000.0], [0.0, 1.0]];
/// let found = feature_distance(&truth, &prediction, &matches, Some(&ranges));
/// assert!((found - 0.000192).abs() < 1e-6);
/// assert!(feature_distance(&truth, &prediction, &[], Some(&ranges)).is_nan());
/// ```
#[must_use]
pub fn feature_distance(
    truth: &[Vec<f64>],
    prediction: &[Vec<f64>],
    matches: &[ObjectMatch],
    ranges: Option<&[[f64; 2]]>,
) -> f64 {
    let count = columns(truth.iter().chain(prediction));
    if matches.is_empty() {
        return f64::NAN;
    }
    assert!(ranges.is_none_or(|r| r.len() == count), "each feature must have a range");
    let scaled = |row: &[f64], column: usize| {
        let Some(ranges) = ranges else { return row[column] };
        let [low, high] = ranges[column];
        (row[column] - low) / if high == low { NO_WIDTH } else { high - low }
    };
    let defined =
        |column: &usize| truth.iter().chain(prediction).all(|row| !scaled(row, *column).is_nan());
    let columns: Vec<usize> = (0..count).filter(defined).collect();
    let profile = |table: &[Vec<f64>], object: &dyn Fn(&ObjectMatch) -> usize| -> Vec<f64> {
        let median = |column: &usize| {
            let values = matches.iter().map(|m| scaled(&table[object(m)], *column));
            percentile_of_numbers(&values.collect::<Vec<f64>>(), 50.0)
        };
        columns.iter().map(median).collect()
    };
    cosine_distance(
        &profile(truth, &|m| m.true_object),
        &profile(prediction, &|m| m.predicted_object),
    )
}

/// `1 − cos` of the angle between two vectors; 1 if one is zero.
///
/// # Panics
///
/// If the lengths differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::evaluate::cosine_distance;
///
/// assert_eq!(cosine_distance(&[3.0, 4.0], &[-3.0, -4.0]), 2.0);
/// assert_eq!(cosine_distance(&[1.0, 0.0], &[0.0, 3.0]), 1.0);
/// assert_eq!(cosine_distance(&[0.0, 0.0], &[0.0, 3.0]), 1.0);
/// ```
#[must_use]
pub fn cosine_distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors to compare must have one length");
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norms = product(a, a).sqrt() * product(b, b).sqrt();
    if norms == 0.0 { 1.0 } else { 1.0 - product(a, b) / norms }
}

/// The number of features.
fn columns<'a>(mut rows: impl Iterator<Item = &'a Vec<f64>>) -> usize {
    let Some(first) = rows.next() else { return 0 };
    assert!(rows.all(|row| row.len() == first.len()), "objects must have the same features");
    first.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: [[f64; 2]; 9] = [
        [0.0, 704.001],
        [0.0, 14.298_471_188_823_934],
        [0.0, 11.762_240_634_633_386],
        [0.0, 1.101],
        [0.0, 0.573_000_000_000_000_1],
        [0.0, 16.491_765_460_589_11],
        [0.0, 13.007_048_693_918_014],
        [0.0, 10.914_388_482_211_626],
        [0.0, 0.995_782_608_695_652_3],
    ];

    fn all_with_all(count: usize) -> Vec<ObjectMatch> {
        let pair = |i| ObjectMatch { true_object: i, predicted_object: i, iou: 0.5 };
        (0..count).map(pair).collect()
    }

    // cubic 0.8.0a2, `cosine_median`, from its median profiles: area, lengths, diameter, Euler
    // number, extent, three eigenvalues, solidity.
    #[test]
    fn as_cubic() {
        let truth = vec![vec![
            507.5,
            11.735_981_314_5,
            9.894_468_481_666_996,
            1.0,
            0.501_864_801_864_801_9,
            12.276_626_817_400_334,
            10.194_383_928_127_635,
            8.675_172_642_937_053,
            0.898_600_236_755_207_5,
        ]];
        let prediction = vec![vec![
            278.0,
            10.135_828_618_136_94,
            8.096_887_803_739_252,
            1.0,
            0.546_879_509_379_509_4,
            8.892_769_978_298_167,
            7.114_307_818_976_954,
            5.711_371_778_450_41,
            0.901_809_317_928_550_5,
        ]];
        let matches = all_with_all(1);
        let found = feature_distance(&truth, &prediction, &matches, None);
        assert!((found - 0.000_188_491_853_099_437_28).abs() < 1e-9, "{found}");
        let found = feature_distance(&truth, &prediction, &matches, Some(&RANGES));
        assert!((found - 0.019_548_077_520_042_062).abs() < 1e-9, "{found}");
    }

    #[test]
    fn medians_of_matched_objects_only() {
        let truth = [vec![1.0, 2.0], vec![9.0, 9.0], vec![3.0, 4.0]];
        let prediction = [vec![4.0, 1.0], vec![2.0, 3.0]];
        let matches = [(0, 1), (2, 0)].map(|(true_object, predicted_object)| ObjectMatch {
            true_object,
            predicted_object,
            iou: 0.5,
        });
        // Medians (2, 3) and (3, 2).
        let found = feature_distance(&truth, &prediction, &matches, None);
        assert!((found - (1.0 - 12.0 / 13.0)).abs() < 1e-15);
    }

    #[test]
    fn degenerate_features() {
        let truth = [vec![f64::NAN, 1.0, 5.0], vec![1.0, 1.0, 5.0]];
        let prediction = [vec![7.0, 1.0, 5.0], vec![7.0, 2.0, f64::NAN]];
        // Only the second feature is a number everywhere.
        assert_eq!(feature_distance(&truth, &prediction, &all_with_all(2), None), 0.0);
        // Without a width the distance from the end decides.
        let ranges = [[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]];
        let found = feature_distance(&truth, &prediction, &all_with_all(2), Some(&ranges));
        assert_eq!(found, 1.0);
        let unknown = [[0.0, 1.0], [f64::NAN, f64::NAN], [0.0, 1.0]];
        let found = feature_distance(&truth, &prediction, &all_with_all(2), Some(&unknown));
        assert_eq!(found, 1.0);
        assert!(feature_ranges(&[], [1.0, 99.0]).is_empty());
        let ranges = feature_ranges(&[&truth, &prediction], [0.0, 100.0]);
        assert_eq!(ranges, [[1.0, 7.0], [1.0, 2.0], [5.0, 5.0]]);
        assert!(feature_ranges(&[&[vec![f64::NAN]]], [1.0, 99.0])[0][0].is_nan());
    }

    #[test]
    #[should_panic(expected = "same features")]
    fn rows_must_agree() {
        let _ = feature_ranges(&[&[vec![1.0], vec![1.0, 2.0]]], [1.0, 99.0]);
    }
}
