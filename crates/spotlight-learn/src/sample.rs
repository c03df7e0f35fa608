//! Which patches the network sees.
//!
//! Image and position are uniform; a patch with too little foreground is drawn again,
//! so the patches are uniform among those that qualify. Every draw is a pure function of
//! (seed, iteration, sample, attempt): no state is kept, so a resumed run sees the same
//! patches and threads cannot change them.
//!
//! References:
//! - A. A. Kalinin et al. (2025), section 2: at least 0.1 % foreground in a patch.
//! - G. L. Steele, D. Lea, C. H. Flood (2014), "Fast splittable pseudorandom number
//!   generators": the mixing function.

use serde::{Deserialize, Serialize};
use spotlight_image::grid::voxel_count;
use spotlight_image::{Region, Shape, Volume};

use crate::error::Error;
use crate::prepare::PreparedPair;

/// A patch is drawn at most this often before the data is declared unfit.
const ATTEMPTS: u64 = 1000;

/// Which patches are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleOptions {
    /// Voxels of a patch along (z, y, x).
    pub patch: Shape,
    /// Least fraction of foreground voxels in a patch. Left out, it is that of the loss:
    /// 0.001 for Spotlight, 0 (every patch) for MSE, as F-net was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_foreground: Option<f64>,
    /// Whether patches are mirrored at random along (z, y, x).
    pub flip: [bool; 3],
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { patch: [32, 64, 64], min_foreground: None, flip: [false; 3] }
    }
}

/// Where a patch was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Index of the pair.
    pub pair: usize,
    /// First voxel along (z, y, x).
    pub start: [usize; 3],
    /// Axes along which the patch is mirrored.
    pub flip: [bool; 3],
}

/// Patches for one iteration, one after the other, each in (z, y, x) order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Standardised signal.
    pub signal: Vec<f32>,
    /// Standardised target.
    pub target: Vec<f32>,
    /// Foreground.
    pub mask: Vec<bool>,
}

/// Draws patches from prepared pairs.
#[derive(Clone, Copy, Debug)]
pub struct Sampler<'a> {
    pairs: &'a [PreparedPair],
    shape: Shape,
    least_foreground: usize,
    flip: [bool; 3],
    seed: u64,
}

impl<'a> Sampler<'a> {
    /// Checks that patches can be drawn.
    ///
    /// # Errors
    ///
    /// If there is no pair, a stack is smaller than a patch, or no stack has foreground
    /// though the patches need some.
    pub fn new(
        pairs: &'a [PreparedPair],
        options: &SampleOptions,
        seed: u64,
    ) -> Result<Self, Error> {
        let shape = options.patch;
        let least_foreground = least_foreground(options);
        let enough = |pair: &PreparedPair| count(&pair.mask.voxels) >= least_foreground;
        for pair in pairs {
            let stack = pair.signal.shape;
            if (0..3).any(|axis| stack[axis] < shape[axis]) {
                let problem = format!(
                    "its {stack:?} voxels (z, y, x, at the voxel size of the model) are \
                     fewer than a patch of {shape:?}; take smaller patches or larger stacks"
                );
                return Err(Error::Stack { name: pair.name.clone(), problem });
            }
        }
        if !pairs.iter().any(enough) {
            return Err(too_little_foreground(pairs, shape, least_foreground));
        }
        Ok(Self { pairs, shape, least_foreground, flip: options.flip, seed })
    }

    /// Draws sample `sample` of iteration `iteration`.
    ///
    /// # Errors
    ///
    /// If 1000 draws meet no patch with enough foreground.
    pub fn draw(&self, iteration: u64, sample: u64) -> Result<Patch, Error> {
        for attempt in 0..ATTEMPTS {
            let random = |lane| word([self.seed, iteration, sample, attempt, lane]);
            let pair = below(random(0), self.pairs.len());
            let stack = self.pairs[pair].signal.shape;
            let start: [usize; 3] = std::array::from_fn(|axis| {
                below(random(1 + axis as u64), stack[axis] - self.shape[axis] + 1)
            });
            if self.has_foreground(pair, start) {
                let flip = std::array::from_fn(|axis| {
                    self.flip[axis] && random(4 + axis as u64) >> 63 == 1
                });
                return Ok(Patch { pair, start, flip });
            }
        }
        Err(too_little_foreground(self.pairs, self.shape, self.least_foreground))
    }

