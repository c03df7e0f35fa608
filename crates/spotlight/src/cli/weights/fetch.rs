//! `spotlight weights fetch`: from an address to a file that is whole and known.
//!
//! ```text
//! the file is there       its checksum must be the one recorded beside it
//! otherwise               download to <file>.part, going on where an earlier try ended
//!                         it must be a weight file of PyTorch
//!                         its SHA-256 must be the one of --sha256 and the one recorded, if any
//!                         record the SHA-256, then give the file its name
//! ```
//!
//! The unfinished file keeps its own name until all of this is true, and stays after a broken
//! connection: it is the one output that is not made by `spotlight_io::atomic`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_learn::{Error, torch_file};

use super::FetchOptions;
use super::cache::{beside, cache_folder, record_sha256, recorded_sha256};
use super::download::{Download, download};
use crate::cli::{Context, failure};
use crate::progress::Progress;
use crate::record::input_files;

/// Makes sure that the weights are there, and returns their file.
pub(super) fn fetch(options: &FetchOptions, context: &Context) -> Result<PathBuf> {
    let weights = options.weights;
    let file = cache_folder()?.join(weights.file);
    if file.is_file() && !options.overwrite {
        let sha256 = check_present(&file, options)?;
        context.say(&format!("{} is there already, with the SHA-256 {sha256}", weights.file));
        return Ok(file);
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    let part = beside(&file, ".part");
    let lock = lock(&part)?;
    let url = options.url.as_deref().unwrap_or(weights.url);
    get(url, &part, &file, options, context).inspect_err(|_| {
        if part.metadata().is_ok_and(|about| about.len() == 0) {
            forget(&part);
        }
    })?;
    let sha256 = accept(url, &part, &file, options).inspect_err(|_| forget(&part))?;
    lock.sync_all().map_err(|error| cannot_write(&part, &error))?;
    let first = recorded_sha256(&file)?.is_none();
    record_sha256(&file, &sha256)?;
    std::fs::rename(&part, &file).map_err(|error| cannot_write(&file, &error))?;
    forget(&part);
    if first && options.sha256.is_none() {
        context.say(&format!(
            "SHA-256 {sha256}: as far as we know no checksum of {} is published, so this one is \
             recorded and what is fetched later must have it",
            weights.file
        ));
    }
    Ok(file)
}

/// The file must be the one that was fetched first; one that a person has put there is recorded.
fn check_present(file: &Path, options: &FetchOptions) -> Result<String> {
    let found = sha256_of(file)?;
    let recorded = recorded_sha256(file)?;
    let expected = options.sha256.as_ref().or(recorded.as_ref());
    if let Some(expected) = expected.filter(|expected| **expected != found) {
        return Err(failure(
            format!("{} has the SHA-256 {found} and should have {expected}", file.display()),
            "delete it and fetch it again",
        ));
    }
    if recorded.is_none() {
        torch_file::read(file)?;
        record_sha256(file, &found)?;
    }
    Ok(found)
}

/// Keeps two programs from writing to one file.
fn lock(part: &Path) -> Result<File> {
    let open = File::options().append(true).create(true).open(part);
    let file = open.map_err(|error| cannot_write(part, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failure(
            format!("{} is being written by another program", part.display()),
            "wait until it has ended",
        )),
        Err(TryLockError::Error(error)) => Err(cannot_write(part, &error)),
    }
}

fn get(
    url: &str,
    part: &Path,
    file: &Path,
    options: &FetchOptions,
    context: &Context,
) -> Result<()> {
    const KILO: u64 = 1000;
    let mut progress: Option<Progress> = None;
    let wanted = Download { url, part, file, stall: options.stall };
    download(&wanted, &mut |done, total| {
        let total = total.unwrap_or(done) / KILO;
        let bar = progress.get_or_insert_with(|| {
            Progress::starting_at(context, "fetch, in kB", done / KILO, total)
        });
        bar.set(done / KILO, "");
    })
}

/// The SHA-256 of what was downloaded, if it is what was wanted.
fn accept(url: &str, part: &Path, file: &Path, options: &FetchOptions) -> Result<String> {
    torch_file::read(part).and_then(|read| read.state_dict(&[])).map_err(|error| {
        let reason = match &error {
            Error::NotTorch { reason, .. } => reason.clone(),
            // Without the name of the unfinished file, which will be gone.
            other => other.to_string().replace(&format!("{} ", part.display()), "it "),
        };
        failure(
            format!("what {url} sent is no weight file of PyTorch: {reason}"),
            "check the address, or take another one with --url",
        )
    })?;
    let found = sha256_of(part)?;
    if let Some(expected) = options.sha256.as_ref().filter(|expected| **expected != found) {
        return Err(failure(
            format!("what {url} sent has the SHA-256 {found}, not {expected}"),
            "check both, or take another address with --url",
        ));
    }
    match recorded_sha256(file)? {
        Some(recorded) if recorded != found => Err(failure(
            format!("what {url} sent has the SHA-256 {found}, and {recorded} was fetched before"),
            format!(
                "if the change is known and meant, delete {}",
                beside(file, ".sha256").display()
            ),
        )),
        _ => Ok(found),
    }
}

fn sha256_of(file: &Path) -> Result<String> {
    let files = input_files([file])?;
    Ok(files.into_iter().map(|file| file.sha256).collect())
}

/// Removes an unfinished file and what is noted beside it; that they may stay does no harm.
fn forget(part: &Path) {
    for path in [part.to_owned(), beside(part, ".from")] {
        drop(std::fs::remove_file(path));
    }
}

/// The error of a file or folder that cannot be written.
pub(super) fn cannot_write(path: &Path, error: &std::io::Error) -> anyhow::Error {
    failure(
        format!("cannot write {}: {error}", path.display()),
        "choose another folder with the variable SPOTLIGHT_CACHE",
    )
}
