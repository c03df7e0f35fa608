//! Objects from where the flow of each voxel ends.
//!
//! ```text
//! h        number of walks that end in each voxel
//! seeds    voxels with h > 10 that no voxel of the window of 5^3 around them exceeds
//! grow     5 times: take in neighbours (26) with h > 2, so within a window of 11^3
//! paint    from the seed of the least h to that of the most (raster order if equal): what
//!          two seeds reach belongs to the later
//! label    a voxel bears the number painted where its walk ended
//! ```
//!
//! Objects of more than a share of the image are removed, and the rest numbered in raster
//! order. (`get_masks_torch` of Cellpose 3.1.1.1, whose margin of 20 voxels changes nothing:
//! no walk ends in it.)

use crate::Volume;
use crate::grid::{Shape, index_of, voxel_count};

/// A seed is where more walks than this end.
const SEED_COUNT: u32 = 10;

/// An object grows over voxels where more walks than this end.
const GROW_COUNT: u32 = 2;

/// How far around a seed no voxel may have more.
const PEAK_RADIUS: usize = 2;

/// How often an object grows.
const GROW_STEPS: usize = 5;

/// Labels of cell voxels by the voxels that their walks end in, both as offsets.
pub(super) fn objects(
    shape: Shape,
    cells: &[usize],
    ends: &[usize],
    max_fraction: f64,
) -> Volume<u32> {
    let painted = paint(shape, ends);
    let mut labels = Volume::filled(shape, 0);
    for (cell, end) in cells.iter().zip(ends) {
        labels.voxels[*cell] = painted[*end];
    }
    drop(painted);
    number_all_but_large(&mut labels, max_fraction);
    labels
}

/// The number of the object that reaches each voxel.
fn paint(shape: Shape, ends: &[usize]) -> Vec<u32> {
    let mut counts = Volume::filled(shape, 0_u32);
    for end in ends {
        counts.voxels[*end] += 1;
    }
    let mut painted = vec![0; counts.voxels.len()];
    for (seed, number) in seeds(&counts).into_iter().zip(1..) {
        for voxel in grown(&counts, seed) {
            painted[voxel] = number;
        }
    }
    painted
}

/// The seeds, those of the most walks last.
fn seeds(counts: &Volume<u32>) -> Vec<[usize; 3]> {
    let mut found = Vec::new();
    for (offset, count) in counts.voxels.iter().enumerate().filter(|(_, h)| **h > SEED_COUNT) {
        let place = index_of(counts.shape, offset);
        if !window(counts.shape, place, PEAK_RADIUS).any(|other| counts.at(other) > *count) {
            found.push((*count, place));
        }
    }
    found.sort_by_key(|(count, _)| *count);
    found.into_iter().map(|(_, place)| place).collect()
}

/// The offsets of the voxels that a seed grows over.
fn grown(counts: &Volume<u32>, seed: [usize; 3]) -> Vec<usize> {
    let mut reached = vec![seed];
    let mut last = 0;
    for _ in 0..GROW_STEPS {
        let front = last..reached.len();
        last = reached.len();
        for index in front {
            for place in window(counts.shape, reached[index], 1) {
                if counts.at(place) > GROW_COUNT && !reached.contains(&place) {
                    reached.push(place);
                }
            }
        }
    }
    reached.into_iter().map(|place| counts.offset(place)).collect()
}

/// The voxels of an image that are at most so far away along every axis.
fn window(shape: Shape, place: [usize; 3], radius: usize) -> impl Iterator<Item = [usize; 3]> {
    let range = |axis: usize| {
        place[axis].saturating_sub(radius)..(place[axis] + radius + 1).min(shape[axis])
    };
    let [z, y, x] = [range(0), range(1), range(2)];
    z.flat_map(move |z| {
        let x = x.clone();
        y.clone().flat_map(move |y| x.clone().map(move |x| [z, y, x]))
    })
}

/// Removes objects of more than a share of the image and numbers the others in the order in
/// which they are met.
fn number_all_but_large(labels: &mut Volume<u32>, max_fraction: f64) {
    let largest = labels.voxels.iter().max().copied().unwrap_or(0) as usize;
    let mut sizes = vec![0_usize; largest + 1];
    labels.voxels.iter().for_each(|label| sizes[*label as usize] += 1);
    let limit = voxel_count(labels.shape) as f64 * max_fraction;
    let mut numbers = vec![0; largest + 1];
    let mut count = 0;
    for label in labels.voxels.iter_mut().filter(|label| **label != 0) {
        let old = *label as usize;
        if numbers[old] == 0 && sizes[old] as f64 <= limit {
            count += 1;
            numbers[old] = count;
        }
        *label = numbers[old];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends of walks, given how many end in each voxel of a row.
    fn ends(counts: &[usize]) -> Vec<usize> {
        counts.iter().enumerate().flat_map(|(voxel, count)| vec![voxel; *count]).collect()
    }

    #[track_caller]
    fn check_painted(counts: &[usize], expected: &[u32]) {
        assert_eq!(paint([1, 1, counts.len()], &ends(counts)), expected);
    }

    #[test]
    fn seeds_need_eleven_walks() {
        check_painted(&[0, 10, 0], &[0, 0, 0]);
        check_painted(&[0, 11, 0], &[0, 1, 0]);
    }

    #[test]
    fn objects_grow_over_three_walks_and_five_steps() {
        check_painted(&[2, 3, 11, 3, 3, 3, 3, 3, 3], &[0, 1, 1, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn the_seed_of_more_walks_is_painted_over_the_other() {
        check_painted(&[20, 3, 3, 30], &[2, 2, 2, 2]);
        check_painted(&[20, 3, 3, 20], &[2, 2, 2, 2]);
        check_painted(&[30, 3, 3, 0, 20], &[2, 2, 2, 0, 1]);
    }

    #[test]
    fn neighbouring_seeds_of_equal_counts_are_two() {
        assert_eq!(seeds(&Volume::new([1, 1, 3], vec![12, 12, 11])), [[0, 0, 0], [0, 0, 1]]);
    }

    #[test]
    fn large_objects_are_removed() {
        let labels = |fraction| {
            let mut labels = Volume::new([1, 1, 5], vec![7, 2, 2, 2, 0]);
            number_all_but_large(&mut labels, fraction);
            labels.voxels
        };
        assert_eq!(labels(0.4), [1, 0, 0, 0, 0]);
        assert_eq!(labels(0.6), [1, 2, 2, 2, 0]);
        assert_eq!(labels(f64::INFINITY), [1, 2, 2, 2, 0]);
        assert_eq!(labels(0.0), [0; 5]);
    }
}
