//! Training: patches through the network, loss, gradient, Adam, over and over.
//!
//! While the engine computes one iteration, a second thread copies the patches of the
//! next. Nothing depends on the number of threads or on where a run was interrupted: the
//! same recipe and data give the same weights to the bit.
//!
//! References:
//! - C. Ounkomol et al. (2018): batches of 24 patches of 32 × 64 × 64 voxels, Adam.
//! - A. A. Kalinin et al. (2025), section 2 and appendix A.4.

mod checkpoint;
mod recipe;
mod validate;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::scope;
use std::time::Instant;

use spotlight_engine::{Adam, Engine, Tensor};

use crate::error::Error;
use crate::fnet::Fnet;
use crate::loss::LossTerms;
use crate::model_file::{Model, ModelManifest, Ranges};
use crate::prepare::{Pairs, PreparedPair, prepare_all};
use crate::sample::{Batch, Sampler};

pub use recipe::{Recipe, TrainOptions};

use checkpoint::Identity;
use validate::Validation;

/// Prepared pairs to learn from and, possibly none, to validate on.
#[derive(Clone, Debug, Default)]
pub struct TrainingData {
    /// Pairs that patches are drawn from.
    pub train: Vec<PreparedPair>,
    /// Pairs that choose the best model; the network never learns from them.
    pub validate: Vec<PreparedPair>,
}

/// Where a run keeps its state, and how it is interrupted.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The checkpoint file; without one the run cannot be resumed.
    pub checkpoint: Option<&'a Path>,
    /// Whether to go on from the checkpoint.
    pub resume: bool,
    /// Once true, the run ends after the current iteration, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// What happened in one iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Iterations done, this one included.
    pub iteration: u64,
    /// Iterations that the recipe asks for.
    pub iterations: u64,
    /// Loss of the batch, before the step.
    pub loss: LossTerms,
    /// Voxels learnt from in a second.
    pub voxels_per_s: f64,
    /// Loss on the validation patches, where this iteration ended with one.
    pub validation: Option<LossTerms>,
    /// Whether that validation was the best so far.
    pub is_best: bool,
    /// Whether a checkpoint of this iteration was written.
    pub has_checkpoint: bool,
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The network after the last iteration.
    pub last: Fnet,
    /// The network with the least validation loss, where there was a validation.
    pub best: Option<Best>,
    /// Iterations done.
    pub iteration: u64,
    /// Whether it ended early because it was told to stop.
    pub stopped: bool,
}

/// The network with the least validation loss so far.
#[derive(Clone, Debug)]
pub struct Best {
    /// The network.
    pub network: Fnet,
    /// Its loss on the validation patches.
    pub validation: f64,
    /// The iteration it was validated after.
    pub iteration: u64,
}

impl Trained {
    /// The network to use: the best, or the last where none was validated.
    #[must_use]
    pub fn network(&self) -> &Fnet {
        self.best.as_ref().map_or(&self.last, |best| &best.network)
    }

    /// That network with all that prediction needs. What only the caller knows of the
    /// files, their channels and digests, is left empty.
    #[must_use]
    pub fn model(&self, recipe: &Recipe, data: &TrainingData) -> Model {
        let recipe = recipe.clone().with_defaults_of_loss();
        let network = self.network().clone();
        let manifest = ModelManifest {
            network: network.options,
            prepare: recipe.prepare.clone(),
            loss: recipe.loss.clone(),
            output_clip_min: recipe.output_clip_min(),
            ranges: Some(data.ranges()),
            seed: Some(recipe.train.seed),
            iteration: Some(self.best.as_ref().map_or(self.iteration, |best| best.iteration)),
            recipe: recipe.to_json(),
            ..ModelManifest::default()
        };
        Model { manifest, network }
    }
}

