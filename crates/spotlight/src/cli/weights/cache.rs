//! The cache folder: where fetched weights lie, with their checksums.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_io::atomic;

use super::{Published, published};
use crate::cli::{failure, wrong_use};

/// The file of weights that have been fetched, by their published name, such as
/// `cellpose-nuclei`.
///
/// # Errors
///
/// If there are no weights of this name, or they have not been fetched.
pub fn cached(name: &str) -> Result<PathBuf> {
    let weights = published(name)
        .map_err(|expected| wrong_use(format!("there are no weights named {name}"), expected))?;
    fetched(&weights)
}

/// The file of weights that have been fetched.
pub(super) fn fetched(weights: &Published) -> Result<PathBuf> {
    let path = cache_folder()?.join(weights.file);
    if path.is_file() {
        return Ok(path);
    }
    let name = weights.name;
    Err(failure(
        format!("{} is not there: the weights {name} have not been fetched", path.display()),
        format!("run spotlight weights fetch {name}, or copy the file there from another machine"),
    ))
}

/// The folder of fetched weights: `$SPOTLIGHT_CACHE`, else `$XDG_CACHE_HOME/spotlight`, else
/// `~/.cache/spotlight`. It need not exist.
pub(super) fn cache_folder() -> Result<PathBuf> {
    folder_by(|name| std::env::var_os(name)).ok_or_else(|| {
        wrong_use(
            "there is no folder for fetched weights: neither SPOTLIGHT_CACHE nor HOME is set",
            "set SPOTLIGHT_CACHE to a folder",
        )
    })
}

fn folder_by(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("SPOTLIGHT_CACHE");
    own.or_else(|| {
        // A relative path here is to be ignored, says the specification of the variable.
        let shared = set("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
        let shared = shared.or_else(|| set("HOME").map(|home| home.join(".cache")));
        shared.map(|folder| folder.join("spotlight"))
    })
}

/// Where the checksum of a file lies: beside it.
fn checksum_path(file: &Path) -> PathBuf {
    beside(file, ".sha256")
}

/// The path with more letters at its end.
pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The checksum that was recorded for a file, if any was.
pub(super) fn recorded_sha256(file: &Path) -> Result<Option<String>> {
    let path = checksum_path(file);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failure(format!("cannot read {}: {error}", path.display()), "")),
    };
    match super::sha256(text.split_whitespace().next().unwrap_or_default()) {
        Ok(sha256) => Ok(Some(sha256)),
        Err(_) => Err(failure(
            format!("{} does not begin with a SHA-256", path.display()),
            "delete it if you trust the weights beside it",
        )),
    }
}

/// Records the checksum of a file, in the form of `sha256sum`.
pub(super) fn record_sha256(file: &Path, sha256: &str) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let line = format!("{sha256}  {name}\n");
    Ok(atomic::write_bytes(&checksum_path(file), line.as_bytes(), true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], folder: Option<&str>) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| OsString::from(value))
        };
        assert_eq!(folder_by(variable), folder.map(PathBuf::from));
    }

    #[test]
    fn the_folder_is_that_of_the_first_variable() {
        let home = ("HOME", "/home/ada");
        check(&[("SPOTLIGHT_CACHE", "/w"), ("XDG_CACHE_HOME", "/c"), home], Some("/w"));
        check(&[("SPOTLIGHT_CACHE", ""), ("XDG_CACHE_HOME", "/c"), home], Some("/c/spotlight"));
        check(&[("XDG_CACHE_HOME", "c"), home], Some("/home/ada/.cache/spotlight"));
        check(&[home], Some("/home/ada/.cache/spotlight"));
        check(&[("SPOTLIGHT_CACHE", "w")], Some("w"));
        check(&[], None);
    }
}
