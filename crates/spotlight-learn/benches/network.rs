//! Times F-net as a user runs it: the prediction of patches and of stacks, and steps of training.
//!
//! ```text
//! cargo bench -p spotlight-learn --bench network -- WORK [OPTIONS]
//!
//! inference     patches of 32×64×64 predicted with the running statistics
//! train         a whole step: forward, Spotlight loss, backward, Adam
//! stack         a stack of 64×224×336 predicted as a whole, or with --memory in tiles
//! serve         reads one of the works above with its options a line, which go on top of those
//!               given here, until the input ends; the last work stays warm
//!
//! --batch N     patches in a batch (2)              --width N    channels of the top level (32)
//! --repeats N   measured runs (5; served works 1)   --depth N    times it is halved (4)
//! --memory N    bytes that a stack may take         --threads N  threads (all cores)
//! ```
//!
//! After one run to warm up, each repeat prints a line of JSON: seconds on the wall, seconds that
//! each thread has run on average, the largest resident memory of the process so far, and the
//! multiply-adds a second in registers right before and right after.
#![allow(clippy::print_stdout)]

#[path = "../../spotlight-engine/benches/clock/mod.rs"]
mod clock;

use std::{hint::black_box, io::BufRead, process::ExitCode, time::Instant};

use clock::busy_seconds;
use serde_json::{Value, json};
use spotlight_engine::{Adam, Engine, EngineOptions, Tensor};
use spotlight_image::Volume;
use spotlight_learn::fnet::{Fnet, FnetOptions};
use spotlight_learn::loss::Loss;
use spotlight_learn::model_file::{Model, ModelManifest};
use spotlight_learn::predict::{PredictOptions, Predictor};

/// What training draws, (z, y, x).
const PATCH: [usize; 3] = [32, 64, 64];

/// A stack of the paper's test set at the voxel size of the model, cropped to multiples of 16.
const STACK: [usize; 3] = [64, 224, 336];

/// Rounds of multiply-adds for the peak: some 20 ms with AVX-512.
const PEAK_ROUNDS: usize = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Inference,
    Train,
    Stack,
    Serve,
}

#[derive(Clone, Debug, PartialEq)]
struct Options {
    work: Work,
    batch: usize,
    repeats: usize,
    memory_bytes: Option<u64>,
    network: FnetOptions,
    threads: Option<usize>,
}

/// One run of a work whose data are in memory.
type Run = Box<dyn FnMut(&Engine) -> Result<(), String>>;

/// A work that has run once.
struct Warm {
    options: Options,
    engine: Engine,
    run: Run,
}

fn main() -> ExitCode {
    let mut defaults = Options {
        work: Work::Inference,
        batch: 2,
        repeats: 5,
        memory_bytes: None,
        network: FnetOptions::default(),
        threads: None,
    };
    let outcome = defaults.read(std::env::args().skip(1)).and_then(|()| match defaults.work {
        Work::Serve => serve(&Options { repeats: 1, ..defaults }),
        _ => Warm::new(defaults).and_then(|mut warm| warm.measure()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("{}", json!({ "error": problem }));
            ExitCode::FAILURE
        }
    }
}

/// Answers every line with its measurements or an error.
fn serve(defaults: &Options) -> Result<(), String> {
    let mut kept: Option<Warm> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let served = answer(&line, defaults, kept.take());
        kept = served.inspect_err(|problem| println!("{}", json!({ "error": problem }))).ok();
    }
    Ok(())
}

/// Measures the work of a line, which is warm already if it is the one of the line before.
fn answer(line: &str, defaults: &Options, kept: Option<Warm>) -> Result<Warm, String> {
    let mut options = defaults.clone();
    options.read(line.split_whitespace().map(String::from))?;
    let mut warm = match kept.filter(|warm| warm.options == options) {
        Some(warm) => warm,
        None => Warm::new(options)?,
    };
    warm.measure()?;
    Ok(warm)
}

impl Options {
    /// Reads a work and its options on top of what is there.
    fn read(&mut self, mut words: impl Iterator<Item = String>) -> Result<(), String> {
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next().and_then(|value| value.parse::<usize>().ok());
                let value = value.filter(|value| *value > 0);
                value.ok_or(format!("{word} needs a whole number above 0"))
            };
            match word.as_str() {
                "inference" => self.work = Work::Inference,
                "train" => self.work = Work::Train,
                "stack" => self.work = Work::Stack,
                "serve" => self.work = Work::Serve,
                "--batch" => self.batch = value()?,
                "--repeats" => self.repeats = value()?,
                "--memory" => self.memory_bytes = Some(value()? as u64),
                "--width" => self.network.width = value()?,
                "--depth" => self.network.depth = value()?,
                "--threads" => self.threads = Some(value()?),
                "--bench" => (), // cargo adds it
                _ => return Err(format!("unknown {word}: see the top of benches/network.rs")),
            }
        }
        if self.memory_bytes.is_some() && self.work != Work::Stack {
            return Err("only a stack is predicted within --memory".to_owned());
        }
        Ok(())
    }

    fn run(&self) -> Result<Run, String> {
        match (self.work, self.memory_bytes) {
            (Work::Inference, _) => Ok(prediction(&self.network, self.batch, PATCH)),
            (Work::Train, _) => Ok(training(&self.network, self.batch)),
            (Work::Stack, None) => Ok(prediction(&self.network, 1, STACK)),
            (Work::Stack, Some(bytes)) => Ok(prediction_in_tiles(&self.network, bytes)),
            (Work::Serve, _) => Err("serve is no work that can be served".to_owned()),
        }
    }
}