    /// Draws and copies the patches of one iteration.
    ///
    /// # Errors
    ///
    /// Those of [`Sampler::draw`].
    pub fn batch(&self, iteration: u64, samples: usize) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        for sample in 0..samples {
            self.copy(self.draw(iteration, sample as u64)?, &mut batch);
        }
        Ok(batch)
    }

    /// The patches of a regular grid over all stacks that hold enough foreground, at most
    /// `limit` of them, evenly chosen: what a model is validated on.
    ///
    /// Neighbours in the grid touch; the last along an axis ends at the border and may
    /// overlap the one before.
    ///
    /// # Errors
    ///
    /// If no patch of the grid holds enough foreground.
    pub fn grid(&self, limit: usize) -> Result<Vec<Patch>, Error> {
        let mut patches = Vec::new();
        for (pair, prepared) in self.pairs.iter().enumerate() {
            let [z, y, x] = std::array::from_fn(|axis| {
                grid_starts(prepared.signal.shape[axis], self.shape[axis])
            });
            let rows = z.iter().flat_map(|z| y.iter().map(move |y| (*z, *y)));
            let starts = rows.flat_map(|(z, y)| x.iter().map(move |x| [z, y, *x]));
            let starts = starts.filter(|start| self.has_foreground(pair, *start));
            patches.extend(starts.map(|start| Patch { pair, start, flip: [false; 3] }));
        }
        if patches.is_empty() {
            return Err(too_little_foreground(self.pairs, self.shape, self.least_foreground));
        }
        let kept = patches.len().min(limit.max(1));
        Ok((0..kept).map(|index| patches[index * patches.len() / kept]).collect())
    }

    /// Appends a patch to a batch.
    pub fn copy(&self, patch: Patch, batch: &mut Batch) {
        let pair = &self.pairs[patch.pair];
        let region = Region { start: patch.start, shape: self.shape };
        append(&pair.signal, region, patch.flip, &mut batch.signal);
        append(&pair.target, region, patch.flip, &mut batch.target);
        append(&pair.mask, region, patch.flip, &mut batch.mask);
    }

    /// Whether the patch that starts here has enough foreground.
    fn has_foreground(&self, pair: usize, start: [usize; 3]) -> bool {
        if self.least_foreground == 0 {
            return true;
        }
        let mask = &self.pairs[pair].mask;
        let mut found = 0;
        for z in start[0]..start[0] + self.shape[0] {
            for y in start[1]..start[1] + self.shape[1] {
                let row = mask.offset([z, y, start[2]]);
                found += count(&mask.voxels[row..row + self.shape[2]]);
            }
            if found >= self.least_foreground {
                return true;
            }
        }
        false
    }
}

/// The fewest foreground voxels of a patch: 132 of 32 × 64 × 64 at 0.1 %.
fn least_foreground(options: &SampleOptions) -> usize {
    let least = options.min_foreground.unwrap_or(0.0) * voxel_count(options.patch) as f64;
    // A fraction such as 0.1 is not exact in binary; it must not ask for a voxel more.
    (least * (1.0 - 1e-12)).ceil() as usize
}

fn count(mask: &[bool]) -> usize {
    mask.iter().map(|voxel| usize::from(*voxel)).sum()
}

fn too_little_foreground(pairs: &[PreparedPair], shape: Shape, least: usize) -> Error {
    let names: Vec<&str> = pairs.iter().take(3).map(|pair| pair.name.as_str()).collect();
    let more = if pairs.len() > 3 { ", …" } else { "" };
    let most = pairs.iter().map(|pair| pair.facts.foreground).fold(0.0, f64::max);
    Error::NoForeground {
        names: if names.is_empty() { "no pairs".into() } else { names.join(", ") + more },
        patch: shape,
        least,
        most_percent: 100.0 * most,
    }
}

/// Starts of touching intervals of length `part`, the last one ending at `whole`.
fn grid_starts(whole: usize, part: usize) -> Vec<usize> {
    (0..whole.div_ceil(part)).map(|index| (index * part).min(whole - part)).collect()
}

