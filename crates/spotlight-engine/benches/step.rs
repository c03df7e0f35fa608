//! Times a training step of a network like F-net and shows how it splits by layer.
//!
//! Arguments: width, batch, depth of the patch, side of the patch (defaults 16, 4, 32, 64).
#![allow(clippy::print_stdout)]

mod clock;

use std::{cell::RefCell, collections::BTreeMap, time::Instant};

use clock::busy_seconds;
use spotlight_engine::{Activation, Engine, EngineOptions, ScaleShift, Statistics, Tensor};

/// Steps to average over, after one to warm up.
const STEPS: u32 = 4;

/// Seconds and operations by kind of work.
type Times = RefCell<BTreeMap<&'static str, (f64, f64)>>;

struct Network {
    engine: Engine,
    times: Times,
    begin: Instant,
}

/// A convolution's stored result and what normalises it.
struct Layer {
    raw: Tensor,
    stats: Statistics,
    law: ScaleShift,
    gamma: Vec<f32>,
}

impl Layer {
    fn read(&self) -> Activation<'_> {
        Activation { tensor: &self.raw, normalise: Some(&self.law) }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Conv3,
    Down2,
    Up2,
}

fn numbers(len: usize) -> Vec<f32> {
    let scale = (3.0 / len as f64).sqrt() as f32;
    (0..len).map(|i| (((i * 7919) % 10007) as f32 / 5003.5 - 1.0) * scale * 8.0).collect()
}

impl Network {
    /// Seconds that one of the engine's threads has run, or else those on the wall.
    fn now(&self) -> f64 {
        match busy_seconds() {
            Some(seconds) => seconds / self.engine.threads() as f64,
            None => self.begin.elapsed().as_secs_f64(),
        }
    }

    fn timed<R>(&self, what: &'static str, operations: f64, work: impl FnOnce() -> R) -> R {
        let start = self.now();
        let result = work();
        let time = self.now() - start;
        let mut times = self.times.borrow_mut();
        let entry = times.entry(what).or_default();
        entry.0 += time;
        entry.1 += operations;
        result
    }

