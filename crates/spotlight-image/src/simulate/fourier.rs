//! Fourier transform of a volume, and convolution of two fields at once.
//!
//! The scalar planner is used on purpose: the vector planners of the library
//! differ between processors in the last bit, and a seed must give the same
//! bytes everywhere.

use crate::Volume;
use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftPlannerScalar};
use std::sync::Arc;

type Value = Complex<f32>;

/// Convolves the real and the imaginary part of a periodic volume, each with its
/// own real kernel.
///
/// `transfer(y, x, z)` gives the values of both kernels' transforms there. The
/// two fields are told apart by symmetry: for real p and q the transform F of
/// p + iq has P(k) = (F(k) + F*(-k)) / 2 and iQ(k) = (F(k) - F*(-k)) / 2.
pub(super) fn convolve_parts(
    field: Volume<Value>,
    transfer: impl Fn(usize, usize, usize) -> (Value, Value) + Sync,
) -> Volume<Value> {
    let [depth, rows, columns] = field.shape;
    let mut field = field;
    transform_planes(&mut field, FftDirection::Forward);
    let mut columns_first = z_last(&field);
    transform_rows(&mut columns_first, depth, FftDirection::Forward);

    let mut product = field.voxels;
    product.par_chunks_mut(depth).enumerate().for_each(|(line, out)| {
        let (y, x) = (line / columns, line % columns);
        let mirror = ((rows - y) % rows) * columns + (columns - x) % columns;
        let here = &columns_first[line * depth..(line + 1) * depth];
        let there = &columns_first[mirror * depth..(mirror + 1) * depth];
        for (z, out) in out.iter_mut().enumerate() {
            let (value, mirrored) = (here[z], there[(depth - z) % depth].conj());
            let (first, second) = transfer(y, x, z);
            *out = (first * (value + mirrored) + second * (value - mirrored)) * 0.5;
        }
    });
    transform_rows(&mut product, depth, FftDirection::Inverse);
    let mut result = z_first(&product, [depth, rows, columns], columns_first);
    transform_planes(&mut result, FftDirection::Inverse);
    let scale = 1.0 / (depth * rows * columns) as f32;
    result.voxels.par_iter_mut().for_each(|value| *value *= scale);
    result
}

fn plan(length: usize, direction: FftDirection) -> Arc<dyn Fft<f32>> {
    FftPlannerScalar::new().plan_fft(length, direction)
}

/// Transforms every row of this length in place.
fn transform_rows(values: &mut [Value], length: usize, direction: FftDirection) {
    let fft = plan(length, direction);
    let rows = (4096 / length).max(1);
    values.par_chunks_mut(length * rows).for_each(|chunk| fft.process(chunk));
}

/// Transforms every plane along x and y in place.
fn transform_planes(field: &mut Volume<Value>, direction: FftDirection) {
    let [_, rows, columns] = field.shape;
    let (along_x, along_y) = (plan(columns, direction), plan(rows, direction));
    field.voxels.par_chunks_mut(rows * columns).for_each(|plane| {
        along_x.process(plane);
        let mut turned = transposed(plane, rows, columns);
        along_y.process(&mut turned);
        plane.copy_from_slice(&transposed(&turned, columns, rows));
    });
}

fn transposed(plane: &[Value], rows: usize, columns: usize) -> Vec<Value> {
    let mut turned = vec![Value::default(); plane.len()];
    // Squares of voxels keep both sides in the cache.
    const SIDE: usize = 16;
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for y in top..(top + SIDE).min(rows) {
                for x in left..(left + SIDE).min(columns) {
                    turned[x * rows + y] = plane[y * columns + x];
                }
            }
        }
    }
    turned
}

/// Reorders (z, y, x) to (y, x, z).
fn z_last(field: &Volume<Value>) -> Vec<Value> {
    let [depth, rows, columns] = field.shape;
    let mut turned = vec![Value::default(); field.voxels.len()];
    turned.par_chunks_mut(columns * depth).enumerate().for_each(|(y, chunk)| {
        for z in 0..depth {
            let from = (z * rows + y) * columns;
            for (x, value) in field.voxels[from..from + columns].iter().enumerate() {
                chunk[x * depth + z] = *value;
            }
        }
    });
    turned
}

/// Reorders (y, x, z) to (z, y, x), into memory that is given.
fn z_first(turned: &[Value], shape: [usize; 3], memory: Vec<Value>) -> Volume<Value> {
    let [depth, rows, columns] = shape;
    let mut field = Volume::new(shape, memory);
    field.voxels.par_chunks_mut(rows * columns).enumerate().for_each(|(z, plane)| {
        for (place, value) in plane.iter_mut().enumerate() {
            *value = turned[place * depth + z];
        }
    });
    field
}

/// The smallest length that is a product of 2, 3 and 5 and not below `length`.
pub(super) fn fast_length(length: usize) -> usize {
    let smooth = |mut number: usize| {
        for factor in [2, 3, 5] {
            while number.is_multiple_of(factor) {
                number /= factor;
            }
        }
        number == 1
    };
    (length.max(1)..).find(|&number| smooth(number)).unwrap_or(length)
}

/// Cycles per µm of a coefficient of the transform.
pub(super) fn frequency(coefficient: usize, length: usize, spacing_um: f64) -> f64 {
    let signed = if coefficient <= length / 2 {
        coefficient as f64
    } else {
        coefficient as f64 - length as f64
    };
    signed / (length as f64 * spacing_um)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_convolved_separately() {
        let shape = [4, 6, 5];
        let field = Volume::from_fn(shape, |[z, y, x]| {
            Value::new((z * 7 + y * 3 + x) as f32 % 5.0, (z + y * x) as f32 % 3.0)
        });
        // The first kernel shifts by one along z, the second by one along x and doubles.
        let shift = |k: usize, n: usize| {
            Value::from_polar(1.0, -std::f32::consts::TAU * k as f32 / n as f32)
        };
        let found = convolve_parts(field.clone(), |_, x, z| (shift(z, 4), shift(x, 5) * 2.0));
        for z in 0..4 {
            for y in 0..6 {
                for x in 0..5 {
                    let value = found.at([z, y, x]);
                    let re = field.at([(z + 3) % 4, y, x]).re;
                    let im = 2.0 * field.at([z, y, (x + 4) % 5]).im;
                    assert!((value.re - re).abs() < 1e-5 && (value.im - im).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn lengths() {
        assert_eq!([1, 7, 13, 276].map(fast_length), [1, 8, 15, 288]);
    }
}
