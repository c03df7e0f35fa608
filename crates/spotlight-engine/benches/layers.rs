//! Prints how fast the layers are, beside the multiply-add peak measured in the same run.
#![allow(clippy::print_stdout)]

mod clock;

use std::time::Instant;

use clock::busy_seconds;
use spotlight_engine::{Activation, Engine, EngineOptions, ScaleShift, Tensor};

/// Seconds a thread of `engine` takes for `work`, the best of some runs.
///
/// Where the system tells, this is the time its threads really ran, divided by their number: a
/// machine that others use, too, disturbs it less than the time on the wall. The system counts in
/// steps of some milliseconds, so a run repeats the work until it is long against that.
fn seconds(engine: &Engine, mut work: impl FnMut()) -> f64 {
    work();
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let (start, busy) = (Instant::now(), busy_seconds());
        let mut repeats = 0.0;
        while start.elapsed().as_secs_f64() < 0.1 {
            work();
            repeats += 1.0;
        }
        let wall = start.elapsed().as_secs_f64();
        let time = match (busy, busy_seconds()) {
            (Some(before), Some(after)) => (after - before) / engine.threads() as f64,
            _ => wall,
        };
        best = best.min(time / repeats);
    }
    best
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 1000.0 - 0.5).collect()
}

fn tensor(batch: usize, channels: usize, shape: [usize; 3]) -> Tensor {
    let len = batch * channels * shape.iter().product::<usize>();
    Tensor::from_planar(batch, channels, shape, &numbers(len))
}

fn conv3(engine: &Engine, batch: usize, inputs: usize, out: usize, shape: [usize; 3]) {
    let law = ScaleShift { scale: vec![0.9; inputs], shift: vec![0.1; inputs] };
    let x = tensor(batch, inputs, shape);
    let y = tensor(batch, out, shape);
    let normalise = if inputs == 1 { None } else { Some(&law) };
    let activations = [Activation { tensor: &x, normalise }];
    let (weights, bias) = (numbers(inputs * out * 27), numbers(out));
    let mut dw = weights.clone();
    let operations = (2 * 27 * inputs * out * batch * shape.iter().product::<usize>()) as f64;
    let mut rounds = 0.0;
    let time = seconds(engine, || rounds = engine.multiply_adds(2_000_000));
    let peak = rounds / time;
    let forward = seconds(engine, || drop(engine.conv3(&activations, &weights, &bias, out)));
    let data = seconds(engine, || drop(engine.conv3_backward_data(&y, &weights, &[inputs])));
    let by_weights = if std::env::var("NOW").is_ok() {
        1.0
    } else {
        seconds(engine, || engine.conv3_backward_weights(&activations, &y, &mut dw))
    };
    let name = format!("conv3 {inputs}->{out} @{batch}x{}x{}x{}", shape[0], shape[1], shape[2]);
    print!("{name:<28} {:>5.0}", peak / 1e9);
    for time in [forward, data, by_weights] {
        let speed = operations / time;
        print!(" | {:>7.2} ms {:>5.0} {:>4.0} %", time * 1e3, speed / 1e9, 100.0 * speed / peak);
    }
    println!();
}

fn main() {
    let engine = Engine::new(&EngineOptions::default()).expect("the engine starts");
    println!("{} threads, {}", engine.threads(), engine.instruction_set());
    println!(
        "{:<28} {:>5} | forward: ms, GF/s, of peak | backward data | backward weights",
        "layer", "peak"
    );
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    for width in [16, 32] {
        let batch = 64 / width;
        for level in 0..=4 {
            let (channels, shape) = (width << level, [32 >> level, 64 >> level, 64 >> level]);
            let before = if level == 0 { 1 } else { channels / 2 };
            for (inputs, out) in
                [(before, channels), (channels, channels), (2 * channels, channels)]
            {
                if level == 4 && inputs > channels {
                    continue;
                }
                if only.as_ref().is_none_or(|only| format!("{inputs}->{out}") == *only) {
                    conv3(&engine, batch, inputs, out, shape);
                }
            }
            if level == 0 && only.is_none() {
                conv3(&engine, batch, channels, 1, shape);
            }
        }
    }
}
