//! Small cylinder around an object, by a search over directions of its axis.
//!
//! ```text
//! volume(d) = extent along d × π × (radius of the smallest circle seen along d)²
//! starts = the best few of a grid of directions and the principal axes
//! from each start, until the step is small:
//!     try eight neighbours of the best one step away; if none is better, halve the step
//! ```
//!
//! The volume has several minima and kinks at all of them, so the result is the best near the
//! best start, not a proven minimum. The grid is that of trimesh: polar angles at six equal
//! steps over [0, π]².
//!
//! Reference: `trimesh.bounds.minimum_cylinder` of trimesh 5.2.

use std::f64::consts::PI;
use std::iter;

use super::bounding_box::ScaledHull;
use super::bounding_sphere::smallest_ball;
use super::mesh::{Vector, dot, plane_axes, unit};

/// Directions of the grid along each of the two angles.
const GRID: usize = 6;

/// First and last step of the search, in radians.
const STEPS: [f64; 2] = [PI / 10.0, 1e-4];

/// A step that saves less than this part of the volume is not repeated.
const WORTHWHILE: f64 = 1e-6;

/// Searches begin at this many directions.
const STARTS: usize = 3;

/// Neighbouring starts with a cosine between them above this are one.
const SAME: f64 = 0.99;

/// Volume of a small cylinder around a hull, given the principal axes of what is inside.
pub(super) fn cylinder_volume(hull: &ScaledHull, principal_axes: &[Vector; 3]) -> f64 {
    let mut search = Search { hull, flat: Vec::new(), taken: Vec::new() };
    let mut starts: Vec<(f64, Vector)> = grid()
        .chain(*principal_axes)
        .map(|direction| (search.volume(direction, f64::INFINITY), direction))
        .collect();
    starts.sort_by(|a, b| a.0.total_cmp(&b.0));
    starts.dedup_by(|a, b| dot(a.1, b.1).abs() > SAME);
    let ends = starts.into_iter().take(STARTS).map(|start| search.descend(start));
    ends.fold(f64::INFINITY, f64::min)
}

struct Search<'a> {
    hull: &'a ScaledHull,
    /// The points seen along a direction.
    flat: Vec<Vector>,
    /// The points that held the last circle.
    taken: Vec<u32>,
}

impl Search<'_> {
    /// Volume of the smallest cylinder along a direction, or some number from `limit` on if it
    /// is not below it.
    fn volume(&mut self, direction: Vector, limit: f64) -> f64 {
        let [u, v] = plane_axes(direction);
        let area = self.hull.extent(direction) * PI;
        self.flat.clear();
        self.flat
            .extend(self.hull.points.iter().map(|point| [dot(*point, u), dot(*point, v), 0.0]));
        area * smallest_ball(&self.flat, &mut self.taken, limit / area).squared_radius
    }

    /// The least volume that is found from a start.
    fn descend(&mut self, mut best: (f64, Vector)) -> f64 {
        let mut step = STEPS[0];
        while step > STEPS[1] {
            let before = best.0;
            for direction in neighbours(best.1, step) {
                let found = self.volume(direction, best.0);
                if found < best.0 {
                    best = (found, direction);
                }
            }
            if best.0 >= before * (1.0 - WORTHWHILE) {
                step /= 2.0;
            }
        }
        best.0
    }
}

/// Directions at equal steps of both angles, opposite ones once: the pole, and the others.
fn grid() -> impl Iterator<Item = Vector> {
    let angle = |i: usize| PI * i as f64 / (GRID - 1) as f64;
    let others = (0..GRID - 1).flat_map(move |i| (1..GRID - 1).map(move |j| (angle(i), angle(j))));
    iter::once((0.0, 0.0)).chain(others).map(|(theta, phi): (f64, f64)| {
        [-phi.sin() * theta.cos(), phi.sin() * theta.sin(), phi.cos()]
    })
}

/// Eight directions around one, a step away.
fn neighbours(direction: Vector, step: f64) -> [Vector; 8] {
    let [u, v] = plane_axes(direction);
    [0, 1, 2, 3, 4, 5, 6, 7].map(|i| {
        let (sine, cosine) = (PI / 4.0 * f64::from(i)).sin_cos();
        let turn = step.tan();
        unit([0, 1, 2].map(|axis| direction[axis] + turn * (cosine * u[axis] + sine * v[axis])))
    })
}

#[cfg(test)]
mod tests {
    use super::super::convex_hull::convex_hull;
    use super::*;

    const AXES: [Vector; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

    #[test]
    fn a_slim_box_has_the_cylinder_through_its_corners() {
        let corners: Vec<[i32; 3]> =
            (0..8).map(|i| [i / 4 * 2, i / 2 % 2 * 2, i % 2 * 16]).collect();
        let hull = ScaledHull::new(&convex_hull(corners), [2.0; 3]);
        let found = cylinder_volume(&hull, &AXES);
        assert!((found - PI * 2.0 * 16.0).abs() < 1e-9, "{found}");
    }

    #[test]
    fn the_search_finds_axes_between_the_starts() {
        // A bar along (3, 2, 6): length 7 n, any corners across.
        let across = [[2, -3, 0], [-2, 3, 0], [18, 12, -13], [-18, -12, 13]];
        let mut corners = Vec::new();
        for [z, y, x] in across {
            corners.push([z, y, x]);
            corners.push([z + 300, y + 200, x + 600]);
        }
        let hull = ScaledHull::new(&convex_hull(corners), [2.0; 3]);
        let axis = unit([3.0, 2.0, 6.0]);
        let radius = f64::from(18 * 18 + 12 * 12 + 13 * 13);
        let along = PI * radius * hull.extent(axis);
        let found = cylinder_volume(&hull, &AXES);
        // A narrow valley with a kink at its floor: the search comes near.
        assert!(found <= along * 1.01, "{found}, along the bar {along}");
    }
}
