//! Scores of objects and of their features: were the true objects found, and do they look alike?
//!
//! The truth is brought to the grid of the labels it is compared with by taking the nearest
//! voxel. Features are those of shape, in voxels of that grid.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Result;
use spotlight_image::evaluate::{
    IOU_THRESHOLDS, Overlap, average_precision, feature_distance, feature_ranges, match_objects,
    mean_of_defined, object_errors, overlap,
};
use spotlight_image::measure::{FeatureTable, MeasureOptions, measure};
use spotlight_image::{Shape, Volume};

use super::label_stacks::{LabelStack, overlap_of_parts};
use crate::cli::failure;
use crate::cli::labels::{Labels, on_grid};
use crate::cli::stacks::with_size;

/// Features are compared up to an IoU of 0.80, as in Figure 2 of the paper.
pub(super) const FEATURE_THRESHOLDS: usize = 7;

/// Percentiles of the features of all true objects that are the ends of their ranges.
const RANGE_PERCENTILES: [f64; 2] = [1.0, 99.0];

/// The features of objects, a row each, in the order of their labels.
pub(super) type Features = Vec<Vec<f64>>;

/// What is kept of one image of one contender until all images are read.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) image: usize,
    pub(super) contender: usize,
    overlap: Overlap,
    truth: Rc<Features>,
    predicted: Features,
}

/// The scores of one image of one contender at one threshold of the IoU.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectScores {
    pub(super) image: usize,
    pub(super) contender: usize,
    pub(super) iou: f64,
    pub(super) true_positives: usize,
    pub(super) false_positives: usize,
    pub(super) false_negatives: usize,
    pub(super) average_precision: f64,
    /// Means over the matched objects.
    pub(super) matched_iou: f64,
    pub(super) matched_dice: f64,
    /// Distance of the profiles of matched objects; NaN above an IoU of 0.80.
    pub(super) feature_distance: f64,
}

/// The scores of one image of one contender over all thresholds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segmentation {
    pub(super) image: usize,
    pub(super) contender: usize,
    pub(super) true_objects: usize,
    pub(super) predicted_objects: usize,
    /// Over 0.50 to 0.90, as in Figure 2 of the paper, and over 0.50 to 0.95, as in Figure 3.
    pub(super) mean_precision: [f64; 2],
    /// Over the objects matched at 0.50.
    pub(super) matched_iou: f64,
    pub(super) matched_dice: f64,
    /// Split, merged, missed, spurious.
    pub(super) errors: [usize; 4],
    /// Over the thresholds at which objects matched.
    pub(super) feature_distance: f64,
}

/// The true labels of all images on the grids they are needed on, with their features.
#[derive(Debug, Default)]
pub(super) struct Truths {
    features: HashMap<(usize, Shape), Rc<Features>>,
}

impl Truths {
    /// Compares the labels of an image with the truth.
    pub(super) fn compare(
        &mut self,
        image: usize,
        contender: usize,
        truth: &Labels,
        labels: &Labels,
    ) -> Result<Found> {
        let on_grid = on_grid_of(truth, labels)?;
        let features = self.features.entry((image, on_grid.shape));
        let truth = Rc::clone(features.or_insert_with(|| Rc::new(shape_features(&on_grid))));
        let overlap = overlap(&on_grid, &labels.volume);
        drop(on_grid);
        let predicted = shape_features(&labels.volume);
        Ok(Found { image, contender, overlap, truth, predicted })
    }

    /// As [`Truths::compare`], with no more of both in memory than so many bytes.
    pub(super) fn compare_parts(
        &mut self,
        image: usize,
        contender: usize,
        [truth, labels]: [LabelStack; 2],
        memory_bytes: u64,
    ) -> Result<Found> {
        check_field(&Field::of(&truth), &Field::of(&labels))?;
        truth.check_numbered(memory_bytes)?;
        let truth = truth.onto(labels.shape());
        let features = match self.features.entry((image, labels.shape())) {
            Entry::Occupied(known) => Rc::clone(known.get()),
            Entry::Vacant(place) => Rc::clone(place.insert(Rc::new(truth.features(memory_bytes)?))),
        };
        let overlap = overlap_of_parts(&truth, &labels, memory_bytes)?;
        let predicted = labels.features(memory_bytes)?;
        Ok(Found { image, contender, overlap, truth: features, predicted })
    }
}

