//! Eigenvalues and eigenvectors of symmetric 3×3 matrices by Jacobi rotations.
//!
//! Each rotation makes one pair of off-diagonal elements 0; a few sweeps over the three pairs
//! leave nothing but rounding. Diagonal matrices come out unchanged.
//!
//! Reference: G. H. Golub, C. F. Van Loan, "Matrix Computations", section 8.5.

/// Sweeps that are always enough; convergence is quadratic.
const SWEEPS: usize = 30;

/// Eigenvalues in ascending order and the unit eigenvector of each.
pub(super) fn eigen(mut matrix: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    // Row i is the current direction of axis i.
    let mut axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..SWEEPS {
        let off = matrix[0][1].abs() + matrix[0][2].abs() + matrix[1][2].abs();
        if off == 0.0 || off.is_nan() {
            break;
        }
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            rotate(&mut matrix, &mut axes, p, q);
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|a: &usize, b: &usize| matrix[*a][*a].total_cmp(&matrix[*b][*b]));
    (order.map(|i| matrix[i][i]), order.map(|i| axes[i]))
}

/// Turns axes p and q so that element (p, q) becomes 0.
fn rotate(matrix: &mut [[f64; 3]; 3], axes: &mut [[f64; 3]; 3], p: usize, q: usize) {
    let off = matrix[p][q];
    if off == 0.0 {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * off);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    matrix[p][p] -= tangent * off;
    matrix[q][q] += tangent * off;
    matrix[p][q] = 0.0;
    matrix[q][p] = 0.0;
    let r = 3 - p - q;
    let (a, b) = (matrix[r][p], matrix[r][q]);
    let (new_a, new_b) = (cosine * a - sine * b, sine * a + cosine * b);
    (matrix[r][p], matrix[p][r], matrix[r][q], matrix[q][r]) = (new_a, new_a, new_b, new_b);
    let (a, b) = (axes[p], axes[q]);
    axes[p] = [0, 1, 2].map(|axis| cosine * a[axis] - sine * b[axis]);
    axes[q] = [0, 1, 2].map(|axis| sine * a[axis] + cosine * b[axis]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matrix: [[f64; 3]; 3]) -> [f64; 3] {
        let (values, vectors) = eigen(matrix);
        let scale = matrix.iter().flatten().fold(0.0_f64, |m, v| m.max(v.abs()));
        for (value, vector) in values.iter().zip(&vectors) {
            let product = matrix.map(|row| (0..3).map(|i| row[i] * vector[i]).sum::<f64>());
            for i in 0..3 {
                assert!((product[i] - value * vector[i]).abs() <= 1e-14 * scale);
            }
        }
        for i in 0..3 {
            for j in 0..3 {
                let dot: f64 = (0..3).map(|k| vectors[i][k] * vectors[j][k]).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-14);
            }
        }
        assert!(values.is_sorted());
        values
    }

    #[test]
    fn eigenvectors_solve_the_equation() {
        assert_eq!(check([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]), [1.0, 2.0, 3.0]);
        check([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]]);
        check([[1.0, 1.0, 1.0]; 3]);
        check([[1e9, 3.0, 2e-7], [3.0, 1.0, 0.5], [2e-7, 0.5, 1e-9]]);
        check([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]);
        assert_eq!(check([[0.0; 3]; 3]), [0.0; 3]);
    }

    #[test]
    fn what_is_not_a_number_ends() {
        assert!(eigen([[f64::NAN; 3]; 3]).0.iter().all(|v| v.is_nan()));
    }
}
