//! Stacks one after the other, the next one read and the last one written meanwhile.
//!
//! ```text
//! one thread        reads       2     3     4     ·
//! this thread       stains      1     2     3     4
//! another thread    writes      ·     1     2     3
//! ```
//!
//! A stack waits with its thread until the next thread takes it. So there are never more than
//! three of them in memory, however many there are to stain.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::Result;
use spotlight_io::{Image, Selection, Voxels};
use spotlight_learn::predict::Prediction;

use spotlight_learn::Error;

use super::Stainer;
use super::output::write_stain;
use crate::cli::failure;
use crate::cli::jobs::Job;
use crate::cli::stacks::missing_spacing;
use crate::record::{Started, input_files};

/// A stack that has been read.
struct Read {
    started: Started,
    /// In the type of the file, which often is smaller than f32.
    voxels: Voxels,
    spacing_um: Option<[f64; 3]>,
}

/// A stack that has been stained.
pub(super) struct Stained {
    pub(super) started: Started,
    pub(super) input_spacing_um: Option<[f64; 3]>,
    pub(super) prediction: Prediction,
    /// How long staining took, reading and writing apart.
    pub(super) seconds: f64,
}

/// Stains all stacks in order; `tell` learns how much of which one is done.
///
/// # Errors
///
/// That of the first stack, in their order, that cannot be read, stained or written. Stains before
/// it are there, whole; after it there is none.
pub(super) fn stain_all(
    jobs: &[Job],
    stainer: &Stainer<'_>,
    tell: &mut dyn FnMut(usize, f64),
) -> Result<()> {
    std::thread::scope(|scope| {
        let (read, stacks) = sync_channel(0);
        let (stained, stains) = sync_channel(0);
        scope.spawn(move || read_all(jobs, stainer, &read));
        let writer = scope.spawn(move || write_all(jobs, stainer, &stains));
        let computed = compute_all(jobs, stainer, &stacks, &stained, tell);
        // Nothing more comes: the reader and the writer end.
        drop((stacks, stained));
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What is written was stained before what failed here.
        written.and(computed)
    })
}

/// Reads stacks until one fails or nobody takes them any more.
fn read_all(jobs: &[Job], stainer: &Stainer<'_>, stacks: &SyncSender<Result<Read>>) {
    for job in jobs {
        let stack = read(job, stainer);
        let is_last = stack.is_err();
        if stacks.send(stack).is_err() || is_last {
            break;
        }
    }
}

/// Stains what comes; ends early where the writer has ended, which knows why.
fn compute_all(
    jobs: &[Job],
    stainer: &Stainer<'_>,
    stacks: &Receiver<Result<Read>>,
    stains: &SyncSender<Stained>,
    tell: &mut dyn FnMut(usize, f64),
) -> Result<()> {
    for (index, job) in jobs.iter().enumerate() {
        tell(index, 0.0);
        let Ok(stack) = stacks.recv() else { break };
        let Read { started, voxels, spacing_um } = stack?;
        let signal = match voxels {
            Voxels::F32(volume) => volume,
            other => other.to_f32(),
        };
        let mut tell = |done: usize, of: usize| tell(index, done as f64 / of.max(1) as f64);
        let (name, before) = (job.input.display().to_string(), Instant::now());
        let Stainer { predictor, engine, settings, .. } = stainer;
        let prediction =
            predictor.predict(engine, vec![signal], spacing_um, &name, settings, &mut tell)?;
        let seconds = before.elapsed().as_secs_f64();
        let stain = Stained { started, input_spacing_um: spacing_um, prediction, seconds };
        if stains.send(stain).is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes stains until one fails or no more come.
fn write_all(jobs: &[Job], stainer: &Stainer<'_>, stains: &Receiver<Stained>) -> Result<()> {
    // Once for all records, while the first stack is read and stained.
    let model = input_files([stainer.model])?;
    jobs.iter().zip(stains).try_for_each(|(job, stain)| write_stain(job, stain, &model, stainer))
}

/// Reads the stack of a job, with its voxel size.
fn read(job: &Job, stainer: &Stainer<'_>) -> Result<Read> {
    let started = Started::now();
    let selection = Selection {
        channel: job.channel.clone(),
        time: stainer.time.unwrap_or(0),
        series: stainer.series,
    };
    let stack = Image::open(&job.input)?.stack(&selection)?;
    if stack.times() > 1 && stainer.time.is_none() {
        return Err(failure(
            format!("{} has {} time points", job.input.display(), stack.times()),
            "write all of them to a store with --format ome-zarr, or choose one with --time",
        ));
    }
    let spacing_um = stainer.spacing_um.or(stack.spacing_um());
    if stainer.predictor.model.manifest.prepare.resample && spacing_um.is_none() {
        return Err(missing_spacing(&job.input));
    }
    // Before it is read: a stack may be larger than all memory.
    let name = job.input.display().to_string();
    let fits = stainer.predictor.check_memory(stack.shape(), spacing_um, &name, stainer.settings);
    fits.map_err(|error| match error {
        Error::Memory { .. } => failure(
            error.to_string(),
            "raise --memory, or stain it box by box into a store with --format ome-zarr",
        ),
        other => other.into(),
    })?;
    Ok(Read { started, voxels: stack.read_whole()?.voxels, spacing_um })
}
