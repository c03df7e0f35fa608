//! The steps of the demo: simulate, train twice, predict, score, draw.
//!
//! These are the commands' own functions on the same files: what the demo does in one go
//! can be repeated with `simulate`, `train`, `predict` and `evaluate`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;
use spotlight_engine::Engine;
use spotlight_image::Shape;
use spotlight_image::simulate::Simulation;
use spotlight_io::manifest::{Manifest, Row, Split};
use spotlight_io::{Selection, atomic, read_stack};
use spotlight_learn::fnet::FnetOptions;
use spotlight_learn::loss::{Loss, SpotlightOptions};
use spotlight_learn::model_file;
use spotlight_learn::predict::{PredictOptions, Predictor};
use spotlight_learn::sample::SampleOptions;
use spotlight_learn::train::{Recipe, Run, TrainOptions, TrainingData, train};

use super::figure;
use crate::cli::evaluate::{Case, Scored, Space, evaluate};
use crate::cli::signals::Stop;
use crate::cli::{predict, simulate, wrong_use};
use crate::pairs::{ManifestPairs, channel_name};
use crate::record::Started;
use crate::scores::NAMES;

/// Sizes of the demo. The default takes about five minutes on two cores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemoOptions {
    /// Seed of the stacks, the first weights and the patches.
    pub seed: u64,
    /// Pairs to simulate; the last quarter is held out.
    pub pairs: usize,
    /// Voxels of each stack along (z, y, x): a field with some ten nuclei.
    pub shape: Shape,
    /// Channels of the networks' first level; the paper has 32.
    pub width: usize,
    /// Times that the networks halve their input; the paper has 4.
    pub depth: usize,
    /// Voxels of each patch along (z, y, x); the paper has 32, 64, 64.
    pub patch: Shape,
    /// Patches in an iteration; the paper has 24.
    pub batch: usize,
    /// Iterations of each training; the paper has 50,000.
    pub iterations: u64,
    /// Weight of the squared error in the Spotlight loss; the paper has 0.5. Of the two terms
    /// only Dice tells background from foreground, and at 0.5 it takes many times the
    /// iterations of a demo to do so.
    pub lambda_mse: f64,
    /// Photons per voxel from the dye of a nucleus, and of the background.
    pub photons: [f64; 2],
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            pairs: 8,
            shape: [32, 160, 160],
            width: 16,
            depth: 3,
            patch: [16, 64, 64],
            batch: 2,
            iterations: 600,
            lambda_mse: 0.05,
            photons: [60.0, 18.0],
        }
    }
}

/// The two ways to train the same network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Mean squared error on mean-centred targets.
    Fnet,
    /// The Spotlight loss on threshold-centred targets.
    Spotlight,
}

impl Model {
    /// How people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Fnet => "F-net",
            Self::Spotlight => "Spotlight",
        }
    }

    /// Its folder in the results.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Fnet => "fnet",
            Self::Spotlight => "spotlight",
        }
    }

    fn loss(self, lambda_mse: f64) -> Loss {
        let spotlight = SpotlightOptions { lambda_mse, ..SpotlightOptions::default() };
        match self {
            Self::Fnet => Loss::Mse,
            Self::Spotlight => Loss::Spotlight(spotlight),
        }
    }
}

/// What the demo found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Scores of each model on each held-out stack.
    pub scores: Vec<(Model, Scored)>,
    /// Number of stacks the models were tested on.
    pub held_out: usize,
    /// Number of stacks the models learnt from.
    pub learnt: usize,
}

/// A model is validated every this many iterations, and the best is kept: with few patches in
/// an iteration, the last one is a matter of luck.
const VALIDATE_EVERY: u64 = 50;

/// Patches that a model is validated on.
const VALIDATION_PATCHES: usize = 16;

/// Memory that scoring may take; the stacks need far less.
const MEMORY_BYTES: u64 = 4 << 30;

const STACKS: &str = "stacks";
const SCORES: &str = "scores.csv";
const MONTAGE: &str = "montage.png";
const RECORD: &str = "record.json";
const OUTPUTS: [&str; 5] = [STACKS, "fnet", "spotlight", SCORES, MONTAGE];

/// The phases of the demo and their share of the time.
#[derive(Clone, Copy, Debug)]
struct Phase {
    name: &'static str,
    begins: f64,
    share: f64,
}

