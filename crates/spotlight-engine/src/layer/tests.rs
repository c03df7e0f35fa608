//! Every layer against its definition and its adjoint.

use crate::{Activation, Engine, EngineOptions, ScaleShift, Tensor};

fn engine() -> Engine {
    Engine::new(&EngineOptions::default()).unwrap()
}

/// Whole numbers from -4 to 4, so that sums are exact.
pub(super) fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 % 9.0 - 4.0
    };
    (0..len).map(|_| next()).collect()
}

pub(super) fn tensor(batch: usize, channels: usize, shape: [usize; 3], seed: u64) -> Tensor {
    let len = batch * channels * shape.iter().product::<usize>();
    Tensor::from_planar(batch, channels, shape, &numbers(len, seed))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

// conv(x) · y = x · conv_backward_data(y) = w · conv_backward_weights(x, y), for every layer.
#[test]
fn backward_is_the_adjoint_of_forward() {
    let engine = engine();
    let (a, b) = (tensor(2, 3, [4, 2, 6], 1), tensor(2, 17, [4, 2, 6], 2));
    let inputs = [&a, &b].map(|tensor| Activation { tensor, normalise: None });
    let (channels, out) = (20, 5);
    let check = |y: &Tensor, grad: &Tensor, parts: &[Tensor], dw: &[f32], w: &[f32]| {
        let forward = dot(&y.to_planar(), &grad.to_planar());
        let by_data =
            dot(&parts[0].to_planar(), &a.to_planar()) + dot(&parts[1].to_planar(), &b.to_planar());
        assert_eq!(forward, by_data);
        assert_eq!(forward, dot(dw, w));
    };
    let bias = vec![0.0; out];

    let w = numbers(out * channels * 27, 3);
    let mut dw = w.clone();
    let (y, grad) = (engine.conv3(&inputs, &w, &bias, out), tensor(2, out, [4, 2, 6], 4));
    engine.conv3_backward_weights(&inputs, &grad, &mut dw);
    check(&y, &grad, &engine.conv3_backward_data(&grad, &w, &[3, 17]), &dw, &w);

    let w = numbers(out * channels * 8, 5);
    let mut dw = w.clone();
    let (y, grad) = (engine.down2(&inputs, &w, &bias, out), tensor(2, out, [2, 1, 3], 6));
    engine.down2_backward_weights(&inputs, &grad, &mut dw);
    check(&y, &grad, &engine.down2_backward_data(&grad, &w, &[3, 17]), &dw, &w);

    let (y, grad) = (engine.up2(&inputs, &w, &bias, out), tensor(2, out, [8, 4, 12], 7));
    engine.up2_backward_weights(&inputs, &grad, &mut dw);
    check(&y, &grad, &engine.up2_backward_data(&grad, &w, &[3, 17]), &dw, &w);
}

// The gradient of BatchNorm and ReLU by finite differences of Σ r · relu(bn(x)).
#[test]
fn batch_norm_backward_is_the_derivative() {
    let engine = engine();
    let (batch, channels, shape) = (2, 3, [2, 2, 3]);
    let x = tensor(batch, channels, shape, 8).to_planar();
    let r = tensor(batch, channels, shape, 9);
    let (gamma, beta, epsilon) = ([1.5_f32, -0.5, 0.75], [0.2_f32, 0.1, -0.3], 1e-5);
    let tensor_of = |x: &[f32]| Tensor::from_planar(batch, channels, shape, x);
    let voxels: usize = shape.iter().product();
    let loss = |x: &[f32], gamma: &[f32], beta: &[f32]| -> f64 {
        let ScaleShift { scale, shift } =
            engine.statistics(&tensor_of(x)).scale_shift(gamma, beta, epsilon);
        let relu = |(index, &x): (usize, &f32)| {
            let channel = index / voxels % channels;
            (scale[channel] * x + shift[channel]).max(0.0)
        };
        dot(&x.iter().enumerate().map(relu).collect::<Vec<_>>(), &r.to_planar())
    };
    let stats = engine.statistics(&tensor_of(&x));
    let (dx, dgamma, dbeta) =
        engine.batch_norm_relu_backward(&tensor_of(&x), &stats, &gamma, &beta, epsilon, r.clone());
    let close = |found: f32, difference: f64| {
        let wanted = difference / 2e-2;
        assert!((f64::from(found) - wanted).abs() < 2e-2, "{found} against {wanted}");
    };
    for (index, &dx) in dx.to_planar().iter().enumerate() {
        let (mut more, mut less) = (x.clone(), x.clone());
        (more[index], less[index]) = (x[index] + 1e-2, x[index] - 1e-2);
        close(dx, loss(&more, &gamma, &beta) - loss(&less, &gamma, &beta));
    }
    for channel in 0..channels {
        let moved = |values: [f32; 3], by: f32| {
            let mut moved = values;
            moved[channel] += by;
            moved
        };
        let by_gamma = |by| loss(&x, &moved(gamma, by), &beta);
        let by_beta = |by| loss(&x, &gamma, &moved(beta, by));
        close(dgamma[channel], by_gamma(1e-2) - by_gamma(-1e-2));
        close(dbeta[channel], by_beta(1e-2) - by_beta(-1e-2));
    }
}
