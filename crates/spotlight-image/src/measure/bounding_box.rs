//! Smallest oriented box around an object, one of its sides on a facet of the convex hull.
//!
//! ```text
//! for the normal n of every facet of the hull:
//!     outline = edges between facets turned towards n and facets turned away
//!     for every edge of the outline, seen along n:
//!         area = extent along the edge × extent across it
//!     volume = height along n × least area
//! ```
//!
//! In the plane the smallest rectangle has a side on an edge of the outline, so the second loop
//! is exact. trimesh merges normals within 0.1 rad of each other before the first loop; here
//! every facet is tried, so the box is never larger.
//!
//! References:
//! - H. Freeman, R. Shapira (1975), "Determining the minimum-area encasing rectangle for an
//!   arbitrary closed curve".
//! - `trimesh.bounds.oriented_bounds` of trimesh 5.2.

use super::convex_hull::{ConvexHull, normal};
use super::mesh::{Vector, cross, dot, plane_axes, subtract, unit};

/// A convex hull in the units of a spacing, ready to be seen from many directions.
#[derive(Debug)]
pub(super) struct ScaledHull {
    pub(super) points: Vec<Vector>,
    /// Directions of the facets, each plane once, and opposite ones once.
    directions: Vec<Vector>,
    /// The outward unit normal of each facet.
    normals: Vec<Vector>,
    edges: Vec<Edge>,
    pub(super) area: f64,
    pub(super) volume: f64,
}

/// An edge of a hull between two facets.
#[derive(Clone, Copy, Debug)]
struct Edge {
    corners: [u32; 2],
    facets: [u32; 2],
}

impl ScaledHull {
    /// Scales a hull that is given in half voxels.
    pub(super) fn new(hull: &ConvexHull, spacing: [f64; 3]) -> Self {
        let points = scaled(&hull.points, spacing);
        let crosses: Vec<Vector> = hull
            .facets
            .iter()
            .map(|facet| {
                let [a, b, c] = facet.map(|corner| points[corner as usize]);
                cross(subtract(b, a), subtract(c, a))
            })
            .collect();
        let origin = points.first().copied().unwrap_or_default();
        let tetrahedron = |(facet, cross): (&[u32; 3], &Vector)| {
            dot(subtract(points[facet[0] as usize], origin), *cross) / 6.0
        };
        Self {
            area: crosses.iter().map(|c| dot(*c, *c).sqrt() / 2.0).sum(),
            volume: hull.facets.iter().zip(&crosses).map(tetrahedron).sum(),
            normals: crosses.into_iter().map(unit).collect(),
            directions: directions(hull, spacing),
            edges: edges(&hull.facets),
            points,
        }
    }

    /// How far the points reach along a direction.
    pub(super) fn extent(&self, direction: Vector) -> f64 {
        range(self.points.iter().map(|point| dot(*point, direction)))
    }

    /// Volume of the smallest box with a side on a facet.
    pub(super) fn oriented_box_volume(&self) -> f64 {
        let volume = |direction: &Vector| {
            self.extent(*direction) * smallest_rectangle(&self.outline(*direction))
        };
        self.directions.iter().map(volume).fold(f64::INFINITY, f64::min)
    }

    /// The outline of the hull seen along a direction.
    fn outline(&self, direction: Vector) -> Outline {
        let towards: Vec<bool> = self.normals.iter().map(|n| dot(*n, direction) > 0.0).collect();
        let axes = plane_axes(direction);
        let flat = |corner: u32| axes.map(|axis| dot(axis, self.points[corner as usize]));
        let mut seen = vec![false; self.points.len()];
        let mut outline = Outline::default();
        for Edge { corners, facets } in &self.edges {
            if towards[facets[0] as usize] == towards[facets[1] as usize] {
                continue;
            }
            let ends = corners.map(flat);
            outline.sides.push([ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]]);
            for (corner, end) in corners.iter().zip(ends) {
                if !std::mem::replace(&mut seen[*corner as usize], true) {
                    outline.points.push(end);
                }
            }
        }
        outline
    }
}

/// A convex polygon: what is seen of a hull from one direction.
#[derive(Debug, Default)]
struct Outline {
    points: Vec<[f64; 2]>,
    /// From each corner to the next, in any order.
    sides: Vec<[f64; 2]>,
}

/// Points in half voxels in the units of a spacing.
fn scaled(points: &[[i32; 3]], spacing: [f64; 3]) -> Vec<Vector> {
    let scale =
        |point: &[i32; 3]| [0, 1, 2].map(|axis| f64::from(point[axis]) * 0.5 * spacing[axis]);
    points.iter().map(scale).collect()
}

