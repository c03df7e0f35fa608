//! Opens and reads image files of any supported format.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spotlight_image::grid::{Region, Shape};

use crate::Error;
use crate::metadata::ImageInfo;
use crate::source::{Layout, Place, Source, channel_of, check_series, choose};
use crate::tiff::page_axes::PageAxes;
use crate::voxels::{ArrayData, Channel, SampleType, Selection, Stack, Voxels};
use crate::{czi, planes, tiff, zarr};

/// An open image file or store; its voxels are read when they are asked for.
///
/// A clone is cheap and shares what was read.
#[derive(Clone, Debug)]
pub struct Image {
    path: PathBuf,
    source: Arc<dyn Source>,
}

impl Image {
    /// Opens a file, the folder of a Zarr store or its web address, of any supported format.
    ///
    /// A path with fields, such as `plate/img_t{t}_z{z:03}_c{c:DAPI,FITC}.tif`, opens the files
    /// that fit it as one image; a `*.companion.ome` opens the set that it describes, and the
    /// folder of an `NDTiff` data set all its positions.
    ///
    /// # Errors
    ///
    /// As [`read_stack`], but for what only reading can find.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let source: Arc<dyn Source> = match format(path)? {
            Format::Zarr => Arc::new(zarr::Images::open(path)?),
            Format::Czi => Arc::new(czi::Image::open(path)?),
            Format::Pattern => Arc::new(planes::open(path)?),
            Format::Tiff => Arc::new(tiff::Image::open(path)?),
        };
        Ok(Self { path: path.to_owned(), source })
    }

    /// Opens a TIFF that does not name the axes of its pages, which the caller does.
    ///
    /// # Errors
    ///
    /// As [`Image::open`]; [`Error::Unsupported`] if the file names its axes itself or is no
    /// TIFF, [`Error::Format`] if the axes do not fit the number of pages.
    pub fn open_with_axes(path: &Path, axes: &PageAxes) -> Result<Self, Error> {
        if !matches!(format(path)?, Format::Tiff) {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                what: "naming the axes of the pages of what is no TIFF".to_owned(),
                way_out: "leave the option out".to_owned(),
            });
        }
        let mut image = tiff::Image::open(path)?;
        image.name_axes(axes)?;
        Ok(Self { path: path.to_owned(), source: Arc::new(image) })
    }

    /// The path that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files and folders that it is read from; an address stands for itself.
    #[must_use]
    pub fn parts(&self) -> Vec<PathBuf> {
        self.source.parts()
    }

    /// Number of images in it: series, scenes, positions or fields.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.source.series_count()
    }

    /// What one of its images is.
    ///
    /// # Errors
    ///
    /// [`Error::Choice`] if there is no such image; else as [`read_stack`].
    pub fn layout(&self, series: usize) -> Result<Layout, Error> {
        check_series(self.source.as_ref(), series, &self.path)?;
        self.source.layout(series)
    }

    /// The position of a channel of one of its images; the only one where none is named.
    ///
    /// # Errors
    ///
    /// [`Error::Choice`] if there is no such channel, or none is named and there are several.
    pub fn channel(&self, series: usize, wanted: Option<&Channel>) -> Result<usize, Error> {
        channel_of(&self.layout(series)?, wanted, &self.path)
    }

    /// Says what it holds.
    ///
    /// # Errors
    ///
    /// Where the file contradicts itself.
    pub fn info(&self) -> Result<ImageInfo, Error> {
        self.source.info()
    }

    /// One z-stack of it, none of it read yet.
    ///
    /// # Errors
    ///
    /// As [`read_stack`], but for what only reading can find.
    pub fn stack(self, selection: &Selection) -> Result<OpenStack, Error> {
        let (place, layout) = choose(self.source.as_ref(), selection, &self.path)?;
        Ok(OpenStack { image: self, place, layout })
    }
}

/// A z-stack of an open file or store: one channel at one time point, read box by box.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::grid::Region;
/// use spotlight_io::{Image, OutputChannel, Selection, Voxels, WriteOptions};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("nuclei.ome.tif");
/// let voxels = Voxels::from(Volume::from_fn([2, 3, 4], |[z, y, x]| (100 * z + 10 * y + x) as u16));
/// let channel = OutputChannel { name: "DAPI", voxels: &voxels };
/// spotlight_io::write_ome_tiff(&path, &[channel], None, &WriteOptions::default())?;
///
/// let stack = Image::open(&path)?.stack(&Selection::default())?;
/// assert_eq!(stack.shape(), [2, 3, 4]);
/// let part = stack.read(Region { start: [1, 1, 2], shape: [1, 2, 1] })?;
/// assert_eq!(part.to_f32().voxels, [112.0, 122.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OpenStack {
    image: Image,
    place: Place,
    layout: Layout,
}

