//! Writes z-stacks as OME-TIFF that Fiji and tifffile open with axes, voxel size and names.
//!
//! Little-endian; one directory a plane, planes in order of z, then channel; strips of
//! about 256 KiB, compressed in parallel. No predictor: `ImageJ`'s own reader does not undo
//! it for deflate, and Bio-Formats does not know the one for floating-point numbers.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::Error;
use crate::atomic::AtomicFile;
use crate::metadata::positive;
pub(super) use crate::ome_xml::write::PlaneOrder;
use crate::ome_xml::write::{Description, document};
use crate::tiff::codec;
use crate::tiff::tags::{Tags, word};
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
    assert!(!channels.is_empty(), "an image needs a channel");
    let voxels = channels[0].voxels;
    let names: Vec<&str> = channels.iter().map(|channel| channel.name).collect();
    let form = OutputForm { shape: voxels.shape(), sample_type: voxels.sample_type(), spacing_um };
    for channel in channels {
        assert_eq!(channel.voxels.shape(), form.shape, "channels of one shape");
        assert_eq!(channel.voxels.sample_type(), form.sample_type, "channels of one type");
    }
    let mut writer = OmeTiffWriter::create(path, &names, form, options)?;
    for channel in channels {
        writer.write(channel.voxels)?;
    }
    writer.finish()
}

/// What the channels of an image have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputForm {
    /// Number of voxels of a channel along (z, y, x).
    pub shape: [usize; 3],
    /// The type of the numbers.
    pub sample_type: SampleType,
    /// Voxel size along (z, y, x) in µm.
    pub spacing_um: Option<[f64; 3]>,
}

/// Writes an OME-TIFF plane by plane: the file of [`write_ome_tiff`], byte by byte, of an image
/// that need not be in memory.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_io::{OmeTiffWriter, OutputForm, SampleType, Voxels, WriteOptions};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("labels.ome.tif");
/// let form = OutputForm { shape: [4, 8, 8], sample_type: SampleType::U16, spacing_um: None };
/// let mut writer = OmeTiffWriter::create(&path, &["Nuclei"], form, &WriteOptions::default())?;
/// for z in 0..4_u16 {
///     writer.write(&Voxels::from(Volume::filled([1, 8, 8], z)))?;
/// }
/// writer.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OmeTiffWriter {
    path: PathBuf,
    file: Planes<AtomicFile>,
}

impl OmeTiffWriter {
    /// Begins a file with channels of these names.
    ///
    /// # Errors
    ///
    /// As [`write_ome_tiff`].
    ///
    /// # Panics
    ///
    /// If there is no channel, or the channels have no voxels.
    pub fn create(
        path: &Path,
        channels: &[&str],
        form: OutputForm,
        options: &WriteOptions,
    ) -> Result<Self, Error> {
        let OutputForm { shape, sample_type, spacing_um } = form;
        // A length that is none is left out: better no voxel size than a wrong one.
        let spacing_um = spacing_um.filter(|um| um.iter().all(|um| positive(*um).is_some()));
        let image = Planned {
            shape,
            times: 1,
            sample_type,
            channels,
            order: PlaneOrder::DepthFirst,
            spacing_um: spacing_um.map_or([None; 3], |um| um.map(Some)),
        };
        Self::begin(path, &image, options)
    }

