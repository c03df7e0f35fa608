//! Two images out of one: windows, zero padding and the checkerboard.
//!
//! A resolution can be read off a single image because neighbouring pixels see the same
//! object with different noise. The padded square is a checkerboard of 2×2 pixels; one image
//! takes the lower right, the other the upper left of each, and a second pair the other two.
//! Where the object does not fill the square there are zeros.
//!
//! Reference: S. Koho et al. (2019), "Fourier ring correlation simplifies image restoration
//! in fluorescence microscopy".

use std::f64::consts::TAU;

use rayon::prelude::*;
use rustfft::num_complex::Complex;

use super::FourierRecipe;
use super::transform::Pair;
use crate::Shape;

/// Rows and columns (odd ones are 1) of the two images, for both ways to split.
const SPLITS: [[[usize; 2]; 2]; 2] = [[[1, 1], [0, 0]], [[1, 0], [0, 1]]];

/// A sample of an image along one axis: which voxel, and times what.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    voxel: usize,
    weight: f64,
}

/// Where the samples of an image along each axis come from; `None` and nothing are zeros.
pub(super) struct Sampling {
    z: Vec<Vec<Tap>>,
    y: Vec<Option<Tap>>,
    x: Vec<Option<Tap>>,
}

/// Voxels, and what is subtracted from each.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) shape: Shape,
    pub(super) voxels: &'a [f32],
    pub(super) mean: f64,
}

impl Sampling {
    /// The whole plane or volume in a square or cube of this side.
    pub(super) fn whole(shape: Shape, side: usize, recipe: FourierRecipe) -> Self {
        let window = hamming(side, dimensions(shape));
        let axis = |axis: usize| -> Vec<Option<Tap>> {
            let before = padding(side, shape[axis], recipe);
            (0..side).map(|i| tap(i, before, shape[axis], window[i])).collect()
        };
        let z = if shape[0] == 1 {
            vec![vec![Tap { voxel: 0, weight: 1.0 }]]
        } else {
            axis(0).into_iter().map(|tap| tap.into_iter().collect()).collect()
        };
        Self { z, y: axis(1), x: axis(2) }
    }

    /// Both images of one split (0 or 1) of a square or cube of this side. Along z the halves
    /// of a cube are sums of two planes.
    pub(super) fn halves(
        shape: Shape,
        side: usize,
        recipe: FourierRecipe,
        split: usize,
    ) -> [Self; 2] {
        SPLITS[split].map(|[row, column]| {
            let axis = |axis: usize, parity| half_axis(shape, axis, side, recipe, parity);
            let z = if shape[0] == 1 {
                vec![vec![Tap { voxel: 0, weight: 1.0 }]]
            } else {
                let pairs = axis(0, 0).into_iter().zip(axis(0, 1));
                pairs.map(|(a, b)| a.into_iter().chain(b).collect()).collect()
            };
            Self { z, y: axis(1, row), x: axis(2, column) }
        })
    }
}

/// Samples of one parity along an axis.
fn half_axis(
    shape: Shape,
    axis: usize,
    side: usize,
    recipe: FourierRecipe,
    parity: usize,
) -> Vec<Option<Tap>> {
    let before = padding(side, shape[axis], recipe);
    match recipe {
        FourierRecipe::Miplib => {
            // Of an odd side there are fewer odd samples; a zero in front makes up for it.
            let window = hamming(side, dimensions(shape));
            let shift = side % 2 * parity;
            let place = |i: usize| Some(2 * i.checked_sub(shift)? + parity);
            let half = 0..side.div_ceil(2);
            half.map(|i| place(i).and_then(|i| tap(i, before, shape[axis], window[i]))).collect()
        }
        FourierRecipe::Cubic => {
            let window = hamming(side / 2, dimensions(shape));
            let half = 0..side / 2;
            half.map(|i| tap(2 * i + parity, before, shape[axis], window[i])).collect()
        }
    }
}

