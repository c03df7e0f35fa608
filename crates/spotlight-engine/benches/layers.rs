//! The layer table: every 3×3×3 convolution of an F-net, forwards and backwards, beside the
//! multiply-add peak of the same threads in the same run.
//!
//! ```text
//! cargo bench -p spotlight-engine --bench layers -- [OPTIONS]
//!
//! --width N     channels of the top level (32)        --threads N   threads (all cores)
//! --batch N     patches of 32×64×64 in a batch (2)    --repeats N   the table has their median (5)
//! --only A->B   layers from A to B channels alone     --json        a JSON line a repeat, no table
//! --serve       instead: measures one layer for every line `PASS IN OUT BATCH Z Y X` that it
//!               reads, and answers with a JSON line; PASS is forward, data or weights
//! ```
//!
//! Times are those on the wall. GF/s count the operations of the convolution's definition, so an
//! algorithm that needs fewer multiplications may pass the peak. `busy` is how long a thread
//! really ran, as a share of the wall: far below 100 % another program had the core, or the work
//! did not fill the threads.
#![allow(clippy::print_stdout)]

mod clock;

use std::{array::from_fn, fmt, io::BufRead, process::ExitCode, str::FromStr, time::Instant};

use clock::busy_seconds;
use spotlight_engine::{Activation, Engine, EngineOptions, ScaleShift, Tensor};

/// Patch of the top level, (z, y, x), and how often it is halved.
const PATCH: [usize; 3] = [32, 64, 64];
const DEPTH: usize = 4;

/// Seconds a repeat lasts at least: the system counts busy time in steps of some milliseconds.
const REPEAT_S: f64 = 0.1;

/// Rounds of multiply-adds for the peak: some 20 ms with AVX-512.
const PEAK_ROUNDS: usize = 10_000_000;

struct Options {
    width: usize,
    batch: usize,
    threads: Option<usize>,
    repeats: usize,
    only: Option<String>,
    json: bool,
    serve: bool,
}

/// A direction in which a convolution is computed.
#[derive(Clone, Copy)]
enum Pass {
    Forward,
    Data,
    Weights,
}

const PASSES: [Pass; 3] = [Pass::Forward, Pass::Data, Pass::Weights];

/// A convolution by its channels, and the batch it is applied to.
#[derive(Clone, Copy, PartialEq)]
struct Layer {
    inputs: usize,
    out: usize,
    batch: usize,
    shape: [usize; 3],
}

/// A layer with all that it reads and writes.
struct Operands {
    layer: Layer,
    x: Vec<Tensor>,
    on_load: Option<ScaleShift>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    grad: Tensor,
    grad_weights: Vec<f32>,
    grad_bias: Vec<f32>,
}

/// One repeat.
struct Measured {
    wall_s: f64,
    /// Seconds that each thread has run on average, where the system tells.
    busy_s: Option<f64>,
    /// Operations a second of multiply-adds in registers, mean of just before and just after.
    peak: f64,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        width: 32,
        batch: 2,
        threads: None,
        repeats: 5,
        only: None,
        json: false,
        serve: false,
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--width" => options.width = number(&name, &value()?)?,
            "--batch" => options.batch = number(&name, &value()?)?,
            "--threads" => options.threads = Some(number(&name, &value()?)?),
            "--repeats" => options.repeats = number(&name, &value()?)?,
            "--only" => options.only = Some(value()?),
            "--json" => options.json = true,
            "--serve" => options.serve = true,
            "--bench" => (), // cargo adds it
            _ => return Err(format!("unknown option {name}: see the top of benches/layers.rs")),
        }
    }
    Ok(options)
}

fn number(name: &str, value: &str) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or(format!("{name} is {value:?}, it must be a whole number above 0"))
}

fn run(options: &Options) -> Result<(), String> {
    let engine = EngineOptions { threads: options.threads, ..EngineOptions::default() };
    let engine = Engine::new(&engine).map_err(|error| error.to_string())?;
    if options.serve {
        return serve(&engine);
    }
    let layers: Vec<Layer> = layers(options.width, options.batch)
        .into_iter()
        .filter(|layer| options.only.as_ref().is_none_or(|only| layer.channels() == *only))
        .collect();
    if !options.json {
        print_head(&engine, options.repeats);
    }
    for layer in layers {
        let mut operands = Operands::new(layer);
        let mut results: [Vec<Measured>; 3] = Default::default();
        for _ in 0..options.repeats {
            let passes = PASSES.into_iter().zip(&mut results);
            for (pass, results) in passes.filter(|(pass, _)| layer.has(*pass)) {
                let measured = operands.measure(&engine, pass);
                if options.json {
                    println!("{}", json(&engine, layer, pass, &measured));
                }
                results.push(measured);
            }
        }
        if !options.json {
            print_row(layer, &results);
        }
    }
    Ok(())
}

