//! The directory: where every sub-block lies, in the image and in the file.

use std::io::Read;

use super::pixel::{Compression, PixelType, RATIO_SLACK};
use super::segment::{Bytes, SEGMENT_HEADER, i32_at, refuse_set, u64_at};
use crate::error::{Fault, malformed, unsupported};

/// Bytes between the header of the segment and the first entry.
const BEFORE_ENTRIES: u64 = 128;
/// Bytes of an entry before its dimensions.
pub(crate) const ENTRY: usize = 32;
/// Bytes of a dimension of an entry.
pub(crate) const DIMENSION: usize = 20;
const MOST_DIMENSIONS: i32 = 40;

/// One sub-block: a tile of one plane at one resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: u64,
    pub(crate) pixel: PixelType,
    pub(crate) compression: Compression,
    /// First row and column in the image, anywhere on the stage.
    pub(crate) start: [i32; 2],
    /// Rows and columns of the image that it covers.
    pub(crate) size: [u32; 2],
    /// Rows and columns that are stored: fewer in the levels of a pyramid.
    pub(crate) stored: [u32; 2],
    /// Position along (t, c, z), 0 where the file does not have the dimension.
    pub(crate) plane: [i32; 3],
    pub(crate) scene: Option<i32>,
    pub(crate) mosaic: Option<i32>,
    /// Position along all further dimensions, such as `H`.
    pub(crate) others: Vec<(char, i32)>,
}

impl Entry {
    /// Whether it is of the full resolution.
    pub(crate) fn is_full(&self) -> bool {
        self.size == self.stored
    }

    /// Pixels that are stored.
    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.stored[0]) * u64::from(self.stored[1])
    }
}

/// Reads all entries, each of which lies inside the file.
pub(crate) fn read_directory(bytes: &mut Bytes, at: u64) -> Result<Vec<Entry>, Fault> {
    bytes.check_segment(at, "ZISRAWDIRECTORY")?;
    let length = bytes.length;
    let start = at + SEGMENT_HEADER;
    let count = i32_at(&bytes.at(start, BEFORE_ENTRIES)?, 0);
    let after = start + BEFORE_ENTRIES;
    if u64::try_from(count).is_ok_and(|count| count > (length - after) / ENTRY as u64) {
        return malformed(format!(
            "the directory of {count} sub-blocks does not fit into the file"
        ));
    }
    let mut reader = std::io::BufReader::new(bytes.reader(after, length - after)?);
    let mut entries = Vec::new();
    for index in 0..count {
        let raw = read_entry(&mut reader);
        let entry = raw.and_then(|raw| parse_entry(&raw, length));
        entries.push(entry.map_err(|fault| fault.within(&format!("sub-block {index}")))?);
    }
    check_sizes(&entries, length)?;
    Ok(entries)
}

fn read_entry(reader: &mut impl Read) -> Result<Vec<u8>, Fault> {
    let mut raw = vec![0; ENTRY];
    read_exact(reader, &mut raw)?;
    let dimensions = dimension_count(&raw)?;
    raw.resize(ENTRY + DIMENSION * dimensions, 0);
    read_exact(reader, &mut raw[ENTRY..])?;
    Ok(raw)
}

fn read_exact(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), Fault> {
    match reader.read_exact(bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            malformed("the directory is cut off; the file is damaged")
        }
        other => Ok(other?),
    }
}

/// Number of dimensions of an entry, whose first bytes are given.
pub(crate) fn dimension_count(raw: &[u8]) -> Result<usize, Fault> {
    match &raw[..2] {
        b"DV" => {}
        b"DE" => {
            return unsupported(
                "a CZI of the oldest kind, with directory entries DE",
                "open it in ZEN and save it anew",
            );
        }
        other => {
            let other = String::from_utf8_lossy(other);
            return malformed(format!("its entry begins with {other:?}, expected \"DV\""));
        }
    }
    let count = i32_at(raw, 28);
    match usize::try_from(count) {
        Ok(count) if count <= MOST_DIMENSIONS as usize => Ok(count),
        _ => malformed(format!("it has {count} dimensions, expected at most {MOST_DIMENSIONS}")),
    }
}

/// An entry from its bytes.
pub(crate) fn parse_entry(raw: &[u8], length: u64) -> Result<Entry, Fault> {
    let position = u64_at(raw, 6);
    if position.checked_add(SEGMENT_HEADER).is_none_or(|end| end > length) {
        return malformed(format!(
            "position {position} lies beyond the end of the file ({length} bytes); the file is \
             cut off or damaged"
        ));
    }
    if i32_at(raw, 14) != 0 {
        return refuse_set(i32_at(raw, 14));
    }
    let mut entry = Entry {
        position,
        pixel: PixelType::of(i32_at(raw, 2))?,
        compression: Compression::of(i32_at(raw, 18))?,
        start: [0; 2],
        size: [0; 2],
        stored: [0; 2],
        plane: [0; 3],
        scene: None,
        mosaic: None,
        others: Vec::new(),
    };
    for dimension in raw[ENTRY..].chunks_exact(DIMENSION) {
        add_dimension(&mut entry, dimension)?;
    }
    if entry.size[0] == 0 || entry.size[1] == 0 {
        return malformed("it has no rows or no columns");
    }
    Ok(entry)
}

fn add_dimension(entry: &mut Entry, raw: &[u8]) -> Result<(), Fault> {
    let name: String =
        raw[..4].iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    let (start, size, stored) = (i32_at(raw, 4), i32_at(raw, 8), i32_at(raw, 16));
    let mut letters = name.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else {
        return malformed(format!("a dimension is named {name:?}, expected one letter"));
    };
    if let Some(axis) = ['Y', 'X'].iter().position(|axis| *axis == letter) {
        // A stored size of zero means that it is the size.
        let stored = if stored == 0 { size } else { stored };
        let (Ok(size), Ok(stored)) = (u32::try_from(size), u32::try_from(stored)) else {
            return malformed(format!("its size along {letter} is negative"));
        };
        (entry.start[axis], entry.size[axis], entry.stored[axis]) = (start, size, stored);
        return Ok(());
    }
    if size != 1 {
        let way_out = "open it in ZEN and save it anew";
        return unsupported(format!("a sub-block of size {size} along {letter}"), way_out);
    }
    match letter {
        'T' => entry.plane[0] = start,
        'C' => entry.plane[1] = start,
        'Z' => entry.plane[2] = start,
        'S' => entry.scene = Some(start),
        'M' => entry.mosaic = Some(start),
        other => entry.others.push((other, start)),
    }
    Ok(())
}

/// Fails where the sub-blocks claim more pixels than the file can hold.
fn check_sizes(entries: &[Entry], length: u64) -> Result<(), Fault> {
    let sizes = [Compression::None, Compression::JpegXr, Compression::Zstd0, Compression::Zstd1];
    for compression in sizes {
        let of_it = entries.iter().filter(|entry| entry.compression == compression);
        let size = of_it.map(|entry| u128::from(entry.pixels()) * entry.pixel.bytes() as u128);
        let size = size.sum::<u128>();
        let ratio = compression.largest_ratio();
        let slack = if ratio == 1 { 0 } else { RATIO_SLACK };
        if size > u128::from(length) * u128::from(ratio) + u128::from(slack) {
            return malformed(format!(
                "a file of {length} bytes cannot hold the {size} bytes of its sub-blocks \
                 (compression {}); it is cut off or damaged",
                compression.name()
            ));
        }
    }
    Ok(())
}
