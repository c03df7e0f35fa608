//! [`Source`]: an open image file or store of any format, read box by box.
//!
//! Every format gives the same face: how many images it holds, what each of them is
//! ([`Layout`]), and the voxels of a box of one channel at one time point. Channels and time
//! points are chosen here, in one way for all formats.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use spotlight_image::grid::{Region, Shape};

use crate::Error;
use crate::metadata::ImageInfo;
use crate::voxels::{Channel, SampleType, Selection, Voxels};

/// An open file or store.
pub(crate) trait Source: Debug + Send + Sync {
    /// Number of images in it.
    fn series_count(&self) -> usize;

    /// What one image is. The series exists.
    fn layout(&self, series: usize) -> Result<Layout, Error>;

    /// What a user is told of the first image.
    fn info(&self) -> Result<ImageInfo, Error>;

    /// The files and folders that it is read from.
    fn parts(&self) -> Vec<PathBuf>;

    /// The voxels of a box. Series, channel, time point and box exist.
    fn read(&self, from: Place, region: Region) -> Result<Voxels, Error>;
}

/// Which z-stack of a source, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) series: usize,
    pub(crate) channel: usize,
    pub(crate) time: usize,
}

/// One image of a file: time points and channels of z-stacks of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Number of voxels along (z, y, x).
    pub shape: Shape,
    /// The type of the numbers.
    pub sample_type: SampleType,
    /// Number of time points.
    pub times: usize,
    /// A name for every channel, where the file gives one.
    pub channel_names: Vec<Option<String>>,
    /// Voxel size along (z, y, x) in µm, each where the file gives it.
    pub partial_spacing_um: [Option<f64>; 3],
    /// The box along (z, y, x) that is decoded at once (a plane, a chunk): reading less costs
    /// as much.
    pub block: Shape,
}

impl Layout {
    /// A name for every channel: its number where the file has no name.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = self.channel_names.iter().enumerate();
        names.map(|(index, name)| name.clone().unwrap_or_else(|| index.to_string())).collect()
    }

    /// The voxel size along (z, y, x) in µm, where all of it is known.
    #[must_use]
    pub fn spacing_um(&self) -> Option<[f64; 3]> {
        let [z, y, x] = self.partial_spacing_um;
        Some([z?, y?, x?])
    }
}

/// The place of a selection, with what is there; `path` is for errors.
pub(crate) fn choose(
    source: &dyn Source,
    wanted: &Selection,
    path: &Path,
) -> Result<(Place, Layout), Error> {
    let refuse =
        |what: String, choices: String| Error::Choice { path: path.to_owned(), what, choices };
    check_series(source, wanted.series, path)?;
    let layout = source.layout(wanted.series)?;
    if wanted.time >= layout.times {
        let what = format!("there is no time point {}", wanted.time);
        return Err(refuse(what, format!("one from 0 to {}", layout.times.saturating_sub(1))));
    }
    let channel = channel_of(&layout, wanted.channel.as_ref(), path)?;
    Ok((Place { series: wanted.series, channel, time: wanted.time }, layout))
}

/// Fails where there is no such image; `path` is for the error.
pub(crate) fn check_series(source: &dyn Source, series: usize, path: &Path) -> Result<(), Error> {
    let count = source.series_count();
    if series < count {
        return Ok(());
    }
    Err(Error::Choice {
        path: path.to_owned(),
        what: format!("there is no image {series}"),
        choices: format!("one from 0 to {}", count.saturating_sub(1)),
    })
}

/// The position of a channel; the only one where none is named. `path` is for errors.
pub(crate) fn channel_of(
    layout: &Layout,
    wanted: Option<&Channel>,
    path: &Path,
) -> Result<usize, Error> {
    choose_channel(&layout.names(), wanted).map_err(|Refusal { what, choices }| Error::Choice {
        path: path.to_owned(),
        what,
        choices,
    })
}

struct Refusal {
    what: String,
    choices: String,
}

/// The position of a channel; the only one where none is named.
fn choose_channel(names: &[String], wanted: Option<&Channel>) -> Result<usize, Refusal> {
    let refuse = |what: String| {
        let one = if names.len() == 1 { "channel" } else { "one of the channels" };
        Err(Refusal { what, choices: format!("{one} {}", listed(names)) })
    };
    match wanted {
        None if names.len() == 1 => Ok(0),
        None => refuse(format!("the image has {} channels and none was chosen", names.len())),
        Some(Channel::Index(index)) if *index < names.len() => Ok(*index),
        Some(Channel::Index(index)) => refuse(format!("there is no channel {index}")),
        Some(Channel::Name(name)) => {
            let exact = positions(names, |n| n == name);
            let loose = positions(names, |n| n.to_lowercase() == name.to_lowercase());
            match (exact.as_slice(), loose.as_slice()) {
                ([only], _) | ([], [only]) => Ok(*only),
                ([], []) => refuse(format!("there is no channel named {name}")),
                _ => refuse(format!("several channels are named {name}")),
            }
        }
    }
}

/// The channels for an error: `0 (DAPI), 1`.
fn listed(names: &[String]) -> String {
    let number = |(index, name): (usize, &String)| {
        let plain = *name == index.to_string();
        if plain { index.to_string() } else { format!("{index} ({name})") }
    };
    let all: Vec<String> = names.iter().take(32).enumerate().map(number).collect();
    let more = if names.len() > 32 { ", ..." } else { "" };
    format!("{}{more}", all.join(", "))
}

fn positions(names: &[String], test: impl Fn(&String) -> bool) -> Vec<usize> {
    let fits = |(index, name): (usize, &String)| test(name).then_some(index);
    names.iter().enumerate().filter_map(fits).collect()
}
