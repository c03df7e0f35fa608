//! [`Error`]: what can go wrong in this crate, split by whose fault it is.

use std::path::PathBuf;

/// Why something could not be done. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file's fault: it ends before its content does.
    #[error("{path} is truncated: it needs {expected} bytes and has {found}", path = path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the file's own header announces.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// The file's fault: it is something else.
    #[error("{path} is not a Spotlight model: {reason}", path = path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is missing or strange.
        reason: String,
    },
    /// The file's fault: it is a model, but its parts contradict each other.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What contradicts what.
        reason: String,
    },
    /// Not supported: the file was written by a later program.
    #[error(
        "{path} has model format {found}, this program reads up to {supported}: update Spotlight",
        path = path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Format number of the file.
        found: u64,
        /// Latest format number that can be read.
        supported: u64,
    },
    /// The caller's fault: an option has a value that makes no sense.
    #[error("{option} is {found}, it must be {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The system's fault.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: "read", "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
