//! Cubic smoothing splines: as smooth as a given sum of squared residuals allows.
//!
//! ```text
//! no knots: the least-squares cubic polynomial; done if its residual is within the limit
//! add knots at data points, where the residual is largest, until the least-squares spline
//!     is within the limit
//! of all splines with these knots and this residual, take the one whose third derivative
//!     jumps least at the knots: min Σ (y − s(x))² + (w · jump)², w such that the
//!     residual meets the limit
//! ```
//!
//! The rule for new knots is that of FITPACK's `curfit`, which SciPy's `UnivariateSpline`
//! calls; FITPACK stops where the residual is within 0.1 % of the limit, this goes on.
//!
//! References:
//! - P. Dierckx (1975), "An algorithm for smoothing, differentiation and integration of
//!   experimental data using spline functions".
//! - P. Dierckx (1993), "Curve and surface fitting with splines", chapters 4 and 5.

/// Coefficients that are not zero at one place, and knots at each end of the range.
const ORDER: usize = 4;

/// Width of the band that the observations and the jumps fill.
const BAND: usize = ORDER + 1;

/// A residual this part of the limit off counts as met when knots are chosen.
const ACCURACY: f64 = 1e-3;

/// Halvings of the interval of the weight's logarithm.
const BISECTIONS: usize = 60;

/// A cubic spline.
#[derive(Clone, Debug)]
pub(super) struct Spline {
    knots: Vec<f64>,
    coefficients: Vec<f64>,
}

impl Spline {
    /// The value anywhere; beyond the ends the last piece goes on.
    pub(super) fn at(&self, x: f64) -> f64 {
        let (first, basis) = basis(&self.knots, x);
        basis.iter().zip(&self.coefficients[first..]).map(|(b, c)| b * c).sum()
    }
}

/// The smoothing spline through rising places; `None` for fewer than 4.
pub(super) fn smoothing_spline(x: &[f64], y: &[f64], limit: f64) -> Option<Spline> {
    if x.len() < ORDER {
        return None;
    }
    // SciPy first gives FITPACK room for half as many knots as there are data. A round of new
    // knots ends where the room does, and the next begins with a single one.
    let first_room = (x.len() / 2).saturating_sub(2 * ORDER);
    let mut intervals = vec![Interval { inside: x.len() - 2, residual: 0.0 }];
    let mut fit = Fit::new(x, y, &[]);
    let (mut last_residual, mut to_add) = (0.0, 0);
    while fit.residual - limit >= ACCURACY * limit && intervals.len() - 1 < x.len() - ORDER {
        let excess = fit.residual - limit;
        let knots = intervals.len() - 1;
        to_add = if to_add == 0 || knots == first_room {
            1
        } else {
            let gain: f64 = last_residual - fit.residual;
            let enough = gain > ACCURACY * limit;
            let wanted = (to_add as f64 * excess / gain) as usize;
            (2 * to_add).min((if enough { wanted } else { 2 * to_add }).max(to_add / 2).max(1))
        };
        last_residual = fit.residual;
        fit.residuals_of(&mut intervals);
        let room = if knots < first_room { first_room } else { x.len() - ORDER };
        for _ in 0..to_add.min(room - knots) {
            split_worst(&mut intervals);
        }
        fit = Fit::new(x, y, &inner_knots(x, &intervals));
    }
    let polynomial = intervals.len() == 1;
    if polynomial || fit.residual > limit || limit - fit.residual < ACCURACY * limit {
        return Some(fit.spline);
    }
    Some(fit.smoothed(limit))
}

/// The stretch between two knots.
#[derive(Clone, Copy, Debug)]
struct Interval {
    /// Data strictly between the knots.
    inside: usize,
    /// Squared residuals of the data in it; of data at a knot half of each.
    residual: f64,
}

/// Puts a knot at the middle point of the interval with the largest residual.
fn split_worst(intervals: &mut Vec<Interval>) {
    let mut worst: Option<usize> = None;
    for (i, interval) in intervals.iter().enumerate() {
        let largest = worst.map_or(0.0, |worst| intervals[worst].residual);
        if interval.inside > 0 && interval.residual > largest {
            worst = Some(i);
        }
    }
    let Some(worst) = worst else { return };
    let Interval { inside, residual } = intervals[worst];
    let middle = inside / 2 + 1;
    let part = |inside_part: usize| Interval {
        inside: inside_part,
        residual: residual * inside_part as f64 / inside as f64,
    };
    intervals[worst] = part(middle - 1);
    intervals.insert(worst + 1, part(inside - middle));
}

/// The knots between the ends; as many as an interpolating spline has stand where its do.
fn inner_knots(x: &[f64], intervals: &[Interval]) -> Vec<f64> {
    if intervals.len() - 1 == x.len() - ORDER {
        return x[2..x.len() - 2].to_vec();
    }
    let mut place = 0;
    let last = intervals.len() - 1;
    let knots = intervals[..last].iter().map(|interval| {
        place += interval.inside + 1;
        x[place]
    });
    knots.collect()
}

