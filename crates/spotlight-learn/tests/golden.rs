//! The network and the losses against reference vectors.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use serde_json::Value;
use spotlight_engine::{Adam, Engine, EngineOptions, InstructionSet, Precision, Tensor};
use spotlight_golden::{Case, number, run_topic};
use spotlight_image::Volume;
use spotlight_image::evaluate::pearson;
use spotlight_image::standardise::{Moments, moments, moments_around_centre, standardise};
use spotlight_image::tile::{Blend, crop_to_multiple, overlapping_tiles, triangle_window};
use spotlight_learn::fnet::{EntryKind, Fnet, FnetOptions};
use spotlight_learn::loss::{
    Degenerate, Loss, LossTerms, Reduction, SpotlightOptions, sigmoid, sigmoid_slope,
};

#[test]
fn golden_loss() {
    run_topic("loss", |case| {
        let known = [
            "autograd of the written formula in float64",
            "viscy_utils.losses.spotlight.SpotlightLoss",
        ];
        for function in case.functions() {
            assert!(known.iter().any(|k| function.starts_with(k)), "unknown reference {function}");
        }
        if case.param("k").is_array() { check_sigmoid(case) } else { check_loss(case) }
    });
}

fn check_sigmoid(case: &Case) {
    let x = case.input("x").to_f64();
    let rows = case.param("k").as_array().unwrap().iter().map(number);
    let table = |f: fn(f64, f64) -> f64| -> Vec<f64> {
        rows.clone().flat_map(|k| x.iter().map(move |x| f(*x, k))).collect()
    };
    let shape = [rows.len(), x.len()];
    for name in case.expected_arrays() {
        match name.as_str() {
            "sigma" => case.check_array(&name, &shape, &table(sigmoid)),
            "dsigma_dx" => case.check_array(&name, &shape, &table(sigmoid_slope)),
            other => panic!("unknown array {other}"),
        }
    }
}

fn check_loss(case: &Case) {
    for name in case.expected_scalars() {
        let (variant, part) = name.split_once('.').unwrap();
        let (terms, _) = loss_variant(case, variant, "total");
        match part {
            "mmse" => case.check_scalar(&name, terms.mse),
            "dice" => case.check_scalar(&name, terms.dice.unwrap()),
            "total" => case.check_scalar(&name, terms.total),
            "grad_total_finite" => {
                assert_eq!(*case.scalar(&name), Value::Bool(terms.total.is_finite()), "{name}");
            }
            other => panic!("unknown scalar {other}"),
        }
    }
    let shape = case.input("pred").shape;
    for name in case.expected_arrays() {
        let (part, variant) = name.strip_prefix("grad_").unwrap().split_once('_').unwrap();
        case.check_array(&name, &shape, &loss_variant(case, variant, part).1);
    }
}

/// Value and gradient of one variant of the loss; `part` chooses the weights of its terms.
fn loss_variant(case: &Case, variant: &str, part: &str) -> (LossTerms, Vec<f64>) {
    let parameter = |name: &str| number(case.param(name));
    let (prediction, target) = (case.input("pred"), case.input("target"));
    let [items, channels] = [prediction.shape[0], prediction.shape[1]];
    let mask: Vec<bool> = case.input("mask").to_f64().into_iter().map(|m| m != 0.0).collect();
    // What `fg_threshold` made of the target is the mask, which the case gives.
    let paper = SpotlightOptions {
        lambda_mse: match part {
            "total" => parameter("lambda_mse"),
            "mmse" => 1.0,
            "dice" => 0.0,
            other => panic!("unknown part {other}"),
        },
        sigmoid_k: parameter("k"),
        epsilon: parameter("eps"),
        degenerate: Degenerate::Formula,
        ..SpotlightOptions::default()
    };
    let global = SpotlightOptions { reduction: Reduction::Batch, ..paper.clone() };
    let (options, samples) = match variant {
        "global_clamp" => (global, items),
        "global_noclamp" => (SpotlightOptions { clamp: false, ..global }, items),
        "sample_clamp" => (paper, items),
        "sample_noclamp" => (SpotlightOptions { clamp: false, ..paper }, items),
        "viscy" => {
            let epsilon_mse = paper.epsilon;
            let degenerate = Degenerate::Fallback;
            (SpotlightOptions { epsilon_mse, degenerate, ..paper }, items * channels)
        }
        other => panic!("unknown variant {other}"),
    };
    options.check().unwrap();
    let mut gradient = vec![0.0; mask.len()];
    let terms = Loss::Spotlight(options).value_and_exact_gradient(
        samples,
        &prediction.to_f32(),
        &target.to_f32(),
        &mask,
        &mut gradient,
    );
    (terms, gradient)
}

