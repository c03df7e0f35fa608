//! `spotlight evaluate`: scores predictions against fluorescence stacks.
//!
//! Single predictions get a row of scores each (`pair.rs`). With a manifest, the predictions and
//! segmentations of one or several models are scored image by image and together, at the
//! three levels of the paper:
//!
//! ```text
//! pixels      is the prediction like the target?      pixels.rs, similarity.rs
//! objects     were the true objects found?            objects.rs
//! features    do the found objects look like them?    objects.rs
//! together    means with intervals, paired tests      pooled.rs
//! thresholds  would a threshold have helped?          thresholds.rs
//! ```
//!
//! With a model, target and prediction are compared in the model's own space: the target
//! is standardised as for training, and one and the same map, that from the standardised
//! to the raw intensities of the training set, is applied to both. Without a model the
//! stacks are compared as they are.

mod comparison;
mod contender;
mod files;
mod images;
mod label_stacks;
mod notes;
mod objects;
mod pair;
mod pixels;
mod pooled;
mod report;
mod set;
mod similarity;
mod statistics;
mod sums;
mod tables;
mod thresholds;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use spotlight_image::evaluate::Fill;
use spotlight_image::foreground::OtsuRecipe;
use spotlight_io::Channel;
use spotlight_io::manifest::Split;
use spotlight_io::table::TableFormat;

use crate::cli::{Context, segment, values, wrong_use};

pub use comparison::{Case, Space, evaluate, target_centre};
pub(in crate::cli) use objects::mean_average_precision;
pub use pair::Scored;

const EXAMPLES: &str = "\
Examples:
  spotlight evaluate --prediction stained/a.ome.tif --target a_dna.tif --model run
  spotlight evaluate --prediction stained/*.tif --target dna/*.tif --model run -o scores.csv
  spotlight evaluate --manifest m.csv --split test --predictions stained --model run -o scores
  spotlight evaluate --manifest m.csv --predictions F-net=a Ours=b --model F-net=c Ours=d -o scores
  spotlight evaluate --manifest m.csv --labels FLT=cells/flt Ours=cells/ours -o scores";

const SET: &str = "Data sets";

/// That they require `--manifest` does not refuse them where `--target` stands, since the two
/// exclude each other and clap asks for nothing that is excluded.
const OF_SETS: [&str; 10] = [
    "split",
    "predictions",
    "labels",
    "truth_components",
    "thresholds",
    "fill",
    "recipe",
    "set",
    "no_fsc",
    "format",
];

/// The options of `spotlight evaluate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Predicted stacks
    #[arg(long, value_name = "P", required_unless_present = "manifest", num_args = 1..)]
    pub prediction: Vec<PathBuf>,
    /// Fluorescence stacks, in the order of the predictions
    #[arg(long, value_name = "T", required_unless_present = "manifest", conflicts_with_all = OF_SETS, num_args = 1..)]
    pub target: Vec<PathBuf>,
    /// True foreground (voxels above 0), in the order of the predictions
    #[arg(long, value_name = "M", num_args = 1..)]
    pub mask: Vec<PathBuf>,
    /// Model that made the predictions, or the folder of its run; with --manifest one for each
    /// folder of predictions, in their order or by name
    #[arg(long, value_name = "[NAME=]MODEL", num_args = 1..)]
    pub model: Vec<String>,
    /// Channel of the targets, by name or by number from 0
    #[arg(long, value_name = "NAME", value_parser = values::channel)]
    pub channel: Option<Channel>,
    /// Threshold of the target without a model: smooth or plain
    #[arg(long, value_name = "HOW", default_value = "smooth", value_parser = otsu)]
    pub otsu: OtsuRecipe,
    /// Table of the scores, one row for each prediction; with --manifest the folder of all tables
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Print the scores as JSON
    #[arg(long)]
    pub json: bool,
    /// Memory that the program may take; larger stacks are scored some planes at a time
    #[arg(long, value_name = "AMOUNT", default_value = "4GiB", value_parser = values::bytes)]
    pub memory: u64,
    /// Replace results that exist
    #[arg(long)]
    pub overwrite: bool,
    /// Take targets and true labels from this manifest
    #[arg(long, value_name = "CSV", conflicts_with_all = ["target", "mask", "channel"], help_heading = SET)]
    pub manifest: Option<PathBuf>,
    /// Only the rows of the manifest with this split: train, validate or test
    #[arg(long, value_name = "SPLIT", requires = "manifest", help_heading = SET)]
    pub split: Option<Split>,
    /// Folders of predictions, as predict --manifest writes them
    #[arg(long, value_name = "[NAME=]DIR", requires = "manifest", num_args = 1.., help_heading = SET)]
    pub predictions: Vec<String>,
    /// Folders of label images, named as the stacks they are of
    #[arg(long, value_name = "[NAME=]DIR", requires = "manifest", num_args = 1.., help_heading = SET)]
    pub labels: Vec<String>,
    /// Number the connected components of the true masks, where they have one value only
    #[arg(long, requires = "manifest", help_heading = SET)]
    pub truth_components: bool,
    /// Score the predictions with faint voxels removed too, as in Figure 3 of the paper
    #[arg(long, requires = "manifest", help_heading = SET)]
    pub thresholds: bool,
    /// What takes the place of voxels below a threshold: zero, threshold or min
    #[arg(long, value_name = "VALUE", default_value = "zero", value_parser = fill, requires = "thresholds", help_heading = SET)]
    pub fill: Fill,
    /// File (TOML) with settings of segment for --thresholds
    #[arg(short = 'c', long, value_name = "FILE", requires = "thresholds", help_heading = SET)]
    pub recipe: Option<PathBuf>,
    /// Any setting of segment for --thresholds; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", requires = "thresholds", help_heading = SET)]
    pub set: Vec<String>,
    /// Leave out the resolution by shells (FSC), which needs a cube of the longest side
    #[arg(long, requires = "manifest", help_heading = SET)]
    pub no_fsc: bool,
    /// Format of the tables: csv or parquet
    #[arg(long, value_name = "FORMAT", default_value = "csv", value_parser = format, requires = "manifest", help_heading = SET)]
    pub format: TableFormat,
}

fn otsu(text: &str) -> Result<OtsuRecipe, String> {
    match text {
        "smooth" => Ok(OtsuRecipe::Smooth),
        "plain" => Ok(OtsuRecipe::Plain),
        _ => Err("expected smooth or plain".to_owned()),
    }
}

fn fill(text: &str) -> Result<Fill, String> {
    match text {
        "zero" => Ok(Fill::Zero),
        "threshold" => Ok(Fill::Threshold),
        "min" => Ok(Fill::Minimum),
        _ => Err("expected zero, threshold or min".to_owned()),
    }
}

fn format(text: &str) -> Result<TableFormat, String> {
    let named = TableFormat::ALL.into_iter().find(|format| format.ending() == text);
    named.ok_or_else(|| "expected csv or parquet".to_owned())
}

/// Runs `spotlight evaluate`.
///
/// # Errors
///
/// When the stacks cannot be read or do not fit together, or the tables cannot be written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    match &options.manifest {
        None => pair::run(options, context),
        Some(_) if !options.prediction.is_empty() => Err(wrong_use(
            "--prediction names single stacks, --manifest takes folders of predictions",
            "name the folder with --predictions DIR",
        )),
        Some(manifest) => {
            let recipe = segment::recipe(options.recipe.as_deref(), &options.set)?;
            set::run(options, manifest, &recipe, context)
        }
    }
}
