//! [`Source`]: the part of an input that becomes one output.

use std::ops::Range;

use anyhow::Result;
use spotlight_image::Region;
use spotlight_io::{Image, Layout, OpenStack, Selection, Voxels};

use super::options::Options;
use crate::cli::{failure, wrong_use};

/// Time points and channels of one image of an input.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) image: Image,
    pub(super) series: usize,
    /// Its name in the file; empty where it has none.
    pub(super) series_name: String,
    /// Time points that are taken.
    pub(super) times: Range<usize>,
    /// Positions of the channels that are taken.
    pub(super) channels: Vec<usize>,
    /// What is written: shape, type, names and voxel size as the output has them.
    pub(super) layout: Layout,
    notes: Vec<String>,
}

impl Source {
    /// Makes sure that what the options ask for is in the image.
    pub(super) fn new(image: Image, series: usize, options: &Options) -> Result<Self> {
        let info = image.info()?;
        let mut layout = image.layout(series)?;
        let path = image.path().display();
        let times = match &options.time {
            None => 0..layout.times,
            Some(asked) if *asked.end() < layout.times => *asked.start()..asked.end() + 1,
            Some(asked) => {
                let last = layout.times - 1;
                return Err(failure(
                    format!("{path}: there is no time point {}", asked.end()),
                    format!("choose time points from 0 to {last}"),
                ));
            }
        };
        let channels = match options.channel.as_slice() {
            [] => (0..layout.channel_names.len()).collect(),
            chosen => {
                let place = |channel| image.channel(series, Some(channel));
                chosen.iter().map(place).collect::<Result<Vec<usize>, _>>()?
            }
        };
        if (1..channels.len()).any(|index| channels[..index].contains(&channels[index])) {
            return Err(wrong_use("a channel is chosen twice", "name each channel once"));
        }
        // Of several images only the first is described; what it lacks, all lack.
        let mut notes = info.warnings.clone();
        layout.channel_names =
            channels.iter().map(|channel| layout.channel_names[*channel].clone()).collect();
        if let Some(names) = &options.channel_names {
            if names.len() != channels.len() {
                let (named, there) = (names.len(), channels.len());
                return Err(wrong_use(
                    format!("--channel-names has {named} names, and {there} channels are written"),
                    "name every channel that is written",
                ));
            }
            layout.channel_names = names.iter().map(|name| Some(name.trim().to_owned())).collect();
        }
        layout.times = times.len();
        if let Some(spacing_um) = options.spacing {
            layout.partial_spacing_um = spacing_um.map(Some);
            notes.retain(|note| !note.starts_with("the voxel size along"));
        }
        let series_name = info.series.get(series).cloned().unwrap_or_default();
        Ok(Self { image, series, series_name, times, channels, layout, notes })
    }

    /// The input and, where it holds several images, the one that is read.
    pub(super) fn name(&self) -> String {
        let path = self.image.path().display();
        match (self.image.series_count(), self.series_name.as_str()) {
            (1, _) => path.to_string(),
            (_, "") => format!("{path}, image {}", self.series),
            (_, name) => format!("{path}, image {name}"),
        }
    }

    /// What a user should know of the input.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The z-stack that becomes a time point and a channel of the output.
    pub(super) fn stack(&self, time: usize, channel: usize) -> Result<OpenStack> {
        let selection = Selection {
            channel: Some(spotlight_io::Channel::Index(self.channels[channel])),
            time: self.times.start + time,
            series: self.series,
        };
        Ok(self.image.clone().stack(&selection)?)
    }
}

/// A slab of a stack that is held in memory, to cut boxes out of it.
#[derive(Debug)]
pub(super) struct Slab {
    region: Region,
    voxels: Voxels,
}

impl Slab {
    pub(super) fn read(stack: &OpenStack, region: Region) -> Result<Self> {
        Ok(Self { region, voxels: stack.read(region)? })
    }

    /// The voxels of a box of the stack; none if it does not lie in the slab.
    pub(super) fn part(&self, region: Region) -> Option<Voxels> {
        let inside = (0..3).all(|axis| region.start[axis] >= self.region.start[axis]);
        let start =
            std::array::from_fn(|axis| region.start[axis].wrapping_sub(self.region.start[axis]));
        let part = Region { start, shape: region.shape };
        if !inside || !part.fits(self.region.shape) {
            return None;
        }
        if part == Region::whole(self.region.shape) {
            return Some(self.voxels.clone());
        }
        Some(self.voxels.crop(part))
    }
}

#[cfg(test)]
mod tests {
    use spotlight_image::Volume;

    use super::*;

    #[test]
    fn a_slab_gives_the_boxes_inside_it() {
        let volume = Volume::from_fn([2, 2, 4], |[z, y, x]| (100 * z + 10 * y + x) as u16);
        let slab =
            Slab { region: Region { start: [4, 6, 0], shape: [2, 2, 4] }, voxels: volume.into() };
        let part = slab.part(Region { start: [5, 6, 2], shape: [1, 2, 2] }).unwrap();
        assert_eq!(part.to_f32().voxels, [102.0, 103.0, 112.0, 113.0]);
        assert!(slab.part(Region { start: [3, 6, 0], shape: [1, 1, 1] }).is_none());
        assert!(slab.part(Region { start: [5, 6, 2], shape: [2, 1, 1] }).is_none());
    }
}
