//! Properties of the network that need no reference.

use spotlight_engine::{
    Adam, Algorithm, Engine, EngineOptions, InstructionSet, Kind, Precision, Tensor,
};

use super::{EntryKind, Fnet, FnetOptions, layer_shapes, receptive_field_halo};
use crate::loss::Loss;

fn engine(threads: usize) -> Engine {
    let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
    Engine::new(&options).unwrap()
}

fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mix = |i: usize| (i as u32 ^ seed).wrapping_mul(2_654_435_761).rotate_left(13);
    let mix = |i: usize| mix(i).wrapping_mul(0x85eb_ca6b) >> 8;
    (0..len).map(|i| mix(i) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Training steps on one batch: losses and the final state.
fn train(options: &FnetOptions, threads: usize, steps: u64) -> (Vec<f64>, Fnet) {
    let (engine, mut network) = (engine(threads), Fnet::new(options, 3));
    let (batch, shape) = (2, [4, 8, 12]);
    let voxels = batch * shape.iter().product::<usize>();
    let input = noise(voxels * options.in_channels, 1);
    let target = noise(voxels * options.out_channels, 2);
    let mask: Vec<bool> = target.iter().map(|y| *y >= 0.0).collect();
    let mut moments = [vec![0.0; network.parameters.len()], vec![0.0; network.parameters.len()]];
    let mut gradients = vec![0.0; network.parameters.len()];
    let mut losses = Vec::new();
    for step in 1..=steps {
        let image = Tensor::from_planar(batch, options.in_channels, shape, &input);
        let (output, trace) = network.forward_train(&engine, image);
        let mut slope = vec![0.0; target.len()];
        let loss = Loss::default();
        let prediction = output.to_planar();
        let terms = loss.value_and_gradient(batch, &prediction, &target, &mask, &mut slope);
        losses.push(terms.total);
        let slope = Tensor::from_planar(batch, options.out_channels, shape, &slope);
        network.backward(&engine, trace, slope, &mut gradients);
        let [m, v] = &mut moments;
        engine.adam(&mut network.parameters, &gradients, m, v, &Adam::default(), step);
    }
    (losses, network)
}

#[test]
fn training_lowers_the_loss() {
    let options = FnetOptions { width: 4, depth: 2, ..FnetOptions::default() };
    let (losses, _) = train(&options, 2, 30);
    assert!(losses[29] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn number_of_threads_changes_no_bit() {
    for options in [
        FnetOptions { width: 5, depth: 1, in_channels: 2, out_channels: 3 },
        FnetOptions { width: 16, depth: 2, ..FnetOptions::default() },
    ] {
        let ((one_losses, one), (four_losses, four)) =
            (train(&options, 1, 2), train(&options, 4, 2));
        assert_eq!(one_losses, four_losses);
        assert_eq!(one.parameters, four.parameters);
        assert_eq!(one.buffers, four.buffers);
    }
}

/// The largest difference, relative to the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn fast_convolutions_are_close_to_precise_ones() {
    let options = FnetOptions { width: 32, depth: 2, ..FnetOptions::default() };
    let (batch, shape) = (1, [16, 32, 32]);
    let of = |precision, instruction_set| {
        let (precision, threads) = (Some(precision), Some(2));
        let engine = EngineOptions { threads, instruction_set, precision };
        let engine = Engine::new(&engine).unwrap();
        let layers = layer_shapes(&options, shape).into_iter();
        let same = layers.filter(|layer| layer.kind == Kind::Same);
        let fast = same.filter(|layer| {
            let (inputs, outputs) = (layer.in_channels, layer.out_channels);
            engine.conv3_algorithm(batch, layer.shape, inputs, outputs) == Algorithm::Winograd
        });
        let fast = fast.count();
        let mut network = Fnet::new(&options, 3);
        let image = || Tensor::from_planar(batch, 1, shape, &noise(shape.iter().product(), 1));
        let predicted = network.forward_eval(&engine, &image()).to_planar();
        let (output, trace) = network.forward_train(&engine, image());
        let slope = output.clone();
        let mut gradients = vec![0.0; network.parameters.len()];
        network.backward(&engine, trace, slope, &mut gradients);
        (fast, predicted, output.to_planar(), gradients)
    };
    let fast = of(Precision::Fast, None);
    let precise = of(Precision::Precise, None);
    let portable = of(Precision::Precise, Some(InstructionSet::Portable));
    assert_eq!((fast.0, precise.0), (7, 0), "layers by Winograd's algorithm");
    assert!(difference(&fast.1, &precise.1) < 1e-4, "{}", difference(&fast.1, &precise.1));
    assert!(difference(&fast.2, &precise.2) < 1e-4, "{}", difference(&fast.2, &precise.2));
    // Where a sum is within rounding of zero, a rectifier may open for the one and stay shut for the
    // other, which moves gradients by more than rounding: by how much, two precise engines with
    // other roundings tell.
    let square = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let off = |gradients: &[f32]| {
        let off: Vec<f32> = gradients.iter().zip(&precise.3).map(|(a, b)| a - b).collect();
        (square(&off) / square(&precise.3)).sqrt()
    };
    let (fast, portable) = (off(&fast.3), off(&portable.3));
    assert!(fast < 2e-3 && fast < 10.0 * portable, "gradients differ by {fast}, {portable}");
}

/// The way back against differences of the way forward, in every tensor of the state.
#[test]
fn gradient_is_the_slope_of_the_output() {
    let options = FnetOptions { width: 2, depth: 1, in_channels: 2, out_channels: 2 };
    let (engine, mut network) = (engine(2), Fnet::new(&options, 5));
    // Weights as large as in use, so that differences stand out of the rounding.
    for value in &mut network.parameters {
        *value *= if value.abs() < 0.2 { 10.0 } else { 1.0 };
    }
    let (shape, voxels) = ([4, 4, 6], 96);
    let (input, weights) = (noise(2 * 2 * voxels, 4), noise(2 * 2 * voxels, 9));
    let forward = |network: &Fnet| {
        let image = Tensor::from_planar(2, 2, shape, &input);
        network.clone().forward_train(&engine, image)
    };
    let value = |network: &Fnet| {
        let output = forward(network).0.to_planar();
        output.iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum::<f64>()
    };
    let (_, trace) = forward(&network);
    let mut gradients = vec![0.0; network.parameters.len()];
    let slope = Tensor::from_planar(2, 2, shape, &weights);
    network.backward(&engine, trace, slope, &mut gradients);
    for entry in network.entries().to_vec() {
        if entry.kind == EntryKind::Buffer {
            continue;
        }
        // Along the gradient of this tensor alone: the slope is then its length.
        let own = &gradients[entry.range.clone()];
        let length = own.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        if entry.name.ends_with("bias") && length == 0.0 {
            continue;
        }
        let at = |step: f64| {
            let mut moved = network.clone();
            for (value, g) in moved.values_mut(&entry).iter_mut().zip(own) {
                *value += (step * f64::from(*g) / length) as f32;
            }
            value(&moved)
        };
        let slope = (at(3e-4) - at(-3e-4)) / 6e-4;
        let off = (slope - length).abs() / length;
        assert!(off < 0.03, "{}: gradient {length}, slope {slope}", entry.name);
    }
}

/// A network in which every path from input to output carries a positive signal, and
/// nothing else does.
fn transparent(depth: usize) -> Fnet {
    let options = FnetOptions { width: 1, depth, ..FnetOptions::default() };
    let mut network = Fnet::new(&options, 0);
    for entry in network.entries().to_vec() {
        let value = match entry.name.rsplit('.').next() {
            Some("bias" | "running_mean") => 0.0,
            _ => 1.0,
        };
        network.values_mut(&entry).fill(value);
    }
    network
}

#[test]
fn halo_is_the_furthest_that_one_voxel_reaches() {
    let portable = Some(InstructionSet::Portable);
    let options = EngineOptions { threads: Some(2), instruction_set: portable, precision: None };
    let engine = Engine::new(&options).unwrap();
    for depth in 0..=2 {
        let halo = receptive_field_halo(depth);
        let network = transparent(depth);
        let divisor = network.options.divisor();
        // Along x only, with room for the halo on both sides; one phase after the other.
        let length = (2 * halo + 2 * divisor).next_multiple_of(divisor);
        let shape = [divisor, divisor, length];
        let mut furthest = 0;
        for phase in 0..divisor {
            let voxel = (length / 2).next_multiple_of(divisor) - divisor + phase;
            let mut image = vec![0.0; divisor * divisor * length];
            for row in image.chunks_mut(length) {
                row[voxel] = 1.0;
            }
            let image = Tensor::from_planar(1, 1, shape, &image);
            let output = network.forward_eval(&engine, &image).to_planar();
            // Every product is of ones, so what the voxel reaches is at least about 1.
            let reached = output[..length].iter().enumerate().filter(|(_, y)| **y > 0.5);
            let distance = reached.map(|(x, _)| x.abs_diff(voxel)).max().unwrap();
            assert!(distance <= halo, "depth {depth}: {distance} > {halo}");
            furthest = furthest.max(distance);
        }
        assert_eq!(furthest, halo, "depth {depth}");
    }
}
