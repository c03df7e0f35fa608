//! Convex hull of an object and the voxels inside it.
//!
//! The hull is that of the midpoints of all voxel faces, one half voxel out from each centre
//! along each axis, which are whole numbers in half voxels. A voxel belongs to the hull image
//! if its centre lies in the hull or on its surface. In scikit-image's words this is
//! `convex_hull_image` with `offset_coordinates`; there the decision has a tolerance of 1e-10,
//! here it is exact. Where all voxels lie in one plane scikit-image's first hull fails and its
//! hull image is empty; here the hull of the midpoints exists for every object.
//!
//! ```text
//! for each triangle of the hull that is not parallel to x:
//!     for each row (z, y) of voxel centres that pierces it:
//!         the point where it does is the row's last (normal towards +x) or first end
//! ```

use super::convex_hull::{ConvexHull, Point, convex_hull, corners_in_planes, normal};
use crate::Volume;

/// Voxels `first..=last` along x in the row (z, y).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowSpan {
    pub(super) row: [i32; 2],
    pub(super) first: i32,
    pub(super) last: i32,
}

/// First and last voxel of the object in each row that has any.
pub(super) fn row_spans(mask: &Volume<bool>) -> Vec<RowSpan> {
    let [_, height, width] = mask.shape;
    let rows = mask.voxels.chunks_exact(width.max(1)).enumerate();
    let span = |(i, row): (usize, &[bool])| {
        let first = row.iter().position(|inside| *inside)?;
        let last = row.iter().rposition(|inside| *inside)?;
        let row = [(i / height) as i32, (i % height) as i32];
        Some(RowSpan { row, first: first as i32, last: last as i32 })
    };
    rows.filter_map(span).collect()
}

/// Convex hull of the face midpoints of the voxels in these rows, in half voxels: the centre
/// of voxel (z, y, x) is the point (2z, 2y, 2x).
pub(super) fn hull_of_rows(spans: &[RowSpan]) -> ConvexHull {
    let ends = spans.iter().flat_map(|span| {
        let [z, y] = span.row;
        [[z, y, span.first], [z, y, span.last]]
    });
    // Moving all points alike moves the hull, so the midpoints of its corners are enough.
    let corners = corners_in_planes(ends.collect());
    let midpoints = corners.iter().flat_map(|[z, y, x]| {
        let [z, y, x] = [2 * z, 2 * y, 2 * x];
        [[z - 1, y, x], [z + 1, y, x], [z, y - 1, x], [z, y + 1, x], [z, y, x - 1], [z, y, x + 1]]
    });
    convex_hull(midpoints.collect())
}

/// The voxels of a box of this many rows whose centres lie in the hull of [`hull_of_rows`].
pub(super) fn hull_image(hull: &ConvexHull, [depth, height]: [usize; 2]) -> Vec<RowSpan> {
    let (depth, height) = (depth as i32, height as i32);
    // Rows that no triangle covers keep first > last.
    let mut ends = vec![(i32::MAX, i32::MIN); (depth * height) as usize];
    for facet in &hull.facets {
        let corners = hull.corners(*facet);
        let normal = normal(corners);
        if normal[2] == 0 {
            continue;
        }
        for_each_row_below(corners, normal[2].signum(), [depth, height], |[z, y]| {
            let [n0, n1, n2] = normal;
            let [c0, c1, c2] = corners[0].map(i64::from);
            let rest = n0 * (c0 - 2 * i64::from(z)) + n1 * (c1 - 2 * i64::from(y)) + n2 * c2;
            let (first, last) = &mut ends[(z * height + y) as usize];
            if n2 > 0 {
                *last = rest.div_euclid(2 * n2) as i32;
            } else {
                *first = -((rest).div_euclid(-2 * n2)) as i32;
            }
        });
    }
    let span = |(i, (first, last)): (i32, (i32, i32))| {
        let row = [i / height, i % height];
        (first <= last).then_some(RowSpan { row, first, last })
    };
    (0..).zip(ends).filter_map(span).collect()
}

