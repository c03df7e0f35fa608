//! Weighted means over the window around every voxel of a plane.
//!
//! Structural similarity needs the local means of both images, of their squares and of
//! their product. They are formed together: the terms of a voxel lie side by side in memory
//! and pass through the z, the y and the x axis of the window in turn, so that only a few
//! planes are held, whatever the depth of the stack.

use crate::{Border, Shape};

/// Numbers that are summed side by side.
const LANES: usize = 8;

/// A Gaussian window ends at this many standard deviations, as in scikit-image.
const TRUNCATE: f64 = 3.5;

/// The shape of the window that means are taken over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Window {
    /// A cube (in a single plane a square) of this odd side, equal weights.
    Uniform(usize),
    /// A Gaussian of this standard deviation in voxels, cut off at 3.5 of them.
    Gaussian(f64),
}

impl Window {
    /// Weights along (z, y, x); along z a single plane has no neighbours.
    pub(super) fn weights(self, shape: Shape) -> [Vec<f64>; 3] {
        let line = match self {
            Self::Uniform(side) => {
                assert!(side % 2 == 1, "the side of a window must be odd, is {side}");
                vec![1.0 / side as f64; side]
            }
            Self::Gaussian(sigma) => {
                assert!(sigma > 0.0, "sigma must be positive, is {sigma}");
                let radius = (TRUNCATE * sigma + 0.5) as usize;
                let distance = |i: usize| (i as f64 - radius as f64) / sigma;
                let weights = (0..=2 * radius).map(|i| (-0.5 * distance(i).powi(2)).exp());
                let weights: Vec<f64> = weights.collect();
                let sum: f64 = weights.iter().sum();
                weights.into_iter().map(|w| w / sum).collect()
            }
        };
        [if shape[0] == 1 { vec![1.0] } else { line.clone() }, line.clone(), line]
    }
}

/// Weights of a window along (z, y, x) and the rule beyond the border.
#[derive(Clone, Debug)]
pub(super) struct Means {
    shape: Shape,
    weights: [Vec<f64>; 3],
    border: Border,
}

impl Means {
    /// For images of this shape.
    pub(super) fn new(shape: Shape, window: Window, border: Border) -> Self {
        Self { shape, weights: window.weights(shape), border }
    }

    /// Voxels from the middle of the window to its end, along (z, y, x).
    pub(super) fn radius(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.weights[axis].len() / 2)
    }

    /// Whether the window fits into the image.
    pub(super) fn fits(&self) -> bool {
        (0..3).all(|axis| self.weights[axis].len() <= self.shape[axis])
    }

    /// Calls `row` for every row `y` of the plane `z` with the means of the `N` terms at
    /// every x.
    ///
    /// `terms` gives the terms of a voxel from its place in [`crate::Volume::voxels`].
    pub(super) fn of_plane<const N: usize>(
        &self,
        z: usize,
        terms: impl Fn(usize) -> [f64; N],
        mut row: impl FnMut(usize, &[[f64; N]]),
    ) {
        let [_, rows, columns] = self.shape;
        let summed = self.along_z(z, terms);
        let [_, along_y, along_x] = &self.weights;
        let radius = along_x.len() / 2;
        let from_x: Vec<usize> = places(columns, radius, self.border);
        let from_y: Vec<usize> = places(rows, along_y.len() / 2, self.border);
        let mut line = vec![[0.0; N]; columns];
        let mut padded = vec![[0.0; N]; columns + 2 * radius];
        let mut means = vec![[0.0; N]; columns];
        for y in 0..rows {
            weighted_sum(line.as_flattened_mut(), along_y, |tap| {
                let source = from_y[y + tap] * columns;
                summed[source..source + columns].as_flattened()
            });
            for (to, from) in padded.iter_mut().zip(&from_x) {
                *to = line[*from];
            }
            weighted_sum(means.as_flattened_mut(), along_x, |tap| {
                padded[tap..tap + columns].as_flattened()
            });
            row(y, &means);
        }
    }

    /// The terms of a plane, weighted over the planes around it.
    fn along_z<const N: usize>(
        &self,
        z: usize,
        terms: impl Fn(usize) -> [f64; N],
    ) -> Vec<[f64; N]> {
        let [planes, rows, columns] = self.shape;
        let size = rows * columns;
        let weights = &self.weights[0];
        let from = places(planes, weights.len() / 2, self.border);
        if let [_] = weights.as_slice() {
            return (z * size..(z + 1) * size).map(terms).collect();
        }
        let mut summed = vec![[0.0; N]; size];
        for (tap, weight) in weights.iter().enumerate() {
            let first = from[z + tap] * size;
            for (i, sum) in summed.iter_mut().enumerate() {
                let terms = terms(first + i);
                for (sum, term) in sum.iter_mut().zip(terms) {
                    *sum += weight * term;
                }
            }
        }
        summed
    }
}