const SIMULATE: Phase = Phase { name: "simulate", begins: 0.0, share: 0.03 };
const TRAIN_FNET: Phase = Phase { name: "F-net", begins: 0.03, share: 0.45 };
const TRAIN_SPOTLIGHT: Phase = Phase { name: "Spotlight", begins: 0.48, share: 0.45 };
const TEST: Phase = Phase { name: "stain and score", begins: 0.93, share: 0.07 };

/// Learns the done part of the whole, from 0 to 1, and what is being done.
type Tell<'a> = &'a mut dyn FnMut(f64, &str);

impl Phase {
    fn tell(self, tell: Tell, part: f64, remark: &str) {
        tell(self.begins + self.share * part, format!("{} {remark}", self.name).trim_end());
    }
}

/// Where and how the demo is run.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The folder of all results.
    pub folder: &'a Path,
    /// Whether results of an earlier demo are replaced.
    pub overwrite: bool,
    /// What the networks are computed with.
    pub engine: &'a Engine,
    /// The request to stop.
    pub stop: &'a Stop,
}

/// The stain of a held-out row.
pub(super) struct Stain<'a> {
    pub(super) model: Model,
    pub(super) row: &'a Row,
    pub(super) path: PathBuf,
}

/// Runs all steps and writes everything into the folder.
///
/// # Errors
///
/// When results are in the way and may not be replaced, a file cannot be written, the
/// settings do not fit together, or a signal asked to stop.
///
/// # Panics
///
/// If there are fewer than two pairs, so that none can be held out.
pub fn study(options: &DemoOptions, setting: Setting, tell: Tell) -> Result<Findings> {
    assert!(options.pairs >= 2, "nothing to hold out");
    let Setting { folder, overwrite, engine, stop } = setting;
    check_free(folder, overwrite)?;
    let started = Started::now();
    let manifest = make_stacks(options, setting, tell)?;
    let [learnt, validated] =
        [Split::Train, Split::Validate].map(|part| manifest.rows_of(part).collect::<Vec<_>>());
    let held_out: Vec<&Row> = manifest.rows_of(Split::Test).collect();

    let mut predictors = Vec::new();
    for (model, phase) in [(Model::Fnet, TRAIN_FNET), (Model::Spotlight, TRAIN_SPOTLIGHT)] {
        let path = folder.join(model.folder()).join("model.safetensors");
        let mut tell = |part: f64, remark: &str| phase.tell(tell, part, remark);
        let rows = [&learnt[..], &validated[..]];
        teach(rows, &recipe(options, model), engine, stop, &mut tell)?.write(&path)?;
        predictors.push((model, Predictor::read(&path)?));
    }

    let (mut stains, mut scores) = (Vec::new(), Vec::new());
    let total = (predictors.len() * held_out.len()) as f64;
    for (model, predictor) in &predictors {
        for row in &held_out {
            TEST.tell(tell, stains.len() as f64 / total, model.title());
            check_stop(stop)?;
            let path = folder.join(model.folder()).join(file_name(&row.signal));
            stain(predictor, row, engine, &path, overwrite)?;
            scores.push((*model, rate(predictor, row, &path)?));
            stains.push(Stain { model: *model, row, path });
        }
    }
    write_scores(&folder.join(SCORES), &scores, overwrite)?;
    figure::write(&folder.join(MONTAGE), held_out[0], &stains, overwrite)?;
    let mut record = started.record(engine);
    record.outputs = OUTPUTS.map(PathBuf::from).to_vec();
    record.details = json!({ "options": options });
    record.write(&folder.join(RECORD), overwrite)?;
    TEST.tell(tell, 1.0, "");
    Ok(Findings { scores, held_out: held_out.len(), learnt: learnt.len() })
}

/// Simulates the pairs.
fn make_stacks(options: &DemoOptions, setting: Setting, tell: Tell) -> Result<Manifest> {
    let [fluorescence_photons, background_photons] = options.photons;
    let simulation = Simulation {
        shape: options.shape,
        seed: options.seed,
        fluorescence_photons,
        background_photons,
        ..Simulation::default()
    };
    let (folder, pairs) = (setting.folder.join(STACKS), options.pairs);
    SIMULATE.tell(tell, 0.0, "");
    let path = simulate::write_pairs(&folder, &simulation, pairs, setting.overwrite, |done| {
        SIMULATE.tell(tell, done as f64 / pairs as f64, "");
    })?;
    check_stop(setting.stop)?;
    Ok(Manifest::read(&path)?)
}

