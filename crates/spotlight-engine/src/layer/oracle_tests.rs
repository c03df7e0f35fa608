//! Every layer on every instruction set of this machine against its definition.
//!
//! All numbers are small multiples of a power of two, so that sums are exact in any order and the
//! results must be equal, not only close.

use proptest::prelude::*;

use super::tests::{numbers, tensor};
use crate::{
    Activation, Engine, EngineOptions, FixedConvolution, InstructionSet, Kind, Precision,
    ScaleShift, Tensor,
    kernel::naive::{self, Geometry, Planar},
    tensor::BLOCK,
};

fn law(channels: usize, seed: u64) -> ScaleShift {
    let scale = numbers(channels, seed).iter().map(|x| x * 0.5).collect();
    ScaleShift { scale, shift: numbers(channels, seed + 1) }
}

fn engines() -> Vec<Engine> {
    let engine = |set| {
        let (instruction_set, precision) = (Some(set), Some(Precision::Precise));
        Engine::new(&EngineOptions { threads: Some(2), instruction_set, precision }).unwrap()
    };
    InstructionSet::available().into_iter().chain([InstructionSet::Exact]).map(engine).collect()
}

/// A layer's inputs, the second one normalised on load.
pub(super) struct Inputs {
    tensors: Vec<Tensor>,
    laws: Vec<Option<ScaleShift>>,
}

impl Inputs {
    pub(super) fn new(batch: usize, channels: &[usize], shape: [usize; 3], seed: u64) -> Self {
        let seeds = seed..;
        let tensors =
            channels.iter().zip(seeds).map(|(&c, seed)| tensor(batch, c, shape, seed)).collect();
        let laws = channels.iter().enumerate();
        let laws = laws.map(|(i, &c)| (i != 1).then(|| law(c, seed + 9))).collect();
        Self { tensors, laws }
    }

    pub(super) fn activations(&self) -> Vec<Activation<'_>> {
        let pairs = self.tensors.iter().zip(&self.laws);
        pairs.map(|(tensor, law)| Activation { tensor, normalise: law.as_ref() }).collect()
    }
}

#[track_caller]
fn check(what: &str, engine: &Engine, found: &Tensor, wanted: &Tensor) {
    let set = engine.instruction_set();
    assert_eq!(found.shape(), wanted.shape(), "{what}, {set}");
    assert!(found.to_planar() == wanted.to_planar(), "{what}, {set}: values differ");
    check_padding(found);
}

#[track_caller]
pub(super) fn check_padding(tensor: &Tensor) {
    let last = tensor.channels() - (tensor.blocks() - 1) * BLOCK;
    for sample in 0..tensor.batch() {
        for voxel in tensor.block(sample, tensor.blocks() - 1) {
            assert!(voxel[last..].iter().all(|&x| x == 0.0), "padding channels are zero");
        }
    }
}

#[track_caller]
fn check_slices(what: &str, engine: &Engine, found: &[f32], wanted: &[f64]) {
    let wanted: Vec<_> = wanted.iter().map(|&x| x as f32).collect();
    assert!(found == wanted, "{what}, {}: values differ", engine.instruction_set());
}

#[track_caller]
fn check_conv3(batch: usize, channels: &[usize], out: usize, shape: [usize; 3], seed: u64) {
    let inputs = Inputs::new(batch, channels, shape, seed);
    let (inputs, total) = (inputs.activations(), channels.iter().sum::<usize>());
    let (weights, bias) = (numbers(out * total * 27, seed + 2), numbers(out, seed + 3));
    let grad = tensor(batch, out, shape, seed + 4);
    let (x, dy) = (Planar::of(&inputs), Planar::of_tensor(&grad));
    let mut y = naive::forward(&x, &weights, out, Geometry::CONV3);
    y.add_bias(&bias);
    let y = y.into_tensor();
    let dx = naive::backward_data(&dy, &weights, total, shape, Geometry::CONV3).split(channels);
    let dw = naive::backward_weights(&x, &dy, Geometry::CONV3);
    for engine in engines() {
        check("conv3", &engine, &engine.conv3(&inputs, &weights, &bias, out), &y);
        let found = engine.conv3_backward_data(&grad, &weights, channels);
        for (found, wanted) in found.iter().zip(&dx) {
            check("conv3 backward data", &engine, found, wanted);
        }
        let mut found = vec![9.0; weights.len()];
        engine.conv3_backward_weights(&inputs, &grad, &mut found);
        check_slices("conv3 backward weights", &engine, &found, &dw);
        check_slices(
            "conv3 backward bias",
            &engine,
            &engine.bias_gradient(&grad),
            &naive::channel_sums(&dy),
        );
    }
}

