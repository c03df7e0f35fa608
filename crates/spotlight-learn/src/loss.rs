//! What training minimises: the mean squared error of F-net, or the Spotlight loss.
//!
//! With prediction P, target Y and foreground mask M (all of one sample):
//!
//! ```text
//! MMSE  = sum(M (Y - P)^2) / sum(M)
//! s(x)  = (x - k x) / (k - 2 k |x| + 1)           the tunable sigmoid
//! S     = clamp(s(P), 0, 1)                       a soft segmentation of P
//! Dice  = 1 - 2 sum(S M) / (sum(S) + sum(M) + epsilon)
//! total = lambda MMSE + (1 - lambda) Dice
//! ```
//!
//! The mean squared error thus counts in the cells only, and Dice alone tells the
//! network what is background. Inputs are f32, all arithmetic is f64.
//!
//! References:
//! - A. A. Kalinin et al. (2025), "Foreground-aware Virtual Staining for Accurate 3D
//!   Cell Morphological Profiling", section 2.
//! - C. Ounkomol et al. (2018), F-net: the mean squared error.
//! - D. Emery, "Normalized tunable sigmoid functions".

mod sums;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Error;
use sums::{Slopes, Sums, all_sums, reduce_parts};

/// Sums are taken over pieces of this many voxels, whatever the number of threads.
const CHUNK: usize = 1 << 15;

/// Which loss a network is trained with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Loss {
    /// Mean squared error over every voxel of the batch: F-net.
    Mse,
    /// Masked mean squared error and soft Dice: Spotlight.
    Spotlight(SpotlightOptions),
}

impl Default for Loss {
    fn default() -> Self {
        Self::Spotlight(SpotlightOptions::default())
    }
}

/// Settings of the Spotlight loss; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpotlightOptions {
    /// Weight of the masked mean squared error; Dice has one minus this.
    pub lambda_mse: f64,
    /// Shape k of the sigmoid, between -1 (a hard step) and 0 (a straight line).
    pub sigmoid_k: f64,
    /// Added to the denominator of Dice.
    pub epsilon: f64,
    /// Added to the denominator of the masked mean squared error.
    pub epsilon_mse: f64,
    /// What one value of the loss is taken over.
    pub reduction: Reduction,
    /// Whether the sigmoid is clamped to [0, 1]. Without, Dice has a pole.
    pub clamp: bool,
    /// What a sample counts that has no foreground, or nothing else.
    pub degenerate: Degenerate,
}

impl Default for SpotlightOptions {
    fn default() -> Self {
        Self {
            lambda_mse: 0.5,
            sigmoid_k: -0.95,
            epsilon: 1e-6,
            epsilon_mse: 0.0,
            reduction: Reduction::Sample,
            clamp: true,
            degenerate: Degenerate::Fallback,
        }
    }
}

/// What one value of the Spotlight loss is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Each sample by itself; the loss is their mean.
    Sample,
    /// All voxels of the batch together.
    Batch,
}

/// What a sample counts that has no foreground, or nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Degenerate {
    /// Without foreground its mean squared error is taken over all voxels; it is left
    /// out of the mean of Dice, as is a sample without background.
    Fallback,
    /// The equations as written: 0/0 without foreground.
    Formula,
}

/// The value of a loss and of its parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossTerms {
    /// What training minimises.
    pub total: f64,
    /// The mean squared error: over the foreground for Spotlight, over all for F-net.
    pub mse: f64,
    /// The Dice loss; none for F-net, and none where every sample was left out of it.
    pub dice: Option<f64>,
}

