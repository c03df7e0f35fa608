//! The options of `spotlight convert`, and what they ask for.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use spotlight_image::Shape;
use spotlight_io::{Channel, Compression, NgffVersion, PageAxes, ZarrCompression};

use crate::cli::{values, wrong_use};

const EXAMPLES: &str = "\
Examples:
  spotlight convert plate.czi -o plate.ome.zarr
  spotlight convert plate.czi -o scenes/ --format ome-zarr --all-series
  spotlight convert 'img_t{t}_z{z:03}_c{c}.tif' -o img.ome.tif
  spotlight convert https://host/image.zarr -o image.ome.tif --channel DAPI --time 0
  spotlight convert pages.tif -o stack.ome.tif --axes c=2,z --spacing 0.29,0.108,0.108
  spotlight convert large.czi -o large.ome.zarr --resume    go on after a stop";

/// The options of `spotlight convert`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Images of any format that is read: files, Zarr stores, addresses, patterns
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,
    /// Output: a name ending in .zarr or .tif for one image, or a folder with --format
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Format of the outputs, where their name does not say it
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Which image of an input that holds several (scene, field, position), from 0
    #[arg(long, value_name = "N", conflicts_with = "all_series")]
    pub series: Option<usize>,
    /// All images of every input, each as an output of its own
    #[arg(long)]
    pub all_series: bool,
    /// Channel to take, by name or by number from 0; may be repeated [default: all]
    #[arg(long, value_name = "NAME", value_parser = values::channel)]
    pub channel: Vec<Channel>,
    /// Time points to take: one, or the first and the last, such as 3 or 0-9 [default: all]
    #[arg(long, value_name = "N", value_parser = times)]
    pub time: Option<RangeInclusive<usize>>,
    /// Axes of the pages of a TIFF that does not name them, slowest first, such as c=2,z
    #[arg(long, value_name = "AXES", value_parser = page_axes)]
    pub axes: Option<PageAxes>,
    /// Voxel size in µm along z, y, x, in place of what the inputs say
    #[arg(long, value_name = "Z,Y,X", value_parser = values::spacing_um)]
    pub spacing: Option<[f64; 3]>,
    /// Names of the channels that are written, in their order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub channel_names: Option<Vec<String>>,
    /// The numbers are labels: lower levels take a voxel of each block, not the mean
    #[arg(long)]
    pub labels: bool,
    /// Version of OME-Zarr
    #[arg(long, value_enum, value_name = "VERSION", default_value = "0.5")]
    pub zarr_version: Version,
    /// Voxels of a chunk of OME-Zarr along z, y, x [default: 16,128,128]
    #[arg(long, value_name = "Z,Y,X", value_parser = values::shape)]
    pub chunk: Option<Shape>,
    /// Resolution levels of OME-Zarr at most [default: until y and x are at most 256]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub levels: Option<usize>,
    /// Compression [default: zstd for OME-Zarr, deflate for OME-TIFF]
    #[arg(long, value_enum, value_name = "NAME")]
    pub compression: Option<Codec>,
    /// Memory that the program may take
    #[arg(long, value_name = "AMOUNT", default_value = "4GiB", value_parser = values::bytes)]
    pub memory: u64,
    /// Go on with a conversion that was stopped; what is done is left as it is
    #[arg(long)]
    pub resume: bool,
    /// Replace outputs that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A folder of chunks, with resolution levels
    OmeZarr,
    /// One file, planes in the order of Fiji's hyperstacks
    OmeTiff,
}

impl Format {
    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OmeZarr => "ome-zarr",
            Self::OmeTiff => "ome-tiff",
        }
    }

    /// The ending of its names.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::OmeZarr => ".ome.zarr",
            Self::OmeTiff => ".ome.tif",
        }
    }

    /// The format that a name ends in.
    fn of(name: &Path) -> Option<Self> {
        let name = name.to_string_lossy().to_lowercase();
        let name = name.trim_end_matches(std::path::is_separator);
        match () {
            () if name.ends_with(".zarr") => Some(Self::OmeZarr),
            () if name.ends_with(".tif") || name.ends_with(".tiff") => Some(Self::OmeTiff),
            () => None,
        }
    }
}

