//! The flags of `spotlight train`, and the settings of the recipe that they stand for.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use spotlight_image::Shape;
use toml::Value;

use crate::cli::values;
use crate::recipe::{Setting, assignment};

const EXAMPLES: &str = "\
Examples:
  spotlight train manifest.csv -o run
  spotlight train manifest.csv -o fnet --loss mse
  spotlight train manifest.csv -o small --width 8 --depth 3 --batch 8 --iterations 2000
  spotlight train manifest.csv -o run --resume            go on after an interruption
  spotlight train manifest.csv -o run2 -c run/recipe.toml --set loss.lambda_mse=0.25

The manifest is a table: path_signal, channel_signal, path_target, channel_target,
path_mask, split. Only path_signal and path_target are needed. A flag that is not given has
the value of the recipe, a setting that the recipe does not give that of the paper.";

/// The options of `spotlight train`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Table (CSV) of the pairs of stacks, paths relative to it
    #[arg(value_name = "MANIFEST.csv")]
    pub manifest: PathBuf,
    /// Folder of the run: model.safetensors, log.csv, checkpoint, recipe, record
    #[arg(short, long, value_name = "RUN")]
    pub output: PathBuf,
    /// File (TOML) with settings
    #[arg(short = 'c', long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Any setting of the recipe; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Go on from the checkpoint in RUN, with its recipe
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Replace the run that is in RUN
    #[arg(long)]
    pub overwrite: bool,
    /// The settings that have a flag of their own.
    #[command(flatten)]
    pub flags: Flags,
}

/// The settings that have a flag of their own. Defaults are shown, but set by the recipe.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// spotlight, or mse as F-net [default: spotlight]
    #[arg(long, value_name = "LOSS", help_heading = "Method")]
    pub loss: Option<String>,
    /// Channels of the network's first level [default: 32]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub width: Option<u32>,
    /// Times that the network halves its input [default: 4]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub depth: Option<u32>,
    /// Patches in an iteration [default: 24]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub batch: Option<u32>,
    /// Voxels of a patch [default: 32,64,64]
    #[arg(long, value_name = "Z,Y,X", value_parser = values::shape, help_heading = "Method")]
    pub patch: Option<Shape>,
    /// Number of iterations [default: 50000]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub iterations: Option<u32>,
    /// Step size of Adam [default: 0.001]
    #[arg(long, value_name = "RATE", help_heading = "Method")]
    pub learning_rate: Option<f64>,
    /// Seed of the first weights and of the patches [default: 0]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub seed: Option<u32>,
    /// Mirror patches at random along these axes, such as yx [default: none]
    #[arg(long, value_name = "AXES", value_parser = axes, help_heading = "Method")]
    pub flip: Option<[bool; 3]>,
    /// Least foreground of a patch [default: 0.001, with mse 0]
    #[arg(long, value_name = "FRACTION", help_heading = "Method")]
    pub min_foreground: Option<f64>,

    /// Voxel size in µm of files that do not tell theirs
    #[arg(long, value_name = "Z,Y,X", value_parser = values::spacing_um, help_heading = "Stacks")]
    pub spacing: Option<[f64; 3]>,
    /// Voxel size in µm that stacks are brought to [default: 0.29,0.29,0.29]
    #[arg(long, value_name = "Z,Y,X", value_parser = values::spacing_um, help_heading = "Stacks")]
    pub target_spacing: Option<[f64; 3]>,
    /// Take the voxels as they are, whatever their size
    #[arg(long, conflicts_with = "target_spacing", help_heading = "Stacks")]
    pub no_resample: bool,
    /// Threshold of the foreground after smoothing or of the plain stack [default: smooth]
    #[arg(long, value_name = "smooth|plain", help_heading = "Stacks")]
    pub otsu: Option<String>,
    /// Who is tested, where the manifest does not say it [default: seeded]
    #[arg(long, value_name = "seeded|paper", help_heading = "Stacks")]
    pub split: Option<String>,

    /// Iterations between validations; 0 is never [default: 500]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub validate_every: Option<u32>,
    /// Iterations between checkpoints; 0 is at the end only [default: 500]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub checkpoint_every: Option<u32>,
}

