//! Writes z-stacks as OME-TIFF that Fiji and tifffile open with axes, voxel size and names.
//!
//! Little-endian; one directory a plane, planes in order of z, then channel; strips of
//! about 256 KiB, compressed in parallel. No predictor: `ImageJ`'s own reader does not undo
//! it for deflate, and Bio-Formats does not know the one for floating-point numbers.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::write::ZlibEncoder;
use rayon::prelude::*;

use crate::Error;
use crate::atomic;
use crate::metadata::positive;
pub(super) use crate::ome_xml::write::PlaneOrder;
use crate::ome_xml::write::{Description, document};
use crate::voxels::{SampleType, Voxels, on_volume};

/// How the planes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Deflate, which every reader knows.
    #[default]
    Deflate,
    /// Zstandard: faster, but not known to `ImageJ` without Bio-Formats.
    Zstd,
}

/// How [`write_ome_tiff`] writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether an existing file is replaced.
    pub overwrite: bool,
    /// The compression.
    pub compression: Compression,
    /// Text for the file's description, such as how the image came about.
    pub description: Option<String>,
}

/// One channel to write.
#[derive(Clone, Copy, Debug)]
pub struct OutputChannel<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its voxels.
    pub voxels: &'a Voxels,
}

/// Writes channels of one shape and type as an OME-TIFF.
///
/// `spacing_um` is the voxel size along (z, y, x). Files above 4 GB become `BigTIFF`. The
/// file appears under its name when it is whole, and not at all where writing fails.
///
/// # Errors
///
/// [`Error::Exists`] if the file exists and may not be replaced, [`Error::Io`] if the system
/// refuses.
///
/// # Panics
///
/// If there is no channel, a channel has no voxels, or shapes or types of the channels
/// differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_io::{OutputChannel, Voxels, WriteOptions, write_ome_tiff};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("stain.ome.tif");
/// let voxels = Voxels::from(Volume::filled([4, 8, 8], 0.5_f32));
/// let stain = OutputChannel { name: "DNA prediction", voxels: &voxels };
/// write_ome_tiff(&path, &[stain], Some([0.29; 3]), &WriteOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_ome_tiff(
    path: &Path,
    channels: &[OutputChannel<'_>],
    spacing_um: Option<[f64; 3]>,
    options: &WriteOptions,
) -> Result<(), Error> {
    let plan = Plan::of_channels(path, channels, spacing_um, options);
    atomic::write(path, options.overwrite, |writer| plan.write(writer, channels))
}

/// Strips have about this many bytes before compression.
const STRIP_BYTES: usize = 256 << 10;

/// Above this size, counted before compression, positions get 64 bits. The rest up to
/// 4 GiB is left for the directories.
const LARGEST_CLASSIC: u64 = (4 << 30) - (64 << 20);

pub(super) struct Plan {
    shape: [usize; 3],
    sample_type: SampleType,
    compression: Compression,
    description: String,
    /// Along (z, y, x), each where it is known.
    spacing_um: [Option<f64>; 3],
    rows_per_strip: usize,
    pub(super) big: bool,
}

