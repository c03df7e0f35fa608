//! [`Page`]: how one directory says its plane is stored.

use super::directory::{Directory, Input};
use crate::ByteOrder;
use crate::error::{Fault, malformed, unsupported};
use crate::voxels::SampleType;

/// One plane of a file.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Numbers a pixel: 1 for grey, 3 for RGB.
    pub(crate) samples: usize,
    /// Whether the samples lie in planes of their own, not side by side.
    pub(crate) planar: bool,
    /// Bits of a number; 0 where the samples of a pixel differ.
    pub(crate) bits: u16,
    /// TIFF's `SampleFormat`: 1 unsigned, 2 signed, 3 floating point; 0 where they differ.
    pub(crate) format: u16,
    pub(crate) order: ByteOrder,
    pub(crate) compression: u16,
    pub(crate) predictor: u16,
    /// Whether the bits of each byte lie in reverse.
    pub(crate) bits_reversed: bool,
    pub(crate) photometric: u16,
    /// Whether colours are stored at a lower resolution than brightness.
    pub(crate) subsampled: bool,
    /// Depth of a volume stored in one directory (SGI); else 1.
    pub(crate) depth: u64,
    /// Height and width of a tile; none for strips.
    pub(crate) tile: Option<[usize; 2]>,
    /// Rows of a strip; the height for tiles.
    pub(crate) rows_per_strip: usize,
    /// Where the strips or tiles lie.
    pub(crate) offsets: Vec<u64>,
    /// Bytes of each strip or tile.
    pub(crate) counts: Vec<u64>,
    /// Pixels per unit along (x, y) as stored.
    pub(crate) resolution: [Option<(u32, u32)>; 2],
    /// 1 none, 2 inch, 3 cm.
    pub(crate) resolution_unit: u16,
    pub(crate) description: Vec<u8>,
    /// Number of smaller versions below this plane.
    pub(crate) sub_images: u64,
    /// Whether this is a smaller version of another plane.
    pub(crate) reduced: bool,
    /// The private format of a microscope's maker, where its tags say so.
    pub(crate) maker: Option<&'static str>,
}

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// As one of the types of [`SampleType`].
    As(SampleType),
    /// As a 16-bit floating-point number, which is read as f32 without loss.
    F16,
    /// As an unsigned integer of so many bits, fewer than 16, that do not fill its bytes.
    Packed(u16),
}

impl Stored {
    /// The type it is read as.
    pub(crate) fn sample_type(self) -> SampleType {
        match self {
            Self::As(sample_type) => sample_type,
            Self::F16 => SampleType::F32,
            Self::Packed(..=8) => SampleType::U8,
            Self::Packed(_) => SampleType::U16,
        }
    }

    /// Bytes of a number before it is made one of its type.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::As(sample_type) => sample_type.bytes(),
            Self::F16 => 2,
            Self::Packed(_) => self.sample_type().bytes(),
        }
    }
}

/// Tags by which makers mark their own formats, where planes do not mean what they seem.
const MAKERS: [(u16, &str); 4] = [
    (34_412, "Zeiss LSM"),
    (33_628, "MetaMorph STK"),
    (34_362, "Olympus FluoView"),
    (65_200, "FEI"),
];

impl Page {
    /// A plane without directory: its unsigned numbers lie together at a position, uncompressed.
    pub(crate) fn raw(size: [usize; 2], samples: usize, bits: u16, order: ByteOrder) -> Self {
        let [height, width] = size;
        Self {
            width,
            height,
            samples,
            planar: false,
            bits,
            format: 1,
            order,
            compression: 1,
            predictor: 1,
            bits_reversed: false,
            photometric: if samples == 3 { 2 } else { 1 },
            subsampled: false,
            depth: 1,
            tile: None,
            rows_per_strip: height,
            offsets: Vec::new(),
            counts: Vec::new(),
            resolution: [None; 2],
            resolution_unit: 1,
            description: Vec::new(),
            sub_images: 0,
            reduced: false,
            maker: None,
        }
    }

