//! Label images that are compared and measured part by part, each voxel of a grid with the label
//! of the nearest one of the file.

use std::path::Path;

use anyhow::Result;
use spotlight_image::evaluate::{Overlap, OverlapCounts};
use spotlight_image::grid::{boxes_of_blocks, voxel_count};
use spotlight_image::measure::{
    FieldBox, MeasureMemory, MeasureOptions, ObjectSearch, batches, measure_batches,
};
use spotlight_image::{Region, Shape, Volume};
use spotlight_io::{Image, OpenStack, Selection};

use super::objects::{Features, rows};
use crate::cli::failure;
use crate::cli::labels::{label_reading_bytes, labels_of_box, object_too_large, on_grid};

/// Bytes that comparing or measuring whole label images takes for each voxel, beside the labels.
const WORKING_BYTES: u64 = 16;

/// A label image that is open, on a grid of its field.
#[derive(Debug)]
pub(super) struct LabelStack {
    stack: OpenStack,
    /// Which voxel of the file stands at each place of the grid, along (z, y, x).
    places: [Vec<u32>; 3],
}

impl LabelStack {
    /// On its own grid.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let stack = Image::open(path)?.stack(&Selection::default())?;
        let places = stack.shape().map(|length| (0..length as u32).collect());
        Ok(Self { stack, places })
    }

    /// On another grid of the same field.
    pub(super) fn onto(mut self, shape: Shape) -> Self {
        for (axis, places) in self.places.iter_mut().enumerate() {
            let along = |length: usize| {
                let mut shape = [1; 3];
                shape[axis] = length;
                shape
            };
            let line = Volume::new(along(places.len()), std::mem::take(places));
            *places = on_grid(&line, along(shape[axis])).voxels;
        }
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.stack.path()
    }

    pub(super) fn spacing_um(&self) -> Option<[f64; 3]> {
        self.stack.spacing_um()
    }

    /// Number of voxels of the grid.
    pub(super) fn shape(&self) -> Shape {
        self.places.each_ref().map(Vec::len)
    }

    /// Bytes that the whole image takes while it is compared.
    pub(super) fn whole_bytes(&self) -> u64 {
        let of_voxel = label_reading_bytes(self.stack.sample_type()) + WORKING_BYTES;
        of_voxel.saturating_mul(voxel_count(self.stack.shape()) as u64)
    }

    /// Bytes that a voxel of a box takes while it is read: the box of the file, and the labels.
    fn bytes_per_voxel(&self) -> u64 {
        let file = self.stack.shape();
        let longer = |axis: usize| (file[axis] as u64).div_ceil(self.shape()[axis].max(1) as u64);
        4 + label_reading_bytes(self.stack.sample_type()) * (0..3).map(longer).product::<u64>()
    }

    /// The labels of a box of the grid.
    pub(super) fn read(&self, region: Region) -> Result<Volume<u32>> {
        let stop = region.stop();
        let places: [&[u32]; 3] =
            std::array::from_fn(|axis| &self.places[axis][region.start[axis]..stop[axis]]);
        let first = places.map(|places| places.iter().copied().min().unwrap_or(0) as usize);
        let last = places.map(|places| places.iter().copied().max().unwrap_or(0) as usize);
        let shape = std::array::from_fn(|axis| last[axis] + 1 - first[axis]);
        let from = Region { start: first, shape };
        let read = labels_of_box(self.stack.read(from)?, first, self.path())?;
        if shape == region.shape {
            return Ok(read);
        }
        Ok(Volume::from_fn(region.shape, |at| {
            let from = [0, 1, 2].map(|axis| places[axis][at[axis]] as usize - first[axis]);
            read.voxels[read.offset(from)]
        }))
    }

    /// Boxes that cover the grid, of so many bytes while they are read.
    fn parts(&self, bytes: u64) -> Vec<Region> {
        let most = usize::try_from(bytes / self.bytes_per_voxel()).unwrap_or(usize::MAX);
        boxes_of_blocks(self.shape(), self.stack.block(), most)
    }

    /// Makes sure that the objects have numbers of their own: pieces of a mask can be numbered
    /// only where all of it is in memory.
    pub(super) fn check_numbered(&self, memory_bytes: u64) -> Result<()> {
        let mut value = 0;
        for part in self.parts(memory_bytes) {
            for label in self.read(part)?.voxels {
                if label != 0 && value != 0 && label != value {
                    return Ok(());
                }
                value = value.max(label);
            }
        }
        if value == 0 {
            return Ok(());
        }
        let (path, bytes) = (self.path().display(), self.whole_bytes());
        Err(failure(
            format!(
                "{path}: all objects have the value {value}; numbering them needs {bytes} bytes"
            ),
            format!(
                "give each object its own number, or allow them with --memory {}MiB",
                bytes.div_ceil(1 << 20)
            ),
        ))
    }

    /// The features of shape of all objects, in voxels of the grid.
    pub(super) fn features(&self, memory_bytes: u64) -> Result<Features> {
        let mut search = ObjectSearch::new(self.shape());
        for part in self.parts(memory_bytes) {
            search.add(part.start, &self.read(part)?);
        }
        let objects = search.finish();
        let memory = MeasureMemory {
            bytes: memory_bytes,
            bytes_per_voxel: self.bytes_per_voxel(),
            threads: rayon::current_num_threads(),
        };
        let batches =
            batches(&objects, &memory).map_err(|large| object_too_large(self.path(), &large))?;
        let read = |region| anyhow::Ok(FieldBox { labels: self.read(region)?, images: Vec::new() });
        let options = MeasureOptions::default();
        Ok(rows(&measure_batches(objects, &[], &options, &batches, read, &|_, _| ())?))
    }
}