impl Plan {
    fn of_channels(
        path: &Path,
        channels: &[OutputChannel<'_>],
        spacing_um: Option<[f64; 3]>,
        options: &WriteOptions,
    ) -> Self {
        assert!(!channels.is_empty(), "an image needs a channel");
        let voxels = channels[0].voxels;
        let (shape, sample_type) = (voxels.shape(), voxels.sample_type());
        for channel in channels {
            assert_eq!(channel.voxels.shape(), shape, "channels of one shape");
            assert_eq!(channel.voxels.sample_type(), sample_type, "channels of one type");
        }
        // A length that is none is left out: better no voxel size than a wrong one.
        let spacing_um = spacing_um.filter(|um| um.iter().all(|um| positive(*um).is_some()));
        let spacing_um = spacing_um.map_or([None; 3], |um| um.map(Some));
        let names: Vec<&str> = channels.iter().map(|channel| channel.name).collect();
        let image = (shape, 1, sample_type);
        Self::new(path, image, (&names, PlaneOrder::DepthFirst), spacing_um, options)
    }

    /// Shape, number of time points and type of the image; its channels and their order.
    pub(super) fn new(
        path: &Path,
        (shape, times, sample_type): ([usize; 3], usize, SampleType),
        (channels, order): (&[&str], PlaneOrder),
        spacing_um: [Option<f64>; 3],
        options: &WriteOptions,
    ) -> Self {
        assert!(shape.iter().all(|length| *length > 0), "an image needs voxels");
        let spacing_um = spacing_um.map(|um| um.and_then(positive));
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let description = document(&Description {
            name: &name,
            description: options.description.as_deref(),
            shape,
            times,
            sample_type,
            channels,
            order,
            spacing_um,
        });
        let row = shape[2] * sample_type.bytes();
        let planes = (shape[0] * channels.len() * times) as u64;
        let bytes = (shape[1] * row) as u64 * planes;
        Self {
            shape,
            sample_type,
            compression: options.compression,
            description,
            spacing_um,
            rows_per_strip: (STRIP_BYTES / row).clamp(1, shape[1]),
            big: bytes + planes * 512 > LARGEST_CLASSIC,
        }
    }

    fn write<W: Write + Seek>(
        &self,
        writer: &mut BufWriter<W>,
        channels: &[OutputChannel<'_>],
    ) -> io::Result<()> {
        let depth = self.shape[0];
        let planes = (0..channels.len() * depth).map(|index| (index / depth, index % depth));
        self.write_planes(writer, planes, |(channel, z)| {
            self.encode_plane(channels[channel].voxels, z)
        })
    }

    /// Writes the file with these planes; `encode` gives the strips of each.
    pub(super) fn write_planes<W: Write + Seek, P>(
        &self,
        writer: &mut BufWriter<W>,
        indices: impl Iterator<Item = P>,
        mut encode: impl FnMut(P) -> io::Result<Vec<Vec<u8>>>,
    ) -> io::Result<()> {
        let mut at = self.write_header(writer)?;
        let mut planes: Vec<Strips> = Vec::new();
        for index in indices {
            let mut strips = Strips::default();
            for strip in encode(index)? {
                // Directories and numbers must begin at even positions.
                writer.write_all(&strip)?;
                let padding = strip.len() % 2;
                writer.write_all(&[0; 1][..padding])?;
                strips.offsets.push(at);
                strips.counts.push(strip.len() as u64);
                at += (strip.len() + padding) as u64;
            }
            planes.push(strips);
        }
        let first = at;
        for (index, strips) in planes.iter().enumerate() {
            let description = if index == 0 { self.description.as_str() } else { "" };
            let bytes = self.directory(at, strips, description, index + 1 == planes.len());
            writer.write_all(&bytes)?;
            at += bytes.len() as u64;
        }
        writer.seek(SeekFrom::Start(if self.big { 8 } else { 4 }))?;
        writer.write_all(&self.word(first))?;
        Ok(())
    }

    /// Writes the header; the position of the first directory comes later.
    fn write_header(&self, writer: &mut impl Write) -> io::Result<u64> {
        if self.big {
            writer.write_all(b"II\x2B\0\x08\0\0\0\0\0\0\0\0\0\0\0")?;
            return Ok(16);
        }
        writer.write_all(b"II\x2A\0\0\0\0\0")?;
        Ok(8)
    }

    /// The compressed strips of a plane.
    pub(super) fn encode_plane(&self, voxels: &Voxels, z: usize) -> io::Result<Vec<Vec<u8>>> {
        let size = self.rows_per_strip * self.shape[2];
        on_volume!(voxels, volume => {
            let strips = volume.plane(z).par_chunks(size);
            strips.map(|strip| {
                let bytes = strip.iter().flat_map(|voxel| voxel.to_le_bytes()).collect();
                self.compress(bytes)
            }).collect()
        })
    }

    fn compress(&self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.compression {
            Compression::None => Ok(bytes),
            Compression::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(&bytes)?;
                encoder.finish()
            }
            Compression::Zstd => zstd::bulk::compress(&bytes, 3),
        }
    }

    /// A directory that lies at a position, with the values that do not fit into its tags.
    fn directory(&self, at: u64, strips: &Strips, description: &str, last: bool) -> Vec<u8> {
        let mut tags = Tags { plan: self, entries: Vec::new() };
        let format = match self.sample_type {
            SampleType::U8 | SampleType::U16 | SampleType::U32 => 1,
            SampleType::I8 | SampleType::I16 | SampleType::I32 => 2,
            SampleType::F32 | SampleType::F64 => 3,
        };
        let compression = match self.compression {
            Compression::None => 1,
            Compression::Deflate => 8,
            Compression::Zstd => 50_000,
        };
        tags.long(254, 0);
        tags.long(256, self.shape[2] as u64);
        tags.long(257, self.shape[1] as u64);
        tags.short(258, self.sample_type.bytes() as u16 * 8);
        tags.short(259, compression);
        tags.short(262, 1);
        if !description.is_empty() {
            tags.text(270, description);
        }
        tags.positions(273, &strips.offsets);
        tags.short(277, 1);
        tags.long(278, self.rows_per_strip as u64);
        tags.positions(279, &strips.counts);
        let [_, y, x] = self.spacing_um;
        if let (Some(y), Some(x)) = (y, x) {
            tags.rational(282, 10_000.0 / x);
            tags.rational(283, 10_000.0 / y);
        }
        tags.short(284, 1);
        if y.is_some() && x.is_some() {
            tags.short(296, 3);
        }
        if !description.is_empty() {
            tags.text(305, concat!("Spotlight ", env!("CARGO_PKG_VERSION")));
        }
        tags.short(339, format);
        tags.bytes(at, last)
    }

    /// A position in the width of the file's kind.
    fn word(&self, value: u64) -> Vec<u8> {
        let width = if self.big { 8 } else { 4 };
        value.to_le_bytes()[..width].to_vec()
    }
}

/// Where the strips of a plane lie.
#[derive(Default)]
struct Strips {
    offsets: Vec<u64>,
    counts: Vec<u64>,
}

/// The tags of a directory: number, type, count, bytes of the values.
struct Tags<'a> {
    plan: &'a Plan,
    entries: Vec<(u16, u16, u64, Vec<u8>)>,
}

