//! The header and the directories of a TIFF: tags and their values.
//!
//! Nothing in a file is believed before it is checked: positions against the file's
//! length, counts against the bytes that are there, the chain of directories against
//! loops, and all tag values together against the file's size, so that a small hostile
//! file cannot ask for much memory or time.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::page::Page;
use crate::error::{Fault, malformed};
use crate::{ByteOrder, Error};

/// The directories of one file, each described as a [`Page`].
#[derive(Debug)]
pub(crate) struct Directories {
    pub(crate) path: PathBuf,
    /// Bytes of the file.
    pub(crate) length: u64,
    pub(crate) order: ByteOrder,
    pub(crate) big: bool,
    pub(crate) pages: Vec<Page>,
}

/// Most directories that a file may have.
const MOST_PAGES: usize = 4_000_000;

/// Reads all directories of the chain.
pub(crate) fn read_directories(path: &Path) -> Result<Directories, Error> {
    let mut input = Input::open(path)?;
    walk(&mut input, path).map_err(|fault| fault.at(path))
}

fn walk(input: &mut Input, path: &Path) -> Result<Directories, Fault> {
    let mut next = input.header()?;
    let mut seen = HashSet::new();
    let mut pages = Vec::new();
    while next != 0 {
        if !seen.insert(next) {
            return malformed(
                "the chain of TIFF directories runs in a circle; the file is damaged",
            );
        }
        if pages.len() == MOST_PAGES {
            return Err(Fault::Limit(format!("more than {MOST_PAGES} planes")));
        }
        let place = format!("directory {}", pages.len());
        let (directory, following) = input.directory(next).map_err(|f| f.within(&place))?;
        let page = Page::from_directory(&directory, input).map_err(|f| f.within(&place))?;
        pages.push(page);
        next = following;
    }
    if pages.is_empty() {
        return malformed("the TIFF file holds no image");
    }
    let (length, order, big) = (input.length, input.order, input.big);
    Ok(Directories { path: path.to_owned(), length, order, big, pages })
}

/// One tag: where its values lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    at: u64,
}

/// The tags of one directory.
#[derive(Debug)]
pub(crate) struct Directory {
    entries: Vec<Entry>,
}

impl Directory {
    /// The entry of a tag; the first where a tag is repeated.
    pub(crate) fn entry(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().copied().find(|entry| entry.tag == tag)
    }
}

/// A TIFF file opened for its tags.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    pub(crate) length: u64,
    pub(crate) order: ByteOrder,
    pub(crate) big: bool,
    window: Vec<u8>,
    window_at: u64,
    /// Bytes of tag values that may still be read.
    budget: u64,
}

/// Bytes read at a time: a directory and its small values usually lie together.
const WINDOW: u64 = 4096;