/// Sizes and overlaps of the objects of two label images on one grid.
pub(super) fn overlap_of_parts(
    truth: &LabelStack,
    labels: &LabelStack,
    memory_bytes: u64,
) -> Result<Overlap> {
    let mut counts = OverlapCounts::default();
    let share = labels.bytes_per_voxel();
    let bytes = memory_bytes / (truth.bytes_per_voxel() + share) * share;
    for part in labels.parts(bytes) {
        counts.add(&truth.read(part)?, &labels.read(part)?);
    }
    Ok(counts.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use spotlight_image::evaluate::overlap;
    use spotlight_io::{OutputChannel, Voxels, WriteOptions, write_ome_tiff};

    fn written(folder: &Path, name: &str, labels: &Volume<u32>) -> LabelStack {
        let voxels = Voxels::U32(labels.clone());
        let channel = OutputChannel { name: "only", voxels: &voxels };
        let path = folder.join(name);
        write_ome_tiff(&path, &[channel], None, &WriteOptions::default()).unwrap();
        LabelStack::open(&path).unwrap()
    }

    #[test]
    fn parts_on_half_the_grid_are_those_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let truth = Volume::from_fn([9, 40, 51], |[z, y, x]| {
            u32::from((z * y + x) % 5 > 0) * (1 + z / 5 * 100 + y / 9 * 10 + x / 12) as u32
        });
        for shape in [[9, 40, 51], [9, 20, 26], [4, 20, 26]] {
            let whole = on_grid(&truth, shape);
            let predicted = whole.map(|label| label / 2);
            let true_stack = written(folder.path(), &format!("t{shape:?}.tif"), &truth);
            let true_stack = true_stack.onto(shape);
            let stack = written(folder.path(), &format!("p{shape:?}.tif"), &predicted);
            assert_eq!(true_stack.shape(), shape);
            assert_eq!(true_stack.read(Region::whole(shape)).unwrap(), whole);
            for bytes in [1 << 30, 60_000] {
                let found = overlap_of_parts(&true_stack, &stack, bytes).unwrap();
                assert_eq!(found, overlap(&whole, &predicted));
            }
            let features = true_stack.features(200_000).unwrap();
            assert_eq!(features, true_stack.features(1 << 30).unwrap());
            assert!(true_stack.check_numbered(60_000).is_ok());
        }
    }

    #[test]
    fn a_mask_is_refused_and_an_empty_image_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mask = Volume::from_fn([3, 9, 9], |[z, ..]| if z == 1 { 0 } else { 255 });
        let found = written(folder.path(), "mask.tif", &mask).check_numbered(500);
        let message = found.unwrap_err().to_string();
        assert!(message.contains("mask.tif") && message.contains("255"), "{message}");
        let empty = written(folder.path(), "none.tif", &mask.map(|_| 0));
        assert!(empty.check_numbered(500).is_ok());
        assert!(empty.features(500).unwrap().is_empty());
    }
}
