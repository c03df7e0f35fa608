//! The folder of the tables: all of them appear at the end, or none.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;
use spotlight_io::table::{Table, TableFormat, write_table};

use super::tables;
use crate::cli::jobs::make_folder;
use crate::cli::{Context, failure, wrong_use};
use crate::record::{Started, input_files};

const RECORD: &str = "record.json";

/// What is written.
#[derive(Clone, Debug)]
pub(super) struct Results<'a> {
    pub(super) tables: &'a [(&'static str, Table)],
    pub(super) format: TableFormat,
    /// The files that were read.
    pub(super) inputs: Vec<PathBuf>,
    /// What the record tells beside them.
    pub(super) details: Value,
}

/// Refuses a folder that holds results, unless they may be replaced.
pub(super) fn check_free(folder: &Path, overwrite: bool) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        return Err(wrong_use(
            format!("{} is a file; with --manifest -o names a folder", folder.display()),
            "choose another name",
        ));
    }
    let taken = names_of_all().map(|name| folder.join(name)).find(|path| path.exists());
    match taken.filter(|_| !overwrite) {
        Some(taken) => Err(wrong_use(
            format!("{} exists already", taken.display()),
            "choose another folder with -o, or add --overwrite to replace it",
        )),
        None => Ok(()),
    }
}

/// Makes sure that files can be written, before any time is spent: leaves nothing behind.
pub(super) fn check_writable(folder: &Path) -> Result<()> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    match tempfile::tempfile_in(existing) {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(
            format!("cannot write into {}: {error}", existing.display()),
            "choose another output folder",
        )),
    }
}

/// All files that there may be, in both formats.
fn names_of_all() -> impl Iterator<Item = String> {
    let tables = TableFormat::ALL.into_iter().flat_map(|format| {
        tables::NAMES.iter().map(move |name| format!("{name}.{}", format.ending()))
    });
    tables.chain([RECORD.to_owned()])
}

/// Writes all tables and the record into a temporary folder, then moves them into the folder.
/// Results of an earlier run that this one does not have are removed, if they may be replaced.
pub(super) fn write(
    folder: &Path,
    results: &Results,
    started: Started,
    overwrite: bool,
    context: &Context,
) -> Result<()> {
    make_folder(folder)?;
    let name = |table: &str| PathBuf::from(format!("{table}.{}", results.format.ending()));
    let names: Vec<PathBuf> = results.tables.iter().map(|(table, _)| name(table)).collect();
    let temporary = tempfile::Builder::new().prefix(".evaluate").tempdir_in(folder);
    let temporary =
        temporary.with_context(|| format!("while writing into {}", folder.display()))?;
    for ((_, table), name) in results.tables.iter().zip(&names) {
        write_table(&temporary.path().join(name), table, false)?;
    }
    let mut record = started.record(&context.engine()?);
    record.inputs = input_files(results.inputs.iter().map(PathBuf::as_path))?;
    record.outputs = names;
    record.details = results.details.clone();
    record.write(&temporary.path().join(RECORD), false)?;

    check_free(folder, overwrite)?;
    for name in names_of_all().map(PathBuf::from) {
        let (new, old) = (temporary.path().join(&name), folder.join(&name));
        let moved = if new.exists() {
            std::fs::rename(&new, &old)
        } else if old.exists() {
            std::fs::remove_file(&old)
        } else {
            Ok(())
        };
        moved.with_context(|| format!("while writing {}", old.display()))?;
    }
    Ok(())
}
