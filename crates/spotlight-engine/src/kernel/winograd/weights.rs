//! Weights to points and back.

use super::{PATCH, POINTS, transform};
use crate::{
    kernel::{
        pack::{TAPS, Weights},
        source::{Channels, Shared},
        vector::{Task, Vector},
    },
    memory::Buffer,
    tensor::BLOCK,
};

/// `U = G g Gᵀ` of all weights: `[point][group of output blocks][kz][input channel][block][16]`.
pub(crate) struct Transformed {
    pub(crate) values: Buffer,
    /// Planes of the weights of a pair of channels: three, or one.
    depth: usize,
    /// Input channels.
    channels: usize,
    /// Output blocks, and how many make a group.
    blocks: usize,
    together: usize,
}

impl Transformed {
    /// Room for weights of `depth` planes, `channels` input channels and `blocks` output blocks, of
    /// which a kernel takes up to `together` at once.
    pub(crate) fn unfilled(depth: usize, channels: usize, blocks: usize, together: usize) -> Self {
        let values = Buffer::new(POINTS * Self::point(depth, channels, blocks));
        Self { values, depth, channels, blocks, together }
    }

    fn point(depth: usize, channels: usize, blocks: usize) -> usize {
        // An odd number of lines: the points of one weight lie in different sets of the cache.
        ((depth * channels * blocks) | 1) * BLOCK
    }

    /// Planes of the weights of a pair of channels.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Groups of output blocks.
    pub(crate) fn groups(&self) -> usize {
        self.blocks.div_ceil(self.together)
    }

    /// The first output block of a group.
    pub(crate) fn first_block(&self, group: usize) -> usize {
        group * self.together
    }

    /// Output blocks of a group.
    pub(crate) fn group_blocks(&self, group: usize) -> usize {
        self.together.min(self.blocks - self.first_block(group))
    }

    /// Where the weights of a point, group and kz start.
    pub(crate) fn of(&self, point: usize, group: usize, tap: usize) -> *const f32 {
        let start = self.place(point, self.first_block(group), tap, 0);
        self.values[start..].as_ptr()
    }

    /// Where the sixteen numbers of one output block and input channel are.
    fn place(&self, point: usize, block: usize, tap: usize, channel: usize) -> usize {
        let group = block / self.together;
        let first = self.depth * self.channels * self.first_block(group);
        let in_group = (tap * self.channels + channel) * self.group_blocks(group);
        let block = block - self.first_block(group);
        point * Self::point(self.depth, self.channels, self.blocks)
            + (first + in_group + block) * BLOCK
    }
}

/// Transforms the weights of one output block with the channels of one input block.
pub(crate) struct TransformWeights<'a> {
    pub(crate) weights: Weights<'a>,
    pub(crate) input: Channels,
    pub(crate) output: Channels,
    /// The number of the output block.
    pub(crate) block: usize,
    pub(crate) layout: &'a Transformed,
    pub(crate) to: Shared,
}

impl Task for TransformWeights<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for channel in self.input.first..self.input.first + self.input.count {
            let lanes = match self.layout.depth {
                1 => [self.weights.lanes::<9>(channel, self.output); 3],
                _ => self.weights.lanes_in_planes(channel, self.output),
            };
            for (kz, lanes) in lanes.iter().enumerate().take(self.layout.depth) {
                // SAFETY: the caller vouches for the set and for the room, of which no other task
                // writes these channels.
                unsafe {
                    let mut g = [[V::splat(0.0); 3]; 3];
                    for (tap, g) in g.as_flattened_mut().iter_mut().enumerate() {
                        *g = V::load(lanes[tap].as_ptr());
                    }
                    self.store(kz, channel, g);
                }
            }
        }
    }
}

impl TransformWeights<'_> {
    /// Stores all points of one plane of the weights of one channel.
    #[inline(always)]
    unsafe fn store<V: Vector>(&self, kz: usize, channel: usize, g: [[V; 3]; 3]) {
        // SAFETY: the caller vouches for the set and the room.
        unsafe {
            let mut half = [[V::splat(0.0); 3]; PATCH];
            for column in 0..3 {
                let points = transform::weights(g.map(|row| row[column]));
                for (half, point) in half.iter_mut().zip(points) {
                    half[column] = point;
                }
            }
            for (row, half) in half.into_iter().enumerate() {
                for (column, value) in transform::weights(half).into_iter().enumerate() {
                    let place = self.layout.place(row * PATCH + column, self.block, kz, channel);
                    value.store(self.to.get().add(place));
                }
            }
        }
    }
}

/// The gradient of the weights of one input channel with one output block from that of its points:
/// `Gᵀ dU G`.
pub(crate) struct Gradient {
    /// Where the numbers of point 0 and kz 0 are.
    pub(crate) from: Shared,
    /// Numbers from one point to the next.
    pub(crate) point: usize,
    /// Numbers from one kz to the next.
    pub(crate) tap: usize,
}

impl Task for Gradient {
    /// The taps, each with sixteen output channels.
    type Output = [[f32; BLOCK]; TAPS];

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> Self::Output {
        let mut taps = [[0.0; BLOCK]; TAPS];
        for kz in 0..3 {
            // SAFETY: the caller vouches for the set and for all points.
            unsafe {
                let from = self.from.get().add(kz * self.tap);
                let zero = V::splat(0.0);
                let mut half = [[zero; PATCH]; 3];
                for column in 0..PATCH {
                    let mut points = [zero; PATCH];
                    for (row, point) in points.iter_mut().enumerate() {
                        *point = V::load(from.add((row * PATCH + column) * self.point));
                    }
                    for (half, value) in half.iter_mut().zip(transform::weights_gradient(points)) {
                        half[column] = value;
                    }
                }
                for (ky, half) in half.into_iter().enumerate() {
                    for (kx, value) in transform::weights_gradient(half).into_iter().enumerate() {
                        value.store(taps[9 * kz + 3 * ky + kx].as_mut_ptr());
                    }
                }
            }
        }
        taps
    }
}
