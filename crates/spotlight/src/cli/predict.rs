//! `spotlight predict`: stains transmitted-light stacks with a trained model.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use spotlight_engine::Engine;
use spotlight_io::atomic::AtomicFile;
use spotlight_io::manifest::Split;
use spotlight_io::{
    Channel, OutputChannel, Selection, Stack, Voxels, WriteOptions, atomic, read_stack,
    write_ome_tiff,
};
use spotlight_learn::predict::{OutputGrid, PredictOptions, Prediction, Predictor};

use crate::cli::{Context, failure, values, wrong_use};
use crate::progress::Progress;
use crate::record::{Started, input_files};

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
    #[arg(long, value_name = "SPLIT", requires = "manifest")]
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
    /// Memory that one stack may take; larger ones are stained in tiles
    #[arg(long, value_name = "AMOUNT", default_value = "4GiB", value_parser = values::bytes)]
    pub memory: u64,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// One stack to stain.
#[derive(Clone, Debug, PartialEq)]
struct Job {
    input: PathBuf,
    channel: Option<Channel>,
    output: PathBuf,
}

/// Runs `spotlight predict`.
///
/// # Errors
///
/// When the model or an input cannot be used, or an output is in the way or cannot be
/// written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let model = values::model_path(&options.model);
    let jobs = plan(options)?;
    let predictor = Predictor::read(&model)?;
    let engine = context.engine()?;
    prepare_folders(&jobs, options.overwrite)?;

    const STEPS: u64 = 1000;
    let mut progress = Progress::new(context, "predict", STEPS * jobs.len() as u64);
    let mut written = String::new();
    for (index, job) in jobs.iter().enumerate() {
        let before = STEPS * index as u64;
        let name = job.input.display().to_string();
        progress.set(before, &name);
        let mut tell = |done: usize, of: usize| {
            progress.set(before + STEPS * done as u64 / of.max(1) as u64, &name);
        };
        stain(job, &predictor, &engine, &model, options, &mut tell)?;
        written.push_str(&format!("{}\n", job.output.display()));
    }
    drop(progress);
    context.print(&written)
}

/// Stains one stack; writes it, and beside it its record.
fn stain(
    job: &Job,
    predictor: &Predictor,
    engine: &Engine,
    model: &Path,
    options: &Options,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let started = Started::now();
    let settings = PredictOptions {
        memory_bytes: options.memory,
        grid: if options.keep_model_spacing { OutputGrid::Model } else { OutputGrid::Input },
        ..PredictOptions::default()
    };
    let needs_spacing = predictor.model.manifest.prepare.resample;
    let stack = read_input(job, options.spacing, needs_spacing)?;
    let name = job.input.display().to_string();
    let signal = stack.to_f32();
    let found = predictor.predict(engine, &signal, stack.spacing_um, &name, &settings, tell)?;
    write(predictor, &found, &job.output, options.overwrite)?;

    let mut record = started.record(engine);
    record.inputs = input_files([model, job.input.as_path()])?;
    record.outputs = job.output.file_name().map(PathBuf::from).into_iter().collect();
    record.details = json!({
        "channel": job.channel.as_ref().map(ToString::to_string),
        "input_spacing_um": stack.spacing_um,
        "output_spacing_um": found.spacing_um,
        "tiles": found.tiles,
        "options": settings,
    });
    let text = serde_json::to_vec_pretty(&record).context("while writing the record")?;
    Ok(atomic::write_bytes(&record_path(&job.output), &text, true)?)
}

/// What is read and where it is written.
fn plan(options: &Options) -> Result<Vec<Job>> {
    let inputs: Vec<(PathBuf, Option<Channel>)> = match &options.manifest {
        Some(manifest) => {
            let rows = values::rows(manifest, options.split)?.into_iter();
            rows.map(|row| (row.signal, row.channel_signal)).collect()
        }
        None => {
            let files = values::files(&options.inputs)?;
            files.into_iter().map(|file| (file, options.channel.clone())).collect()
        }
    };
    let out = &options.output;
    let name = out.to_string_lossy().to_lowercase();
    let is_file = inputs.len() == 1
        && !out.is_dir()
        && [".tif", ".tiff"].iter().any(|ending| name.ends_with(ending));
    let jobs: Vec<Job> = inputs
        .into_iter()
        .map(|(input, channel)| {
            let output = if is_file { out.clone() } else { out.join(output_name(&input)) };
            Job { input, channel, output }
        })
        .collect();
    check(&jobs, options.overwrite)?;
    Ok(jobs)
}

