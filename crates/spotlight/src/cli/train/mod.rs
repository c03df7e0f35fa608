//! `spotlight train`: trains a network on pairs of stacks.
//!
//! | file of the run | holds |
//! |---|---|
//! | `model.safetensors` | the trained network and all that prediction needs |
//! | `checkpoint.safetensors` | the state that `--resume` goes on from |
//! | `log.csv`, `events.out.tfevents.*` | the losses of every iteration |
//! | `recipe.toml` | every setting |
//! | `split.csv` | the manifest, with the part that each pair has |
//! | `record.json` | program, command line, inputs with hashes, times |

mod journal;
mod log;
mod memory;
mod options;
mod result;
mod run_folder;

use std::path::Path;

use anyhow::Result;
use spotlight_engine::Engine;
use spotlight_io::manifest::{Fractions, Manifest, Split, paper_split, seeded_split};
use spotlight_learn::Error;
use spotlight_learn::train::{Run, Trained, TrainingData, train};

pub use options::{Flags, Options};

use crate::cli::{Context, failure, wrong_use};
use crate::pairs::ManifestPairs;
use crate::progress::{Progress, duration};
use crate::recipe::{RunRecipe, SplitOptions, read_settings};
use crate::record::Started;
use crate::table::count;
use journal::Journal;
use log::Line;
use result::{Done, write_split};
use run_folder::{CHECKPOINT, MODEL, RECIPE, RunFolder, SPLIT};

/// The paper's part of the pairs to learn from, and the seed of its split.
const PAPER: (f64, u32) = (0.75, 42);

/// Runs `spotlight train`.
///
/// # Errors
///
/// When the recipe, the manifest or a stack is wrong, the run may not be written, training
/// diverges or a signal stops it.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let started = Started::now();
    let folder = RunFolder::check(options)?;
    let recipe = recipe(options, &folder)?;
    memory::check(&recipe.method)?;
    let mut manifest = Manifest::read(&options.manifest)?;
    divide(&mut manifest, &recipe.split)?;
    manifest.check_files()?;
    if options.resume && !folder.goes_on() {
        context.say("no checkpoint was written yet: starting from the first iteration");
    }
    let engine = context.engine()?;
    let data = engine.install(|| prepare(&manifest, &recipe, context))?;
    introduce(&data, &recipe, context);

    let preface = || {
        let text = format!("{HEAD}{}", recipe.to_toml()?);
        spotlight_io::atomic::write_bytes(&folder.file(RECIPE), text.as_bytes(), true)?;
        write_split(&folder.file(SPLIT), &manifest)
    };
    folder.create()?;
    let mut journal = Journal::new(context, &folder, &preface);
    let trained = learn(&data, &recipe, &engine, &folder, context, &mut journal);
    let last = journal.close();
    // The log of a run that has diverged shows how; all else that fails tells by its error.
    let diverged = matches!(trained, Err(Error::Diverged { .. }));
    if (trained.is_err() || last.is_err()) && !diverged {
        folder.remove_beginnings();
    }
    let last = last?;
    let trained = trained.map_err(|error| blame(error, &recipe))?;
    if trained.stopped {
        return Err(stopped(&trained, &recipe, options, context));
    }
    let recipe = &recipe;
    let (data, trained) = (&data, &trained);
    let done = Done { recipe, manifest: &manifest, data, trained, last, engine: &engine, started };
    done.write(&folder)?;
    conclude(&done, &folder.file(MODEL), context);
    Ok(())
}

/// First lines of the recipe of a run.
const HEAD: &str = "\
# Every setting of this run. To repeat it: spotlight train MANIFEST.csv -o RUN -c recipe.toml

";

/// The settings of the file, then of the flags. A run that goes on has its own recipe.
fn recipe(options: &Options, folder: &RunFolder) -> Result<RunRecipe> {
    let file = match &options.recipe {
        Some(file) => Some(file.clone()),
        None => options.resume.then(|| folder.file(RECIPE)),
    };
    let mut settings = file.map_or_else(|| Ok(Vec::new()), |file| read_settings(&file))?;
    settings.extend(options.settings()?);
    RunRecipe::new(&settings)
}

