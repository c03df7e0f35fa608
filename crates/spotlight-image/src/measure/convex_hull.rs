//! Exact convex hull of points on a grid (quickhull in whole numbers).
//!
//! All points whose hull is needed lie on a lattice: voxel centres, and the midpoints of voxel
//! faces, which are whole numbers in half voxels. Which side of a plane such a point lies on is
//! the sign of a whole number, so the hull has no tolerance, no rounding and no special cases,
//! and a voxel size can be applied afterwards: scaling the axes keeps a hull a hull. Own code
//! because hulls in floating point (Qhull, the crate imgal) decide coplanar points by a
//! tolerance, and on a voxel grid almost all points are coplanar with others.
//!
//! ```text
//! keep the corners of the 2D hull of each plane z       (most points go here)
//! start with a tetrahedron; every facet lists points that see it from outside
//! while a facet has such points:
//!     apex    = the point furthest above the facet
//!     visible = facets that the apex sees, a connected patch
//!     replace the patch by a fan from its border to the apex
//!     deal the points of the patch to the new facets
//! ```
//!
//! Reference: C. B. Barber, D. P. Dobkin, H. Huhdanpaa (1996), "The quickhull algorithm for
//! convex hulls".

use std::cmp::Reverse;

/// A point of a lattice (z, y, x). Coordinates and their differences must not pass 2²⁰, so that
/// the products of three of them fit into 64 bits.
pub(super) type Point = [i32; 3];

/// A convex polyhedron of triangles.
#[derive(Clone, Debug, Default)]
pub(super) struct ConvexHull {
    /// The corners.
    pub(super) points: Vec<Point>,
    /// Corners of each triangle, counter-clockwise seen from outside. Several triangles may
    /// lie in one plane.
    pub(super) facets: Vec<[u32; 3]>,
}

impl ConvexHull {
    /// The corners of a triangle.
    pub(super) fn corners(&self, facet: [u32; 3]) -> [Point; 3] {
        facet.map(|corner| self.points[corner as usize])
    }
}

/// Convex hull of points; no facets if all of them lie in one plane.
pub(super) fn convex_hull(points: Vec<Point>) -> ConvexHull {
    let points = corners_in_planes(points);
    let Some(simplex) = simplex(&points) else { return ConvexHull::default() };
    let mut quickhull = Quickhull::new(&points);
    quickhull.start(simplex);
    while let Some(facet) = quickhull.pending.pop() {
        quickhull.extend_beyond(facet);
    }
    quickhull.finish()
}

/// The corners of the 2D convex hull of the points in each plane of constant z, sorted.
///
/// Every corner of the hull of all points is one of these.
pub(super) fn corners_in_planes(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_unstable();
    points.dedup();
    let mut corners = Vec::new();
    for plane in points.chunk_by(|a, b| a[0] == b[0]) {
        // Andrew's monotone chain: the hull's one side forwards, its other side backwards.
        let first = corners.len();
        chain(&mut corners, first, plane.iter());
        if plane.len() > 1 {
            let turn = corners.len() - 1;
            chain(&mut corners, turn, plane.iter().rev());
            corners.pop();
        }
        corners[first..].sort_unstable();
    }
    corners
}

/// Appends points of a plane, dropping those before that do not make a left turn.
fn chain<'a>(corners: &mut Vec<Point>, first: usize, points: impl Iterator<Item = &'a Point>) {
    for point in points {
        while let [.., a, b] = corners[first..] {
            let [_, u1, u2] = difference(b, a);
            let [_, v1, v2] = difference(*point, a);
            if u1 * v2 - u2 * v1 > 0 {
                break;
            }
            corners.pop();
        }
        if corners[first..].last() != Some(point) {
            corners.push(*point);
        }
    }
}

fn difference(a: Point, b: Point) -> [i64; 3] {
    [0, 1, 2].map(|axis| i64::from(a[axis]) - i64::from(b[axis]))
}

