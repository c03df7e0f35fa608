//! Opens TIFFs of any dialect and reads stacks and arrays of them.

use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use spotlight_image::Volume;
use spotlight_image::grid::Region;

use super::directory::{Directories, read_directories};
use super::page::{Page, Stored};
use super::plane::{Number, Window, check_readable, read_plane};
use super::series::{Image, PlaneAt, Series, check_memory};
use super::{codec, imagej, nd_tiff, ome, plain, shaped};
use crate::Error;
use crate::error::{Fault, malformed, unsupported};
use crate::metadata::{AxisOrigin, Dimension, ImageInfo, Storage, spacing_warnings};
use crate::source::{Layout, Place, Source};
use crate::voxels::{ArrayData, SampleType, Voxels};

/// Whether a path names several files that together form images, though it is no TIFF itself.
pub(crate) fn is_set(path: &Path) -> bool {
    ome::is_companion(path) || nd_tiff::index_of(path).is_some()
}

/// Opens a file: its directories and what they form.
fn open(path: &Path) -> Result<Image, Error> {
    if let Some(index) = nd_tiff::index_of(path) {
        return nd_tiff::open(path, &index);
    }
    if nd_tiff::has_magic(path) {
        return nd_tiff::without_index().map_err(|fault| fault.at(path));
    }
    if ome::is_companion(path) {
        return ome::open_companion(path);
    }
    let file = read_directories(path)?;
    check_maker(&file).map_err(|fault| fault.at(path))?;
    let mut files = vec![file];
    let first = &files[0].pages[0].description;
    let (format, series) = if shaped::is_shaped(first) {
        ("shaped TIFF", shaped::series(&mut files[0]).map_err(|fault| fault.at(path))?)
    } else if ome::is_ome(first) {
        ("OME-TIFF", ome::series(&mut files)?)
    } else if imagej::is_imagej(first) {
        let one = imagej::series(&mut files[0]).map_err(|fault| fault.at(path))?;
        ("ImageJ TIFF", vec![one])
    } else {
        ("TIFF", plain::series(&files[0]))
    };
    Ok(Image { path: path.to_owned(), files, format, series })
}

/// Fails where a maker's own tags say what the planes mean.
pub(crate) fn check_maker(file: &Directories) -> Result<(), Fault> {
    match file.pages[0].maker {
        Some(maker) => unsupported(
            format!("the TIFF of {maker}, whose axes are recorded in a way of its own"),
            "open it in Fiji and save it as OME-TIFF",
        ),
        None => Ok(()),
    }
}

impl Image {
    /// Opens a file with all that belongs to it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        open(path)
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn series_and_page(&self, series: usize) -> Result<(&Series, &Page), Error> {
        let series = &self.series[series];
        let page = self.first_page(series).map_err(|fault| fault.at(self.path()))?;
        Ok((series, page))
    }
}

impl Source for Image {
    fn parts(&self) -> Vec<PathBuf> {
        let mut parts: Vec<PathBuf> = self.files.iter().map(|file| file.path.clone()).collect();
        // A companion is part of what it describes; a folder or a pattern is not a file.
        if self.path.is_file() && !parts.contains(&self.path) {
            parts.insert(0, self.path.clone());
        }
        parts
    }

    fn series_count(&self) -> usize {
        self.series.len()
    }

    fn layout(&self, series: usize) -> Result<Layout, Error> {
        let at = |fault: Fault| fault.at(self.path());
        let (series, page) = self.series_and_page(series)?;
        let stored = check_readable(page).map_err(at)?;
        Ok(Layout {
            shape: [series.depth().map_err(at)?, page.height, page.width],
            sample_type: stored.sample_type(),
            times: series.length('T'),
            channel_names: series.names_of_channels(page),
            partial_spacing_um: series.spacing_um,
            block: [1, page.tile.map_or(page.rows_per_strip, |tile| tile[0]), page.width],
        })
    }

    fn info(&self) -> Result<ImageInfo, Error> {
        inspect(self)
    }

    fn read(&self, from: Place, region: Region) -> Result<Voxels, Error> {
        let at = |fault: Fault| fault.at(self.path());
        let (series, page) = self.series_and_page(from.series)?;
        let stack = series.stack(page, from.channel, from.time).map_err(at)?;
        let planes = &stack.planes[region.start[0]..region.stop()[0]];
        let window = Window::of(region);
        read_numbers(self, planes, region.shape, Some(stack.sample), &window)
    }
}

/// A whole array of a TIFF, with the axes that tifffile gives it.
pub(crate) fn read_array(image: &Image, series: usize) -> Result<ArrayData, Error> {
    let path = image.path();
    if series >= image.series.len() {
        return Err(Error::Choice {
            path: path.to_owned(),
            what: format!("there is no image {series}"),
            choices: format!("one from 0 to {}", image.series.len().saturating_sub(1)),
        });
    }
    let at = |fault: Fault| fault.at(path);
    let (series, page) = image.series_and_page(series)?;
    check_readable(page).map_err(at)?;
    let (axes, shape) = series.whole_axes(page);
    let planes: Option<Vec<PlaneAt>> = series.planes.iter().copied().collect();
    let Some(planes) = planes else {
        return malformed("planes of the image are not in the file").map_err(at);
    };
    let last = |back: usize| shape.len().checked_sub(back).map_or(1, |axis| shape[axis]);
    let total: usize = shape.iter().product();
    let folded = [total / (last(1) * last(2)), last(2), last(1)];
    let window = Window { rows: 0..page.height, columns: 0..page.width };
    let voxels = read_numbers(image, &planes, folded, None, &window)?;
    Ok(ArrayData { axes, shape, voxels })
}

