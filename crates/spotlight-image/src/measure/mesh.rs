//! Meshes of triangles: area, volume and inertia of the solid inside.
//!
//! ```text
//! area    = Σ |(b − a) × (c − a)| / 2                           over the triangles a b c
//! volume  = Σ d / 6,              d = a · (b × c)
//! centre  = Σ d (a + b + c) / 24 / volume
//! C(i, j) = Σ d (s_i s_j + a_i a_j + b_i b_j + c_i c_j) / 120,  s = a + b + c
//! inertia = (tr C) 1 − C                                        about the centre, density 1
//! ```
//!
//! Each triangle adds the tetrahedron between it and one fixed point; what lies outside the
//! solid cancels. A cavity counts as not being there.
//!
//! References:
//! - D. Eberly (2002), "Polyhedral mass properties (revisited)".
//! - `Trimesh.area`, `volume` and `principal_inertia_components` of trimesh 5.2.

use super::eigen::eigen;

/// A vector or position (z, y, x).
pub(super) type Vector = [f64; 3];

/// A surface of triangles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mesh {
    /// Positions (z, y, x) in half voxels: the centre of voxel (z, y, x) is (2z, 2y, 2x).
    pub vertices: Vec<[i32; 3]>,
    /// Three vertices each, counter-clockwise seen from outside.
    pub faces: Vec<[u32; 3]>,
}

/// Size and principal axes of the solid inside a mesh.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Solid {
    pub(super) area: f64,
    pub(super) volume: f64,
    /// Eigenvalues of the inertia tensor about the centre of mass, ascending.
    pub(super) inertia: [f64; 3],
    /// The direction of each.
    pub(super) axes: [Vector; 3],
}

impl Mesh {
    /// Positions of the vertices (z, y, x) in the units of the spacing.
    #[must_use]
    pub fn positions(&self, spacing: [f64; 3]) -> Vec<[f64; 3]> {
        let scale =
            |vertex: &[i32; 3]| [0, 1, 2].map(|axis| f64::from(vertex[axis]) * 0.5 * spacing[axis]);
        self.vertices.iter().map(scale).collect()
    }

    /// Area of the surface.
    #[must_use]
    pub fn area(&self, spacing: [f64; 3]) -> f64 {
        solid(&self.positions(spacing), &self.faces).area
    }

    /// Volume inside the surface.
    #[must_use]
    pub fn volume(&self, spacing: [f64; 3]) -> f64 {
        solid(&self.positions(spacing), &self.faces).volume
    }
}

/// The solid inside a closed mesh.
pub(super) fn solid(positions: &[Vector], faces: &[[u32; 3]]) -> Solid {
    // A point near the solid keeps the tetrahedra small.
    let origin = positions.first().copied().unwrap_or_default();
    let (mut area, mut volume) = (0.0, 0.0);
    let mut first = [0.0; 3];
    let mut second = [[0.0; 3]; 3];
    for face in faces {
        let [a, b, c] = face.map(|corner| subtract(positions[corner as usize], origin));
        area += length(cross(subtract(b, a), subtract(c, a))) / 2.0;
        let d = dot(a, cross(b, c));
        volume += d / 6.0;
        let s = [0, 1, 2].map(|i| a[i] + b[i] + c[i]);
        for i in 0..3 {
            first[i] += d * s[i] / 24.0;
            for j in 0..3 {
                let products = s[i] * s[j] + a[i] * a[j] + b[i] * b[j] + c[i] * c[j];
                second[i][j] += d * products / 120.0;
            }
        }
    }
    for i in 0..3 {
        for j in 0..3 {
            second[i][j] -= first[i] * first[j] / volume;
        }
    }
    let trace = second[0][0] + second[1][1] + second[2][2];
    let mut tensor = second.map(|row| row.map(|element| -element));
    for (i, row) in tensor.iter_mut().enumerate() {
        row[i] += trace;
    }
    let (inertia, axes) = eigen(tensor);
    Solid { area, volume, inertia, axes }
}

