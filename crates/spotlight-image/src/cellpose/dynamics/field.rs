//! Flows of the voxels that may lie in a cell, and of no others.
//!
//! A grid with a margin of one voxel holds for each voxel where its flow is stored; 0 is the
//! flow of all that lie in no cell or beyond the image, which is none. A flow is four numbers
//! (z, y, x and an unused one), so that a corner is one access to memory and one addition of
//! a vector, and the flows of a stack of nuclei fit a cache that those of all voxels do not.

use crate::{Shape, Volume};

/// A flow or a position: (z, y, x) and an unused number.
pub(super) type Lanes = [f32; 4];

/// The flows of cell voxels.
pub(super) struct Field {
    /// Shape of the image.
    pub(super) shape: Shape,
    /// The cell voxels in raster order, as offsets in the image.
    pub(super) cells: Vec<usize>,
    /// For each voxel of the image with its margin, the place of its flow in `flows`.
    places: Vec<u32>,
    /// The flows; the first is that of all other voxels.
    flows: Vec<Lanes>,
    /// Steps in `places` along (z, y).
    pub(super) strides: [usize; 2],
    margin: [usize; 3],
}

impl Field {
    /// The flows of those voxels of a grid that are in a cell; a plane that is looked at by
    /// itself needs no margin along z.
    ///
    /// # Panics
    ///
    /// If there are 2^32 cell voxels or more.
    pub(super) fn new(
        shape: Shape,
        margin: [usize; 3],
        is_cell: impl Fn(usize) -> bool,
        flow: impl Fn(usize) -> Lanes,
    ) -> Self {
        let outer: [usize; 3] = std::array::from_fn(|axis| shape[axis] + 2 * margin[axis]);
        let strides = [outer[1] * outer[2], outer[2]];
        let mut places = vec![0; outer[0] * strides[0]];
        let (mut cells, mut flows) = (Vec::new(), vec![[0.0; 4]]);
        let mut offset = 0;
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                let row = (z + margin[0]) * strides[0] + (y + margin[1]) * strides[1] + margin[2];
                for place in &mut places[row..row + shape[2]] {
                    if is_cell(offset) {
                        *place = u32::try_from(flows.len()).expect("fewer than 2^32 cell voxels");
                        cells.push(offset);
                        flows.push(flow(offset));
                    }
                    offset += 1;
                }
            }
        }
        Self { shape, cells, places, flows, strides, margin }
    }

    /// Where the flow of a voxel is looked up, from -1 to the length along an axis with a
    /// margin.
    #[inline]
    pub(super) fn lookup(&self, [z, y, x]: [i32; 3]) -> usize {
        let at = |index: i32, axis: usize| (index + self.margin[axis] as i32) as usize;
        at(z, 0) * self.strides[0] + at(y, 1) * self.strides[1] + at(x, 2)
    }

    /// The flow of the voxel at a lookup.
    #[inline]
    pub(super) fn at(&self, lookup: usize) -> Lanes {
        self.flows[self.places[lookup] as usize]
    }

    /// The flows of the voxel at a lookup and of the next along x.
    #[inline]
    pub(super) fn pair(&self, lookup: usize) -> [Lanes; 2] {
        let places = &self.places[lookup..lookup + 2];
        [self.flows[places[0] as usize], self.flows[places[1] as usize]]
    }

    /// The shape of the image and its cell voxels; the flows are given up.
    pub(super) fn into_cells(self) -> (Shape, Vec<usize>) {
        (self.shape, self.cells)
    }
}

/// Which voxels have a logit above the threshold, which is rounded to f32 as NumPy does.
pub(super) fn cells_of(logit: &Volume<f32>, threshold: f64) -> impl Fn(usize) -> bool + Copy {
    let threshold = threshold as f32;
    move |offset| logit.voxels[offset] > threshold
}