impl SpotlightOptions {
    /// Checks that the values make sense.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] naming the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        let rules = [
            ("lambda_mse", self.lambda_mse, (0.0..=1.0).contains(&self.lambda_mse), "in [0, 1]"),
            (
                "sigmoid_k",
                self.sigmoid_k,
                self.sigmoid_k > -1.0 && self.sigmoid_k < 0.0,
                "between -1 and 0, both excluded",
            ),
            ("epsilon", self.epsilon, non_negative(self.epsilon), "a number not below 0"),
            (
                "epsilon_mse",
                self.epsilon_mse,
                non_negative(self.epsilon_mse),
                "a number not below 0",
            ),
        ];
        for (option, found, holds, expected) in rules {
            if !holds {
                return Err(Error::Option { option, found: found.to_string(), expected });
            }
        }
        Ok(())
    }

    /// The soft segmentation S of a predicted voxel.
    fn soft(&self, prediction: f64) -> f64 {
        let value = sigmoid(prediction, self.sigmoid_k);
        if self.clamp { value.clamp(0.0, 1.0) } else { value }
    }

    /// The derivative of [`Self::soft`]; 0 at the two corners of the clamp, where any
    /// value between the slopes of both sides is valid.
    fn soft_slope(&self, prediction: f64) -> f64 {
        let value = sigmoid(prediction, self.sigmoid_k);
        let inside = value > 0.0 && value < 1.0;
        if self.clamp && !inside { 0.0 } else { sigmoid_slope(prediction, self.sigmoid_k) }
    }
}

fn non_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// The normalised tunable sigmoid `(x - k x) / (k - 2 k |x| + 1)`: odd, with s(1) = 1.
///
/// ```
/// use spotlight_learn::loss::sigmoid;
///
/// assert!((sigmoid(0.025, -0.95) - 0.5).abs() < 1e-12);
/// assert!((sigmoid(4.0, -0.95) - 1.0196).abs() < 1e-4);
/// ```
#[must_use]
pub fn sigmoid(x: f64, k: f64) -> f64 {
    (x - k * x) / (k - 2.0 * k * x.abs() + 1.0)
}

/// The derivative of [`sigmoid`] by x.
#[must_use]
pub fn sigmoid_slope(x: f64, k: f64) -> f64 {
    let denominator = k - 2.0 * k * x.abs() + 1.0;
    (1.0 - k * k) / (denominator * denominator)
}

impl Loss {
    /// The value of the loss of a batch of `samples` equal parts.
    ///
    /// All slices hold the whole batch, sample by sample, in the same voxel order.
    ///
    /// # Panics
    ///
    /// If the slices differ in length or do not divide into `samples`.
    #[must_use]
    pub fn value(&self, samples: usize, pred: &[f32], target: &[f32], mask: &[bool]) -> LossTerms {
        self.reduce(&all_sums(self, samples, pred, target, mask)).0
    }

    /// The value of the loss, and its gradient by the prediction.
    ///
    /// ```
    /// use spotlight_learn::loss::{Loss, SpotlightOptions};
    ///
    /// let loss = Loss::Spotlight(SpotlightOptions::default());
    /// let mut gradient = [0.0; 3];
    /// let (target, mask) = ([1.0, 1.0, -0.5], [true, true, false]);
    /// let terms = loss.value_and_gradient(1, &[1.0, 1.0, -0.2], &target, &mask, &mut gradient);
    /// // Background is compared with nothing but "not a cell".
    /// assert!(terms.total < 1e-6 && gradient[2] == 0.0);
    /// ```
    ///
    /// # Panics
    ///
    /// If the slices differ in length or do not divide into `samples`.
    pub fn value_and_gradient(
        &self,
        samples: usize,
        pred: &[f32],
        target: &[f32],
        mask: &[bool],
        gradient: &mut [f32],
    ) -> LossTerms {
        self.differentiate(samples, pred, target, mask, gradient, |g| g as f32)
    }

    /// Like [`Loss::value_and_gradient`], with the gradient before its rounding to f32.
    ///
    /// # Panics
    ///
    /// If the slices differ in length or do not divide into `samples`.
    pub fn value_and_exact_gradient(
        &self,
        samples: usize,
        pred: &[f32],
        target: &[f32],
        mask: &[bool],
        gradient: &mut [f64],
    ) -> LossTerms {
        self.differentiate(samples, pred, target, mask, gradient, |g| g)
    }

    fn differentiate<G: Send>(
        &self,
        samples: usize,
        pred: &[f32],
        target: &[f32],
        mask: &[bool],
        gradient: &mut [G],
        round: impl Fn(f64) -> G + Sync,
    ) -> LossTerms {
        assert_eq!(gradient.len(), pred.len(), "gradient and prediction differ in length");
        let (terms, slopes) = self.reduce(&all_sums(self, samples, pred, target, mask));
        let size = (pred.len() / samples).max(1);
        let parts = gradient.par_chunks_mut(CHUNK).enumerate();
        parts.for_each(|(chunk, part)| {
            for (offset, slot) in part.iter_mut().enumerate() {
                let i = chunk * CHUNK + offset;
                let (p, y) = (f64::from(pred[i]), f64::from(target[i]));
                *slot = round(self.slope(&slopes[i / size], p, y, mask[i]));
            }
        });
        terms
    }