/// Name, shape and values of tensors, as a reference file holds them.
type Tensors = Vec<(String, Vec<usize>, Vec<f64>)>;

#[test]
fn golden_fnet() {
    run_topic("fnet", |case| match case.functions()[0].as_str() {
        f if f.starts_with("fnet.nn_modules.fnet_nn_3d_params.Net / ") => check_network(case),
        "fnet.predict_piecewise.predict_piecewise" => check_piecewise(case),
        "fnet.transforms.normalize, norm_around_center" => check_normalise(case),
        f if f.starts_with("fnet.transforms.Cropper('-', by, 'mid', ") => check_crop(case),
        "fnet.metrics.corr_coef" => check_correlation(case),
        other => panic!("unknown reference {other}"),
    });
}

/// Overlapping tiles through the network, blended.
fn check_piecewise(case: &Case) {
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let x = case.input("x");
    let network = network(case, "state.safetensors");
    // The first entry of each list is for the channels, which are never cut.
    let list = |name: &str| -> [usize; 3] {
        let values = case.param(name).as_array().unwrap();
        assert!(values[0].is_null() && values.len() == 4, "{name}");
        std::array::from_fn(|axis| size(&values[axis + 1]))
    };
    let shape = volume_shape(&x.shape);
    let image = Volume::new(shape, x.to_f32());
    assert_eq!(x.shape[0], 1, "one channel");
    let mut blend = Blend::new(shape);
    for tile in overlapping_tiles(shape, list("dims_max"), list("overlaps")) {
        let input = Tensor::from_planar(1, 1, tile.shape, &image.crop(tile).voxels);
        let output = network.forward_eval(&engine, &input).to_planar();
        blend.add(tile.start, &Volume::new(tile.shape, output));
    }
    for name in case.expected_arrays() {
        let found = match name.as_str() {
            "y" => blend.clone().finish(),
            "weights_of_one_tile" => {
                let largest = list("dims_max");
                triangle_window(std::array::from_fn(|axis| largest[axis].min(shape[axis])))
            }
            other => panic!("unknown array {other}"),
        };
        check_volume(case, &name, &x.shape[..1], &found);
    }
}

fn check_normalise(case: &Case) {
    let x = volume(case, "x");
    for name in case.expected_arrays() {
        let Moments { mean, std } = match name.as_str() {
            "normalize" => moments(&x),
            "norm_around_center" => moments_around_centre(&x),
            other => panic!("unknown array {other}"),
        };
        check_volume(case, &name, &[], &standardise(&x, mean, std));
    }
}

fn check_crop(case: &Case) {
    assert_eq!(case.expected_scalars(), ["cases"]);
    for entry in case.scalar("cases").as_array().unwrap() {
        let list = |name: &str| {
            let values = entry[name].as_array().unwrap();
            [size(&values[0]), size(&values[1]), size(&values[2])]
        };
        let limit = (!entry["n_max_pixels"].is_null()).then(|| size(&entry["n_max_pixels"]));
        let region = crop_to_multiple(list("shape"), size(&entry["by"]), limit);
        assert_eq!((region.start, region.stop()), (list("start"), list("stop")), "{entry}");
    }
}

fn check_correlation(case: &Case) {
    assert_eq!(case.expected_scalars(), ["r"]);
    case.check_scalar("r", pearson(&volume(case, "a"), &volume(case, "b")));
}

fn volume(case: &Case, name: &str) -> Volume<f32> {
    let array = case.input(name);
    Volume::new(array.shape.as_slice().try_into().unwrap(), array.to_f32())
}

fn check_volume(case: &Case, name: &str, before: &[usize], found: &Volume<f32>) {
    case.check_array(name, &[before, &found.shape].concat(), &widen(&found.voxels));
}

