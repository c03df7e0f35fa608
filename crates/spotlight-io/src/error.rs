//! [`Error`]: what can go wrong with a file, by whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be read or written: one sentence that names the file and, where
/// there is one, the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused: a missing file, a full disk, a read-only folder.
    #[error("cannot {action} {}: {}", path.display(), reason(source))]
    Io {
        /// What was attempted, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file contradicts its format: damaged, cut off or not of this kind.
    #[error("{}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        what: String,
    },
    /// The file is sound, but this version cannot read it.
    #[error("{}: {what} is not supported; {way_out}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature.
        what: String,
        /// What a user can do.
        way_out: String,
    },
    /// The file asks for more than is sane for its size.
    #[error("{}: {what}", path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// The limit and what was asked.
        what: String,
    },
    /// The output is there already and may not be replaced.
    #[error("{} exists already; choose another name or allow overwriting", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The caller's choice (channel, time point, series) is missing or not in the file.
    #[error("{}: {what}; choose {choices}", path.display())]
    Choice {
        /// The file.
        path: PathBuf,
        /// What is wrong with the choice.
        what: String,
        /// What the file has.
        choices: String,
    },
    /// A row of a manifest is wrong.
    #[error("{}, line {line}: {what}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Line in the file, the header being line 1.
        line: u64,
        /// What is wrong and what to do.
        what: String,
    },
}

impl Error {
    /// A failure of the system while reading a path.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Io { action: "read", path: path.to_owned(), source }
    }

    /// A failure of the system while writing a path.
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Io { action: "write", path: path.to_owned(), source }
    }
}

/// An [`Error`] whose file is not known yet.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Format(String),
    Unsupported { what: String, way_out: String },
    Limit(String),
}

impl Fault {
    /// The error of a file.
    pub(crate) fn at(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Io(source) => Error::Io { action: "read", path, source },
            Self::Format(what) => Error::Format { path, what },
            Self::Unsupported { what, way_out } => Error::Unsupported { path, what, way_out },
            Self::Limit(what) => Error::Limit { path, what },
        }
    }

    /// Puts words before the message, such as the plane it is about.
    pub(crate) fn within(self, place: &str) -> Self {
        match self {
            Self::Format(what) => Self::Format(format!("{place}: {what}")),
            Self::Limit(what) => Self::Limit(format!("{place}: {what}")),
            other => other,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A [`Fault::Format`].
pub(crate) fn malformed<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Format(what.into()))
}

/// A [`Fault::Unsupported`].
pub(crate) fn unsupported<T>(what: impl Into<String>, way_out: &str) -> Result<T, Fault> {
    Err(Fault::Unsupported { what: what.into(), way_out: way_out.to_owned() })
}

/// What the system said, with advice where there is a usual cause.
fn reason(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or choose another folder"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; choose another folder",
        io::ErrorKind::PermissionDenied => {
            "; choose another folder or ask for permission on this one"
        }
        io::ErrorKind::NotFound => "; check the spelling and that the folder exists",
        _ => "",
    };
    format!("{error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sentences_with_the_file_and_the_way_out() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(
            Error::write(Path::new("a/b.tif"), full).to_string(),
            "cannot write a/b.tif: no storage space; free some space or choose another folder"
        );
        let fault = Fault::Unsupported { what: "JPEG".into(), way_out: "save it as zip".into() };
        assert_eq!(
            fault.at(Path::new("x.tif")).to_string(),
            "x.tif: JPEG is not supported; save it as zip"
        );
    }
}
