//! Maxima that rise by a height above the saddles to higher ones.
//!
//! Noise makes many maxima, but shallow ones. Where water sinks from the top, islands rise
//! around the maxima and join at saddles; the lower of the two islands that join ends there,
//! and how far its maxima lie above the saddle is how much they rise:
//!
//! ```text
//! each voxel looks up to the highest of its neighbours, if that is higher than itself
//! following these looks leads to a peak: the voxels of one peak are a basin
//! saddles are the voxels with a higher neighbour in another basin
//! for each saddle, the highest first:
//!     join its basin with those of its higher neighbours; the island of the lower peak ends:
//!         that peak stays if (value of the peak - value of the saddle) >= height
//! ```
//!
//! Looks only go up, so the way from a voxel to its peak is never lower than the voxel, and
//! only the saddles between basins need sorting. Of equal voxels the later counts as the
//! higher. A plateau may fall into several basins by that; its peaks have one fate, and so have
//! peaks of equal value that meet before they meet a higher one.
//!
//! P. Soille (2003), "Morphological Image Analysis", section 6.3.4: the maxima are where
//! f - R(f - h) >= h, with R the reconstruction by dilation. No sum is rounded here, where
//! `skimage.morphology.h_maxima` leaves room for that. H. Edelsbrunner, D. Letscher and
//! A. Zomorodian (2002), "Topological persistence and simplification", for the joining.

use std::ops::Range;

use rayon::prelude::*;

use super::flood::Neighbours;
use crate::Volume;
use crate::label::{Connectivity, root};

/// The regional maxima that rise at least `height` above the saddle to any higher maximum.
///
/// A regional maximum is a plateau (or one voxel) without higher neighbours; all of its voxels
/// are true. Those that nothing exceeds rise above the lowest voxel. So a constant volume has
/// no maxima, and with a height of 0 all others count. A NaN is lower than all numbers.
///
/// # Panics
///
/// If there are 2³² voxels or more.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::label::Connectivity;
/// use spotlight_image::segment::h_maxima;
///
/// let hills = Volume::new([1, 1, 7], vec![0.0, 3.0, 2.0, 5.0, 1.0, 2.0, 0.0]);
/// let maxima = |height| {
///     let maxima = h_maxima(&hills, height, Connectivity::Corners);
///     (0..7).filter(|x| maxima.at([0, 0, *x])).collect::<Vec<_>>()
/// };
/// assert_eq!(maxima(0.5), [1, 3, 5]);
/// assert_eq!(maxima(1.0), [1, 3, 5]);
/// assert_eq!(maxima(1.5), [3]);
/// assert!(maxima(5.5).is_empty());
/// ```
#[must_use]
pub fn h_maxima(volume: &Volume<f32>, height: f64, connectivity: Connectivity) -> Volume<bool> {
    maxima(volume, height, connectivity, Equals::All)
}

/// The [`h_maxima`] without those that no saddle so deep parts from an equal one: of these
/// only the first stays.
///
/// So there is one maximum for each hill, as seeds should be. Distances on a grid are often
/// equal.
///
/// # Panics
///
/// As [`h_maxima`].
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::label::Connectivity;
/// use spotlight_image::segment::{distinct_h_maxima, h_maxima};
///
/// let hill = Volume::new([1, 1, 5], vec![0.0, 3.0, 2.0, 3.0, 0.0]);
/// let count = |maxima: Volume<bool>| maxima.voxels.iter().filter(|voxel| **voxel).count();
/// assert_eq!(count(h_maxima(&hill, 2.0, Connectivity::Corners)), 2);
/// assert_eq!(count(distinct_h_maxima(&hill, 2.0, Connectivity::Corners)), 1);
/// ```
#[must_use]
pub fn distinct_h_maxima(
    volume: &Volume<f32>,
    height: f64,
    connectivity: Connectivity,
) -> Volume<bool> {
    maxima(volume, height, connectivity, Equals::First)
}

/// Which of the equal maxima stay that meet before they have sunk by the height.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Equals {
    All,
    First,
}

fn maxima(
    volume: &Volume<f32>,
    height: f64,
    connectivity: Connectivity,
    equals: Equals,
) -> Volume<bool> {
    assert!(u32::try_from(volume.voxels.len()).is_ok(), "2^32 voxels or more");
    let neighbours = Neighbours::new(volume.shape, connectivity);
    let landscape = Landscape { volume, connectivity, neighbours };
    let mut basins = landscape.looks();
    let peaks = number_basins(&mut basins);
    let top: Vec<f32> = peaks.iter().map(|peak| landscape.value(*peak as usize)).collect();
    let saddles = landscape.saddles(&basins);
    let stays = landscape.basins_that_stay(&basins, &saddles, Islands::new(&top, height, equals));
    drop(saddles);
    let is_maximum = |(voxel, basin): (usize, &u32)| {
        stays[*basin as usize] && landscape.value(voxel) == top[*basin as usize]
    };
    Volume::new(volume.shape, basins.par_iter().enumerate().map(is_maximum).collect())
}

