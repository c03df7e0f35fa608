//! `spotlight predict`: stains transmitted-light stacks with a trained model.

mod conveyor;
mod output;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use spotlight_engine::Engine;
use spotlight_io::Channel;
use spotlight_io::manifest::Split;
use spotlight_learn::predict::{OutputGrid, PredictOptions, Predictor};

use crate::cli::jobs::{self, Request, Role};
use crate::cli::{Context, values};
use crate::progress::Progress;

pub use output::write;

const EXAMPLES: &str = "\
Examples:
  spotlight predict run/model.safetensors stack.tif -o stained.ome.tif
  spotlight predict run 'plate/*.tif' -o stained/ --channel brightfield
  spotlight predict run stack.tif -o stained/ --spacing 0.29,0.108,0.108
  spotlight predict run --manifest manifest.csv --split test -o stained/";

/// The options of `spotlight predict`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Model file, or the folder of a training run
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Transmitted-light stacks; patterns with * and ? are understood
    #[arg(value_name = "INPUT", required_unless_present = "manifest")]
    pub inputs: Vec<PathBuf>,
    /// Folder for the stained stacks, or a .tif file for one input
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Stain the signals listed in this manifest
    #[arg(long, value_name = "CSV", conflicts_with_all = ["inputs", "channel"])]
    pub manifest: Option<PathBuf>,
    /// Only the rows of the manifest with this split: train, validate or test
    #[arg(long, value_name = "SPLIT", requires = "manifest", conflicts_with = "inputs")]
    pub split: Option<Split>,
    /// Channel of the inputs, by name or by number from 0
    #[arg(long, value_name = "NAME", value_parser = values::channel)]
    pub channel: Option<Channel>,
    /// Voxel size of the inputs in µm along z, y, x, in place of what the files say
    #[arg(long, value_name = "Z,Y,X", value_parser = values::spacing_um)]
    pub spacing: Option<[f64; 3]>,
    /// Write at the voxel size of the model, not of the input
    #[arg(long)]
    pub keep_model_spacing: bool,
    /// Memory that the program may take; larger stacks are stained in tiles
    #[arg(long, value_name = "AMOUNT", default_value = "4GiB", value_parser = values::bytes)]
    pub memory: u64,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// Runs `spotlight predict`.
///
/// # Errors
///
/// When the model or an input cannot be used, or an output is in the way or cannot be
/// written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let model = values::model_path(&options.model);
    let jobs = jobs::plan(&Request {
        inputs: &options.inputs,
        channel: options.channel.as_ref(),
        manifest: options.manifest.as_deref(),
        split: options.split,
        role: Role::Signal,
        output: &options.output,
        overwrite: options.overwrite,
    })?;
    let predictor = Predictor::read(&model)?;
    let engine = context.engine()?;
    jobs::prepare_folders(&jobs, options.overwrite)?;

    const STEPS: u64 = 1000;
    let mut progress = Progress::new(context, "predict", STEPS * jobs.len() as u64);
    let mut tell = |index: usize, part: f64| {
        let done = STEPS * index as u64 + (STEPS as f64 * part) as u64;
        progress.set(done, &jobs[index].input.display().to_string());
    };
    let settings = PredictOptions {
        memory_bytes: options.memory,
        grid: if options.keep_model_spacing { OutputGrid::Model } else { OutputGrid::Input },
        ..PredictOptions::default()
    };
    let stainer = Stainer {
        predictor: &predictor,
        engine: &engine,
        model: &model,
        settings: &settings,
        spacing_um: options.spacing,
        overwrite: options.overwrite,
    };
    conveyor::stain_all(&jobs, &stainer, &mut tell)?;
    drop(progress);
    let outputs = jobs.iter().map(|job| format!("{}\n", job.output.display()));
    context.print(&outputs.collect::<String>())
}

/// What all stacks of a run have in common.
#[derive(Clone, Copy, Debug)]
struct Stainer<'a> {
    predictor: &'a Predictor,
    engine: &'a Engine,
    /// The file of the model.
    model: &'a Path,
    settings: &'a PredictOptions,
    /// Voxel size in place of what the files say.
    spacing_um: Option<[f64; 3]>,
    overwrite: bool,
}
