//! Sizes and overlaps of the objects of two label images.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use crate::Volume;

/// Voxels that one thread counts at a time.
const PIECE: usize = 1 << 18;

/// Voxels that are compared with the present pair at once.
const BLOCK: usize = 32;

/// Objects of two label images and the voxels that pairs of them share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlap {
    /// Labels of the true objects, rising.
    pub true_labels: Vec<u32>,
    /// Labels of the predicted objects, rising.
    pub predicted_labels: Vec<u32>,
    /// Voxels of each true object.
    pub true_voxels: Vec<usize>,
    /// Voxels of each predicted object.
    pub predicted_voxels: Vec<usize>,
    /// Pairs that share voxels, by true object, then by predicted.
    pub pairs: Vec<OverlapPair>,
}

/// A true and a predicted object that share voxels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverlapPair {
    /// Place of the true object in [`Overlap::true_labels`].
    pub true_object: usize,
    /// Place of the predicted object in [`Overlap::predicted_labels`].
    pub predicted_object: usize,
    /// Voxels of both.
    pub voxels: usize,
    /// Voxels of both as a part of those of either.
    pub iou: f64,
}

/// Counts the voxels of all objects and of all pairs that overlap.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, evaluate::overlap};
///
/// let truth = Volume::new([1, 1, 6], vec![7, 7, 7, 0, 9, 9]);
/// let prediction = Volume::new([1, 1, 6], vec![0, 2, 2, 2, 0, 0]);
/// let found = overlap(&truth, &prediction);
/// assert_eq!(found.true_labels, [7, 9]);
/// assert_eq!(found.predicted_voxels, [3]);
/// assert_eq!((found.pairs.len(), found.pairs[0].voxels, found.pairs[0].iou), (1, 2, 0.5));
/// ```
#[must_use]
pub fn overlap(truth: &Volume<u32>, prediction: &Volume<u32>) -> Overlap {
    let mut counts = OverlapCounts::default();
    counts.add(truth, prediction);
    counts.finish()
}

/// [`overlap`] of label images that come part by part.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Region, Volume};
/// use spotlight_image::evaluate::{OverlapCounts, overlap};
///
/// let truth = Volume::from_fn([4, 5, 6], |[z, y, x]| (z * y + x) as u32 / 3);
/// let prediction = truth.map(|label| label / 2);
/// let mut counts = OverlapCounts::default();
/// for z in [2, 0] {
///     let half = Region { start: [z, 0, 0], shape: [2, 5, 6] };
///     counts.add(&truth.crop(half), &prediction.crop(half));
/// }
/// assert_eq!(counts.finish(), overlap(&truth, &prediction));
/// ```
#[derive(Clone, Debug, Default)]
pub struct OverlapCounts {
    /// How often each pair of labels stands at one voxel.
    pairs: BTreeMap<(u32, u32), usize>,
}

impl OverlapCounts {
    /// Adds a part of both; the parts may come in any order.
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn add(&mut self, truth: &Volume<u32>, prediction: &Volume<u32>) {
        assert_eq!(truth.shape, prediction.shape, "label images to compare must have one shape");
        let pieces = truth.voxels.par_chunks(PIECE).zip(prediction.voxels.par_chunks(PIECE));
        let parts: Vec<HashMap<(u32, u32), usize>> =
            pieces.map(|(truth, prediction)| counts_of_piece(truth, prediction)).collect();
        for (pair, voxels) in parts.into_iter().flatten().filter(|(_, voxels)| *voxels > 0) {
            *self.pairs.entry(pair).or_insert(0) += voxels;
        }
    }

    /// Sizes and overlaps of all objects.
    #[must_use]
    pub fn finish(self) -> Overlap {
        let (mut true_sizes, mut predicted_sizes) = (BTreeMap::new(), BTreeMap::new());
        for (&(t, p), voxels) in &self.pairs {
            *true_sizes.entry(t).or_insert(0) += voxels;
            *predicted_sizes.entry(p).or_insert(0) += voxels;
        }
        true_sizes.remove(&0);
        predicted_sizes.remove(&0);
        let mut result = Overlap {
            true_labels: true_sizes.keys().copied().collect(),
            predicted_labels: predicted_sizes.keys().copied().collect(),
            true_voxels: true_sizes.into_values().collect(),
            predicted_voxels: predicted_sizes.into_values().collect(),
            pairs: Vec::new(),
        };
        for ((t, p), voxels) in self.pairs {
            let places =
                (result.true_labels.binary_search(&t), result.predicted_labels.binary_search(&p));
            let (Ok(true_object), Ok(predicted_object)) = places else { continue };
            let [a, b] =
                [result.true_voxels[true_object], result.predicted_voxels[predicted_object]];
            let iou = voxels as f64 / (a + b - voxels) as f64;
            result.pairs.push(OverlapPair { true_object, predicted_object, voxels, iou });
        }
        result
    }
}

/// Labels come in runs, so most blocks of voxels only lengthen the present one.
fn counts_of_piece(truth: &[u32], prediction: &[u32]) -> HashMap<(u32, u32), usize> {
    let mut counts: HashMap<(u32, u32), usize> = HashMap::new();
    let (mut run, mut length) = ((0, 0), 0);
    for (truth, prediction) in truth.chunks(BLOCK).zip(prediction.chunks(BLOCK)) {
        if only(truth, run.0) && only(prediction, run.1) {
            length += truth.len();
            continue;
        }
        for pair in truth.iter().copied().zip(prediction.iter().copied()) {
            if pair != run {
                *counts.entry(run).or_insert(0) += length;
                (run, length) = (pair, 0);
            }
            length += 1;
        }
    }
    *counts.entry(run).or_insert(0) += length;
    counts
}

/// Whether a block holds one label alone; without a branch in the loop.
fn only(block: &[u32], label: u32) -> bool {
    block.iter().fold(0, |differing, voxel| differing | (voxel ^ label)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_across_pieces() {
        let length = 3 * PIECE + 17;
        let truth = Volume::from_fn([1, 1, length], |[_, _, x]| (x / 1000 % 3) as u32 * 70_000);
        let prediction = Volume::from_fn([1, 1, length], |[_, _, x]| u32::from(x >= PIECE - 5));
        let found = overlap(&truth, &prediction);
        assert_eq!(found.true_labels, [70_000, 140_000]);
        assert_eq!(found.predicted_voxels, [length - PIECE + 5]);
        let naive = |label: u32| {
            let both = truth.voxels.iter().zip(&prediction.voxels);
            both.filter(|(t, p)| **t == label && **p == 1).count()
        };
        let shared: Vec<usize> = found.pairs.iter().map(|pair| pair.voxels).collect();
        assert_eq!(shared, [naive(70_000), naive(140_000)]);
    }

    #[test]
    fn nothing_there() {
        let none = Volume::filled([2, 3, 4], 0);
        assert_eq!(overlap(&none, &none), Overlap::default());
        let empty = Volume::filled([0, 3, 4], 0);
        assert_eq!(overlap(&empty, &empty), Overlap::default());
    }

    #[test]
    #[should_panic(expected = "one shape")]
    fn shapes_must_agree() {
        let _ = overlap(&Volume::filled([1, 1, 2], 0), &Volume::filled([1, 2, 1], 0));
    }
}
