//! What a prediction takes of memory: the contract of [`PredictOptions::memory_bytes`].
//!
//! [`PredictOptions::memory_bytes`]: super::PredictOptions::memory_bytes
//!
//! ```text
//! fixed          program, scratch of the threads, weights, one layer's weights packed
//! neighbours     the stain before, being written; the stack after, being read
//! volumes        the stack on its way, or the planes between the passes, whichever is more
//! tensors        the network's fullest moment, in the largest tile or in the whole below the cut
//! ```
//!
//! The engine keeps the memory of tensors that it has dropped, so tensors count at their fullest
//! all the time. Nothing here depends on the number of threads or on the stacks before and after:
//! the tiles, and with them the last bits of a stain, are those of the stack alone.

use spotlight_image::Shape;
use spotlight_image::grid::voxel_count;

use crate::fnet::{Fnet, FnetOptions};
use crate::footprint::{FLOAT, PROCESS_BYTES, longer, padded, tensor};

/// The engine transforms the weights of the layer that it computes: 3·36 numbers in place of 27.
const PACKED_NUMBERS: u64 = 3 * 36;

/// Memory that does not depend on the stack.
#[must_use]
pub fn fixed_bytes(network: &Fnet) -> u64 {
    let weights = FLOAT * (network.parameters.len() + network.buffers.len()) as u64;
    let convolutions = network.entries().iter().filter(|entry| entry.shape.len() == 5);
    let channel_pairs =
        convolutions.map(|entry| padded(entry.shape[0]) * padded(entry.shape[1])).max();
    PROCESS_BYTES + weights + FLOAT * PACKED_NUMBERS * channel_pairs.unwrap_or(0)
}

/// The grids that a stack takes on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grids {
    /// Channels of the stack and of the stain.
    pub(super) channels: [usize; 2],
    /// As read.
    pub(super) input: Shape,
    /// At the voxel size of the model.
    pub(super) model: Shape,
    /// As the network takes it.
    pub(super) fitted: Shape,
    /// As written.
    pub(super) output: Shape,
}

impl Grids {
    /// The stain before, being written, and the stack after, being read, both as large as this
    /// one; the numbers of a file have up to 4 bytes.
    pub(super) fn neighbours(&self) -> u64 {
        planes(self.channels[0], voxels(self.input)) + planes(self.channels[1], voxels(self.output))
    }

    /// The volumes before and after the network.
    pub(super) fn volumes(&self) -> u64 {
        let Self { channels: [signals, stains], input, model, fitted, output } = *self;
        let most = signals.max(stains) as u64;
        let both = |a: Shape, b: Shape| FLOAT * (voxels(a) + if a == b { 0 } else { voxels(b) });
        // The raw signal twice at first: in the type of its file, standardised.
        let raw = 2 * FLOAT * voxels(input) * signals as u64;
        let zooms = [[input, model], [model, output]];
        let zooms = zooms.map(|[from, to]| most * FLOAT * voxels(from) + zoom(from, to));
        zooms.into_iter().fold(raw.max(most * both(fitted, model)), u64::max)
    }
}

/// What a cubic zoom takes beside its input: a volume of f64 after each axis but the last, and
/// the result.
fn zoom(from: Shape, to: Shape) -> u64 {
    let growth = |axis: &usize| to[*axis] as f64 / from[*axis] as f64;
    let mut axes: Vec<usize> = (0..3).rev().filter(|axis| from[*axis] != to[*axis]).collect();
    axes.sort_by(|a, b| growth(a).total_cmp(&growth(b)));
    let mut shape = from;
    let mut bytes = 0;
    for (step, axis) in axes.iter().enumerate() {
        shape[*axis] = to[*axis];
        let number = if step + 1 == axes.len() { FLOAT } else { 2 * FLOAT };
        bytes += number * voxels(shape);
    }
    bytes
}

/// Channels of a level: those that it reads, and its own.
pub(super) fn channels(options: &FnetOptions, level: usize) -> (usize, usize) {
    let own = options.width << level;
    (if level == 0 { options.in_channels } else { own / 2 }, own)
}

/// The tensors of the network in one piece.
pub(super) fn whole(options: &FnetOptions, voxels: u64) -> u64 {
    let rule = Rule { keeps_inputs: true, known: None };
    with_output(options, voxels, &rule)
}

/// The tensors of a tile on its way down to the input of the level of the cut.
pub(super) fn down(options: &FnetOptions, cut: usize, voxels: u64) -> u64 {
    let mut input = tensor(options.in_channels, voxels);
    let mut fullest = 0;
    for level in 0..cut {
        let own = channels(options, level).1;
        let (fine, coarse) =
            (tensor(own, voxels >> (3 * level)), tensor(own, voxels >> (3 * level + 3)));
        fullest = fullest.max(input + fine).max(2 * fine).max(fine + coarse);
        input = coarse;
    }
    longer(fullest)
}

