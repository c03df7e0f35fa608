//! What the network takes of memory, and how many tiles at a time keep to a limit.
//!
//! ```text
//! fixed      program, scratch of the threads, weights as read and in the order of the kernels
//! volumes    the image's channels; sums of flows and logits, or the outputs of one pass
//! planes     framed planes, their means and their outputs, of those that a batch reaches
//! tiles      the network's fullest moment, for each tile of a batch
//! ```
//! Nothing here depends on the number of threads, so the batches, which the last bits of a result
//! may hang on, are those of the stack alone.

use spotlight_image::cellpose::frame;

use super::{Cpnet, Orientation, RunOptions};
use crate::footprint::{FLOAT, PROCESS_BYTES, longer, tensor};

/// Copies of the weights: as read, in the order of the direct kernels, and transformed, 36 numbers
/// in place of 9.
const WEIGHT_COPIES: u64 = 6;

impl Cpnet {
    /// Memory that does not depend on the image.
    #[must_use]
    pub fn fixed_bytes(&self) -> u64 {
        PROCESS_BYTES + WEIGHT_COPIES * FLOAT * self.weights()
    }

    /// Numbers of all convolutions' weights.
    fn weights(&self) -> u64 {
        let mut numbers = 0;
        let last = self.widths.len() - 1;
        for n in 0..last {
            let (from, to) = (self.widths[n] as u64, self.widths[n + 1] as u64);
            let above = self.widths[(n + 2).min(last)] as u64;
            numbers += 10 * from * to + 27 * to * to; // down: projection and four units
            numbers += 10 * above * to + 27 * to * to + 3 * to * self.style_len() as u64;
        }
        numbers
    }

    /// Bytes of all tensors at the fullest moment, for one tile of `pixels` pixels: follows the
    /// order in which the network makes and frees them.
    #[must_use]
    pub fn tile_bytes(&self, pixels: u64) -> u64 {
        let tensor = |channels: usize, level: usize| tensor(channels, pixels >> (2 * level));
        let levels = self.widths.len() - 1;
        let own = |level: usize| tensor(self.widths[level + 1], level);
        let (mut held, mut fullest) = (0, 0);
        for level in 0..levels {
            // Input, sum and what is inside a pair of units.
            fullest = fullest.max(held + tensor(self.widths[level], level) + 2 * own(level));
            held += own(level);
        }
        let mut x = own(levels - 1);
        for level in (0..levels).rev() {
            fullest = fullest.max(held + x + own(level));
            held -= own(level);
            fullest = fullest.max(held + 2 * own(level));
            x = own(level);
        }
        fullest = fullest.max(x + tensor(self.outputs, 0));
        let planar = FLOAT * (self.widths[0] + self.outputs) as u64 * pixels;
        longer(fullest) + 2 * planar
    }

    /// The most tiles at a time that keep a pass within `options.memory_bytes`, when `volumes`
    /// bytes are held anyway; or, as an error, the bytes that one tile needs.
    pub(super) fn batch(
        &self,
        shape: [usize; 3],
        orientation: Orientation,
        options: &RunOptions,
        volumes: u64,
    ) -> Result<usize, u64> {
        let [_, height, width] = orientation.planes(shape);
        let [_, framed_height, framed_width] = frame([1, height, width]).shape;
        let framed = (framed_height * framed_width) as u64;
        // The framed channels, sums and weights of a mean, the mean, and the plane cut out of it.
        let plane = framed * (FLOAT * (self.widths[0] + 3 * self.outputs) as u64 + 8);
        let sides = [framed_height, framed_width].map(|side| {
            if options.augment { options.tile_size } else { side.min(options.tile_size) }
        });
        let tile = self.tile_bytes((sides[0] * sides[1]) as u64) + plane;
        let held = self.fixed_bytes() + volumes + plane;
        let tiles = options.memory_bytes.saturating_sub(held) / tile;
        if tiles == 0 { Err(held + tile) } else { Ok((tiles as usize).min(options.batch_size)) }
    }
}