/// The voxels and who their neighbours are.
struct Landscape<'a> {
    volume: &'a Volume<f32>,
    connectivity: Connectivity,
    neighbours: Neighbours,
}

impl Landscape<'_> {
    fn value(&self, voxel: usize) -> f32 {
        number(self.volume.voxels[voxel])
    }

    fn is_above(&self, voxel: usize, other: usize) -> bool {
        let (a, b) = (self.value(voxel), self.value(other));
        a > b || (a == b && voxel > other)
    }

    /// The highest neighbour of each voxel, or the voxel itself if none is higher.
    fn looks(&self) -> Vec<u32> {
        let width = self.volume.shape[2].max(1);
        let mut looks = vec![0; self.volume.voxels.len()];
        let highest = || vec![0.0_f32; width];
        looks.par_chunks_mut(width).enumerate().for_each_init(highest, |highest, (row, looks)| {
            highest.fill(f32::NEG_INFINITY);
            // In raster order, so that the last of equal ones is what remains.
            self.for_each_step(row, |columns, others| {
                let step = (others.start as u32).wrapping_sub(columns.start as u32);
                let kept = highest[columns.clone()].iter_mut().zip(&mut looks[columns]);
                for ((highest, look), value) in kept.zip(&self.volume.voxels[others]) {
                    let value = number(*value);
                    let is_higher = value >= *highest;
                    *highest = if is_higher { value } else { *highest };
                    *look = if is_higher { step } else { *look };
                }
            });
            looks.iter_mut().zip(0..).for_each(|(look, x)| *look = look.wrapping_add(x));
        });
        looks
    }

    /// Calls a function for each step to the neighbours of a row's voxels and to themselves, in
    /// raster order: with the columns that have such a neighbour, and these neighbours.
    fn for_each_step(&self, row: usize, mut call: impl FnMut(Range<usize>, Range<usize>)) {
        let [depth, height, width] = self.volume.shape;
        let (z, y) = (row / height, row % height);
        for other_z in z.saturating_sub(1)..(z + 2).min(depth) {
            for other_y in y.saturating_sub(1)..(y + 2).min(height) {
                let start = (other_z * height + other_y) * width;
                let axes = usize::from(other_z != z) + usize::from(other_y != y);
                if axes < self.connectivity.steps() {
                    call(1..width, start..start + width - 1);
                }
                if axes <= self.connectivity.steps() {
                    call(0..width, start..start + width);
                }
                if axes < self.connectivity.steps() {
                    call(0..width - 1, start + 1..start + width);
                }
            }
        }
    }

    /// The voxels with a higher neighbour in another basin, the highest first.
    fn saddles(&self, basins: &[u32]) -> Vec<u32> {
        let width = self.volume.shape[2].max(1);
        let voxels = &self.volume.voxels;
        let mut found = vec![false; basins.len()];
        found.par_chunks_mut(width).enumerate().for_each(|(row, found)| {
            self.for_each_step(row, |columns, others| {
                let own = row * width + columns.start..row * width + columns.end;
                let is_later = others.start > own.start;
                let pairs = voxels[own.clone()].iter().zip(&voxels[others.clone()]);
                let basins = basins[own].iter().zip(&basins[others]);
                for ((found, (value, other)), (basin, beside)) in
                    found[columns].iter_mut().zip(pairs).zip(basins)
                {
                    let (value, other) = (number(*value), number(*other));
                    let is_above = (other > value) | ((other == value) & is_later);
                    *found |= (basin != beside) & is_above;
                }
            });
        });
        let mut saddles = Vec::with_capacity(found.iter().filter(|found| **found).count());
        saddles.extend((0..).zip(&found).filter(|(_, found)| **found).map(|(voxel, _)| voxel));
        let value = |voxel: &u32| self.value(*voxel as usize);
        saddles.par_sort_unstable_by(|a: &u32, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
        saddles
    }

    /// Which basins have a peak that rises by the height.
    fn basins_that_stay(
        &self,
        basins: &[u32],
        saddles: &[u32],
        mut islands: Islands<'_>,
    ) -> Vec<bool> {
        for saddle in saddles {
            let saddle = *saddle as usize;
            let level = self.value(saddle);
            self.neighbours.for_each(saddle, |neighbour| {
                if self.is_above(neighbour, saddle) {
                    islands.join(basins[saddle], basins[neighbour], level);
                }
            });
        }
        let lowest = (0..basins.len()).into_par_iter().map(|voxel| self.value(voxel));
        islands.finish(lowest.reduce(|| f32::INFINITY, f32::min))
    }
}

/// A NaN is lower than all numbers.
fn number(value: f32) -> f32 {
    value.max(f32::NEG_INFINITY)
}

