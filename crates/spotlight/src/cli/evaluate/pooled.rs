//! What all images say together: means with intervals, and paired tests between contenders.
//!
//! ```text
//! mean over the images where a score is defined, with the 95 % interval of the bootstrap
//! paired differences between two contenders: Wilcoxon's signed-rank test, median difference
//! ```
//!
//! n pairs can give no p below 2 / 2ⁿ, so that fewer than six never reach 0.05.

use spotlight_image::evaluate::{
    Bootstrap, IOU_THRESHOLDS, Interval, SignedRank, bootstrap_mean, wilcoxon,
};

use super::images::Region;
use super::objects::{FEATURE_THRESHOLDS, ObjectScores, Segmentation};
use super::pixels::{Metric, PIXEL_METRICS, metric};
use super::set::Findings;

/// At which level of the paper a score is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Pixels,
    Objects,
    Features,
}

impl Level {
    pub(super) const ALL: [Self; 3] = [Self::Pixels, Self::Objects, Self::Features];

    /// Its word in the tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pixels => "pixels",
            Self::Objects => "objects",
            Self::Features => "features",
        }
    }
}

/// One score of all images, of all contenders that have it.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) level: Level,
    /// Empty at the levels that have none.
    pub(super) region: &'static str,
    /// NaN where the score is of no one threshold.
    pub(super) iou: f64,
    pub(super) metric: Metric,
    /// By contender: a value for each image, NaN where it is not defined; empty if the
    /// contender has no such score at all.
    pub(super) values: Vec<Vec<f64>>,
}

/// A test of one score between two contenders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    pub(super) contenders: [usize; 2],
    /// Images where both are defined.
    pub(super) images: usize,
    /// Of first less second.
    pub(super) median_difference: f64,
    pub(super) test: SignedRank,
    /// The least p that so many pairs can give.
    pub(super) least_p: f64,
}

/// Says nothing about a contender, so that it is not tested.
const TRUE_OBJECTS: &str = "true_objects";

type OfSegmentation = fn(&Segmentation) -> f64;

/// The scores of whole segmentations.
const SEGMENTATION_METRICS: [(Metric, OfSegmentation); 10] = [
    (metric("mean_ap_50_90", "AP 0.50–0.90", 3), |s| s.mean_precision[0]),
    (metric("mean_ap_50_95", "AP 0.50–0.95", 3), |s| s.mean_precision[1]),
    (metric("matched_iou", "IoU of matched", 3), |s| s.matched_iou),
    (metric("matched_dice", "Dice of matched", 3), |s| s.matched_dice),
    (metric(TRUE_OBJECTS, "true objects", 1), |s| s.true_objects as f64),
    (metric("predicted_objects", "predicted objects", 1), |s| s.predicted_objects as f64),
    (metric("split", "split", 1), |s| s.errors[0] as f64),
    (metric("merged", "merged", 1), |s| s.errors[1] as f64),
    (metric("missed", "missed", 1), |s| s.errors[2] as f64),
    (metric("spurious", "spurious", 1), |s| s.errors[3] as f64),
];

const DISTANCE: Metric = metric("mean_feature_distance", "distance 0.50–0.80", 4);
const DISTANCE_AT_IOU: Metric = metric("feature_distance", "distance", 4);
const PRECISION_AT_IOU: Metric = metric("average_precision", "AP", 3);

/// All scores, in the order of the tables.
pub(super) fn all_series(findings: &Findings) -> Vec<Series> {
    let mut all = pixel_series(findings);
    if findings.segmentations.is_empty() {
        return all;
    }
    let whole = |level, metric, value: OfSegmentation| {
        let scores = findings.segmentations.iter().map(|s| (s.contender, s.image, value(s)));
        series(findings, (level, "", f64::NAN, metric), scores)
    };
    let at_iou = |level, iou: f64, metric, value: fn(&ObjectScores) -> f64| {
        let scores = findings.objects.iter().filter(move |s| s.iou == iou);
        let scores = scores.map(|s| (s.contender, s.image, value(s)));
        series(findings, (level, "", iou, metric), scores)
    };
    let metrics = SEGMENTATION_METRICS;
    all.extend(metrics.map(|(metric, value)| whole(Level::Objects, metric, value)));
    all.extend(
        IOU_THRESHOLDS
            .map(|iou| at_iou(Level::Objects, iou, PRECISION_AT_IOU, |s| s.average_precision)),
    );
    all.push(whole(Level::Features, DISTANCE, |s| s.feature_distance));
    let of_features = IOU_THRESHOLDS[..FEATURE_THRESHOLDS].iter();
    all.extend(
        of_features
            .map(|iou| at_iou(Level::Features, *iou, DISTANCE_AT_IOU, |s| s.feature_distance)),
    );
    all
}

