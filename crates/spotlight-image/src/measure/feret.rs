//! Largest Feret diameter: the greatest distance between two points of an object's hull image.
//!
//! scikit-image measures between the vertices of the marching-cubes surface of the hull image,
//! which are midpoints of voxel faces, all pairs of them. Two points are no further apart than
//! the sum of their distances from any third, so pairs of points near the middle need not be
//! compared:
//!
//! ```text
//! best = some long distance: from the point furthest from the middle to the furthest from it
//! in the order of the distances from the middle, the largest first:
//!     compare a with the points b before it, as long as |a| + |b| > best
//! ```
//!
//! Reference: `feret_diameter_max` of scikit-image 0.26.

use super::convex_hull::corners_in_planes;
use super::hull_image::RowSpan;
use super::mesh::{Vector, dot, subtract};

/// Greatest distance between face midpoints of the voxels in these rows; 0 of no rows.
pub(super) fn feret_diameter_max(hull_image: &[RowSpan], spacing: [f64; 3]) -> f64 {
    let points = midpoints(hull_image, spacing);
    if points.is_empty() {
        return 0.0;
    }
    let count = points.len() as f64;
    let middle = [0, 1, 2].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / count);
    let distance = |a: Vector, b: Vector| dot(subtract(a, b), subtract(a, b)).sqrt();
    let furthest = |from: Vector| {
        let further = |a: &Vector, b: &Vector| distance(*a, from).total_cmp(&distance(*b, from));
        points.iter().copied().max_by(further).unwrap_or(from)
    };
    let corner = furthest(middle);
    let opposite = furthest(corner);
    let mut best = distance(opposite, furthest(opposite));
    let largest = distance(corner, middle);
    let mut rest: Vec<(f64, Vector)> = points.iter().map(|p| (distance(*p, middle), *p)).collect();
    // Rounding must not drop a pair.
    let slack = 1.0 + 1e-12;
    rest.retain(|(from_middle, _)| (from_middle + largest) * slack > best);
    rest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    for (i, (from_middle, a)) in rest.iter().enumerate() {
        for (other, b) in &rest[..i] {
            if (from_middle + other) * slack <= best {
                break;
            }
            best = best.max(distance(*a, *b));
        }
    }
    best
}

/// Face midpoints of voxels in the units of the spacing; all others lie between some of them.
fn midpoints(spans: &[RowSpan], spacing: [f64; 3]) -> Vec<Vector> {
    let ends = spans.iter().flat_map(|span| {
        let [z, y] = span.row;
        [[z, y, span.first], [z, y, span.last]]
    });
    let mut points = Vec::new();
    for corner in corners_in_planes(ends.collect()) {
        for side in 0..6 {
            let mut point = corner.map(f64::from);
            point[side / 2] += [-0.5, 0.5][side % 2];
            points.push([0, 1, 2].map(|axis| point[axis] * spacing[axis]));
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::super::hull_image::row_spans;
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn feret_diameters_by_hand() {
        let row = |y: i32, first: i32, last: i32| RowSpan { row: [0, y], first, last };
        assert_eq!(feret_diameter_max(&[], [1.0; 3]), 0.0);
        assert_eq!(feret_diameter_max(&[row(0, 2, 2)], [1.0; 3]), 1.0);
        assert_eq!(feret_diameter_max(&[row(0, 0, 4)], [1.0, 1.0, 0.5]), 2.5);
        // Midpoints (−½, 0) and (2½, 2): the corners of the square are cut off.
        let square = [row(0, 0, 2), row(1, 0, 2), row(2, 0, 2)];
        assert_eq!(feret_diameter_max(&square, [1.0; 3]), 13.0_f64.sqrt());
    }

    #[test]
    fn feret_diameters_equal_the_search_of_all_pairs() {
        for seed in 1..60 {
            let spacing = [1.0 - 0.01 * seed as f64, 1.0, 1.0 + 0.02 * seed as f64];
            let mask = noise([5, 6, 7], seed, 1 + seed as u64);
            let mut points = Vec::new();
            for (i, _) in mask.voxels.iter().enumerate().filter(|(_, inside)| **inside) {
                let centre = [i / 42, i / 7 % 6, i % 7].map(|v| v as f64);
                for side in 0..6 {
                    let mut point = centre;
                    point[side / 2] += [-0.5, 0.5][side % 2];
                    points.push([0, 1, 2].map(|axis| point[axis] * spacing[axis]));
                }
            }
            let mut expected = 0.0_f64;
            for a in &points {
                for b in &points {
                    expected = expected.max(dot(subtract(*a, *b), subtract(*a, *b)).sqrt());
                }
            }
            assert_eq!(feret_diameter_max(&row_spans(&mask), spacing), expected, "{seed}");
        }
    }
}