fn check_network(case: &Case) {
    for function in case.functions() {
        let known = ["fnet.nn_modules.fnet_nn_3d_params.Net / ", "torch.nn, torch.optim.Adam"];
        assert!(known.iter().any(|k| function.starts_with(k)), "unknown reference {function}");
    }
    let loss = case.param("loss").as_str().unwrap();
    assert!(loss.starts_with("mean squared error over all elements"), "unknown loss {loss}");
    assert_eq!(case.param("batchnorm")["eps"], 1e-5);
    assert_eq!(case.param("batchnorm")["momentum"], 0.1);
    let network = network(case, "state_initial.safetensors");
    assert_eq!(network.parameters.len(), size(case.param("n_parameters")));

    // Later steps hang on rounding: where a sum is within it of zero, a rectifier may open
    // on one machine and stay shut on the next, and all that follows differs. So the steps
    // are counted with sums that leave no doubt, the first one with the others, too.
    let (fast, precise) = (Some(Precision::Fast), Some(Precision::Precise));
    let exact = Some(InstructionSet::Exact);
    for (instruction_set, precision, all_steps) in
        [(None, fast, false), (None, precise, false), (exact, None, true)]
    {
        let options = EngineOptions { instruction_set, precision, ..EngineOptions::default() };
        let engine = Engine::new(&options).unwrap();
        let output = network.forward_eval(&engine, &input(case));
        check_output(case, "eval_output", &output);
        train(case, &engine, network.clone(), all_steps);
    }
    for name in case.expected_arrays() {
        if name == "eval_output_after_adam" {
            let trained = self::network(case, "state_after_adam.safetensors");
            let engine = Engine::new(&EngineOptions::default()).unwrap();
            check_output(case, &name, &trained.forward_eval(&engine, &input(case)));
        } else {
            let known = ["eval_output", "train_output"].contains(&name.as_str());
            assert!(known || name.starts_with("grad__"), "unknown array {name}");
        }
    }
    for name in case.expected_scalars() {
        // The last four say what the reference is worth.
        let known = ["train_loss", "adam_losses", "zero_gradient_parameters"];
        let about = ["train_loss_f64", "adam_losses_f64", "adam_float32_vs_float64"];
        assert!(known.iter().chain(&about).any(|k| *k == name), "unknown scalar {name}");
    }
}

/// The steps of Adam on the one batch, each checked as far as the case goes.
fn train(case: &Case, engine: &Engine, mut network: Fnet, all_steps: bool) {
    let network = &mut network;
    let adam = case.param("adam");
    assert_eq!(number(&adam["weight_decay"]), 0.0);
    let options = Adam {
        learning_rate: number(&adam["lr"]),
        beta1: number(&adam["betas"][0]),
        beta2: number(&adam["betas"][1]),
        epsilon: number(&adam["eps"]),
    };
    let (target, steps) = (case.input("target").to_f32(), size(&adam["steps"]));
    let (items, shape) = (target_shape(case)[0], volume_shape(&target_shape(case)));
    let mut gradients = vec![0.0; network.parameters.len()];
    let (mut m, mut v) = (gradients.clone(), gradients.clone());
    let mut losses = Vec::new();
    for step in 1..=if all_steps { steps } else { 1 } {
        let (output, trace) = network.forward_train(engine, input(case));
        let prediction = output.to_planar();
        let (mask, mut slope) = (vec![true; target.len()], vec![0.0; target.len()]);
        let terms = Loss::Mse.value_and_gradient(items, &prediction, &target, &mask, &mut slope);
        losses.push(terms.total);
        let slope = Tensor::from_planar(items, target_shape(case)[1], shape, &slope);
        network.backward(engine, trace, slope, &mut gradients);
        if step == 1 {
            check_output(case, "train_output", &output);
            case.check_scalar("train_loss", terms.total);
            check_gradients(case, network, &gradients);
        }
        engine.adam(&mut network.parameters, &gradients, &mut m, &mut v, &options, step as u64);
        let drift = Drift::after(step, options.learning_rate);
        if step == 1 {
            check_state(case, network, "state_after_one_adam_step.safetensors", drift);
        }
        if step == steps {
            check_state(case, network, "state_after_adam.safetensors", drift);
        }
    }
    let expected: Vec<f64> =
        case.scalar("adam_losses").as_array().unwrap().iter().map(number).collect();
    case.check_values("adam_losses", &losses, &expected[..losses.len()]);
}

