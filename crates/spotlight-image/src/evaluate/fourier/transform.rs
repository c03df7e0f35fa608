//! Fourier transforms of two real images at once, and sums over their coefficients.
//!
//! The images are the real and the imaginary part of one field Z. For real A and B
//!
//! ```text
//! A(k) = (Z(k) + Z*(−k)) / 2,   B(k) = (Z(k) − Z*(−k)) / 2i,
//! ```
//!
//! so one transform serves both, and since all sums are the same at k and −k, half of the
//! coefficients do. Zeros around the images are never stored: rows are transformed in place,
//! then one (z, y) slab at a time is padded, transformed, summed and dropped.

use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftPlannerScalar};

use crate::Shape;

type Value = Complex<f64>;

/// Two images, zero outside a block.
pub(super) struct Pair {
    /// The block along z and y; rows are of full length.
    pub(super) block: [usize; 2],
    /// Size of the images along (z, y, x).
    pub(super) shape: Shape,
    /// The first image as the real, the second as the imaginary part.
    pub(super) values: Vec<Value>,
}

/// Sums over the coefficients of a bin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Real part of A(k) B*(k).
    pub(super) cross: f64,
    /// Squared magnitude of A(k).
    pub(super) first: f64,
    /// Squared magnitude of B(k).
    pub(super) second: f64,
    /// Number of coefficients.
    pub(super) points: usize,
}

impl Sums {
    fn add(&mut self, other: &Self, times: usize) {
        let share = times as f64;
        self.cross += share * other.cross;
        self.first += share * other.first;
        self.second += share * other.second;
        self.points += times * other.points;
    }
}

/// Sums over all coefficients by bin; `bin` must be the same at k and −k.
///
/// A coefficient is given by its number along (z, y, x), 0 and up.
pub(super) fn bin_sums(
    mut pair: Pair,
    bins: usize,
    bin: impl Fn([usize; 3]) -> Option<usize> + Sync,
) -> Vec<Sums> {
    let [depth, rows, columns] = pair.shape;
    if depth * rows * columns == 0 {
        return vec![Sums::default(); bins];
    }
    transform_rows(&mut pair.values, &Plan::new(columns));
    let (along_z, along_y) = (Plan::new(depth), Plan::new(rows));
    let slabs = || [0, 1].map(|_| (vec![Value::default(); depth * rows], Vec::new()));
    let half = (0..columns / 2 + 1).into_par_iter();
    let parts = half.map_init(slabs, |[(here, turned), (there, other_turned)], kx| {
        let opposite = (columns - kx) % columns;
        transform_slab(&pair, kx, &along_z, &along_y, here, turned);
        if opposite != kx {
            transform_slab(&pair, opposite, &along_z, &along_y, there, other_turned);
        }
        let there = if opposite == kx { &*here } else { &*there };
        let mut sums = vec![Sums::default(); bins];
        for kz in 0..depth {
            for ky in 0..rows {
                let Some(bin) = bin([kz, ky, kx]) else { continue };
                let mirror = (depth - kz) % depth * rows + (rows - ky) % rows;
                let (value, mirrored) = (here[kz * rows + ky], there[mirror].conj());
                sums[bin].add(&product(value, mirrored), if opposite == kx { 1 } else { 2 });
            }
        }
        sums
    });
    let parts: Vec<Vec<Sums>> = parts.collect();
    let mut total = vec![Sums::default(); bins];
    for part in parts {
        total.iter_mut().zip(&part).for_each(|(total, sums)| total.add(sums, 1));
    }
    total
}

/// One coefficient's part, from Z(k) and Z*(−k).
fn product(value: Value, mirrored: Value) -> Sums {
    Sums {
        cross: -0.5 * (mirrored * value.conj()).im,
        first: 0.25 * (value + mirrored).norm_sqr(),
        second: 0.25 * (value - mirrored).norm_sqr(),
        points: 1,
    }
}