impl Input {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::read(path, source))?;
        let metadata = file.metadata().map_err(|source| Error::read(path, source))?;
        let length = metadata.len();
        Ok(Self {
            file,
            length,
            order: ByteOrder::Little,
            big: false,
            window: Vec::new(),
            window_at: 0,
            budget: length.saturating_mul(4).saturating_add(1 << 20),
        })
    }

    /// Reads the header; gives the position of the first directory.
    fn header(&mut self) -> Result<u64, Fault> {
        if self.length < 8 {
            return malformed("not a TIFF file: shorter than a header");
        }
        self.order = match self.bytes(0, 2)?.as_slice() {
            b"II" => ByteOrder::Little,
            b"MM" => ByteOrder::Big,
            _ => return malformed("not a TIFF file: it does not begin with II or MM"),
        };
        match self.unsigned(2, 2)? {
            42 => self.unsigned(4, 4),
            43 if self.length >= 16 && self.unsigned(4, 2)? == 8 => {
                self.big = true;
                self.unsigned(8, 8)
            }
            other => malformed(format!("not a TIFF file: version {other}, expected 42 or 43")),
        }
    }

    fn directory(&mut self, at: u64) -> Result<(Directory, u64), Fault> {
        let (count_bytes, entry_bytes, word) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.unsigned(at, count_bytes)?;
        let bytes = count.checked_mul(entry_bytes).and_then(|n| n.checked_add(word));
        let start = at + count_bytes;
        let end = bytes.and_then(|bytes| start.checked_add(bytes));
        if end.is_none_or(|end| end > self.length) || count > 65_536 {
            return malformed(format!("{count} tags do not fit into the file; it is cut off"));
        }
        self.spend(count * entry_bytes)?;
        let mut entries = Vec::with_capacity(count as usize);
        for index in 0..count {
            let entry = start + index * entry_bytes;
            let (tag, kind) = (self.unsigned(entry, 2)?, self.unsigned(entry + 2, 2)?);
            let count = self.unsigned(entry + 4, word)?;
            let value = entry + 4 + word;
            let size = count.saturating_mul(size_of_kind(kind as u16));
            let at = if size <= word { value } else { self.unsigned(value, word)? };
            entries.push(Entry { tag: tag as u16, kind: kind as u16, count, at });
        }
        let next = self.unsigned(start + count * entry_bytes, word)?;
        Ok((Directory { entries }, next))
    }

    /// All values of an entry that holds unsigned integers.
    pub(crate) fn integers(&mut self, entry: Entry) -> Result<Vec<u64>, Fault> {
        let width = match entry.kind {
            1 | 3 | 4 | 13 | 16 | 18 => size_of_kind(entry.kind),
            kind => return malformed(format!("tag {} has values of type {kind}", entry.tag)),
        };
        let bytes = self.values(entry)?;
        let order = self.order;
        Ok(bytes.chunks_exact(width as usize).map(|b| unsigned_of(b, order)).collect())
    }

    /// The first value of an entry that holds unsigned integers.
    pub(crate) fn integer(&mut self, entry: Entry) -> Result<u64, Fault> {
        if entry.count == 0 {
            return malformed(format!("tag {} is empty", entry.tag));
        }
        let first = self.integers(Entry { count: 1, ..entry })?;
        Ok(first[0])
    }

    /// Numerator and denominator of an entry.
    pub(crate) fn rational(&mut self, entry: Entry) -> Result<Option<(u32, u32)>, Fault> {
        if entry.kind != 5 || entry.count == 0 {
            return Ok(None);
        }
        let numerator = self.unsigned(entry.at, 4)?;
        let denominator = self.unsigned(entry.at.saturating_add(4), 4)?;
        Ok(Some((numerator as u32, denominator as u32)))
    }

    /// The bytes of a text entry, without the zero at its end.
    pub(crate) fn text(&mut self, entry: Entry) -> Result<Vec<u8>, Fault> {
        let mut bytes = self.values(entry)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    /// How many values an entry has.
    pub(crate) fn count(entry: Entry) -> u64 {
        entry.count
    }

    fn values(&mut self, entry: Entry) -> Result<Vec<u8>, Fault> {
        let size = entry.count.saturating_mul(size_of_kind(entry.kind));
        self.spend(size)?;
        self.bytes(entry.at, size).map_err(|f| f.within(&format!("tag {}", entry.tag)))
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Fault> {
        let limit = "the tags together are larger than the file; the file is damaged";
        self.budget =
            self.budget.checked_sub(bytes).ok_or_else(|| Fault::Limit(limit.to_owned()))?;
        Ok(())
    }

    fn unsigned(&mut self, at: u64, width: u64) -> Result<u64, Fault> {
        let bytes = self.bytes(at, width)?;
        Ok(unsigned_of(&bytes, self.order))
    }

    /// Bytes of the file, through a window that saves system calls.
    fn bytes(&mut self, at: u64, count: u64) -> Result<Vec<u8>, Fault> {
        let end = at.checked_add(count).filter(|end| *end <= self.length);
        let Some(end) = end else {
            let length = self.length;
            return malformed(format!(
                "position {at} lies beyond the end of the file ({length} bytes); the file is cut \
                 off or damaged"
            ));
        };
        if count > WINDOW {
            return read_exact_at(&mut self.file, at, count);
        }
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || end > window_end {
            let count = WINDOW.min(self.length - at);
            self.window = read_exact_at(&mut self.file, at, count)?;
            self.window_at = at;
        }
        let from = (at - self.window_at) as usize;
        Ok(self.window[from..from + count as usize].to_vec())
    }
}

/// Bytes of a file; the caller has checked that they are there.
pub(crate) fn read_exact_at(file: &mut File, at: u64, count: u64) -> Result<Vec<u8>, Fault> {
    let Ok(count) = usize::try_from(count) else {
        return Err(Fault::Limit(format!("{count} bytes do not fit into memory")));
    };
    let mut bytes = vec![0; count];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn unsigned_of(bytes: &[u8], order: ByteOrder) -> u64 {
    let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match order {
        ByteOrder::Big => bytes.iter().fold(0, push),
        ByteOrder::Little => bytes.iter().rev().fold(0, push),
    }
}

/// Bytes of one value of a TIFF type; 1 for types that do not exist.
fn size_of_kind(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}