/// Appends a region, mirrored along some axes.
fn append<T: Copy>(stack: &Volume<T>, region: Region, flip: [bool; 3], to: &mut Vec<T>) {
    let [depth, height, width] = region.shape;
    let along = |axis: usize, index: usize, length: usize| {
        region.start[axis] + if flip[axis] { length - 1 - index } else { index }
    };
    for z in 0..depth {
        for y in 0..height {
            let row = stack.offset([along(0, z, depth), along(1, y, height), region.start[2]]);
            let row = &stack.voxels[row..row + width];
            if flip[2] {
                to.extend(row.iter().rev());
            } else {
                to.extend_from_slice(row);
            }
        }
    }
}

/// A uniform number below `bound`; the bias is less than `bound / 2^64`.
fn below(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}

/// A random word that is a pure function of its key.
fn word(key: [u64; 5]) -> u64 {
    key.iter().fold(0, |state, part| mix(state ^ mix(part.wrapping_add(0x9E37_79B9_7F4A_7C15))))
}

/// The finaliser of SplitMix64: every input bit changes every output bit.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::PairFacts;

    /// A pair whose signal counts the voxels and whose target is minus that.
    fn pair(shape: Shape, foreground: impl Fn([usize; 3]) -> bool) -> PreparedPair {
        let mut counter = -1.0;
        let signal = Volume::from_fn(shape, |_| {
            counter += 1.0;
            counter
        });
        let target = signal.map(|voxel| -voxel);
        let mask = Volume::from_fn(shape, foreground);
        let facts = PairFacts {
            signal: (0.0, 1.0),
            target: (0.0, 1.0),
            threshold: 0.0,
            raw_range: (0.0, 1.0),
            prepared_range: (0.0, 1.0),
            foreground: count(&mask.voxels) as f64 / mask.voxels.len() as f64,
        };
        PreparedPair { name: "cells.tif".into(), signal, target, mask, facts }
    }

    fn options(patch: Shape, min_foreground: f64) -> SampleOptions {
        SampleOptions { patch, min_foreground: Some(min_foreground), flip: [false; 3] }
    }

    #[test]
    fn a_thousandth_of_the_papers_patch_is_132_voxels() {
        let options = SampleOptions { min_foreground: Some(0.001), ..SampleOptions::default() };
        assert_eq!(least_foreground(&options), 132);
        assert_eq!(
            least_foreground(&SampleOptions { min_foreground: Some(0.1), ..options }),
            13108
        );
        assert_eq!(least_foreground(&SampleOptions::default()), 0);
    }

    #[test]
    fn draws_are_the_same_in_any_order() {
        let pairs = [pair([6, 7, 8], |_| true), pair([9, 5, 6], |_| true)];
        let sampler = Sampler::new(&pairs, &options([4, 4, 4], 0.5), 3).unwrap();
        let forward: Vec<Patch> = (0..40).map(|s| sampler.draw(7, s).unwrap()).collect();
        let mut backward: Vec<Patch> = (0..40).rev().map(|s| sampler.draw(7, s).unwrap()).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        let other = Sampler { seed: 4, ..sampler };
        assert_ne!(forward, (0..40).map(|s| other.draw(7, s).unwrap()).collect::<Vec<_>>());
        assert_ne!(forward, (0..40).map(|s| sampler.draw(8, s).unwrap()).collect::<Vec<_>>());
    }

    /// 2 images × 2 × 3 × 1 positions: each expected 1000 times of 12000, ± 5 deviations.
    #[test]
    fn images_and_positions_are_uniform() {
        let pairs = [pair([3, 4, 2], |_| true), pair([3, 4, 2], |_| true)];
        let sampler = Sampler::new(&pairs, &options([2, 2, 2], 0.0), 0).unwrap();
        let mut counts = [[[0_i32; 3]; 2]; 2];
        for iteration in 0..12_000 {
            let patch = sampler.draw(iteration, 0).unwrap();
            counts[patch.pair][patch.start[0]][patch.start[1]] += 1;
        }
        for count in counts.iter().flatten().flatten() {
            assert!((count - 1000).abs() < 5 * 31, "{counts:?}");
        }
    }

    #[test]
    fn every_patch_has_enough_foreground() {
        // One bright voxel in the corner of the second pair: one position qualifies.
        let pairs = [pair([4, 4, 4], |_| false), pair([4, 4, 4], |at| at == [3, 0, 3])];
        let sampler = Sampler::new(&pairs, &options([2, 2, 2], 1.0 / 8.0), 1).unwrap();
        for sample in 0..50 {
            let patch = sampler.draw(0, sample).unwrap();
            assert_eq!((patch.pair, patch.start), (1, [2, 0, 2]));
        }
        assert_eq!(sampler.grid(9).unwrap().len(), 1);
    }

    #[test]
    fn patches_are_copied_with_their_mask_and_mirrored() {
        let pairs = [pair([2, 2, 3], |at| at == [0, 0, 2])];
        let sampler = Sampler::new(&pairs, &options([2, 1, 3], 0.0), 0).unwrap();
        let mut batch = Batch::default();
        sampler.copy(Patch { pair: 0, start: [0, 0, 0], flip: [false; 3] }, &mut batch);
        sampler.copy(Patch { pair: 0, start: [0, 0, 0], flip: [true, false, true] }, &mut batch);
        assert_eq!(batch.signal[..6], [0.0, 1.0, 2.0, 6.0, 7.0, 8.0]);
        assert_eq!(batch.signal[6..], [8.0, 7.0, 6.0, 2.0, 1.0, 0.0]);
        assert!(batch.target.iter().zip(&batch.signal).all(|(y, x)| *y == -x));
        assert_eq!(batch.mask.iter().position(|voxel| *voxel), Some(2));
        assert_eq!(batch.mask.iter().rposition(|voxel| *voxel), Some(9));
    }

    #[test]
    fn flips_are_drawn_only_where_asked() {
        let pairs = [pair([2, 2, 2], |_| true)];
        let options = SampleOptions { flip: [false, true, true], ..options([2, 2, 2], 0.0) };
        let sampler = Sampler::new(&pairs, &options, 0).unwrap();
        let flips: std::collections::BTreeSet<[bool; 3]> =
            (0..100).map(|sample| sampler.draw(0, sample).unwrap().flip).collect();
        let expected = [[false, false], [false, true], [true, false], [true, true]];
        assert!(flips.into_iter().eq(expected.map(|[y, x]| [false, y, x])));
    }

    #[test]
    fn the_grid_covers_all_and_is_thinned_evenly() {
        assert_eq!(grid_starts(10, 4), [0, 4, 6]);
        assert_eq!(grid_starts(8, 4), [0, 4]);
        assert_eq!(grid_starts(4, 4), [0]);
        let pairs = [pair([2, 4, 6], |_| true)];
        let sampler = Sampler::new(&pairs, &options([2, 2, 2], 0.001), 0).unwrap();
        assert_eq!(sampler.grid(100).unwrap().len(), 6);
        let starts: Vec<_> = sampler.grid(2).unwrap().iter().map(|p| p.start).collect();
        assert_eq!(starts, [[0, 0, 0], [0, 2, 0]]);
    }

    #[track_caller]
    fn check_refused(pairs: &[PreparedPair], patch: Shape, parts: &[&str]) {
        let refused = Sampler::new(pairs, &options(patch, 0.5), 0);
        let message = match refused.and_then(|sampler| sampler.draw(0, 0)) {
            Ok(patch) => panic!("drawn: {patch:?}"),
            Err(error) => error.to_string(),
        };
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn unfit_data_are_named() {
        check_refused(&[pair([4, 8, 8], |_| true)], [8, 8, 8], &["cells.tif", "[4, 8, 8]"]);
        check_refused(&[pair([4, 4, 4], |_| false)], [4, 4, 4], &["cells.tif", "foreground"]);
        // Enough in the stack, never in one patch.
        let sparse = pair([4, 4, 4], |at| at == [0, 0, 0] || at == [3, 3, 3]);
        check_refused(&[sparse], [1, 1, 4], &["cells.tif", "foreground"]);
        check_refused(&[], [4, 4, 4], &["no pairs"]);
    }
}
