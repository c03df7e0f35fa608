//! Binary morphology: erosion, dilation, opening and closing.
//!
//! A row of voxels is a row of bits, 64 to a word. A footprint is a set of rows along x, of
//! few different lengths, so
//!
//! ```text
//! for each length of a row of the footprint:
//!     dilate all rows of the mask by it, with O(log length) shifts
//! for each row of the result:
//!     OR the dilated rows of the mask that the rows of the footprint lead to
//! ```
//!
//! Beyond the edge there is background for a dilation and foreground for an erosion, so that
//! nothing grows in from outside and nothing is eaten away from there, as in scikit-image.

use rayon::prelude::*;

use super::{Footprint, FootprintRow};
use crate::{Shape, Volume};

/// Sets all voxels that the footprint covers when it is put on a voxel of the mask.
/// (`skimage.morphology.binary_dilation`.)
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::filter::{Footprint, dilate};
///
/// let point = Volume::new([1, 1, 5], vec![false, false, true, false, false]);
/// let grown = dilate(&point, &Footprint::ball(1));
/// assert_eq!(grown.voxels, [false, true, true, true, false]);
/// ```
#[must_use]
pub fn dilate(mask: &Volume<bool>, footprint: &Footprint) -> Volume<bool> {
    any_of(mask, &mirrored(footprint), |voxel| voxel)
}

/// Keeps the voxels where the footprint fits into the mask.
/// (`skimage.morphology.binary_erosion`.)
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::filter::{Footprint, erode};
///
/// let mask = Volume::new([1, 1, 5], vec![true, true, true, true, false]);
/// let shrunk = erode(&mask, &Footprint::ball(1));
/// assert_eq!(shrunk.voxels, [true, true, true, false, false]);
/// ```
#[must_use]
pub fn erode(mask: &Volume<bool>, footprint: &Footprint) -> Volume<bool> {
    let mut result = any_of(mask, footprint, |voxel| !voxel);
    result.voxels.iter_mut().for_each(|voxel| *voxel = !*voxel);
    result
}

/// Erosion, then dilation: removes what the footprint does not fit into.
/// (`skimage.morphology.binary_opening`.)
#[must_use]
pub fn open(mask: &Volume<bool>, footprint: &Footprint) -> Volume<bool> {
    dilate(&erode(mask, footprint), footprint)
}

/// Dilation, then erosion: fills what the footprint does not fit into.
/// (`skimage.morphology.binary_closing`.)
#[must_use]
pub fn close(mask: &Volume<bool>, footprint: &Footprint) -> Volume<bool> {
    erode(&dilate(mask, footprint), footprint)
}

/// The footprint seen from the other side.
fn mirrored(footprint: &Footprint) -> Footprint {
    let rows = footprint.rows.iter().rev();
    let mirror =
        |row: &FootprintRow| FootprintRow { z: -row.z, y: -row.y, x: [-row.x[1], -row.x[0]] };
    Footprint { rows: rows.map(mirror).collect() }
}

/// Whether any voxel under the footprint put on a voxel is `set`.
fn any_of(
    mask: &Volume<bool>,
    footprint: &Footprint,
    set: impl Fn(bool) -> bool + Sync,
) -> Volume<bool> {
    let [depth, height, width] = mask.shape;
    let mut result = Volume::filled(mask.shape, false);
    if mask.voxels.is_empty() {
        return result;
    }
    let mut spans: Vec<[isize; 2]> = footprint.rows.iter().map(|row| row.x).collect();
    spans.sort_unstable();
    spans.dedup();
    let bits = Bits::of(mask, set);
    let dilated: Vec<Bits> = spans.iter().map(|span| bits.any_in(*span)).collect();
    let steps: Vec<(isize, isize, &Bits)> = footprint
        .rows
        .iter()
        .filter_map(|row| Some((row.z, row.y, &dilated[spans.binary_search(&row.x).ok()?])))
        .collect();
    result.voxels.par_chunks_mut(height * width).enumerate().for_each(|(z, plane)| {
        let mut any = vec![0_u64; bits.words];
        for (y, row) in plane.chunks_mut(width).enumerate() {
            any.fill(0);
            for (dz, dy, dilated) in &steps {
                let (z, y) = (z.wrapping_add_signed(*dz), y.wrapping_add_signed(*dy));
                if z < depth && y < height {
                    any.iter_mut().zip(dilated.row(z * height + y)).for_each(|(a, b)| *a |= b);
                }
            }
            for (voxels, word) in row.chunks_mut(64).zip(&any) {
                voxels.iter_mut().enumerate().for_each(|(x, v)| *v = word >> x & 1 == 1);
            }
        }
    });
    result
}

/// Rows of voxels, a bit each.
struct Bits {
    /// Words for each row.
    words: usize,
    bits: Vec<u64>,
}

impl Bits {
    fn of(mask: &Volume<bool>, set: impl Fn(bool) -> bool + Sync) -> Self {
        let [depth, height, width]: Shape = mask.shape;
        let words = width.div_ceil(64);
        let mut bits = vec![0; depth * height * words];
        let rows = mask.voxels.par_chunks(width);
        bits.par_chunks_mut(words).zip(rows).for_each(|(words, row)| {
            for (word, voxels) in words.iter_mut().zip(row.chunks(64)) {
                let bit = |(x, voxel): (usize, &bool)| u64::from(set(*voxel)) << x;
                *word = voxels.iter().enumerate().map(bit).fold(0, |word, bit| word | bit);
            }
        });
        Self { words, bits }
    }

    fn row(&self, row: usize) -> &[u64] {
        &self.bits[row * self.words..][..self.words]
    }

    /// Whether any bit from `first` to `last` voxels further along the row is set.
    fn any_in(&self, [first, last]: [isize; 2]) -> Self {
        let length = (last - first) as usize + 1;
        // Bits before the row see bits in it, so these need a place.
        let margin = first.min(0).unsigned_abs().div_ceil(64);
        let mut bits = self.bits.clone();
        let buffers = || (vec![0; margin + self.words], vec![0; margin + self.words]);
        bits.par_chunks_mut(self.words).for_each_init(buffers, |(row, shifted), words| {
            row[margin..].copy_from_slice(words);
            row[..margin].fill(0);
            // After each round a bit stands for itself and `covered - 1` bits after it.
            let mut covered = 1;
            while covered < length {
                let step = covered.min(length - covered);
                shift(row, step as isize, shifted);
                row.iter_mut().zip(shifted.iter()).for_each(|(a, b)| *a |= b);
                covered += step;
            }
            shift(row, first, shifted);
            words.copy_from_slice(&shifted[margin..]);
        });
        Self { words: self.words, bits }
    }
}

/// Bit x of `to` becomes bit x + `step` of `from`; what lies outside is 0.
fn shift(from: &[u64], step: isize, to: &mut [u64]) {
    let word =
        |index: isize| usize::try_from(index).ok().and_then(|i| from.get(i)).map_or(0, |w| *w);
    let (words, bits) = (step.div_euclid(64), step.rem_euclid(64));
    for (index, to) in to.iter_mut().enumerate() {
        let at = index as isize + words;
        *to = if bits == 0 { word(at) } else { word(at) >> bits | word(at + 1) << (64 - bits) };
    }
}
