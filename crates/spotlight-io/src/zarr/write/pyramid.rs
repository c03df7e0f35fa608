//! The lower levels of a store, each made from the one before, a unit at a time.

use rayon::prelude::*;
use spotlight_image::Volume;
use spotlight_image::Voxel;
use spotlight_image::grid::{Region, Shape};
use zarrs::array::{ArraySubset, CodecOptions, ElementOwned};

use super::progress::Mark;
use super::reduce::{Mean, first_of_block, local_mean};
use super::writer::ZarrWriter;
use crate::Error;
use crate::voxels::{SampleType, Voxels, on_volume};

/// Calls a generic function of the writer with the type of its numbers.
macro_rules! typed {
    ($sample_type:expr, $type:ident => $result:expr) => {
        match $sample_type {
            SampleType::U8 => {
                type $type = u8;
                $result
            }
            SampleType::I8 => {
                type $type = i8;
                $result
            }
            SampleType::U16 => {
                type $type = u16;
                $result
            }
            SampleType::I16 => {
                type $type = i16;
                $result
            }
            SampleType::U32 => {
                type $type = u32;
                $result
            }
            SampleType::I32 => {
                type $type = i32;
                $result
            }
            SampleType::F32 => {
                type $type = f32;
                $result
            }
            SampleType::F64 => {
                type $type = f64;
                $result
            }
        }
    };
}

impl ZarrWriter {
    /// Makes all levels but the first; level 0 is whole.
    pub(super) fn write_lower_levels(&self) -> Result<(), Error> {
        for (index, level) in self.levels.iter().enumerate().skip(1) {
            for (time, channel) in self.stacks() {
                for unit in level.units() {
                    let mark = Mark::new(index, time, channel, unit);
                    if self.progress.is_done(mark) || !self.has_source(mark, unit) {
                        continue;
                    }
                    let voxels = typed!(self.layout.sample_type, T => {
                        self.reduced::<T>(mark, unit).map(Voxels::from)
                    });
                    self.store_unit(mark, unit, &voxels?)?;
                }
            }
        }
        Ok(())
    }

    /// The least and the greatest value of each channel in the coarsest level, where its
    /// window is not given.
    pub(super) fn windows(&self) -> Result<Vec<[f64; 2]>, Error> {
        let level = self.levels.len() - 1;
        let mut windows = Vec::new();
        for (channel, described) in self.layout.channels.iter().enumerate() {
            if let Some(window) = described.window {
                windows.push(window);
                continue;
            }
            let mut range = [f64::INFINITY, f64::NEG_INFINITY];
            for time in 0..self.layout.times {
                for unit in self.levels[level].units() {
                    let found = self.range(Mark::new(level, time, channel, unit), unit)?;
                    range = [range[0].min(found[0]), range[1].max(found[1])];
                }
            }
            // Where all values are equal or none is a number, viewers still need two.
            windows.push(match range {
                [least, most] if least < most => range,
                [least, _] if least.is_finite() => [least, least + 1.0],
                _ => [0.0, 1.0],
            });
        }
        Ok(windows)
    }

    fn range(&self, mark: Mark, unit: Region) -> Result<[f64; 2], Error> {
        if !self.has_object(mark, unit) {
            return Ok([0.0, 0.0]);
        }
        let voxels = typed!(self.layout.sample_type, T => {
            self.read::<T>(mark, unit).map(Voxels::from)
        })?;
        Ok(on_volume!(&voxels, volume => {
            volume.voxels.iter().map(|voxel| voxel.to_f64()).filter(|voxel| voxel.is_finite())
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[least, most], voxel| {
                    [least.min(voxel), most.max(voxel)]
                })
        }))
    }

    /// A unit of a lower level, made chunk by chunk from the level before.
    fn reduced<T: Mean + ElementOwned>(
        &self,
        mark: Mark,
        unit: Region,
    ) -> Result<Volume<T>, Error> {
        let level = &self.levels[mark.level];
        let chunks: Vec<Region> = unit.blocks(level.chunk).collect();
        let reduce = |chunk: &Region| {
            let (before, region) = self.source(mark, *chunk);
            let source = self.read::<T>(before, region)?;
            Ok(match self.options.labels {
                true => first_of_block(&source, level.factor),
                false => local_mean(&source, level.factor),
            })
        };
        let parts = chunks.par_iter().map(reduce).collect::<Result<Vec<_>, Error>>()?;
        let mut whole = Volume::filled(unit.shape, T::default());
        for (chunk, part) in chunks.iter().zip(&parts) {
            let start = std::array::from_fn(|axis| chunk.start[axis] - unit.start[axis]);
            whole.paste(start, part);
        }
        Ok(whole)
    }

    /// The voxels of the level before that a box is made of.
    fn source(&self, mark: Mark, region: Region) -> (Mark, Region) {
        let factor = self.levels[mark.level].factor;
        let before = self.levels[mark.level - 1].shape;
        let start: [usize; 3] = std::array::from_fn(|axis| region.start[axis] * factor[axis]);
        let shape: Shape = std::array::from_fn(|axis| {
            (region.shape[axis] * factor[axis]).min(before[axis] - start[axis])
        });
        (Mark { level: mark.level - 1, ..mark }, Region { start, shape })
    }

    /// Whether anything but 0 can be in what a unit is made of: sparse images stay quick.
    fn has_source(&self, mark: Mark, unit: Region) -> bool {
        let (before, region) = self.source(mark, unit);
        self.has_object(before, region)
    }

    /// Whether a file holds any part of a box.
    fn has_object(&self, mark: Mark, region: Region) -> bool {
        let object = self.object_shape(mark.level);
        let first: [usize; 3] = std::array::from_fn(|axis| region.start[axis] / object[axis]);
        let stop = region.stop();
        let last: [usize; 3] = std::array::from_fn(|axis| stop[axis].div_ceil(object[axis]));
        let span = |axis: usize| first[axis]..last[axis];
        span(0).any(|z| {
            span(1).any(|y| {
                span(2).any(|x| {
                    let voxel = [z * object[0], y * object[1], x * object[2]];
                    self.folder.has(&self.object_key(mark, voxel))
                })
            })
        })
    }

    fn read<T: ElementOwned>(&self, mark: Mark, region: Region) -> Result<Volume<T>, Error> {
        let start = [[mark.time, mark.channel].as_slice(), &region.start].concat();
        let shape = [[1, 1].as_slice(), &region.shape].concat();
        let wide = |lengths: Vec<usize>| lengths.iter().map(|l| *l as u64).collect::<Vec<u64>>();
        let failed = |error: String| {
            let path = self.folder.store().join(mark.level.to_string());
            Error::Format {
                path,
                what: format!("a chunk that was written is not to be read: {error}"),
            }
        };
        let subset = ArraySubset::new_with_start_shape(wide(start), wide(shape));
        let subset = subset.map_err(|error| failed(error.to_string()))?;
        let options = CodecOptions::default().with_concurrent_target(1);
        let voxels = self.arrays[mark.level].retrieve_array_subset_opt::<Vec<T>>(&subset, &options);
        Ok(Volume::new(region.shape, voxels.map_err(|error| failed(error.to_string()))?))
    }
}