/// The tensors of the levels from the cut on, for the whole.
pub(super) fn deep(options: &FnetOptions, cut: usize, voxels: u64) -> u64 {
    if cut > options.depth {
        return 0;
    }
    let voxels = voxels >> (3 * cut);
    let input = tensor(channels(options, cut).0, voxels);
    longer(Rule { keeps_inputs: false, known: None }.level(options, cut, voxels, input))
}

/// The tensors of a tile down to what is known of the level of the cut, and up again.
pub(super) fn up(options: &FnetOptions, cut: usize, voxels: u64) -> u64 {
    with_output(options, voxels, &Rule { keeps_inputs: false, known: Some(cut) })
}

fn with_output(options: &FnetOptions, voxels: u64, rule: &Rule) -> u64 {
    let input = tensor(options.in_channels, voxels);
    let kept = if rule.keeps_inputs { input } else { 0 };
    let output = tensor(options.width, voxels) + tensor(options.out_channels, voxels) + kept;
    longer(rule.level(options, 0, voxels, input).max(output))
}

/// How a level is computed.
struct Rule {
    /// Whether the input of a level lives until its output is there.
    keeps_inputs: bool,
    /// The level whose output is known.
    known: Option<usize>,
}

impl Rule {
    /// Bytes at the fullest moment of a level and all below it, which follows the order in which
    /// tensors are made and freed.
    fn level(&self, options: &FnetOptions, level: usize, voxels: u64, input: u64) -> u64 {
        let own = channels(options, level).1;
        let (here, coarse) = (tensor(own, voxels), voxels / 8);
        let kept = if self.keeps_inputs { input } else { 0 };
        let pair = (input + here).max(kept + 2 * here);
        if level == options.depth {
            return pair;
        }
        let deep = tensor(2 * own, coarse);
        let below = if self.known == Some(level + 1) {
            deep
        } else {
            let down = tensor(own, coarse);
            self.level(options, level + 1, coarse, down)
        };
        // The skip, with all below; with the way up; with that and the first output of the two.
        pair.max(kept + here + below).max(kept + here + deep + here).max(kept + 3 * here)
    }
}

/// Bytes of planes of channels.
pub(super) fn planes(channels: usize, voxels: u64) -> u64 {
    FLOAT * channels as u64 * voxels
}

pub(super) fn voxels(shape: Shape) -> u64 {
    voxel_count(shape) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A width of 16 at depth 1: one block of channels at the top, two below; a block of a voxel
    /// has 64 bytes.
    const SMALL: FnetOptions = FnetOptions { width: 16, depth: 1, in_channels: 1, out_channels: 1 };

    #[test]
    fn tensors_are_counted_when_most_of_them_live() {
        let bytes = |blocks: u64| longer(64 * blocks);
        // 8 voxels. In one piece: input, skip, what came up and the first of two convolutions.
        assert_eq!(whole(&SMALL, 8), bytes(4 * 8));
        // Without the input, which is freed when it has been read.
        assert_eq!(up(&SMALL, 2, 8), bytes(3 * 8));
        assert_eq!(up(&SMALL, 1, 8), bytes(3 * 8));
        // Input and first convolution, or two convolutions.
        assert_eq!(down(&SMALL, 1, 8), bytes(2 * 8));
        // One voxel below: two convolutions of two blocks.
        assert_eq!(deep(&SMALL, 1, 8), bytes(2 * 2));
        assert_eq!(deep(&SMALL, 2, 8), 0);
    }

    #[test]
    fn zooms_hold_volumes_of_double_precision() {
        assert_eq!(zoom([4, 6, 8], [4, 6, 8]), 0);
        assert_eq!(zoom([4, 6, 8], [4, 6, 4]), 4 * (4 * 6 * 4));
        // x shrinks most and goes first, then y.
        assert_eq!(zoom([4, 6, 8], [4, 3, 2]), 8 * (4 * 6 * 2) + 4 * (4 * 3 * 2));
    }

    #[test]
    fn volumes_count_at_their_fullest_moment() {
        let [input, model, fitted] = [[4, 6, 8], [4, 6, 4], [4, 8, 4]];
        let grids = Grids { channels: [1, 1], input, model, fitted, output: input };
        assert_eq!(grids.neighbours(), (4 + 4) * 192);
        // Raw and standardised signal.
        assert_eq!(grids.volumes(), 4 * (192 + 192));
        let grids = Grids { model: [4, 3, 4], ..grids };
        // Back to the input by y and x; y grows as much as x and comes second.
        assert_eq!(grids.volumes(), 4 * 48 + 8 * 96 + 4 * 192);
        let grids = Grids { channels: [1, 1], input: model, model, fitted, output: model };
        assert_eq!(grids.volumes(), 4 * (96 + 128));
    }
}
