//! Cellpose's network against reference vectors.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::PathBuf;

use spotlight_engine::{Engine, EngineOptions, Precision, Tensor};
use spotlight_golden::{Case, number, run_selected};
use spotlight_image::Volume;
use spotlight_learn::cpnet::{
    CellposeOptions, Cpnet, Orientation, RunOptions, run_3d, run_planes, stack_flows,
};

const NETWORK: &str = "cellpose.resnet_torch.CPnet";
const RUN_NET: &str = "cellpose.core.run_net";
const RUN_3D: &str = "cellpose.core.run_3D";
const EVAL: &str = "cellpose.models.CellposeModel.eval";

#[test]
fn golden_cellpose_network() {
    let belongs =
        |case: &Case| [NETWORK, RUN_NET, RUN_3D, EVAL].iter().any(|name| case.is_by(name));
    run_selected("cellpose", belongs, |case| {
        for precision in [Precision::Precise, Precision::Fast] {
            let options = EngineOptions { precision: Some(precision), ..EngineOptions::default() };
            let engine = Engine::new(&options).unwrap();
            match case.functions()[0].as_str() {
                NETWORK => check_network(case, &engine),
                RUN_NET => check_planes(case, &engine),
                RUN_3D => check_stack(case, &engine),
                EVAL => check_eval(case, &engine),
                other => panic!("unknown reference {other}"),
            }
        }
    });
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// The network of a case: in its folder, or where its parameters say.
fn network(case: &Case) -> Cpnet {
    let file = case.param("weights").as_str().unwrap_or("model.pt");
    Cpnet::read(&case.folder.join(file)).unwrap()
}

fn check_network(case: &Case, engine: &Engine) {
    let x = case.input("x");
    let [batch, channels, height, width] = x.shape[..] else { panic!("a batch of tiles") };
    let files = case.json["files"].as_object().unwrap();
    let files: Vec<PathBuf> = files.keys().map(|file| case.folder.join(file)).collect();
    assert!(!files.is_empty());
    for file in files {
        let network = Cpnet::read(&file).unwrap();
        let tiles = Tensor::from_planar(batch, channels, [1, height, width], &x.to_f32());
        let features = network.encode(engine, tiles);
        let wanted = case.scalar("downsample_features").as_array().unwrap();
        assert_eq!(features.len(), wanted.len());
        for (feature, wanted) in features.iter().zip(wanted) {
            let [_, height, width] = feature.shape();
            let shape = [feature.batch(), feature.channels(), height, width];
            let wanted_shape: Vec<_> =
                wanted["shape"].as_array().unwrap().iter().map(|n| number(n) as usize).collect();
            assert_eq!(shape[..], wanted_shape);
            let values = widen(&feature.to_planar());
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            let deviation = (squares / (values.len() - 1) as f64).sqrt();
            let largest = values.iter().fold(f64::MIN, |a, b| a.max(*b));
            for (name, found) in [("mean", mean), ("std", deviation), ("max", largest)] {
                case.check_values("downsample_features", &[found], &[number(&wanted[name])]);
            }
        }
        let (y, style) = network.decode(engine, features);
        case.check_array("y", &[batch, 3, height, width], &widen(&y.to_planar()));
        case.check_array("style", &[batch, network.style_len()], &widen(&style));
    }
}

/// The channels of a stack (z, y, x, channel).
fn channels(case: &Case, name: &str) -> Vec<Volume<f32>> {
    let array = case.input(name);
    let [z, y, x, channels] = array.shape[..] else { panic!("a stack of channels") };
    let values = array.to_f32();
    let channel = |c: usize| Volume {
        shape: [z, y, x],
        voxels: values[c..].iter().step_by(channels).copied().collect(),
    };
    (0..channels).map(channel).collect()
}

/// Volumes as one array whose last axis is the volume.
fn interleaved(volumes: &[&Volume<f32>]) -> Vec<f64> {
    let voxels = 0..volumes[0].voxels.len();
    voxels.flat_map(|i| volumes.iter().map(move |v| f64::from(v.voxels[i]))).collect()
}

fn check_planes(case: &Case, engine: &Engine) {
    let (network, channels) = (network(case), channels(case, "image"));
    let channels: Vec<_> = channels.iter().collect();
    for name in case.expected_arrays() {
        let augment = name.ends_with("_augment");
        let options = RunOptions {
            tile_size: number(case.param("bsize")) as usize,
            tile_overlap: number(case.param("tile_overlap")),
            batch_size: number(case.param("batch_size")) as usize,
            augment,
            ..RunOptions::default()
        };
        let mut done = Vec::new();
        let outputs = run_planes(
            &network,
            engine,
            &channels,
            Orientation::Yx,
            "image",
            &options,
            &mut |tiles, of| done.push((tiles, of)),
        )
        .unwrap();
        let (last, of) = done.pop().unwrap();
        assert!(last == of && done.iter().all(|(tiles, total)| *tiles < of && *total == of));
        let [z, y, x] = outputs.logits.shape;
        match name.trim_end_matches("_augment") {
            "y" => {
                let found = [&outputs.first, &outputs.second, &outputs.logits];
                case.check_array(&name, &[z, y, x, 3], &interleaved(&found));
            }
            "style" => {
                case.check_array(&name, &[z, network.style_len()], &widen(&outputs.styles));
            }
            other => panic!("unknown array {other}"),
        }
    }
}

fn check_stack(case: &Case, engine: &Engine) {
    let (network, channels) = (network(case), channels(case, "volume"));
    let channels: Vec<_> = channels.iter().collect();
    let options =
        RunOptions { tile_size: number(case.param("bsize")) as usize, ..RunOptions::default() };
    let quiet = &mut |_, _| {};
    let sums = run_3d(&network, engine, &channels, "volume", &options, quiet).unwrap();
    let [z, y, x] = sums.logits.shape;
    for name in case.expected_arrays() {
        let orientation = match name.as_str() {
            "pass_1_planes_yx" => Orientation::Yx,
            "pass_2_planes_zx" => Orientation::Zx,
            "pass_3_planes_zy" => Orientation::Zy,
            "dP" => {
                let flows: Vec<f32> =
                    sums.flows.iter().flat_map(|flow| flow.voxels.iter().copied()).collect();
                case.check_array(&name, &[3, z, y, x], &widen(&flows));
                continue;
            }
            "cellprob" => {
                case.check_array(&name, &[z, y, x], &widen(&sums.logits.voxels));
                continue;
            }
            "style" => {
                case.check_array(&name, &[x, network.style_len()], &widen(&sums.styles));
                continue;
            }
            other => panic!("unknown array {other}"),
        };
        let outputs =
            run_planes(&network, engine, &channels, orientation, "volume", &options, quiet)
                .unwrap();
        let [planes, first, second] = outputs.logits.shape;
        let found = [&outputs.first, &outputs.second, &outputs.logits];
        case.check_array(&name, &[planes, first, second, 3], &interleaved(&found));
    }
}

fn check_eval(case: &Case, engine: &Engine) {
    let network = network(case);
    let trained = number(case.param("diam_mean_of_model"));
    assert_eq!(network.diameter, Some(trained));
    let image = case.input("image");
    let [y, x] = image.shape[image.shape.len() - 2..] else { panic!("an image has planes") };
    let z = image.shape[..image.shape.len() - 2].iter().product();
    let stack = Volume { shape: [z, y, x], voxels: image.to_f32() };
    let given = |name: &str| case.param(name).as_f64();
    // A factor is that of a diameter.
    let diameter = given("diameter").or(given("rescale").map(|factor| trained / factor));
    let do_3d = case.param("do_3D").as_bool().unwrap_or(false);
    let options = CellposeOptions {
        diameter,
        do_3d,
        anisotropy: given("anisotropy").unwrap_or(1.0),
        ..CellposeOptions::default()
    };
    let quiet = &mut |_, _| {};
    let found = stack_flows(&network, engine, stack, "image", &options, quiet).unwrap();
    let flows: Vec<f32> = found.flows.iter().flat_map(|flow| flow.voxels.iter().copied()).collect();
    let shape = &case.expected("dP").shape;
    assert_eq!(shape[0], if do_3d { 3 } else { 2 });
    case.check_array("dP", shape, &widen(&flows));
    case.check_array("cellprob", &image.shape, &widen(&found.logits.voxels));
}