impl OpenStack {
    /// The file or store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.image.path
    }

    /// Number of voxels along (z, y, x).
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.layout.shape
    }

    /// The type of the numbers.
    #[must_use]
    pub fn sample_type(&self) -> SampleType {
        self.layout.sample_type
    }

    /// Voxel size along (z, y, x) in µm, where the file gives all three.
    #[must_use]
    pub fn spacing_um(&self) -> Option<[f64; 3]> {
        self.layout.spacing_um()
    }

    /// Name of the channel, where the file gives one.
    #[must_use]
    pub fn channel_name(&self) -> Option<&str> {
        self.layout.channel_names[self.place.channel].as_deref()
    }

    /// Number of time points of the image.
    #[must_use]
    pub fn times(&self) -> usize {
        self.layout.times
    }

    /// Number of voxels along (z, y, x) that are decoded together, such as a plane or a chunk:
    /// boxes of whole multiples waste nothing.
    #[must_use]
    pub fn block(&self) -> Shape {
        self.layout.block
    }

    /// The voxels of a box.
    ///
    /// # Errors
    ///
    /// As [`read_stack`].
    ///
    /// # Panics
    ///
    /// If the box does not lie inside the stack.
    pub fn read(&self, region: Region) -> Result<Voxels, Error> {
        let shape = self.layout.shape;
        assert!(region.fits(shape), "{region:?} is not inside {shape:?}");
        self.image.source.read(self.place, region)
    }

    /// The whole stack.
    ///
    /// # Errors
    ///
    /// As [`read_stack`].
    pub fn read_whole(&self) -> Result<Stack, Error> {
        Ok(Stack {
            voxels: self.read(Region::whole(self.layout.shape))?,
            spacing_um: self.spacing_um(),
            channel_name: self.channel_name().map(str::to_owned),
            path: self.image.path.clone(),
        })
    }
}

/// Says what a file holds without reading its voxels.
///
/// # Errors
///
/// As [`read_stack`], but for what only reading can find.
pub fn inspect(path: &Path) -> Result<ImageInfo, Error> {
    Image::open(path)?.info()
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
    Image::open(path)?.stack(selection)?.read_whole()
}

/// Reads a whole array with all its axes, which are named as tifffile names them.
///
/// Axes of length 1 are left out, but for those of a file that gives its shape itself.
///
/// # Errors
///
/// As [`read_stack`].
pub fn read_array(path: &Path, series: usize) -> Result<ArrayData, Error> {
    match format(path)? {
        Format::Zarr => zarr::read_array(path, series),
        Format::Czi => czi::read_array(path, series),
        Format::Pattern => tiff::read_array(&planes::open(path)?, series),
        Format::Tiff => tiff::read_array(&tiff::Image::open(path)?, series),
    }
}

/// Whether a folder is an image: a Zarr group or array with nothing of Zarr around it, or the
/// folder of an `NDTiff` data set.
///
/// An array inside a group, such as a resolution level, is not counted as an image, though it
/// can be opened by its name. Nothing but the names of files and the head of `zarr.json` is
/// looked at.
#[must_use]
pub fn is_image_folder(path: &Path) -> bool {
    path.is_dir() && (tiff::is_set(path) || zarr::is_image_folder(path))
}

/// Whether a path is a pattern of names with fields in braces, such as `img_z{z}.tif`, and no
/// file or folder itself.
#[must_use]
pub fn is_pattern(path: &Path) -> bool {
    !zarr::is_address(path) && planes::is_pattern(path)
}

/// The formats that are read.
enum Format {
    Zarr,
    Czi,
    /// TIFFs that a pattern names.
    Pattern,
    /// A TIFF, or the TIFFs that a companion or an index names.
    Tiff,
}

/// The format of a path, by the first bytes of a file; fails with advice where it is not read.
fn format(path: &Path) -> Result<Format, Error> {
    if zarr::is_address(path) {
        return Ok(Format::Zarr);
    }
    if planes::is_pattern(path) {
        return Ok(Format::Pattern);
    }
    if tiff::is_set(path) {
        return Ok(Format::Tiff);
    }
    if path.is_dir() {
        return Ok(Format::Zarr);
    }
    let refuse = |what: &str, way_out: &str| {
        let (what, way_out) = (what.to_owned(), way_out.to_owned());
        Err(Error::Unsupported { path: path.to_owned(), what, way_out })
    };
    let name = path.file_name().and_then(|name| name.to_str());
    if let Some("zarr.json" | ".zarray" | ".zgroup" | ".zattrs") = name {
        return refuse("a file out of a Zarr store", "name the folder that it lies in");
    }
    let mut start = Vec::new();
    let file = File::open(path).map_err(|source| Error::read(path, source))?;
    file.take(16).read_to_end(&mut start).map_err(|source| Error::read(path, source))?;
    let save = "open it in Fiji and save it as OME-TIFF";
    match start.as_slice() {
        [] => Err(Error::Format { path: path.to_owned(), what: "the file is empty".to_owned() }),
        [b'I', b'I', ..] | [b'M', b'M', ..] => Ok(Format::Tiff),
        start if start.starts_with(b"ZISRAWFILE") => Ok(Format::Czi),
        [0xDA, 0xCE, 0xBE, 0x0A, ..] => refuse("the format ND2", save),
        [0x70, 0, 0, 0, ..] => refuse("the format LIF", save),
        [0x89, b'P', b'N', b'G', ..] => refuse("the format PNG", save),
        [0xFF, 0xD8, 0xFF, ..] => refuse("the format JPEG", save),
        [0x89, b'H', b'D', b'F', ..] => refuse("the format HDF5", save),
        [b'P', b'K', 3, 4, ..] => refuse("a zip archive", "unpack it first"),
        _ => Err(Error::Format {
            path: path.to_owned(),
            what: "neither a TIFF nor a CZI file: it begins with neither II nor MM nor ZISRAWFILE"
                .to_owned(),
        }),
    }
}
