//! [`Series`]: which planes of which files form one array, and what its axes are.

use std::path::PathBuf;

use super::codec;
use super::directory::Directories;
use super::page::Page;
use crate::error::{Fault, malformed, unsupported};
use crate::metadata::{AxisOrigin, positive};

/// One array in a file or a set of files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Axes over the planes, slowest first, with their lengths.
    pub(crate) leading: Vec<(char, usize)>,
    /// The planes in the order of those axes; none where the file has left one out.
    pub(crate) planes: Vec<Option<PlaneAt>>,
    /// Axes and lengths of the whole array where they are not those of the planes before
    /// those of a plane.
    pub(crate) whole: Option<(String, Vec<usize>)>,
    /// Voxel size along (z, y, x) in µm.
    pub(crate) spacing_um: [Option<f64>; 3],
    /// Names of channels; may be shorter than their number.
    pub(crate) channel_names: Vec<Option<String>>,
    /// Where T, C and Z are known from, where that is not the file.
    pub(crate) origins: Option<[AxisOrigin; 3]>,
    pub(crate) warnings: Vec<String>,
}

/// Where a plane is: file and directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlaneAt {
    pub(crate) file: usize,
    pub(crate) page: usize,
}

/// A TIFF, or several that form images together.
#[derive(Debug)]
pub(crate) struct Image {
    /// What was asked for: a file, a folder or a pattern of names.
    pub(crate) path: PathBuf,
    /// The files; never none.
    pub(crate) files: Vec<Directories>,
    /// The dialect, such as `OME-TIFF`.
    pub(crate) format: &'static str,
    pub(crate) series: Vec<Series>,
}

impl Image {
    /// The directory of a plane.
    pub(crate) fn page(&self, at: PlaneAt) -> &Page {
        &self.files[at.file].pages[at.page]
    }

    /// A directory that stands for all planes of a series.
    pub(crate) fn first_page(&self, series: &Series) -> Result<&Page, Fault> {
        match series.planes.iter().flatten().next() {
            Some(at) => Ok(self.page(*at)),
            None => malformed("the image has no planes"),
        }
    }
}

impl Series {
    /// A series of consecutive directories of the first file.
    pub(crate) fn of_pages(pages: impl IntoIterator<Item = usize>) -> Self {
        let planes = pages.into_iter().map(|page| Some(PlaneAt { file: 0, page })).collect();
        Self { planes, ..Self::default() }
    }

    /// Length of an axis over the planes; 1 where there is none.
    pub(crate) fn length(&self, letter: char) -> usize {
        self.leading.iter().find(|axis| axis.0 == letter).map_or(1, |axis| axis.1)
    }

    /// Axes and lengths of the whole array, axes of length 1 left out as tifffile does.
    pub(crate) fn whole_axes(&self, page: &Page) -> (String, Vec<usize>) {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        let (letters, lengths) = page.axes();
        let long = self.leading.iter().filter(|axis| axis.1 > 1);
        let mut axes: String = long.clone().map(|axis| axis.0).collect();
        let mut shape: Vec<usize> = long.map(|axis| axis.1).collect();
        axes.push_str(letters);
        shape.extend(lengths);
        (axes, shape)
    }

    /// A name for every channel: the file's, or that of a colour, where there is one.
    pub(crate) fn names_of_channels(&self, page: &Page) -> Vec<Option<String>> {
        (0..self.length('C') * page.samples).map(|channel| self.name_of(channel, page)).collect()
    }

    fn name_of(&self, channel: usize, page: &Page) -> Option<String> {
        let stored = self.channel_names.get(channel / page.samples).cloned().flatten();
        if page.samples == 1 {
            return stored;
        }
        let sample = channel % page.samples;
        let colours = ["red", "green", "blue", "alpha"];
        let rgb = page.photometric == 2 && page.samples <= 4;
        let colour = if rgb { colours[sample].to_owned() } else { format!("sample {sample}") };
        Some(stored.map_or(colour.clone(), |name| format!("{name} {colour}")))
    }