/// Down from the doubled shape to `coarse` with all its gradients.
#[track_caller]
fn check_down2(batch: usize, channels: &[usize], out: usize, coarse: [usize; 3], seed: u64) {
    let fine = coarse.map(|side| 2 * side);
    let inputs = Inputs::new(batch, channels, fine, seed);
    let (inputs, total) = (inputs.activations(), channels.iter().sum::<usize>());
    let (weights, bias) = (numbers(out * total * 8, seed + 2), numbers(out, seed + 3));
    let grad = tensor(batch, out, coarse, seed + 4);
    let (x, dy) = (Planar::of(&inputs), Planar::of_tensor(&grad));
    let mut y = naive::forward(&x, &weights, out, Geometry::DOWN2);
    y.add_bias(&bias);
    let y = y.into_tensor();
    let dx = naive::backward_data(&dy, &weights, total, fine, Geometry::DOWN2).split(channels);
    let dw = naive::backward_weights(&x, &dy, Geometry::DOWN2);
    for engine in engines() {
        check("down2", &engine, &engine.down2(&inputs, &weights, &bias, out), &y);
        let found = engine.down2_backward_data(&grad, &weights, channels);
        for (found, wanted) in found.iter().zip(&dx) {
            check("down2 backward data", &engine, found, wanted);
        }
        let mut found = vec![9.0; weights.len()];
        engine.down2_backward_weights(&inputs, &grad, &mut found);
        check_slices("down2 backward weights", &engine, &found, &dw);
        check_slices(
            "down2 backward bias",
            &engine,
            &engine.bias_gradient(&grad),
            &naive::channel_sums(&dy),
        );
    }
}

/// Up from `coarse` to the doubled shape with all its gradients.
#[track_caller]
fn check_up2(batch: usize, channels: &[usize], out: usize, coarse: [usize; 3], seed: u64) {
    let fine = coarse.map(|side| 2 * side);
    let inputs = Inputs::new(batch, channels, coarse, seed);
    let (inputs, total) = (inputs.activations(), channels.iter().sum::<usize>());
    let (weights, bias) = (numbers(out * total * 8, seed + 2), numbers(out, seed + 3));
    let grad = tensor(batch, out, fine, seed + 4);
    let (x, dy) = (Planar::of(&inputs), Planar::of_tensor(&grad));
    let mut y = naive::backward_data(&x, &weights, out, fine, Geometry::DOWN2);
    y.add_bias(&bias);
    let y = y.into_tensor();
    let dx = naive::forward(&dy, &weights, total, Geometry::DOWN2).split(channels);
    let dw = naive::backward_weights(&dy, &x, Geometry::DOWN2);
    for engine in engines() {
        check("up2", &engine, &engine.up2(&inputs, &weights, &bias, out), &y);
        let found = engine.up2_backward_data(&grad, &weights, channels);
        for (found, wanted) in found.iter().zip(&dx) {
            check("up2 backward data", &engine, found, wanted);
        }
        let mut found = vec![9.0; weights.len()];
        engine.up2_backward_weights(&inputs, &grad, &mut found);
        check_slices("up2 backward weights", &engine, &found, &dw);
        check_slices(
            "up2 backward bias",
            &engine,
            &engine.bias_gradient(&grad),
            &naive::channel_sums(&dy),
        );
    }
}

