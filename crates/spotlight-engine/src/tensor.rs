//! Activations in blocks of sixteen channels.
//!
//! The order in memory is `[sample][channel block][z][y][x][channel within the block]`. One voxel
//! of one block is 64 bytes: a cache line, an AVX-512 register, two AVX registers. The last block
//! is filled up with channels that are always zero.

use crate::memory::Buffer;

/// Channels in one block.
pub const BLOCK: usize = 16;

/// Activations of a batch: `[sample][channel block][z][y][x][16]`, 64-byte aligned.
///
/// # Examples
///
/// ```
/// use spotlight_engine::Tensor;
///
/// let planar: Vec<f32> = (0..24).map(|i| i as f32).collect();
/// let tensor = Tensor::from_planar(1, 2, [3, 2, 2], &planar);
/// assert_eq!((tensor.batch(), tensor.channels(), tensor.shape()), (1, 2, [3, 2, 2]));
/// assert_eq!(tensor.to_planar(), planar);
/// ```
#[derive(Debug)]
pub struct Tensor {
    batch: usize,
    channels: usize,
    shape: [usize; 3],
    values: Buffer,
}

impl Tensor {
    /// A tensor of zeros; `shape` is (z, y, x).
    ///
    /// # Panics
    ///
    /// If `batch`, `channels` or a side of `shape` is zero.
    #[must_use]
    pub fn zeros(batch: usize, channels: usize, shape: [usize; 3]) -> Self {
        let mut tensor = Self::unfilled(batch, channels, shape);
        tensor.values_mut().as_flattened_mut().fill(0.0);
        tensor
    }

    /// A tensor with any content, which the caller overwrites, the padding channels included.
    pub(crate) fn unfilled(batch: usize, channels: usize, shape: [usize; 3]) -> Self {
        assert!(batch > 0 && channels > 0, "a tensor has at least one sample and one channel");
        assert!(shape.iter().all(|&side| side > 0), "a tensor has no empty side: {shape:?}");
        let len = batch * channels.div_ceil(BLOCK) * voxels(shape) * BLOCK;
        Self { batch, channels, shape, values: Buffer::new(len) }
    }

    /// The tensor of `planar`, whose order is (sample, channel, z, y, x).
    ///
    /// # Panics
    ///
    /// If the length of `planar` is not `batch * channels * z * y * x`.
    #[must_use]
    pub fn from_planar(batch: usize, channels: usize, shape: [usize; 3], planar: &[f32]) -> Self {
        let mut tensor = Self::unfilled(batch, channels, shape);
        let voxels = voxels(shape);
        assert_eq!(planar.len(), batch * channels * voxels, "length of the planar values");
        for (sample, planes) in planar.chunks_exact(channels * voxels).enumerate() {
            for (block, planes) in planes.chunks(BLOCK * voxels).enumerate() {
                for (index, voxel) in tensor.block_mut(sample, block).iter_mut().enumerate() {
                    *voxel = [0.0; BLOCK];
                    let values = planes[index..].iter().step_by(voxels);
                    voxel.iter_mut().zip(values).for_each(|(to, &value)| *to = value);
                }
            }
        }
        tensor
    }

    /// The values in the order (sample, channel, z, y, x).
    #[must_use]
    pub fn to_planar(&self) -> Vec<f32> {
        let mut planar = Vec::with_capacity(self.batch * self.channels * self.voxels());
        for sample in 0..self.batch {
            for channel in 0..self.channels {
                let block = self.block(sample, channel / BLOCK);
                planar.extend(block.iter().map(|voxel| voxel[channel % BLOCK]));
            }
        }
        planar
    }

    /// Number of samples.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of true channels, without the padding of the last block.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Sides in voxels: (z, y, x).
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Voxels of one sample.
    pub(crate) fn voxels(&self) -> usize {
        voxels(self.shape)
    }

    /// Channel blocks of one sample.
    pub(crate) fn blocks(&self) -> usize {
        self.channels.div_ceil(BLOCK)
    }

    /// All values in the order of memory, one array for a voxel of a block.
    pub(crate) fn values(&self) -> &[[f32; BLOCK]] {
        self.values.as_chunks().0
    }

    /// All values in the order of memory, for writing.
    pub(crate) fn values_mut(&mut self) -> &mut [[f32; BLOCK]] {
        self.values.as_chunks_mut().0
    }

    /// The voxels of one channel block of one sample.
    pub(crate) fn block(&self, sample: usize, block: usize) -> &[[f32; BLOCK]] {
        let first = (sample * self.blocks() + block) * self.voxels();
        &self.values()[first..first + self.voxels()]
    }

    /// The voxels of one channel block of one sample, for writing.
    pub(crate) fn block_mut(&mut self, sample: usize, block: usize) -> &mut [[f32; BLOCK]] {
        let (first, voxels) = ((sample * self.blocks() + block) * self.voxels(), self.voxels());
        &mut self.values_mut()[first..first + voxels]
    }
}

impl Clone for Tensor {
    fn clone(&self) -> Self {
        let mut copy = Self::unfilled(self.batch, self.channels, self.shape);
        copy.values_mut().copy_from_slice(self.values());
        copy
    }
}

fn voxels(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

/// A tensor as a layer reads it.
///
/// With `normalise`, the layer sees `max(0, scale[c] * x + shift[c])` instead of `x`: batch
/// normalisation and ReLU. The zeros around the volume are zeros after it, as in PyTorch, where
/// the padding belongs to the convolution.
#[derive(Clone, Copy, Debug)]
pub struct Activation<'a> {
    /// The stored values.
    pub tensor: &'a Tensor,
    /// The normalisation on load; `None` reads the stored values as they are.
    pub normalise: Option<&'a ScaleShift>,
}

/// One factor and one summand a channel; of the summands, there may be as many for each sample, in
/// the order (sample, channel).
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleShift {
    /// The factor of each channel.
    pub scale: Vec<f32>,
    /// The summand of each channel, or of each channel of each sample.
    pub shift: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_aligned_and_padding_is_zero() {
        for channels in [1, 15, 16, 17, 40] {
            let planar = vec![1.0; 2 * channels * 3 * 5 * 7];
            let tensor = Tensor::from_planar(2, channels, [3, 5, 7], &planar).clone();
            assert_eq!(tensor.values().as_ptr().addr() % 64, 0);
            assert_eq!(tensor.to_planar(), planar);
            let sum: f32 = tensor.values().as_flattened().iter().sum();
            assert_eq!(sum, planar.len() as f32, "padding of {channels} channels is zero");
        }
    }

    #[test]
    fn channels_are_interleaved() {
        let tensor =
            Tensor::from_planar(1, 17, [1, 1, 2], &(0..34).map(|i| i as f32).collect::<Vec<_>>());
        assert_eq!(tensor.block(0, 0)[1][3], 7.0);
        assert_eq!(tensor.block(0, 1)[1][0], 33.0);
    }
}