fn check_gradients(case: &Case, network: &Fnet, gradients: &[f32]) {
    let of = |name: &str| -> Vec<f64> {
        let entry = network.entries().iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry.kind, EntryKind::Trainable, "{name}");
        gradients[entry.range.clone()].iter().map(|g| f64::from(*g)).collect()
    };
    let file = "grads.safetensors";
    let zero = zero_gradient_parameters(case);
    let tensors = case.tensors(file);
    assert_eq!(tensors.iter().map(|(_, _, v)| v.len()).sum::<usize>(), gradients.len());
    for (name, _, expected) in tensors {
        if zero.contains(&name) {
            assert!(of(&name).iter().all(|g| *g == 0.0), "{name}");
        } else {
            case.check_values(file, &of(&name), &expected);
        }
    }
    for name in case.expected_arrays() {
        if let Some(parameter) = name.strip_prefix("grad__") {
            case.check_values(&name, &of(parameter), &case.expected(&name).to_f64());
        }
    }
    let file = "batchnorm_buffers_after_one_train_forward.safetensors";
    for entry in network.entries().iter().filter(|entry| entry.kind == EntryKind::Buffer) {
        let tensors = case.tensors(file);
        let (_, _, expected) = tensors.iter().find(|(name, ..)| *name == entry.name).unwrap();
        case.check_values(file, &widen(network.values(entry)), expected);
    }
}

/// How far the reference may have moved in directions that change no output.
///
/// A bias before a normalisation has no gradient; in the reference rounding noise moves it
/// by up to twice the learning rate a step, and the mean of the batch with it.
#[derive(Clone, Copy)]
struct Drift {
    bias: f64,
    running_mean: f64,
}

impl Drift {
    fn after(steps: usize, learning_rate: f64) -> Self {
        let bias = |steps: usize| 2.0 * learning_rate * steps as f64;
        Self { bias: bias(steps), running_mean: (0..steps).map(|s| 0.1 * bias(s)).sum() }
    }
}

/// Compares the state with a file, if the case has it.
fn check_state(case: &Case, network: &Fnet, file: &str, drift: Drift) {
    if case.json["files"][file].is_null() {
        return;
    }
    let zero = zero_gradient_parameters(case);
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    let tensors = case.tensors(file);
    for entry in network.entries() {
        let (_, shape, reference) = tensors.iter().find(|(n, ..)| *n == entry.name).unwrap();
        assert_eq!(*shape, entry.shape, "{}", entry.name);
        let own = widen(network.values(entry));
        let within = |absolute: f64, relative: f64| {
            for (a, b) in own.iter().zip(reference) {
                let off = (a - b).abs();
                assert!(off <= absolute + relative * b.abs(), "{}: {a}, not {b}", entry.name);
            }
        };
        if entry.name.ends_with("running_mean") {
            within(drift.running_mean + 1e-6, 1e-4);
        } else if entry.kind == EntryKind::Buffer {
            within(0.0, 1e-4);
        } else if zero.contains(&entry.name) {
            within(drift.bias, 0.0);
        } else {
            found.extend(own);
            expected.extend(reference);
        }
    }
    case.check_values(file, &found, &expected);
}

/// The network of a case, with the state of a file.
fn network(case: &Case, file: &str) -> Fnet {
    let channels = |name: &str| if case.param(name).is_null() { 1 } else { size(case.param(name)) };
    let options = FnetOptions {
        width: size(case.param("mult_chan")),
        depth: size(case.param("depth")),
        in_channels: channels("in_channels"),
        out_channels: channels("out_channels"),
    };
    let mut network = Fnet::new(&options, 0);
    let mut tensors: Tensors = case.tensors(file);
    tensors.retain(|(name, ..)| !name.ends_with("num_batches_tracked"));
    assert_eq!(tensors.len(), network.entries().len());
    for entry in network.entries().to_vec() {
        let (_, shape, values) = tensors.iter().find(|(name, ..)| *name == entry.name).unwrap();
        assert_eq!(*shape, entry.shape, "{}", entry.name);
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        network.values_mut(&entry).copy_from_slice(&values);
    }
    network
}

fn input(case: &Case) -> Tensor {
    let x = case.input("x");
    Tensor::from_planar(x.shape[0], x.shape[1], volume_shape(&x.shape), &x.to_f32())
}

fn check_output(case: &Case, name: &str, output: &Tensor) {
    let [z, y, x] = output.shape();
    let shape = [output.batch(), output.channels(), z, y, x];
    case.check_array(name, &shape, &widen(&output.to_planar()));
}

fn zero_gradient_parameters(case: &Case) -> Vec<String> {
    let names = case.scalar("zero_gradient_parameters").as_array().unwrap();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn target_shape(case: &Case) -> Vec<usize> {
    case.input("target").shape
}

fn volume_shape(shape: &[usize]) -> [usize; 3] {
    shape[shape.len() - 3..].try_into().unwrap()
}

fn size(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}
