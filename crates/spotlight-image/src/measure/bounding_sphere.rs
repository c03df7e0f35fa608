//! Smallest sphere, and smallest circle, around points.
//!
//! The smallest ball is fixed by at most four points on its surface (three in a plane). It is
//! found by Welzl's rule, in the form that moves a point that was outside to the front of the
//! list, where it is met early the next time:
//!
//! ```text
//! ball(first n points, on):     the ball of the points `on` alone, then
//!     for each of the n points outside it:
//!         it is on the surface: ball(the points before it, on + it), and move it to the front
//! ```
//!
//! Nothing is drawn by lot, so the result is always the same.
//!
//! References:
//! - E. Welzl (1991), "Smallest enclosing disks (balls and ellipsoids)".
//! - `trimesh.nsphere.minimum_nsphere` of trimesh 5.2, which is exact, too.

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

/// Smallest ball around points; of points in a plane its centre is in the plane, and the ball
/// is their smallest circle. Changes the order of the points.
pub(super) fn smallest_ball(points: &mut [Vector]) -> Ball {
    let count = points.len();
    ball_of(points, count, &mut Vec::with_capacity(4))
}

fn ball_of(points: &mut [Vector], count: usize, on: &mut Vec<Vector>) -> Ball {
    let mut ball = ball_through(on);
    if on.len() == 4 {
        return ball;
    }
    for i in 0..count {
        let point = points[i];
        let offset = subtract(point, ball.centre);
        if dot(offset, offset) > ball.squared_radius * (1.0 + ROUNDING) {
            on.push(point);
            ball = ball_of(points, i, on);
            on.pop();
            points[..=i].rotate_right(1);
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
    let q: Vec<Vector> = others.iter().map(|point| subtract(*point, *origin)).collect();
    let mut system = [[0.0; 4]; 3];
    for i in 0..q.len() {
        for j in 0..q.len() {
            system[i][j] = dot(q[i], q[j]);
        }
        system[i][3] = dot(q[i], q[i]) / 2.0;
    }
    let factors = solve(&mut system, q.len());
    let mut offset = [0.0; 3];
    for (factor, q) in factors.iter().zip(&q) {
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
            let points = points(seed, 12);
            let ball = smallest_ball(&mut points.clone());
            assert!((ball.squared_radius.sqrt() - oracle(&points)).abs() < 1e-9);
        }
    }

    #[test]
    fn points_on_a_common_sphere_are_no_trouble() {
        let cube: Vec<Vector> =
            (0..8).map(|i| [f64::from(i / 4), f64::from(i / 2 % 2), f64::from(i % 2)]).collect();
        let ball = smallest_ball(&mut cube.clone());
        assert!((ball.squared_radius - 0.75).abs() < 1e-12);
        let mut square: Vec<Vector> = cube.iter().map(|p| [0.0, p[1], p[2]]).collect();
        assert!((smallest_ball(&mut square).squared_radius - 0.5).abs() < 1e-12);
        assert_eq!(smallest_ball(&mut [[1.0, 2.0, 3.0]]).squared_radius, 0.0);
        assert!(smallest_ball(&mut []).squared_radius < 0.0);
    }
}
