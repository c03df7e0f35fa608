//! Winograd's algorithm on every instruction set of this machine against the definition.
//!
//! The transforms round, so the results are close, not equal: the error is measured against the
//! largest value that the sums reach.

use proptest::prelude::*;

use super::{
    Statistics,
    conv::{Ends, backward_weights, forward_weights},
    oracle_tests::{Inputs, check_padding, some_channels},
    tests::{numbers, tensor},
};
use crate::{
    Activation, Engine, EngineOptions, InstructionSet, Tensor,
    kernel::{
        naive::{self, Geometry, Planar},
        pack::{TAPS, Weights},
    },
    plan::Algorithm,
};

/// Engines of one thread, where every thread takes regions of its own, and of eleven, where the
/// parts of all phases are dealt.
fn engines() -> Vec<Engine> {
    let engine = |(set, threads)| {
        let (threads, instruction_set) = (Some(threads), Some(set));
        let options = EngineOptions { threads, instruction_set, ..EngineOptions::default() };
        Engine::new(&options).unwrap()
    };
    let sets = InstructionSet::available();
    sets.into_iter().flat_map(|set| [(set, 1), (set, 11)]).map(engine).collect()
}

#[track_caller]
fn check_close(what: &str, engine: &Engine, found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let off = (found - wanted).abs() / largest;
        let set = engine.instruction_set();
        assert!(off < 2e-5, "{what}, {set}: {found} instead of {wanted} at {index}");
    }
}

/// A convolution by Winograd's algorithm, whatever the plan would choose.
fn winograd(
    engine: &Engine,
    inputs: &[Activation<'_>],
    weights: Weights<'_>,
    bias: Option<&[f32]>,
    outputs: &mut [Tensor],
) -> [Vec<f64>; 2] {
    let ends = Ends::new(inputs, bias, false, outputs);
    engine.install(|| {
        let packed = engine.pack3(Algorithm::Winograd, weights, &ends);
        engine.convolve_packed(&ends, &packed, true).unwrap()
    })
}

#[track_caller]
fn check(batch: usize, channels: &[usize], out: usize, shape: [usize; 3], seed: u64) {
    let inputs = Inputs::new(batch, channels, shape, seed);
    let (inputs, total) = (inputs.activations(), channels.iter().sum::<usize>());
    let (weights, bias) = (numbers(out * total * TAPS, seed + 2), numbers(out, seed + 3));
    let grad = tensor(batch, out, shape, seed + 4);
    let (x, dy) = (Planar::of(&inputs), Planar::of_tensor(&grad));
    let mut y = naive::forward(&x, &weights, out, Geometry::CONV3);
    y.add_bias(&bias);
    let y = y.into_tensor().to_planar();
    let dx = naive::backward_data(&dy, &weights, total, shape, Geometry::CONV3).split(channels);
    let dw = naive::backward_weights(&x, &dy, Geometry::CONV3);
    let dw: Vec<_> = dw.iter().map(|&value| value as f32).collect();
    for engine in engines() {
        let mut found = [Tensor::unfilled(batch, out, shape)];
        let forward = forward_weights(&weights, total);
        let moments = winograd(&engine, &inputs, forward, Some(&bias), &mut found);
        let statistics = Statistics::of_moments(moments, batch * found[0].voxels());
        let wanted = engine.statistics(&found[0]);
        for (found, wanted) in
            [(&statistics.mean, &wanted.mean), (&statistics.variance, &wanted.variance)]
        {
            let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
            check_close("statistics", &engine, &narrow(found), &narrow(wanted));
        }
        check_close("forward", &engine, &found[0].to_planar(), &y);
        check_padding(&found[0]);
        let mut found: Vec<_> =
            channels.iter().map(|&count| Tensor::unfilled(batch, count, shape)).collect();
        let from = [Activation { tensor: &grad, normalise: None }];
        winograd(&engine, &from, backward_weights(&weights, total), None, &mut found);
        for (found, wanted) in found.iter().zip(&dx) {
            check_close("backward data", &engine, &found.to_planar(), &wanted.to_planar());
            check_padding(found);
        }
        let mut found = vec![9.0; weights.len()];
        engine.winograd_weights(&inputs, &grad, &mut found);
        check_close("backward weights", &engine, &found, &dw);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn winograd_is_the_definition(
        batch in 1_usize..=3,
        channels in some_channels(),
        out in 1_usize..=40,
        shape in [1_usize..=7, 1_usize..=11, 1_usize..=11],
        seed in 0_u64..1000,
    ) {
        check(batch, &channels, out, shape, seed);
    }
}

// Volumes that are cut along every axis, runs of planes that are rolled and that end with fewer
// planes, and several samples in one region.
#[test]
fn volumes_are_cut_and_joined() {
    check(1, &[48], 40, [13, 16, 16], 1);
    check(1, &[17], 18, [3, 9, 150], 2);
    check(1, &[3, 20], 33, [2, 70, 37], 3);
    check(5, &[64], 48, [2, 4, 6], 4);
    check(2, &[128], 64, [11, 8, 8], 5);
}
