//! How single objects were segmented, and which kinds of errors there are.
//!
//! A predicted object lies in a true one if more than half of it does, and covers it if more
//! than half of the true one is in it. By that each object lies in one other at most and is
//! covered by one at most, without any threshold to choose.

use super::overlap::Overlap;

/// The best that was predicted for a true object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectScore {
    /// Label of the true object.
    pub label: u32,
    /// Its voxels.
    pub voxels: usize,
    /// The predicted object of the largest IoU, of equal ones that of the lowest label; none
    /// if no predicted object touches it.
    pub predicted_label: Option<u32>,
    /// IoU with that object, 0 without one.
    pub iou: f64,
    /// Dice's overlap with that object, 0 without one.
    pub dice: f64,
}

/// Numbers of objects with each kind of error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectErrors {
    /// True objects in which two or more predicted objects lie.
    pub split: usize,
    /// Predicted objects in which two or more true objects lie.
    pub merged: usize,
    /// True objects that no predicted object covers or lies in.
    pub missed: usize,
    /// Predicted objects that cover no true object and lie in none.
    pub spurious: usize,
}

/// IoU and Dice of every true object with the predicted one that fits it best.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{object_scores, overlap};
///
/// let truth = Volume::new([1, 1, 6], vec![1, 1, 1, 0, 2, 2]);
/// let prediction = Volume::new([1, 1, 6], vec![0, 5, 5, 5, 0, 0]);
/// let found = object_scores(&overlap(&truth, &prediction));
/// assert_eq!((found[0].predicted_label, found[0].iou, found[0].dice), (Some(5), 0.5, 2.0 / 3.0));
/// assert_eq!((found[1].predicted_label, found[1].iou), (None, 0.0));
/// ```
#[must_use]
pub fn object_scores(overlap: &Overlap) -> Vec<ObjectScore> {
    let objects = overlap.true_labels.iter().zip(&overlap.true_voxels);
    let mut scores: Vec<ObjectScore> = objects
        .map(|(label, voxels)| ObjectScore {
            label: *label,
            voxels: *voxels,
            predicted_label: None,
            iou: 0.0,
            dice: 0.0,
        })
        .collect();
    for pair in &overlap.pairs {
        let score = &mut scores[pair.true_object];
        if pair.iou > score.iou {
            let sizes = score.voxels + overlap.predicted_voxels[pair.predicted_object];
            score.predicted_label = Some(overlap.predicted_labels[pair.predicted_object]);
            score.iou = pair.iou;
            score.dice = 2.0 * pair.voxels as f64 / sizes as f64;
        }
    }
    scores
}

/// Counts split, merged, missed and spurious objects.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::evaluate::{object_errors, overlap};
///
/// // The first object is split, the next two are merged, the last is missed.
/// let truth = Volume::new([1, 1, 12], vec![1, 1, 1, 1, 2, 2, 3, 3, 0, 0, 4, 4]);
/// let prediction = Volume::new([1, 1, 12], vec![1, 1, 2, 2, 3, 3, 3, 3, 0, 9, 0, 0]);
/// let found = object_errors(&overlap(&truth, &prediction));
/// assert_eq!((found.split, found.merged, found.missed, found.spurious), (1, 1, 1, 1));
/// ```
#[must_use]
pub fn object_errors(overlap: &Overlap) -> ObjectErrors {
    let mut lying_in_true = vec![0_usize; overlap.true_labels.len()];
    let mut lying_in_predicted = vec![0_usize; overlap.predicted_labels.len()];
    let mut true_found = vec![false; overlap.true_labels.len()];
    let mut predicted_found = vec![false; overlap.predicted_labels.len()];
    for pair in &overlap.pairs {
        let (t, p) = (pair.true_object, pair.predicted_object);
        let lies_in = 2 * pair.voxels > overlap.predicted_voxels[p];
        let covers = 2 * pair.voxels > overlap.true_voxels[t];
        lying_in_true[t] += usize::from(lies_in);
        lying_in_predicted[p] += usize::from(covers);
        true_found[t] |= lies_in || covers;
        predicted_found[p] |= lies_in || covers;
    }
    let several = |counts: &[usize]| counts.iter().filter(|count| **count > 1).count();
    let without = |found: &[bool]| found.iter().filter(|found| !**found).count();
    ObjectErrors {
        split: several(&lying_in_true),
        merged: several(&lying_in_predicted),
        missed: without(&true_found),
        spurious: without(&predicted_found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::overlap::overlap;
    use super::*;
    use crate::Volume;

    fn check(truth: &[u32], prediction: &[u32], expected: [usize; 4]) {
        let row = |labels: &[u32]| Volume::new([1, 1, labels.len()], labels.to_vec());
        let found = object_errors(&overlap(&row(truth), &row(prediction)));
        assert_eq!([found.split, found.merged, found.missed, found.spurious], expected);
    }

    #[test]
    fn kinds_of_errors() {
        check(&[1, 1, 2, 2], &[1, 1, 2, 2], [0, 0, 0, 0]);
        check(&[0, 0, 0, 0], &[1, 0, 2, 2], [0, 0, 0, 2]);
        check(&[1, 0, 2, 2], &[0, 0, 0, 0], [0, 0, 2, 0]);
        check(&[0, 0], &[0, 0], [0, 0, 0, 0]);
        // One half is not more than half: neither lies in the other.
        check(&[1, 1, 0], &[0, 4, 4], [0, 0, 1, 1]);
        // A small object inside a large one was found, though badly.
        check(&[1, 1, 1, 1, 1], &[0, 0, 3, 0, 0], [0, 0, 0, 0]);
    }
}
