//! A volume in tiles of one size, each with a halo.
//!
//! All tiles are equally large, their halo included: at the border of the volume, where a tile
//! needs no halo on one side, its core is larger by as much. That is the least work for the
//! memory, and what one tile gives back the next one takes.
//!
//! Tiles begin and end at multiples of a number, so that a network sees the same phase of its
//! down-sampling in a tile as in the whole.

use spotlight_image::tile::Tile;
use spotlight_image::{Region, Shape};

/// The tiles of a volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tiles {
    /// Voxels of the volume along (z, y, x).
    pub(super) shape: Shape,
    /// Voxels of every tile with its halo.
    pub(super) input: Shape,
    /// Voxels that a tile needs beyond each side of its core.
    pub(super) halo: usize,
    /// Where tiles may begin; `shape` and `input` are multiples of it.
    pub(super) multiple: usize,
}

impl Tiles {
    /// The whole volume as one tile.
    pub(super) fn whole(shape: Shape) -> Self {
        Self { shape, input: shape, halo: 0, multiple: 1 }
    }

    /// The tiles of at most `limit` voxels that have together the fewest voxels. With none so
    /// small, the error is the number of voxels of the smallest tiles there are.
    pub(super) fn choose(
        shape: Shape,
        halo: usize,
        multiple: usize,
        limit: usize,
    ) -> Result<Self, usize> {
        let choices = shape.map(|length| inputs(length, halo, multiple));
        let (mut best, mut smallest) = (None, usize::MAX);
        for z in &choices[0] {
            for y in &choices[1] {
                for x in &choices[2] {
                    let input = [z.length, y.length, x.length];
                    let voxels = input.iter().product::<usize>();
                    smallest = smallest.min(voxels);
                    let all = voxels * z.count * y.count * x.count;
                    if voxels <= limit && best.is_none_or(|(_, least)| all < least) {
                        best = Some((input, all));
                    }
                }
            }
        }
        best.map(|(input, _)| Self { shape, input, halo, multiple }).ok_or(smallest)
    }