impl Warm {
    fn new(options: Options) -> Result<Self, String> {
        let threads = EngineOptions { threads: options.threads, ..EngineOptions::default() };
        let engine = Engine::new(&threads).map_err(|error| error.to_string())?;
        let mut run = options.run()?;
        run(&engine)?;
        Ok(Self { options, engine, run })
    }

    /// Prints a line for every repeat.
    fn measure(&mut self) -> Result<(), String> {
        let engine = &self.engine;
        for repeat in 0..self.options.repeats {
            let before = peak_gflops(engine);
            let (start, busy) = (Instant::now(), busy_seconds());
            (self.run)(engine)?;
            let wall_s = start.elapsed().as_secs_f64();
            let busy = busy.zip(busy_seconds()).map(|(before, after)| after - before);
            let measured = json!({
                "wall_s": wall_s,
                "busy_s": busy.map(|busy| busy / engine.threads() as f64),
                "peak_rss_bytes": peak_rss_bytes(),
                "peak_gflops": [before, peak_gflops(engine)],
            });
            println!("{}", self.describe(repeat, measured));
        }
        Ok(())
    }

    /// The measurement together with what was measured.
    fn describe(&self, repeat: usize, mut measured: Value) -> Value {
        let Options { work, batch, memory_bytes, network, .. } = &self.options;
        measured["work"] = format!("{work:?}").to_lowercase().into();
        measured["batch"] = if *work == Work::Stack { 1.into() } else { (*batch).into() };
        measured["memory_bytes"] = (*memory_bytes).into();
        measured["network"] = json!(network);
        measured["threads"] = self.engine.threads().into();
        measured["instruction_set"] = self.engine.instruction_set().to_string().into();
        measured["repeat"] = repeat.into();
        measured["heap_requests"] = spotlight_engine::heap_use().requests.into();
        measured
    }
}

fn prediction(options: &FnetOptions, batch: usize, shape: [usize; 3]) -> Run {
    // One network a work, for as long as the process runs, its weights ready for the kernels.
    let network: &'static Fnet = Box::leak(Box::new(Fnet::new(options, 0)));
    let fixed = network.fixed(true);
    let image = noise(batch * shape.iter().product::<usize>(), 1);
    Box::new(move |engine| {
        let input = Tensor::from_planar(batch, 1, shape, &image);
        black_box(fixed.forward(engine, &input).to_planar());
        Ok(())
    })
}

fn prediction_in_tiles(options: &FnetOptions, memory_bytes: u64) -> Run {
    let network = Fnet::new(options, 0);
    let manifest = ModelManifest { network: network.options, ..ModelManifest::default() };
    let predictor = Predictor { model: Model { manifest, network } };
    let stack = Volume::new(STACK, noise(STACK.iter().product(), 1));
    let options = PredictOptions { memory_bytes, resample: false, ..PredictOptions::default() };
    Box::new(move |engine| {
        let stain =
            predictor.predict(engine, vec![stack.clone()], None, "stack", &options, &mut |_, _| {});
        stain.map(|stain| drop(black_box(stain))).map_err(|error| error.to_string())
    })
}

/// The step of [`spotlight_learn::train`], on one batch again and again.
fn training(options: &FnetOptions, batch: usize) -> Run {
    let mut network = Fnet::new(options, 0);
    let count = network.parameters.len();
    let [mut gradients, mut mean, mut square] = [(); 3].map(|()| vec![0.0; count]);
    let voxels = batch * PATCH.iter().product::<usize>();
    let (signal, target) = (noise(voxels, 1), noise(voxels, 2));
    let mask: Vec<bool> = target.iter().map(|target| *target >= 0.0).collect();
    let (loss, adam) = (Loss::default(), Adam::default());
    let mut step = 0;
    Box::new(move |engine| {
        let input = Tensor::from_planar(batch, 1, PATCH, &signal);
        let (output, trace) = network.forward_train(engine, input);
        let prediction = output.to_planar();
        let mut slope = vec![0.0; prediction.len()];
        let terms = engine
            .install(|| loss.value_and_gradient(batch, &prediction, &target, &mask, &mut slope));
        if !terms.total.is_finite() {
            return Err(format!("the loss is {}", terms.total));
        }
        let slope = Tensor::from_planar(batch, 1, PATCH, &slope);
        network.backward(engine, trace, slope, &mut gradients);
        step += 1;
        engine.adam(&mut network.parameters, &gradients, &mut mean, &mut square, &adam, step);
        Ok(())
    })
}

/// Standardised noise: uniform, of mean 0 and standard deviation 1.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let hash = |i: usize| (i as u32 ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
    let mix = |bits: u32| (bits ^ (bits >> 15)).wrapping_mul(0xc2b2_ae35) >> 8;
    let unit = |i: usize| mix(hash(i)) as f32 / (1 << 24) as f32;
    (0..len).map(|i| (unit(i) - 0.5) * 12.0_f32.sqrt()).collect()
}

/// Billions of operations a second of multiply-adds in registers.
fn peak_gflops(engine: &Engine) -> f64 {
    let start = Instant::now();
    let operations = engine.multiply_adds(PEAK_ROUNDS);
    operations / start.elapsed().as_secs_f64() / 1e9
}

/// The largest resident memory of this process so far (Linux).
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
