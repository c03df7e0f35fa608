//! Smallest sphere, and smallest circle, around points.
//!
//! The smallest ball is fixed by at most four points on its surface (three in a plane). Points
//! are taken in one by one, the furthest outside first, and of those taken the ball is found by
//! Welzl's rule, in the form that moves a point that was outside to the front of the list,
//! where it is met early the next time:
//!
//! ```text
//! while a point is outside the ball: take in the furthest one; ball(those taken, nothing)
//!
//! ball(first n points, on):     the ball of the points `on` alone, then
//!     for each of the n points outside it:
//!         it is on the surface: ball(the points before it, on + it), and move it to the front
//! ```
//!
//! A ball of some of the points that holds all of them is the smallest. Nothing is drawn by
//! lot, so the result is always the same.
//!
//! References:
//! - E. Welzl (1991), "Smallest enclosing disks (balls and ellipsoids)".
//! - B. Gärtner (1999), "Fast and robust smallest enclosing balls".
//! - `trimesh.nsphere.minimum_nsphere` of trimesh 5.2. On voxel grids, where many points lie on
//!   one sphere, its result can be larger than the smallest.

use super::mesh::{Vector, dot, subtract};

/// A point this part of the squared radius beyond the surface counts as on it.
const ROUNDING: f64 = 1e-12;

/// A ball in space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ball {
    pub(super) centre: Vector,
    /// Square of the radius; below 0 of the ball around no points.
    pub(super) squared_radius: f64,
}

impl Ball {
    /// Square of the distance of a point from the centre.
    fn squared_distance(&self, point: Vector) -> f64 {
        let offset = subtract(point, self.centre);
        dot(offset, offset)
    }

    fn is_beyond(&self, squared_distance: f64) -> bool {
        squared_distance > self.squared_radius * (1.0 + ROUNDING)
    }
}

/// Smallest ball around points; of points in a plane its centre is in the plane, and the ball
/// is their smallest circle.
///
/// `taken` numbers points to begin with, the first four of which are used, and ends as those
/// that were taken in: a good guess for points that are moved a little. Once the squared radius
/// reaches `limit` the ball may be smaller than the smallest, but not below the limit.
pub(super) fn smallest_ball(points: &[Vector], taken: &mut Vec<u32>, limit: f64) -> Ball {
    taken.truncate(4);
    let mut ball = ball_of(points, taken, &mut [[0.0; 3]; 4], 0);
    while ball.squared_radius < limit {
        let mut furthest = (f64::NEG_INFINITY, 0);
        for (i, point) in (0..).zip(points) {
            let distance = ball.squared_distance(*point);
            if distance > furthest.0 {
                furthest = (distance, i);
            }
        }
        // One taken in can be beyond the ball by rounding only.
        if !ball.is_beyond(furthest.0) || taken.contains(&furthest.1) {
            break;
        }
        taken.insert(0, furthest.1);
        ball = ball_of(points, taken, &mut [[0.0; 3]; 4], 0);
    }
    ball
}

/// Smallest ball around the points of these numbers with `known` points `on` its surface.
fn ball_of(points: &[Vector], taken: &mut [u32], on: &mut [Vector; 4], known: usize) -> Ball {
    let mut ball = ball_through(&on[..known]);
    if known == on.len() {
        return ball;
    }
    for i in 0..taken.len() {
        let point = points[taken[i] as usize];
        if ball.is_beyond(ball.squared_distance(point)) {
            on[known] = point;
            ball = ball_of(points, &mut taken[..i], on, known + 1);
            taken[..=i].rotate_right(1);
        }
    }
    ball
}

/// The ball whose centre is nearest to the points among those with all of them on the surface.
///
/// With q = p − p₀ of the others, the centre is p₀ + Σ λ q where Σ λ_j (q_i · q_j) = q_i · q_i / 2.
fn ball_through(on: &[Vector]) -> Ball {
    let Some((origin, others)) = on.split_first() else {
        return Ball { centre: [0.0; 3], squared_radius: -1.0 };
    };
    let mut q = [[0.0; 3]; 3];
    for (q, point) in q.iter_mut().zip(others) {
        *q = subtract(*point, *origin);
    }
    let mut system = [[0.0; 4]; 3];
    for (equation, a) in system.iter_mut().zip(q) {
        *equation = [dot(a, q[0]), dot(a, q[1]), dot(a, q[2]), dot(a, a) / 2.0];
    }
    let factors = solve(&mut system, others.len());
    let mut offset = [0.0; 3];
    for (factor, q) in factors.iter().zip(q) {
        offset = [0, 1, 2].map(|axis| offset[axis] + factor * q[axis]);
    }
    let centre = [0, 1, 2].map(|axis| origin[axis] + offset[axis]);
    Ball { centre, squared_radius: dot(offset, offset) }
}

