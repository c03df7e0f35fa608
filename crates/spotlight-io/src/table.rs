//! Writes tables as CSV files.

use std::io;
use std::path::Path;

use crate::{Error, atomic};

/// Writes a header and rows, quoted where needed.
///
/// # Errors
///
/// [`Error::Exists`] if the file exists and may not be replaced, [`Error::Io`] if the system
/// refuses.
///
/// # Panics
///
/// If a row has another number of fields than the header.
///
/// # Examples
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("scores.csv");
/// let rows = [vec!["a, b".to_owned(), "0.5".to_owned()]];
/// spotlight_io::table::write_csv(&path, &["name", "score"], &rows, false)?;
/// assert_eq!(std::fs::read_to_string(&path)?, "name,score\n\"a, b\",0.5\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_csv(
    path: &Path,
    header: &[&str],
    rows: &[Vec<String>],
    overwrite: bool,
) -> Result<(), Error> {
    for row in rows {
        assert_eq!(row.len(), header.len(), "a row has as many fields as the header");
    }
    atomic::write(path, overwrite, |writer| {
        let mut table = csv::Writer::from_writer(writer);
        table.write_record(header).map_err(io_error)?;
        for row in rows {
            table.write_record(row).map_err(io_error)?;
        }
        table.flush()
    })
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
