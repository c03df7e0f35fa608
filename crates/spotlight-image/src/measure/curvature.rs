//! Mean curvatures of a mesh, measured in a ball around each vertex.
//!
//! ```text
//! gauss(v) = Σ over vertices w within r of v:     2π − the angles of the faces at w
//! mean(v)  = ½ Σ over edges:    length inside the ball of radius r at v × angle between faces
//! ```
//!
//! Angles are positive at convex and negative at concave edges; both are averaged over the
//! vertices v. An edge between more or fewer than two faces has no angle. Since being near is
//! mutual, the sums run over what is curved and count the vertices near it; flat parts cost
//! nothing.
//!
//! References:
//! - D. Cohen-Steiner, J.-M. Morvan (2003), "Restricted Delaunay triangulations and normal
//!   cycle".
//! - `discrete_gaussian_curvature_measure` and `discrete_mean_curvature_measure` of trimesh 5.2.

use std::f64::consts::PI;

use super::mesh::{Mesh, Vector, cross, dot, length, subtract, unit};

/// Lengths this part of the radius above it count as equal to it.
const ROUNDING: f64 = 1e-9;

/// Sides of the boxes that vertices are looked up in, in half voxels: whole voxels, two along
/// x, where neighbouring boxes are read in one go, to save memory.
const BOX: [i32; 3] = [2, 2, 4];

/// Averages over the vertices of a mesh: Gaussian curvature, mean curvature.
pub(super) fn mean_curvatures(
    mesh: &Mesh,
    positions: &[Vector],
    spacing: [f64; 3],
    radius: f64,
) -> [f64; 2] {
    let near = Nearby::new(mesh, positions, spacing, radius);
    let squared = (radius * (1.0 + ROUNDING)).powi(2);
    let mut gauss = 0.0;
    for (position, defect) in positions.iter().zip(defects(mesh, positions)) {
        let mut count = 0_u32;
        near.visit([*position; 2], |other| {
            let offset = subtract(other, *position);
            count += u32::from(dot(offset, offset) <= squared);
        });
        gauss += defect * f64::from(count);
    }
    let mut mean = 0.0;
    for_each_bend(mesh, positions, |Bend { ends, angle }| {
        let segment = Segment::new(ends, radius);
        let mut parts = 0.0;
        near.visit(ends, |centre| parts += segment.part_inside(centre));
        mean += parts * segment.squared_length.sqrt() * angle / 2.0;
    });
    [gauss, mean].map(|sum| sum / positions.len() as f64)
}

/// 2π less the angles of all faces at each vertex.
fn defects(mesh: &Mesh, positions: &[Vector]) -> Vec<f64> {
    let mut defects = vec![2.0 * PI; positions.len()];
    for face in &mesh.faces {
        let corners = face.map(|corner| positions[corner as usize]);
        for i in 0..3 {
            let a = subtract(corners[(i + 1) % 3], corners[i]);
            let b = subtract(corners[(i + 2) % 3], corners[i]);
            defects[face[i] as usize] -= length(cross(a, b)).atan2(dot(a, b));
        }
    }
    defects
}

/// An edge at which a mesh is not flat.
struct Bend {
    ends: [Vector; 2],
    /// Angle between the normals of its faces, below 0 if it is concave.
    angle: f64,
}

/// Visits the bent edges among those of exactly two faces.
fn for_each_bend(mesh: &Mesh, positions: &[Vector], mut visit: impl FnMut(Bend)) {
    let normals: Vec<Vector> = mesh
        .faces
        .iter()
        .map(|face| {
            let [a, b, c] = face.map(|corner| positions[corner as usize]);
            unit(cross(subtract(b, a), subtract(c, a)))
        })
        .collect();
    for_each_edge_of_two(mesh, |[from, to], [one, other]| {
        let [a, b] = [one, other].map(|face: u32| normals[face as usize]);
        let angle = length(cross(a, b)).atan2(dot(a, b));
        let opposite =
            mesh.faces[other as usize].iter().find(|corner| ![from, to].contains(corner));
        let ends = [from, to].map(|corner: u32| positions[corner as usize]);
        let rise =
            opposite.map_or(0.0, |corner| dot(a, subtract(positions[*corner as usize], ends[0])));
        // Flat edges come out as rounding.
        if angle > 1e-7 {
            visit(Bend { ends, angle: if rise <= 0.0 { angle } else { -angle } });
        }
    });
}

