//! Training on tiny made-up stacks: it learns, it resumes, it does not depend on threads.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use spotlight_engine::{Engine, EngineOptions};
use spotlight_image::{Volume, foreground::OtsuRecipe};
use spotlight_learn::Error;
use spotlight_learn::fnet::FnetOptions;
use spotlight_learn::loss::Loss;
use spotlight_learn::predict::{PredictOptions, Predictor};
use spotlight_learn::prepare::{Pairs, PrepareOptions, RawPair};
use spotlight_learn::sample::SampleOptions;
use spotlight_learn::train::{Progress, Recipe, Run, TrainOptions, Trained, TrainingData, train};

/// Balls that shine, and cast a dark ring with a bright spot in transmitted light.
struct Balls(std::ops::Range<usize>);

impl Pairs for Balls {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&self, index: usize) -> Result<RawPair, Error> {
        let seed = self.0.start + index;
        let centres: Vec<[f32; 3]> = (0..4)
            .map(|ball| {
                let place =
                    |salt: usize| ((seed * 31 + ball * 17 + salt) * 7919 % 97) as f32 / 97.0;
                [6.0 + 6.0 * place(1), 4.0 + 20.0 * place(2), 4.0 + 20.0 * place(3)]
            })
            .collect();
        let distance = |at: [usize; 3]| {
            let to = |centre: &[f32; 3]| {
                (0..3).map(|axis| (at[axis] as f32 - centre[axis]).powi(2)).sum::<f32>().sqrt()
            };
            centres.iter().map(to).fold(f32::INFINITY, f32::min)
        };
        let shape = [18, 28, 28];
        let target = Volume::from_fn(shape, |at| {
            let noise = ((at[0] * 7 + at[1] * 13 + at[2] * 29 + seed) % 11) as f32;
            100.0 + noise + if distance(at) < 4.0 { 400.0 } else { 0.0 }
        });
        let signal = Volume::from_fn(shape, |at| {
            let d = distance(at);
            2000.0 - 300.0 * (-(d - 4.0).powi(2)).exp() + 100.0 * (-d * d / 4.0).exp()
        });
        let name = format!("balls {seed}");
        Ok(RawPair { signal, target, target_is_integer: true, spacing_um: Some([0.29; 3]), name })
    }
}

fn recipe(loss: Loss) -> Recipe {
    let recipe = Recipe {
        network: FnetOptions { width: 4, depth: 2, ..FnetOptions::default() },
        prepare: PrepareOptions { otsu: OtsuRecipe::Plain, ..PrepareOptions::default() },
        sample: SampleOptions { patch: [16, 16, 16], ..SampleOptions::default() },
        loss,
        train: TrainOptions {
            batch: 2,
            iterations: 6,
            seed: 5,
            validate_every: 2,
            validation_patches: 3,
            checkpoint_every: 4,
            ..TrainOptions::default()
        },
    };
    recipe.resolve().unwrap()
}

fn data(recipe: &Recipe) -> TrainingData {
    let mut told = Vec::new();
    let mut progress = |done, total| told.push((done, total));
    let data = TrainingData::prepare(&Balls(0..3), &Balls(3..4), recipe, &mut progress).unwrap();
    assert_eq!(told, [(1, 4), (2, 4), (3, 4), (4, 4)]);
    data
}

fn engine(threads: usize) -> Engine {
    Engine::new(&EngineOptions { threads: Some(threads), ..EngineOptions::default() }).unwrap()
}

/// Trains without interruption and without files.
fn straight(recipe: &Recipe, threads: usize) -> (Trained, Vec<Progress>) {
    let (stop, mut seen) = (AtomicBool::new(false), Vec::new());
    let run = Run { checkpoint: None, resume: false, stop: &stop };
    let observe = &mut |progress: &Progress| seen.push(*progress);
    let trained = train(&data(recipe), recipe, &engine(threads), &run, observe).unwrap();
    (trained, seen)
}

