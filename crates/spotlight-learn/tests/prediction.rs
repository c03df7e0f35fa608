//! Prediction: tiles equal the whole, grids and units come back, bad stacks are named.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use spotlight_engine::{Engine, EngineOptions, Tensor};
use spotlight_image::{Shape, Volume};
use spotlight_learn::Error;
use spotlight_learn::fnet::{EntryKind, Fnet, FnetOptions};
use spotlight_learn::model_file::{Model, ModelManifest, Ranges};
use spotlight_learn::predict::{
    Fit, Intensities, OutputGrid, PredictOptions, Prediction, Predictor,
};
use spotlight_learn::prepare::prepare_signal;

fn engine() -> Engine {
    Engine::new(&EngineOptions::default()).unwrap()
}

/// A network whose every layer matters, as after some training: its weights are large
/// and its running statistics are those of the stacks below.
fn predictor(width: usize, depth: usize) -> Predictor {
    let options = FnetOptions { width, depth, ..FnetOptions::default() };
    let mut network = Fnet::new(&options, 9);
    let entries = network.entries().to_vec();
    for (index, entry) in entries.iter().enumerate() {
        let noise = |i: usize| ((i * 7919 + index * 104_729) % 1009) as f32 / 1009.0 - 0.5;
        if entry.kind == EntryKind::Trainable {
            let scale = if entry.shape.len() > 1 { 0.5 } else { 0.2 };
            let values = network.values_mut(entry).iter_mut().enumerate();
            values.for_each(|(i, value)| *value += scale * noise(i));
        }
    }
    let shape = [8, 16, 16];
    let signal = prepare_signal(stack(shape), None, None, "a").unwrap();
    for _ in 0..30 {
        let input = Tensor::from_planar(1, 1, shape, &signal.voxels);
        let _ = network.forward_train(&engine(), input);
    }
    let manifest = ModelManifest {
        network: options,
        output_clip_min: None,
        ranges: Some(Ranges {
            raw_min: 100.0,
            raw_max: 900.0,
            standardised_min: -1.0,
            standardised_max: 7.0,
        }),
        ..ModelManifest::default()
    };
    Predictor { model: Model { manifest, network } }
}

fn stack(shape: Shape) -> Volume<f32> {
    Volume::from_fn(shape, |[z, y, x]| {
        let wave = (z as f32 * 0.7).sin() + (y as f32 * 0.31).cos() * (x as f32 * 0.23).sin();
        1000.0 + 50.0 * wave + ((z * 31 + y * 17 + x * 7) % 23) as f32
    })
}

fn predict(predictor: &Predictor, stack: &Volume<f32>, options: &PredictOptions) -> Prediction {
    let progress = &mut |_, _| {};
    let stack = stack.clone();
    predictor
        .predict(&engine(), vec![stack], Some([0.29; 3]), "cells.tif", options, progress)
        .unwrap()
}

fn range(volume: &Volume<f32>) -> f32 {
    let largest = volume.voxels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    largest - volume.voxels.iter().copied().fold(f32::INFINITY, f32::min)
}

