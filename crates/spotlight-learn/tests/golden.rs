//! The network and the losses against reference vectors.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use serde_json::Value;
use spotlight_golden::{Case, number, run_topic};
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
    let paper = SpotlightOptions {
        lambda_mse: match part {
            "total" => parameter("lambda_mse"),
            "mmse" => 1.0,
            "dice" => 0.0,
            other => panic!("unknown part {other}"),
        },
        sigmoid_k: parameter("k"),
        epsilon: parameter("eps"),
        foreground_threshold: parameter("fg_threshold"),
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
