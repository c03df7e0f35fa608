//! [`Store`]: the bytes of a key, from a folder or a web server; [`Chunks`] gives them to `zarrs`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zarrs::storage::byte_range::{ByteRange, ByteRangeIterator};
use zarrs::storage::{Bytes, MaybeBytesIterator, ReadableStorageTraits, StorageError, StoreKey};

use super::web::Web;
use crate::error::{Fault, malformed};

/// A folder of a store: where it is on disk or on a server.
#[derive(Clone, Debug)]
pub(super) enum Store {
    Folder(PathBuf),
    Web(Web),
}

impl Store {
    /// The store of a path below this one, which was checked by [`checked_path`].
    pub(super) fn below(&self, path: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(path)),
            Self::Web(web) => Self::Web(web.below(path)),
        }
    }

    /// The bytes of a file, or a part of them; none where there is no such file.
    ///
    /// More than `limit` bytes are an error.
    pub(super) fn get(
        &self,
        key: &str,
        part: Option<ByteRange>,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, Fault> {
        match self {
            Self::Folder(folder) => read_file(&folder.join(key), part, limit),
            Self::Web(web) => web.get(key, part, limit),
        }
        .map_err(|fault| fault.within(key))
    }

    /// Length of a file in bytes.
    fn length(&self, key: &str) -> Result<Option<u64>, Fault> {
        match self {
            Self::Folder(folder) => Ok(open_file(&folder.join(key))?.map(|(_, length)| length)),
            Self::Web(web) => web.length(key),
        }
    }

    /// Names of what lies in it, where that can be listed.
    pub(super) fn names(&self) -> Vec<String> {
        let Self::Folder(folder) = self else { return Vec::new() };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.path().is_dir());
        let mut names: Vec<String> =
            folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// A path of the metadata, which must lead down and not out of the store.
pub(super) fn checked_path(path: &str) -> Result<&str, Fault> {
    let path = path.trim_end_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\\');
    if path.split('/').any(bad) || Path::new(path).is_absolute() || path.contains(':') {
        return malformed(format!("the path \"{path}\" does not lead into the store"));
    }
    Ok(path)
}

/// A file and its length; none where there is no such file.
fn open_file(path: &Path) -> Result<Option<(File, u64)>, Fault> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata.len())))
}

fn read_file(path: &Path, part: Option<ByteRange>, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
    let Some((mut file, length)) = open_file(path)? else { return Ok(None) };
    let (start, count) = inside(part, length)?;
    check_limit(count, limit)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != count {
        return malformed("the file was cut off while it was read");
    }
    Ok(Some(bytes))
}

/// First byte and number of bytes of a part of a file.
pub(super) fn inside(part: Option<ByteRange>, length: u64) -> Result<(u64, u64), Fault> {
    let (start, count) = match part {
        None => (0, length),
        Some(ByteRange::FromStart(start, Some(count))) => (start, count),
        Some(ByteRange::FromStart(start, None)) => (start, length.saturating_sub(start)),
        Some(ByteRange::Suffix(count)) => (length.saturating_sub(count), count),
    };
    if start.checked_add(count).is_none_or(|stop| stop > length) {
        return malformed(format!(
            "the file is cut off: {count} bytes from byte {start} on were wanted of {length}"
        ));
    }
    Ok((start, count))
}

pub(super) fn check_limit(count: u64, limit: u64) -> Result<(), Fault> {
    if count > limit {
        return Err(Fault::Limit(format!("{count} bytes were found, and at most {limit} fit")));
    }
    Ok(())
}

/// The chunks of an array for `zarrs`.
#[derive(Debug)]
pub(super) struct Chunks {
    /// The folder of the array.
    pub(super) store: Store,
    /// Bytes of a chunk when it is decoded.
    pub(super) decoded: u64,
    /// Most bytes of a chunk that is encoded.
    pub(super) limit: u64,
    /// Whether chunks are compressed by zstd, which believes the size that a chunk claims.
    pub(super) zstd: bool,
}

