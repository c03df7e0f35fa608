//! The record of a command: which program made a result, from what, how and when.
//!
//! Written as JSON beside every result, so that a result can be traced to its inputs.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use spotlight_engine::Engine;
use spotlight_io::atomic;

/// What a command did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The program: "spotlight".
    pub program: String,
    /// Its version.
    pub version: String,
    /// The command line, as typed, without the program's own path.
    pub command: Vec<String>,
    /// When the command started, UTC, RFC 3339.
    pub started: String,
    /// When it ended.
    pub finished: String,
    /// Wall-clock time between the two in seconds.
    pub seconds: f64,
    /// Number of threads.
    pub threads: usize,
    /// Instruction set of the processor that was used.
    pub instruction_set: String,
    /// How much rounding the engine was allowed for speed: `fast` or `precise`.
    pub precision: String,
    /// The files that were read.
    pub inputs: Vec<InputFile>,
    /// The files that were written, relative to the record.
    pub outputs: Vec<PathBuf>,
    /// What is particular to the command.
    pub details: serde_json::Value,
}

impl Record {
    /// Writes the record as JSON.
    ///
    /// # Errors
    ///
    /// If the file is in the way or cannot be written.
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("while writing the record")?;
        Ok(atomic::write_bytes(path, &text, overwrite)?)
    }
}

/// A file that was read, and what was in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// The path by which it was read.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal; of a folder, of the names and sizes of its files and
    /// of their metadata; of a web address or a pattern of files, of its name.
    pub sha256: String,
}

/// A command that is running: remembers when it started.
#[derive(Clone, Copy, Debug)]
pub struct Started(SystemTime);

impl Started {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(SystemTime::now())
    }

    /// The record of the command that started then and ends now.
    #[must_use]
    pub fn record(self, engine: &Engine) -> Record {
        let now = SystemTime::now();
        let seconds = now.duration_since(self.0).unwrap_or_default().as_secs_f64();
        Record {
            program: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command_line(),
            started: timestamp(self.0),
            finished: timestamp(now),
            seconds: (seconds * 1e3).round() / 1e3,
            threads: engine.threads(),
            instruction_set: engine.instruction_set().to_string(),
            precision: engine.precision().to_string(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            details: serde_json::Value::Null,
        }
    }
}

/// Sizes and hashes of files, each file once, in the order of their first mention.
///
/// # Errors
///
/// If a file cannot be read.
pub fn input_files<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<Vec<InputFile>> {
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for path in paths {
        if seen.insert(path) {
            files.push(
                input_file(path).with_context(|| format!("while reading {}", path.display()))?,
            );
        }
    }
    Ok(files)
}

fn input_file(path: &Path) -> std::io::Result<InputFile> {
    if path.is_dir() {
        return input_store(path);
    }
    if spotlight_io::is_address(path) || !path.exists() && path.to_string_lossy().contains('{') {
        // An address, or a pattern of files: known by its name.
        let sha256 = hexadecimal(&Sha256::digest(path.to_string_lossy().as_bytes()));
        return Ok(InputFile { path: path.to_owned(), bytes: 0, sha256 });
    }
    let mut file = std::fs::File::open(path)?;
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(InputFile { path: path.to_owned(), bytes, sha256: hexadecimal(&digest.finalize()) })
}

/// Largest file of a store that is metadata, not voxels.
const METADATA_BYTES: u64 = 1 << 20;

/// A folder of many files, such as a Zarr store: known by the names and sizes of its files and by
/// what the small ones hold, as it may be too large to be read for that alone.
fn input_store(path: &Path) -> std::io::Result<InputFile> {
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (file, metadata) = (entry.path(), entry.metadata()?);
            let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
            if metadata.is_dir() {
                folders.push(file);
                continue;
            }
            bytes += metadata.len();
            digest.update(format!("{name}\n{}\n", metadata.len()));
            let is_json = name.ends_with(".json")
                || name.rsplit('/').next().is_some_and(|name| name.starts_with(".z"));
            if is_json && metadata.len() <= METADATA_BYTES {
                digest.update(std::fs::read(&file)?);
            }
        }
    }
    Ok(InputFile { path: path.to_owned(), bytes, sha256: hexadecimal(&digest.finalize()) })
}

/// Where the record of an output lies: beside it, `a.ome.tif` and `a.ome.json`.
#[must_use]
pub fn record_path(output: &Path) -> PathBuf {
    output.with_extension("json")
}

/// The most memory that the program has taken so far, where the system tells it (Linux).
#[must_use]
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kib)
}

/// The digest of inputs and settings that the record of an output holds, where there is one.
#[must_use]
pub fn recorded_digest(output: &Path) -> Option<String> {
    let record: Record = serde_json::from_slice(&std::fs::read(record_path(output)).ok()?).ok()?;
    record.details["digest"].as_str().map(str::to_owned)
}

/// SHA-256 of a text, hexadecimal.
#[must_use]
pub fn digest_of(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The words of the command line after the program's own path, which tells of the machine only.
fn command_line() -> Vec<String> {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once(env!("CARGO_PKG_NAME").to_owned()).chain(words).collect()
}

/// A moment as UTC in RFC 3339, to the second: "2025-07-07T09:30:00Z".
fn timestamp(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01.
///
/// Counts in years that begin in March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: u64, expected: &str) {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
    }

    // Expected values are those of GNU date -u -d @N.
    #[test]
    fn timestamps_are_utc() {
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_399, "2000-02-28T23:59:59Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_735_689_599, "2024-12-31T23:59:59Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_file_is_known_by_the_hash_of_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let files = input_files([path.as_path(), path.as_path()]).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].bytes, 3);
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(files[0].sha256, expected);
    }

    #[test]
    fn a_store_is_known_by_its_files_and_their_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("a.zarr");
        std::fs::create_dir_all(store.join("0/c")).unwrap();
        std::fs::write(store.join("zarr.json"), "{}").unwrap();
        std::fs::write(store.join("0/c/0"), "voxels").unwrap();
        let known = || input_file(&store).unwrap();
        let before = known();
        assert_eq!(before.bytes, 8);
        assert_eq!(known(), before);
        std::fs::write(store.join("zarr.json"), "[]").unwrap();
        assert_ne!(known().sha256, before.sha256);
        std::fs::write(store.join("zarr.json"), "{}").unwrap();
        std::fs::write(store.join("0/c/1"), "voxels").unwrap();
        assert_ne!(known().sha256, before.sha256);
    }
}
