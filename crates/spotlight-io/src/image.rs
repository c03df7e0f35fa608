//! Reads image files of any supported format.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::Error;
use crate::metadata::ImageInfo;
use crate::tiff;
use crate::voxels::{ArrayData, Selection, Stack};

/// Says what a file holds without reading its voxels.
///
/// # Errors
///
/// As [`read_stack`], but for what only reading can find.
pub fn inspect(path: &Path) -> Result<ImageInfo, Error> {
    check_format(path)?;
    tiff::read::inspect(path)
}

/// Reads one z-stack: one channel at one time point of one image.
///
/// The voxels keep the type of the file. A file with several channels needs a choice. In a
/// file that names no axes, the planes are taken along z.
///
/// # Errors
///
/// [`Error::Choice`] if the selection is not in the file or a channel must be chosen;
/// [`Error::Unsupported`] for formats and encodings that are not read; [`Error::Format`] and
/// [`Error::Limit`] for damaged files; [`Error::Io`] if the system refuses.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_io::{OutputChannel, Selection, Voxels, WriteOptions};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("nuclei.ome.tif");
/// let voxels = Voxels::from(Volume::from_fn([2, 3, 4], |[z, y, x]| (100 * z + 10 * y + x) as u16));
/// let channel = OutputChannel { name: "DAPI", voxels: &voxels };
/// let spacing_um = Some([0.29, 0.108, 0.108]);
/// spotlight_io::write_ome_tiff(&path, &[channel], spacing_um, &WriteOptions::default())?;
///
/// let stack = spotlight_io::read_stack(&path, &Selection::default())?;
/// assert_eq!(stack.voxels, voxels);
/// assert_eq!(stack.spacing_um, spacing_um);
/// assert_eq!(stack.channel_name.as_deref(), Some("DAPI"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_stack(path: &Path, selection: &Selection) -> Result<Stack, Error> {
    check_format(path)?;
    tiff::read::read_stack(path, selection)
}

/// Reads a whole array with all its axes, which are named as tifffile names them.
///
/// Axes of length 1 are left out, but for those of a file that gives its shape itself.
///
/// # Errors
///
/// As [`read_stack`].
pub fn read_array(path: &Path, series: usize) -> Result<ArrayData, Error> {
    check_format(path)?;
    tiff::read::read_array(path, series)
}

/// Fails with advice where a path is of a format that is not read.
fn check_format(path: &Path) -> Result<(), Error> {
    let metadata = path.metadata().map_err(|source| Error::read(path, source))?;
    let refuse = |what: &str, way_out: &str| {
        let (what, way_out) = (what.to_owned(), way_out.to_owned());
        Err(Error::Unsupported { path: path.to_owned(), what, way_out })
    };
    if metadata.is_dir() {
        return refuse("a folder as an image", "name a TIFF file");
    }
    let mut start = Vec::new();
    let file = File::open(path).map_err(|source| Error::read(path, source))?;
    file.take(16).read_to_end(&mut start).map_err(|source| Error::read(path, source))?;
    let save = "open it in Fiji and save it as OME-TIFF";
    match start.as_slice() {
        [] => Err(Error::Format { path: path.to_owned(), what: "the file is empty".to_owned() }),
        [b'I', b'I', ..] | [b'M', b'M', ..] => Ok(()),
        [b'Z', b'I', b'S', b'R', b'A', b'W', ..] => refuse("the format CZI", save),
        [0xDA, 0xCE, 0xBE, 0x0A, ..] => refuse("the format ND2", save),
        [0x70, 0, 0, 0, ..] => refuse("the format LIF", save),
        [0x89, b'P', b'N', b'G', ..] => refuse("the format PNG", save),
        [0xFF, 0xD8, 0xFF, ..] => refuse("the format JPEG", save),
        [0x89, b'H', b'D', b'F', ..] => refuse("the format HDF5", save),
        [b'P', b'K', 3, 4, ..] => refuse("a zip archive", "unpack it first"),
        _ => Err(Error::Format {
            path: path.to_owned(),
            what: "not a TIFF file: it does not begin with II or MM".to_owned(),
        }),
    }
}