    /// Begins a file for an image of any kind.
    pub(super) fn begin(
        path: &Path,
        image: &Planned<'_>,
        options: &WriteOptions,
    ) -> Result<Self, Error> {
        let plan = Plan::new(path, image, options);
        let writer =
            BufWriter::with_capacity(1 << 20, AtomicFile::create(path, options.overwrite)?);
        let file = Planes::begin(plan, writer).map_err(|source| Error::write(path, source))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes the next planes: those of a channel in the order of z, then those of the next.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses.
    ///
    /// # Panics
    ///
    /// If the planes or their numbers are of another form, or too many.
    pub fn write(&mut self, planes: &Voxels) -> Result<(), Error> {
        self.file.write(planes).map_err(|source| Error::write(&self.path, source))
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    ///
    /// As [`write_ome_tiff`].
    ///
    /// # Panics
    ///
    /// If planes are missing.
    pub fn finish(self) -> Result<(), Error> {
        let writer = self.file.finish().map_err(|source| Error::write(&self.path, source))?;
        let file = writer.into_inner();
        file.map_err(|error| Error::write(&self.path, error.into_error()))?.persist()
    }
}

/// Strips have about this many bytes before compression.
const STRIP_BYTES: usize = 256 << 10;

/// Above this size, counted before compression, positions get 64 bits. The rest up to
/// 4 GiB is left for the directories.
const LARGEST_CLASSIC: u64 = (4 << 30) - (64 << 20);

/// The image of a file.
pub(super) struct Planned<'a> {
    /// Number of voxels of a channel along (z, y, x).
    pub(super) shape: [usize; 3],
    pub(super) times: usize,
    pub(super) sample_type: SampleType,
    /// Names of the channels; empty where one has none.
    pub(super) channels: &'a [&'a str],
    pub(super) order: PlaneOrder,
    /// Voxel size along (z, y, x) in µm, each where it is known.
    pub(super) spacing_um: [Option<f64>; 3],
}

#[derive(Debug)]
struct Plan {
    shape: [usize; 3],
    /// Planes of all channels and time points.
    planes: usize,
    sample_type: SampleType,
    compression: Compression,
    description: String,
    /// Along (z, y, x), each where it is known.
    spacing_um: [Option<f64>; 3],
    rows_per_strip: usize,
    big: bool,
}

/// A file that planes are written to one after the other.
#[derive(Debug)]
struct Planes<W: Write> {
    plan: Plan,
    writer: BufWriter<W>,
    written: Vec<Strips>,
    at: u64,
}

impl<W: Write + Seek> Planes<W> {
    fn begin(plan: Plan, mut writer: BufWriter<W>) -> io::Result<Self> {
        let at = plan.write_header(&mut writer)?;
        Ok(Self { plan, writer, written: Vec::new(), at })
    }