/// Number of voxels in rows.
pub(super) fn voxels_in(spans: &[RowSpan]) -> u64 {
    spans.iter().map(|span| (span.last - span.first + 1) as u64).sum()
}

/// Visits the rows (z, y) whose centres lie in the triangle seen along x, or on its edges.
fn for_each_row_below(
    corners: [Point; 3],
    turn: i64,
    [depth, height]: [i32; 2],
    mut visit: impl FnMut([i32; 2]),
) {
    let range = |axis: usize, length: i32| {
        let low = corners.iter().map(|corner| corner[axis]).min().unwrap_or(0);
        let high = corners.iter().map(|corner| corner[axis]).max().unwrap_or(-1);
        // From half voxels to the voxel centres between.
        (low + 1).div_euclid(2).max(0)..high.div_euclid(2).min(length - 1) + 1
    };
    let flat = corners.map(|[z, y, _]| [i64::from(z), i64::from(y)]);
    for z in range(0, depth) {
        for y in range(1, height) {
            let [pz, py] = [2 * i64::from(z), 2 * i64::from(y)];
            let left_of = |i: usize| {
                let ([az, ay], [bz, by]) = (flat[i], flat[(i + 1) % 3]);
                turn * ((bz - az) * (py - ay) - (by - ay) * (pz - az)) >= 0
            };
            if left_of(0) && left_of(1) && left_of(2) {
                visit([z, y]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    /// Tests every centre of the box against every facet.
    fn oracle(hull: &ConvexHull, shape: [usize; 3]) -> Vec<RowSpan> {
        let mut spans = Vec::new();
        for z in 0..shape[0] as i32 {
            for y in 0..shape[1] as i32 {
                let inside = |x: &i32| {
                    hull.facets.iter().all(|facet| {
                        let corners = hull.corners(*facet);
                        let normal = normal(corners);
                        let centre = [2 * z, 2 * y, 2 * x];
                        let height = |a: usize| normal[a] * i64::from(centre[a] - corners[0][a]);
                        (0..3).map(height).sum::<i64>() <= 0
                    })
                };
                let row: Vec<i32> = (0..shape[2] as i32).filter(inside).collect();
                if let (Some(first), Some(last)) = (row.first(), row.last()) {
                    spans.push(RowSpan { row: [z, y], first: *first, last: *last });
                }
            }
        }
        spans
    }

    fn check(mask: &Volume<bool>) -> u64 {
        let hull = hull_of_rows(&row_spans(mask));
        let found = hull_image(&hull, [mask.shape[0], mask.shape[1]]);
        assert_eq!(found, oracle(&hull, mask.shape));
        for (i, inside) in mask.voxels.iter().enumerate() {
            let [_, height, width] = mask.shape;
            let (row, x) = ([i / width / height, i / width % height], (i % width) as i32);
            let covers = |span: &RowSpan| {
                span.row == row.map(|v| v as i32) && (span.first..=span.last).contains(&x)
            };
            assert!(!inside || found.iter().any(covers), "a voxel outside its hull");
        }
        voxels_in(&found)
    }

    #[test]
    fn hull_image_equals_the_test_of_every_centre() {
        for seed in 0..60 {
            check(&noise([5, 7, 3 + seed % 8], seed, 3 + seed as u64 / 2));
        }
    }

    #[test]
    fn flat_objects_have_a_hull() {
        for shape in [[1, 1, 1], [1, 1, 5], [4, 1, 1], [1, 6, 5], [3, 4, 5]] {
            let full = Volume::filled(shape, true);
            assert_eq!(check(&full), shape.iter().product::<usize>() as u64);
        }
        // A diagonal line: nothing but its voxels.
        assert_eq!(check(&Volume::from_fn([4, 4, 4], |[z, y, x]| z == y && y == x)), 4);
    }
}