    /// Interprets the tags of a directory.
    pub(crate) fn from_directory(tags: &Directory, input: &mut Input) -> Result<Self, Fault> {
        let mut one = |tag: u16, default: u64| match tags.entry(tag) {
            Some(entry) => input.integer(entry).map(Some),
            None => Ok(Some(default).filter(|_| default != u64::MAX)),
        };
        let mut size = |tag, name: &str| match one(tag, u64::MAX)? {
            None => malformed(format!("the {name} is missing")),
            Some(0) => malformed(format!("the {name} is 0")),
            Some(value) if value > u64::from(u32::MAX >> 1) => {
                Err(Fault::Limit(format!("the {name} is {value}")))
            }
            Some(value) => Ok(value as usize),
        };
        let (width, height) = (size(256, "image width")?, size(257, "image height")?);
        let mut small = |tag, default: u16| -> Result<u16, Fault> {
            let value = one(tag, u64::from(default))?.unwrap_or(0);
            u16::try_from(value).or_else(|_| malformed(format!("tag {tag} is {value}")))
        };
        let samples = usize::from(small(277, 1)?);
        if samples == 0 {
            return malformed("a pixel has 0 samples");
        }
        let (compression, photometric) = (small(259, 1)?, small(262, 1)?);
        let (planar, bits_reversed) = (small(284, 1)? == 2, small(266, 1)? == 2);
        let (predictor, resolution_unit) = (small(317, 1)?, small(296, 2)?);
        let reduced = one(254, 0)?.unwrap_or(0) & 1 == 1;
        let depth = one(32_997, 1)?.unwrap_or(1);
        let rows_per_strip = one(278, height as u64)?.unwrap_or(0).clamp(1, height as u64) as usize;
        let mut page = Self {
            width,
            height,
            samples,
            planar: planar && samples > 1,
            bits: same(tags, input, 258, 1)?,
            format: same(tags, input, 339, 1)?,
            order: input.order,
            compression,
            predictor,
            bits_reversed,
            photometric,
            subsampled: false,
            depth,
            tile: None,
            rows_per_strip,
            offsets: Vec::new(),
            counts: Vec::new(),
            resolution: [None; 2],
            resolution_unit,
            description: Vec::new(),
            sub_images: tags.entry(330).map_or(0, Input::count),
            reduced,
            maker: MAKERS.iter().find(|m| tags.entry(m.0).is_some()).map(|m| m.1),
        };
        page.add_texts(tags, input)?;
        page.add_segments(tags, input)?;
        Ok(page)
    }

    fn add_texts(&mut self, tags: &Directory, input: &mut Input) -> Result<(), Fault> {
        if let Some(entry) = tags.entry(270) {
            self.description = input.text(entry)?;
        }
        for (axis, tag) in [(0, 282), (1, 283)] {
            if let Some(entry) = tags.entry(tag) {
                self.resolution[axis] = input.rational(entry)?;
            }
        }
        let factors = match tags.entry(530) {
            Some(entry) => input.integers(entry)?,
            None => vec![2, 2],
        };
        self.subsampled = self.photometric == 6 && factors.iter().any(|factor| *factor != 1);
        Ok(())
    }

    fn add_segments(&mut self, tags: &Directory, input: &mut Input) -> Result<(), Fault> {
        let tiled = tags.entry(322).is_some() || tags.entry(324).is_some();
        if let (Some(width), Some(height)) = (tags.entry(322), tags.entry(323)) {
            let [height, width] = [input.integer(height)?, input.integer(width)?];
            let sane = |side: u64| (1..=1 << 24).contains(&side);
            if !sane(height) || !sane(width) {
                return malformed(format!("tiles of {height} x {width} pixels"));
            }
            self.tile = Some([height as usize, width as usize]);
        } else if tiled {
            return malformed("the size of the tiles is missing");
        }
        // Some writers store tiles under the tags of strips and the other way round.
        let pairs = if tiled { [(324, 325), (273, 279)] } else { [(273, 279), (324, 325)] };
        let found = pairs.iter().find(|pair| tags.entry(pair.0).is_some());
        let Some((offsets, counts)) = found else {
            return malformed("the positions of the image data are missing");
        };
        if let Some(entry) = tags.entry(*offsets) {
            self.offsets = input.integers(entry)?;
        }
        match tags.entry(*counts) {
            Some(entry) => self.counts = input.integers(entry)?,
            None if self.compression == 1 => {
                // Old writers leave the count out where it follows from the size.
                let bytes = self.segment_bytes_raw();
                self.counts = vec![bytes; self.offsets.len()];
            }
            None => return malformed("the sizes of the compressed strips are missing"),
        }
        Ok(())
    }

