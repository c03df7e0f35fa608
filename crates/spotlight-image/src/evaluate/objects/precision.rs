//! Matches at a threshold of the IoU, and average precision.

use super::assignment::{Worth, best_assignment};
use super::overlap::Overlap;

/// The thresholds of the paper: 0.50, 0.55, … 0.95. Its Figure 2 averages over the first 9,
/// its Figure 3 over all.
pub const IOU_THRESHOLDS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// A true object and the predicted one that stands for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectMatch {
    /// Place of the true object in [`Overlap::true_labels`].
    pub true_object: usize,
    /// Place of the predicted object in [`Overlap::predicted_labels`].
    pub predicted_object: usize,
    /// Their IoU.
    pub iou: f64,
}

/// What was found at a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// The least IoU of a match.
    pub iou_threshold: f64,
    /// True objects that were found.
    pub true_positives: usize,
    /// Predicted objects that match none.
    pub false_positives: usize,
    /// True objects that were not found.
    pub false_negatives: usize,
    /// Matches as a part of all objects, a matched pair counting once; NaN if there is no
    /// object at all, 0 if only one image has objects.
    pub average_precision: f64,
}

/// The matches whose IoU reaches a threshold, in the order of true objects.
///
/// As in StarDist, Cellpose and cubic, the assignment first makes the number of matches and
/// then the sum of all IoU, also of pairs below the threshold, as large as possible. Above a
/// threshold of 1/2 no object can reach it with two others, so all such pairs are matches.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{match_objects, overlap};
///
/// let truth = Volume::new([1, 1, 8], vec![1, 1, 1, 1, 2, 2, 0, 0]);
/// let prediction = Volume::new([1, 1, 8], vec![0, 5, 5, 5, 5, 6, 6, 0]);
/// let found = overlap(&truth, &prediction);
/// assert_eq!(match_objects(&found, 0.6).iter().map(|m| m.iou).collect::<Vec<_>>(), [0.6]);
/// assert_eq!(match_objects(&found, 0.3).len(), 2);
/// ```
#[must_use]
pub fn match_objects(overlap: &Overlap, iou_threshold: f64) -> Vec<ObjectMatch> {
    let reaches = |iou: f64| iou >= iou_threshold;
    let all = overlap.pairs.iter().map(|pair| ObjectMatch {
        true_object: pair.true_object,
        predicted_object: pair.predicted_object,
        iou: pair.iou,
    });
    if iou_threshold > 0.5 {
        return all.filter(|pair| reaches(pair.iou)).collect();
    }
    let fewer = overlap.true_labels.len().min(overlap.predicted_labels.len());
    let worth = |pair: &ObjectMatch| Worth {
        row: pair.true_object,
        column: pair.predicted_object,
        value: f64::from(u8::from(reaches(pair.iou))) + pair.iou / (2 * fewer) as f64,
    };
    let pairs: Vec<ObjectMatch> = all.collect();
    let assigned = best_assignment(&pairs.iter().map(worth).collect::<Vec<_>>());
    let chosen = |pair: &ObjectMatch| {
        reaches(pair.iou)
            && assigned.binary_search(&(pair.true_object, pair.predicted_object)).is_ok()
    };
    pairs.into_iter().filter(chosen).collect()
}

/// Matches and average precision at every threshold.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{IOU_THRESHOLDS, average_precision, overlap};
///
/// let truth = Volume::new([1, 1, 8], vec![1, 1, 1, 1, 0, 2, 2, 0]);
/// let prediction = Volume::new([1, 1, 8], vec![4, 4, 4, 0, 0, 3, 3, 0]);
/// let found = average_precision(&overlap(&truth, &prediction), &IOU_THRESHOLDS);
/// assert_eq!(found[5].average_precision, 1.0);
/// assert_eq!((found[6].true_positives, found[6].average_precision), (1, 1.0 / 3.0));
/// ```
#[must_use]
pub fn average_precision(overlap: &Overlap, iou_thresholds: &[f64]) -> Vec<Precision> {
    let objects = [overlap.true_labels.len(), overlap.predicted_labels.len()];
    let at_threshold = |iou_threshold: &f64| {
        let true_positives = match_objects(overlap, *iou_threshold).len();
        let [false_negatives, false_positives] = objects.map(|count| count - true_positives);
        let all = true_positives + false_positives + false_negatives;
        Precision {
            iou_threshold: *iou_threshold,
            true_positives,
            false_positives,
            false_negatives,
            average_precision: true_positives as f64 / all as f64,
        }
    };
    iou_thresholds.iter().map(at_threshold).collect()
}

#[cfg(test)]
mod tests {
    use super::super::overlap::overlap;
    use super::*;
    use crate::Volume;
    use proptest::prelude::*;

    fn row(labels: &[u32]) -> Volume<u32> {
        Volume::new([1, 1, labels.len()], labels.to_vec())
    }

    fn at(truth: &[u32], prediction: &[u32], threshold: f64) -> Precision {
        average_precision(&overlap(&row(truth), &row(prediction)), &[threshold])[0]
    }

    #[test]
    fn empty_images() {
        assert!(at(&[0, 0], &[0, 0], 0.5).average_precision.is_nan());
        let only_predicted = at(&[0, 0], &[3, 0], 0.5);
        assert_eq!((only_predicted.average_precision, only_predicted.false_positives), (0.0, 1));
        let only_true = at(&[3, 0], &[0, 0], 0.5);
        assert_eq!((only_true.average_precision, only_true.false_negatives), (0.0, 1));
        assert!(match_objects(&Overlap::default(), 0.5).is_empty());
    }

    #[test]
    fn no_match_at_a_threshold() {
        let found = at(&[1, 1, 1, 1, 0], &[0, 0, 2, 2, 2], 0.5);
        assert_eq!((found.true_positives, found.average_precision), (0, 0.0));
    }

    // Both halves of an object split in the middle reach exactly 1/2; one is a match.
    #[test]
    fn a_tie_at_one_half() {
        let found = at(&[1, 1, 1, 1], &[8, 8, 9, 9], 0.5);
        assert_eq!((found.true_positives, found.false_positives), (1, 1));
    }

    #[test]
    fn labels_with_gaps_and_beyond_16_bits() {
        let found = at(&[7, 7, 0, 4_000_000_000], &[70_000, 70_000, 0, 65_536], 0.95);
        assert_eq!(found.average_precision, 1.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn above_one_half_all_pairs_match(
            truth in proptest::collection::vec(0..4_u32, 40),
            prediction in proptest::collection::vec(0..4_u32, 40),
            threshold in 0.501..1.0_f64,
        ) {
            let overlap = overlap(&row(&truth), &row(&prediction));
            let worth = |pair: &crate::evaluate::OverlapPair| Worth {
                row: pair.true_object,
                column: pair.predicted_object,
                value: f64::from(u8::from(pair.iou >= threshold)) + pair.iou / 100.0,
            };
            let worths: Vec<Worth> = overlap.pairs.iter().map(worth).collect();
            let reached = |(t, p): &(usize, usize)| {
                worths.iter().any(|w| (w.row, w.column) == (*t, *p) && w.value > 1.0)
            };
            let assigned = best_assignment(&worths).iter().filter(|pair| reached(pair)).count();
            prop_assert_eq!(match_objects(&overlap, threshold).len(), assigned);
        }
    }
}