/// Unit normals of the planes of a hull after scaling.
///
/// Whole numbers tell which facets are parallel.
fn directions(hull: &ConvexHull, spacing: [f64; 3]) -> Vec<Vector> {
    let reduced = |facet: &[u32; 3]| {
        let n = normal(hull.corners(*facet));
        let divisor = n.iter().fold(0, |a, b| greatest_common_divisor(a, b.abs()));
        let first = n.iter().find(|component| **component != 0).map_or(1, |c| c.signum());
        n.map(|component| first * component / divisor)
    };
    let mut normals: Vec<[i64; 3]> = hull.facets.iter().map(reduced).collect();
    normals.sort_unstable();
    normals.dedup();
    // A plane's normal scales with the inverse of what its points scale with.
    let scale = |n: &[i64; 3]| unit([0, 1, 2].map(|axis| n[axis] as f64 / spacing[axis]));
    normals.iter().map(scale).collect()
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The edges of a closed mesh of triangles.
fn edges(facets: &[[u32; 3]]) -> Vec<Edge> {
    let mut sides: Vec<([u32; 2], u32)> = Vec::with_capacity(3 * facets.len());
    for (number, facet) in (0..).zip(facets) {
        for i in 0..3 {
            let (a, b) = (facet[i], facet[(i + 1) % 3]);
            sides.push(([a.min(b), a.max(b)], number));
        }
    }
    sides.sort_unstable();
    let pair = |two: &[([u32; 2], u32)]| Edge { corners: two[0].0, facets: [two[0].1, two[1].1] };
    sides.chunks_exact(2).map(pair).collect()
}

/// Area of the smallest rectangle around an outline.
fn smallest_rectangle(outline: &Outline) -> f64 {
    let mut least = f64::INFINITY;
    for [dx, dy] in &outline.sides {
        let length = dx.hypot(*dy);
        // Edges that are seen end on have no direction but rounding.
        if length > 0.0 {
            least = least.min(rectangle_area(&outline.points, [dx / length, dy / length]));
        }
    }
    least
}

/// Area of the rectangle around points with a side along a unit vector.
fn rectangle_area(points: &[[f64; 2]], [dx, dy]: [f64; 2]) -> f64 {
    // Smallest and largest along and across, and of the negatives of all: four at once.
    let mut largest = [f64::NEG_INFINITY; 4];
    for [x, y] in points {
        let (along, across) = (x * dx + y * dy, y * dx - x * dy);
        for (largest, value) in largest.iter_mut().zip([along, across, -along, -across]) {
            *largest = if value > *largest { value } else { *largest };
        }
    }
    (largest[0] + largest[2]) * (largest[1] + largest[3])
}

/// Largest less smallest value.
fn range(values: impl Iterator<Item = f64>) -> f64 {
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    let (low, high) = values.fold(start, |(low, high), v| (low.min(v), high.max(v)));
    high - low
}

#[cfg(test)]
mod tests {
    use super::super::convex_hull::convex_hull;
    use super::super::hull_image::{hull_of_rows, row_spans};
    use super::super::tests::noise;
    use super::*;

    fn check(points: &[[i32; 3]], expected: f64) {
        let hull = convex_hull(points.to_vec());
        let found = ScaledHull::new(&hull, [2.0; 3]).oriented_box_volume();
        assert!((found - expected).abs() < 1e-9 * expected, "{found}, expected {expected}");
    }

    #[test]
    fn boxes_are_found_whatever_their_direction() {
        let cube: Vec<[i32; 3]> = (0..8).map(|i| [i / 4 * 3, i / 2 % 2 * 4, i % 2 * 5]).collect();
        check(&cube, 60.0);
        // Turned in the plane: edges (1, 2) and (−2, 1), each of length √5.
        let turned: Vec<[i32; 3]> = (0..8)
            .map(|i| [i / 4 * 3, i / 2 % 2 + 2 * (1 - i % 2), 2 * (i / 2 % 2) + (i % 2)])
            .collect();
        check(&turned, 15.0);
        // Edges (1, 2, 2), (2, 1, −2) and (2, −2, 1), each of length 3.
        let skew: Vec<[i32; 3]> = (0..8)
            .map(|i| {
                let (a, b, c) = (i / 4, i / 2 % 2, i % 2);
                [a + 2 * b + 2 * c, 2 * a + b - 2 * c, 2 * a - 2 * b + c]
            })
            .collect();
        check(&skew, 27.0);
    }

    /// The least over all facets and all pairs of points, of which the outline's edges are some.
    #[test]
    fn no_pair_of_points_gives_a_smaller_box() {
        for seed in 0..10 {
            let mask = noise([4, 5, 6], seed, 30);
            let hull = hull_of_rows(&row_spans(&mask));
            let hull = ScaledHull::new(&hull, [0.7, 1.0, 1.2]);
            let mut least = f64::INFINITY;
            for direction in &hull.normals {
                for a in &hull.points {
                    for b in &hull.points {
                        let across = cross(*direction, subtract(*b, *a));
                        if dot(across, across) > 1e-12 {
                            let (u, v) = (unit(across), cross(unit(across), *direction));
                            let volume = [*direction, u, v].map(|axis| hull.extent(axis));
                            least = least.min(volume.iter().product());
                        }
                    }
                }
            }
            let found = hull.oriented_box_volume();
            assert!((found - least).abs() < 1e-9 * least, "{found}, expected {least}");
        }
    }

    #[test]
    fn area_and_volume_of_a_scaled_hull() {
        let cube: Vec<[i32; 3]> = (0..8).map(|i| [i / 4 * 2, i / 2 % 2 * 2, i % 2 * 2]).collect();
        let hull = ScaledHull::new(&convex_hull(cube), [1.0, 2.0, 3.0]);
        assert!((hull.volume - 6.0).abs() < 1e-12);
        assert!((hull.area - 22.0).abs() < 1e-12);
        assert!((hull.oriented_box_volume() - 6.0).abs() < 1e-12);
        assert_eq!(hull.directions.len(), 3);
    }
}