/// Trains with a checkpoint; stops after the iteration that follows `stop_after`.
fn with_checkpoint(
    recipe: &Recipe,
    data: &TrainingData,
    checkpoint: &Path,
    resume: bool,
    stop_after: Option<u64>,
) -> Result<Trained, Error> {
    let stop = AtomicBool::new(false);
    let run = Run { checkpoint: Some(checkpoint), resume, stop: &stop };
    let observe = &mut |progress: &Progress| {
        stop.store(stop_after == Some(progress.iteration), Ordering::Relaxed);
    };
    train(data, recipe, &engine(2), &run, observe)
}

fn bits(trained: &Trained) -> Vec<u32> {
    let best = trained.best.as_ref().unwrap();
    let values = [
        &trained.last.parameters,
        &trained.last.buffers,
        &best.network.parameters,
        &best.network.buffers,
    ];
    let validation = (best.validation.to_bits() >> 32) as u32;
    values
        .iter()
        .flat_map(|values| values.iter().map(|v| v.to_bits()))
        .chain([validation])
        .collect()
}

fn checkpoint(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("checkpoint.safetensors")
}

#[track_caller]
fn check_learns(loss: Loss, factor: f64) {
    let mut recipe = recipe(loss);
    recipe.train.iterations = 40;
    recipe.train.validate_every = 20;
    recipe.train.learning_rate = 3e-3;
    let (_, seen) = straight(&recipe, 2);
    let mean = |part: &[Progress]| part.iter().map(|p| p.loss.total).sum::<f64>() / 10.0;
    let (first, last) = (mean(&seen[..10]), mean(&seen[30..]));
    assert!(last < factor * first, "loss went from {first} to {last}");
    let validations: Vec<f64> =
        seen.iter().filter_map(|p| p.validation.map(|terms| terms.total)).collect();
    assert_eq!(validations.len(), 2);
    assert!(validations[1] < validations[0], "{validations:?}");
    assert!(seen.iter().all(|p| p.voxels_per_s > 0.0 && p.iterations == 40));
}

#[test]
fn the_mean_squared_error_falls() {
    check_learns(Loss::Mse, 0.7);
}

#[test]
fn the_spotlight_loss_falls() {
    check_learns(Loss::default(), 0.7);
}

#[test]
fn threads_change_no_bit() {
    let recipe = recipe(Loss::default());
    let ((one, seen_one), (two, seen_two)) = (straight(&recipe, 1), straight(&recipe, 2));
    assert_eq!(bits(&one), bits(&two));
    for (a, b) in seen_one.iter().zip(&seen_two) {
        assert_eq!((a.loss, a.validation, a.is_best), (b.loss, b.validation, b.is_best));
    }
}