/// The least-squares spline of some knots, and what a smoother one starts from.
struct Fit<'a> {
    y: &'a [f64],
    x: &'a [f64],
    /// First coefficient and the four values that multiply it and the next, per datum.
    basis: Vec<(usize, [f64; ORDER])>,
    triangle: Triangle,
    spline: Spline,
    residual: f64,
}

impl<'a> Fit<'a> {
    fn new(x: &'a [f64], y: &'a [f64], inner: &[f64]) -> Self {
        let (start, end) = (x[0], x[x.len() - 1]);
        let mut knots = vec![start; ORDER];
        knots.extend_from_slice(inner);
        knots.extend([end; ORDER]);
        let basis: Vec<_> = x.iter().map(|x| basis(&knots, *x)).collect();
        let mut triangle = Triangle::new(knots.len() - ORDER);
        for ((first, values), y) in basis.iter().zip(y) {
            let mut row = [0.0; BAND];
            row[..ORDER].copy_from_slice(values);
            triangle.rotate_in(*first, row, *y);
        }
        let spline = Spline { coefficients: triangle.solve(), knots };
        let mut fit = Self { y, x, basis, triangle, spline, residual: 0.0 };
        fit.residual = fit.residuals(&fit.spline.coefficients).sum();
        fit
    }

    /// Squared residuals of the data with these coefficients.
    fn residuals<'b>(&'b self, coefficients: &'b [f64]) -> impl Iterator<Item = f64> + 'b {
        self.basis.iter().zip(self.y).map(|((first, basis), y)| {
            let value: f64 = basis.iter().zip(&coefficients[*first..]).map(|(b, c)| b * c).sum();
            (value - y).powi(2)
        })
    }

    fn residuals_of(&self, intervals: &mut [Interval]) {
        intervals.iter_mut().for_each(|interval| interval.residual = 0.0);
        let knots = &self.spline.knots[ORDER..self.spline.knots.len() - ORDER];
        let residuals = self.residuals(&self.spline.coefficients);
        for (x, residual) in self.x.iter().zip(residuals) {
            let interval = knots.partition_point(|knot| knot <= x);
            if interval > 0 && knots[interval - 1] == *x {
                intervals[interval - 1].residual += residual / 2.0;
                intervals[interval].residual += residual / 2.0;
            } else {
                intervals[interval].residual += residual;
            }
        }
    }

    /// The spline of these knots that jumps least and has the residual asked for.
    fn smoothed(self, limit: f64) -> Spline {
        let jumps = jumps(&self.spline.knots);
        let with_weight = |weight: f64| {
            let mut triangle = self.triangle.clone();
            for (first, row) in jumps.iter().enumerate() {
                triangle.rotate_in(first, row.map(|value| value * weight), 0.0);
            }
            triangle.solve()
        };
        let excess = |weight: f64| self.residuals(&with_weight(weight)).sum::<f64>() - limit;
        let (mut low, mut high) = (1.0, 1.0);
        // From 1e-20 to 1e20 in steps of 16: both ends are beyond what rounding resolves.
        while excess(low) > 0.0 && low > 1e-20 {
            low /= 16.0;
        }
        while excess(high) < 0.0 && high < 1e20 {
            high *= 16.0;
        }
        for _ in 0..BISECTIONS {
            let middle = (low * high).sqrt();
            if excess(middle) > 0.0 { high = middle } else { low = middle }
        }
        Spline { coefficients: with_weight(low), knots: self.spline.knots }
    }
}

/// The four cubic B-splines that are not zero at x, and the number of the first.
fn basis(knots: &[f64], x: f64) -> (usize, [f64; ORDER]) {
    let last = knots.len() - ORDER - 1;
    let interval = (knots.partition_point(|knot| *knot <= x).max(1) - 1).clamp(ORDER - 1, last);
    let mut values = [0.0; ORDER];
    values[0] = 1.0;
    for degree in 1..ORDER {
        let mut carried = 0.0;
        for i in 0..degree {
            let right = knots[interval + i + 1];
            let left = knots[interval + i + 1 - degree];
            let share = values[i] / (right - left);
            values[i] = carried + share * (right - x);
            carried = share * (x - left);
        }
        values[degree] = carried;
    }
    (interval + 1 - ORDER, values)
}

/// Jump of the third derivative at every inner knot, as factors of five coefficients; all
/// multiplied by the same number to make them about 1.
fn jumps(knots: &[f64]) -> Vec<[f64; BAND]> {
    let (first, last) = (ORDER, knots.len() - ORDER);
    let step = (knots[last] - knots[0]) / (last - first + 1) as f64;
    (first..last)
        .map(|knot| {
            std::array::from_fn(|i| {
                let start = knot - ORDER + i;
                let around = (start..=start + ORDER).filter(|other| *other != knot);
                let product: f64 = around.map(|o| (knots[knot] - knots[o]) / step).product();
                (knots[start + ORDER] - knots[start]) / step / product
            })
        })
        .collect()
}

