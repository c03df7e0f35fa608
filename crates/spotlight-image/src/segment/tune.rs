//! Finding the settings of the watershed that fit a truth best.
//!
//! The paper tuned its segmentation on real fluorescence. Here a grid of settings is tried
//! on pairs of a stack and its true labels. What two settings have in common is computed
//! once: stacks are prepared once, thresholded once for each median, split once for each
//! kind of seed.

use rayon::prelude::*;

use super::{Cleanup, Watershed, cleanup, foreground, prepare, split};
use crate::Volume;

/// A stack and its truth.
#[derive(Clone, Copy, Debug)]
pub struct Example<'a> {
    /// The fluorescence stack.
    pub image: &'a Volume<f32>,
    /// Its true labels, on the reduced grid of [`segment`](super::segment).
    pub truth: &'a Volume<u32>,
}

/// The settings to try: all combinations. The default holds the values that the paper's
/// libraries and tutorials use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// For [`Watershed::median_size`].
    pub median_size: Vec<usize>,
    /// For [`Watershed::ball_radius`].
    pub ball_radius: Vec<usize>,
    /// For [`Watershed::seed_dilation`].
    pub seed_dilation: Vec<usize>,
    /// For [`Cleanup::min_object_voxels`].
    pub min_object_voxels: Vec<usize>,
    /// For [`Cleanup::max_object_voxels`].
    pub max_object_voxels: Vec<usize>,
}

impl Default for Grid {
    fn default() -> Self {
        Self {
            median_size: vec![3, 5],
            ball_radius: vec![5, 7, 10, 15],
            seed_dilation: vec![0, 1],
            min_object_voxels: vec![100, 500],
            max_object_voxels: vec![7500, 0],
        }
    }
}

/// Settings and how well they did.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The settings.
    pub options: Watershed,
    /// Mean score over the examples that have one; NaN if none has.
    pub score: f64,
}

/// Tries all settings of a grid, the others as in `base`; the best come first.
///
/// `score` is given the predicted and the true labels of an example; higher is better, and
/// NaN is no score. Of equally good settings those earlier in the grid come first.
///
/// # Panics
///
/// As [`segment`](super::segment); if a truth has another shape than its segmentation.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::segment::{Example, Grid, Watershed, tune};
///
/// let image = Volume::from_fn([24, 40, 40], |[z, y, x]| {
///     let square = |a: usize, b: usize| a.abs_diff(b).pow(2);
///     if square(z, 12) + square(y, 20) + square(x, 20) < 100 { 9.0 } else { 1.0 }
/// });
/// let truth = Volume::filled([12, 20, 20], 0);
/// let same_count = |found: &Volume<u32>, truth: &Volume<u32>| {
///     f64::from(u8::from(found.voxels.iter().max() == truth.voxels.iter().max()))
/// };
/// let examples = [Example { image: &image, truth: &truth }];
/// let trials = tune(&examples, &Watershed::default(), &Grid::default(), same_count);
/// assert_eq!(trials.len(), 2 * 4 * 2 * 2 * 2);
/// assert_eq!(trials[0].options.cleanup.min_object_voxels, 500);
/// ```
#[must_use]
pub fn tune(
    examples: &[Example<'_>],
    base: &Watershed,
    grid: &Grid,
    score: impl Fn(&Volume<u32>, &Volume<u32>) -> f64 + Sync,
) -> Vec<Trial> {
    let scores: Vec<Vec<f64>> =
        examples.par_iter().map(|example| trial_scores(*example, base, grid, &score)).collect();
    rank_trials(grid.settings(base), &scores)
}

impl Grid {
    /// All combinations, the others as in `base`: by median, then by seeds, then by cleanup.
    #[must_use]
    pub fn settings(&self, base: &Watershed) -> Vec<Watershed> {
        combinations(base, self).into_iter().flatten().flatten().collect()
    }
}

/// Settings with their mean scores, the best first; `scores` has a row for each example, as
/// [`trial_scores`] gives it.
///
/// # Panics
///
/// If a row has not one score for each of the settings.
#[must_use]
pub fn rank_trials(settings: Vec<Watershed>, scores: &[Vec<f64>]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (trial, options) in settings.into_iter().enumerate() {
        let known: Vec<f64> = scores.iter().map(|s| s[trial]).filter(|s| !s.is_nan()).collect();
        let score = known.iter().sum::<f64>() / known.len() as f64;
        trials.push(Trial { options, score });
    }
    // NaN is last: it has no place among the numbers.
    let rank = |trial: &Trial| if trial.score.is_nan() { f64::NEG_INFINITY } else { trial.score };
    trials
        .sort_by(|a, b| rank(b).total_cmp(&rank(a)).then(a.score.is_nan().cmp(&b.score.is_nan())));
    trials
}

fn combinations(base: &Watershed, grid: &Grid) -> Vec<Vec<Vec<Watershed>>> {
    let with_median = |median_size: &usize| {
        let mut seeds = Vec::new();
        for ball_radius in &grid.ball_radius {
            for seed_dilation in &grid.seed_dilation {
                let options = Watershed {
                    median_size: *median_size,
                    ball_radius: *ball_radius,
                    seed_dilation: *seed_dilation,
                    ..base.clone()
                };
                seeds.push(with_cleanup(&options, grid));
            }
        }
        seeds
    };
    grid.median_size.iter().map(with_median).collect()
}

fn with_cleanup(options: &Watershed, grid: &Grid) -> Vec<Watershed> {
    let mut all = Vec::new();
    for min_object_voxels in &grid.min_object_voxels {
        for max_object_voxels in &grid.max_object_voxels {
            let cleanup = Cleanup {
                min_object_voxels: *min_object_voxels,
                max_object_voxels: *max_object_voxels,
                ..options.cleanup.clone()
            };
            all.push(Watershed { cleanup, ..options.clone() });
        }
    }
    all
}

/// The score of each of [`Grid::settings`] for one example: what [`tune`] does for all.
///
/// With it, examples can be read one after the other, so that only one is in memory.
///
/// # Panics
///
/// As [`tune`].
#[must_use]
pub fn trial_scores(
    example: Example<'_>,
    base: &Watershed,
    grid: &Grid,
    score: impl Fn(&Volume<u32>, &Volume<u32>) -> f64,
) -> Vec<f64> {
    let prepared = prepare(example.image, base);
    assert_eq!(prepared.shape, example.truth.shape, "shapes of segmentation and truth");
    let of_median = |seeds: &Vec<Vec<Watershed>>| -> Vec<f64> {
        let Some(options) = seeds.first().and_then(|cleanups| cleanups.first()) else {
            return Vec::new();
        };
        let mask = foreground(&prepared, options);
        let of_seeds = |cleanups: &Vec<Watershed>| -> Vec<f64> {
            let Some(options) = cleanups.first() else { return Vec::new() };
            let labels = split(&mask, options);
            let of_cleanup =
                |options: &Watershed| score(&cleanup(&labels, &options.cleanup), example.truth);
            cleanups.iter().map(of_cleanup).collect()
        };
        seeds.iter().flat_map(of_seeds).collect()
    };
    combinations(base, grid).iter().flat_map(of_median).collect()
}
