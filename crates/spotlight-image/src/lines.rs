//! One-dimensional operations on all lines of a volume along an axis.
//!
//! A separable filter is three such operations. Lines are handled [`LANES`] at a time,
//! side by side, so that a recursion along the line still fills the vector registers;
//! blocks of lines are shared out among the threads.

use rayon::prelude::*;

use crate::grid::voxel_count;
use crate::{Volume, voxel::Voxel};

/// This many lines go through an operation together.
pub(crate) const LANES: usize = 8;

/// The same position of neighbouring lines.
pub(crate) type Lanes = [f64; LANES];

/// Neighbouring columns that one thread takes at a time; a multiple of [`LANES`].
const COLUMNS: usize = 128;

/// Applies `operation` to every line along `axis`; lines of `length` voxels come out.
///
/// The operation reads a line with `margin` unfilled positions before and after it, which
/// it may fill (and overwrite all), and writes the new line.
pub(crate) fn along_axis<S: Voxel, D: Voxel>(
    source: &Volume<S>,
    axis: usize,
    margin: usize,
    length: usize,
    operation: impl Fn(&mut [Lanes], &mut [Lanes]) + Sync,
) -> Volume<D> {
    let old_length = source.shape[axis];
    let mut shape = source.shape;
    shape[axis] = length;
    let mut result = Volume::filled(shape, D::from_f64(0.0));
    if voxel_count(shape) == 0 {
        return result;
    }
    let buffers = || (vec![[0.0; LANES]; old_length + 2 * margin], vec![[0.0; LANES]; length]);
    let inner: usize = shape[axis + 1..].iter().product();
    if inner == 1 {
        result.voxels.par_chunks_mut(LANES * length).enumerate().for_each_init(
            buffers,
            |(line, new_line), (block, new)| {
                let first = block * LANES * old_length;
                let lines = new.len() / length;
                let old = &source.voxels[first..first + lines * old_length];
                gather_rows(old, old_length, &mut line[margin..margin + old_length]);
                operation(line, new_line);
                scatter_rows(new_line, length, new);
            },
        );
    } else {
        let tasks = columns(&mut result.voxels, length, inner);
        tasks.into_par_iter().for_each_init(buffers, |(line, new_line), task| {
            let (outer, start, mut rows) = task;
            let old = &source.voxels[outer * old_length * inner..][..old_length * inner];
            for lane in (0..rows[0].len()).step_by(LANES) {
                let lanes = LANES.min(rows[0].len() - lane);
                for (position, row) in line[margin..].iter_mut().zip(old.chunks_exact(inner)) {
                    for (to, from) in position.iter_mut().zip(&row[start + lane..][..lanes]) {
                        *to = from.to_f64();
                    }
                }
                operation(line, new_line);
                for (row, position) in rows.iter_mut().zip(new_line.iter()) {
                    for (to, from) in row[lane..lane + lanes].iter_mut().zip(position) {
                        *to = D::from_f64(*from);
                    }
                }
            }
        });
    }
    result
}

/// Whole lines in memory, one after the other, to lanes.
fn gather_rows<S: Voxel>(rows: &[S], length: usize, line: &mut [Lanes]) {
    for (lane, row) in rows.chunks_exact(length).enumerate() {
        for (position, from) in line.iter_mut().zip(row) {
            position[lane] = from.to_f64();
        }
    }
}

fn scatter_rows<D: Voxel>(line: &[Lanes], length: usize, rows: &mut [D]) {
    for (lane, row) in rows.chunks_exact_mut(length).enumerate() {
        for (to, position) in row.iter_mut().zip(line) {
            *to = D::from_f64(position[lane]);
        }
    }
}

/// Outer index, first column, and that stretch of columns in each row.
pub(crate) type Columns<'a, D> = (usize, usize, Vec<&'a mut [D]>);

/// Splits an array (outer, length, inner) into stretches of columns.
pub(crate) fn columns<D>(voxels: &mut [D], length: usize, inner: usize) -> Vec<Columns<'_, D>> {
    let mut tasks = Vec::new();
    for (outer, block) in voxels.chunks_mut(length * inner).enumerate() {
        let first = tasks.len();
        for start in (0..inner).step_by(COLUMNS) {
            tasks.push((outer, start, Vec::with_capacity(length)));
        }
        for row in block.chunks_mut(inner) {
            for (task, part) in tasks[first..].iter_mut().zip(row.chunks_mut(COLUMNS)) {
                task.2.push(part);
            }
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line is reversed and followed by its sum.
    fn check(shape: [usize; 3], axis: usize) {
        let source = Volume::from_fn(shape, |[z, y, x]| (100 * z + 10 * y + x) as f32);
        let length = shape[axis];
        let found: Volume<f32> = along_axis(&source, axis, 1, length + 1, |line, new| {
            let line = &line[1..=length];
            for (to, from) in new.iter_mut().zip(line.iter().rev()) {
                *to = *from;
            }
            new[length] = [0.0; LANES];
            for position in line {
                new[length].iter_mut().zip(position).for_each(|(sum, v)| *sum += v);
            }
        });
        let mut new_shape = shape;
        new_shape[axis] += 1;
        let expected = Volume::from_fn(new_shape, |position| {
            let with = |i| {
                let mut position = position;
                position[axis] = i;
                source.at(position)
            };
            let i = position[axis];
            if i < length { with(length - 1 - i) } else { (0..length).map(with).sum() }
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn every_line_is_met_once() {
        for axis in 0..3 {
            check([3, 4, 5], axis);
            check([1, 9, 17], axis);
            check([2, 3, 300], axis);
            check([5, 1, 1], axis);
        }
    }

    #[test]
    fn no_lines() {
        let none: Volume<f32> = Volume::filled([0, 3, 3], 1.0);
        let found: Volume<f32> = along_axis(&none, 1, 0, 2, |_, _| ());
        assert_eq!(found.shape, [0, 2, 3]);
    }
}