/// Answers every line with its measurement or an error.
fn serve(engine: &Engine) -> Result<(), String> {
    let mut kept: Option<Operands> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        match pass_and_layer(&line) {
            Ok((pass, layer)) => {
                let same = kept.take().filter(|kept| kept.layer == layer);
                let mut operands = same.unwrap_or_else(|| Operands::new(layer));
                println!("{}", json(engine, layer, pass, &operands.measure(engine, pass)));
                kept = Some(operands);
            }
            Err(problem) => println!("{{\"error\": {problem:?}}}"),
        }
    }
    Ok(())
}

fn pass_and_layer(line: &str) -> Result<(Pass, Layer), String> {
    let mut words = line.split_whitespace();
    let pass = words.next().unwrap_or_default().parse()?;
    let sizes: Result<Vec<usize>, String> = words.map(|size| number("a size", size)).collect();
    match sizes?[..] {
        [inputs, out, batch, z, y, x] => Ok((pass, Layer { inputs, out, batch, shape: [z, y, x] })),
        _ => Err(format!("{line:?} is not PASS IN OUT BATCH Z Y X")),
    }
}

/// The 3×3×3 convolutions of an F-net from the top to the bottom, equal ones once.
fn layers(width: usize, batch: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    for level in 0..=DEPTH {
        let (channels, shape) = (width << level, PATCH.map(|side| side >> level));
        let mut push = |inputs, out| layers.push(Layer { inputs, out, batch, shape });
        push(if level == 0 { 1 } else { channels / 2 }, channels);
        push(channels, channels);
        if level < DEPTH {
            push(2 * channels, channels);
        }
        if level == 0 {
            push(channels, 1);
        }
    }
    layers
}

impl Layer {
    fn channels(&self) -> String {
        format!("{}->{}", self.inputs, self.out)
    }

    fn voxels(&self) -> usize {
        self.shape.iter().product()
    }

    fn operations(&self) -> f64 {
        (2 * 27 * self.inputs * self.out * self.batch * self.voxels()) as f64
    }

    /// Whether a network wants it: nobody asks for the gradient by the image.
    fn has(&self, pass: Pass) -> bool {
        self.inputs > 1 || !matches!(pass, Pass::Data)
    }

    /// Channels of each tensor it reads: two where a skip connection joins.
    fn parts(&self) -> Vec<usize> {
        if self.inputs == 2 * self.out { vec![self.out; 2] } else { vec![self.inputs] }
    }
}

impl Operands {
    fn new(layer: Layer) -> Self {
        let Layer { inputs, out, batch, shape } = layer;
        let tensor = |channels: usize| {
            Tensor::from_planar(batch, channels, shape, &numbers(batch * channels * layer.voxels()))
        };
        // The image has no normalisation; every other input has, and is rectified on loading.
        let law =
            |channels: usize| ScaleShift { scale: vec![0.9; channels], shift: vec![0.1; channels] };
        let parts = layer.parts();
        Self {
            layer,
            x: parts.iter().map(|channels| tensor(*channels)).collect(),
            on_load: (inputs > 1).then(|| law(parts[0])),
            weights: numbers(inputs * out * 27),
            bias: numbers(out),
            grad: tensor(out),
            grad_weights: vec![0.0; inputs * out * 27],
            grad_bias: vec![0.0; out],
        }
    }

    /// One repeat: the pass again and again until it has lasted, after one to warm up.
    fn measure(&mut self, engine: &Engine, pass: Pass) -> Measured {
        let first = Instant::now();
        self.compute(engine, pass);
        let runs = (REPEAT_S / first.elapsed().as_secs_f64()).ceil().max(1.0);
        let before = peak(engine);
        let (start, busy) = (Instant::now(), busy_seconds());
        for _ in 0..runs as usize {
            self.compute(engine, pass);
        }
        let wall_s = start.elapsed().as_secs_f64() / runs;
        let busy = busy.zip(busy_seconds()).map(|(before, after)| after - before);
        let busy_s = busy.map(|busy| busy / engine.threads() as f64 / runs);
        Measured { wall_s, busy_s, peak: (before + peak(engine)) / 2.0 }
    }