/// Gauss elimination of the first `n` equations; unknowns without a pivot become 0.
fn solve(system: &mut [[f64; 4]; 3], n: usize) -> [f64; 3] {
    let mut solution = [0.0; 3];
    let scale = (0..n).fold(0.0_f64, |largest, i| largest.max(system[i][i]));
    for column in 0..n {
        let largest =
            |a: &usize, b: &usize| system[*a][column].abs().total_cmp(&system[*b][column].abs());
        let pivot = (column..n).max_by(largest).unwrap_or(column);
        system.swap(column, pivot);
        if system[column][column].abs() <= scale * 1e-14 {
            return solution;
        }
        for row in column + 1..n {
            let pivot = system[column];
            let factor = system[row][column] / pivot[column];
            system[row].iter_mut().zip(pivot).for_each(|(to, from)| *to -= factor * from);
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| system[row][k] * solution[k]).sum();
        solution[row] = (system[row][3] - known) / system[row][row];
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(seed: u64, count: usize) -> Vec<Vector> {
        let mut state = seed + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f64 / f64::from(1 << 20)
        };
        (0..count).map(|_| [next(), next() * 3.0, next() * 2.0]).collect()
    }

    fn distance(a: Vector, b: Vector) -> f64 {
        dot(subtract(a, b), subtract(a, b)).sqrt()
    }

    /// The smallest of the balls through any two, three or four points that holds all.
    fn oracle(points: &[Vector]) -> f64 {
        let mut best = f64::INFINITY;
        let n = points.len();
        let mut consider = |on: &[usize]| {
            let on: Vec<Vector> = on.iter().map(|i| points[*i]).collect();
            let ball = ball_through(&on);
            let radius = ball.squared_radius.sqrt();
            if points.iter().all(|p| distance(*p, ball.centre) <= radius + 1e-9) {
                best = best.min(radius);
            }
        };
        for a in 0..n {
            for b in 0..a {
                consider(&[a, b]);
                for c in 0..b {
                    consider(&[a, b, c]);
                    for d in 0..c {
                        consider(&[a, b, c, d]);
                    }
                }
            }
        }
        best
    }

    #[test]
    fn balls_equal_the_search_of_all_supports() {
        for seed in 0..20 {
            let mut points = points(seed, 12);
            if seed % 2 == 0 {
                // On a grid many points share a sphere.
                points = points.iter().map(|p| p.map(|v| (2.0 * v).round())).collect();
            }
            let expected = oracle(&points);
            for mut guess in [vec![], vec![3], vec![11, 2, 7, 5, 1, 0]] {
                let ball = smallest_ball(&points, &mut guess, f64::INFINITY);
                assert!((ball.squared_radius.sqrt() - expected).abs() < 1e-9);
                let less = smallest_ball(&points, &mut guess, 0.5 * expected.powi(2));
                assert!(less.squared_radius >= 0.5 * expected.powi(2) - 1e-9);
            }
        }
    }

    #[test]
    fn points_on_a_common_sphere_are_no_trouble() {
        let cube: Vec<Vector> =
            (0..8).map(|i| [f64::from(i / 4), f64::from(i / 2 % 2), f64::from(i % 2)]).collect();
        let squared_radius = |points: &[Vector]| {
            smallest_ball(points, &mut Vec::new(), f64::INFINITY).squared_radius
        };
        assert!((squared_radius(&cube) - 0.75).abs() < 1e-12);
        let square: Vec<Vector> = cube.iter().map(|p| [0.0, p[1], p[2]]).collect();
        assert!((squared_radius(&square) - 0.5).abs() < 1e-12);
        assert_eq!(squared_radius(&[[1.0, 2.0, 3.0]]), 0.0);
        assert!(squared_radius(&[]) < 0.0);
    }
}
