//! Marching cubes: the surface of a mask as a closed mesh of triangles.
//!
//! Every vertex lies half way between a voxel inside and one outside, or in the middle of
//! eight voxels, so positions are whole numbers in half voxels and vertices are shared exactly.
//! Beyond the mask is background: objects that touch the border of the image are closed, too.
//!
//! ```text
//! for every 2×2×2 neighbourhood that is neither empty nor full:
//!     for every triangle of its pattern:
//!         append it, with the vertices numbered in the order in which they are met
//! ```
//!
//! References:
//! - W. E. Lorensen, H. E. Cline (1987), "Marching cubes".
//! - T. Lewiner, H. Lopes, A. W. Vieira, G. Tavares (2003), "Efficient implementation of
//!   marching cubes' cases with topological guarantees".
//! - `skimage.measure.marching_cubes` of scikit-image 0.26 at level 0.5.

use super::cell::for_each_mixed_cell;
use super::marching_cubes_table::{TRIANGLES, VERTICES};
use super::mesh::Mesh;
use crate::Volume;

/// Surface of a mask, every triangle counter-clockwise seen from outside.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, measure::marching_cubes};
///
/// let voxel = marching_cubes(&Volume::filled([1, 1, 1], true));
/// assert_eq!((voxel.vertices.len(), voxel.faces.len()), (6, 8));
/// assert!((voxel.volume([1.0; 3]) - 1.0 / 6.0).abs() < 1e-15);
/// ```
#[must_use]
pub fn marching_cubes(mask: &Volume<bool>) -> Mesh {
    let mut mesh = Mesh::default();
    let mut numbers = VertexNumbers::new(mask.shape);
    for_each_mixed_cell(mask, |cell, pattern| {
        for triangle in TRIANGLES[usize::from(pattern)].as_bytes().split(|letter| *letter == b' ') {
            let corners = [triangle[0], triangle[1], triangle[2]];
            let face = corners.map(|letter| {
                let offset = VERTICES[usize::from(letter - b'a')];
                numbers.number(cell, offset, &mut mesh.vertices)
            });
            mesh.faces.push(face);
        }
    });
    mesh
}

/// No vertex here yet.
const NONE: u32 = u32::MAX;

/// Numbers of the vertices on the three planes of half voxels that a layer of cells touches.
struct VertexNumbers {
    planes: [Vec<u32>; 3],
    /// Half voxels in a row of a plane.
    width: usize,
    layer: usize,
}

impl VertexNumbers {
    fn new([_, height, width]: [usize; 3]) -> Self {
        let (height, width) = (2 * height + 3, 2 * width + 3);
        Self { planes: [0; 3].map(|_: i32| vec![NONE; height * width]), width, layer: 0 }
    }

    /// Number of the vertex at an offset from the first voxel of a cell; new ones are
    /// appended. Cells must come layer after layer.
    fn number(&mut self, cell: [usize; 3], offset: [u8; 3], vertices: &mut Vec<[i32; 3]>) -> u32 {
        while self.layer < cell[0] {
            // The upper plane of a layer is the lower one of the next.
            self.planes.swap(0, 2);
            self.planes[1].fill(NONE);
            self.planes[2].fill(NONE);
            self.layer += 1;
        }
        let at = [0, 1, 2].map(|axis| 2 * cell[axis] + usize::from(offset[axis]));
        let place = at[1] * self.width + at[2];
        let number = &mut self.planes[usize::from(offset[0])][place];
        if *number == NONE {
            *number = vertices.len() as u32;
            // The first voxel of the cell is one before its position.
            vertices.push(at.map(|half| half as i32 - 2));
        }
        *number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::euler::euler_number;
    use super::super::hull_image::{hull_of_rows, row_spans};
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn surfaces_are_closed() {
        for seed in 0..60 {
            let mesh = marching_cubes(&noise([4, 5, 6], seed, 2 * seed as u64));
            let mut sides: HashMap<(u32, u32), i32> = HashMap::new();
            for face in &mesh.faces {
                for i in 0..3 {
                    let (from, to) = (face[i], face[(i + 1) % 3]);
                    *sides.entry((from.min(to), from.max(to))).or_default() +=
                        if from < to { 1 } else { -1 };
                }
            }
            assert!(sides.values().all(|sum| *sum == 0), "an edge without its opposite");
        }
    }

    #[test]
    fn every_vertex_lies_between_inside_and_outside() {
        for seed in 0..30 {
            let mask = noise([4, 5, 6], seed, 3 * seed as u64);
            let inside = |p: [i32; 3]| {
                let fits = (0..3).all(|a| (0..mask.shape[a] as i32).contains(&p[a]));
                fits && mask.at(p.map(|v| v as usize))
            };
            let mesh = marching_cubes(&mask);
            for vertex in &mesh.vertices {
                let odd: Vec<usize> = (0..3).filter(|a| vertex[*a] % 2 != 0).collect();
                if let [axis] = odd[..] {
                    let (mut low, mut high) = (*vertex, *vertex);
                    low[axis] -= 1;
                    high[axis] += 1;
                    assert_ne!(inside(low.map(|v| v / 2)), inside(high.map(|v| v / 2)));
                } else {
                    assert_eq!(odd.len(), 3, "a vertex on a face");
                }
            }
            let mut unique = mesh.vertices.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), mesh.vertices.len(), "a vertex twice");
        }
    }

    /// The one hull that is computed of an object is that of its mesh, too.
    #[test]
    fn the_hull_of_the_voxels_is_the_hull_of_the_surface() {
        for seed in 2..34 {
            let mask = noise([4, 5, 6], seed, 3 * seed as u64);
            let hull = hull_of_rows(&row_spans(&mask));
            let mesh = marching_cubes(&mask);
            assert!(hull.points.iter().all(|corner| mesh.vertices.contains(corner)));
            for facet in &hull.facets {
                let corners = hull.corners(*facet);
                let normal = super::super::convex_hull::normal(corners);
                for vertex in &mesh.vertices {
                    let above = |a: usize| normal[a] * i64::from(vertex[a] - corners[0][a]);
                    assert!((0..3).map(above).sum::<i64>() <= 0, "a vertex outside the hull");
                }
            }
        }
    }

    #[test]
    fn the_surface_of_a_simple_solid_has_its_topology() {
        for (mask, genus_characteristic) in [
            (Volume::filled([2, 3, 4], true), 2),
            (Volume::from_fn([1, 3, 3], |p| p != [0, 1, 1]), 0),
        ] {
            let mesh = marching_cubes(&mask);
            let (v, f) = (mesh.vertices.len() as i64, mesh.faces.len() as i64);
            assert_eq!(v - 3 * f / 2 + f, genus_characteristic);
            assert_eq!(2 * euler_number(&mask), genus_characteristic);
        }
    }

    #[test]
    fn nothing_has_no_surface() {
        assert_eq!(marching_cubes(&Volume::filled([2, 2, 2], false)), Mesh::default());
        assert_eq!(marching_cubes(&Volume::new([0, 0, 0], Vec::new())), Mesh::default());
    }
}