    /// The derivative of the loss by one voxel of the prediction.
    fn slope(&self, slopes: &Slopes, prediction: f64, target: f64, foreground: bool) -> f64 {
        let error = prediction - target;
        let Self::Spotlight(options) = self else { return slopes.error_all * error };
        let (of_error, of_soft) = if foreground {
            (slopes.error_foreground, slopes.soft_foreground)
        } else {
            (slopes.error_all, slopes.soft_background)
        };
        // A weight of zero means "not there", also where the other factor is infinite.
        let by_error = if of_error == 0.0 { 0.0 } else { of_error * error };
        let by_soft = if of_soft == 0.0 { 0.0 } else { of_soft * options.soft_slope(prediction) };
        by_error + by_soft
    }

    /// From the sums of each sample to the loss, and to its slopes in each sample.
    fn reduce(&self, sums: &[Sums]) -> (LossTerms, Vec<Slopes>) {
        let whole = sums.iter().fold(Sums::default(), |a, b| a + *b);
        match self {
            Self::Mse => {
                let mse = whole.squared_error / whole.voxels;
                let slope = Slopes { error_all: 2.0 / whole.voxels, ..Slopes::default() };
                (LossTerms { total: mse, mse, dice: None }, vec![slope; sums.len()])
            }
            Self::Spotlight(options) if options.reduction == Reduction::Batch => {
                let (terms, slopes) = reduce_parts(options, &[whole]);
                (terms, vec![slopes[0]; sums.len()])
            }
            Self::Spotlight(options) => reduce_parts(options, sums),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREDICTION: [f32; 8] = [0.9, -0.3, 0.4, 0.05, 1.4, 0.01, -0.7, 0.6];
    const TARGET: [f32; 8] = [1.1, -0.5, 0.8, -0.2, 1.0, 0.3, -0.6, -0.1];
    const MASK: [bool; 8] = [true, false, true, false, true, true, false, false];

    fn spotlight(change: impl FnOnce(&mut SpotlightOptions)) -> Loss {
        let mut options = SpotlightOptions::default();
        change(&mut options);
        Loss::Spotlight(options)
    }

    #[track_caller]
    fn check_close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected}");
    }