impl TrainingData {
    /// Least and greatest intensity of all targets that patches are drawn from.
    #[must_use]
    pub fn ranges(&self) -> Ranges {
        let empty = (f64::INFINITY, f64::NEG_INFINITY);
        let widen = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
        let facts = || self.train.iter().map(|pair| &pair.facts);
        let raw = facts().map(|facts| facts.raw_range).fold(empty, widen);
        let standardised = facts().map(|facts| facts.prepared_range).fold(empty, widen);
        Ranges {
            raw_min: raw.0,
            raw_max: raw.1,
            standardised_min: standardised.0,
            standardised_max: standardised.1,
        }
    }

    /// Loads and prepares all pairs, telling after each how many of how many are done.
    ///
    /// # Errors
    ///
    /// Those of [`prepare_all`].
    pub fn prepare(
        train: &dyn Pairs,
        validate: &dyn Pairs,
        recipe: &Recipe,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, Error> {
        let total = train.len() + validate.len();
        let options = &recipe.clone().with_defaults_of_loss().prepare;
        let first = prepare_all(train, options, &mut |done| progress(done, total))?;
        let mut second = |done: usize| progress(first.len() + done, total);
        let validate = prepare_all(validate, options, &mut second)?;
        Ok(Self { train: first, validate })
    }
}

/// All that changes from one iteration to the next.
struct State {
    network: Fnet,
    /// Adam's running mean of the gradients and of their squares.
    moments: [Vec<f32>; 2],
    iteration: u64,
    best: Option<Best>,
}

impl State {
    fn new(recipe: &Recipe) -> Self {
        let network = Fnet::new(&recipe.network, recipe.train.seed);
        let zeros = vec![0.0; network.parameters.len()];
        Self { network, moments: [zeros.clone(), zeros], iteration: 0, best: None }
    }
}

/// Trains a network by a recipe, or goes on where a checkpoint stopped.
///
/// After every iteration `observe` learns of it. The first weights and all patches follow
/// from the seed of the recipe.
///
/// # Errors
///
/// If the recipe or the data do not fit together, the loss is no longer finite, the
/// checkpoint is of another recipe or other data, or it cannot be read or written.
///
/// # Examples
///
/// A network that learns to be the identity, for two iterations:
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use spotlight_engine::{Engine, EngineOptions};
/// use spotlight_image::Volume;
/// use spotlight_learn::prepare::{RawPair, prepare};
/// use spotlight_learn::train::{Recipe, Run, TrainingData, train};
///
/// let mut recipe = Recipe::default();
/// (recipe.network.width, recipe.network.depth) = (2, 1);
/// (recipe.train.batch, recipe.train.iterations) = (1, 2);
/// recipe.sample.patch = [8, 8, 8];
///
/// let stack = Volume::from_fn([8, 16, 16], |[z, y, x]| ((z + y) * x % 9) as f32);
/// let (signal, name) = (stack.clone(), "stripes".to_owned());
/// let spacing_um = Some([0.29; 3]);
/// let pair = RawPair { signal, target: stack, target_is_integer: true, spacing_um, name };
/// let pair = prepare(&pair, &recipe.prepare)?;
/// let data = TrainingData { train: vec![pair], ..TrainingData::default() };
///
/// let stop = AtomicBool::new(false);
/// let run = Run { checkpoint: None, resume: false, stop: &stop };
/// let mut losses = Vec::new();
/// let engine = Engine::new(&EngineOptions::default())?;
/// let trained =
///     train(&data, &recipe, &engine, &run, &mut |progress| losses.push(progress.loss.total))?;
/// assert_eq!((trained.iteration, losses.len()), (2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::missing_panics_doc, reason = "one batch is sent for every iteration")]
pub fn train(
    data: &TrainingData,
    recipe: &Recipe,
    engine: &Engine,
    run: &Run<'_>,
    observe: &mut dyn FnMut(&Progress),
) -> Result<Trained, Error> {
    let recipe = &recipe.clone().resolve()?;
    let options = &recipe.train;
    let sampler = Sampler::new(&data.train, &recipe.sample, options.seed)?;
    let validation = Validation::new(&data.validate, recipe)?;
    let identity = Identity::new(recipe, data);
    let mut state = match run.checkpoint {
        Some(path) if run.resume => checkpoint::read(path, &identity, recipe)?,
        _ => State::new(recipe),
    };
    let mut gradient = vec![0.0; state.network.parameters.len()];
    let voxels = (options.batch * recipe.sample.patch.iter().product::<usize>()) as f64;

    scope(|threads| {
        let (sender, batches) = sync_channel(1);
        let remaining = state.iteration..options.iterations;
        threads.spawn(move || {
            for iteration in remaining {
                let batch = sampler.batch(iteration, options.batch);
                if sender.send(batch).is_err() {
                    return; // the run has ended
                }
            }
        });
        let mut stopped = false;
        while state.iteration < options.iterations && !stopped {
            let started = Instant::now();
            let batch = batches.recv().expect("one batch is sent for every iteration")?;
            let loss = step(&mut state, &batch, &mut gradient, recipe, engine)?;
            let voxels_per_s = voxels / started.elapsed().as_secs_f64();

            stopped = run.stop.load(Ordering::Relaxed);
            let ends = stopped || state.iteration == options.iterations;
            let is_due = |every: u64| every > 0 && state.iteration.is_multiple_of(every);
            let validates = is_due(options.validate_every)
                || (state.iteration == options.iterations && options.validate_every > 0);
            let writes = is_due(options.checkpoint_every) || ends;
            let validation = validation.as_ref().filter(|_| validates);
            let validation = validation.map(|patches| patches.loss(&state.network, recipe, engine));
            let is_best = validation.is_some_and(|loss| keep_best(&mut state, loss.total));
            let path = run.checkpoint.filter(|_| writes);
            path.map(|path| checkpoint::write(path, &state, &identity)).transpose()?;
            observe(&Progress {
                iteration: state.iteration,
                iterations: options.iterations,
                loss,
                voxels_per_s,
                validation,
                is_best,
                has_checkpoint: path.is_some(),
            });
        }
        let State { network, iteration, best, .. } = state;
        Ok(Trained { last: network, best, iteration, stopped })
    })
}

/// One iteration: forward, loss, backward, Adam.
fn step(
    state: &mut State,
    batch: &Batch,
    gradient: &mut [f32],
    recipe: &Recipe,
    engine: &Engine,
) -> Result<LossTerms, Error> {
    let (samples, shape) = (recipe.train.batch, recipe.sample.patch);
    let input = Tensor::from_planar(samples, 1, shape, &batch.signal);
    let (output, trace) = state.network.forward_train(engine, input);
    let prediction = output.to_planar();
    let mut slope = vec![0.0; prediction.len()];
    let loss = engine.install(|| {
        let (target, mask) = (&batch.target, &batch.mask);
        recipe.loss.value_and_gradient(samples, &prediction, target, mask, &mut slope)
    });
    if !loss.total.is_finite() {
        return Err(Error::Diverged { iteration: state.iteration + 1, loss: loss.total });
    }
    let slope = Tensor::from_planar(samples, 1, shape, &slope);
    state.network.backward(engine, trace, slope, gradient);
    state.iteration += 1;
    let [mean, square] = &mut state.moments;
    let adam = adam(recipe);
    engine.adam(&mut state.network.parameters, gradient, mean, square, &adam, state.iteration);
    Ok(loss)
}

fn adam(recipe: &Recipe) -> Adam {
    let TrainOptions { learning_rate, beta1, beta2, epsilon, .. } = recipe.train;
    Adam { learning_rate, beta1, beta2, epsilon }
}

/// Keeps the network if its validation loss is the least so far.
fn keep_best(state: &mut State, validation: f64) -> bool {
    let is_best = state.best.as_ref().is_none_or(|best| validation < best.validation);
    if is_best {
        let network = state.network.clone();
        state.best = Some(Best { network, validation, iteration: state.iteration });
    }
    is_best
}
