//! [`Fault`]: what is wrong with a file, before the file has a name.

use std::io;
use std::path::Path;

use crate::error::Error;

/// Why a file cannot be read; [`Fault::of`] adds which file.
#[derive(Debug)]
pub(super) enum Fault {
    /// The system's fault.
    Io(io::Error),
    /// The file ends too early.
    Truncated { expected: u64, found: u64 },
    /// It is something else.
    NotTorch(String),
    /// Its parts contradict each other.
    Damaged(String),
    /// It asks for what is never done.
    Refused(String),
    /// It asks for more than any such file needs.
    TooLarge(String),
}

impl Fault {
    /// The error of the file at `path`.
    pub(super) fn of(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Io(source) => Error::Io { action: "read", path, source },
            Self::Truncated { expected, found } => Error::Truncated { path, expected, found },
            Self::NotTorch(reason) => Error::NotTorch { path, reason },
            Self::Damaged(reason) => Error::Damaged { path, reason },
            Self::Refused(found) => Error::Refused { path, found },
            Self::TooLarge(reason) => Error::TooLarge { path, reason },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The fault of a file whose parts contradict each other.
pub(super) fn damaged(reason: impl Into<String>) -> Fault {
    Fault::Damaged(reason.into())
}

/// A name out of a file for a message, which it must not make long.
pub(crate) fn quoted(name: &str) -> String {
    let start: String = name.chars().take(80).collect();
    format!("{start:?}")
}