/// A version of OME-Zarr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Version {
    /// On Zarr 3, chunks together in shards
    #[value(name = "0.5")]
    V05,
    /// On Zarr 2, for older viewers
    #[value(name = "0.4")]
    V04,
}

impl From<Version> for NgffVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V05 => Self::V05,
            Version::V04 => Self::V04,
        }
    }
}

/// A compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// None at all
    None,
    /// Zstandard
    Zstd,
    /// Blosc with Zstandard: smaller for numbers of several bytes (OME-Zarr)
    Blosc,
    /// Deflate, which every reader of TIFF knows (OME-TIFF)
    Deflate,
}

/// Format, compression and place of the outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) format: Format,
    /// Whether the output is the name of one image, not of a folder for several.
    pub(super) is_image: bool,
    pub(super) zarr: ZarrCompression,
    pub(super) tiff: Compression,
}

impl Target {
    pub(super) fn of(options: &Options) -> Result<Self> {
        let output = options.output.display();
        let by_name = Format::of(&options.output);
        let format = match (by_name, options.format) {
            (Some(named), Some(asked)) if named != asked => {
                return Err(wrong_use(
                    format!("{output} is not a name of {}", asked.name()),
                    format!("end it in {}, or leave --format out", asked.ending()),
                ));
            }
            (named, asked) => named.or(asked).ok_or_else(|| {
                wrong_use(
                    format!("{output} does not say which format to write"),
                    "end it in .ome.zarr or .ome.tif, or add --format for a folder of outputs",
                )
            })?,
        };
        let (mut zarr, mut tiff) = (ZarrCompression::default(), Compression::default());
        let wrong = |codec: &str| {
            Err(wrong_use(
                format!("{} is not compressed by {codec}", format.name()),
                match format {
                    Format::OmeZarr => "choose none, zstd or blosc",
                    Format::OmeTiff => "choose none, zstd or deflate",
                },
            ))
        };
        match (options.compression, format) {
            (None, _) => {}
            (Some(Codec::None), _) => (zarr, tiff) = (ZarrCompression::None, Compression::None),
            (Some(Codec::Zstd), _) => (zarr, tiff) = (ZarrCompression::Zstd, Compression::Zstd),
            (Some(Codec::Blosc), Format::OmeZarr) => zarr = ZarrCompression::Blosc,
            (Some(Codec::Deflate), Format::OmeTiff) => tiff = Compression::Deflate,
            (Some(Codec::Blosc), Format::OmeTiff) => return wrong("blosc"),
            (Some(Codec::Deflate), Format::OmeZarr) => return wrong("deflate"),
        }
        if format == Format::OmeTiff
            && (options.chunk.is_some() || options.levels.is_some() || options.labels)
        {
            return Err(wrong_use(
                "--chunk, --levels and --labels are for OME-Zarr",
                "leave them out, or write to a name ending in .ome.zarr",
            ));
        }
        Ok(Self { format, is_image: by_name.is_some(), zarr, tiff })
    }
}

fn times(text: &str) -> Result<RangeInclusive<usize>, String> {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let range = match text.split_once('-') {
        None => number(text).map(|only| only..=only),
        Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| first..=last),
    };
    range.filter(|range| !range.is_empty()).ok_or_else(|| {
        "expected a time point from 0, or the first and the last, such as 3 or 0-9".to_owned()
    })
}

fn page_axes(text: &str) -> Result<PageAxes, String> {
    text.parse()
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number: &usize| *number > 0);
    number.ok_or_else(|| "expected a whole number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_one_or_from_first_to_last() {
        assert_eq!(times("3"), Ok(3..=3));
        assert_eq!(times("0-9"), Ok(0..=9));
        for wrong in ["", "a", "-1", "3-", "5-2", "1-2-3"] {
            assert!(times(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_say_the_format() {
        assert_eq!(Format::of(Path::new("a.OME.zarr/")), Some(Format::OmeZarr));
        assert_eq!(Format::of(Path::new("a.tiff")), Some(Format::OmeTiff));
        assert_eq!(Format::of(Path::new("folder")), None);
    }
}
