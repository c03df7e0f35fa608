//! What is written of a stack: the stain, and beside it its record.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;
use spotlight_io::{OutputChannel, Voxels, WriteOptions, write_ome_tiff};
use spotlight_learn::model_file::ModelManifest;
use spotlight_learn::predict::{Prediction, Predictor};

use super::Stainer;
use super::conveyor::Stained;
use crate::cli::jobs::Job;
use crate::record::{InputFile, Started, input_files, peak_memory_bytes, record_path};

/// Writes a stain and its record; `model` is the file of the model as the record names it.
pub(super) fn write_stain(
    job: &Job,
    stained: Stained,
    model: &[InputFile],
    stainer: &Stainer<'_>,
) -> Result<()> {
    let Stained { started, input_spacing_um, prediction, seconds } = stained;
    let (tiles, output_spacing_um) = (prediction.tiles, prediction.spacing_um);
    write(stainer.predictor, prediction, &job.output, stainer.overwrite)?;

    let inputs = [model, &input_files([job.input.as_path()])?].concat();
    let details = json!({
        "input_spacing_um": input_spacing_um,
        "output_spacing_um": output_spacing_um,
        "tiles": tiles,
        "prediction_seconds": (seconds * 1e3).round() / 1e3,
    });
    write_record(job, started, inputs, details, stainer)
}

/// Writes the record of a stain; `details` are what is particular to how it was made.
pub(super) fn write_record(
    job: &Job,
    started: Started,
    inputs: Vec<InputFile>,
    mut details: serde_json::Value,
    stainer: &Stainer<'_>,
) -> Result<()> {
    let mut record = started.record(stainer.engine);
    record.inputs = inputs;
    record.outputs = job.output.file_name().map(PathBuf::from).into_iter().collect();
    details["channel"] = json!(job.channel.as_ref().map(ToString::to_string));
    details["series"] = json!(stainer.series);
    details["time"] = json!(stainer.time);
    details["peak_memory_bytes"] = json!(peak_memory_bytes());
    details["options"] = json!(stainer.settings);
    record.details = details;
    record.write(&record_path(&job.output), true)
}

/// Writes a prediction as OME-TIFF, with a note on the model that made it.
///
/// # Errors
///
/// When the file is in the way or cannot be written.
pub fn write(
    predictor: &Predictor,
    prediction: Prediction,
    path: &Path,
    overwrite: bool,
) -> Result<()> {
    let manifest = &predictor.model.manifest;
    let voxels: Vec<Voxels> = prediction.channels.into_iter().map(Voxels::F32).collect();
    let names = target_names(manifest);
    let channels: Vec<OutputChannel<'_>> =
        names.iter().zip(&voxels).map(|(name, voxels)| OutputChannel { name, voxels }).collect();
    let description = format!("Virtual stain by Spotlight {}", env!("CARGO_PKG_VERSION"));
    let options =
        WriteOptions { overwrite, description: Some(description), ..WriteOptions::default() };
    write_ome_tiff(path, &channels, prediction.spacing_um, &options)?;
    Ok(())
}

/// The names of a model's targets.
pub(super) fn target_names(manifest: &ModelManifest) -> Vec<String> {
    vec![manifest.target_channel.clone().unwrap_or_else(|| "Virtual stain".to_owned())]
}
