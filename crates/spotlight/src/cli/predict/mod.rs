//! `spotlight predict`: stains transmitted-light stacks with a trained model.

mod conveyor;
mod output;
mod store;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use spotlight_engine::Engine;
use spotlight_io::Channel;
use spotlight_io::manifest::Split;
use spotlight_learn::predict::{OutputGrid, PredictOptions, Predictor};

use crate::cli::jobs::{self, Job, Request, Role};
use crate::cli::{Context, values, wrong_use};
use crate::progress::Progress;

pub use output::write;

const EXAMPLES: &str = "\
Examples:
  spotlight predict run/model.safetensors stack.tif -o stained.ome.tif
  spotlight predict run 'plate/*.tif' -o stained/ --channel brightfield
  spotlight predict run stack.tif -o stained/ --spacing 0.29,0.108,0.108
  spotlight predict run --manifest manifest.csv --split test -o stained/
  spotlight predict run large.ome.zarr -o stained.ome.zarr --memory 8GiB
  spotlight predict run large.ome.zarr -o stained.ome.zarr --memory 8GiB --resume";

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
    /// Folder for the stained stacks; for one input, a .tif file or a .zarr store
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
    /// How stains are written: ome-tiff (in a folder, where nothing else is said) or ome-zarr, for
    /// stacks of any size
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<OutputFormat>,
    /// Image of an input that holds several, by number from 0
    #[arg(long, value_name = "N", default_value = "0")]
    pub series: usize,
    /// Only this time point, by number from 0; all are stained where the stain is a store
    #[arg(long, value_name = "N")]
    pub time: Option<usize>,
    /// Write at the voxel size of the model, not of the input
    #[arg(long)]
    pub keep_model_spacing: bool,
    /// Memory that the program may take; larger stacks are stained in tiles
    #[arg(long, value_name = "AMOUNT", default_value = "4GiB", value_parser = values::bytes)]
    pub memory: u64,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
    /// Go on with stores that were begun with the same inputs and settings, and leave those alone
    /// that are finished
    #[arg(long)]
    pub resume: bool,
}

/// How a stain is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// One file.
    OmeTiff,
    /// A folder of chunks, which is written box by box and can be resumed.
    OmeZarr,
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
        stores: true,
        overwrite: options.overwrite || options.resume,
    })?;
    let jobs = named(jobs, options.format);
    if let (true, Some(job)) = (options.resume, jobs.iter().find(|job| !store::is_store(job))) {
        return Err(wrong_use(
            format!("{} is one file, which is written in one go", job.output.display()),
            "leave out --resume, or write stores with --format ome-zarr",
        ));
    }
    let predictor = Predictor::read(&model)?;
    let engine = context.engine()?;
    jobs::prepare_folders(&jobs, options.overwrite || options.resume)?;

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
        series: options.series,
        time: options.time,
        overwrite: options.overwrite,
        resume: options.resume,
    };
    let (stores, files): (Vec<_>, Vec<_>) =
        jobs.iter().enumerate().partition(|(_, job)| store::is_store(job));
    let mut told = |at: usize, part: f64| tell(files[at].0, part);
    let of_files: Vec<Job> = files.iter().map(|(_, job)| (*job).clone()).collect();
    conveyor::stain_all(&of_files, &stainer, &mut told)?;
    for (index, job) in stores {
        store::stain(job, &stainer, &mut |part| tell(index, part))?;
    }
    drop(progress);
    let outputs = jobs.iter().map(|job| format!("{}\n", job.output.display()));
    context.print(&outputs.collect::<String>())
}

/// The jobs with outputs whose names say how they are written.
fn named(mut jobs: Vec<Job>, format: Option<OutputFormat>) -> Vec<Job> {
    if format == Some(OutputFormat::OmeZarr) {
        for job in jobs.iter_mut().filter(|job| !store::is_store(job)) {
            let name = job.output.to_string_lossy().into_owned();
            let stem = name.strip_suffix(".ome.tif").unwrap_or(&name);
            job.output = PathBuf::from(format!("{stem}.ome.zarr"));
        }
    }
    jobs
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
    series: usize,
    time: Option<usize>,
    overwrite: bool,
    resume: bool,
}
