//! A run of one step of Adam, in the order of operations of `torch.optim.Adam`.

use super::vector::{Task, Vector};

/// What is the same for all parameters in a step.
#[derive(Clone, Copy)]
pub(crate) struct Law {
    /// The learning rate, corrected for the first moment's start at zero.
    pub(crate) step_size: f32,
    /// The root of the second moment's correction.
    pub(crate) correction: f32,
    /// How much of the gradient goes into the first moment, and how much of it is kept.
    pub(crate) weight1: f32,
    pub(crate) keep1: f32,
    /// The same for the second moment.
    pub(crate) weight2: f32,
    pub(crate) keep2: f32,
    pub(crate) epsilon: f32,
}

/// Changes some parameters and their moments; all slices have one length.
pub(crate) struct Update<'a> {
    pub(crate) params: &'a mut [f32],
    pub(crate) grads: &'a [f32],
    pub(crate) m: &'a mut [f32],
    pub(crate) v: &'a mut [f32],
    pub(crate) law: Law,
}

impl Task for Update<'_> {
    type Output = ();

    // Plain Rust: the same operations one by one on every instruction set, which compilers turn
    // into vectors by themselves.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Law { step_size, correction, weight1, keep1, weight2, keep2, epsilon } = self.law;
        let moments = self.m.iter_mut().zip(self.v);
        for ((p, &g), (m, v)) in self.params.iter_mut().zip(self.grads).zip(moments) {
            // PyTorch's `lerp` starts from the nearer end.
            *m = if weight1 < 0.5 { *m + weight1 * (g - *m) } else { g - (g - *m) * keep1 };
            *v = *v * keep2 + weight2 * g * g;
            let denominator = v.sqrt() / correction + epsilon;
            *p += -step_size * *m / denominator;
        }
    }
}
