//! Following the flow from each cell voxel, in small steps, to where it ends.
//!
//! ```text
//! p = index of the voxel
//! repeat: p = clamp(p + v(p), 0, n - 1),  v = flow / 5
//! ```
//!
//! In a stack, v is taken as by PyTorch's `grid_sample` without aligned corners, which the
//! reference feeds with positions from -1 to 1 that are made for aligned ones: v(p) is the
//! trilinear interpolation at `p n / (n - 1) - 1/2`, and 0 beyond the image. In a plane it is
//! the bilinear interpolation at p.
//!
//! All is done in the order and precision of the reference, so that positions agree to the
//! last bit: around the end of a flow, positions jump, and any difference would grow.
//!
//! A walk that comes back to a position it had before goes round for ever. That is found by
//! Brent's method (R. P. Brent, BIT 20, 1980), and only the rest of the last round is walked,
//! which ends in the same position.

use rayon::prelude::*;

use super::field::{Field, Lanes};
use crate::grid::index_of;

/// Walks that one thread follows side by side.
const WALKS: usize = 256;

/// A rule of motion on a field; positions are indices unless it has others.
pub(super) trait Motion: Sync {
    /// The position one step later.
    fn step(&self, at: Lanes) -> Lanes;

    /// The position of a voxel.
    fn start(&self, index: [usize; 3]) -> Lanes {
        let [z, y, x] = index.map(|index| index as f32);
        [z, y, x, 0.0]
    }

    /// The index along (z, y, x) of a position.
    fn position(&self, at: Lanes) -> [f32; 3] {
        [at[0], at[1], at[2]]
    }
}

/// Follows the flow from each cell voxel and tells what `end` says of the last position.
pub(super) fn follow<T: Send>(
    field: &Field,
    motion: &impl Motion,
    steps: usize,
    end: impl Fn([f32; 3]) -> T + Sync,
) -> Vec<T> {
    let walk = |cells: &[usize]| {
        let mut at: Vec<Lanes> =
            cells.iter().map(|cell| motion.start(index_of(field.shape, *cell))).collect();
        walk_all(&mut at, motion, steps);
        at.into_iter().map(|at| end(motion.position(at))).collect::<Vec<T>>()
    };
    let chunks: Vec<Vec<T>> = field.cells.par_chunks(WALKS).map(walk).collect();
    chunks.into_iter().flatten().collect()
}

/// A walk under way.
struct Walk {
    at: Lanes,
    /// An earlier position, with which later ones are compared.
    earlier: Lanes,
    /// Steps since that position, and after how many a newer one is taken.
    since: usize,
    until: usize,
    left: usize,
    number: usize,
}

/// Side by side, as a step of one walk has to wait for the one before.
fn walk_all(positions: &mut [Lanes], motion: &impl Motion, steps: usize) {
    if steps == 0 {
        return;
    }
    let begin = |(number, at): (usize, &Lanes)| Walk {
        at: *at,
        earlier: *at,
        since: 0,
        until: 1,
        left: steps,
        number,
    };
    let mut walks: Vec<Walk> = positions.iter().enumerate().map(begin).collect();
    while !walks.is_empty() {
        walks.retain_mut(|walk| {
            walk.at = motion.step(walk.at);
            walk.left -= 1;
            walk.since += 1;
            if walk.at == walk.earlier {
                walk.left %= walk.since;
            }
            if walk.since == walk.until {
                (walk.earlier, walk.since, walk.until) = (walk.at, 0, 2 * walk.until);
            }
            if walk.left == 0 {
                positions[walk.number] = walk.at;
            }
            walk.left > 0
        });
    }
}

/// Trilinear interpolation in a stack, on positions from -1 to 1.
pub(super) struct InStack<'a> {
    field: &'a Field,
    /// Lengths, and lengths less 1.
    length: Lanes,
    last: Lanes,
}

impl<'a> InStack<'a> {
    /// Takes a field whose flows are from [`InStack::flow`].
    pub(super) fn new(field: &'a Field) -> Self {
        let [z, y, x] = field.shape.map(|length| length as f32);
        let length = [z, y, x, 1.0];
        Self { field, length, last: length.map(|length| length - 1.0) }
    }