    fn compute(&mut self, engine: &Engine, pass: Pass) {
        let normalise = self.on_load.as_ref();
        let inputs = self.x.iter().map(|tensor| Activation { tensor, normalise });
        let inputs: Vec<Activation<'_>> = inputs.collect();
        match pass {
            Pass::Forward => {
                drop(engine.conv3(&inputs, &self.weights, &self.bias, self.layer.out));
            }
            Pass::Data => {
                let parts = self.layer.parts();
                drop(engine.conv3_backward_data(&self.grad, &self.weights, &parts));
            }
            Pass::Weights => {
                engine.conv3_backward_weights(&inputs, &self.grad, &mut self.grad_weights);
                self.grad_bias = engine.bias_gradient(&self.grad);
            }
        }
    }
}

/// Operations a second of multiply-adds in registers.
fn peak(engine: &Engine) -> f64 {
    let start = Instant::now();
    let operations = engine.multiply_adds(PEAK_ROUNDS);
    operations / start.elapsed().as_secs_f64()
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 10007) as f32 / 10007.0 - 0.5).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

fn print_head(engine: &Engine, repeats: usize) {
    println!("{} threads, {}, medians of {repeats}", engine.threads(), engine.instruction_set());
    println!(
        "{:<27} {:>5} {:>5} | {:^22} | {:^22} | {:^22}",
        "3x3x3 convolution", "peak", "busy", "forward", "backward data", "backward weights"
    );
    let columns = format!("{:>9} {:>5} {:>6}", "ms", "GF/s", "peak");
    println!("{:<27} {:>5} {:>5} | {columns} | {columns} | {columns}", "", "GF/s", "");
}

fn print_row(layer: Layer, results: &[Vec<Measured>; 3]) {
    let all = || results.iter().flatten();
    let peak = median(all().map(|measured| measured.peak));
    let busy: Option<f64> = all().map(|m| m.busy_s.map(|busy| busy / m.wall_s)).sum();
    let busy = busy.map(|sum| 100.0 * sum / all().count() as f64);
    let busy = busy.map_or("-".to_owned(), |percent| format!("{percent:.0} %"));
    let [z, y, x] = layer.shape;
    let name = format!("{} @{}x{z}x{y}x{x}", layer.channels(), layer.batch);
    let columns: [String; 3] = from_fn(|index| {
        if results[index].is_empty() {
            return format!("{:>22}", "-");
        }
        let time = median(results[index].iter().map(|measured| measured.wall_s));
        let speed = layer.operations() / time;
        let percent = 100.0 * speed / peak;
        format!("{:>9.3} {:>5.0} {percent:>4.0} %", time * 1e3, speed / 1e9)
    });
    println!("{name:<27} {:>5.0} {busy:>5} | {}", peak / 1e9, columns.join(" | "));
}

fn json(engine: &Engine, layer: Layer, pass: Pass, measured: &Measured) -> String {
    let Layer { inputs, out, batch, shape } = layer;
    let busy = measured.busy_s.map_or("null".to_owned(), |busy| format!("{busy:e}"));
    format!(
        "{{\"layer\": \"{inputs}->{out}\", \"batch\": {batch}, \"shape\": {shape:?}, \
         \"pass\": \"{pass}\", \"threads\": {}, \"instruction_set\": \"{}\", \"wall_s\": {:e}, \
         \"busy_s\": {busy}, \"gflop\": {:e}, \"peak_gflops\": {:e}}}",
        engine.threads(),
        engine.instruction_set(),
        measured.wall_s,
        layer.operations() / 1e9,
        measured.peak / 1e9
    )
}

impl fmt::Display for Pass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Forward => "forward",
            Self::Data => "data",
            Self::Weights => "weights",
        })
    }
}

impl FromStr for Pass {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let pass = PASSES.into_iter().find(|pass| pass.to_string() == name);
        pass.ok_or(format!("{name:?} is none of the passes forward, data and weights"))
    }
}
