//! The header of a file, and parts of a file that are checked against its length.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Fault, malformed, unsupported};

/// Bytes before the content of every segment: its name, its length and how much is used.
pub(crate) const SEGMENT_HEADER: u64 = 32;

/// What the header of a file says.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) directory_at: u64,
    /// None where the file has no metadata.
    pub(crate) metadata_at: Option<u64>,
    /// Whether the writer did not finish.
    pub(crate) unfinished: bool,
}

/// An open file of known length.
#[derive(Debug)]
pub(crate) struct Bytes {
    file: File,
    pub(crate) length: u64,
}

impl Bytes {
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, length })
    }

    /// Some bytes of the file.
    pub(crate) fn at(&mut self, position: u64, count: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.reader(position, count)?.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != count {
            return malformed("the file became shorter while it was read");
        }
        Ok(bytes)
    }

    /// A reader of some bytes of the file.
    pub(crate) fn reader(&mut self, position: u64, count: u64) -> Result<impl Read, Fault> {
        if position.checked_add(count).is_none_or(|end| end > self.length) {
            return malformed(format!(
                "{count} bytes at position {position} lie beyond the end of the file ({} bytes); \
                 the file is cut off or damaged",
                self.length
            ));
        }
        self.file.seek(SeekFrom::Start(position))?;
        Ok((&mut self.file).take(count))
    }

    /// Fails where no segment of this name begins at a position.
    pub(crate) fn check_segment(&mut self, position: u64, name: &str) -> Result<(), Fault> {
        let found = self.at(position, SEGMENT_HEADER)?;
        let found = found[..16].split(|byte| *byte == 0).next().unwrap_or_default();
        if found == name.as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(found);
        malformed(format!(
            "expected the segment {name} at position {position}, found {found:?}; the file is damaged"
        ))
    }
}

/// Reads the header of a file; refuses one part of a set.
pub(crate) fn read_header(bytes: &mut Bytes) -> Result<Header, Fault> {
    bytes.check_segment(0, "ZISRAWFILE")?;
    let fields = bytes.at(SEGMENT_HEADER, 80)?;
    let major = i32_at(&fields, 0);
    if major != 1 {
        return unsupported(
            format!("version {major} of CZI"),
            "open it in ZEN and export it as OME-TIFF",
        );
    }
    let part = i32_at(&fields, 48);
    // Identifiers of the first file of a set and of this one; zeros say nothing.
    let (first, own) = (&fields[16..32], &fields[32..48]);
    let elsewhere = first != own && [first, own].iter().all(|id| id.iter().any(|byte| *byte != 0));
    if part != 0 || elsewhere {
        return refuse_set(part);
    }
    let metadata_at = u64_at(&fields, 60);
    Ok(Header {
        directory_at: u64_at(&fields, 52),
        metadata_at: (metadata_at != 0).then_some(metadata_at),
        unfinished: i32_at(&fields, 68) != 0,
    })
}

/// Refuses one file of a set of several.
pub(crate) fn refuse_set<T>(part: i32) -> Result<T, Fault> {
    unsupported(
        format!("a CZI image that is spread over several files (part {part})"),
        "open the first of them in ZEN and save it as one file",
    )
}

/// The number at a place that exists.
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

/// The number at a place that exists. Positions and lengths are signed in the file; a negative
/// one becomes larger than any file.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}