impl Tags<'_> {
    fn short(&mut self, tag: u16, value: u16) {
        self.entries.push((tag, 3, 1, value.to_le_bytes().to_vec()));
    }

    fn long(&mut self, tag: u16, value: u64) {
        self.entries.push((tag, 4, 1, value.to_le_bytes()[..4].to_vec()));
    }

    fn text(&mut self, tag: u16, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.entries.push((tag, 2, bytes.len() as u64, bytes));
    }

    fn positions(&mut self, tag: u16, values: &[u64]) {
        let bytes = values.iter().flat_map(|value| self.plan.word(*value)).collect();
        let kind = if self.plan.big { 16 } else { 4 };
        self.entries.push((tag, kind, values.len() as u64, bytes));
    }

    fn rational(&mut self, tag: u16, value: f64) {
        let (numerator, denominator) = fraction(value);
        let mut bytes = numerator.to_le_bytes().to_vec();
        bytes.extend(denominator.to_le_bytes());
        self.entries.push((tag, 5, 1, bytes));
    }

    /// The directory and, after it, the longer values.
    fn bytes(&self, at: u64, last: bool) -> Vec<u8> {
        let word = if self.plan.big { 8 } else { 4 };
        let count = self.entries.len();
        let count_bytes = if self.plan.big { 8 } else { 2 };
        let length = count_bytes + count * (4 + 2 * word) + word;
        // Values begin after the directory at an even position.
        let values_at = length + length % 2;
        let mut values: Vec<u8> = Vec::new();
        let mut bytes = (count as u64).to_le_bytes()[..count_bytes].to_vec();
        for (tag, kind, count, data) in &self.entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(self.plan.word(*count));
            if data.len() <= word {
                let mut inline = data.clone();
                inline.resize(word, 0);
                bytes.extend(inline);
            } else {
                bytes.extend(self.plan.word(at + (values_at + values.len()) as u64));
                values.extend(data);
                values.resize(values.len().next_multiple_of(2), 0);
            }
        }
        let next = if last { 0 } else { at + (values_at + values.len()) as u64 };
        bytes.extend(self.plan.word(next));
        bytes.resize(values_at, 0);
        bytes.extend(values);
        bytes
    }
}

