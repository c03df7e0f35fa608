//! What the losses need to know of a batch: a few sums for each sample.

use rayon::prelude::*;

use super::{CHUNK, Degenerate, Loss, LossTerms, SpotlightOptions};

/// The Spotlight loss as the mean over parts (samples, or the one batch).
pub(super) fn reduce_parts(options: &SpotlightOptions, parts: &[Sums]) -> (LossTerms, Vec<Slopes>) {
    let fallback = options.degenerate == Degenerate::Fallback;
    let has_dice =
        |part: &Sums| !fallback || (part.foreground > 0.0 && part.foreground < part.voxels);
    let with_dice = parts.iter().filter(|part| has_dice(part)).count();
    let (mut mse, mut dice) = (0.0, 0.0);
    let mut slopes = Vec::with_capacity(parts.len());
    for part in parts {
        let mut slope = Slopes::default();
        let weight = 2.0 * options.lambda_mse / parts.len() as f64;
        if fallback && part.foreground == 0.0 {
            mse += part.squared_error / part.voxels;
            slope.error_all = weight / part.voxels;
        } else {
            let denominator = part.foreground + options.epsilon_mse;
            mse += part.squared_error_foreground / denominator;
            slope.error_foreground = weight / denominator;
        }
        if has_dice(part) {
            let denominator = part.soft + part.foreground + options.epsilon;
            dice += 1.0 - 2.0 * part.soft_foreground / denominator;
            let weight = 2.0 * (1.0 - options.lambda_mse) / with_dice as f64;
            slope.soft_background = weight * part.soft_foreground / (denominator * denominator);
            slope.soft_foreground = slope.soft_background - weight / denominator;
        }
        slopes.push(slope);
    }
    let mse = mse / parts.len() as f64;
    let dice = (with_dice > 0).then(|| dice / with_dice as f64);
    let total =
        weighted(options.lambda_mse, mse) + weighted(1.0 - options.lambda_mse, dice.unwrap_or(0.0));
    (LossTerms { total, mse, dice }, slopes)
}

/// A term without weight is not there, even where it is not a number.
fn weighted(weight: f64, term: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { weight * term }
}

/// Factors of one sample from which the derivative by each voxel follows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slopes {
    /// Of the error of a voxel: for F-net any voxel, for Spotlight a background one.
    pub(super) error_all: f64,
    /// Of the error of a foreground voxel (Spotlight).
    pub(super) error_foreground: f64,
    /// Of S in the background.
    pub(super) soft_background: f64,
    /// Of S in the foreground.
    pub(super) soft_foreground: f64,
}

/// All that the loss needs to know of one sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) voxels: f64,
    pub(super) foreground: f64,
    pub(super) squared_error: f64,
    pub(super) squared_error_foreground: f64,
    pub(super) soft: f64,
    pub(super) soft_foreground: f64,
}

impl std::ops::Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            voxels: self.voxels + other.voxels,
            foreground: self.foreground + other.foreground,
            squared_error: self.squared_error + other.squared_error,
            squared_error_foreground: self.squared_error_foreground
                + other.squared_error_foreground,
            soft: self.soft + other.soft,
            soft_foreground: self.soft_foreground + other.soft_foreground,
        }
    }
}

/// The sums of every sample, in an order that does not depend on the threads.
pub(super) fn all_sums(
    loss: &Loss,
    samples: usize,
    pred: &[f32],
    target: &[f32],
    mask: &[bool],
) -> Vec<Sums> {
    assert_eq!(target.len(), pred.len(), "target and prediction differ in length");
    assert_eq!(mask.len(), pred.len(), "mask and prediction differ in length");
    assert!(
        samples > 0 && !pred.is_empty() && pred.len().is_multiple_of(samples),
        "{} voxels in {samples} samples",
        pred.len()
    );
    let size = pred.len() / samples;
    let sample_sums = |sample: usize| {
        let range = sample * size..(sample + 1) * size;
        let (p, y) = (&pred[range.clone()], &target[range.clone()]);
        let chunks = p.par_chunks(CHUNK).zip(y.par_chunks(CHUNK));
        let chunks = chunks.zip(mask[range].par_chunks(CHUNK));
        let parts: Vec<Sums> = chunks.map(|((p, y), m)| chunk_sums(loss, p, y, m)).collect();
        parts.into_iter().fold(Sums::default(), |a, b| a + b)
    };
    (0..samples).into_par_iter().map(sample_sums).collect()
}

fn chunk_sums(loss: &Loss, pred: &[f32], target: &[f32], mask: &[bool]) -> Sums {
    let mut sums = Sums { voxels: pred.len() as f64, ..Sums::default() };
    for ((p, y), foreground) in pred.iter().zip(target).zip(mask) {
        let (p, m) = (f64::from(*p), f64::from(u8::from(*foreground)));
        let error = p - f64::from(*y);
        sums.squared_error += error * error;
        if let Loss::Spotlight(options) = loss {
            let soft = options.soft(p);
            sums.foreground += m;
            sums.squared_error_foreground += m * error * error;
            sums.soft += soft;
            sums.soft_foreground += m * soft;
        }
    }
    sums
}
