//! Median over a cube, a ball or any other footprint, for any float values.
//!
//! The volume is cut into blocks of rows. Inside a block all values are replaced by their
//! rank, so that a window is a set of small whole numbers: a row of bits. Going along a
//! row, one face of the footprint leaves the set and one enters it, and the middle of the set
//! is found again by counting bits from where it was, after T. S. Huang (1979), "A fast
//! two-dimensional median filtering algorithm", with ranks instead of grey levels.

use rayon::prelude::*;

use super::Footprint;
use super::order::ordered;
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
    median(volume, &Footprint::cuboid([size; 3]), Border::Nearest)
}

/// Median over a footprint around every voxel; of an even number of values the larger of
/// the middle two. (`scipy.ndimage.median_filter`.)
///
/// A NaN counts as larger than all numbers (if its sign bit is not set).
///
/// # Examples
///
/// ```
/// use spotlight_image::filter::{Footprint, median};
/// use spotlight_image::{Border, Volume};
///
/// let edge = Volume::new([1, 1, 4], vec![5.0, 5.0, 0.0, 0.0]);
/// let filtered = median(&edge, &Footprint::ball(1), Border::Constant(9.0));
/// assert_eq!(filtered.voxels, [9.0, 9.0, 9.0, 9.0]);
/// ```
#[must_use]
pub fn median(volume: &Volume<f32>, footprint: &Footprint, border: Border) -> Volume<f32> {
    let blocks = blocks(volume.shape);
    let parts: Vec<(Region, Volume<f32>)> = blocks
        .into_par_iter()
        .map(|region| (region, median_of_block(volume, region, footprint, border)))
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

fn median_of_block(
    volume: &Volume<f32>,
    region: Region,
    footprint: &Footprint,
    border: Border,
) -> Volume<f32> {
    let reach = footprint.reach();
    let (ranks, sorted) = rank(&with_margin(volume, region, reach, border));
    let mut window = Window::new(sorted.len(), footprint.voxel_count() / 2);
    let mut medians = Vec::with_capacity(voxel_count(region.shape));
    let beside =
        |place: usize, axis: usize, step: isize| (place + reach[axis][0]).wrapping_add_signed(step);
    for z in 0..region.shape[0] {
        for y in 0..region.shape[1] {
            // From where a row enters, and from where on it leaves.
            let rows: Vec<[&[u32]; 2]> = footprint
                .rows
                .iter()
                .map(|row| {
                    let start = ranks.offset([beside(z, 0, row.z), beside(y, 1, row.y), 0]);
                    let from = |x: isize| start + beside(0, 2, x);
                    [&ranks.voxels[from(row.x[0])..], &ranks.voxels[from(row.x[1])..]]
                })
                .collect();
            window.clear();
            for (row, [leaving, _]) in footprint.rows.iter().zip(&rows) {
                let length = (row.x[1] - row.x[0]) as usize;
                leaving[..length].iter().for_each(|rank| window.insert(*rank));
            }
            for x in 0..region.shape[2] {
                rows.iter().for_each(|[_, entering]| window.insert(entering[x]));
                medians.push(sorted[window.middle()]);
                rows.iter().for_each(|[leaving, _]| window.remove(leaving[x]));
            }
        }
    }
    Volume::new(region.shape, medians)
}

/// A region and the voxels around it that a footprint reaches.
fn with_margin(
    volume: &Volume<f32>,
    region: Region,
    reach: [[usize; 2]; 3],
    border: Border,
) -> Volume<f32> {
    let beyond = border.constant() as f32;
    let indices: [Vec<Option<usize>>; 3] = std::array::from_fn(|axis| {
        let from = region.start[axis] as isize - reach[axis][0] as isize;
        let to = (region.stop()[axis] + reach[axis][1]) as isize;
        (from..to).map(|index| border.inside(index, volume.shape[axis])).collect()
    });
    let shape = std::array::from_fn(|axis| indices[axis].len());
    Volume::from_fn(shape, |[z, y, x]| match (indices[0][z], indices[1][y], indices[2][x]) {
        (Some(z), Some(y), Some(x)) => volume.at([z, y, x]),
        _ => beyond,
    })
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

/// The ranks inside the footprint, and where their middle is.
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
