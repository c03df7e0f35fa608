//! The 3×3×3 convolution with fewer multiplications: Winograd's F(4×4, 3×3) in the plane, directly
//! along z.
//!
//! ```text
//! for each region: some planes of T tiles, each with 4×4 outputs and 6×6 inputs
//!   V[p] = Bᵀ d B            36 numbers p a tile and channel, from the normalised input   (input)
//!   M[p] = Σ_kz V[p] U[p]    a product of matrices for each p; a tile's plane is moved
//!                            by kz planes, which is kz·T rows further in V               (multiply)
//!   y = Aᵀ M A + bias        4×4 outputs a tile and channel                              (output)
//! with U[p] = G g Gᵀ for each plane kz of the weights                                    (weights)
//! ```
//! A tile costs 36·3 multiplications in place of 16·27: a quarter. The backward pass for the data
//! is the same with other weights. The gradient of the weights goes the same way backwards:
//!
//! ```text
//! W[p] = A dy Aᵀ;    dU[p] = Σ_tiles V[p]ᵀ W[p];    dg = Gᵀ dU G                         (correlate)
//! ```
//! Rounding errors are about four times those of the direct sum.
//!
//! Reference: A. Lavin and S. Gray (2016), "Fast algorithms for convolutional neural networks".

pub(crate) mod correlate;
pub(crate) mod input;
pub(crate) mod multiply;
pub(crate) mod output;
mod transform;
pub(crate) mod weights;

use std::ops::Range;

use super::source::{Shared, Source};
use crate::tensor::BLOCK;

/// Outputs of a tile along y and along x.
pub(crate) const TILE: usize = 4;

/// Inputs of a tile along y and along x.
pub(crate) const PATCH: usize = TILE + 2;

/// Numbers a tile has after the transform, for each channel and plane.
pub(crate) const POINTS: usize = PATCH * PATCH;

/// A box of tiles of some samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) samples: Range<usize>,
    /// Output planes.
    pub(crate) z: Range<usize>,
    /// Rows of tiles.
    pub(crate) rows: Range<usize>,
    /// Columns of tiles.
    pub(crate) columns: Range<usize>,
}

impl Region {
    /// Tiles of one plane of all samples.
    pub(crate) fn tiles(&self) -> usize {
        self.samples.len() * self.rows.len() * self.columns.len()
    }

    /// The same tiles in other planes.
    pub(crate) fn planes(&self, z: Range<usize>) -> Self {
        Self { z, ..self.clone() }
    }
}

/// Transformed tiles: `[point][block][plane][tile][16]`.
///
/// The rows of the matrix of a point are the tiles of all planes, one plane after the other, so
/// that a step along z is a step of `tiles` rows. The tiles of several samples lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panel {
    pub(crate) blocks: usize,
    pub(crate) planes: usize,
    /// Tiles of one plane of all samples.
    pub(crate) tiles: usize,
}

impl Panel {
    /// Numbers from one plane to the next.
    pub(crate) fn plane(&self) -> usize {
        self.tiles * BLOCK
    }

    /// Numbers from one block to the next.
    pub(crate) fn block(&self) -> usize {
        self.planes * self.plane()
    }

    /// Numbers from one point to the next: an odd number of cache lines, so that the points of a
    /// tile lie in different sets of the cache.
    pub(crate) fn point(&self) -> usize {
        ((self.blocks * self.block() / BLOCK) | 1) * BLOCK
    }

    /// Numbers of the whole panel.
    pub(crate) fn len(&self) -> usize {
        POINTS * self.point()
    }

    /// Where a plane of a block starts in the matrix of point 0.
    pub(crate) fn offset(&self, block: usize, plane: usize) -> usize {
        block * self.block() + plane * self.plane()
    }
}

/// Rows of one channel block that surround a row of tiles: a null pointer where they are outside
/// the volume.
fn rows<const N: usize>(
    source: &Source<'_>,
    [depth, height, _]: [usize; 3],
    sample: usize,
    z: Option<usize>,
    first: Option<usize>,
    before: usize,
) -> [*const f32; N] {
    // The first row is `first`, or lies `before` rows above the volume.
    std::array::from_fn(|index| {
        let y = match first {
            Some(first) => Some(first + index),
            None => index.checked_sub(before),
        };
        match (z.filter(|&z| z < depth), y.filter(|&y| y < height)) {
            (Some(z), Some(y)) => source.row(sample, z, y).as_ptr().cast(),
            _ => std::ptr::null(),
        }
    })
}

/// Moves the last two planes of a panel to its start, where they are the first two of the next
/// planes along z.
///
/// # Safety
///
/// The panel is good for all its numbers, and no other task uses it.
pub(crate) unsafe fn roll(panel: &Panel, values: Shared) {
    let two = 2 * panel.plane();
    for point in 0..POINTS {
        for block in 0..panel.blocks {
            let to = point * panel.point() + panel.offset(block, 0);
            // SAFETY: both places lie in the panel; they may overlap where it is short.
            unsafe {
                let to = values.get().add(to);
                to.add(panel.block() - two).copy_to(to, two);
            }
        }
    }
}