    /// A flow for positions from -1 to 1. Along an axis of one voxel nothing moves.
    pub(super) fn flow(shape: [usize; 3], flow: [f32; 3]) -> Lanes {
        let scaled = |axis: usize| match shape[axis] {
            1 => 0.0,
            length => flow[axis] / 5.0 * (2.0 / (length as f64 - 1.0)) as f32,
        };
        [scaled(0), scaled(1), scaled(2), 0.0]
    }
}

impl Motion for InStack<'_> {
    fn start(&self, index: [usize; 3]) -> Lanes {
        let start = |axis: usize| match self.field.shape[axis] {
            1 => 0.0,
            _ => index[axis] as f32 / self.last[axis] * 2.0 - 1.0,
        };
        [start(0), start(1), start(2), 0.0]
    }

    #[inline]
    fn step(&self, at: Lanes) -> Lanes {
        // Where to take the flow, the voxel below and the weights of it and the next.
        let (mut below, mut low, mut high) = ([0; 4], [0.0; 4], [0.0; 4]);
        for axis in 0..4 {
            let place = ((at[axis] + 1.0) * self.length[axis] - 1.0) / 2.0;
            let whole = place as i32;
            below[axis] = whole - i32::from(place < whole as f32);
            high[axis] = place - below[axis] as f32;
            low[axis] = (below[axis] + 1) as f32 - place;
        }
        let first = self.field.lookup([below[0], below[1], below[2]]);
        let [plane, row] = self.field.strides;
        let mut flow = [0.0; 4];
        for (z, z_weight) in [low[0], high[0]].into_iter().enumerate() {
            for (y, y_weight) in [low[1], high[1]].into_iter().enumerate() {
                let pair = self.field.pair(first + z * plane + y * row);
                for (corner, x_weight) in pair.into_iter().zip([low[2], high[2]]) {
                    let weight = x_weight * y_weight * z_weight;
                    for axis in 0..4 {
                        flow[axis] += corner[axis] * weight;
                    }
                }
            }
        }
        std::array::from_fn(|axis| (at[axis] + flow[axis]).clamp(-1.0, 1.0))
    }

    fn position(&self, at: Lanes) -> [f32; 3] {
        std::array::from_fn(|axis| (at[axis] + 1.0) * 0.5 * self.last[axis])
    }
}

/// Bilinear interpolation in a plane.
pub(super) struct InPlane<'a> {
    field: &'a Field,
}

impl<'a> InPlane<'a> {
    /// Takes a field of one plane whose flows are in pixels a step.
    pub(super) fn new(field: &'a Field) -> Self {
        Self { field }
    }
}

impl Motion for InPlane<'_> {
    #[inline]
    fn step(&self, at: Lanes) -> Lanes {
        let [y, x] = [at[1] as i32, at[2] as i32];
        let [down, across] = [f64::from(at[1]) - f64::from(y), f64::from(at[2]) - f64::from(x)];
        let first = self.field.lookup([0, y, x]);
        let [above, below] = [first, first + self.field.strides[1]].map(|at| self.field.pair(at));
        let mut next = at;
        for axis in 1..3 {
            let part = |flow: &Lanes, y: f64, x: f64| f64::from(flow[axis]) * y * x;
            let flow = part(&above[0], 1.0 - down, 1.0 - across)
                + part(&above[1], 1.0 - down, across)
                + part(&below[0], down, 1.0 - across)
                + part(&below[1], down, across);
            let last = self.field.shape[axis] as f32 - 1.0;
            next[axis] = (at[axis] + flow as f32).clamp(0.0, last);
        }
        next
    }
}

/// No interpolation: the flow of the voxel that a position lies in.
pub(super) struct ByVoxel<'a> {
    field: &'a Field,
}

impl<'a> ByVoxel<'a> {
    /// Takes a field whose flows are in voxels a step.
    pub(super) fn new(field: &'a Field) -> Self {
        Self { field }
    }
}

impl Motion for ByVoxel<'_> {
    #[inline]
    fn step(&self, at: Lanes) -> Lanes {
        let flow = self.field.at(self.field.lookup([at[0] as i32, at[1] as i32, at[2] as i32]));
        let mut next = at;
        for axis in 0..3 {
            let last = self.field.shape[axis] as f32 - 1.0;
            next[axis] = (at[axis] + flow[axis]).clamp(0.0, last);
        }
        next
    }
}