/// Fills a slab with the column kx of all rows and transforms it along y and z.
fn transform_slab(
    pair: &Pair,
    kx: usize,
    along_z: &Plan,
    along_y: &Plan,
    slab: &mut [Value],
    turned: &mut Vec<Value>,
) {
    let [depth, rows, columns] = pair.shape;
    let [block_depth, block_rows] = pair.block;
    slab.fill(Value::default());
    for z in 0..block_depth {
        let column = pair.values[z * block_rows * columns + kx..].iter().step_by(columns);
        let line = &mut slab[z * rows..(z + 1) * rows];
        line.iter_mut().zip(column.take(block_rows)).for_each(|(to, from)| *to = *from);
        along_y.process(line);
    }
    if depth == 1 {
        return;
    }
    turned.resize(depth * rows, Value::default());
    for z in 0..depth {
        for y in 0..rows {
            turned[y * depth + z] = slab[z * rows + y];
        }
    }
    turned.chunks_exact_mut(depth).for_each(|line| along_z.process(line));
    for z in 0..depth {
        for y in 0..rows {
            slab[z * rows + y] = turned[y * depth + z];
        }
    }
}

fn transform_rows(values: &mut [Value], plan: &Plan) {
    values.par_chunks_mut(plan.length.max(1)).for_each(|row| plan.process(row));
}

/// A transform of one length, with the scalar planner: the vector planners of the library
/// differ between processors in the last bit.
struct Plan {
    length: usize,
    fft: Arc<dyn Fft<f64>>,
}

impl Plan {
    fn new(length: usize) -> Self {
        Self { length, fft: FftPlannerScalar::new().plan_fft(length, FftDirection::Forward) }
    }

    fn process(&self, line: &mut [Value]) {
        if self.length > 1 {
            self.fft.process(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    /// By definition: every coefficient of both images from all voxels.
    fn check(shape: Shape, block: [usize; 2], length: usize) {
        let [depth, rows, columns] = shape;
        let image = |seed: usize, [z, y, x]: [usize; 3]| {
            let inside = z < block[0] && y < block[1] && x < length;
            let value = (7 * z * z + 3 * y + 5 * x * y + seed * (x + 2 * z)) % 13;
            if inside { value as f64 } else { 0.0 }
        };
        let mut values = Vec::new();
        for z in 0..block[0] {
            for y in 0..block[1] {
                let voxel = |x| Value::new(image(1, [z, y, x]), image(4, [z, y, x]));
                values.extend((0..columns).map(voxel));
            }
        }
        let all: Vec<[usize; 3]> = (0..depth * rows * columns)
            .map(|i| [i / (rows * columns), i / columns % rows, i % columns])
            .collect();
        let coefficient = |seed, [kz, ky, kx]: [usize; 3]| -> Value {
            let term = |p: &[usize; 3]| {
                let turn = (kz * p[0]) as f64 / depth as f64
                    + (ky * p[1]) as f64 / rows as f64
                    + (kx * p[2]) as f64 / columns as f64;
                Value::from_polar(image(seed, *p), -TAU * turn)
            };
            all.iter().map(term).sum()
        };
        let near = |k: usize, n: usize| k.min(n - k);
        let bin = |[kz, ky, kx]: [usize; 3]| {
            let bin = near(kz, depth) + near(ky, rows) + near(kx, columns);
            (bin < 3).then_some(bin)
        };
        let mut expected = [Sums::default(); 3];
        for k in &all {
            let Some(bin) = bin(*k) else { continue };
            let (a, b) = (coefficient(1, *k), coefficient(4, *k));
            expected[bin].add(
                &Sums {
                    cross: (a * b.conj()).re,
                    first: a.norm_sqr(),
                    second: b.norm_sqr(),
                    points: 1,
                },
                1,
            );
        }
        let found = bin_sums(Pair { block, shape, values }, 3, bin);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.points, expected.points);
            let scale = expected.first + expected.second + 1.0;
            for (found, expected) in [
                (found.cross, expected.cross),
                (found.first, expected.first),
                (found.second, expected.second),
            ] {
                assert!((found - expected).abs() < 1e-12 * scale, "{found}, expected {expected}");
            }
        }
    }

    #[test]
    fn sums_by_definition() {
        check([1, 6, 6], [1, 6], 6);
        check([1, 7, 7], [1, 4], 5);
        check([4, 4, 4], [3, 2], 4);
        check([5, 3, 6], [5, 3], 6);
        check([1, 1, 1], [1, 1], 1);
    }
}