/// Turns where each voxel looks into the number of its basin; the peaks in their order.
fn number_basins(looks: &mut [u32]) -> Vec<u32> {
    let mut has_number = vec![false; looks.len()];
    let mut peaks = Vec::new();
    for voxel in 0..looks.len() {
        if looks[voxel] as usize == voxel {
            looks[voxel] = peaks.len() as u32;
            has_number[voxel] = true;
            peaks.push(voxel as u32);
        }
    }
    for start in 0..looks.len() {
        let mut voxel = start;
        while !has_number[voxel] {
            voxel = looks[voxel] as usize;
        }
        let number = looks[voxel];
        voxel = start;
        while !has_number[voxel] {
            has_number[voxel] = true;
            voxel = std::mem::replace(&mut looks[voxel], number) as usize;
        }
    }
    peaks
}

/// Trees of basins that have joined; the root has the highest peak, the first of equal ones.
struct Islands<'a> {
    top: &'a [f32],
    height: f64,
    equals: Equals,
    parent: Vec<u32>,
    /// The basin with an equal peak that decides about this one's; itself if it does.
    judge: Vec<u32>,
    stays: Vec<bool>,
}

impl<'a> Islands<'a> {
    fn new(top: &'a [f32], height: f64, equals: Equals) -> Self {
        let each: Vec<u32> = (0..top.len() as u32).collect();
        let stays = vec![false; top.len()];
        Self { top, height, equals, parent: each.clone(), judge: each, stays }
    }

    fn rises(&self, basin: u32, level: f32) -> bool {
        let rise = f64::from(self.top[basin as usize]) - f64::from(level);
        rise > 0.0 && rise >= self.height
    }

    fn join(&mut self, a: u32, b: u32, level: f32) {
        let [a, b] = [a, b].map(|basin| root(&mut self.parent, basin));
        if a == b {
            return;
        }
        let (top_a, top_b) = (self.top[a as usize], self.top[b as usize]);
        let a_ends = top_a < top_b || (top_a == top_b && a > b);
        let (ends, stays) = if a_ends { (a, b) } else { (b, a) };
        self.parent[ends as usize] = stays;
        let is_one_plateau = level == top_a;
        if top_a == top_b && (is_one_plateau || self.equals == Equals::All) {
            self.judge[ends as usize] = stays;
        } else {
            self.stays[ends as usize] = self.rises(ends, level);
        }
    }

    /// Lets the last island end at the lowest voxel, and all basins be judged.
    fn finish(mut self, lowest: f32) -> Vec<bool> {
        for basin in 0..self.top.len() {
            if self.parent[basin] as usize == basin {
                self.stays[basin] = self.rises(basin as u32, lowest);
            }
        }
        // A judge comes before those it judges.
        for basin in 0..self.top.len() {
            self.stays[basin] = self.stays[self.judge[basin] as usize];
        }
        self.stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f32], height: f64, expected: &[usize]) {
        let volume = Volume::new([1, 1, values.len()], values.to_vec());
        let maxima = h_maxima(&volume, height, Connectivity::Faces);
        let found: Vec<usize> = (0..values.len()).filter(|x| maxima.voxels[*x]).collect();
        assert_eq!(found, expected, "{values:?} with {height}");
    }

    #[test]
    fn exactly_the_height_is_enough() {
        check(&[0.0, 2.0, 1.0, 3.0, 0.0], 1.0, &[1, 3]);
        check(&[0.0, 2.0, 1.0, 3.0, 0.0], 1.000_000_1, &[3]);
        check(&[0.0, 2.0, 1.0, 3.0, 0.0], 3.0, &[3]);
        check(&[0.0, 2.0, 1.0, 3.0, 0.0], 3.000_000_1, &[]);
    }

    #[test]
    fn equal_maxima_share_their_fate() {
        check(&[0.0, 5.0, 4.0, 5.0, 0.0], 2.0, &[1, 3]);
        check(&[9.0, 3.0, 5.0, 4.0, 5.0, 0.0], 2.0, &[0, 2, 4]);
        check(&[9.0, 3.0, 5.0, 4.0, 5.0, 0.0], 2.5, &[0]);
        check(&[0.0, 5.0, 4.0, 5.0, 3.0, 9.0], 2.0, &[1, 3, 5]);
    }

    #[test]
    fn plateaus_count_whole_and_shoulders_do_not() {
        check(&[0.0, 2.0, 2.0, 2.0, 1.0], 1.0, &[1, 2, 3]);
        check(&[0.0, 2.0, 2.0, 3.0, 1.0], 0.0, &[3]);
        check(&[3.0, 2.0, 2.0, 0.0, 2.0, 2.0, 2.5], 0.0, &[0, 6]);
    }

    #[test]
    fn a_volume_of_one_value_has_none() {
        for value in [0.0, 2.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            check(&[value; 4], 0.0, &[]);
            check(&[value], 1.0, &[]);
        }
        check(&[-0.0, 0.0], 0.0, &[]);
        check(&[], 1.0, &[]);
    }

    #[test]
    fn what_is_no_number_is_lowest() {
        check(&[1.0, f32::NAN, 2.0], 100.0, &[0, 2]);
        check(&[1.0, f32::INFINITY, 2.0, 3.0], 1.0, &[1, 3]);
        check(&[1.0, 0.0, 2.0], f64::NAN, &[]);
    }
}
