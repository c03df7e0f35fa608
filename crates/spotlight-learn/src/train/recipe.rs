//! The recipe: every setting of a training run, one section a stage.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::fnet::FnetOptions;
use crate::loss::Loss;
use crate::prepare::{PrepareOptions, TargetCentre};
use crate::sample::SampleOptions;

/// Least fraction of foreground in a patch when training with the Spotlight loss.
const SPOTLIGHT_FOREGROUND: f64 = 0.001;

const AT_LEAST_ONE: &str = "at least 1";

/// Every setting of a training run. The default is the paper's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The network.
    pub network: FnetOptions,
    /// From raw stacks to standardised ones.
    pub prepare: PrepareOptions,
    /// Which patches are drawn.
    pub sample: SampleOptions,
    /// What is minimised.
    pub loss: Loss,
    /// The loop.
    pub train: TrainOptions,
}

/// How long and how fast to learn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// Patches in an iteration.
    pub batch: usize,
    /// Number of iterations.
    pub iterations: u64,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decay of Adam's mean of gradients.
    pub beta1: f64,
    /// Decay of Adam's mean of squared gradients.
    pub beta2: f64,
    /// Adam's guard against division by zero.
    pub epsilon: f64,
    /// Seed of the first weights and of the patches.
    pub seed: u64,
    /// The model is validated every this many iterations and at the end; 0 is never.
    pub validate_every: u64,
    /// A model is validated on at most this many patches.
    pub validation_patches: usize,
    /// A checkpoint is written every this many iterations and at the end; 0 is only at
    /// the end.
    pub checkpoint_every: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            batch: 24,
            iterations: 50_000,
            learning_rate: 1e-3,
            beta1: 0.5,
            beta2: 0.999,
            epsilon: 1e-8,
            seed: 0,
            validate_every: 500,
            validation_patches: 48,
            checkpoint_every: 500,
        }
    }
}

impl Recipe {
    /// Fills in what is left out because it depends on the loss, and checks the rest.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names it.
    pub fn resolve(self) -> Result<Self, Error> {
        let recipe = self.with_defaults_of_loss();
        recipe.check()?;
        Ok(recipe)
    }

    /// Fills in what is left out because it depends on the loss.
    pub(super) fn with_defaults_of_loss(mut self) -> Self {
        let (centre, foreground) = match self.loss {
            Loss::Spotlight(_) => (TargetCentre::Threshold, SPOTLIGHT_FOREGROUND),
            Loss::Mse => (TargetCentre::Mean, 0.0),
        };
        self.prepare.target_centre.get_or_insert(centre);
        self.sample.min_foreground.get_or_insert(foreground);
        self
    }

    /// The least value of a prediction: the foreground of a Spotlight target begins at 0,
    /// and below it one background is as good as another.
    pub(super) fn output_clip_min(&self) -> Option<f64> {
        let spotlight = matches!(self.loss, Loss::Spotlight(_));
        let centred = self.prepare.target_centre == Some(TargetCentre::Threshold);
        (spotlight && centred).then_some(0.0)
    }

    pub(super) fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("plain structs of numbers and names")
    }

    fn check(&self) -> Result<(), Error> {
        if let Loss::Spotlight(options) = &self.loss {
            options.check()?;
        }
        let (network, patch, spacing) = (&self.network, self.sample.patch, self.prepare.spacing_um);
        let multiple = 1_usize.checked_shl(network.depth as u32).unwrap_or(0);
        let divides = patch.iter().all(|length| *length > 0 && length.is_multiple_of(multiple));
        let foreground = self.sample.min_foreground.unwrap_or_default();
        let rules = [
            ("network.width", network.width.to_string(), network.width > 0, AT_LEAST_ONE),
            ("network.depth", network.depth.to_string(), network.depth <= 8, "at most 8"),
            (
                "network.in_channels and out_channels",
                format!("{} and {}", network.in_channels, network.out_channels),
                network.in_channels == 1 && network.out_channels == 1,
                "1 and 1: one stack in, one out",
            ),
            (
                "sample.patch",
                format!("{patch:?}"),
                divides,
                "a multiple of 2 to the power of network.depth along each of z, y, x",
            ),
            (
                "sample.min_foreground",
                foreground.to_string(),
                (0.0..=1.0).contains(&foreground),
                "a fraction from 0 to 1",
            ),
            (
                "prepare.spacing_um",
                format!("{spacing:?}"),
                spacing.iter().all(|size| is_positive(*size)),
                "a positive number along each of z, y, x",
            ),
        ];
        first_broken(rules)?;
        first_broken(self.train.rules())
    }
}

/// Name of a setting, its value, whether that is allowed, and what would be.
type Rule = (&'static str, String, bool, &'static str);

impl TrainOptions {
    fn rules(&self) -> Vec<Rule> {
        let counts = [
            ("train.batch", self.batch as u64),
            ("train.iterations", self.iterations),
            ("train.validation_patches", self.validation_patches as u64),
        ];
        let sizes = [("train.learning_rate", self.learning_rate), ("train.epsilon", self.epsilon)];
        let decays = [("train.beta1", self.beta1), ("train.beta2", self.beta2)];
        let counts = counts.map(|(name, v)| (name, v.to_string(), v > 0, AT_LEAST_ONE));
        let sizes = sizes.map(|(name, v)| (name, v.to_string(), is_positive(v), "above 0"));
        let decays = decays
            .map(|(name, v)| (name, v.to_string(), (0.0..1.0).contains(&v), "from 0 to below 1"));
        counts.into_iter().chain(sizes).chain(decays).collect()
    }
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn first_broken(rules: impl IntoIterator<Item = Rule>) -> Result<(), Error> {
    for (option, found, holds, expected) in rules {
        if !holds {
            return Err(Error::Option { option, found, expected });
        }
    }
    Ok(())
}

/// Settings that a resumed run may change without changing what it has learnt so far.
const FREE: [&str; 2] = ["train.iterations", "train.checkpoint_every"];

/// The first setting in which two recipes differ, with both values, as
/// `(name, before, now)`; settings that a resumed run may change do not count.
#[must_use]
pub(super) fn first_difference(before: &Value, now: &Value) -> Option<(String, String, String)> {
    difference("", before, now)
}

fn difference(name: &str, before: &Value, now: &Value) -> Option<(String, String, String)> {
    if let (Value::Object(left), Value::Object(right)) = (before, now) {
        let kind = |map: &serde_json::Map<String, Value>| map.get("kind").cloned();
        if kind(left) != kind(right) {
            // The other keys differ only because the kind does.
            let (left, right) = (kind(left).unwrap_or_default(), kind(right).unwrap_or_default());
            return Some((format!("{name}.kind"), left.to_string(), right.to_string()));
        }
        let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
        let nested = |key: &String| {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
            let (left, right) = (side(left), side(right));
            difference(&name, &left.unwrap_or_default(), &right.unwrap_or_default())
        };
        return keys.into_iter().find_map(nested);
    }
    let same = before == now || FREE.contains(&name);
    (!same).then(|| (name.to_owned(), before.to_string(), now.to_string()))
}
