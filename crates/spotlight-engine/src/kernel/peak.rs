//! The most multiply-adds a thread can do: the roof that kernels are measured against.

use std::{array::from_fn, hint::black_box};

use super::vector::{Task, Vector};

/// Independent chains, enough to hide the latency of the multiply-add.
const CHAINS: usize = 12;

/// Runs `rounds` rounds of multiply-adds in registers.
pub(crate) struct Peak {
    pub(crate) rounds: usize,
}

impl Peak {
    /// Floating-point operations of all rounds.
    pub(crate) fn operations<V: Vector>(&self) -> f64 {
        (self.rounds * Self::chains::<V>() * 32) as f64
    }

    fn chains<V: Vector>() -> usize {
        if V::ACCUMULATORS >= CHAINS { CHAINS } else { CHAINS / 2 }
    }
}

impl Task for Peak {
    /// The operations done and a number that keeps the loop alive.
    type Output = (f64, f32);

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> (f64, f32) {
        // SAFETY: the caller vouches for the set.
        unsafe {
            // Values that change with every step: a processor is faster on ones that do not.
            let (factor, summand) = (V::splat(black_box(-1.0)), V::splat(black_box(0.7)));
            let mut sum = [0.0_f32; 16];
            let operations = self.operations::<V>();
            if Self::chains::<V>() == CHAINS {
                chains::<V, CHAINS>(self.rounds, factor, summand).store(sum.as_mut_ptr());
            } else {
                chains::<V, { CHAINS / 2 }>(self.rounds, factor, summand).store(sum.as_mut_ptr());
            }
            (operations, sum.iter().sum())
        }
    }
}

#[inline(always)]
unsafe fn chains<V: Vector, const N: usize>(rounds: usize, factor: V, summand: V) -> V {
    // SAFETY: the caller vouches for the set.
    unsafe {
        // Chains that start alike would be computed once.
        let mut values: [V; N] = from_fn(|chain| V::splat(black_box(chain as f32)));
        for _ in 0..rounds {
            for value in &mut values {
                *value = value.mul_add(factor, summand);
            }
        }
        values.into_iter().fold(summand, |sum, value| sum.add(value))
    }
}
