//! Writes files under a temporary name and renames them when they are whole.
//!
//! The temporary file lies in the folder of the final one, so that renaming is one step of
//! the file system, and is removed when writing fails. The content is on the disk (fsync)
//! before the name is.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::Error;

/// A file that gets its name in [`AtomicFile::persist`]; dropped before, it vanishes.
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("scores.csv");
/// let mut file = spotlight_io::atomic::AtomicFile::create(&path, false)?;
/// file.write_all(b"name,score\n")?;
/// assert!(!path.exists());
/// file.persist()?;
/// assert_eq!(std::fs::read(&path)?, b"name,score\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    temporary: NamedTempFile,
    path: PathBuf,
    overwrite: bool,
}

impl AtomicFile {
    /// Creates the temporary file beside the final name.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] if the final name exists and `overwrite` is false; [`Error::Io`] if
    /// nothing can be created in the folder.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self, Error> {
        check_free(path, overwrite)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".part");
        #[cfg(unix)]
        {
            // The default of temporary files is 0600; an output is as any file of the user.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder_of(path));
        let temporary = temporary.map_err(|source| Error::write(path, bare(source)))?;
        Ok(Self { temporary, path: path.to_owned(), overwrite })
    }

    /// Brings the content to the disk and gives the file its final name.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] if the name was taken meanwhile and may not be replaced,
    /// [`Error::Io`] if the system refuses; the temporary file is removed.
    pub fn persist(self) -> Result<(), Error> {
        let Self { mut temporary, path, overwrite } = self;
        let flushed = temporary.flush().and_then(|()| temporary.as_file().sync_all());
        flushed.map_err(|source| Error::write(&path, source))?;
        let renamed =
            if overwrite { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        match renamed {
            Ok(_) => {}
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists { path });
            }
            Err(refused) => return Err(Error::write(&path, bare(refused.error))),
        }
        // The name, too, should survive a power cut; where folders cannot be opened as
        // files there is nothing to do.
        if let Ok(folder) = File::open(folder_of(&path)) {
            drop(folder.sync_all());
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.as_file_mut().flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.temporary.as_file_mut().seek(position)
    }
}

/// Writes a file through a function that fills it.
///
/// # Errors
///
/// As [`AtomicFile::create`] and [`AtomicFile::persist`]; [`Error::Io`] with the
/// function's error if it fails.
pub fn write(
    path: &Path,
    overwrite: bool,
    fill: impl FnOnce(&mut BufWriter<AtomicFile>) -> io::Result<()>,
) -> Result<(), Error> {
    let mut writer = BufWriter::with_capacity(1 << 20, AtomicFile::create(path, overwrite)?);
    fill(&mut writer).map_err(|source| Error::write(path, source))?;
    let file = writer.into_inner().map_err(|error| Error::write(path, error.into_error()))?;
    file.persist()
}

/// Writes a file of given bytes.
///
/// # Errors
///
/// As [`write()`].
pub fn write_bytes(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), Error> {
    write(path, overwrite, |writer| writer.write_all(bytes))
}

/// Fails early, before any computing, where an output may not be written.
///
/// # Errors
///
/// [`Error::Exists`] if the path exists and `overwrite` is false.
pub fn check_free(path: &Path, overwrite: bool) -> Result<(), Error> {
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// Fails early where the folder of an output takes no file. Nothing is left there, even where the
/// program is killed meanwhile.
///
/// # Errors
///
/// [`Error::Io`] if nothing can be created in the folder.
pub fn check_writable(path: &Path) -> Result<(), Error> {
    let probe = tempfile::tempfile_in(folder_of(path));
    probe.map(drop).map_err(|source| Error::write(path, bare(source)))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The error without the temporary file's name, which means nothing to a user.
fn bare(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => match error.get_ref() {
            Some(_) => io::Error::from(error.kind()),
            None => error,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn replaces_only_when_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_bytes(&path, b"one", false).unwrap();
        let refused = write_bytes(&path, b"two", false).unwrap_err();
        assert!(matches!(refused, Error::Exists { .. }), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_bytes(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn nothing_stays_behind_when_filling_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let failed = write(&path, false, |writer| {
            writer.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("a.txt") && message.contains("free some space"), "{message}");
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn missing_folder_is_named() {
        let message = write_bytes(Path::new("/no/such/folder/a.txt"), b"", false).unwrap_err();
        let message = message.to_string();
        assert!(message.contains("/no/such/folder/a.txt"), "{message}");
        assert!(message.contains("check the spelling"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn outputs_are_readable_by_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_bytes(&path, b"one", false).unwrap();
        let plain = folder.path().join("b.txt");
        std::fs::write(&plain, b"one").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}
