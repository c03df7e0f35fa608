//! Where the real files are: beside the project or in the folder that `SPOTLIGHT_DATA` names. Their
//! licences keep them out of it.

use std::path::{Path, PathBuf};

/// A folder of the real files, where it is present; says so where it is not.
#[allow(clippy::print_stdout, reason = "that a test does not run must be seen")]
pub(crate) fn data(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("SPOTLIGHT_DATA").map_or(beside, PathBuf::from).join(folder);
    if !folder.is_dir() {
        println!("DID NOT RUN: there is no folder {}", folder.display());
        return None;
    }
    Some(folder)
}
