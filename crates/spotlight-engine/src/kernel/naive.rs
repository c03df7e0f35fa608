//! Convolution by its definition: planar values, f64 sums, no blocking. The oracle of the tests,
//! and the layers of `InstructionSet::Exact`.
//!
//! ```text
//! forward           y[o, p]      = bias[o] + Σ_i Σ_t w[o, i, t] x[i, stride p + t - padding]
//! backward data     dx[i, q]     = Σ_o Σ_t w[o, i, t] dy[o, p]   over all p with stride p + t - padding = q
//! backward weights  dw[o, i, t]  = Σ_n Σ_p dy[o, p] x[i, stride p + t - padding]
//! ```
//! A transposed convolution is the backward pass for the data of a convolution.

use std::ops::Range;

use crate::tensor::{Activation, Tensor};

/// Values in the order (sample, channel, z, y, x).
pub(crate) struct Planar {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) shape: [usize; 3],
    pub(crate) values: Vec<f64>,
}

/// The geometry of a convolution with a cube as kernel.
#[derive(Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) side: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Geometry {
    /// 3×3×3 with one voxel of zeros around the volume.
    pub(crate) const CONV3: Self = Self { side: 3, stride: 1, padding: 1 };
    /// 2×2×2 with stride 2.
    pub(crate) const DOWN2: Self = Self { side: 2, stride: 2, padding: 0 };
    /// 1×1×1.
    pub(crate) const POINT: Self = Self { side: 1, stride: 1, padding: 0 };

    fn output(self, shape: [usize; 3]) -> [usize; 3] {
        shape.map(|side| (side + 2 * self.padding - self.side) / self.stride + 1)
    }

    /// The input coordinate that tap `tap` of output `position` reads, if it is in the volume.
    fn source(self, position: usize, tap: usize, side: usize) -> Option<usize> {
        (position * self.stride + tap).checked_sub(self.padding).filter(|&at| at < side)
    }

    /// Calls `visit(output voxel, tap, input voxel)` for every pair that meets.
    fn pairs(
        self,
        input: [usize; 3],
        output: [usize; 3],
        mut visit: impl FnMut(usize, usize, usize),
    ) {
        let cube =
            |range: Range<usize>| move |a: usize, b: usize| range.clone().map(move |c| (a, b, c));
        let triples = |[z, y, x]: [usize; 3]| {
            (0..z).flat_map(move |a| (0..y).flat_map(move |b| cube(0..x)(a, b)))
        };
        for (p, (z, y, x)) in triples(output).enumerate() {
            for (tap, (kz, ky, kx)) in triples([self.side; 3]).enumerate() {
                let source = (
                    self.source(z, kz, input[0]),
                    self.source(y, ky, input[1]),
                    self.source(x, kx, input[2]),
                );
                if let (Some(z), Some(y), Some(x)) = source {
                    visit(p, tap, (z * input[1] + y) * input[2] + x);
                }
            }
        }
    }
}