/// What a TIFF says about its first image.
fn inspect(image: &Image) -> Result<ImageInfo, Error> {
    let at = |fault: Fault| fault.at(image.path());
    let (series, page) = image.series_and_page(0)?;
    let stored = page.stored().map_err(at)?;
    let (axes, shape) = series.whole_axes(page);
    let names = series.names_of_channels(page);
    let [t, c, z] = series.origins(page);
    // A stack that cannot be read has no depth; the warnings say why.
    let depth = series.depth().unwrap_or(1);
    let lengths = [series.length('T'), names.len(), depth, page.height, page.width];
    let origins = [t, c, z, AxisOrigin::Metadata, AxisOrigin::Metadata];
    let names = names.into_iter().enumerate();
    Ok(ImageInfo {
        path: image.path().to_owned(),
        format: image.format.to_owned(),
        axes,
        shape,
        dimensions: Dimension::all(lengths, origins),
        sample_type: stored.sample_type(),
        channel_names: names.map(|(c, name)| name.unwrap_or_else(|| c.to_string())).collect(),
        spacing_um: whole_spacing(series),
        partial_spacing_um: series.spacing_um,
        times: series.length('T'),
        series: image.series.iter().map(|series| series.name.clone()).collect(),
        levels: 1 + usize::try_from(page.sub_images).unwrap_or(0),
        byte_order: image.files[0].order,
        compression: codec::name(page.compression),
        storage: Storage::Tiff {
            pages: image.files.iter().map(|file| file.pages.len()).sum(),
            big: image.files[0].big,
            predictor: page.predictor,
            tile: page.tile,
        },
        warnings: warnings(series, page, stored),
    })
}

fn whole_spacing(series: &Series) -> Option<[f64; 3]> {
    let [z, y, x] = series.spacing_um;
    Some([z?, y?, x?])
}

fn warnings(series: &Series, page: &Page, stored: Stored) -> Vec<String> {
    let mut all = series.warnings.clone();
    let assumed = series.origins(page)[2] == AxisOrigin::Assumed && series.origins.is_none();
    let mut warn = |text: String| all.push(text);
    if let (true, Ok(depth)) = (assumed, series.depth()) {
        warn(format!("the file does not name the axis of its {depth} planes; it is taken for z"));
    }
    if let Err(Fault::Unsupported { what, way_out }) = series.depth() {
        warn(format!("{what} is not supported; {way_out}"));
    }
    if let Err(Fault::Unsupported { what, way_out }) = check_readable(page) {
        warn(format!("{what} is not supported; {way_out}"));
    }
    all.extend(spacing_warnings(series.spacing_um));
    let mut warn = |text: String| all.push(text);
    if page.photometric == 0 {
        warn("the image is marked as one whose zero is white; numbers are read as stored".into());
    }
    if page.photometric == 3 {
        warn("the image has a colour table; its indices are read".into());
    }
    if stored == Stored::F16 {
        warn("16-bit floating-point numbers are read as float32".into());
    }
    all
}

/// Reads the same window of planes one after another into a volume; `sample` picks one number
/// of every pixel.
fn read_numbers(
    image: &Image,
    planes: &[PlaneAt],
    shape: [usize; 3],
    sample: Option<usize>,
    window: &Window,
) -> Result<Voxels, Error> {
    let at = |fault: Fault| fault.at(image.path());
    let Some(first) = planes.first() else {
        return malformed("the image has no planes").map_err(at);
    };
    check_memory(image, planes).map_err(at)?;
    let stored = image.page(*first).stored().map_err(at)?;
    macro_rules! read {
        ($type:ty) => {
            Volume::new(shape, read_typed::<$type>(image, planes, stored, sample, window)?).into()
        };
    }
    Ok(match stored.sample_type() {
        SampleType::U8 => read!(u8),
        SampleType::I8 => read!(i8),
        SampleType::U16 => read!(u16),
        SampleType::I16 => read!(i16),
        SampleType::U32 => read!(u32),
        SampleType::I32 => read!(i32),
        SampleType::F32 => read!(f32),
        SampleType::F64 => read!(f64),
    })
}

fn read_typed<T: Number>(
    image: &Image,
    planes: &[PlaneAt],
    stored: Stored,
    sample: Option<usize>,
    window: &Window,
) -> Result<Vec<T>, Error> {
    let page = image.page(planes[0]);
    let pixels = window.rows.len() * window.columns.len();
    let size = pixels * if sample.is_some() { 1 } else { page.samples };
    let mut numbers = vec![T::default(); size * planes.len()];
    let work = numbers.par_chunks_mut(size).zip(planes.par_iter().enumerate());
    work.try_for_each(|(target, (index, at))| {
        let (file, page) = (&image.files[at.file], image.page(*at));
        let mut opened =
            File::open(&file.path).map_err(|source| Error::read(&file.path, source))?;
        let bytes = read_plane(&mut opened, file.length, page, window);
        let place = || if image.files.len() == 1 { index } else { at.page };
        let bytes =
            bytes.map_err(|fault| fault.within(&format!("plane {}", place())).at(&file.path))?;
        let (first, step) = match sample {
            None => (0, 1),
            Some(sample) if page.planar => (sample * pixels, 1),
            Some(sample) => (sample, page.samples),
        };
        T::fill(target, &bytes, stored, first, step);
        Ok::<(), Error>(())
    })?;
    Ok(numbers)
}