#[test]
fn a_stopped_run_goes_on_bit_for_bit() {
    for loss in [Loss::Mse, Loss::default()] {
        let recipe = recipe(loss);
        let data = data(&recipe);
        let folder = tempfile::tempdir().unwrap();
        let path = checkpoint(&folder);
        let first = with_checkpoint(&recipe, &data, &path, false, Some(2)).unwrap();
        assert_eq!((first.iteration, first.stopped), (3, true));
        let resumed = with_checkpoint(&recipe, &data, &path, true, None).unwrap();
        assert_eq!((resumed.iteration, resumed.stopped), (6, false));
        assert_eq!(bits(&resumed), bits(&straight(&recipe, 2).0));

        // The last checkpoint too, and nothing else, is in the folder.
        let interrupted = std::fs::read(&path).unwrap();
        with_checkpoint(&recipe, &data, &path, false, None).unwrap();
        assert!(interrupted == std::fs::read(&path).unwrap(), "checkpoints differ");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

/// A killed run loses what came after its last checkpoint, and does it again.
#[test]
fn a_killed_run_goes_on_bit_for_bit() {
    let recipe = recipe(Loss::default());
    let data = data(&recipe);
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (checkpoint(&folder), folder.path().join("copy.safetensors"));
    let stop = AtomicBool::new(false);
    let run = Run { checkpoint: Some(&path), resume: false, stop: &stop };
    let observe = &mut |progress: &Progress| {
        assert_eq!(progress.has_checkpoint, [4, 6].contains(&progress.iteration));
        if progress.iteration == 4 {
            std::fs::copy(&path, &copy).unwrap();
        }
    };
    let whole = train(&data, &recipe, &engine(1), &run, observe).unwrap();
    let resumed = with_checkpoint(&recipe, &data, &copy, true, None).unwrap();
    assert_eq!(bits(&whole), bits(&resumed));
}

#[test]
fn a_finished_run_can_be_made_longer() {
    let mut recipe = recipe(Loss::Mse);
    let data = data(&recipe);
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(&folder);
    with_checkpoint(&recipe, &data, &path, false, None).unwrap();
    recipe.train.iterations = 8;
    let longer = with_checkpoint(&recipe, &data, &path, true, None).unwrap();
    assert_eq!(longer.iteration, 8);
    assert_eq!(bits(&longer), bits(&straight(&recipe, 2).0));
}

#[test]
fn the_best_network_is_kept() {
    let recipe = recipe(Loss::default());
    let (trained, seen) = straight(&recipe, 2);
    let validations = seen.iter().filter_map(|p| Some((p.validation?.total, p.iteration)));
    let least = validations.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let best = trained.best.as_ref().unwrap();
    assert_eq!((best.validation, best.iteration), least);
    let last_best = seen.iter().rev().find(|p| p.is_best).unwrap();
    assert_eq!(last_best.iteration, best.iteration);
    assert_eq!(trained.network().parameters, best.network.parameters);
}

#[test]
fn a_trained_model_stains_by_its_file_alone() {
    for (loss, clip) in [(Loss::default(), Some(0.0)), (Loss::Mse, None)] {
        let recipe = recipe(loss);
        let data = data(&recipe);
        let trained = straight(&recipe, 2).0;
        let model = trained.model(&recipe, &data);
        let manifest = &model.manifest;
        assert_eq!((manifest.output_clip_min, manifest.seed), (clip, Some(5)));
        assert_eq!(manifest.iteration, trained.best.as_ref().map(|best| best.iteration));
        let ranges = manifest.ranges.unwrap();
        assert_eq!((ranges.raw_min, ranges.raw_max), (100.0, 510.0));
        let least = data.train.iter().map(|pair| pair.facts.prepared_range.0);
        assert_eq!(ranges.standardised_min, least.fold(f64::INFINITY, f64::min));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        model.write(&path).unwrap();
        let predictor = Predictor::read(&path).unwrap();
        assert_eq!(&predictor.model.manifest, manifest);
        let (signal, options) = (Balls(7..8).load(0).unwrap().signal, PredictOptions::default());
        let stain = |predictor: &Predictor| {
            let progress = &mut |_, _| {};
            let (signal, spacing_um) = (signal.clone(), Some([0.29; 3]));
            predictor
                .predict(&engine(2), vec![signal], spacing_um, "balls", &options, progress)
                .unwrap()
        };
        let stain_of_file = stain(&predictor);
        assert_eq!(stain_of_file.channels[0], stain(&Predictor { model }).channels[0]);
        let least = stain_of_file.channels[0].voxels.iter().copied().fold(f32::INFINITY, f32::min);
        assert!(clip.is_none() || least >= 0.0, "{least}");
    }
}

#[track_caller]
fn check_refused(result: Result<Trained, Error>, parts: &[&str]) {
    let message = match result {
        Ok(trained) => panic!("trained {} iterations", trained.iteration),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn another_recipe_cannot_resume() {
    let recipe = recipe(Loss::default());
    let data = data(&recipe);
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(&folder);
    with_checkpoint(&recipe, &data, &path, false, None).unwrap();
    let mut other = recipe.clone();
    other.train.learning_rate = 0.5;
    let parts = ["checkpoint.safetensors", "train.learning_rate", "0.001", "0.5"];
    check_refused(with_checkpoint(&other, &data, &path, true, None), &parts);
    let other = Recipe { loss: Loss::Mse, ..recipe.clone() };
    check_refused(
        with_checkpoint(&other, &data, &path, true, None),
        &["loss.kind", "spotlight", "mse"],
    );
    let mut other = recipe.clone();
    other.network.width = 8;
    check_refused(with_checkpoint(&other, &data, &path, true, None), &["network.width", "4", "8"]);
    let fewer = TrainingData { train: data.train[1..].to_vec(), ..data.clone() };
    check_refused(with_checkpoint(&recipe, &fewer, &path, true, None), &["other stacks"]);
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let recipe = recipe(Loss::Mse);
    let data = data(&recipe);
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(&folder);
    let resume = || with_checkpoint(&recipe, &data, &path, true, None);
    check_refused(resume(), &["cannot read", "checkpoint.safetensors"]);
    with_checkpoint(&recipe, &data, &path, false, None).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for part in [&whole[..0], &whole[..7], &whole[..100], &whole[..whole.len() - 1]] {
        std::fs::write(&path, part).unwrap();
        check_refused(resume(), &["checkpoint.safetensors is not a checkpoint"]);
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(resume().unwrap().iteration, 6);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let recipe = recipe(Loss::Mse);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nowhere/checkpoint.safetensors");
    let result = with_checkpoint(&recipe, &data(&recipe), &path, false, None);
    check_refused(result, &["cannot write", "nowhere"]);
}

#[test]
fn training_that_runs_away_ends() {
    let mut recipe = recipe(Loss::Mse);
    recipe.train.validate_every = 0;
    let mut data = data(&recipe);
    data.train.iter_mut().for_each(|pair| pair.target.voxels.fill(3e38));
    let stop = AtomicBool::new(false);
    let run = Run { checkpoint: None, resume: false, stop: &stop };
    let result = train(&data, &recipe, &engine(2), &run, &mut |_| {});
    check_refused(result, &["diverged", "iteration", "learning_rate"]);
}

#[test]
fn a_small_stack_is_named() {
    let mut recipe = recipe(Loss::Mse);
    recipe.sample.patch = [16, 32, 16];
    let stop = AtomicBool::new(false);
    let run = Run { checkpoint: None, resume: false, stop: &stop };
    let result = train(&data(&recipe), &recipe, &engine(1), &run, &mut |_| {});
    check_refused(result, &["balls 0", "[18, 28, 28]", "[16, 32, 16]"]);
}

#[test]
fn settings_out_of_range_are_named() {
    let check = |change: &dyn Fn(&mut Recipe), name: &str| {
        let mut recipe = recipe(Loss::Mse);
        change(&mut recipe);
        let message = recipe.resolve().unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    };
    check(&|recipe| recipe.sample.patch = [16, 16, 18], "sample.patch");
    check(&|recipe| recipe.train.batch = 0, "train.batch");
    check(&|recipe| recipe.train.beta2 = 1.0, "train.beta2");
    check(&|recipe| recipe.train.learning_rate = f64::NAN, "train.learning_rate");
    check(&|recipe| recipe.sample.min_foreground = Some(1.5), "sample.min_foreground");
    check(&|recipe| recipe.prepare.spacing_um[1] = -0.1, "prepare.spacing_um");
}

#[test]
fn the_loss_decides_what_is_left_out() {
    let spotlight = Recipe::default().resolve().unwrap();
    assert_eq!(spotlight.sample.min_foreground, Some(0.001));
    let text = serde_json::to_string(&spotlight).unwrap();
    assert!(text.contains(r#""target_centre":"threshold""#), "{text}");
    assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), spotlight);
    let mse = Recipe { loss: Loss::Mse, ..Recipe::default() }.resolve().unwrap();
    assert_eq!(mse.sample.min_foreground, Some(0.0));
    assert!(serde_json::to_string(&mse).unwrap().contains(r#""target_centre":"mean""#));
}
