//! [`Level`]: shapes, blocks, scales and positions of the resolution levels.

use spotlight_image::grid::{Region, Shape};

use super::layout::ZarrLayout;
use super::options::ZarrOptions;

/// One resolution level.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Level {
    pub(super) shape: Shape,
    pub(super) chunk: Shape,
    pub(super) unit: Shape,
    /// Voxels of the level before that make one voxel of this, along (z, y, x).
    pub(super) factor: [usize; 3],
    /// Voxels of level 0 that make one voxel of this.
    pub(super) total_factor: [usize; 3],
}

/// y and x of the coarsest level are at most this long.
const SMALL: usize = 256;

/// The levels of an image; `factors` are those of a parent image, level 0 left out.
pub(super) fn levels(
    layout: &ZarrLayout,
    options: &ZarrOptions,
    factors: Option<&[[usize; 3]]>,
) -> Vec<Level> {
    let mut levels = vec![Level::new(layout, options, layout.shape, [1; 3], [1; 3])];
    loop {
        let last = &levels[levels.len() - 1];
        let enough = match (factors, options.levels) {
            (Some(factors), _) => levels.len() > factors.len(),
            (None, Some(count)) => levels.len() >= count,
            (None, None) => last.shape[1].max(last.shape[2]) <= SMALL,
        };
        if enough {
            return levels;
        }
        let factor = match factors {
            Some(factors) => factors[levels.len() - 1],
            None => next_factor(last, layout.valid_spacing_um()),
        };
        // Only the levels of a parent may repeat a shape.
        if factors.is_none() && factor == [1; 3] {
            return levels;
        }
        let shape = std::array::from_fn(|axis| last.shape[axis].div_ceil(factor[axis]));
        let total = std::array::from_fn(|axis| last.total_factor[axis] * factor[axis]);
        levels.push(Level::new(layout, options, shape, factor, total));
    }
}

/// Halves y and x, and z where that makes voxels more alike along all axes.
///
/// The size along z is compared with that along y and x after halving these: both keeping and
/// halving leave an error, which is equal where z is √2 of y and x. Without a voxel size, z is kept,
/// as stacks are mostly coarser along z.
fn next_factor(level: &Level, spacing_um: Option<[f64; 3]>) -> [usize; 3] {
    let halve_z = spacing_um.is_some_and(|um| {
        let now: [f64; 3] = std::array::from_fn(|axis| um[axis] * level.total_factor[axis] as f64);
        now[0] * now[0] <= 2.0 * now[1] * now[2]
    });
    let wanted = [if halve_z { 2 } else { 1 }, 2, 2];
    std::array::from_fn(|axis| wanted[axis].min(level.shape[axis]))
}

impl Level {
    fn new(
        layout: &ZarrLayout,
        options: &ZarrOptions,
        shape: Shape,
        factor: [usize; 3],
        total_factor: [usize; 3],
    ) -> Self {
        let (chunk, unit) = options.blocks(shape, layout.sample_type);
        Self { shape, chunk, unit, factor, total_factor }
    }

    /// Size of a voxel and position of the first, along (z, y, x).
    ///
    /// A voxel that is made of several lies in the middle of them.
    pub(super) fn transform(&self, spacing: [f64; 3], origin: [f64; 3]) -> [[f64; 3]; 2] {
        let total = |axis: usize| self.total_factor[axis] as f64;
        let scale = std::array::from_fn(|axis| spacing[axis] * total(axis));
        let shift = |axis: usize| (total(axis) - 1.0) / 2.0 * spacing[axis];
        [scale, std::array::from_fn(|axis| origin[axis] + shift(axis))]
    }

    /// The write units, z slowest, x fastest.
    pub(super) fn units(&self) -> impl Iterator<Item = Region> + use<> {
        Region::whole(self.shape).blocks(self.unit)
    }

    /// Whether a box is one of the write units.
    pub(super) fn is_unit(&self, region: Region) -> bool {
        (0..3).all(|axis| {
            let start = region.start[axis];
            start.is_multiple_of(self.unit[axis])
                && start < self.shape[axis]
                && region.shape[axis] == self.unit[axis].min(self.shape[axis] - start)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voxels::SampleType;

    fn shapes(shape: Shape, spacing_um: Option<[f64; 3]>, count: Option<usize>) -> Vec<Shape> {
        let layout = ZarrLayout::stack(shape, SampleType::U8, &["a"], spacing_um);
        let options = ZarrOptions { levels: count, ..ZarrOptions::default() };
        levels(&layout, &options, None).iter().map(|level| level.shape).collect()
    }

    #[test]
    fn voxels_become_alike_along_all_axes() {
        let coarse_z = shapes([60, 2000, 1001], Some([1.0, 0.25, 0.25]), None);
        assert_eq!(coarse_z, [[60, 2000, 1001], [60, 1000, 501], [60, 500, 251], [30, 250, 126]]);
        let equal = shapes([60, 600, 600], Some([0.3; 3]), None);
        assert_eq!(equal, [[60, 600, 600], [30, 300, 300], [15, 150, 150]]);
        assert_eq!(shapes([60, 600, 600], None, None)[2], [60, 150, 150]);
    }

    #[test]
    fn levels_end_where_nothing_can_be_halved() {
        assert_eq!(shapes([1, 3, 1], Some([1.0; 3]), Some(9)), [[1, 3, 1], [1, 2, 1], [1, 1, 1]]);
        assert_eq!(shapes([4, 4, 4], Some([1.0; 3]), Some(2)), [[4, 4, 4], [2, 2, 2]]);
        assert_eq!(shapes([9, 256, 256], None, None).len(), 1);
    }

    #[test]
    fn coarse_voxels_lie_in_the_middle_of_their_block() {
        let layout = ZarrLayout::stack([8, 8, 8], SampleType::U8, &["a"], Some([2.0, 1.0, 1.0]));
        let options = ZarrOptions { levels: Some(3), ..ZarrOptions::default() };
        let all = levels(&layout, &options, None);
        assert_eq!(
            all[2].transform([2.0, 1.0, 1.0], [10.0, 0.0, 0.0]),
            [[4.0, 4.0, 4.0], [11.0, 1.5, 1.5]]
        );
    }

    #[test]
    fn units_cover_the_level_once() {
        let layout = ZarrLayout::stack([5, 7, 9], SampleType::U8, &["a"], None);
        let options =
            ZarrOptions { chunk: [2, 2, 2], unit: Some([2, 4, 4]), ..ZarrOptions::default() };
        let level = &levels(&layout, &options, None)[0];
        let units: Vec<Region> = level.units().collect();
        assert_eq!(units.len(), 3 * 2 * 3);
        assert_eq!(units[17], Region { start: [4, 4, 8], shape: [1, 3, 1] });
        let voxels: usize = units.iter().map(|unit| unit.shape.iter().product::<usize>()).sum();
        assert_eq!(voxels, 5 * 7 * 9);
        assert!(units.iter().all(|unit| level.is_unit(*unit)));
        assert!(!level.is_unit(Region { start: [0, 0, 0], shape: [1, 4, 4] }));
        assert!(!level.is_unit(Region { start: [1, 0, 0], shape: [2, 4, 4] }));
    }
}