pub(super) fn subtract(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn length(a: Vector) -> f64 {
    dot(a, a).sqrt()
}

/// The vector of length 1 in the same direction.
pub(super) fn unit(a: Vector) -> Vector {
    let length = length(a);
    a.map(|component| component / length)
}

/// Two unit vectors at right angles to a unit vector and to each other.
pub(super) fn plane_axes(direction: Vector) -> [Vector; 2] {
    // Away from the axis that the direction is furthest from.
    let least = if direction[0].abs() < direction[1].abs().min(direction[2].abs()) {
        [1.0, 0.0, 0.0]
    } else if direction[1].abs() < direction[2].abs() {
        [0.0, 1.0, 0.0]
    } else {
        [0.0, 0.0, 1.0]
    };
    let first = unit(cross(direction, least));
    [first, cross(direction, first)]
}

#[cfg(test)]
mod tests {
    use super::super::marching_cubes::marching_cubes;
    use super::super::tests::noise;
    use super::*;
    use crate::Volume;

    #[test]
    fn a_box_has_its_volume_and_inertia() {
        let corners: Vec<Vector> = (0..8)
            .map(|i| [f64::from(i / 4) * 2.0, f64::from(i / 2 % 2) * 3.0, f64::from(i % 2) * 5.0])
            .collect();
        let squares =
            [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]];
        let faces: Vec<[u32; 3]> =
            squares.iter().flat_map(|[a, b, c, d]| [[*a, *c, *b], [*a, *d, *c]]).collect();
        let found = solid(&corners, &faces);
        let sign = found.volume.signum();
        assert!((found.volume * sign - 30.0).abs() < 1e-12);
        assert!((found.area - 62.0).abs() < 1e-12);
        let mut inertia = found.inertia.map(|i| i * sign);
        inertia.sort_by(f64::total_cmp);
        for (found, expected) in inertia.iter().zip([13.0, 29.0, 34.0]) {
            assert!((found - 30.0 / 12.0 * expected).abs() < 1e-11, "{found}");
        }
    }

    #[test]
    fn pieces_add_up_and_cavities_do_not_count() {
        let volume = |mask: &Volume<bool>| marching_cubes(mask).volume([1.0; 3]);
        let full = Volume::filled([7, 7, 7], true);
        let hole = Volume::filled([3, 3, 3], true);
        let shell = Volume::from_fn([7, 7, 7], |p| p.iter().any(|v| !(2..5).contains(v)));
        let single = Volume::filled([1, 1, 1], true);
        let two = Volume::from_fn([1, 1, 3], |p| p[2] != 1);
        // The surface of a cavity runs through its rim of face midpoints from the other side.
        assert!(volume(&shell) < volume(&full) - volume(&hole) * 0.9);
        assert!((volume(&two) - 2.0 * volume(&single)).abs() < 1e-12);
    }

    #[test]
    fn scaling_all_axes_scales_every_number() {
        let mesh = marching_cubes(&noise([5, 6, 7], 2, 50));
        let (one, half) = (mesh.positions([1.0; 3]), mesh.positions([0.5; 3]));
        let (one, half) = (solid(&one, &mesh.faces), solid(&half, &mesh.faces));
        assert!((one.area - 4.0 * half.area).abs() < 1e-10);
        assert!((one.volume - 8.0 * half.volume).abs() < 1e-10);
        for (one, half) in one.inertia.iter().zip(half.inertia) {
            assert!((one - 32.0 * half).abs() < 1e-8);
        }
    }

    #[test]
    fn plane_axes_are_orthonormal() {
        for direction in [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], unit([0.3, -2.0, 1.0])] {
            let [u, v] = plane_axes(direction);
            for (a, b) in [(u, v), (u, direction), (v, direction)] {
                assert!(dot(a, b).abs() < 1e-15);
            }
            assert!((length(u) - 1.0).abs() < 1e-15 && (length(v) - 1.0).abs() < 1e-15);
        }
    }
}
