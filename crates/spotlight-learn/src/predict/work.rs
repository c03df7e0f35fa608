//! Multiply-adds of the passes through the network, for voxels of its input.

use super::memory::channels;
use crate::fnet::FnetOptions;

/// The way down to the input of the level of the cut; none where no level is below the cut.
pub(super) fn down(options: &FnetOptions, cut: usize, voxels: u64) -> usize {
    let above = if cut > options.depth { 0 } else { cut };
    (0..above).map(|level| Level::of(options, level, voxels)).map(|of| of.more + of.down).sum()
}

/// All levels from the cut on.
pub(super) fn deep(options: &FnetOptions, cut: usize, voxels: u64) -> usize {
    let levels = (cut..=options.depth).map(|level| Level::of(options, level, voxels));
    levels.map(|of| of.more + of.down + of.up + of.less).sum()
}

/// The way up from the output of the level of the cut, and what it needs of the way down.
pub(super) fn up(options: &FnetOptions, cut: usize, voxels: u64) -> usize {
    let levels = (0..cut.min(options.depth + 1)).map(|level| {
        let of = Level::of(options, level, voxels);
        of.more + of.up + of.less + if level + 1 < cut { of.down } else { 0 }
    });
    levels.sum::<usize>() + output(options, voxels)
}

/// The last convolution.
pub(super) fn output(options: &FnetOptions, voxels: u64) -> usize {
    27 * options.width * options.out_channels * voxels as usize
}

/// The layers of a level.
struct Level {
    more: usize,
    down: usize,
    up: usize,
    less: usize,
}

impl Level {
    fn of(options: &FnetOptions, level: usize, voxels: u64) -> Self {
        let (from, own) = channels(options, level);
        let here = (voxels >> (3 * level)) as usize;
        let more = 27 * (from + own) * own * here;
        if level == options.depth {
            return Self { more, down: 0, up: 0, less: 0 };
        }
        // Eight taps for a voxel of the coarse grid; up has twice the channels as input.
        let down = own * own * here;
        Self { more, down, up: 2 * down, less: 27 * 3 * own * own * here }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A width of 2 at depth 1, on 8 voxels: one voxel below.
    #[test]
    fn every_layer_is_counted() {
        let options = FnetOptions { width: 2, depth: 1, ..FnetOptions::default() };
        let [top, bottom] = [27 * (2 + 4) * 8, 27 * (8 + 16)];
        let (way_down, way_up, less) = (8 * 4, 8 * 8, 27 * (8 + 4) * 8);
        assert_eq!(deep(&options, 0, 8), top + way_down + bottom + way_up + less);
        assert_eq!((down(&options, 1, 8), deep(&options, 1, 8)), (top + way_down, bottom));
        let last = output(&options, 8);
        assert_eq!(last, 27 * 2 * 8);
        assert_eq!(up(&options, 1, 8), top + way_up + less + last);
        // Cut below the bottom, there is one pass.
        assert_eq!((down(&options, 2, 8), deep(&options, 2, 8)), (0, 0));
        assert_eq!(up(&options, 2, 8), deep(&options, 0, 8) + last);
    }
}
