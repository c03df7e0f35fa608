//! Stains a stack of any size into an OME-Zarr store, box by box, all its time points.
//!
//! What is written of a store is on the disk and stays there whatever happens: the same command
//! with `--resume` goes on after the last box and ends with the same bytes. That is only so for the
//! same inputs and settings, which are known by a digest in what is kept of an unfinished store and
//! in the record of a finished one.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use spotlight_image::{Region, Shape, Volume};
use spotlight_io::{
    Image, OpenStack, SampleType, Selection, Voxels, ZarrLayout, ZarrOptions, ZarrWriter,
};
use spotlight_learn::Error;
use spotlight_learn::predict::{SignalSource, StainSink};

use super::Stainer;
use super::output::{target_names, write_record};
use crate::cli::failure;
use crate::cli::jobs::Job;
use crate::cli::stacks::missing_spacing;
use crate::record::{InputFile, Started, digest_of, input_files, recorded_digest};

/// Voxels along (z, y, x) that are written at once: small, so that little memory suffices.
const UNIT: Shape = [32, 256, 256];

/// Voxels of a chunk.
const CHUNK: Shape = [16, 128, 128];

/// Whether the result of a job is a store.
pub(super) fn is_store(job: &Job) -> bool {
    job.output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zarr"))
}

/// Stains all time points of a stack; `tell` learns which part is done.
///
/// # Errors
///
/// If the stack cannot be read or stained, or the store cannot be written: what is written of it
/// can be resumed.
pub(super) fn stain(job: &Job, stainer: &Stainer<'_>, tell: &mut dyn FnMut(f64)) -> Result<()> {
    let (started, before) = (Started::now(), Instant::now());
    let first = open(job, stainer, stainer.time.unwrap_or(0))?;
    let spacing_um = stainer.spacing_um.or(first.spacing_um());
    if stainer.predictor.model.manifest.prepare.resample && spacing_um.is_none() {
        return Err(missing_spacing(&job.input));
    }
    let times: Vec<usize> = match stainer.time {
        Some(time) => vec![time],
        None => (0..first.times()).collect(),
    };
    let name = job.input.display().to_string();
    let (predictor, settings) = (stainer.predictor, stainer.settings);
    let grid = predictor.stain_grid(first.shape(), spacing_um, &name, settings)?;
    drop(first);

    let inputs = input_files([stainer.model, job.input.as_path()])?;
    let digest = digest(job, stainer, &inputs, spacing_um);
    let names = target_names(&predictor.model.manifest);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let layout = ZarrLayout {
        times: times.len(),
        ..ZarrLayout::stack(grid.shape, SampleType::F32, &names, grid.spacing_um)
    };
    let Some(writer) = writer(job, stainer, &layout, &digest)? else { return Ok(()) };
    let mut tiles = 0;
    for (index, time) in times.iter().enumerate() {
        let stack = open(job, stainer, *time)?;
        let source = Stack { name: name.clone(), spacing_um, stack };
        let mut sink = Store { writer: &writer, time: index, channels: names.len() };
        let all = times.len() as f64;
        let mut told = |done: usize, of: usize| {
            tell((index as f64 + done as f64 / of.max(1) as f64) / all);
        };
        tiles = predictor
            .predict_boxes(stainer.engine, &source, &mut sink, settings, &mut told)
            .map_err(advised)?;
    }
    // The record comes first, so that a store with its name is known whenever the run ends.
    let details = json!({
        "digest": digest,
        "input_spacing_um": spacing_um,
        "output_spacing_um": grid.spacing_um,
        "times": times,
        "tiles_of_a_box": tiles,
        "prediction_seconds": (before.elapsed().as_secs_f64() * 1e3).round() / 1e3,
    });
    write_record(job, started, inputs, details, stainer)?;
    Ok(writer.finish()?)
}