/// Gives a part to every pair for which the manifest does not say it.
fn divide(manifest: &mut Manifest, options: &SplitOptions) -> Result<()> {
    let open = manifest.rows.iter_mut().filter(|row| row.split.is_none());
    let open: Vec<_> = open.collect();
    let parts = match options {
        SplitOptions::Paper => paper_split(open.len(), PAPER.0, PAPER.1),
        SplitOptions::Seeded(seeded) => {
            let test = (1.0 - seeded.train - seeded.validate).max(0.0);
            // What rounding leaves of 1 - 0.9 - 0.1 is no wish for a test.
            let test = if test < 1e-9 { 0.0 } else { test };
            let fractions = Fractions { train: seeded.train, validate: seeded.validate, test };
            seeded_split(open.len(), fractions, seeded.seed)
        }
    };
    open.into_iter().zip(parts).for_each(|(row, part)| row.split = Some(part));
    if manifest.rows_of(Split::Train).next().is_none() {
        let message = format!("{}: no pair is there to learn from", manifest.path.display());
        return Err(failure(message, "give at least one row the split train"));
    }
    Ok(())
}

/// Reads and prepares all stacks that the run needs.
fn prepare(manifest: &Manifest, recipe: &RunRecipe, context: &Context) -> Result<TrainingData> {
    let pairs = |part| {
        let spacing_um = recipe.data.spacing_um;
        ManifestPairs { rows: manifest.rows_of(part).collect(), spacing_um }
    };
    let (train, validate) = (pairs(Split::Train), pairs(Split::Validate));
    let total = (train.rows.len() + validate.rows.len()) as u64;
    let mut bar = Progress::new(context, "reading stacks", total);
    let mut progress = |done: usize, _: usize| bar.set(done as u64, "");
    let data = TrainingData::prepare(&train, &validate, &recipe.method, &mut progress);
    data.map_err(|error| blame(error, recipe))
}

/// Whether the stacks are at fault or the use that was asked of them, with the flags that help.
fn blame(error: Error, recipe: &RunRecipe) -> anyhow::Error {
    let needs_spacing = recipe.method.prepare.resample && recipe.data.spacing_um.is_none();
    match &error {
        Error::Option { .. } | Error::OtherRecipe { .. } | Error::OtherData { .. } => {
            wrong_use(error.to_string(), "")
        }
        Error::Stack { problem, .. } if needs_spacing && problem.contains("no voxel size") => {
            let hint = "--spacing Z,Y,X gives the voxel size in µm, --no-resample does without";
            failure(error.to_string(), hint)
        }
        _ => error.into(),
    }
}

/// Says what the run will learn from.
fn introduce(data: &TrainingData, recipe: &RunRecipe, context: &Context) {
    let count = |pairs| count(pairs, "pair");
    let train = count(data.train.len());
    let validates = recipe.method.train.validate_every > 0;
    context.say(&match data.validate.len() {
        0 => format!("learning from {train}; there is none to validate on"),
        pairs if validates => format!("learning from {train}, validating on {}", count(pairs)),
        pairs => format!("learning from {train}; {} not used, as validation is off", count(pairs)),
    });
}

/// Trains, with a journal, until the end or a signal.
fn learn(
    data: &TrainingData,
    recipe: &RunRecipe,
    engine: &Engine,
    folder: &RunFolder,
    context: &Context,
    journal: &mut Journal<'_>,
) -> Result<Trained, Error> {
    context.stop.at_next_moment();
    let (checkpoint, stop) = (folder.file(CHECKPOINT), context.stop.flag());
    let run = Run { checkpoint: Some(&checkpoint), resume: folder.goes_on(), stop };
    let mut observe = |iteration: &_| journal.note(iteration, stop);
    train(data, &recipe.method, engine, &run, &mut observe)
}

/// The error of a run that a signal has stopped: how to go on.
fn stopped(
    trained: &Trained,
    recipe: &RunRecipe,
    options: &Options,
    context: &Context,
) -> anyhow::Error {
    let (done, all) = (trained.iteration, recipe.method.train.iterations);
    let again = format!(
        "spotlight train {} -o {} --resume",
        options.manifest.display(),
        options.output.display()
    );
    let hint =
        format!("to go on: {again}; to take the model as it is: {again} --iterations {done}");
    let message = format!("after iteration {done} of {all}, with a checkpoint");
    match context.stop.interrupted() {
        Some(interrupted) => interrupted.after(message, hint),
        None => failure(message, hint),
    }
}

/// Says what the run has come to.
fn conclude(done: &Done<'_>, model: &Path, context: &Context) {
    let time = done.last.as_ref().map(|line: &Line| line.seconds);
    let time = time.map(|s| format!(" in {}", duration(std::time::Duration::from_secs_f64(s))));
    let time = time.unwrap_or_default();
    context.say(&format!("trained {} iterations{time}", done.trained.iteration));
    let model = model.display();
    context.say(&match &done.trained.best {
        Some(best) => format!(
            "wrote {model}, the best: validation loss {:.4} after iteration {}",
            best.validation, best.iteration
        ),
        None => format!("wrote {model}, the last: no pair was there to validate on"),
    });
}
