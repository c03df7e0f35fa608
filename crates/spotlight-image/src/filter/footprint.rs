//! [`Footprint`]: which voxels around one a filter looks at.

use crate::Volume;

/// Voxels around a centre, as rows along x: those of the ball, the cube or the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The rows, in raster order. There is at least one.
    pub rows: Vec<FootprintRow>,
}

/// Neighbouring voxels along x, relative to the centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FootprintRow {
    /// Planes after the centre.
    pub z: isize,
    /// Rows after the centre.
    pub y: isize,
    /// The first and the last voxel after the centre.
    pub x: [isize; 2],
}

impl Footprint {
    /// A box of `size` voxels along (z, y, x). Of an even size, one voxel more lies before
    /// the centre than after it, as in SciPy.
    ///
    /// # Panics
    ///
    /// If a size is 0.
    #[must_use]
    pub fn cuboid(size: [usize; 3]) -> Self {
        assert!(!size.contains(&0), "a footprint of {size:?} voxels is empty");
        let [z, y, x] = size.map(|size| {
            let before = (size / 2) as isize;
            [-before, size as isize - 1 - before]
        });
        let rows = (z[0]..=z[1]).flat_map(|z| (y[0]..=y[1]).map(move |y| FootprintRow { z, y, x }));
        Self { rows: rows.collect() }
    }

    /// All voxels whose centres are no further than `radius` voxels: z² + y² + x² ≤ radius².
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_image::filter::Footprint;
    ///
    /// assert_eq!(Footprint::ball(1).voxel_count(), 7);
    /// assert_eq!(Footprint::ball(10).voxel_count(), 4169);
    /// ```
    #[must_use]
    pub fn ball(radius: usize) -> Self {
        let radius = radius as isize;
        let mut rows = Vec::new();
        for z in -radius..=radius {
            for y in -radius..=radius {
                let rest = radius * radius - z * z - y * y;
                if rest >= 0 {
                    let reach = rest.isqrt();
                    rows.push(FootprintRow { z, y, x: [-reach, reach] });
                }
            }
        }
        Self { rows }
    }

    /// The middle plane of a ball.
    #[must_use]
    pub fn disk(radius: usize) -> Self {
        let ball = Self::ball(radius).rows.into_iter();
        Self { rows: ball.filter(|row| row.z == 0).collect() }
    }

    /// How many voxels it has.
    #[must_use]
    pub fn voxel_count(&self) -> usize {
        self.rows.iter().map(|row| (row.x[1] - row.x[0] + 1) as usize).sum()
    }

    /// How far it reaches before and after the centre along (z, y, x); 0 if it does not.
    #[must_use]
    pub fn reach(&self) -> [[usize; 2]; 3] {
        let mut reach = [[0; 2]; 3];
        for row in &self.rows {
            for (axis, [first, last]) in [[row.z; 2], [row.y; 2], row.x].into_iter().enumerate() {
                reach[axis][0] = reach[axis][0].max(-first);
                reach[axis][1] = reach[axis][1].max(last);
            }
        }
        reach.map(|ends| ends.map(|voxels| voxels as usize))
    }

    /// The smallest volume around it and its centre, with its voxels set.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_image::filter::Footprint;
    ///
    /// let disk = Footprint::disk(1).mask();
    /// assert_eq!(disk.shape, [1, 3, 3]);
    /// assert_eq!(disk.plane(0)[..3], [false, true, false]);
    /// ```
    #[must_use]
    pub fn mask(&self) -> Volume<bool> {
        let reach = self.reach();
        let mut mask = Volume::filled(reach.map(|[before, after]| before + 1 + after), false);
        for row in &self.rows {
            let place = |axis: usize, voxels: isize| (reach[axis][0] as isize + voxels) as usize;
            let start = mask.offset([place(0, row.z), place(1, row.y), 0]);
            mask.voxels[start + place(2, row.x[0])..=start + place(2, row.x[1])].fill(true);
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_boxes_lean_to_lower_indices() {
        assert_eq!(Footprint::cuboid([1, 2, 4]).reach(), [[0, 0], [1, 0], [2, 1]]);
        assert_eq!(Footprint::cuboid([1, 2, 4]).voxel_count(), 8);
        assert_eq!(Footprint::cuboid([3, 3, 3]).mask(), Volume::filled([3, 3, 3], true));
    }
}
