//! Resizing as OpenCV does it, with half-pixel centres and no anti-aliasing.
//!
//! ```text
//! linear    s = (i + 1/2) n / m - 1/2, edge repeated; between floor(s) and floor(s) + 1
//! nearest   floor(i n / m)                                  for i = 0 ... m - 1 from n voxels
//! ```
//!
//! Planes are resized along y and x, then the stack along z. The same as `resize_image` of
//! Cellpose 3.1.1.1, which calls `cv2.resize`.

use rayon::prelude::*;

use crate::{Shape, Volume};

/// Lengths of a stack that is made larger by `rescale` along all axes, and along z by
/// `anisotropy` (the spacing of planes over that of pixels) too, rounded down.
///
/// # Examples
///
/// ```
/// use spotlight_image::cellpose::scaled_shape;
///
/// assert_eq!(scaled_shape([10, 65, 65], 0.85, 2.0), [17, 55, 55]);
/// ```
#[must_use]
pub fn scaled_shape([z, y, x]: Shape, rescale: f64, anisotropy: f64) -> Shape {
    let z = (z as f64 * anisotropy * rescale) as usize;
    [z, (y as f64 * rescale) as usize, (x as f64 * rescale) as usize]
}

/// Resizes to a shape by straight lines between voxels.
///
/// # Panics
///
/// If a stack without voxels is to have some.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, cellpose::resize_linear};
///
/// let row = Volume::new([1, 1, 2], vec![0.0, 4.0]);
/// assert_eq!(resize_linear(&row, [1, 1, 4]).voxels, [0.0, 1.0, 3.0, 4.0]);
/// ```
#[must_use]
pub fn resize_linear(stack: &Volume<f32>, shape: Shape) -> Volume<f32> {
    assert_has_voxels(stack.shape, shape);
    let [depth, height, width] = shape;
    let flat = if [height, width] == [stack.shape[1], stack.shape[2]] {
        stack.clone()
    } else {
        resize_planes(stack, [height, width])
    };
    if depth == flat.shape[0] {
        return flat;
    }
    let places = places(flat.shape[0], depth);
    let mut resized = Volume::filled(shape, 0.0);
    let plane = (height * width).max(1);
    resized.voxels.par_chunks_mut(plane).zip(&places).for_each(|(target, place)| {
        mix(target, flat.plane(place.low), flat.plane(place.high), place.part);
    });
    resized
}

/// Resizes to a shape by taking voxels; for labels.
///
/// # Panics
///
/// If a stack without voxels is to have some.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, cellpose::resize_nearest};
///
/// let row = Volume::new([1, 1, 2], vec![3_u32, 70_000]);
/// assert_eq!(resize_nearest(&row, [1, 1, 3]).voxels, [3, 3, 70_000]);
/// ```
#[must_use]
pub fn resize_nearest<T: Copy>(stack: &Volume<T>, shape: Shape) -> Volume<T> {
    assert_has_voxels(stack.shape, shape);
    let sources: [Vec<usize>; 3] = std::array::from_fn(|axis| {
        (0..shape[axis]).map(|i| i * stack.shape[axis] / shape[axis]).collect()
    });
    Volume::from_fn(shape, |[z, y, x]| stack.at([sources[0][z], sources[1][y], sources[2][x]]))
}

fn assert_has_voxels(old: Shape, new: Shape) {
    let voxels = |shape: Shape| !shape.contains(&0);
    assert!(voxels(old) || !voxels(new), "{old:?} has no voxels to fill {new:?}");
}

/// Between which voxels a new one lies, and how far from the first.
struct Place {
    low: usize,
    high: usize,
    part: f32,
}

fn places(old: usize, new: usize) -> Vec<Place> {
    let scale = old as f64 / new as f64;
    let place = |i: usize| {
        let source = ((i as f64 + 0.5) * scale - 0.5) as f32;
        if source < 0.0 {
            return Place { low: 0, high: 0, part: 0.0 };
        }
        let low = (source as usize).min(old - 1);
        let high = (low + 1).min(old - 1);
        Place { low, high, part: if high == low { 0.0 } else { source - low as f32 } }
    };
    (0..new).map(place).collect()
}

fn resize_planes(stack: &Volume<f32>, [height, width]: [usize; 2]) -> Volume<f32> {
    let [depth, old_height, old_width] = stack.shape;
    let [rows, columns] = [places(old_height, height), places(old_width, width)];
    let mut resized = Volume::filled([depth, height, width], 0.0);
    let planes = resized.voxels.par_chunks_mut((height * width).max(1)).enumerate();
    planes.for_each(|(z, target)| {
        let source = stack.plane(z);
        let narrow = |row: &[f32], target: &mut [f32]| {
            for (value, Place { low, high, part }) in target.iter_mut().zip(&columns) {
                *value = row[*low] * (1.0 - part) + row[*high] * part;
            }
        };
        let mut lines = [vec![0.0; width], vec![0.0; width]];
        for (target, row) in target.chunks_exact_mut(width).zip(&rows) {
            for (line, y) in lines.iter_mut().zip([row.low, row.high]) {
                narrow(&source[y * old_width..(y + 1) * old_width], line);
            }
            mix(target, &lines[0], &lines[1], row.part);
        }
    });
    resized
}

fn mix(target: &mut [f32], low: &[f32], high: &[f32], part: f32) {
    for ((value, low), high) in target.iter_mut().zip(low).zip(high) {
        *value = low * (1.0 - part) + high * part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_alike() {
        let values = [1.0, 5.0, 2.0, 8.0];
        let along = |axis: usize, length: usize| {
            let shape: Shape = std::array::from_fn(|a| if a == axis { length } else { 1 });
            shape
        };
        for length in [1, 2, 3, 4, 7] {
            let found: Vec<Vec<f32>> = (0..3)
                .map(|axis| {
                    let line = Volume::new(along(axis, 4), values.to_vec());
                    resize_linear(&line, along(axis, length)).voxels
                })
                .collect();
            assert_eq!(found[0], found[1]);
            assert_eq!(found[1], found[2]);
        }
    }

    #[test]
    fn the_same_shape_is_the_same_image() {
        let image = Volume::from_fn([2, 3, 4], |[z, y, x]| (z * 12 + y * 4 + x) as f32);
        assert_eq!(resize_linear(&image, image.shape), image);
        assert_eq!(resize_nearest(&image, image.shape), image);
        assert_eq!(resize_linear(&image, [2, 0, 4]).voxels, []);
        assert_eq!(resize_nearest(&image, [0, 3, 4]).voxels, []);
    }
}
