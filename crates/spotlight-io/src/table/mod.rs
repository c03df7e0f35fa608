//! Tables of typed columns, written as CSV or Parquet by the ending of their name.
//!
//! A real number is written with as many digits as give it back and no more; one that is not
//! a number is NaN in both formats.

mod csv;
mod parquet;

use std::path::Path;

use crate::Error;

pub(crate) use csv::write_csv;

/// A table: columns of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns, from left to right.
    pub columns: Vec<Column>,
}

impl Table {
    /// Number of rows.
    ///
    /// # Panics
    ///
    /// If the columns have different lengths.
    #[must_use]
    pub fn rows(&self) -> usize {
        let rows = self.columns.first().map_or(0, Column::rows);
        for column in &self.columns {
            assert_eq!(column.rows(), rows, "column {} must be as long as the first", column.name);
        }
        rows
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name in the header.
    pub name: String,
    /// A value for each row.
    pub values: Values,
}

/// The values of a column, all of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Words.
    Text(Vec<String>),
    /// Whole numbers: counts, labels.
    Integer(Vec<i64>),
    /// Measurements; NaN where there is none.
    Real(Vec<f64>),
}

impl Column {
    /// A column of words.
    #[must_use]
    pub fn text(name: impl Into<String>, values: Vec<String>) -> Self {
        Self { name: name.into(), values: Values::Text(values) }
    }

    /// A column of whole numbers.
    #[must_use]
    pub fn integer(name: impl Into<String>, values: Vec<i64>) -> Self {
        Self { name: name.into(), values: Values::Integer(values) }
    }

    /// A column of measurements.
    #[must_use]
    pub fn real(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { name: name.into(), values: Values::Real(values) }
    }

    /// Number of values.
    #[must_use]
    pub fn rows(&self) -> usize {
        match &self.values {
            Values::Text(values) => values.len(),
            Values::Integer(values) => values.len(),
            Values::Real(values) => values.len(),
        }
    }
}

/// The format of a table file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma-separated values.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl TableFormat {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Csv, Self::Parquet];

    /// The ending of a table's name, without a point.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// The format that the ending of a name asks for, in capitals or not.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for any ending but `.csv` and `.parquet`.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_io::table::TableFormat;
    ///
    /// assert_eq!(TableFormat::of("a.CSV".as_ref()).unwrap(), TableFormat::Csv);
    /// let message = TableFormat::of("a.xlsx".as_ref()).unwrap_err().to_string();
    /// assert_eq!(
    ///     message,
    ///     "a.xlsx: a table with the ending .xlsx is not supported; choose .csv or .parquet"
    /// );
    /// ```
    pub fn of(path: &Path) -> Result<Self, Error> {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let wanted = |format: &Self| format.ending().eq_ignore_ascii_case(&ending);
        Self::ALL.into_iter().find(wanted).ok_or_else(|| Error::Unsupported {
            path: path.to_owned(),
            what: match ending.as_ref() {
                "" => String::from("a table without an ending"),
                ending => format!("a table with the ending .{ending}"),
            },
            way_out: String::from("choose .csv or .parquet"),
        })
    }
}

/// Writes a table as CSV or Parquet, whichever its name ends in.
///
/// # Errors
///
/// As [`TableFormat::of`]; [`Error::Exists`] if the file exists and may not be replaced,
/// [`Error::Io`] if the system refuses.
///
/// # Panics
///
/// If the columns have different lengths.
///
/// # Examples
///
/// ```
/// use spotlight_io::table::{Column, Table, write_table};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("features.csv");
/// let columns = vec![
///     Column::text("image", vec!["a, b".into(), "c".into()]),
///     Column::integer("label", vec![7, 70_000]),
///     Column::real("volume", vec![0.1 + 0.2, f64::NAN]),
/// ];
/// write_table(&path, &Table { columns }, false)?;
/// let written = std::fs::read_to_string(&path)?;
/// assert_eq!(written, "image,label,volume\n\"a, b\",7,0.30000000000000004\nc,70000,NaN\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_table(path: &Path, table: &Table, overwrite: bool) -> Result<(), Error> {
    match TableFormat::of(path)? {
        TableFormat::Csv => write_csv(path, table, overwrite),
        TableFormat::Parquet => parquet::write_parquet(path, table, overwrite),
    }
}