/// A positive number as a fraction of two 32-bit numbers, with as many digits as fit.
fn fraction(value: f64) -> (u32, u32) {
    let mut denominator = 1_000_000_000_u32;
    while denominator > 1 && value * f64::from(denominator) > f64::from(u32::MAX) {
        denominator /= 10;
    }
    ((value * f64::from(denominator)).round() as u32, denominator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channel, Selection, inspect, read_stack};
    use spotlight_image::Volume;
    use std::io::Cursor;

    fn ramp(shape: [usize; 3]) -> Volume<u16> {
        Volume::from_fn(shape, |[z, y, x]| (1000 * z + 40 * y + x) as u16)
    }

    #[track_caller]
    fn check(voxels: &Voxels, compression: Compression) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ome.tif");
        let options = WriteOptions { compression, ..WriteOptions::default() };
        let channel = OutputChannel { name: "dna", voxels };
        write_ome_tiff(&path, &[channel], Some([0.5, 0.25, 0.2]), &options).unwrap();
        let found = read_stack(&path, &Selection::default()).unwrap();
        assert_eq!(&found.voxels, voxels);
        assert_eq!(found.spacing_um, Some([0.5, 0.25, 0.2]));
        assert_eq!(found.channel_name.as_deref(), Some("dna"));
    }

    #[test]
    fn every_type_and_compression_is_read_back() {
        let ramp = ramp([3, 7, 11]);
        for compression in [Compression::None, Compression::Deflate, Compression::Zstd] {
            check(&ramp.clone().into(), compression);
            check(&ramp.map(|v| *v as u8).into(), compression);
            check(&ramp.map(|v| *v as i8).into(), compression);
            check(&ramp.map(|v| 500 - *v as i16).into(), compression);
            check(&ramp.map(|v| u32::from(*v) * 70_000).into(), compression);
            check(&ramp.map(|v| -i32::from(*v) * 70_000).into(), compression);
            check(&ramp.map(|v| f32::from(*v) / 3.0).into(), compression);
            check(&ramp.map(|v| f64::from(*v) / 3.0).into(), compression);
        }
    }

    #[test]
    fn several_strips_and_channels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ome.tif");
        let one = Voxels::from(ramp([2, 300, 700]));
        let two = Voxels::from(ramp([2, 300, 700]).map(|v| v / 2));
        let channels = [("bright", &one), ("dna", &two)];
        let channels = channels.map(|(name, voxels)| OutputChannel { name, voxels });
        write_ome_tiff(&path, &channels, None, &WriteOptions::default()).unwrap();
        let info = inspect(&path).unwrap();
        assert_eq!((info.axes.as_str(), info.shape), ("CZYX", vec![2, 2, 300, 700]));
        assert_eq!(info.channel_names, ["bright", "dna"]);
        assert_eq!(info.spacing_um, None);
        let dna = Selection { channel: Some(Channel::Name("DNA".into())), ..Selection::default() };
        assert_eq!(read_stack(&path, &dna).unwrap().voxels, two);
        let message = read_stack(&path, &Selection::default()).unwrap_err().to_string();
        assert!(message.contains("0 (bright), 1 (dna)"), "{message}");
    }

    #[test]
    fn big_files_have_wide_positions() {
        let voxels = Voxels::from(ramp([3, 8, 9]));
        let channel = OutputChannel { name: "dna", voxels: &voxels };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.ome.tif");
        let options = WriteOptions::default();
        let mut plan = Plan::of_channels(&path, &[channel], Some([1.0; 3]), &options);
        assert!(!plan.big);
        plan.big = true;
        let mut writer = BufWriter::new(Cursor::new(Vec::new()));
        plan.write(&mut writer, &[channel]).unwrap();
        std::fs::write(&path, writer.into_inner().unwrap().into_inner()).unwrap();
        assert!(matches!(inspect(&path).unwrap().storage, crate::Storage::Tiff { big: true, .. }));
        assert_eq!(read_stack(&path, &Selection::default()).unwrap().voxels, voxels);
    }

    #[test]
    fn an_existing_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ome.tif");
        std::fs::write(&path, b"mine").unwrap();
        let voxels = Voxels::from(ramp([1, 2, 2]));
        let channel = OutputChannel { name: "dna", voxels: &voxels };
        let refused = write_ome_tiff(&path, &[channel], None, &WriteOptions::default());
        assert!(matches!(refused, Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        let replace = WriteOptions { overwrite: true, ..WriteOptions::default() };
        write_ome_tiff(&path, &[channel], None, &replace).unwrap();
        assert_eq!(read_stack(&path, &Selection::default()).unwrap().voxels, voxels);
    }

    #[test]
    fn fractions_keep_their_digits() {
        assert_eq!(fraction(1.0), (1_000_000_000, 1_000_000_000));
        let (numerator, denominator) = fraction(10_000.0 / 0.29);
        let found = 10_000.0 * f64::from(denominator) / f64::from(numerator);
        assert!((found - 0.29).abs() < 1e-9, "{found}");
    }
}