    /// Table of the sigmoid at k = -0.95, and its slope by central differences.
    #[test]
    fn sigmoid_has_the_tabulated_values_and_slope() {
        let x = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0];
        let s = [0.1639, 0.2826, 0.5, 0.6724, 0.8125, 0.9286, 0.975, 1.0, 1.0130, 1.0196];
        for (x, s) in x.into_iter().zip(s) {
            check_close(sigmoid(x, -0.95), s, 1e-4);
            check_close(sigmoid(-x, -0.95), -s, 1e-4);
            let h = 1e-6;
            let slope = (sigmoid(x + h, -0.95) - sigmoid(x - h, -0.95)) / (2.0 * h);
            check_close(sigmoid_slope(x, -0.95), slope, 1e-5);
        }
        check_close(sigmoid_slope(0.0, -0.95), 39.0, 1e-9);
    }

    #[test]
    fn perfect_binary_prediction_costs_nothing() {
        let target = [1.0, 0.0, 1.0, 0.0];
        let mask = [true, false, true, false];
        let terms = Loss::default().value(1, &target, &target, &mask);
        check_close(terms.mse, 0.0, 0.0);
        check_close(terms.dice.unwrap(), 0.0, 1e-6);
    }

    #[test]
    fn mean_squared_error_is_over_all_voxels() {
        let mut gradient = [0.0; 2];
        let terms =
            Loss::Mse.value_and_gradient(2, &[1.0, 2.0], &[0.0, 4.0], &[false; 2], &mut gradient);
        assert_eq!(terms, LossTerms { total: 2.5, mse: 2.5, dice: None });
        assert_eq!(gradient, [1.0, -2.0]);
    }

    /// Steps along the exact line between two f32 values, away from the clamp's corners.
    #[track_caller]
    fn check_gradient(loss: &Loss, samples: usize, mask: &[bool; 8]) {
        let mut gradient = [0.0; 8];
        loss.value_and_exact_gradient(samples, &PREDICTION, &TARGET, mask, &mut gradient);
        for i in 0..8 {
            let at = |step: f32| {
                let mut moved = PREDICTION;
                moved[i] += step;
                (f64::from(moved[i]), loss.value(samples, &moved, &TARGET, mask).total)
            };
            let ((a, low), (b, high)) = (at(-1e-4), at(1e-4));
            let slope = (high - low) / (b - a);
            check_close(gradient[i], slope, 1e-3 * slope.abs() + 1e-7);
        }
    }

    #[test]
    fn gradient_is_the_slope_of_the_value() {
        check_gradient(&Loss::Mse, 2, &MASK);
        check_gradient(&Loss::default(), 2, &MASK);
        check_gradient(&spotlight(|o| o.reduction = Reduction::Batch), 2, &MASK);
        check_gradient(&spotlight(|o| o.clamp = false), 1, &MASK);
        check_gradient(&spotlight(|o| o.lambda_mse = 0.9), 4, &MASK);
        check_gradient(&spotlight(|o| o.epsilon_mse = 0.5), 2, &MASK);
        check_gradient(&spotlight(|o| o.degenerate = Degenerate::Formula), 1, &[true; 8]);
        // Samples: mixed, without foreground, without background, mixed.
        let mixed = [true, false, false, false, true, true, true, false];
        check_gradient(&Loss::default(), 4, &mixed);
        check_gradient(&Loss::default(), 1, &[false; 8]);
    }

    #[test]
    fn sample_without_foreground_counts_plain_error_and_no_dice() {
        let terms = Loss::default().value(
            2,
            &[0.5, 0.5, 1.0, 0.0],
            &[0.0, 1.0, 1.0, 0.0],
            &[false, false, true, false],
        );
        check_close(terms.mse, 0.125, 1e-12);
        check_close(terms.dice.unwrap(), 0.0, 1e-6);
        let none = Loss::default().value(1, &[0.5], &[0.0], &[false]);
        assert_eq!(none.dice, None);
        check_close(none.total, 0.125, 1e-12);
        let formula = spotlight(|o| o.degenerate = Degenerate::Formula);
        assert!(formula.value(1, &[0.5], &[0.0], &[false]).mse.is_nan());
    }

    #[test]
    fn number_of_threads_changes_no_bit() {
        let count = 3 * CHUNK + 17;
        let noise = |i: usize, salt: u32| {
            let bits = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(salt) >> 8;
            bits as f32 / 4e6 - 2.0
        };
        let prediction: Vec<f32> = (0..2 * count).map(|i| noise(i, 1)).collect();
        let target: Vec<f32> = (0..2 * count).map(|i| noise(i, 99)).collect();
        let mask: Vec<bool> = target.iter().map(|y| *y >= 0.0).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut gradient = vec![0.0; 2 * count];
            let terms = pool.install(|| {
                Loss::default().value_and_gradient(2, &prediction, &target, &mask, &mut gradient)
            });
            (terms.total.to_bits(), gradient)
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let wrong = SpotlightOptions { sigmoid_k: 0.5, ..SpotlightOptions::default() };
        let message = wrong.check().unwrap_err().to_string();
        assert_eq!(message, "sigmoid_k is 0.5, it must be between -1 and 0, both excluded");
        SpotlightOptions::default().check().unwrap();
    }

    #[test]
    fn options_survive_json() {
        for loss in [Loss::Mse, spotlight(|o| o.lambda_mse = 0.25)] {
            let text = serde_json::to_string(&loss).unwrap();
            assert_eq!(serde_json::from_str::<Loss>(&text).unwrap(), loss);
        }
        let short: Loss = serde_json::from_str(r#"{"kind":"spotlight","clamp":false}"#).unwrap();
        assert_eq!(short, spotlight(|o| o.clamp = false));
        assert!(serde_json::from_str::<Loss>(r#"{"kind":"spotlight","lamda":1}"#).is_err());
    }
}
