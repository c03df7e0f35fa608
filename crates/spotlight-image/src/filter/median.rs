//! Median over a cube, for any float values.
//!
//! The volume is cut into blocks of rows. Inside a block all values are replaced by their
//! rank, so that a window is a set of small whole numbers: a row of bits. Going along a
//! row, one plane of the cube leaves the set and one enters it, and the middle of the set
//! is found again by counting bits from where it was, after T. S. Huang (1979), "A fast
//! two-dimensional median filtering algorithm", with ranks instead of grey levels.

use rayon::prelude::*;

use crate::grid::{Region, Shape, voxel_count};
use crate::{Border, Volume};

/// Output voxels along (z, y, x) that share one sorting.
const BLOCK: Shape = [8, 8, 256];

/// Median over the cube of `size` voxels along each axis around every voxel; beyond the
/// edge the last voxel repeats.
///
/// A NaN counts as larger than all numbers (if its sign bit is not set).
///
/// # Panics
///
/// If `size` is not odd.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, filter::median_cube};
///
/// let spike = Volume::new([1, 1, 5], vec![1.0, 2.0, 90.0, 3.0, 4.0]);
/// assert_eq!(median_cube(&spike, 3).voxels, [1.0, 2.0, 3.0, 4.0, 4.0]);
/// ```
#[must_use]
pub fn median_cube(volume: &Volume<f32>, size: usize) -> Volume<f32> {
    assert!(size % 2 == 1, "the size of a median cube must be odd, is {size}");
    let blocks = blocks(volume.shape);
    let parts: Vec<(Region, Volume<f32>)> = blocks
        .into_par_iter()
        .map(|region| (region, median_of_block(volume, region, size / 2)))
        .collect();
    let mut result = Volume::filled(volume.shape, 0.0);
    for (region, part) in &parts {
        result.paste(region.start, part);
    }
    result
}

fn blocks(shape: Shape) -> Vec<Region> {
    let mut regions = Vec::new();
    for z in (0..shape[0]).step_by(BLOCK[0]) {
        for y in (0..shape[1]).step_by(BLOCK[1]) {
            for x in (0..shape[2]).step_by(BLOCK[2]) {
                let start = [z, y, x];
                let size = |axis: usize| BLOCK[axis].min(shape[axis] - start[axis]);
                regions.push(Region { start, shape: std::array::from_fn(size) });
            }
        }
    }
    regions
}

fn median_of_block(volume: &Volume<f32>, region: Region, radius: usize) -> Volume<f32> {
    let (ranks, sorted) = rank(&with_margin(volume, region, radius));
    let size = 2 * radius + 1;
    let mut window = Window::new(sorted.len(), size * size * size / 2);
    let mut medians = Vec::with_capacity(voxel_count(region.shape));
    for z in 0..region.shape[0] {
        for y in 0..region.shape[1] {
            let rows: Vec<&[u32]> = (z..z + size)
                .flat_map(|z| (y..y + size).map(move |y| [z, y, 0]))
                .map(|start| &ranks.voxels[ranks.offset(start)..][..ranks.shape[2]])
                .collect();
            window.clear();
            for row in &rows {
                row[..size - 1].iter().for_each(|rank| window.insert(*rank));
            }
            for x in 0..region.shape[2] {
                rows.iter().for_each(|row| window.insert(row[x + size - 1]));
                medians.push(sorted[window.middle()]);
                rows.iter().for_each(|row| window.remove(row[x]));
            }
        }
    }
    Volume::new(region.shape, medians)
}

/// A region and `radius` voxels around it.
fn with_margin(volume: &Volume<f32>, region: Region, radius: usize) -> Volume<f32> {
    let nearest = |axis: usize| -> Vec<usize> {
        let from = region.start[axis] as isize - radius as isize;
        let to = (region.stop()[axis] + radius) as isize;
        let inside = |i| Border::Nearest.inside(i, volume.shape[axis]);
        (from..to).filter_map(inside).collect()
    };
    let indices: [Vec<usize>; 3] = std::array::from_fn(nearest);
    let shape = std::array::from_fn(|axis| indices[axis].len());
    Volume::from_fn(shape, |[z, y, x]| volume.at([indices[0][z], indices[1][y], indices[2][x]]))
}

/// The rank of every voxel, equal values in order of place, and the values in order.
fn rank(block: &Volume<f32>) -> (Volume<u32>, Vec<f32>) {
    let key = |(place, value): (usize, &f32)| u64::from(ordered(*value)) << 32 | place as u64;
    let mut keys: Vec<u64> = block.voxels.iter().enumerate().map(key).collect();
    keys.sort_unstable();
    let mut ranks = Volume::filled(block.shape, 0);
    for (rank, key) in keys.iter().enumerate() {
        ranks.voxels[*key as u32 as usize] = rank as u32;
    }
    let sorted = keys.iter().map(|key| block.voxels[*key as u32 as usize]).collect();
    (ranks, sorted)
}

/// Whole numbers in the order of the floats (IEEE 754 total order).
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The ranks inside the cube, and where their middle is.
struct Window {
    bits: Vec<u64>,
    /// This many ranks of the window are smaller than the median.
    smaller: u32,
    /// The word that held the median last.
    word: usize,
    /// Ranks in the words before that one.
    below: u32,
}

impl Window {
    fn new(ranks: usize, smaller: usize) -> Self {
        Self { bits: vec![0; ranks.div_ceil(64)], smaller: smaller as u32, word: 0, below: 0 }
    }

    fn clear(&mut self) {
        self.bits.fill(0);
        self.below = 0;
    }

    fn insert(&mut self, rank: u32) {
        let word = (rank / 64) as usize;
        self.bits[word] |= 1 << (rank % 64);
        self.below += u32::from(word < self.word);
    }

    fn remove(&mut self, rank: u32) {
        let word = (rank / 64) as usize;
        self.bits[word] &= !(1 << (rank % 64));
        self.below -= u32::from(word < self.word);
    }

    /// The median's rank; the window must be full.
    fn middle(&mut self) -> usize {
        while self.below > self.smaller {
            self.word -= 1;
            self.below -= self.bits[self.word].count_ones();
        }
        loop {
            let here = self.bits[self.word].count_ones();
            if self.below + here > self.smaller {
                break;
            }
            self.below += here;
            self.word += 1;
        }
        let mut rest = self.bits[self.word];
        for _ in 0..self.smaller - self.below {
            rest &= rest - 1;
        }
        64 * self.word + rest.trailing_zeros() as usize
    }
}