    /// The planes along z of one channel at one time point, and the sample to take of each pixel.
    /// Both exist.
    pub(crate) fn stack(
        &self,
        page: &Page,
        channel: usize,
        time: usize,
    ) -> Result<StackPlanes, Fault> {
        let z = self.z_axis()?;
        let (at_channel, sample) = (channel / page.samples, channel % page.samples);
        let depth = z.map_or(1, |axis| self.leading[axis].1);
        let position = |step: usize| {
            let index = |(axis, (letter, _)): (usize, &(char, usize))| match letter {
                'C' => at_channel,
                'T' => time,
                _ if Some(axis) == z => step,
                _ => 0,
            };
            let axes = self.leading.iter();
            let indices = axes.clone().enumerate().map(index);
            axes.zip(indices).fold(0, |at, ((_, length), index)| at * length + index)
        };
        let mut planes = Vec::with_capacity(depth);
        for step in 0..depth {
            match self.planes.get(position(step)).copied().flatten() {
                Some(plane) => planes.push(plane),
                None => malformed(format!("plane {step} of channel {channel} is not in the file"))?,
            }
        }
        Ok(StackPlanes { planes, sample })
    }

    /// Where T, C and Z are known from.
    pub(crate) fn origins(&self, page: &Page) -> [AxisOrigin; 3] {
        let mut origins = self.origins.unwrap_or_else(|| {
            ['T', 'C', 'Z'].map(|letter| {
                let named = self.leading.iter().any(|axis| axis.0 == letter);
                if named { AxisOrigin::Metadata } else { AxisOrigin::Absent }
            })
        });
        if page.samples > 1 {
            origins[1] = AxisOrigin::Metadata;
        }
        let z = self.z_axis().ok().flatten();
        if z.is_some_and(|axis| self.leading[axis].0 != 'Z') {
            origins[2] = AxisOrigin::Assumed;
        }
        origins
    }

    /// Number of planes of a z-stack.
    pub(crate) fn depth(&self) -> Result<usize, Fault> {
        Ok(self.z_axis()?.map_or(1, |axis| self.leading[axis].1))
    }

    /// Position of the axis along which a stack goes, where there is one.
    fn z_axis(&self) -> Result<Option<usize>, Fault> {
        let long = |axis: &usize| self.leading[*axis].1 > 1;
        let all = 0..self.leading.len();
        let z = all.clone().find(|axis| self.leading[*axis].0 == 'Z');
        let unknown = |axis: &usize| !matches!(self.leading[*axis].0, 'Z' | 'C' | 'T');
        let unknown: Vec<usize> = all.filter(long).filter(unknown).collect();
        match (z.filter(long), unknown.as_slice()) {
            (None, []) => Ok(z),
            (Some(z), []) => Ok(Some(z)),
            (None, [only]) => Ok(Some(*only)),
            _ => {
                let axes: String = self.leading.iter().map(|axis| axis.0).collect();
                let lengths: Vec<usize> = self.leading.iter().map(|axis| axis.1).collect();
                unsupported(
                    format!("an image whose planes have the axes {axes} {lengths:?}"),
                    "save it as OME-TIFF with named axes, for instance in Fiji",
                )
            }
        }
    }
}

/// The planes of one z-stack.
#[derive(Debug)]
pub(crate) struct StackPlanes {
    pub(crate) planes: Vec<PlaneAt>,
    /// Which number of every pixel.
    pub(crate) sample: usize,
}

/// Size of a pixel along (y, x) in µm from the resolution tags.
///
/// `unit_um` is the unit that the description names. Without one the tags' own inch or
/// centimetre counts only where the size is one a microscope can have: 72 or 300 dots an
/// inch is what programs write that know nothing. A stored 1/1 says as little.
pub(crate) fn pixel_size_um(page: &Page, unit_um: [Option<f64>; 2]) -> [Option<f64>; 2] {
    let tag_unit = match page.resolution_unit {
        2 => Some(25_400.0),
        3 => Some(10_000.0),
        _ => None,
    };
    let size = |axis: usize, named: Option<f64>| {
        let (numerator, denominator) = page.resolution[axis]?;
        if (numerator, denominator) == (1, 1) {
            return None;
        }
        let units = positive(f64::from(denominator) / f64::from(numerator))?;
        match named {
            Some(unit) => positive(units * unit),
            None => tag_unit.map(|unit| units * unit).filter(|um| (0.005..=20.0).contains(um)),
        }
    };
    [size(1, unit_um[0]), size(0, unit_um[1])]
}