fn difference(a: &Volume<f32>, b: &Volume<f32>) -> f32 {
    assert_eq!(a.shape, b.shape);
    a.voxels.iter().zip(&b.voxels).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The least memory with which a stack can be stained.
fn least_memory(predictor: &Predictor, stack: &Volume<f32>) -> u64 {
    let options = PredictOptions { memory_bytes: 1, ..PredictOptions::default() };
    let (stack, spacing_um, progress) = (stack.clone(), Some([0.29; 3]), &mut |_, _| {});
    match predictor.predict(&engine(), vec![stack], spacing_um, "cells.tif", &options, progress) {
        Err(Error::Memory { needed, allowed: 1, .. }) => needed,
        other => panic!("{other:?}"),
    }
}

/// Stains with the least memory and with so many bytes more, each time in fewer tiles, and compares
/// with the stain in one piece.
#[track_caller]
fn check_tiles(width: usize, depth: usize, shape: Shape, more: &[u64]) {
    let (predictor, stack) = (predictor(width, depth), stack(shape));
    let whole = predict(&predictor, &stack, &PredictOptions::default());
    assert_eq!((whole.tiles, whole.channels[0].shape), (1, shape));
    let range = range(&whole.channels[0]);
    assert!(range > 0.5, "the stain has no contrast: {range}");
    let least = least_memory(&predictor, &stack);
    let mut counts = Vec::new();
    for more in more {
        let memory_bytes = least + more;
        let options = PredictOptions { memory_bytes, resample: false, ..PredictOptions::default() };
        let (mut told, mut all) = (vec![0], 0);
        let mut progress = |done, of| {
            told.push(done);
            all = of;
        };
        let tiled = predictor
            .predict(&engine(), vec![stack.clone()], None, "cells.tif", &options, &mut progress)
            .unwrap();
        counts.push(tiled.tiles);
        assert!(told.is_sorted() && told.last() == Some(&all), "{told:?} of {all}");
        assert!(told.len() > tiled.tiles, "{told:?}");
        let difference = difference(&whole.channels[0], &tiled.channels[0]);
        assert!(difference < 1e-4 * range, "{difference} of {range} in {} tiles", tiled.tiles);
    }
    assert!(counts.is_sorted_by(|a, b| a > b) && counts.last() > Some(&1), "{counts:?}");
}

#[test]
fn tiles_equal_the_whole_at_depth_0() {
    check_tiles(2, 0, [5, 20, 31], &[0, 200_000]);
}

#[test]
fn tiles_equal_the_whole_at_depth_1() {
    check_tiles(2, 1, [19, 50, 37], &[0, 500_000, 2_000_000]);
}

#[test]
fn tiles_equal_the_whole_at_depth_2() {
    check_tiles(2, 2, [19, 50, 67], &[0, 500_000, 2_000_000, 5_000_000]);
    check_tiles(18, 2, [6, 21, 150], &[0, 1_000_000]);
}

#[test]
fn tiles_equal_the_whole_at_depth_3() {
    check_tiles(2, 3, [9, 25, 211], &[0, 500_000, 2_000_000, 4_000_000]);
}

/// What a tile at the border of the halo must not do: depend on voxels further away.
#[test]
fn the_halo_is_as_wide_as_the_network_looks() {
    for depth in 0..3 {
        let network = predictor(2, depth).model.network;
        let halo = network.options.halo();
        let length = (2 * halo + 2).next_multiple_of(network.options.divisor());
        let shape = [network.options.divisor(), network.options.divisor(), length];
        let mut voxels = stack(shape).map(|voxel| (voxel - 1000.0) / 50.0).voxels;
        let stain = |voxels: &[f32]| {
            network.forward_eval(&engine(), &Tensor::from_planar(1, 1, shape, voxels)).to_planar()
        };
        let before = stain(&voxels);
        voxels.chunks_mut(length).for_each(|row| row[0] += 3.0);
        let after = stain(&voxels);
        let changed = |x: usize| {
            let rows = before.chunks(length).zip(after.chunks(length));
            rows.into_iter().any(|(a, b)| a[x] != b[x])
        };
        assert!(changed(1), "depth {depth}");
        assert!(
            (halo + 1..length).all(|x| !changed(x)),
            "depth {depth}: halo {halo} is too narrow"
        );
    }
}

#[test]
fn too_little_memory_is_named() {
    let options = PredictOptions { memory_bytes: 50_000, ..PredictOptions::default() };
    let (predictor, stack) = (predictor(2, 1), stack([8, 8, 64]));
    let progress = &mut |_, _| {};
    let result =
        predictor.predict(&engine(), vec![stack], Some([0.29; 3]), "cells.tif", &options, progress);
    let message = result.unwrap_err().to_string();
    assert!(message.contains("cells.tif") && message.contains("50000"), "{message}");
}

#[test]
fn every_fit_covers_the_stack() {
    let (predictor, stack) = (predictor(2, 2), stack([9, 14, 21]));
    let stains = [Fit::Mirror, Fit::Zero, Fit::Crop].map(|fit| {
        let stain =
            predict(&predictor, &stack, &PredictOptions { fit, ..PredictOptions::default() });
        assert_eq!(stain.channels[0].shape, [9, 14, 21]);
        stain.channels[0].clone()
    });
    // F-net's crop: 8 × 12 × 20 from (0, 1, 0); what is cropped away is 0.
    assert_eq!(stains[2].at([8, 5, 5]), 0.0);
    assert_eq!(stains[2].at([3, 0, 5]), 0.0);
    assert_ne!(stains[2].at([7, 12, 19]), 0.0);
    assert!(difference(&stains[0], &stains[1]) > 1e-3);
    // A stack that fits already is the same whatever the rule.
    let small = self::stack([8, 12, 20]);
    let fits = [Fit::Mirror, Fit::Zero, Fit::Crop].map(|fit| {
        predict(&predictor, &small, &PredictOptions { fit, ..PredictOptions::default() }).channels
            [0]
        .clone()
    });
    assert!(fits[0] == fits[1] && fits[1] == fits[2]);
}

#[test]
fn the_stain_comes_back_on_the_grid_of_the_input() {
    let (predictor, stack) = (predictor(2, 1), stack([10, 30, 41]));
    let spacing_um = [0.58, 0.145, 0.108];
    let run = |grid| {
        let options = PredictOptions { grid, ..PredictOptions::default() };
        let progress = &mut |_, _| {};
        let stack = stack.clone();
        predictor
            .predict(&engine(), vec![stack], Some(spacing_um), "a", &options, progress)
            .unwrap()
    };
    let input = run(OutputGrid::Input);
    assert_eq!((input.channels[0].shape, input.spacing_um), ([10, 30, 41], Some(spacing_um)));
    let model = run(OutputGrid::Model);
    assert_eq!(model.channels[0].shape, [20, 15, 15]);
    let expected = [0.58 * 9.0 / 19.0, 0.145 * 29.0 / 14.0, 0.108 * 40.0 / 14.0];
    for (found, expected) in model.spacing_um.unwrap().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12);
    }
    // The corners of both grids are the same points.
    let corners = [([0, 0, 0], [0, 0, 0]), ([9, 29, 40], [19, 14, 14]), ([9, 0, 40], [19, 0, 14])];
    for (on_input, on_model) in corners {
        let (a, b) = (input.channels[0].at(on_input), model.channels[0].at(on_model));
        assert!((a - b).abs() < 1e-4 * range(&model.channels[0]), "{a} and {b}");
    }
}