    /// Voxels of a tile with its halo.
    pub(super) fn voxels(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of tiles.
    pub(super) fn count(&self) -> usize {
        (0..3).map(|axis| self.spans(axis).len()).product()
    }

    /// All tiles, z slowest, x fastest; their cores cover the volume once.
    pub(super) fn all(&self) -> Vec<Tile> {
        let spans: [_; 3] = std::array::from_fn(|axis| self.spans(axis));
        let mut tiles = Vec::new();
        for z in &spans[0] {
            for y in &spans[1] {
                for x in &spans[2] {
                    let spans = [z, y, x];
                    tiles.push(Tile {
                        input: Region { start: spans.map(|span| span.start), shape: self.input },
                        core: Region {
                            start: spans.map(|span| span.core),
                            shape: spans.map(|span| span.end - span.core),
                        },
                    });
                }
            }
        }
        tiles
    }

    /// The tiles along an axis.
    fn spans(&self, axis: usize) -> Vec<Span> {
        let (length, input) = (self.shape[axis], self.input[axis]);
        let count = count(length, input, self.halo, self.multiple).unwrap_or(1);
        let room = (length - input) / self.multiple;
        let start = |i: usize| i * room / (count - 1).max(1) * self.multiple;
        // Between two tiles, in the middle of what lies far enough from the end of both.
        let cut = |i: usize| (start(i) + start(i - 1) + input) / 2;
        let span = |i: usize| Span {
            start: start(i),
            core: if i == 0 { 0 } else { cut(i) },
            end: if i + 1 == count { length } else { cut(i + 1) },
        };
        (0..count).map(span).collect()
    }
}

/// A tile along one axis: where it begins, and where its core begins and ends.
struct Span {
    start: usize,
    core: usize,
    end: usize,
}

/// A length of tiles along an axis, and how many cover it.
struct Input {
    length: usize,
    count: usize,
}

/// The shortest tiles for each number of tiles, the whole first.
fn inputs(length: usize, halo: usize, multiple: usize) -> Vec<Input> {
    let mut choices: Vec<Input> = Vec::new();
    for input in (1..=length / multiple).rev().map(|units| units * multiple) {
        let Some(count) = count(length, input, halo, multiple) else { break };
        match choices.last_mut().filter(|last| last.count == count) {
            Some(last) => last.length = input,
            None => choices.push(Input { length: input, count }),
        }
    }
    choices
}

/// How many tiles of a length cover an axis; none where a core would be shorter than its halo on
/// one side: such tiles would take many times the work of the whole.
fn count(length: usize, input: usize, halo: usize, multiple: usize) -> Option<usize> {
    if input == length {
        return Some(1);
    }
    let step = input.checked_sub(2 * halo)? / multiple * multiple;
    (step >= halo.max(1)).then(|| 1 + (length - input).div_ceil(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every voxel is in one core, and every core has its halo or ends with the volume.
    #[track_caller]
    fn check_cover(tiles: &Tiles) {
        let mut seen = vec![0; tiles.shape.iter().product()];
        for Tile { input, core } in tiles.all() {
            assert!(input.fits(tiles.shape) && input.shape == tiles.input);
            for axis in 0..3 {
                let Tiles { shape, halo, multiple, .. } = *tiles;
                assert_eq!(input.start[axis] % multiple, 0);
                assert!(core.start[axis] < core.stop()[axis]);
                let first = core.start[axis].saturating_sub(halo);
                let last = (core.stop()[axis] + halo).min(shape[axis]);
                assert!(input.start[axis] <= first && input.stop()[axis] >= last, "{tiles:?}");
            }
            for z in core.start[0]..core.stop()[0] {
                for y in core.start[1]..core.stop()[1] {
                    for x in core.start[2]..core.stop()[2] {
                        seen[(z * tiles.shape[1] + y) * tiles.shape[2] + x] += 1;
                    }
                }
            }
        }
        assert!(seen.iter().all(|count| *count == 1), "{tiles:?}");
        assert_eq!(tiles.all().len(), tiles.count());
    }

    #[test]
    fn cores_cover_the_volume_whatever_the_limit() {
        for (shape, halo, multiple) in
            [([8, 20, 36], 3, 4), ([5, 7, 31], 1, 1), ([16, 16, 48], 5, 2), ([4, 4, 64], 0, 4)]
        {
            let smallest = Tiles::choose(shape, halo, multiple, 0).unwrap_err();
            let mut limit = shape.iter().product();
            while limit > smallest {
                let tiles = Tiles::choose(shape, halo, multiple, limit).unwrap();
                check_cover(&tiles);
                assert!(tiles.voxels() <= limit);
                limit = (limit * 3 / 4).min(tiles.voxels() - 1);
            }
            check_cover(&Tiles::choose(shape, halo, multiple, smallest).unwrap());
        }
    }

    #[track_caller]
    fn check(shape: Shape, halo: usize, limit: usize, input: Shape, count: usize) {
        let found = Tiles::choose(shape, halo, 4, limit).unwrap();
        assert_eq!((found.input, found.count()), (input, count));
    }

    #[test]
    fn the_whole_is_taken_where_it_fits() {
        check([8, 16, 32], 8, 8 * 16 * 32, [8, 16, 32], 1);
    }

    #[test]
    fn the_axis_that_costs_least_is_cut() {
        // Two halves of 16 with a halo of 4 on one side.
        check([8, 16, 32], 4, 8 * 16 * 32 - 1, [8, 16, 20], 2);
    }

    #[test]
    fn tiles_at_the_border_have_larger_cores() {
        // Cores of 12, 8 and 12, each with 16 voxels in all.
        check([4, 4, 32], 4, 4 * 4 * 16, [4, 4, 16], 3);
    }

    #[test]
    fn the_smallest_tile_is_told_where_none_fits() {
        // A core of 4 with a halo of 4: 12 voxels; axes of 4 and 8 stay whole.
        assert_eq!(Tiles::choose([4, 8, 100], 4, 4, 10), Err(4 * 8 * 12));
    }
}