    fn write(&mut self, voxels: &Voxels) -> io::Result<()> {
        let [depth, height, width] = voxels.shape();
        assert_eq!([height, width], self.plan.shape[1..], "planes of one shape");
        assert_eq!(voxels.sample_type(), self.plan.sample_type, "planes of one type");
        assert!(self.written.len() + depth <= self.plan.planes, "too many planes");
        for z in 0..depth {
            let mut strips = Strips::default();
            for strip in self.plan.encode_plane(voxels, z)? {
                // Directories and numbers must begin at even positions.
                self.writer.write_all(&strip)?;
                let padding = strip.len() % 2;
                self.writer.write_all(&[0; 1][..padding])?;
                strips.offsets.push(self.at);
                strips.counts.push(strip.len() as u64);
                self.at += (strip.len() + padding) as u64;
            }
            self.written.push(strips);
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<BufWriter<W>> {
        assert_eq!(self.written.len(), self.plan.planes, "planes are missing");
        let (plan, first) = (&self.plan, self.at);
        for (index, strips) in self.written.iter().enumerate() {
            let description = if index == 0 { plan.description.as_str() } else { "" };
            let bytes = plan.directory(self.at, strips, description, index + 1 == plan.planes);
            self.writer.write_all(&bytes)?;
            self.at += bytes.len() as u64;
        }
        self.writer.seek(SeekFrom::Start(if plan.big { 8 } else { 4 }))?;
        self.writer.write_all(&word(first, plan.big))?;
        Ok(self.writer)
    }
}

impl Plan {
    fn new(path: &Path, image: &Planned<'_>, options: &WriteOptions) -> Self {
        let Planned { shape, times, sample_type, channels, order, spacing_um } = *image;
        assert!(!channels.is_empty() && times > 0, "an image needs a channel and a time point");
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
        let planes = shape[0] * channels.len() * times;
        let bytes = (shape[1] * row * planes) as u64;
        Self {
            shape,
            planes,
            sample_type,
            compression: options.compression,
            description,
            spacing_um,
            rows_per_strip: (STRIP_BYTES / row).clamp(1, shape[1]),
            big: bytes + planes as u64 * 512 > LARGEST_CLASSIC,
        }
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
    fn encode_plane(&self, voxels: &Voxels, z: usize) -> io::Result<Vec<Vec<u8>>> {
        let size = self.rows_per_strip * self.shape[2];
        on_volume!(voxels, volume => {
            let strips = volume.plane(z).par_chunks(size);
            strips.map(|strip| {
                let bytes = strip.iter().flat_map(|voxel| voxel.to_le_bytes()).collect();
                codec::compress(self.compression, bytes)
            }).collect()
        })
    }

    /// A directory that lies at a position, with the values that do not fit into its tags.
    fn directory(&self, at: u64, strips: &Strips, description: &str, last: bool) -> Vec<u8> {
        let mut tags = Tags { big: self.big, entries: Vec::new() };
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
}

/// Where the strips of a plane lie.
#[derive(Debug, Default)]
struct Strips {
    offsets: Vec<u64>,
    counts: Vec<u64>,
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.ome.tif");
        let image = Planned {
            shape: [3, 8, 9],
            times: 1,
            sample_type: SampleType::U16,
            channels: &["dna"],
            order: PlaneOrder::DepthFirst,
            spacing_um: [Some(1.0); 3],
        };
        let mut plan = Plan::new(&path, &image, &WriteOptions::default());
        assert!(!plan.big);
        plan.big = true;
        let mut planes = Planes::begin(plan, BufWriter::new(Cursor::new(Vec::new()))).unwrap();
        planes.write(&voxels).unwrap();
        let writer = planes.finish().unwrap();
        std::fs::write(&path, writer.into_inner().unwrap().into_inner()).unwrap();
        assert!(matches!(inspect(&path).unwrap().storage, crate::Storage::Tiff { big: true, .. }));
        assert_eq!(read_stack(&path, &Selection::default()).unwrap().voxels, voxels);
    }

    #[test]
    fn planes_and_slabs_make_the_file_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).join("a.ome.tif");
        let channels = [ramp([5, 30, 7]), ramp([5, 30, 7]).map(|v| v / 3)];
        let form = OutputForm {
            shape: [5, 30, 7],
            sample_type: SampleType::U16,
            spacing_um: Some([0.5, 0.25, 0.2]),
        };
        for slab in 1..=5 {
            std::fs::create_dir(folder.path().join(slab.to_string())).unwrap();
            let path = path(&slab.to_string());
            let names = ["bright", "dna"];
            let options = WriteOptions::default();
            let mut writer = OmeTiffWriter::create(&path, &names, form, &options).unwrap();
            for channel in &channels {
                for planes in channel.voxels.chunks(slab * 30 * 7) {
                    let shape = [planes.len() / (30 * 7), 30, 7];
                    writer.write(&Volume::new(shape, planes.to_vec()).into()).unwrap();
                }
            }
            assert!(!path.exists());
            writer.finish().unwrap();
        }
        let voxels = channels.map(Voxels::from);
        let outputs = [("bright", &voxels[0]), ("dna", &voxels[1])];
        let outputs = outputs.map(|(name, voxels)| OutputChannel { name, voxels });
        std::fs::create_dir(folder.path().join("whole")).unwrap();
        write_ome_tiff(&path("whole"), &outputs, form.spacing_um, &WriteOptions::default())
            .unwrap();
        let whole = std::fs::read(path("whole")).unwrap();
        for slab in 1..=5 {
            assert!(std::fs::read(path(&slab.to_string())).unwrap() == whole, "{slab}");
        }
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
}