/// Which voxel of an axis stands at each place from `radius` before to `radius` behind it.
fn places(length: usize, radius: usize, border: Border) -> Vec<usize> {
    let place = |i: usize| border.inside(i as isize - radius as isize, length).unwrap_or(0);
    (0..length + 2 * radius).map(place).collect()
}

/// `sum[i] = Σ weights[tap] · source(tap)[i]`.
fn weighted_sum<'a>(sum: &mut [f64], weights: &[f64], source: impl Fn(usize) -> &'a [f64]) {
    let mut blocks = sum.chunks_exact_mut(LANES);
    let mut start = 0;
    for block in &mut blocks {
        let mut lanes = [0.0; LANES];
        for (tap, weight) in weights.iter().enumerate() {
            let values = &source(tap)[start..start + LANES];
            for (lane, value) in lanes.iter_mut().zip(values) {
                *lane += weight * value;
            }
        }
        block.copy_from_slice(&lanes);
        start += LANES;
    }
    for (lane, sum) in blocks.into_remainder().iter_mut().enumerate() {
        *sum = (0..weights.len()).map(|tap| weights[tap] * source(tap)[start + lane]).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Volume;

    fn check(shape: Shape, window: Window, border: Border) {
        let image = Volume::from_fn(shape, |[z, y, x]| ((7 * z + 3 * y + 5 * x) % 11) as f64);
        let means = Means::new(shape, window, border);
        let weights = window.weights(shape);
        let radius = means.radius();
        for z in 0..shape[0] {
            let mut rows = 0;
            let terms = |i: usize| [image.voxels[i], image.voxels[i] * image.voxels[i], 1.0];
            means.of_plane(z, terms, |y, row| {
                rows += 1;
                for (x, found) in row.iter().enumerate() {
                    let mut expected = [0.0; 3];
                    let at = [z, y, x];
                    for (i, a) in weights[0].iter().enumerate() {
                        for (j, b) in weights[1].iter().enumerate() {
                            for (k, c) in weights[2].iter().enumerate() {
                                let tap = [i, j, k];
                                let place = [0, 1, 2].map(|axis| {
                                    let i = at[axis] as isize + tap[axis] as isize;
                                    let i = i - radius[axis] as isize;
                                    border.inside(i, shape[axis]).unwrap()
                                });
                                let value = image.at(place);
                                expected[0] += a * b * c * value;
                                expected[1] += a * b * c * value * value;
                                expected[2] += a * b * c;
                            }
                        }
                    }
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
                    }
                }
            });
            assert_eq!(rows, shape[1]);
        }
    }

    #[test]
    fn means_by_definition() {
        check([1, 6, 9], Window::Uniform(3), Border::Reflect);
        check([4, 6, 9], Window::Uniform(5), Border::Mirror);
        check([3, 5, 7], Window::Gaussian(0.8), Border::Reflect);
        check([2, 4, 13], Window::Gaussian(1.5), Border::Mirror);
    }

    #[test]
    fn sizes() {
        let fits = |shape, window| Means::new(shape, window, Border::Reflect).fits();
        assert!(fits([1, 7, 7], Window::Uniform(7)));
        assert!(!fits([2, 7, 7], Window::Uniform(7)));
        assert!(!fits([1, 10, 30], Window::Gaussian(1.5)));
        assert_eq!(Means::new([5; 3], Window::Gaussian(1.5), Border::Reflect).radius(), [5; 3]);
    }
}