    fn operations(kind: Kind, inputs: &[Activation<'_>], out: usize) -> f64 {
        let channels: usize = inputs.iter().map(|input| input.tensor.channels()).sum();
        let voxels = inputs[0].tensor.batch() * inputs[0].tensor.shape().iter().product::<usize>();
        let taps = match kind {
            Kind::Conv3 => 27.0,
            Kind::Down2 => 1.0,
            Kind::Up2 => 8.0,
        };
        2.0 * taps * (channels * out * voxels) as f64
    }

    fn forward(&self, kind: Kind, inputs: &[Activation<'_>], out: usize) -> Layer {
        let channels: usize = inputs.iter().map(|input| input.tensor.channels()).sum();
        let operations = Self::operations(kind, inputs, out);
        let bias = vec![0.0; out];
        let raw = match kind {
            Kind::Conv3 => {
                let weights = numbers(channels * out * 27);
                self.timed("conv3 forward", operations, || {
                    self.engine.conv3(inputs, &weights, &bias, out)
                })
            }
            Kind::Down2 => {
                let weights = numbers(channels * out * 8);
                self.timed("down2 forward", operations, || {
                    self.engine.down2(inputs, &weights, &bias, out)
                })
            }
            Kind::Up2 => {
                let weights = numbers(channels * out * 8);
                self.timed("up2 forward", operations, || {
                    self.engine.up2(inputs, &weights, &bias, out)
                })
            }
        };
        let stats = self.timed("statistics", 0.0, || self.engine.statistics(&raw));
        let gamma = vec![1.0; out];
        let law = stats.scale_shift(&gamma, &vec![0.0; out], 1e-5);
        Layer { raw, stats, law, gamma }
    }

    /// The gradients of the inputs from that of a layer's normalised output.
    fn backward(
        &self,
        kind: Kind,
        inputs: &[Activation<'_>],
        layer: &Layer,
        grad: Tensor,
    ) -> Vec<Tensor> {
        let beta = vec![0.0; layer.gamma.len()];
        let (grad, _, _) = self.timed("normalisation backward", 0.0, || {
            self.engine.batch_norm_relu_backward(
                &layer.raw,
                &layer.stats,
                &layer.gamma,
                &beta,
                1e-5,
                grad,
            )
        });
        self.raw_backward(kind, inputs, &grad)
    }

    fn raw_backward(&self, kind: Kind, inputs: &[Activation<'_>], grad: &Tensor) -> Vec<Tensor> {
        let channels: Vec<usize> = inputs.iter().map(|input| input.tensor.channels()).collect();
        let out = grad.channels();
        let operations = Self::operations(kind, inputs, out);
        let taps = if kind == Kind::Conv3 { 27 } else { 8 };
        let weights = numbers(channels.iter().sum::<usize>() * out * taps);
        let mut dw = weights.clone();
        let engine = &self.engine;
        match kind {
            Kind::Conv3 => {
                self.timed("conv3 backward weights", operations, || {
                    engine.conv3_backward_weights(inputs, grad, &mut dw);
                });
                if channels == [1] {
                    return Vec::new();
                }
                self.timed("conv3 backward data", operations, || {
                    engine.conv3_backward_data(grad, &weights, &channels)
                })
            }
            Kind::Down2 => {
                self.timed("down2 backward weights", operations, || {
                    engine.down2_backward_weights(inputs, grad, &mut dw);
                });
                self.timed("down2 backward data", operations, || {
                    engine.down2_backward_data(grad, &weights, &channels)
                })
            }
            Kind::Up2 => {
                self.timed("up2 backward weights", operations, || {
                    engine.up2_backward_weights(inputs, grad, &mut dw);
                });
                self.timed("up2 backward data", operations, || {
                    engine.up2_backward_data(grad, &weights, &channels)
                })
            }
        }
    }

    /// One level with everything below it; calls `inner` with its output for the gradient.
    fn level(
        &self,
        input: Activation<'_>,
        width: usize,
        depth: usize,
        inner: &dyn Fn(&Layer) -> Tensor,
    ) -> Tensor {
        let first = self.forward(Kind::Conv3, &[input], width);
        let second = self.forward(Kind::Conv3, &[first.read()], width);
        let to_second = |grad: Tensor| {
            let grad = self.backward(Kind::Conv3, &[first.read()], &second, grad).remove(0);
            self.backward(Kind::Conv3, &[input], &first, grad)
                .pop()
                .unwrap_or_else(|| Tensor::zeros(1, 1, [1, 1, 1]))
        };
        if depth == 0 {
            return to_second(inner(&second));
        }
        let down = self.forward(Kind::Down2, &[second.read()], width);
        let skip_grad = RefCell::new(None);
        let below = self.level(down.read(), 2 * width, depth - 1, &|bottom| {
            let up = self.forward(Kind::Up2, &[bottom.read()], width);
            let joined = [second.read(), up.read()];
            let third = self.forward(Kind::Conv3, &joined, width);
            let fourth = self.forward(Kind::Conv3, &[third.read()], width);
            let grad = inner(&fourth);
            let grad = self.backward(Kind::Conv3, &[third.read()], &fourth, grad).remove(0);
            let mut grads = self.backward(Kind::Conv3, &joined, &third, grad);
            let grad = grads.pop().expect("two inputs");
            *skip_grad.borrow_mut() = grads.pop();
            self.backward(Kind::Up2, &[bottom.read()], &up, grad).remove(0)
        });
        let mut grad = self.backward(Kind::Down2, &[second.read()], &down, below).remove(0);
        let skip_grad = skip_grad.take().expect("the levels below have run");
        self.timed("add", 0.0, || self.engine.add(&mut grad, &skip_grad));
        to_second(grad)
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let mut next = |default: usize| arguments.next().unwrap_or(default);
    let (width, batch, depth, side) = (next(16), next(4), next(32), next(64));
    let engine = Engine::new(&EngineOptions::default()).expect("the engine starts");
    println!("{} threads, {}", engine.threads(), engine.instruction_set());
    println!("width {width}, batch {batch} of {depth}x{side}x{side}, four levels down");
    let network = Network { engine, times: Times::default(), begin: Instant::now() };
    let len = batch * depth * side * side;
    let image = Tensor::from_planar(batch, 1, [depth, side, side], &numbers(len));
    let input = Activation { tensor: &image, normalise: None };
    let start = network.now();
    let operations = network.engine.multiply_adds(40_000_000);
    let peak = operations / (network.now() - start);
    let step = || {
        network.level(input, width, 4, &|last: &Layer| {
            let inputs = [last.read()];
            let weights = numbers(width * 27);
            let output = network
                .timed("conv3 to one", 0.0, || network.engine.conv3(&inputs, &weights, &[0.0], 1));
            let mut dw = weights.clone();
            network.timed("conv3 to one", 0.0, || {
                network.engine.conv3_backward_weights(&inputs, &output, &mut dw);
                network.engine.conv3_backward_data(&output, &weights, &[width]).remove(0)
            })
        })
    };
    step();
    network.times.borrow_mut().clear();
    let (start, wall) = (network.now(), Instant::now());
    for _ in 0..STEPS {
        step();
    }
    let (total, wall) = (network.now() - start, wall.elapsed().as_secs_f64());
    let steps = f64::from(STEPS);
    println!(
        "a step: {:.3} s of each thread, {:.3} s on the wall; peak {:.0} GF/s",
        total / steps,
        wall / steps,
        peak / 1e9
    );
    for (what, (time, operations)) in network.times.borrow().iter() {
        println!(
            "  {what:<24} {:>8.1} ms {:>4.0} % {:>6.0} GF/s",
            time / steps * 1e3,
            100.0 * time / total,
            operations / time / 1e9
        );
    }
}
