//! Floats as whole numbers of the same order, to count, sort and compare them by.
//!
//! A place in the order of many floats is found without sorting them: those with each upper half
//! of the bits are counted, then of one upper half those with each lower half.

use rayon::prelude::*;

/// Voxels that one thread counts at a time, at least.
const PIECE: usize = 1 << 18;

/// Half of the bits of a voxel.
const HALF: u32 = 16;

/// Whole numbers in the order of the floats (IEEE 754 total order).
pub(crate) fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The float that [`ordered`] gives this number for.
pub(crate) fn from_ordered(number: u32) -> f32 {
    f32::from_bits(if number >> 31 == 1 { number & !(1 << 31) } else { !number })
}

/// How many voxels have each upper half of the bits.
pub(crate) fn count_upper(voxels: &[f32]) -> Vec<usize> {
    count(voxels, |key| Some(key >> HALF))
}

/// How many of the voxels with an upper half have each lower half.
pub(crate) fn count_lower(voxels: &[f32], upper: u32) -> Vec<usize> {
    count(voxels, |key| (key >> HALF == upper).then_some(key & ((1 << HALF) - 1)))
}

/// The float of two halves.
pub(crate) fn joined(upper: u32, lower: u32) -> f32 {
    from_ordered(upper << HALF | lower)
}

/// The bin that holds a rank, and the rank in it.
pub(crate) fn bin_of(counts: &[usize], mut rank: usize) -> (u32, usize) {
    for (bin, count) in counts.iter().enumerate() {
        if rank < *count {
            return (bin as u32, rank);
        }
        rank -= count;
    }
    unreachable!("a rank is smaller than the number of voxels")
}

/// Counts the voxels by a half of their bits.
fn count(voxels: &[f32], bin: impl Fn(u32) -> Option<u32> + Sync) -> Vec<usize> {
    // Few long pieces: to add up the counters of a piece takes as long as to count it.
    let piece = voxels.len().div_ceil(rayon::current_num_threads()).clamp(PIECE, u32::MAX as usize);
    let count_piece = |piece: &[f32]| {
        let mut counts = vec![0_u32; 1 << HALF];
        piece.iter().filter_map(|voxel| bin(ordered(*voxel))).for_each(|b| counts[b as usize] += 1);
        counts
    };
    let parts: Vec<Vec<u32>> = voxels.par_chunks(piece).map(count_piece).collect();
    (0..1 << HALF).map(|bin| parts.iter().map(|counts| counts[bin] as usize).sum()).collect()
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_undone() {
        let floats = [f32::NEG_INFINITY, -2.5, -1e-40, -0.0, 0.0, 1e-40, 1.0, f32::INFINITY];
        assert!(floats.map(ordered).is_sorted());
        assert_eq!(
            floats.map(ordered).map(from_ordered).map(f32::to_bits),
            floats.map(f32::to_bits)
        );
    }
}
