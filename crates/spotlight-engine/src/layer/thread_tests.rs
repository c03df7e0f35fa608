//! Results are the same to the bit for any number of threads.

use crate::{Activation, Adam, Algorithm, Engine, EngineOptions, Tensor};

/// Numbers whose sums are rounded, so that their order matters.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i + seed) * 7919 % 10007) as f32 / 10007.0 - 0.5) / 3.0).collect()
}

fn tensor(batch: usize, channels: usize, shape: [usize; 3], seed: usize) -> Tensor {
    let len = batch * channels * shape.iter().product::<usize>();
    Tensor::from_planar(batch, channels, shape, &numbers(len, seed))
}

/// All that a training step computes, of shapes that are cut into several regions.
fn step(threads: usize) -> Vec<Vec<f32>> {
    let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
    let engine = Engine::new(&options).unwrap();
    let (shape, coarse) = ([6, 36, 40], [3, 18, 20]);
    let (x, skip) = (tensor(2, 20, shape, 1), tensor(2, 17, shape, 2));
    let inputs = [&x, &skip].map(|tensor| Activation { tensor, normalise: None });
    let (weights, bias) = (numbers(18 * 37 * 27, 3), numbers(18, 4));
    let y = engine.conv3(&inputs, &weights, &bias, 18);
    let stats = engine.statistics(&y);
    let (gamma, beta) = (numbers(18, 5), numbers(18, 6));
    let law = stats.scale_shift(&gamma, &beta, 1e-5);
    let activation = [Activation { tensor: &y, normalise: Some(&law) }];
    let (half_weights, mut half_grad) = (numbers(18 * 7 * 8, 7), vec![0.0; 18 * 7 * 8]);
    let z = engine.down2(&activation, &half_weights, &bias[..7], 7);
    engine.down2_backward_weights(&activation, &z, &mut half_grad);
    let small_bias = engine.bias_gradient(&z);
    let fine = engine.down2_backward_data(&z, &half_weights, &[18]).remove(0);
    let (grad, dgamma, dbeta) =
        engine.batch_norm_relu_backward(&y, &stats, &gamma, &beta, 1e-5, fine);
    let mut dw = weights.clone();
    engine.conv3_backward_weights(&inputs, &grad, &mut dw);
    let db = engine.bias_gradient(&grad);
    let dx = engine.conv3_backward_data(&grad, &weights, &[20, 17]);
    let up = engine.up2(&[Activation { tensor: &z, normalise: None }], &half_weights, &bias, 18);
    let mut sum = up.clone();
    engine.add(&mut sum, &grad);
    let (mut params, mut m, mut v) = (weights, vec![0.0; dw.len()], vec![0.0; dw.len()]);
    engine.adam(&mut params, &dw, &mut m, &mut v, &Adam::default(), 1);
    assert_eq!(z.shape(), coarse);
    let mut results = vec![small_bias, half_grad, dgamma, dbeta, dw, db, params];
    results.extend([&y, &z, &grad, &dx[0], &dx[1], &up, &sum].map(Tensor::to_planar));
    results
}

/// The passes of a deep layer, whose parts are dealt to the threads phase by phase.
fn deep_layer(threads: usize) -> Vec<Vec<f32>> {
    let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
    let engine = Engine::new(&options).unwrap();
    let (batch, channels, shape) = (3, 80, [4, 16, 12]);
    assert_eq!(engine.conv3_algorithm(batch, shape, channels, channels), Algorithm::Winograd);
    let x = tensor(batch, channels, shape, 1);
    let inputs = [Activation { tensor: &x, normalise: None }];
    let (weights, bias) = (numbers(channels * channels * 27, 2), numbers(channels, 3));
    let (y, statistics) = engine.conv3_with_statistics(&inputs, &weights, &bias, channels);
    let mut dw = weights.clone();
    engine.conv3_backward_weights(&inputs, &y, &mut dw);
    let dx = engine.conv3_backward_data(&y, &weights, &[channels]).remove(0);
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
    let (mean, variance) = (narrow(&statistics.mean), narrow(&statistics.variance));
    vec![y.to_planar(), dx.to_planar(), dw, mean, variance]
}

#[track_caller]
fn check(work: impl Fn(usize) -> Vec<Vec<f32>>, more: &[usize]) {
    let bits = |step: Vec<Vec<f32>>| -> Vec<Vec<u32>> {
        step.iter().map(|values| values.iter().map(|x| x.to_bits()).collect()).collect()
    };
    let alone = bits(work(1));
    for &threads in more {
        assert!(bits(work(threads)) == alone, "{threads} threads differ from one");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    check(step, &[2, 3, 5]);
    check(deep_layer, &[2, 7, 64]);
}