    /// Bytes of an uncompressed strip or tile.
    fn segment_bytes_raw(&self) -> u64 {
        let [rows, columns] = self.tile.unwrap_or([self.rows_per_strip, self.width]);
        let samples = if self.planar { 1 } else { self.samples };
        let bits = u64::from(self.bits).saturating_mul(columns as u64 * samples as u64);
        bits.div_ceil(8).saturating_mul(rows as u64)
    }

    /// Bytes of the whole plane without compression.
    pub(crate) fn plane_bytes_raw(&self) -> Option<u64> {
        let (planes, samples) = if self.planar { (self.samples, 1) } else { (1, self.samples) };
        let bits = u64::from(self.bits).checked_mul(self.width as u64)?;
        let row = bits.checked_mul(samples as u64)?.div_ceil(8);
        row.checked_mul(self.height as u64)?.checked_mul(planes as u64)
    }

    /// How the numbers are stored.
    pub(crate) fn stored(&self) -> Result<Stored, Fault> {
        let stored = match (self.format, self.bits) {
            (1 | 4, 8) => SampleType::U8,
            (1 | 4, 16) => SampleType::U16,
            (1 | 4, 32) => SampleType::U32,
            (2, 8) => SampleType::I8,
            (2, 16) => SampleType::I16,
            (2, 32) => SampleType::I32,
            (3, 32) => SampleType::F32,
            (3, 64) => SampleType::F64,
            (3, 16) => return Ok(Stored::F16),
            (1 | 4, bits @ 1..16) => return Ok(Stored::Packed(bits)),
            (0, _) | (_, 0) => {
                return unsupported("a pixel with samples of different types", CONVERT);
            }
            (format, bits) => {
                let kind = match format {
                    1 | 4 => "unsigned",
                    2 => "signed",
                    3 => "floating-point",
                    _ => "complex",
                };
                return unsupported(format!("the {kind} {bits}-bit type of its numbers"), CONVERT);
            }
        };
        Ok(Stored::As(stored))
    }

    /// Numbers in the plane.
    pub(crate) fn numbers(&self) -> Result<usize, Fault> {
        let pixels = self.width.checked_mul(self.height);
        let numbers = pixels.and_then(|pixels| pixels.checked_mul(self.samples));
        numbers.filter(|numbers| *numbers < isize::MAX as usize / 16).ok_or_else(|| {
            Fault::Limit(format!("a plane of {} x {} pixels", self.height, self.width))
        })
    }

    /// Axes of the plane in letters and lengths, slowest first.
    pub(crate) fn axes(&self) -> (&'static str, Vec<usize>) {
        let [y, x, s] = [self.height, self.width, self.samples];
        match (s, self.planar) {
            (1, _) => ("YX", vec![y, x]),
            (_, false) => ("YXS", vec![y, x, s]),
            (_, true) => ("SYX", vec![s, y, x]),
        }
    }

    /// Whether two planes can lie in one array.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        let key = |page: &Self| {
            let shape = (page.width, page.height, page.samples, page.planar);
            (shape, page.bits, page.format, page.depth)
        };
        key(self) == key(other)
    }
}

/// What to do with numbers of an unusual type.
const CONVERT: &str = "convert it to 8-bit, 16-bit or 32-bit grey, for instance in Fiji";

/// The value that all samples share; 0 where they differ.
fn same(tags: &Directory, input: &mut Input, tag: u16, default: u16) -> Result<u16, Fault> {
    let Some(entry) = tags.entry(tag) else { return Ok(default) };
    let values = input.integers(entry)?;
    let Some(first) = values.first() else { return Ok(default) };
    let all = values.iter().all(|value| value == first);
    Ok(if all { u16::try_from(*first).unwrap_or(0) } else { 0 })
}