/// Both images as one field.
pub(super) fn pack(images: [Image<'_>; 2], samplings: &[Sampling; 2]) -> Pair {
    let columns = samplings[0].x.len();
    let used = |axis: &dyn Fn(&Sampling, usize) -> bool, length: usize| {
        let places: Vec<usize> =
            (0..length).filter(|i| samplings.iter().any(|sampling| axis(sampling, *i))).collect();
        places.first().copied().unwrap_or(0)..places.last().map_or(0, |last| last + 1)
    };
    let depth = used(&|sampling, i| !sampling.z[i].is_empty(), samplings[0].z.len());
    let rows = used(&|sampling, i| sampling.y[i].is_some(), samplings[0].y.len());
    let mut values = vec![Complex::default(); depth.len() * rows.len() * columns];
    values.par_chunks_mut(columns.max(1)).enumerate().for_each(|(row, values)| {
        let (z, y) = (depth.start + row / rows.len(), rows.start + row % rows.len());
        for (part, (image, sampling)) in images.iter().zip(samplings).enumerate() {
            let Some(row) = sampling.y[y] else { continue };
            for plane in &sampling.z[z] {
                let weight = plane.weight * row.weight;
                let first = (plane.voxel * image.shape[1] + row.voxel) * image.shape[2];
                for (value, tap) in values.iter_mut().zip(&sampling.x) {
                    let Some(tap) = tap else { continue };
                    let voxel = f64::from(image.voxels[first + tap.voxel]) - image.mean;
                    let sample = weight * tap.weight * voxel;
                    if part == 0 { value.re += sample } else { value.im += sample }
                }
            }
        }
    });
    let shape = [samplings[0].z.len(), samplings[0].y.len(), columns];
    Pair { block: [depth.len(), rows.len()], shape, values }
}

/// The voxel at a place of the padded axis.
fn tap(place: usize, before: usize, length: usize, weight: f64) -> Option<Tap> {
    let voxel = place.checked_sub(before)?;
    (voxel < length).then_some(Tap { voxel, weight })
}

/// Zeros in front of an axis that is padded to a side.
fn padding(side: usize, length: usize, recipe: FourierRecipe) -> usize {
    match recipe {
        FourierRecipe::Miplib => (side - length).div_ceil(2),
        FourierRecipe::Cubic => (side - length) / 2,
    }
}

fn dimensions(shape: Shape) -> f64 {
    if shape[0] == 1 { 2.0 } else { 3.0 }
}

/// Hamming's window along one of several axes that share it.
fn hamming(length: usize, dimensions: f64) -> Vec<f64> {
    let last = length.saturating_sub(1).max(1) as f64;
    let value =
        |i: usize| if length == 1 { 1.0 } else { 0.54 - 0.46 * (TAU * i as f64 / last).cos() };
    (0..length).map(|i| value(i).powf(1.0 / dimensions)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voxels(axis: &[Option<Tap>]) -> Vec<Option<usize>> {
        axis.iter().map(|tap| tap.map(|tap| tap.voxel)).collect()
    }

    #[test]
    fn the_checkerboard_of_a_padded_square() {
        // 3 rows in a square of 5: miplib and cubic put one zero in front.
        let [a, b] = Sampling::halves([1, 3, 5], 5, FourierRecipe::Miplib, 0);
        assert_eq!(voxels(&a.y), [None, Some(0), Some(2)]);
        assert_eq!(voxels(&b.y), [None, Some(1), None]);
        assert_eq!(voxels(&a.x), [None, Some(1), Some(3)]);
        assert_eq!(voxels(&b.x), [Some(0), Some(2), Some(4)]);
        let [a, b] = Sampling::halves([1, 3, 5], 5, FourierRecipe::Cubic, 1);
        assert_eq!(voxels(&a.y), [Some(0), Some(2)]);
        assert_eq!(voxels(&a.x), [Some(0), Some(2)]);
        assert_eq!(voxels(&b.y), [None, Some(1)]);
        assert_eq!(voxels(&b.x), [Some(1), Some(3)]);
        // An odd number of zeros: miplib puts the larger half in front.
        let of = |recipe| voxels(&Sampling::whole([1, 2, 5], 5, recipe).y);
        assert_eq!(of(FourierRecipe::Miplib), [None, None, Some(0), Some(1), None]);
        assert_eq!(of(FourierRecipe::Cubic), [None, Some(0), Some(1), None, None]);
    }

    #[test]
    fn planes_are_added_in_pairs() {
        let [a, _] = Sampling::halves([2, 4, 4], 4, FourierRecipe::Cubic, 0);
        let planes: Vec<Vec<usize>> =
            a.z.iter().map(|taps| taps.iter().map(|tap| tap.voxel).collect()).collect();
        assert_eq!(planes, [vec![0], vec![1]]);
        let [a, _] = Sampling::halves([4, 4, 4], 4, FourierRecipe::Cubic, 0);
        assert_eq!(a.z[1].iter().map(|tap| tap.voxel).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn packing_leaves_zeros_out() {
        let voxels = [1.0, 2.0, 3.0, 4.0, 5.0];
        let image = Image { shape: [1, 1, 5], voxels: &voxels, mean: 1.0 };
        let whole = || Sampling::whole([1, 1, 5], 5, FourierRecipe::Miplib);
        let pair = pack([image, image], &[whole(), whole()]);
        assert_eq!((pair.block, pair.shape), ([1, 1], [1, 5, 5]));
        let window = hamming(5, 2.0);
        let expected = [0.0, 1.0, 2.0, 3.0, 4.0];
        for (x, value) in pair.values.iter().enumerate() {
            assert!((value.re - expected[x] * window[2] * window[x]).abs() < 1e-15);
            assert_eq!(value.re, value.im);
        }
    }
}