/// The truth on the grid of labels of the same field.
pub(super) fn on_grid_of(truth: &Labels, labels: &Labels) -> Result<Volume<u32>> {
    let field = |labels: &Labels| Field {
        path: labels.path.clone(),
        shape: labels.volume.shape,
        spacing_um: labels.spacing_um,
    };
    check_field(&field(truth), &field(labels))?;
    Ok(on_grid(&truth.volume, labels.volume.shape))
}

/// What a label image is of.
struct Field {
    path: PathBuf,
    shape: Shape,
    spacing_um: Option<[f64; 3]>,
}

impl Field {
    fn of(stack: &LabelStack) -> Self {
        let path = stack.path().to_owned();
        Self { path, shape: stack.shape(), spacing_um: stack.spacing_um() }
    }
}

fn check_field(truth: &Field, labels: &Field) -> Result<()> {
    if is_half(truth.shape, labels.shape) || is_same_field(truth, labels) {
        return Ok(());
    }
    let told = |field: &Field| with_size(&field.path, field.shape);
    Err(failure(
        format!("{} and {}: not one field", told(truth), told(labels)),
        "give labels on the grid of the truth, on half of it, or with their voxel size",
    ))
}

/// Whether each axis is as long or half as long, halves rounded to even.
fn is_half(from: Shape, to: Shape) -> bool {
    (0..3).all(|axis| {
        let half = (from[axis] as f64 / 2.0).round_ties_even().max(1.0) as usize;
        to[axis] == from[axis] || to[axis] == half
    })
}

/// Whether both are equally large, to half a voxel of the coarser grid.
fn is_same_field(truth: &Field, labels: &Field) -> bool {
    let (Some(a), Some(b)) = (truth.spacing_um, labels.spacing_um) else { return false };
    (0..3).all(|axis| {
        let lengths = [truth.shape[axis] as f64 * a[axis], labels.shape[axis] as f64 * b[axis]];
        (lengths[0] - lengths[1]).abs() <= 0.501 * a[axis].max(b[axis])
    })
}

fn shape_features(labels: &Volume<u32>) -> Features {
    rows(&measure(labels, &[], &MeasureOptions::default()))
}

/// The rows of a table.
pub(super) fn rows(table: &FeatureTable) -> Features {
    let row = |object: usize| table.columns.iter().map(|column| column.values[object]).collect();
    (0..table.objects.len()).map(row).collect()
}

/// The scores of all images of one contender; the ranges of features are those of its truths.
pub(super) fn object_scores(found: &[Found]) -> (Vec<ObjectScores>, Vec<Segmentation>) {
    let truths: Vec<&[Vec<f64>]> = found.iter().map(|found| found.truth.as_slice()).collect();
    let ranges = feature_ranges(&truths, RANGE_PERCENTILES);
    let mut objects = Vec::new();
    let mut segmentations = Vec::new();
    for found in found {
        let of_image = scores_at_thresholds(found, &ranges);
        segmentations.push(segmentation(found, &of_image));
        objects.extend(of_image);
    }
    (objects, segmentations)
}

fn scores_at_thresholds(found: &Found, ranges: &[[f64; 2]]) -> Vec<ObjectScores> {
    let precisions = average_precision(&found.overlap, &IOU_THRESHOLDS);
    let score = |(place, precision): (usize, &spotlight_image::evaluate::Precision)| {
        let matches = match_objects(&found.overlap, precision.iou_threshold);
        let ious: Vec<f64> = matches.iter().map(|pair| pair.iou).collect();
        let dices: Vec<f64> = ious.iter().map(|iou| 2.0 * iou / (1.0 + iou)).collect();
        let distance = if place < FEATURE_THRESHOLDS {
            feature_distance(&found.truth, &found.predicted, &matches, Some(ranges))
        } else {
            f64::NAN
        };
        ObjectScores {
            image: found.image,
            contender: found.contender,
            iou: precision.iou_threshold,
            true_positives: precision.true_positives,
            false_positives: precision.false_positives,
            false_negatives: precision.false_negatives,
            average_precision: precision.average_precision,
            matched_iou: mean(&ious),
            matched_dice: mean(&dices),
            feature_distance: distance,
        }
    };
    precisions.iter().enumerate().map(score).collect()
}

