//! Tables as comma-separated values: a header, a line for each row, quotes where needed.
//!
//! A measurement has a point or an exponent even where it is whole, so that readers give its
//! column the same type as in Parquet; `NaN` is not a number and `inf` infinite.

use std::io;
use std::path::Path;

use super::{Table, Values};
use crate::{Error, atomic};

/// Writes a table as CSV, whatever its name.
///
/// # Errors
///
/// [`Error::Exists`] if the file exists and may not be replaced, [`Error::Io`] if the system
/// refuses.
///
/// # Panics
///
/// If the columns have different lengths.
pub(crate) fn write_csv(path: &Path, table: &Table, overwrite: bool) -> Result<(), Error> {
    let rows = table.rows();
    atomic::write(path, overwrite, |writer| {
        let mut writer = ::csv::Writer::from_writer(writer);
        let header = table.columns.iter().map(|column| &column.name);
        writer.write_record(header).map_err(io_error)?;
        for row in 0..rows {
            let cells = table.columns.iter().map(|column| cell(&column.values, row));
            writer.write_record(cells).map_err(io_error)?;
        }
        writer.flush()
    })
}

fn cell(values: &Values, row: usize) -> String {
    match values {
        Values::Text(values) => values[row].clone(),
        Values::Integer(values) => values[row].to_string(),
        // Unlike `Display`, `Debug` keeps the point and writes 1e-300 in six characters.
        Values::Real(values) => format!("{:?}", values[row]),
    }
}

fn io_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;

    #[test]
    fn numbers_are_read_back_exactly_and_keep_their_type() {
        let reals = [0.1, 1.0 / 3.0, 8.0, -0.0, 1e-300, 5e-324, f64::MAX, f64::INFINITY];
        let table = Table {
            columns: vec![
                Column::real("real", [&reals[..], &[f64::NAN]].concat()),
                Column::integer("integer", (0..9).map(|i| i64::MAX - i).collect()),
                Column::text("text", vec!["\"µm\",\n".to_owned(); 9]),
            ],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        write_csv(&path, &table, false).unwrap();
        let mut reader = ::csv::Reader::from_path(&path).unwrap();
        assert_eq!(reader.headers().unwrap(), vec!["real", "integer", "text"]);
        let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        for (row, real) in rows.iter().zip(reals) {
            assert_eq!(row[0].parse::<f64>().unwrap().to_bits(), real.to_bits());
            assert!(row[0].contains(['.', 'e', 'i']), "{} would be read as whole", &row[0]);
        }
        assert_eq!(&rows[8][0], "NaN");
        assert_eq!(rows[3][1].parse(), Ok(i64::MAX - 3));
        assert_eq!(&rows[0][2], "\"µm\",\n");
    }

    #[test]
    fn a_table_without_rows_has_a_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let columns = vec![Column::real("a", vec![]), Column::text("b", vec![])];
        write_csv(&path, &Table { columns }, false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b\n");
    }
}
