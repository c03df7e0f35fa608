//! Adam, in the order of operations of `torch.optim.Adam`.
//!
//! Reference: D. P. Kingma and J. Ba (2015), "Adam: a method for stochastic optimization".

use rayon::prelude::*;

use crate::{
    Engine,
    kernel::{
        adam::{Law, Update},
        vector::dispatch,
    },
};

/// Values that one task updates.
const CHUNK: usize = 16 * 1024;

/// Settings of Adam; the defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the running mean of the gradient.
    pub beta1: f64,
    /// Decay of the running mean of the squared gradient.
    pub beta2: f64,
    /// Added to the root of the (bias-corrected) mean square.
    pub epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta1: 0.5, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl Engine {
    /// One step of Adam: changes the parameters and the two moments `m` and `v`.
    ///
    /// `step` counts from 1. Moments start as zeros. With `t = step`:
    /// `m = β1 m + (1 - β1) g`, `v = β2 v + (1 - β2) g²`,
    /// `p -= lr / (1 - β1^t) * m / (sqrt(v) / sqrt(1 - β2^t) + ε)`.
    ///
    /// # Panics
    ///
    /// If the lengths differ or `step` is 0.
    pub fn adam(
        &self,
        params: &mut [f32],
        grads: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        adam: &Adam,
        step: u64,
    ) {
        let len = params.len();
        assert!(
            grads.len() == len && m.len() == len && v.len() == len,
            "parameters, gradients and moments have one length"
        );
        assert!(step > 0, "steps of Adam count from 1");
        let power = step as f64;
        let law = Law {
            step_size: (adam.learning_rate / (1.0 - adam.beta1.powf(power))) as f32,
            correction: (1.0 - adam.beta2.powf(power)).sqrt() as f32,
            weight1: (1.0 - adam.beta1) as f32,
            keep1: (1.0 - (1.0 - adam.beta1)) as f32,
            weight2: (1.0 - adam.beta2) as f32,
            keep2: adam.beta2 as f32,
            epsilon: adam.epsilon as f32,
        };
        self.install(|| {
            params
                .par_chunks_mut(CHUNK)
                .zip(grads.par_chunks(CHUNK))
                .zip(m.par_chunks_mut(CHUNK))
                .zip(v.par_chunks_mut(CHUNK))
                .for_each(|(((params, grads), m), v)| {
                    let task = Update { params, grads, m, v, law };
                    // SAFETY: the engine has checked the instruction set.
                    unsafe { dispatch(self.instruction_set(), task) }
                });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineOptions;

    // The first step moves every parameter by the learning rate against its gradient's sign.
    #[test]
    fn first_step_is_the_learning_rate() {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let mut params = [1.0, 1.0, 1.0];
        let (mut m, mut v) = ([0.0; 3], [0.0; 3]);
        engine.adam(&mut params, &[0.3, -20.0, 0.0], &mut m, &mut v, &Adam::default(), 1);
        for (found, wanted) in params.iter().zip([0.999, 1.001, 1.0]) {
            assert!((found - wanted).abs() < 1e-6, "{params:?}");
        }
    }

    // Three steps with one gradient after another, worked out in f64 by the formulas above.
    #[test]
    fn moments_follow_the_formulas() {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let adam = Adam { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-3 };
        let (mut params, mut m, mut v) = ([0.5_f32], [0.0_f32], [0.0_f32]);
        let (mut p64, mut m64, mut v64) = (0.5_f64, 0.0_f64, 0.0_f64);
        for (index, g) in [0.4_f32, -1.5, 0.02].into_iter().enumerate() {
            let t = index as i32 + 1;
            engine.adam(&mut params, &[g], &mut m, &mut v, &adam, t as u64);
            let g = f64::from(g);
            m64 = 0.9 * m64 + 0.1 * g;
            v64 = 0.99 * v64 + 0.01 * g * g;
            let v_hat = v64 / (1.0 - 0.99_f64.powi(t));
            p64 -= 0.1 * m64 / (1.0 - 0.9_f64.powi(t)) / (v_hat.sqrt() + 1e-3);
            assert!((f64::from(params[0]) - p64).abs() < 1e-6, "step {t}: {params:?}, {p64}");
        }
    }
}