/// An upper triangle of a banded system of least squares, row by row.
#[derive(Clone)]
struct Triangle {
    rows: Vec<[f64; BAND]>,
    right: Vec<f64>,
}

impl Triangle {
    fn new(size: usize) -> Self {
        Self { rows: vec![[0.0; BAND]; size], right: vec![0.0; size] }
    }

    /// Adds an equation whose coefficients start at a column, by Givens rotations.
    fn rotate_in(&mut self, first: usize, mut row: [f64; BAND], mut right: f64) {
        for (pivot_row, pivot_right) in self.rows.iter_mut().zip(&mut self.right).skip(first) {
            let length = pivot_row[0].hypot(row[0]);
            if length > 0.0 {
                let (cosine, sine) = (pivot_row[0] / length, row[0] / length);
                for (pivot, value) in pivot_row.iter_mut().zip(&mut row) {
                    (*pivot, *value) =
                        (cosine * *pivot + sine * *value, cosine * *value - sine * *pivot);
                }
                (*pivot_right, right) =
                    (cosine * *pivot_right + sine * right, cosine * right - sine * *pivot_right);
            }
            row.rotate_left(1);
            row[BAND - 1] = 0.0;
        }
    }

    fn solve(&self) -> Vec<f64> {
        let mut solution = self.right.clone();
        for i in (0..solution.len()).rev() {
            let row = &self.rows[i];
            let known = row[1..].iter().zip(&solution[i + 1..]).map(|(r, s)| r * s).sum::<f64>();
            solution[i] = (solution[i] - known) / row[0];
        }
        solution
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A falling curve with pseudo-random numbers added.
    fn data(count: usize, seed: usize) -> (Vec<f64>, Vec<f64>) {
        let x: Vec<f64> = (0..count).map(|i| i as f64 / count as f64).collect();
        let noise = |i: usize| ((i * 7919 + seed * 104_729) % 1000) as f64 / 1000.0 - 0.5;
        let curve = |x: f64| 1.0 / (1.0 + (14.0 * (x - 0.45)).exp());
        let y = x.iter().enumerate().map(|(i, x)| curve(*x) + 0.3 * noise(i)).collect();
        (x, y)
    }

    /// Number of inner knots and values at 0.05, 0.31, 0.5, 0.77, 0.9 and 1.
    fn check(count: usize, seed: usize, limit: f64, knots: usize, values: [f64; 6]) {
        let (x, y) = data(count, seed);
        let spline = smoothing_spline(&x, &y, limit).unwrap();
        assert_eq!(spline.knots.len() - 2 * ORDER, knots);
        for (x, expected) in [0.05, 0.31, 0.5, 0.77, 0.9, 1.0].into_iter().zip(values) {
            let found = spline.at(x);
            // FITPACK stops at a residual within 0.1 % of the limit.
            let tolerance = if knots == 0 || limit == 0.0 { 1e-6 } else { 5e-4 };
            assert!((found - expected).abs() < tolerance, "at {x}: {found}, expected {expected}");
        }
    }

    // SciPy 1.17: UnivariateSpline(x, y), set_smoothing_factor(limit).
    #[test]
    fn as_fitpack() {
        check(17, 1, 0.25, 0, [1.070675, 0.738031, 0.367145, 0.000828, 0.010586, 0.144964]);
        check(17, 1, 0.05, 4, [1.060602, 0.755697, 0.309074, 0.062816, 0.008258, -0.098132]);
        check(24, 2, 0.1, 3, [0.909341, 0.920075, 0.349554, -0.040543, 0.091500, -0.067708]);
        check(48, 3, 0.25, 7, [1.004945, 0.878983, 0.306217, -0.018023, 0.048004, -0.092818]);
        check(48, 3, 1.0, 0, [0.993468, 0.817404, 0.393159, -0.059852, -0.016498, 0.206992]);
        check(48, 4, 0.05, 14, [1.060522, 0.970348, 0.396461, 0.044099, -0.026746, -0.155727]);
        check(12, 5, 0.001, 5, [1.013899, 0.821769, 0.235320, 0.133841, 0.083019, 0.033966]);
        check(9, 6, 0.0, 5, [0.949460, 0.779659, 0.339663, 0.102964, 0.059965, -0.149681]);
        check(30, 7, 0.0001, 19, [1.005840, 0.832418, 0.449514, -0.066856, 0.130578, -2.081353]);
        check(30, 7, 0.02, 11, [0.984443, 0.829989, 0.440717, -0.084346, 0.144958, 0.159557]);
    }

    #[test]
    fn too_few_points() {
        assert!(smoothing_spline(&[0.0, 0.1, 0.2], &[1.0, 0.5, 0.0], 1.0).is_none());
    }
}