/// One or two inputs with up to forty channels together.
pub(super) fn some_channels() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![prop::collection::vec(1_usize..=40, 1), prop::collection::vec(1_usize..=20, 2),]
}

fn side() -> impl Strategy<Value = usize> {
    (0_usize..5).prop_map(|half| 2 * half + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conv3_is_its_definition(
        batch in 1_usize..=3,
        channels in some_channels(),
        out in 1_usize..=40,
        shape in [side(), side(), side()],
        seed in 0_u64..1000,
    ) {
        check_conv3(batch, &channels, out, shape, seed);
    }

    #[test]
    fn down2_is_its_definition(
        batch in 1_usize..=3,
        channels in some_channels(),
        out in 1_usize..=40,
        coarse in [1_usize..=4, 1_usize..=4, 1_usize..=5],
        seed in 0_u64..1000,
    ) {
        check_down2(batch, &channels, out, coarse, seed);
    }

    #[test]
    fn up2_is_its_definition(
        batch in 1_usize..=3,
        channels in some_channels(),
        out in 1_usize..=40,
        coarse in [1_usize..=4, 1_usize..=4, 1_usize..=5],
        seed in 0_u64..1000,
    ) {
        check_up2(batch, &channels, out, coarse, seed);
    }
}

// The proportions of F-net's layers: one channel in, one out, a skip connection, many channels on
// a small volume, and volumes that are cut into several regions.
#[test]
fn layers_of_the_network_are_their_definition() {
    check_conv3(2, &[1], 32, [4, 8, 16], 1);
    check_conv3(2, &[32], 1, [4, 8, 16], 2);
    check_conv3(1, &[16, 16], 16, [4, 16, 32], 3);
    check_conv3(3, &[64], 64, [1, 2, 2], 4);
    check_conv3(1, &[3, 17], 5, [5, 41, 50], 5);
    check_conv3(1, &[2], 1, [3, 1, 90], 6);
    check_down2(1, &[17, 2], 3, [5, 20, 40], 7);
    check_up2(1, &[17, 2], 3, [5, 20, 40], 8);
}

/// The values of one channel, over all samples.
fn channel_of(tensor: &Tensor, channel: usize) -> Vec<f64> {
    let voxels = tensor.voxels();
    let planar = tensor.to_planar();
    let planes = planar.chunks_exact(voxels).skip(channel).step_by(tensor.channels());
    planes.flatten().map(|&x| f64::from(x)).collect()
}

#[track_caller]
fn check_close(what: &str, engine: &Engine, found: f64, wanted: f64) {
    let close = (found - wanted).abs() <= 1e-5 * (1.0 + wanted.abs());
    assert!(close, "{what}, {}: {found} instead of {wanted}", engine.instruction_set());
}

// By the formulas at the top of `batch_norm`, channel by channel in f64. The shape is longer than
// one run of voxels.
#[test]
fn normalisation_is_its_definition() {
    let (batch, channels, shape, epsilon) = (2, 19, [5, 41, 43], 1e-5);
    let (x, dy) = (tensor(batch, channels, shape, 1), tensor(batch, channels, shape, 2));
    let (gamma, beta) = (numbers(channels, 3), numbers(channels, 4));
    for engine in engines() {
        let stats = engine.statistics(&x);
        let (dx, dgamma, dbeta) =
            engine.batch_norm_relu_backward(&x, &stats, &gamma, &beta, epsilon, dy.clone());
        check_padding(&dx);
        for channel in 0..channels {
            let (x, dy) = (channel_of(&x, channel), channel_of(&dy, channel));
            let count = x.len() as f64;
            let mean = x.iter().sum::<f64>() / count;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            check_close("mean", &engine, stats.mean[channel], mean);
            check_close("variance", &engine, stats.variance[channel], variance);
            let (gamma, beta) = (f64::from(gamma[channel]), f64::from(beta[channel]));
            let root = (variance + epsilon).sqrt();
            let standard: Vec<_> = x.iter().map(|x| (x - mean) / root).collect();
            let passed = |(s, dy): (&f64, &f64)| if gamma * s + beta > 0.0 { *dy } else { 0.0 };
            let g: Vec<_> = standard.iter().zip(&dy).map(passed).collect();
            let sum = g.iter().sum::<f64>();
            let product = g.iter().zip(&standard).map(|(g, s)| g * s).sum::<f64>();
            check_close("gradient of beta", &engine, f64::from(dbeta[channel]), sum);
            check_close("gradient of gamma", &engine, f64::from(dgamma[channel]), product);
            let found = channel_of(&dx, channel);
            for ((g, s), found) in g.iter().zip(&standard).zip(found) {
                let wanted = gamma / root * (g - sum / count - s * product / count);
                check_close("gradient of x", &engine, found, wanted);
            }
        }
    }
}

#[test]
fn addition_is_its_definition() {
    let (a, b) = (tensor(2, 19, [5, 41, 43], 1), tensor(2, 19, [5, 41, 43], 2));
    let sums: Vec<_> = a.to_planar().iter().zip(b.to_planar()).map(|(a, b)| a + b).collect();
    for engine in engines() {
        let mut sum = a.clone();
        engine.add(&mut sum, &b);
        assert_eq!(sum.to_planar(), sums);
        check_padding(&sum);
    }
}

// A fixed layer is the layer, then the factor and the summand of each channel, then ReLU: with
// exact numbers the same to the bit, when the weights are packed and when they were kept.
#[test]
fn fixed_layers_are_convolution_normalisation_and_relu() {
    let (channels, out) = ([17, 3], 19);
    let total: usize = channels.iter().sum();
    let law = law(out, 5);
    for (kind, shape, taps) in
        [(Kind::Same, [3, 9, 10], 27), (Kind::Down, [4, 6, 10], 8), (Kind::Up, [2, 3, 5], 8)]
    {
        let inputs = Inputs::new(2, &channels, shape, 6);
        let (inputs, bias) = (inputs.activations(), numbers(out, 7));
        let weights = numbers(out * total * taps, 8);
        for engine in engines() {
            let plain = match kind {
                Kind::Same => engine.conv3(&inputs, &weights, &bias, out),
                Kind::Down => engine.down2(&inputs, &weights, &bias, out),
                Kind::Up => engine.up2(&inputs, &weights, &bias, out),
            };
            let wanted = Planar::of(&[Activation { tensor: &plain, normalise: Some(&law) }]);
            let wanted = wanted.into_tensor();
            for keep in [false, true] {
                let layer = FixedConvolution::new(kind, &weights, &bias, Some(&law), keep);
                for _ in 0..2 {
                    check("fixed layer", &engine, &engine.fixed(&inputs, &layer), &wanted);
                }
                let layer = FixedConvolution::new(kind, &weights, &bias, None, keep);
                check("fixed convolution", &engine, &engine.fixed(&inputs, &layer), &plain);
            }
        }
    }
}

// Very few outputs have kernels of their own.
#[test]
fn a_fixed_layer_with_one_output_is_its_definition() {
    let x = tensor(1, 33, [4, 6, 20], 1);
    let inputs = [Activation { tensor: &x, normalise: None }];
    let (weights, law) = (numbers(33 * 27, 2), law(1, 3));
    for engine in engines() {
        let plain = engine.conv3(&inputs, &weights, &[0.5], 1);
        let wanted = Planar::of(&[Activation { tensor: &plain, normalise: Some(&law) }]);
        let layer = FixedConvolution::new(Kind::Same, &weights, &[0.5], Some(&law), true);
        check("one output", &engine, &engine.fixed(&inputs, &layer), &wanted.into_tensor());
    }
}