/// Vector at right angles to two edges of a triangle, outwards if they turn left.
pub(super) fn normal([a, b, c]: [Point; 3]) -> [i64; 3] {
    let (u, v) = (difference(b, a), difference(c, a));
    [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
}

fn dot(a: [i64; 3], b: [i64; 3]) -> i64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Four points that are not in one plane, the fourth below the triangle of the others.
fn simplex(points: &[Point]) -> Option<[usize; 4]> {
    let first = *points.first()?;
    let furthest = |measure: &dyn Fn(Point) -> i64| {
        let best = (0..points.len()).max_by_key(|i| (measure(points[*i]), Reverse(*i)))?;
        (measure(points[best]) > 0).then_some(best)
    };
    let size = |v: [i64; 3]| v.iter().map(|x| x.abs()).max().unwrap_or(0);
    let second = furthest(&|p| size(difference(p, first)))?;
    let third = furthest(&|p| size(normal([first, points[second], p])))?;
    let up = normal([first, points[second], points[third]]);
    let fourth = furthest(&|p| dot(up, difference(p, first)).abs())?;
    let above = dot(up, difference(points[fourth], first)) > 0;
    Some(if above { [0, third, second, fourth] } else { [0, second, third, fourth] })
}

/// A triangle of the growing hull.
#[derive(Debug)]
struct Facet {
    corners: [u32; 3],
    /// The facet across the edge from corner i to corner i + 1.
    neighbours: [u32; 3],
    normal: [i64; 3],
    /// Product of the normal with the facet's own points.
    offset: i64,
    /// Points strictly above the facet that no earlier facet took.
    outside: Vec<u32>,
    alive: bool,
}

/// An edge between the patch that an apex sees and the rest of the hull.
#[derive(Clone, Copy, Debug)]
struct BorderEdge {
    from: u32,
    to: u32,
    /// The facet beyond.
    beyond: u32,
}

struct Quickhull<'a> {
    points: &'a [Point],
    /// The points once more, to compute with.
    wide: Vec<[i64; 3]>,
    facets: Vec<Facet>,
    /// Facets that may have points outside.
    pending: Vec<u32>,
    /// Of the patch that is being replaced: facets to look at, their points, its border.
    patch: Vec<u32>,
    orphans: Vec<u32>,
    border: Vec<BorderEdge>,
}

impl<'a> Quickhull<'a> {
    fn new(points: &'a [Point]) -> Self {
        Self {
            points,
            wide: points.iter().map(|point| point.map(i64::from)).collect(),
            facets: Vec::with_capacity(8 * points.len()),
            pending: Vec::new(),
            patch: Vec::new(),
            orphans: Vec::new(),
            border: Vec::new(),
        }
    }

    fn start(&mut self, [a, b, c, d]: [usize; 4]) {
        let [a, b, c, d] = [a, b, c, d].map(|corner| corner as u32);
        self.add([a, b, c], [3, 1, 2]);
        self.add([c, b, d], [0, 3, 2]);
        self.add([a, c, d], [0, 1, 3]);
        self.add([b, a, d], [0, 2, 1]);
        self.orphans.extend(0..self.points.len() as u32);
        self.deal(0);
    }

    fn add(&mut self, corners: [u32; 3], neighbours: [u32; 3]) {
        let normal = normal(corners.map(|corner| self.points[corner as usize]));
        let offset = dot(normal, self.wide[corners[0] as usize]);
        let outside = Vec::new();
        self.facets.push(Facet { corners, neighbours, normal, offset, outside, alive: true });
    }

    /// How far a point is above a facet, in units of the facet's normal.
    fn height(&self, facet: u32, point: u32) -> i64 {
        let facet = &self.facets[facet as usize];
        dot(facet.normal, self.wide[point as usize]) - facet.offset
    }

    /// Gives each orphan to the first facet from `first` on that it is above.
    fn deal(&mut self, first: u32) {
        for point in &self.orphans {
            let position = self.wide[*point as usize];
            let above = |facet: &&mut Facet| dot(facet.normal, position) > facet.offset;
            if let Some(facet) = self.facets[first as usize..].iter_mut().find(above) {
                facet.outside.push(*point);
            }
        }
        self.orphans.clear();
        let facets = first..self.facets.len() as u32;
        self.pending.extend(facets.filter(|f| !self.facets[*f as usize].outside.is_empty()));
    }

    fn extend_beyond(&mut self, facet: u32) {
        let outside = &self.facets[facet as usize].outside;
        let key = |point: &&u32| (self.height(facet, **point), Reverse(**point));
        let Some(apex) = outside.iter().max_by_key(key).copied() else { return };
        self.remove_visible(facet, apex);
        let border = std::mem::take(&mut self.border);
        let first = self.facets.len() as u32;
        let count = border.len() as u32;
        for (i, edge) in (0..).zip(&border) {
            let (next, before) = (first + (i + 1) % count, first + (i + count - 1) % count);
            self.add([edge.from, edge.to, apex], [edge.beyond, next, before]);
            let beyond = &mut self.facets[edge.beyond as usize];
            if let Some(side) = (0..3).find(|side| beyond.corners[*side] == edge.to) {
                beyond.neighbours[side] = first + i;
            }
        }
        self.border = border;
        self.deal(first);
    }