impl Chunks {
    fn fetch(&self, key: &StoreKey, part: ByteRange) -> Result<Option<Bytes>, StorageError> {
        let bytes = self.store.get(key.as_str(), Some(part), self.limit);
        let bytes = bytes.map_err(storage_error)?;
        if let Some(bytes) = bytes.as_ref().filter(|_| self.zstd) {
            self.check_claim(bytes).map_err(|fault| storage_error(fault.within(key.as_str())))?;
        }
        Ok(bytes.map(Bytes::from))
    }

    /// Fails where a zstd frame claims more than a chunk holds: the decoder would allocate it.
    fn check_claim(&self, bytes: &[u8]) -> Result<(), Fault> {
        const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
        if !bytes.starts_with(&MAGIC) {
            return Ok(());
        }
        let first = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
        let all = zstd::bulk::Decompressor::upper_bound(bytes).map(|bound| bound as u64);
        // Frames that do not tell their size count with 128 KiB for every block, however small.
        let allowed = self.decoded.saturating_mul(4).saturating_add(16 << 20);
        match first.max(all) {
            Some(claim) if claim > allowed => malformed(format!(
                "a chunk claims {claim} bytes, but a chunk of the array has {}",
                self.decoded
            )),
            _ => Ok(()),
        }
    }
}

impl ReadableStorageTraits for Chunks {
    fn get_partial_many<'a>(
        &'a self,
        key: &StoreKey,
        parts: ByteRangeIterator<'a>,
    ) -> Result<MaybeBytesIterator<'a>, StorageError> {
        let mut all = Vec::new();
        for part in parts {
            match self.fetch(key, part)? {
                Some(bytes) => all.push(Ok(bytes)),
                None => return Ok(None),
            }
        }
        Ok(Some(Box::new(all.into_iter())))
    }

    fn size_key(&self, key: &StoreKey) -> Result<Option<u64>, StorageError> {
        self.store.length(key.as_str()).map_err(storage_error)
    }

    fn supports_get_partial(&self) -> bool {
        true
    }
}

/// A fault on its way through `zarrs`; [`super::array`] takes it out again.
fn storage_error(fault: Fault) -> StorageError {
    match fault {
        Fault::Io(error) => StorageError::IOError(Arc::new(error)),
        Fault::Format(what) | Fault::Limit(what) => StorageError::Other(what),
        Fault::Unsupported { what, way_out } => {
            StorageError::Other(format!("{what} is not supported; {way_out}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_down() {
        assert_eq!(checked_path("scale0/image").unwrap(), "scale0/image");
        assert_eq!(checked_path("./0/").unwrap(), "0");
        for bad in ["", "..", "a/../b", "/etc", "a//b", "C:\\x", "a\\..\\b"] {
            assert!(checked_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_of_files_lie_inside() {
        assert_eq!(inside(Some(ByteRange::Suffix(3)), 10).unwrap(), (7, 3));
        assert_eq!(inside(Some(ByteRange::FromStart(4, None)), 10).unwrap(), (4, 6));
        assert!(inside(Some(ByteRange::Suffix(11)), 10).is_err());
        assert!(inside(Some(ByteRange::FromStart(u64::MAX, Some(2))), 10).is_err());
    }

    #[test]
    fn a_chunk_must_not_claim_more_than_it_holds() {
        let store = Store::Folder(PathBuf::new());
        let chunks = Chunks { store, decoded: 8, limit: 100, zstd: true };
        let mut frame = zstd::bulk::compress(&[7; 8], 1).unwrap();
        assert!(chunks.check_claim(&frame).is_ok());
        // A header with an eight-byte content size of 2^60.
        frame.splice(4.., [0xC0 | 0x20, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0]);
        assert!(chunks.check_claim(&frame).is_err());
    }
}