/// The scores of voxels that are defined in a region at all.
fn pixel_series(findings: &Findings) -> Vec<Series> {
    if findings.pixels.is_empty() {
        return Vec::new();
    }
    let has = |region: Region, name: &str| match region {
        Region::Whole => name != "dice",
        Region::Foreground => true,
        Region::ForegroundVoxels => ["psnr", "nrmse", "ssim", "pearson"].contains(&name),
    };
    let mut all = Vec::new();
    for region in Region::ALL {
        for (place, metric) in PIXEL_METRICS.into_iter().enumerate() {
            let scores = findings.pixels.iter().filter(|s| s.region == region);
            let scores = scores.map(|s| (s.contender, s.image, s.values[place]));
            if has(region, metric.name) && (findings.shells || !metric.name.starts_with("fsc")) {
                let key = (Level::Pixels, region.name(), f64::NAN, metric);
                all.push(series(findings, key, scores));
            }
        }
    }
    all
}

/// Sorts (contender, image, value) into a series.
fn series(
    findings: &Findings,
    (level, region, iou, metric): (Level, &'static str, f64, Metric),
    scores: impl Iterator<Item = (usize, usize, f64)>,
) -> Series {
    let mut values = vec![Vec::new(); findings.contenders.len()];
    for (contender, image, value) in scores {
        let of_contender: &mut Vec<f64> = &mut values[contender];
        of_contender.resize(findings.images.len(), f64::NAN);
        of_contender[image] = value;
    }
    Series { level, region, iou, metric, values }
}

/// Mean over the images with its interval.
pub(super) fn mean_of(values: &[f64]) -> Interval {
    bootstrap_mean(values, &Bootstrap::default())
}

/// Median over the images where a score is defined.
pub(super) fn median_of(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => f64::NAN,
        (middle, 1) => sorted[middle],
        (middle, _) => 0.5 * (sorted[middle - 1] + sorted[middle]),
    }
}

/// Tests every score that is of no one threshold between each two contenders that have it.
pub(super) fn comparisons(series: &[Series]) -> Vec<(&Series, Comparison)> {
    let tested = |series: &&Series| series.iou.is_nan() && series.metric.name != TRUE_OBJECTS;
    let mut all = Vec::new();
    for series in series.iter().filter(tested) {
        for first in 0..series.values.len() {
            for second in first + 1..series.values.len() {
                let (a, b) = (&series.values[first], &series.values[second]);
                if !a.is_empty() && !b.is_empty() {
                    all.push((series, compare([first, second], a, b)));
                }
            }
        }
    }
    all
}

fn compare(contenders: [usize; 2], a: &[f64], b: &[f64]) -> Comparison {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let images = differences.iter().filter(|difference| !difference.is_nan()).count();
    Comparison {
        contenders,
        images,
        median_difference: median_of(&differences),
        test: wilcoxon(a, b),
        least_p: (2.0 * 0.5_f64.powi(images as i32)).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_leave_out_what_is_not_defined() {
        assert_eq!(median_of(&[3.0, f64::NAN, 1.0, 8.0]), 3.0);
        assert_eq!(median_of(&[3.0, 1.0]), 2.0);
        assert!(median_of(&[f64::NAN]).is_nan() && median_of(&[]).is_nan());
    }

    #[test]
    fn five_pairs_cannot_reach_a_twentieth() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, f64::NAN];
        let b = [0.0, 0.5, 1.0, 1.5, 2.0, 7.0];
        let found = compare([0, 1], &a, &b);
        assert_eq!((found.images, found.median_difference), (5, 2.0));
        assert_eq!((found.test.p_value, found.least_p), (0.0625, 0.0625));
    }
}