impl Options {
    /// The settings that the flags stand for; `--set` comes first, so that a flag wins.
    ///
    /// # Errors
    ///
    /// If a `--set` is not of the form `section.key=value`.
    pub fn settings(&self) -> Result<Vec<Setting>> {
        let mut settings = Vec::new();
        for text in &self.set {
            settings.push(assignment(text)?);
        }
        settings.extend(self.flags.settings());
        Ok(settings)
    }
}

impl Flags {
    fn settings(&self) -> Vec<Setting> {
        let given = [
            ("--loss", "loss.kind", self.loss.clone().map(Value::from)),
            ("--width", "network.width", self.width.map(Value::from)),
            ("--depth", "network.depth", self.depth.map(Value::from)),
            ("--batch", "train.batch", self.batch.map(Value::from)),
            (
                "--patch",
                "sample.patch",
                self.patch.map(|p| Value::from(p.map(|n| n as i64).to_vec())),
            ),
            ("--iterations", "train.iterations", self.iterations.map(Value::from)),
            ("--learning-rate", "train.learning_rate", self.learning_rate.map(Value::from)),
            ("--seed", "train.seed", self.seed.map(Value::from)),
            ("--flip", "sample.flip", self.flip.map(|f| Value::from(f.to_vec()))),
            ("--min-foreground", "sample.min_foreground", self.min_foreground.map(Value::from)),
            ("--spacing", "data.spacing_um", self.spacing.map(|s| Value::from(s.to_vec()))),
            (
                "--target-spacing",
                "prepare.spacing_um",
                self.target_spacing.map(|s| Value::from(s.to_vec())),
            ),
            ("--no-resample", "prepare.resample", self.no_resample.then_some(Value::from(false))),
            ("--otsu", "prepare.otsu", self.otsu.clone().map(Value::from)),
            ("--split", "split.rule", self.split.clone().map(Value::from)),
            ("--validate-every", "train.validate_every", self.validate_every.map(Value::from)),
            (
                "--checkpoint-every",
                "train.checkpoint_every",
                self.checkpoint_every.map(Value::from),
            ),
        ];
        let given = given.into_iter().filter_map(|(flag, path, value)| {
            Some(Setting { path: path.to_owned(), value: value?, origin: flag.to_owned() })
        });
        given.collect()
    }
}

/// Axes by their letters, as flags for (z, y, x).
fn axes(text: &str) -> Result<[bool; 3], String> {
    match text.chars().find(|axis| !"zyx".contains(*axis)) {
        Some(other) => Err(format!("there is no axis {other}; give some of z, y and x")),
        None => Ok(['z', 'y', 'x'].map(|axis| text.contains(axis))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_letters() {
        assert_eq!(axes("xy"), Ok([false, true, true]));
        assert_eq!(axes("z"), Ok([true, false, false]));
        assert!(axes("zq").unwrap_err().contains('q'));
    }

    #[test]
    fn every_flag_is_a_setting_of_the_recipe() {
        let flags = Flags {
            loss: Some("spotlight".into()),
            width: Some(2),
            depth: Some(1),
            batch: Some(1),
            patch: Some([8; 3]),
            iterations: Some(1),
            learning_rate: Some(0.1),
            seed: Some(1),
            flip: Some([true; 3]),
            min_foreground: Some(0.1),
            spacing: Some([1.0; 3]),
            target_spacing: Some([1.0; 3]),
            no_resample: true,
            otsu: Some("plain".into()),
            split: Some("paper".into()),
            validate_every: Some(1),
            checkpoint_every: Some(1),
        };
        let recipe = crate::recipe::RunRecipe::new(&flags.settings()).unwrap();
        assert_eq!(recipe.method.sample.patch, [8; 3]);
        assert_eq!(recipe.method.sample.flip, [true; 3]);
        assert!(!recipe.method.prepare.resample);
        assert_eq!(recipe.data.spacing_um, Some([1.0; 3]));
    }
}
