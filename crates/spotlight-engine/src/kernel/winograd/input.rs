//! Tiles of the input, or of a gradient, to points.
//!
//! ```text
//! for each row of tiles:
//!   for each column x of voxels:  line[0..6][x] = Bᵀ (rows of the tile, normalised)  // shared by
//!   for each tile, each i of 6:   V[6 i .. 6 i + 6] = Bᵀ (line[i][6 columns])        // two tiles
//! ```

use super::{PATCH, Panel, Region, TILE, rows, transform};
use crate::{
    kernel::{
        source::{Law, Scratch, Shared, Source},
        vector::{Task, Vector},
    },
    tensor::BLOCK,
};

/// `Bᵀ d B` of one plane of one block: the input side of a convolution.
pub(crate) struct TransformInput<'a> {
    pub(crate) source: &'a Source<'a>,
    /// The tiles; its planes are those of the output.
    pub(crate) region: &'a Region,
    /// Sides of the volume.
    pub(crate) shape: [usize; 3],
    pub(crate) panel: &'a Panel,
    pub(crate) block: usize,
    /// Which of the panel's planes: number 0 is `reach` planes before the region's first.
    pub(crate) plane: usize,
    pub(crate) reach: usize,
    pub(crate) to: Shared,
}

impl Task for TransformInput<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { source, region, shape, panel, block, plane, reach, to } = self;
        let z = (region.z.start + plane).checked_sub(reach);
        let lines = Lines::new(region, 1, shape[2], source.shift());
        let mut scratch = Scratch::take(PATCH * lines.stride);
        let scratch = scratch.as_mut_ptr();
        for (index, sample) in region.samples.clone().enumerate() {
            for (row, tile_row) in region.rows.clone().enumerate() {
                let first = (TILE * tile_row).checked_sub(1);
                let from: [_; PATCH] = rows(source, shape, sample, z, first, 1);
                let tile = panel.offset(block, plane)
                    + (index * region.rows.len() + row) * region.columns.len() * BLOCK;
                // SAFETY: the caller vouches for the set and the panel, of which no other task
                // writes this plane; the scratch holds six lines.
                unsafe {
                    match source.law(sample) {
                        None => lines.down::<V, 6, false>(from, &[[0.0; BLOCK]; 2], scratch),
                        Some(law) => lines.down::<V, 6, true>(from, law, scratch),
                    }
                    lines.across::<V, 6>(scratch, to.get().add(tile), panel.point());
                }
            }
        }
    }
}

/// `A y Aᵀ` of one plane of one block: the gradient side of a correlation.
pub(crate) struct TransformGradient<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) region: &'a Region,
    /// Sides of the volume.
    pub(crate) shape: [usize; 3],
    pub(crate) panel: &'a Panel,
    pub(crate) block: usize,
    /// Which of the region's planes.
    pub(crate) plane: usize,
    pub(crate) to: Shared,
}

impl Task for TransformGradient<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { source, region, shape, panel, block, plane, to } = self;
        let z = region.z.start + plane;
        let lines = Lines::new(region, 0, shape[2], source.shift());
        let mut scratch = Scratch::take(PATCH * lines.stride);
        let scratch = scratch.as_mut_ptr();
        for (index, sample) in region.samples.clone().enumerate() {
            for (row, tile_row) in region.rows.clone().enumerate() {
                let from: [_; TILE] =
                    rows(source, shape, sample, Some(z), Some(TILE * tile_row), 0);
                let tile = panel.offset(block, plane)
                    + (index * region.rows.len() + row) * region.columns.len() * BLOCK;
                // SAFETY: as in `TransformInput`.
                unsafe {
                    match source.law(sample) {
                        None => lines.down::<V, 4, false>(from, &[[0.0; BLOCK]; 2], scratch),
                        Some(law) => lines.down::<V, 4, true>(from, law, scratch),
                    }
                    lines.across::<V, 4>(scratch, to.get().add(tile), panel.point());
                }
            }
        }
    }
}

/// Six lines of half-transformed columns, which start `border` voxels before the first tile.
struct Lines {
    /// Numbers from one line to the next.
    stride: usize,
    /// Columns of the first line that lie before the volume.
    before: usize,
    /// The volume's first column in the lines, and how many there are.
    start: usize,
    count: usize,
    tiles: usize,
    /// By how many bits columns are shifted to those of the stored voxels.
    shift: usize,
}

impl Lines {
    fn new(region: &Region, border: usize, width: usize, shift: usize) -> Self {
        let tiles = region.columns.len();
        let columns = TILE * tiles + 2 * border;
        let before = border.saturating_sub(TILE * region.columns.start);
        let start = (TILE * region.columns.start + before) - border;
        let count = (width - start).min(columns - before);
        Self { stride: columns * BLOCK, before, start, count, tiles, shift }
    }

    /// Transforms the columns of `N` rows; a row that is a null pointer is zero.
    #[inline(always)]
    unsafe fn down<V: Vector, const N: usize, const NORMALISE: bool>(
        &self,
        from: [*const f32; N],
        law: &Law,
        to: *mut f32,
    ) {
        // SAFETY: the caller vouches for rows of the whole width, for the lines and the set.
        unsafe {
            let [scale, shift] = law.each_ref().map(|law| V::load(law.as_ptr()));
            let zero = V::splat(0.0);
            for index in 0..PATCH {
                let line = to.add(index * self.stride);
                line.write_bytes(0, self.before * BLOCK);
                let end = (self.before + self.count) * BLOCK;
                line.add(end).write_bytes(0, self.stride - end);
            }
            let inside = from.iter().all(|row| !row.is_null());
            for column in 0..self.count {
                let x = ((self.start + column) >> self.shift) * BLOCK;
                let mut values = [zero; N];
                for (value, &row) in values.iter_mut().zip(&from) {
                    if inside || !row.is_null() {
                        *value = V::load(row.add(x));
                        if NORMALISE {
                            *value = value.mul_add(scale, shift).relu();
                        }
                    }
                }
                let to = to.add((self.before + column) * BLOCK);
                for (index, value) in along::<V, N>(values).into_iter().enumerate() {
                    value.store(to.add(index * self.stride));
                }
            }
        }
    }

    /// Transforms the lines of every tile; the points of a tile are `point` numbers apart.
    #[inline(always)]
    unsafe fn across<V: Vector, const N: usize>(
        &self,
        lines: *const f32,
        to: *mut f32,
        point: usize,
    ) {
        for tile in 0..self.tiles {
            for index in 0..PATCH {
                // SAFETY: the caller vouches for the lines, the panel and the set.
                unsafe {
                    let from = lines.add(index * self.stride + TILE * tile * BLOCK);
                    let mut values = [V::splat(0.0); N];
                    for (column, value) in values.iter_mut().enumerate() {
                        *value = V::load(from.add(column * BLOCK));
                    }
                    let to = to.add(index * PATCH * point + tile * BLOCK);
                    for (column, value) in along::<V, N>(values).into_iter().enumerate() {
                        value.store(to.add(column * point));
                    }
                }
            }
        }
    }
}

/// The transform of six inputs or of four gradients.
#[inline(always)]
unsafe fn along<V: Vector, const N: usize>(values: [V; N]) -> [V; PATCH] {
    // SAFETY: the caller vouches for the set; `N` is 6 or 4.
    unsafe {
        if N == PATCH {
            transform::input(std::array::from_fn(|index| values[index]))
        } else {
            transform::gradient(std::array::from_fn(|index| values[index]))
        }
    }
}