/// Begins the store of a job or takes up an unfinished one; none where it is finished.
fn writer(
    job: &Job,
    stainer: &Stainer<'_>,
    layout: &ZarrLayout,
    digest: &str,
) -> Result<Option<ZarrWriter>> {
    let options = ZarrOptions {
        chunk: CHUNK,
        unit: Some(UNIT),
        overwrite: stainer.overwrite,
        description: Some(format!("Virtual stain by Spotlight {}", env!("CARGO_PKG_VERSION"))),
        ..ZarrOptions::default()
    };
    if stainer.resume {
        if let Some(unfinished) = ZarrWriter::resume(&job.output, layout, &options, digest)? {
            return Ok(Some(unfinished));
        }
        if job.output.exists() {
            match check_finished(&job.output, digest) {
                Ok(()) => return Ok(None),
                Err(_) if stainer.overwrite => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(ZarrWriter::create(&job.output, layout, &options, digest)?))
}

/// The signal of a job at a time point, none of it read yet.
fn open(job: &Job, stainer: &Stainer<'_>, time: usize) -> Result<OpenStack> {
    let selection = Selection { channel: job.channel.clone(), time, series: stainer.series };
    Ok(Image::open(&job.input)?.stack(&selection)?)
}

/// Stands for all that the bytes of a stain come from.
fn digest(
    job: &Job,
    stainer: &Stainer<'_>,
    inputs: &[InputFile],
    spacing_um: Option<[f64; 3]>,
) -> String {
    let files: Vec<&str> = inputs.iter().map(|file| file.sha256.as_str()).collect();
    let engine = stainer.engine;
    let all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "files": files,
        "channel": job.channel.as_ref().map(ToString::to_string),
        "series": stainer.series,
        "time": stainer.time,
        "spacing_um": spacing_um,
        "settings": stainer.settings,
        "instruction_set": engine.instruction_set().to_string(),
        "precision": engine.precision().to_string(),
    });
    digest_of(&all.to_string())
}

/// A store that is there already is left alone if it was made of the same inputs in the same way.
fn check_finished(output: &Path, digest: &str) -> Result<()> {
    match recorded_digest(output) {
        Some(found) if found == digest => Ok(()),
        found => {
            let why = match found {
                Some(_) => "was made with other inputs or settings",
                None => "exists, and no record says what it was made of",
            };
            Err(failure(
                format!("{} {why}", output.display()),
                "choose another output, or add --overwrite to replace it",
            ))
        }
    }
}

/// The error with what a user can do where the disk or the input went away.
fn advised(error: Error) -> anyhow::Error {
    if matches!(error, Error::Data(_)) {
        failure(
            error.to_string(),
            "what is written so far is kept: the same command with --resume goes on",
        )
    } else {
        error.into()
    }
}

/// A z-stack of a file or a store.
struct Stack {
    name: String,
    spacing_um: Option<[f64; 3]>,
    stack: OpenStack,
}

impl SignalSource for Stack {
    fn name(&self) -> &str {
        &self.name
    }

    fn spacing_um(&self) -> Option<[f64; 3]> {
        self.spacing_um
    }

    fn shape(&self) -> Shape {
        self.stack.shape()
    }

    fn block(&self) -> Shape {
        self.stack.block()
    }

    fn read(&self, region: Region) -> Result<Vec<Volume<f32>>, Error> {
        let voxels = self.stack.read(region).map_err(|error| Error::Data(Box::new(error)))?;
        Ok(vec![match voxels {
            Voxels::F32(volume) => volume,
            other => other.to_f32(),
        }])
    }
}

/// One time point of a store that is being written.
struct Store<'a> {
    writer: &'a ZarrWriter,
    time: usize,
    channels: usize,
}

impl StainSink for Store<'_> {
    fn unit(&self) -> Shape {
        self.writer.unit_shape()
    }

    fn is_done(&self, unit: Region) -> bool {
        (0..self.channels).all(|channel| self.writer.is_done(self.time, channel, unit))
    }

    fn write(&mut self, unit: Region, stain: Vec<Volume<f32>>) -> Result<(), Error> {
        for (channel, volume) in stain.into_iter().enumerate() {
            if !self.writer.is_done(self.time, channel, unit) {
                self.writer
                    .write_unit(self.time, channel, unit, &Voxels::F32(volume))
                    .map_err(|error| Error::Data(Box::new(error)))?;
            }
        }
        Ok(())
    }
}