#[test]
fn the_network_sees_the_standardised_stack() {
    let (predictor, stack) = (predictor(2, 1), stack([4, 6, 8]));
    let stain = predict(&predictor, &stack, &PredictOptions::default()).channels[0].clone();
    let signal = prepare_signal(stack.clone(), None, None, "a").unwrap();
    let input = Tensor::from_planar(1, 1, [4, 6, 8], &signal.voxels);
    assert_eq!(stain.voxels, predictor.model.network.forward_eval(&engine(), &input).to_planar());
    // Gain and offset of the camera do not matter.
    let other = predict(&predictor, &stack.map(|v| 7.0 * v - 400.0), &PredictOptions::default());
    assert!(difference(&stain, &other.channels[0]) < 1e-3 * range(&stain));
}

#[test]
fn spotlight_is_clipped_and_intensities_are_those_of_the_training_set() {
    let mut predictor = predictor(2, 1);
    let stack = stack([6, 12, 12]);
    let free = predict(&predictor, &stack, &PredictOptions::default()).channels[0].clone();
    let least = 0.5 * (free.voxels[0] + free.voxels[400]);
    predictor.model.manifest.output_clip_min = Some(f64::from(least));
    let clipped = predict(&predictor, &stack, &PredictOptions::default()).channels[0].clone();
    assert_eq!(clipped, free.map(|voxel| voxel.max(least)));
    assert_ne!(clipped, free);
    let options = PredictOptions { clip: false, ..PredictOptions::default() };
    assert_eq!(predict(&predictor, &stack, &options).channels[0], free);

    let options = PredictOptions { intensities: Intensities::Training, ..options };
    let raw = &predict(&predictor, &stack, &options).channels[0];
    // (-1, 7) becomes (100, 900).
    assert!(difference(raw, &free.map(|voxel| (voxel + 1.0) * 100.0 + 100.0)) < 1e-3);
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut Volume<f32>), spacing_um: Option<[f64; 3]>, part: &str) {
    let mut stack = stack([4, 6, 8]);
    change(&mut stack);
    let (predictor, options) = (predictor(2, 1), PredictOptions::default());
    let progress = &mut |_, _| {};
    let result =
        predictor.predict(&engine(), vec![stack], spacing_um, "cells.tif", &options, progress);
    let message = result.unwrap_err().to_string();
    assert!(message.contains("cells.tif") && message.contains(part), "{message}");
}

#[test]
fn unfit_stacks_are_named() {
    let known = Some([0.29; 3]);
    check_refused(|stack| stack.voxels.fill(3.0), known, "constant");
    check_refused(|stack| stack.voxels[3] = f32::NAN, known, "NaN");
    check_refused(|stack| stack.voxels[3] = f32::NEG_INFINITY, known, "inf");
    check_refused(|_| {}, None, "no voxel size");
}
