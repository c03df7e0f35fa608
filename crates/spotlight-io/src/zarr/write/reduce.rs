//! Local means and nearest voxels of blocks, for levels of lower resolution.

use std::ops::AddAssign;

use spotlight_image::Volume;
use spotlight_image::grid::Shape;

/// A type of voxels that can be averaged without loss on the way.
pub(super) trait Mean: Copy + Default + Send + Sync {
    /// Holds the sum of a block.
    type Sum: Copy + Default + AddAssign;

    fn widen(self) -> Self::Sum;

    /// The mean of `count` voxels; whole numbers are rounded half to even.
    fn mean(sum: Self::Sum, count: usize) -> Self;
}

macro_rules! whole {
    ($($t:ty),*) => {$(
        impl Mean for $t {
            type Sum = i64;
            fn widen(self) -> i64 {
                i64::from(self)
            }
            fn mean(sum: i64, count: usize) -> Self {
                let count = count as i64;
                let (below, rest) = (sum.div_euclid(count), sum.rem_euclid(count));
                let up = 2 * rest > count || (2 * rest == count && below % 2 != 0);
                // A mean lies between its voxels, so it fits their type.
                (below + i64::from(up)) as $t
            }
        }
    )*};
}
whole!(u8, i8, u16, i16, u32, i32);

macro_rules! real {
    ($($t:ty),*) => {$(
        impl Mean for $t {
            type Sum = f64;
            fn widen(self) -> f64 {
                f64::from(self)
            }
            fn mean(sum: f64, count: usize) -> Self {
                (sum / count as f64) as $t
            }
        }
    )*};
}
real!(f32, f64);

/// The mean of each block of `factor` voxels; of blocks cut off by the edge, of what is there.
pub(super) fn local_mean<T: Mean>(source: &Volume<T>, factor: [usize; 3]) -> Volume<T> {
    let shape = reduced_shape(source.shape, factor);
    let mut voxels = Vec::with_capacity(shape.iter().product());
    let mut sums = vec![T::Sum::default(); shape[2]];
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            sums.fill(T::Sum::default());
            let depth = span(z, factor[0], source.shape[0]);
            let height = span(y, factor[1], source.shape[1]);
            for z in depth.clone() {
                for y in height.clone() {
                    let row = source.offset([z, y, 0]);
                    let row = &source.voxels[row..row + source.shape[2]];
                    for (sum, block) in sums.iter_mut().zip(row.chunks(factor[2])) {
                        for voxel in block {
                            *sum += voxel.widen();
                        }
                    }
                }
            }
            for (x, sum) in sums.iter().enumerate() {
                let width = span(x, factor[2], source.shape[2]);
                voxels.push(T::mean(*sum, depth.len() * height.len() * width.len()));
            }
        }
    }
    Volume::new(shape, voxels)
}

/// The first voxel of each block of `factor` voxels.
pub(super) fn first_of_block<T: Copy>(source: &Volume<T>, factor: [usize; 3]) -> Volume<T> {
    let shape = reduced_shape(source.shape, factor);
    let place = |at: [usize; 3]| std::array::from_fn(|axis| at[axis] * factor[axis]);
    Volume::from_fn(shape, |at| source.at(place(at)))
}

fn reduced_shape(shape: Shape, factor: [usize; 3]) -> Shape {
    std::array::from_fn(|axis| shape[axis].div_ceil(factor[axis]))
}

fn span(block: usize, factor: usize, length: usize) -> std::ops::Range<usize> {
    block * factor..((block + 1) * factor).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_rounded_half_to_even() {
        let pair =
            |a: i16, b: i16| local_mean(&Volume::new([1, 1, 2], vec![a, b]), [1, 2, 2]).voxels[0];
        assert_eq!([pair(0, 1), pair(1, 2), pair(2, 3)], [0, 2, 2]);
        assert_eq!([pair(-1, 0), pair(-2, -1), pair(-3, -2)], [0, -2, -2]);
        assert_eq!([pair(i16::MAX, i16::MAX), pair(i16::MIN, i16::MIN)], [i16::MAX, i16::MIN]);
        let three = Volume::new([3, 1, 1], vec![1_u8, 1, 0]);
        assert_eq!(local_mean(&three, [3, 1, 1]).voxels, [1]);
        let large = Volume::filled([2, 2, 2], u32::MAX);
        assert_eq!(local_mean(&large, [2, 2, 2]).voxels, [u32::MAX]);
    }

    #[test]
    fn blocks_at_the_edge_are_means_of_what_is_there() {
        let source = Volume::from_fn([1, 3, 3], |[_, y, x]| (3 * y + x) as f32);
        let found = local_mean(&source, [2, 2, 2]);
        assert_eq!(found.shape, [1, 2, 2]);
        assert_eq!(found.voxels, [2.0, 3.5, 6.5, 8.0]);
        assert_eq!(first_of_block(&source, [2, 2, 2]).voxels, [0.0, 2.0, 6.0, 8.0]);
        assert!(local_mean(&Volume::filled([1, 1, 2], f32::NAN), [1, 1, 2]).voxels[0].is_nan());
    }
}