/// The settings of one training: those of the paper, but for the sizes of the demo.
fn recipe(options: &DemoOptions, model: Model) -> Recipe {
    Recipe {
        network: FnetOptions {
            width: options.width,
            depth: options.depth,
            ..FnetOptions::default()
        },
        sample: SampleOptions { patch: options.patch, ..SampleOptions::default() },
        loss: model.loss(options.lambda_mse),
        train: TrainOptions {
            batch: options.batch,
            iterations: options.iterations,
            seed: options.seed,
            validate_every: VALIDATE_EVERY,
            validation_patches: VALIDATION_PATCHES,
            checkpoint_every: 0,
            ..TrainOptions::default()
        },
        ..Recipe::default()
    }
}

/// Trains a model on rows of the manifest, and validates it on others.
fn teach(
    [learnt, validated]: [&[&Row]; 2],
    recipe: &Recipe,
    engine: &Engine,
    stop: &Stop,
    tell: &mut dyn FnMut(f64, &str),
) -> Result<model_file::Model> {
    let recipe = recipe.clone().resolve()?;
    let [train_on, validate_on] =
        [learnt, validated].map(|rows| ManifestPairs { rows: rows.to_vec(), spacing_um: None });
    tell(0.0, "reads stacks");
    let data = TrainingData::prepare(&train_on, &validate_on, &recipe, &mut |_, _| {})?;
    let run = Run { checkpoint: None, resume: false, stop: stop.flag() };
    let trained = train(&data, &recipe, engine, &run, &mut |progress| {
        let (done, all) = (progress.iteration, progress.iterations);
        let loss = progress.loss.total;
        tell(done as f64 / all as f64, &format!("{done}/{all}, loss {loss:.2}"));
    })?;
    check_stop(stop)?;
    let mut model = trained.model(&recipe, &data);
    if let Some(row) = learnt.first() {
        model.manifest.signal_channel = channel_name(&row.signal, None);
        model.manifest.target_channel = channel_name(&row.target, None);
    }
    Ok(model)
}

fn check_stop(stop: &Stop) -> Result<()> {
    stop.interrupted().map_or(Ok(()), |interrupted| Err(interrupted.into()))
}

/// Stains the signal of a row.
fn stain(
    predictor: &Predictor,
    row: &Row,
    engine: &Engine,
    path: &Path,
    overwrite: bool,
) -> Result<()> {
    let name = row.signal.display().to_string();
    let stack = read_stack(&row.signal, &Selection::default())?;
    let (signal, spacing_um) = (stack.to_f32(), stack.spacing_um);
    let options = PredictOptions::default();
    let found =
        predictor.predict(engine, vec![signal], spacing_um, &name, &options, &mut |_, _| {})?;
    predict::write(predictor, found, path, overwrite)
}

/// Scores the stain of a row against its target and its true nuclei.
fn rate(predictor: &Predictor, row: &Row, stain: &Path) -> Result<Scored> {
    let case = Case {
        prediction: stain.to_owned(),
        target: row.target.clone(),
        channel: None,
        mask: row.mask.clone(),
    };
    let scores = evaluate(&case, Space::Model(&predictor.model.manifest), MEMORY_BYTES)?;
    Ok(Scored { name: file_name(stain), scores })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn check_free(folder: &Path, overwrite: bool) -> Result<()> {
    let taken =
        OUTPUTS.iter().chain([&RECORD]).map(|name| folder.join(name)).find(|path| path.exists());
    if let Some(taken) = taken.filter(|_| !overwrite) {
        return Err(wrong_use(
            format!("{} exists already", taken.display()),
            "choose another folder with -o, or add --overwrite to replace it",
        ));
    }
    for model in [Model::Fnet, Model::Spotlight] {
        let folder = folder.join(model.folder());
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("while making the folder {}", folder.display()))?;
    }
    Ok(())
}

fn write_scores(path: &Path, scores: &[(Model, Scored)], overwrite: bool) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["model", "stack"].iter().chain(&NAMES))?;
    for (model, scored) in scores {
        let values = scored.scores.values().map(|value| value.to_string());
        let names = [model.title().to_owned(), scored.name.clone()];
        writer.write_record(names.iter().chain(&values))?;
    }
    let bytes = writer.into_inner().context("while writing the scores")?;
    Ok(atomic::write_bytes(path, &bytes, overwrite)?)
}