    /// Removes the patch of facets that the apex is above; their points become orphans, and
    /// the border of the patch is noted edge after edge.
    fn remove_visible(&mut self, facet: u32, apex: u32) {
        self.border.clear();
        self.patch.push(facet);
        self.facets[facet as usize].alive = false;
        while let Some(facet) = self.patch.pop() {
            self.orphans.append(&mut self.facets[facet as usize].outside);
            let Facet { corners, neighbours, .. } = self.facets[facet as usize];
            for (side, beyond) in neighbours.into_iter().enumerate() {
                if !self.facets[beyond as usize].alive {
                    continue;
                }
                if self.height(beyond, apex) > 0 {
                    self.facets[beyond as usize].alive = false;
                    self.patch.push(beyond);
                } else {
                    let (from, to) = (corners[side], corners[(side + 1) % 3]);
                    self.border.push(BorderEdge { from, to, beyond });
                }
            }
        }
        bring_into_order(&mut self.border);
    }

    fn finish(self) -> ConvexHull {
        let alive = self.facets.iter().filter(|facet| facet.alive);
        let mut used: Vec<u32> = alive.clone().flat_map(|facet| facet.corners).collect();
        used.sort_unstable();
        used.dedup();
        let place = |corner: u32| used.partition_point(|other| *other < corner) as u32;
        ConvexHull {
            facets: alive.map(|facet| facet.corners.map(place)).collect(),
            points: used.iter().map(|corner| self.points[*corner as usize]).collect(),
        }
    }
}

/// Brings the edges of a closed border into the order in which they follow each other.
fn bring_into_order(border: &mut [BorderEdge]) {
    for i in 1..border.len() {
        let corner = border[i - 1].to;
        if let Some(next) = (i..border.len()).find(|j| border[*j].from == corner) {
            border.swap(i, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points from a little generator; few different coordinates make many coplanar ones.
    fn points(seed: u64, count: usize, range: u64) -> Vec<Point> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % range
        };
        (0..count).map(|_| [0; 3].map(|_: i32| next() as i32 - 3)).collect()
    }

    fn height([a, b, c]: [Point; 3], point: Point) -> i64 {
        dot(normal([a, b, c]), difference(point, a))
    }

    fn check(points: &[Point]) -> ConvexHull {
        let hull = convex_hull(points.to_vec());
        for facet in &hull.facets {
            let corners = hull.corners(*facet);
            assert_ne!(normal(corners), [0; 3], "a facet without area");
            assert!(points.iter().all(|point| height(corners, *point) <= 0));
        }
        for facet in &hull.facets {
            for side in 0..3 {
                let edge = [facet[(side + 1) % 3], facet[side]];
                let is_back = |f: &&[u32; 3]| (0..3).any(|s| [f[s], f[(s + 1) % 3]] == edge);
                assert_eq!(hull.facets.iter().filter(is_back).count(), 1, "not closed");
            }
        }
        assert!(hull.points.iter().all(|corner| points.contains(corner)));
        // Euler's polyhedron formula for triangles.
        assert_eq!(hull.facets.len(), 2 * hull.points.len() - 4);
        hull
    }

    #[test]
    fn hulls_are_convex_closed_and_hold_all_points() {
        for seed in 0..60 {
            check(&points(seed, 10 + 5 * seed as usize, 3 + seed % 9));
        }
    }

    #[test]
    fn the_hull_of_a_cube_has_eight_corners() {
        let cube = points(1, 3000, 5);
        let hull = check(&cube);
        assert_eq!(hull.points.len(), 8);
        assert_eq!(hull.facets.len(), 12);
    }

    #[test]
    fn flat_sets_have_no_facets() {
        for flat in [vec![], vec![[1, 2, 3]], vec![[0, 0, 0], [5, 5, 5]]] {
            assert!(convex_hull(flat).facets.is_empty());
        }
        let plane: Vec<Point> = points(7, 100, 6).iter().map(|p| [p[1], p[1], p[2]]).collect();
        assert!(convex_hull(plane).facets.is_empty());
    }

    #[test]
    fn corners_in_planes_drop_points_on_edges() {
        let square = [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 2, 0], [0, 2, 2], [0, 1, 1], [4, 1, 1]];
        let corners = corners_in_planes(square.to_vec());
        assert_eq!(corners, [[0, 0, 0], [0, 0, 2], [0, 2, 0], [0, 2, 2], [4, 1, 1]]);
        assert_eq!(corners_in_planes(vec![[0, 1, 1], [0, 1, 3], [0, 1, 2]]).len(), 2);
    }

    #[test]
    fn coordinates_may_be_large() {
        let (low, high) = (-(1 << 19), 1 << 19);
        let mut all = vec![[low, low, low], [high, low, low], [low, high, low], [low, low, high]];
        all.push([low / 2, low / 2, low / 2]);
        all.push([high, high, high]);
        assert_eq!(check(&all).points.len(), 5);
    }
}