/// Visits every edge that belongs to exactly two faces.
fn for_each_edge_of_two(mesh: &Mesh, mut visit: impl FnMut([u32; 2], [u32; 2])) {
    // The edges from each vertex to those of higher number, vertex after vertex.
    let mut first = vec![0_u32; mesh.vertices.len() + 1];
    let sides = || {
        (0..).zip(&mesh.faces).flat_map(|(number, face)| {
            [0, 1, 2].map(|i: usize| {
                let (a, b) = (face[i], face[(i + 1) % 3]);
                (a.min(b), a.max(b), number)
            })
        })
    };
    for (from, _, _) in sides() {
        first[from as usize + 1] += 1;
    }
    for vertex in 1..first.len() {
        first[vertex] += first[vertex - 1];
    }
    let mut free = first.clone();
    let mut ends = vec![(0, 0); 3 * mesh.faces.len()];
    for (from, to, face) in sides() {
        let place = &mut free[from as usize];
        ends[*place as usize] = (to, face);
        *place += 1;
    }
    for (from, range) in (0..).zip(first.windows(2)) {
        let ends = &mut ends[range[0] as usize..range[1] as usize];
        ends.sort_unstable();
        for same in ends.chunk_by(|a, b| a.0 == b.0) {
            if let [(to, one), (_, other)] = *same {
                visit([from, to], [one, other]);
            }
        }
    }
}

/// A segment, to be cut by many balls of one radius.
struct Segment {
    from: Vector,
    along: Vector,
    squared_length: f64,
    squared_radius: f64,
}

impl Segment {
    fn new([from, to]: [Vector; 2], radius: f64) -> Self {
        let along = subtract(to, from);
        Self { from, along, squared_length: dot(along, along), squared_radius: radius * radius }
    }

    /// The part of the segment, 0 to 1, that lies in the ball around a centre.
    fn part_inside(&self, centre: Vector) -> f64 {
        // |from + t along − centre|² = radius² has the solutions t = (−b ± √(b² − a c)) / a.
        let offset = subtract(self.from, centre);
        let b = dot(self.along, offset);
        let c = dot(offset, offset) - self.squared_radius;
        let discriminant = b * b - self.squared_length * c;
        if discriminant <= 0.0 {
            return 0.0;
        }
        let root = discriminant.sqrt();
        let start = (-b - root).clamp(0.0, self.squared_length);
        let stop = (-b + root).clamp(0.0, self.squared_length);
        (stop - start) / self.squared_length
    }
}

/// The vertices sorted into small boxes that fill the mesh's bounding box.
struct Nearby {
    /// Position in half voxels that the first box begins at.
    low: [i32; 3],
    boxes: [usize; 3],
    /// Where the vertices of box i begin is at i + 1, and ends at i + 2; x runs fastest, so
    /// boxes along x are one stretch.
    first: Vec<u32>,
    sorted: Vec<Vector>,
    spacing: [f64; 3],
    radius: f64,
}

impl Nearby {
    fn new(mesh: &Mesh, positions: &[Vector], spacing: [f64; 3], radius: f64) -> Self {
        let bound = |axis: usize, pick: fn(i32, i32) -> i32| {
            mesh.vertices.iter().map(|vertex| vertex[axis]).reduce(pick).unwrap_or(0)
        };
        let low = [0, 1, 2].map(|axis| bound(axis, i32::min));
        let place = |axis: usize, half: i32| ((half - low[axis]) / BOX[axis]) as usize;
        let boxes = [0, 1, 2].map(|axis| place(axis, bound(axis, i32::max)) + 1);
        let box_of = |vertex: &[i32; 3]| {
            let [z, y, x] = [0, 1, 2].map(|axis| place(axis, vertex[axis]));
            (z * boxes[1] + y) * boxes[2] + x
        };
        let mut first = vec![0_u32; boxes.iter().product::<usize>() + 2];
        for vertex in &mesh.vertices {
            first[box_of(vertex) + 1] += 1;
        }
        for i in 1..first.len() {
            first[i] += first[i - 1];
        }
        let mut sorted = vec![[0.0; 3]; positions.len()];
        // Now it says where each box ends; filling from the back leaves it at the beginning.
        for (vertex, position) in mesh.vertices.iter().zip(positions) {
            let place = &mut first[box_of(vertex) + 1];
            *place -= 1;
            sorted[*place as usize] = *position;
        }
        Self { low, boxes, first, sorted, spacing, radius: radius * (1.0 + ROUNDING) }
    }

