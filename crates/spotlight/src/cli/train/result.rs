//! What a run leaves when it is done: the model and the record.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;
use spotlight_engine::Engine;
use spotlight_io::manifest::{Manifest, Split};
use spotlight_learn::loss::Loss;
use spotlight_learn::model_file::{Model, ModelManifest, Ranges};
use spotlight_learn::train::{Trained, TrainingData};

use super::log::Line;
use super::run_folder::{CHECKPOINT, LOG, MODEL, RECIPE, RECORD, RunFolder, SPLIT};
use crate::pairs::{channel_name, files};
use crate::recipe::RunRecipe;
use crate::record::{InputFile, Started, input_files};

/// What is known when a run is done.
pub(super) struct Done<'a> {
    pub(super) recipe: &'a RunRecipe,
    pub(super) manifest: &'a Manifest,
    pub(super) data: &'a TrainingData,
    pub(super) trained: &'a Trained,
    pub(super) last: Option<Line>,
    pub(super) engine: &'a Engine,
    pub(super) started: Started,
}

impl Done<'_> {
    /// Writes the model and the record.
    pub(super) fn write(&self, folder: &RunFolder) -> Result<()> {
        let learnt = self.manifest.rows.iter().filter(|row| row.split != Some(Split::Test));
        let stacks = input_files(files(learnt).iter().map(PathBuf::as_path))?;
        self.model(&stacks)?.write(&folder.file(MODEL))?;
        let record = self.record(stacks)?;
        record.write(&folder.file(RECORD), true)?;
        Ok(())
    }

    /// Iteration after which the model was taken.
    pub(super) fn iteration(&self) -> u64 {
        self.trained.best.as_ref().map_or(self.trained.iteration, |best| best.iteration)
    }

    fn model(&self, stacks: &[InputFile]) -> Result<Model> {
        let method = &self.recipe.method;
        let network = self.trained.network().clone();
        let first = self.manifest.rows_of(Split::Train).next();
        let is_spotlight = matches!(method.loss, Loss::Spotlight(_));
        let manifest = ModelManifest {
            network: network.options,
            prepare: method.prepare.clone(),
            loss: method.loss.clone(),
            // The Spotlight loss asks nothing of the background but that it is not above 0.
            output_clip_min: is_spotlight.then_some(0.0),
            ranges: Some(ranges(self.data)),
            signal_channel: first
                .and_then(|row| channel_name(&row.signal, row.channel_signal.as_ref())),
            target_channel: first
                .and_then(|row| channel_name(&row.target, row.channel_target.as_ref())),
            seed: Some(method.train.seed),
            iteration: Some(self.iteration()),
            inputs_sha256: stacks.iter().map(|file| file.sha256.clone()).collect(),
            recipe: serde_json::to_value(method)?,
            ..ModelManifest::default()
        };
        Ok(Model { manifest, network })
    }

    fn record(&self, stacks: Vec<InputFile>) -> Result<crate::record::Record> {
        let mut record = self.started.record(self.engine);
        record.inputs = input_files([self.manifest.path.as_path()])?;
        record.inputs.extend(stacks);
        record.outputs = [MODEL, CHECKPOINT, LOG, RECIPE, SPLIT].map(PathBuf::from).to_vec();
        let rows = &self.manifest.rows;
        let count = |part| rows.iter().filter(|row| row.split == Some(part)).count();
        let best = self.trained.best.as_ref();
        record.details = json!({
            "pairs": {
                "train": count(Split::Train),
                "validate": count(Split::Validate),
                "test": count(Split::Test),
            },
            "iterations": self.trained.iteration,
            "model_iteration": self.iteration(),
            "model_is": if best.is_some() { "best by validation" } else { "last" },
            "validation_loss": best.map(|best| best.validation),
            "last_loss": self.last.as_ref().map(|line| line.loss),
            "training_seconds": self.last.as_ref().map(|line| line.seconds),
            "seed": self.recipe.method.train.seed,
            "recipe": self.recipe.method,
        });
        Ok(record)
    }
}

/// Intensities of all training targets together.
fn ranges(data: &TrainingData) -> Ranges {
    let widen = |range: fn(&spotlight_learn::prepare::PairFacts) -> (f64, f64)| {
        let each = data.train.iter().map(|pair| range(&pair.facts));
        each.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (least, most)| {
            (low.min(least), high.max(most))
        })
    };
    let (raw_min, raw_max) = widen(|facts| facts.raw_range);
    let (standardised_min, standardised_max) = widen(|facts| facts.prepared_range);
    Ranges { raw_min, raw_max, standardised_min, standardised_max }
}

/// Writes the manifest with the part that each pair has, as a manifest of its own.
pub(super) fn write_split(path: &Path, manifest: &Manifest) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut rows = manifest.rows.clone();
    for row in &mut rows {
        for file in [&mut row.signal, &mut row.target].into_iter().chain(row.mask.as_mut()) {
            *file = relative(file, folder)?;
        }
    }
    Ok(spotlight_io::manifest::write(path, &rows, true)?)
}

/// The path of a file from a folder, so that data and run may be moved together.
fn relative(file: &Path, folder: &Path) -> Result<PathBuf> {
    let whole = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
    };
    // A file that is a link keeps its name; the folders are followed to where they are.
    let home = whole(file.parent().unwrap_or(Path::new(".")))?;
    let folder = whole(folder)?;
    let name = file.file_name().unwrap_or_default();
    let Some(shared) = home.ancestors().find(|part| folder.starts_with(part)) else {
        return Ok(home.join(name)); // on another drive
    };
    let up = folder.strip_prefix(shared)?.components().map(|_| Path::new(".."));
    let down = home.strip_prefix(shared)?;
    Ok(up.collect::<PathBuf>().join(down).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_the_run_to_the_data() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["data/a", "runs/one"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        let check = |file: &str, folder: &str, expected: &str| {
            assert_eq!(relative(&at(file), &at(folder)).unwrap(), Path::new(expected));
        };
        check("data/a/s.tif", "runs/one", "../../data/a/s.tif");
        check("data/a/s.tif", "data", "a/s.tif");
        check("data/s.tif", "data", "s.tif");
    }
}