/// The name of the stain of an input in a folder: its own, with the ending `.ome.tif`.
#[must_use]
pub fn output_name(input: &Path) -> String {
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = name.to_lowercase();
    let endings = [".ome.tiff", ".ome.tif", ".tiff", ".tif"];
    let ending = endings.iter().find(|ending| lower.ends_with(*ending)).map_or(0, |e| e.len());
    // The endings are ASCII, so they have the same length in both spellings.
    format!("{}.ome.tif", &name[..name.len() - ending])
}

/// Refuses outputs that exist, that are inputs, or that two inputs share.
fn check(jobs: &[Job], overwrite: bool) -> Result<()> {
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    };
    for (index, job) in jobs.iter().enumerate() {
        let output = job.output.display();
        if let Some(other) = jobs[..index].iter().find(|other| other.output == job.output) {
            let (one, two) = (other.input.display(), job.input.display());
            return Err(wrong_use(
                format!("{one} and {two} would both be written to {output}"),
                "stain them one by one, or rename one of them",
            ));
        }
        if jobs.iter().any(|other| same(&other.input, &job.output)) {
            return Err(wrong_use(
                format!("{output} would replace an input"),
                "choose another folder for the output",
            ));
        }
        if !overwrite && job.output.exists() {
            return Err(wrong_use(
                format!("{output} exists already"),
                "choose another output, or add --overwrite to replace it",
            ));
        }
    }
    Ok(())
}

/// Makes the folders of the outputs and makes sure that files can be written there,
/// before any time is spent.
fn prepare_folders(jobs: &[Job], overwrite: bool) -> Result<()> {
    for job in jobs {
        let folder = job.output.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                failure(
                    format!("cannot make the folder {}: {error}", folder.display()),
                    "choose another output folder",
                )
            })?;
        }
    }
    if let Some(job) = jobs.first() {
        // Dropped at once: leaves nothing behind.
        AtomicFile::create(&job.output, overwrite)?;
    }
    Ok(())
}

/// Reads the stack of a job, with its voxel size.
fn read_input(job: &Job, spacing_um: Option<[f64; 3]>, is_needed: bool) -> Result<Stack> {
    let selection = Selection { channel: job.channel.clone(), ..Selection::default() };
    let mut stack = read_stack(&job.input, &selection)?;
    stack.spacing_um = spacing_um.or(stack.spacing_um);
    if is_needed && stack.spacing_um.is_none() {
        return Err(missing_spacing(&job.input));
    }
    Ok(stack)
}

/// The error of a file that gives no voxel size.
#[must_use]
pub fn missing_spacing(path: &Path) -> anyhow::Error {
    failure(
        format!("{} gives no voxel size", path.display()),
        "give it in µm with --spacing z,y,x, such as --spacing 0.29,0.108,0.108",
    )
}

/// Writes a prediction as OME-TIFF, with a note on the model that made it.
///
/// # Errors
///
/// When the file is in the way or cannot be written.
pub fn write(
    predictor: &Predictor,
    prediction: &Prediction,
    path: &Path,
    overwrite: bool,
) -> Result<()> {
    let manifest = &predictor.model.manifest;
    let voxels = Voxels::F32(prediction.volume.clone());
    let name = manifest.target_channel.as_deref().unwrap_or("Virtual stain");
    let channel = OutputChannel { name, voxels: &voxels };
    let description = format!("Virtual stain by Spotlight {}", env!("CARGO_PKG_VERSION"));
    let options =
        WriteOptions { overwrite, description: Some(description), ..WriteOptions::default() };
    write_ome_tiff(path, &[channel], prediction.spacing_um, &options)?;
    Ok(())
}

/// Where the record of an output lies: beside it, `a.ome.tif` and `a.ome.json`.
fn record_path(output: &Path) -> PathBuf {
    output.with_extension("json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(input: &str, output: &str) {
        assert_eq!(output_name(Path::new(input)), output);
    }

    #[test]
    fn outputs_are_named_after_their_inputs() {
        check_name("plate/a.tif", "a.ome.tif");
        check_name("a.OME.TIFF", "a.ome.tif");
        check_name("a.b.TIF", "a.b.ome.tif");
        check_name("a.stk", "a.stk.ome.tif");
    }

    fn job(input: &str, output: &str) -> Job {
        Job { input: input.into(), channel: None, output: output.into() }
    }

    #[test]
    fn no_two_inputs_share_an_output_and_no_input_is_replaced() {
        let shared = [job("x/a.tif", "o/a.ome.tif"), job("y/a.tif", "o/a.ome.tif")];
        let message = check(&shared, true).unwrap_err().to_string();
        assert!(message.contains("x/a.tif and y/a.tif"), "{message}");
        let message = check(&[job("a.ome.tif", "a.ome.tif")], true).unwrap_err().to_string();
        assert!(message.contains("replace an input"), "{message}");
        assert!(check(&[job("a.tif", "o/a.ome.tif"), job("b.tif", "o/b.ome.tif")], false).is_ok());
    }
}
