//! The 3×3×3 convolution with one voxel of zeros around the volume.

use rayon::prelude::*;

use super::{check_gradient, concatenated};
use crate::{
    Engine,
    kernel::{
        conv3::{Convolve, Target},
        naive::{self, Geometry, Planar},
        pack::{Channels, Order, TAPS, pack},
        source::{Shared, Source, sources},
        vector::dispatch,
    },
    plan::regions,
    tensor::{Activation, BLOCK, Tensor},
};

/// Tasks a thread should have at least, so that all finish at about the same time.
const TASKS_PER_THREAD: usize = 4;

impl Engine {
    /// Convolves the concatenated inputs: stride 1, zero padding 1.
    ///
    /// `weights` is (out, in, 3, 3, 3) with the last three axes (z, y, x), where `in` runs over the
    /// channels of all inputs; `bias` has one value an output channel.
    ///
    /// # Panics
    ///
    /// If the inputs disagree in batch or shape, or a slice has the wrong length.
    #[must_use]
    pub fn conv3(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        bias: &[f32],
        out_channels: usize,
    ) -> Tensor {
        let (batch, channels, shape) = concatenated(inputs);
        assert_eq!(weights.len(), out_channels * channels * TAPS, "weights of the convolution");
        assert_eq!(bias.len(), out_channels, "biases of the convolution");
        let mut output = [Tensor::zeros(batch, out_channels, shape)];
        let order = Order { out: channels * TAPS, input: TAPS, flipped: false };
        self.convolve(inputs, weights, order, Some(bias), &mut output);
        let [output] = output;
        output
    }

    /// The gradients with respect to the inputs of [`Engine::conv3`], one tensor an input.
    ///
    /// `grad` is the gradient with respect to the output, `input_channels` the channels of each
    /// input. An input that was normalised on load gets the gradient with respect to the value
    /// after normalisation and ReLU.
    ///
    /// # Panics
    ///
    /// If the weights do not fit the channels.
    #[must_use]
    pub fn conv3_backward_data(
        &self,
        grad: &Tensor,
        weights: &[f32],
        input_channels: &[usize],
    ) -> Vec<Tensor> {
        let channels: usize = input_channels.iter().sum();
        assert_eq!(weights.len(), grad.channels() * channels * TAPS, "weights of the convolution");
        let zeros = |&count: &usize| Tensor::zeros(grad.batch(), count, grad.shape());
        let mut outputs: Vec<_> = input_channels.iter().map(zeros).collect();
        let order = Order { out: TAPS, input: channels * TAPS, flipped: true };
        let inputs = [Activation { tensor: grad, normalise: None }];
        self.convolve(&inputs, weights, order, None, &mut outputs);
        outputs
    }

    /// The gradients with respect to the weights and biases of [`Engine::conv3`]; overwrites
    /// `grad_weights` and `grad_bias`, whose order is that of the weights and biases.
    ///
    /// # Panics
    ///
    /// If the inputs and the gradient disagree in batch or shape, or a slice has the wrong length.
    pub fn conv3_backward_weights(
        &self,
        inputs: &[Activation<'_>],
        grad: &Tensor,
        grad_weights: &mut [f32],
        grad_bias: &mut [f32],
    ) {
        let (batch, channels, shape) = concatenated(inputs);
        check_gradient(grad, batch, shape);
        assert_eq!(
            grad_weights.len(),
            grad.channels() * channels * TAPS,
            "gradient of the weights"
        );
        assert_eq!(grad_bias.len(), grad.channels(), "gradient of the biases");
        let dy = Planar::of_tensor(grad);
        let dw = naive::backward_weights(&Planar::of(inputs), &dy, Geometry::CONV3);
        grad_weights.iter_mut().zip(dw).for_each(|(to, from)| *to = from as f32);
        let db = naive::channel_sums(&dy);
        grad_bias.iter_mut().zip(db).for_each(|(to, from)| *to = from as f32);
    }
}

impl Engine {
    /// Convolves `inputs` into `outputs`, both concatenated along the channels.
    fn convolve(
        &self,
        inputs: &[Activation<'_>],
        weights: &[f32],
        order: Order,
        bias: Option<&[f32]>,
        outputs: &mut [Tensor],
    ) {
        let (batch, _, shape) = concatenated(inputs);
        let sources = sources(inputs);
        let of_source =
            |source: &Source<'_>| Channels { first: source.first, count: source.channels };
        let from: Vec<_> = sources.iter().map(of_source).collect();
        let (to, targets) = targets(outputs, bias);
        let regions = regions(batch, shape, sources.len());
        // Few regions: the output blocks are dealt to several tasks, too.
        let groups = (TASKS_PER_THREAD * self.threads()).div_ceil(regions.len()).min(targets.len());
        let group = targets.len().div_ceil(groups);
        let groups = targets.len().div_ceil(group);
        self.install(|| {
            let weights = pack(weights, order, &from, &to);
            (0..regions.len() * groups).into_par_iter().for_each(|task| {
                let first_target = task % groups * group;
                let targets = &targets[first_target..(first_target + group).min(targets.len())];
                let region = regions[task / groups].clone();
                let (sources, weights) = (&sources, &weights);
                let task = Convolve { sources, weights, targets, first_target, shape, region };
                // SAFETY: the engine has checked the instruction set; the tasks write different
                // blocks or regions of `outputs`, which are borrowed for as long as they run.
                unsafe { dispatch(self.instruction_set(), task) }
            });
        });
    }
}

/// The blocks of all outputs: their channels in the concatenation, and where to store them.
fn targets(outputs: &mut [Tensor], bias: Option<&[f32]>) -> (Vec<Channels>, Vec<Target>) {
    let (mut channels, mut targets) = (Vec::new(), Vec::new());
    let mut before = 0;
    for output in outputs {
        let stride = output.voxels() * BLOCK;
        let (blocks, total) = (output.blocks(), output.channels());
        let values = output.values_mut().as_flattened_mut();
        for block in 0..blocks {
            let first = before + block * BLOCK;
            let count = BLOCK.min(total - block * BLOCK);
            let mut padded = [0.0; BLOCK];
            if let Some(bias) = bias {
                padded[..count].copy_from_slice(&bias[first..first + count]);
            }
            let values = Shared::new(&mut values[block * stride..]);
            channels.push(Channels { first, count });
            targets.push(Target { values, sample_stride: blocks * stride, bias: padded });
        }
        before += total;
    }
    (channels, targets)
}
