//! Largest Feret diameter: the greatest distance between two points of an object's hull image.
//!
//! scikit-image measures between the vertices of the marching-cubes surface of the hull image,
//! which are midpoints of voxel faces, all pairs of them. The two points furthest apart are
//! corners of their convex hull, so only those are compared.
//!
//! Reference: `feret_diameter_max` of scikit-image 0.26.

use super::hull_image::{RowSpan, hull_of_rows};

/// Greatest distance between face midpoints of the voxels in these rows; 0 of no rows.
pub(super) fn feret_diameter_max(hull_image: &[RowSpan], spacing: [f64; 3]) -> f64 {
    let corners = hull_of_rows(hull_image).points;
    let scaled =
        |corner: &[i32; 3]| [0, 1, 2].map(|axis| f64::from(corner[axis]) * 0.5 * spacing[axis]);
    let corners: Vec<[f64; 3]> = corners.iter().map(scaled).collect();
    let mut largest = 0.0_f64;
    for (i, a) in corners.iter().enumerate() {
        for b in &corners[i + 1..] {
            let squared: f64 = (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum();
            largest = largest.max(squared);
        }
    }
    largest.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feret_diameters_by_hand() {
        let row = |y: i32, first: i32, last: i32| RowSpan { row: [0, y], first, last };
        assert_eq!(feret_diameter_max(&[], [1.0; 3]), 0.0);
        assert_eq!(feret_diameter_max(&[row(0, 2, 2)], [1.0; 3]), 1.0);
        assert_eq!(feret_diameter_max(&[row(0, 0, 4)], [1.0, 1.0, 0.5]), 2.5);
        // Midpoints (−½, 0) and (2½, 2): the corners of the square are cut off.
        let square = [row(0, 0, 2), row(1, 0, 2), row(2, 0, 2)];
        assert_eq!(feret_diameter_max(&square, [1.0; 3]), (3.0_f64.powi(2) + 2.0 * 2.0).sqrt());
    }
}