fn segmentation(found: &Found, scores: &[ObjectScores]) -> Segmentation {
    let errors = object_errors(&found.overlap);
    let precisions: Vec<f64> = scores.iter().map(|s| s.average_precision).collect();
    let distances: Vec<f64> = scores.iter().map(|s| s.feature_distance).collect();
    Segmentation {
        image: found.image,
        contender: found.contender,
        true_objects: found.overlap.true_labels.len(),
        predicted_objects: found.overlap.predicted_labels.len(),
        mean_precision: [mean(&precisions[..IOU_THRESHOLDS.len() - 1]), mean(&precisions)],
        matched_iou: scores[0].matched_iou,
        matched_dice: scores[0].matched_dice,
        errors: [errors.split, errors.merged, errors.missed, errors.spurious],
        feature_distance: mean(&distances),
    }
}

/// The average precision, its mean over [`IOU_THRESHOLDS`]; NaN if there is no object at all.
pub(in crate::cli) fn mean_average_precision(overlap: &Overlap) -> f64 {
    let precisions = average_precision(overlap, &IOU_THRESHOLDS);
    let values: Vec<f64> = precisions.iter().map(|found| found.average_precision).collect();
    mean(&values)
}

/// Mean of what is defined; NaN of none.
pub(super) fn mean(values: &[f64]) -> f64 {
    mean_of_defined(values).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(shape: Shape, spacing_um: Option<[f64; 3]>) -> Labels {
        let volume = Volume::from_fn(shape, |[z, y, x]| (z + y + x) as u32);
        Labels { volume, spacing_um, path: "a.tif".into() }
    }

    #[test]
    fn the_truth_goes_to_half_the_grid_or_to_that_of_the_same_field() {
        let truth = labels([5, 8, 10], Some([1.0, 0.5, 0.5]));
        let fits = |shape, spacing_um| on_grid_of(&truth, &labels(shape, spacing_um)).is_ok();
        assert!(fits([5, 8, 10], None) && fits([2, 4, 5], None) && fits([5, 4, 5], None));
        assert!(!fits([3, 4, 5], None) && !fits([2, 4, 6], None));
        // 8 pixels of 0.5 µm are 3 of 1.25, within half of one.
        assert!(fits([5, 3, 4], Some([1.0, 1.25, 1.25])));
        assert!(!fits([5, 3, 4], Some([1.0, 1.0, 1.25])));
        // Nearest of the faces' grid: the second of two, since its centre is at half past.
        let half = on_grid_of(&labels([1, 1, 4], None), &labels([1, 1, 2], None)).unwrap();
        assert!(half.voxels.iter().zip([0, 2]).all(|(found, low)| [low, low + 1].contains(found)));
    }

    #[test]
    fn empty_label_images() {
        let none = Labels { volume: Volume::filled([2, 4, 4], 0), ..labels([1, 1, 1], None) };
        let mut one = none.clone();
        one.volume.voxels[5] = 7;
        let mut truths = Truths::default();
        let found = [
            truths.compare(0, 0, &one, &none).unwrap(),
            truths.compare(1, 0, &none, &none).unwrap(),
            truths.compare(2, 0, &none, &one).unwrap(),
        ];
        let (objects, segmentations) = object_scores(&found);
        let precision = |image: usize| segmentations[image].mean_precision;
        assert_eq!(precision(0), [0.0; 2]);
        assert!(precision(1)[0].is_nan());
        assert_eq!(precision(2), [0.0; 2]);
        assert!(objects.iter().all(|scores| scores.feature_distance.is_nan()));
        assert!(segmentations.iter().all(|scores| scores.matched_dice.is_nan()));
    }
}