impl Planar {
    /// The concatenated, normalised values of some activations.
    pub(crate) fn of(inputs: &[Activation<'_>]) -> Self {
        let first = inputs[0].tensor;
        let (batch, shape) = (first.batch(), first.shape());
        let channels = inputs.iter().map(|input| input.tensor.channels()).sum();
        let voxels = first.voxels();
        let mut values = Vec::new();
        for sample_number in 0..batch {
            for Activation { tensor, normalise } in inputs {
                let planar = tensor.to_planar();
                let len = tensor.channels() * voxels;
                let sample = &planar[sample_number * len..][..len];
                values.extend(sample.iter().enumerate().map(|(index, &x)| match normalise {
                    None => f64::from(x),
                    Some(law) => {
                        let channel = index / voxels;
                        let own = sample_number * tensor.channels();
                        let first = if law.shift.len() > tensor.channels() { own } else { 0 };
                        let (scale, shift) = (law.scale[channel], law.shift[first + channel]);
                        (f64::from(scale) * f64::from(x) + f64::from(shift)).max(0.0)
                    }
                }));
            }
        }
        Self { batch, channels, shape, values }
    }

    /// The same values with each voxel as a square of 2×2 voxels in its plane.
    pub(crate) fn doubled(&self) -> Self {
        let [depth, height, width] = self.shape;
        let mut values = Vec::with_capacity(4 * self.values.len());
        for row in self.values.chunks_exact(width) {
            for _ in 0..2 {
                values.extend(row.iter().flat_map(|&value| [value; 2]));
            }
        }
        let shape = [depth, 2 * height, 2 * width];
        Self { batch: self.batch, channels: self.channels, shape, values }
    }

    /// The values of one tensor.
    pub(crate) fn of_tensor(tensor: &Tensor) -> Self {
        Self::of(&[Activation { tensor, normalise: None }])
    }

    fn zeros(batch: usize, channels: usize, shape: [usize; 3]) -> Self {
        let values = vec![0.0; batch * channels * shape.iter().product::<usize>()];
        Self { batch, channels, shape, values }
    }

    /// The values as tensors of `channels`: the parts of the concatenation.
    pub(crate) fn split(&self, channels: &[usize]) -> Vec<Tensor> {
        let voxels: usize = self.shape.iter().product();
        let mut first = 0;
        let mut parts = Vec::new();
        for &count in channels {
            let mut values = Vec::new();
            for sample in 0..self.batch {
                let start = (sample * self.channels + first) * voxels;
                values.extend(self.values[start..start + count * voxels].iter().map(|&v| v as f32));
            }
            parts.push(Tensor::from_planar(self.batch, count, self.shape, &values));
            first += count;
        }
        parts
    }

    /// The values as one tensor.
    pub(crate) fn into_tensor(self) -> Tensor {
        self.split(&[self.channels]).remove(0)
    }

    fn plane(&self, sample: usize, channel: usize) -> Range<usize> {
        let voxels: usize = self.shape.iter().product();
        let start = (sample * self.channels + channel) * voxels;
        start..start + voxels
    }

    /// Adds one number a channel.
    pub(crate) fn add_bias(&mut self, bias: &[f32]) {
        for sample in 0..self.batch {
            for (channel, &b) in bias.iter().enumerate() {
                let plane = self.plane(sample, channel);
                self.values[plane].iter_mut().for_each(|v| *v += f64::from(b));
            }
        }
    }
}

/// The convolution of `x`; `weights` is (out, in, taps).
pub(crate) fn forward(
    x: &Planar,
    weights: &[f32],
    out_channels: usize,
    geometry: Geometry,
) -> Planar {
    let mut y = Planar::zeros(x.batch, out_channels, geometry.output(x.shape));
    let taps = geometry.side.pow(3);
    for sample in 0..x.batch {
        for o in 0..out_channels {
            for i in 0..x.channels {
                let w = &weights[(o * x.channels + i) * taps..][..taps];
                let (x_plane, y_plane) = (x.plane(sample, i), y.plane(sample, o));
                let (source, target) = (&x.values[x_plane], &mut y.values[y_plane]);
                geometry.pairs(x.shape, y.shape, |p, tap, q| {
                    target[p] += f64::from(w[tap]) * source[q]
                });
            }
        }
    }
    y
}

/// The gradient with respect to the input of a convolution, whose sides are `shape`.
pub(crate) fn backward_data(
    dy: &Planar,
    weights: &[f32],
    in_channels: usize,
    shape: [usize; 3],
    geometry: Geometry,
) -> Planar {
    let mut dx = Planar::zeros(dy.batch, in_channels, shape);
    let taps = geometry.side.pow(3);
    for sample in 0..dy.batch {
        for o in 0..dy.channels {
            for i in 0..in_channels {
                let w = &weights[(o * in_channels + i) * taps..][..taps];
                let (x_plane, y_plane) = (dx.plane(sample, i), dy.plane(sample, o));
                let (target, source) = (&mut dx.values[x_plane], &dy.values[y_plane]);
                geometry
                    .pairs(shape, dy.shape, |p, tap, q| target[q] += f64::from(w[tap]) * source[p]);
            }
        }
    }
    dx
}

/// The gradient with respect to the weights of a convolution: (out, in, taps).
pub(crate) fn backward_weights(x: &Planar, dy: &Planar, geometry: Geometry) -> Vec<f64> {
    let taps = geometry.side.pow(3);
    let mut dw = vec![0.0; dy.channels * x.channels * taps];
    for sample in 0..dy.batch {
        for o in 0..dy.channels {
            for i in 0..x.channels {
                let target = &mut dw[(o * x.channels + i) * taps..][..taps];
                let (x_plane, y_plane) = (x.plane(sample, i), dy.plane(sample, o));
                let (source, grad) = (&x.values[x_plane], &dy.values[y_plane]);
                geometry.pairs(x.shape, dy.shape, |p, tap, q| target[tap] += grad[p] * source[q]);
            }
        }
    }
    dw
}

/// Rounds sums to the precision of the weights.
pub(crate) fn round(sums: &[f64], to: &mut [f32]) {
    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum as f32);
}

/// The gradient with respect to the bias: the sum of every channel.
#[cfg(test)]
pub(crate) fn channel_sums(dy: &Planar) -> Vec<f64> {
    let sum = |channel| {
        (0..dy.batch).map(|sample| dy.values[dy.plane(sample, channel)].iter().sum::<f64>()).sum()
    };
    (0..dy.channels).map(sum).collect()
}