/// Planes that follow the first one without directories of their own: `ImageJ` stores stacks
/// over 4 GB so, and tifffile on request. They are added as directories.
pub(crate) fn add_contiguous(
    file: &mut Directories,
    first: usize,
    count: usize,
) -> Result<(), Fault> {
    let page = &file.pages[first];
    page.stored()?;
    let bytes = page.plane_bytes_raw();
    let expected = |offset: u64| page.offsets[0].checked_add(offset);
    let together = page.compression == 1
        && page.tile.is_none()
        && page.offsets.len() == page.counts.len()
        && page
            .offsets
            .iter()
            .zip(&page.counts)
            .try_fold(0_u64, |at, (offset, count)| {
                (expected(at) == Some(*offset)).then(|| at.saturating_add(*count))
            })
            .is_some();
    let Some(bytes) = bytes.filter(|_| together && !page.offsets.is_empty()) else {
        return malformed(format!("{count} planes are announced, but only one is in the file"));
    };
    let end = bytes.checked_mul(count as u64).and_then(|n| n.checked_add(page.offsets[0]));
    if end.is_none_or(|end| end > file.length) {
        let length = file.length;
        return malformed(format!(
            "{count} planes are announced, but the file ({length} bytes) ends before; it is cut off"
        ));
    }
    let mut template = page.clone();
    template.rows_per_strip = template.height;
    template.description = Vec::new();
    template.counts = vec![bytes];
    let start = page.offsets[0];
    for index in 1..count {
        let offsets = vec![start + index as u64 * bytes];
        file.pages.push(Page { offsets, ..template.clone() });
    }
    Ok(())
}

/// Bytes that planes may take whatever the length of the file: strips of zeros may be left out.
/// While a plane is decoded it is held twice, and a strip of it once more.
const FREE_BYTES: u64 = 16 << 20;

/// Fails where decoding planes would take more memory than the files can stand for.
pub(crate) fn check_memory(image: &Image, planes: &[PlaneAt]) -> Result<(), Fault> {
    let Some(first) = planes.first() else { return Ok(()) };
    let page = image.page(*first);
    let bytes = page.numbers()?.checked_mul(page.stored()?.bytes());
    let bytes = bytes.and_then(|bytes| bytes.checked_mul(planes.len()));
    let length: u64 = image.files.iter().map(|file| file.length).sum();
    // Packed bits grow when they are unpacked.
    let ratio = codec::largest_ratio(page.compression) * if page.bits < 16 { 8 } else { 1 };
    let most = length.saturating_mul(ratio).saturating_add(FREE_BYTES);
    match bytes {
        Some(bytes) if bytes as u64 <= most => Ok(()),
        _ => Err(Fault::Limit(format!(
            "{} planes of {} x {} pixels cannot lie in {length} bytes; the file is cut off or \
             damaged",
            planes.len(),
            page.height,
            page.width
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ByteOrder;

    #[test]
    fn planes_that_no_file_can_hold_are_refused() {
        let fits = |side: usize, length: u64| {
            let page = Page::raw([side, side], 1, 8, ByteOrder::Little);
            let path = Path::new("a.tif").to_owned();
            let (order, pages) = (ByteOrder::Little, vec![page]);
            let file = Directories { path: path.clone(), length, order, big: false, pages };
            let image = Image { path, files: vec![file], format: "TIFF", series: Vec::new() };
            check_memory(&image, &[PlaneAt { file: 0, page: 0 }]).is_ok()
        };
        assert!(fits(4096, 1) && !fits(4097, 1));
        assert!(fits(4097, 8193) && fits(1 << 15, 1 << 30));
    }
}