    /// Visits all vertices within the radius of a segment, and some that are further away.
    fn visit(&self, ends: [Vector; 2], mut visit: impl FnMut(Vector)) {
        let range = |axis: usize| {
            let (low, high) = (ends[0][axis].min(ends[1][axis]), ends[0][axis].max(ends[1][axis]));
            let place = |position: f64| {
                let halves = 2.0 * position / self.spacing[axis] - f64::from(self.low[axis]);
                halves / f64::from(BOX[axis])
            };
            let (first, last) = (place(low - self.radius), place(high + self.radius));
            // Casts of numbers below 0 give 0.
            (first as usize, (last as usize).min(self.boxes[axis] - 1))
        };
        let [(z0, z1), (y0, y1), (x0, x1)] = [range(0), range(1), range(2)];
        for z in z0..=z1 {
            for y in y0..=y1 {
                let row = (z * self.boxes[1] + y) * self.boxes[2];
                let stretch = self.first[row + x0 + 1] as usize..self.first[row + x1 + 2] as usize;
                self.sorted[stretch].iter().for_each(|position| visit(*position));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::marching_cubes::marching_cubes;
    use super::super::tests::noise;
    use super::*;
    use crate::Volume;

    fn bends(mesh: &Mesh, positions: &[Vector]) -> Vec<Bend> {
        let mut bends = Vec::new();
        for_each_bend(mesh, positions, |bend| bends.push(bend));
        bends
    }

    /// Every vertex against every vertex and every edge of two faces.
    fn oracle(mesh: &Mesh, positions: &[Vector], radius: f64) -> [f64; 2] {
        let defects = defects(mesh, positions);
        let bends = bends(mesh, positions);
        let (mut gauss, mut mean) = (0.0, 0.0);
        for v in positions {
            for (w, defect) in positions.iter().zip(&defects) {
                let near = length(subtract(*v, *w)) <= radius + 1e-9;
                gauss += if near { *defect } else { 0.0 };
            }
            for bend in &bends {
                let segment = Segment::new(bend.ends, radius);
                let inside = segment.part_inside(*v) * segment.squared_length.sqrt();
                mean += bend.angle * inside / 2.0;
            }
        }
        [gauss, mean].map(|sum| sum / positions.len() as f64)
    }

    #[test]
    fn curvatures_equal_the_sum_over_all_pairs() {
        for (percent, spacing, radius) in
            [(20, [1.0; 3], 1.0), (50, [0.29, 0.108, 0.108], 0.15), (80, [0.5; 3], 1.3)]
        {
            let mesh = marching_cubes(&noise([5, 6, 7], percent, percent as u64));
            let positions = mesh.positions(spacing);
            let found = mean_curvatures(&mesh, &positions, spacing, radius);
            let expected = oracle(&mesh, &positions, radius);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0));
            }
        }
    }

    /// The defects of a closed surface add up to 2π times its Euler characteristic.
    #[test]
    fn a_ball_that_holds_everything_sees_the_whole_curvature() {
        let mesh = marching_cubes(&Volume::filled([2, 3, 4], true));
        let positions = mesh.positions([1.0; 3]);
        let [gauss, _] = mean_curvatures(&mesh, &positions, [1.0; 3], 100.0);
        assert!((gauss - 4.0 * PI).abs() < 1e-9);
    }

    #[test]
    fn concave_edges_count_below_zero() {
        let convex = Volume::filled([3, 3, 3], true);
        let notch = Volume::from_fn([3, 3, 3], |p| p != [1, 1, 2] && p != [1, 1, 1]);
        let mean = |mask: &Volume<bool>| {
            let mesh = marching_cubes(mask);
            let bends = bends(&mesh, &mesh.positions([1.0; 3]));
            bends.iter().map(|bend| bend.angle.signum()).fold(1.0, f64::min)
        };
        assert_eq!(mean(&convex), 1.0);
        assert_eq!(mean(&notch), -1.0);
    }

    #[test]
    fn lengths_in_a_ball_by_hand() {
        let length_in_ball = |ends: [Vector; 2], centre: Vector, radius: f64| {
            Segment::new(ends, radius).part_inside(centre) * length(subtract(ends[1], ends[0]))
        };
        let segment = [[0.0, 0.0, -3.0], [0.0, 0.0, 3.0]];
        assert_eq!(length_in_ball(segment, [0.0; 3], 1.0), 2.0);
        assert_eq!(length_in_ball(segment, [0.0, 1.0, 0.0], 1.0), 0.0);
        assert!((length_in_ball(segment, [0.0, 0.0, 3.0], 1.0) - 1.0).abs() < 1e-15);
        assert_eq!(length_in_ball([[0.0; 3], [0.0, 0.5, 0.0]], [0.0; 3], 1.0), 0.5);
    }
}
