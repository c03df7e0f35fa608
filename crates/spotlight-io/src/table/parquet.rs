//! Tables as Apache Parquet, which pandas, R and DuckDB read with types and without parsing.
//!
//! Every column is required: a missing measurement is NaN, not null. Text is UTF-8, whole
//! numbers have 64 bits, measurements are doubles; pages are compressed by Snappy, which every
//! reader knows.
//!
//! Reference: <https://parquet.apache.org/docs/file-format/>.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::Type;

use super::{Column, Table, Values};
use crate::{Error, atomic};

/// Rows that are written, and may be read, at once: some tens of megabytes of a wide table.
const ROWS_PER_GROUP: usize = 100_000;

/// Writes a table as Parquet, whatever its name.
///
/// # Errors
///
/// [`Error::Exists`] if the file exists and may not be replaced, [`Error::Io`] if the system
/// refuses.
///
/// # Panics
///
/// If the columns have different lengths.
pub(super) fn write_parquet(path: &Path, table: &Table, overwrite: bool) -> Result<(), Error> {
    let rows = table.rows();
    let schema = schema(table).map_err(|error| Error::write(path, io_error(error)))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    atomic::write(path, overwrite, |writer| {
        fill(writer, table, rows, schema, properties).map_err(io_error)
    })
}

fn fill(
    writer: impl io::Write + Send,
    table: &Table,
    rows: usize,
    schema: Arc<Type>,
    properties: WriterProperties,
) -> Result<(), ParquetError> {
    let mut file = SerializedFileWriter::new(writer, schema, Arc::new(properties))?;
    for start in (0..rows).step_by(ROWS_PER_GROUP) {
        let range = start..rows.min(start + ROWS_PER_GROUP);
        let mut group = file.next_row_group()?;
        for column in &table.columns {
            if let Some(mut writer) = group.next_column()? {
                write_values(&mut writer, &column.values, range.clone())?;
                writer.close()?;
            }
        }
        group.close()?;
    }
    file.close()?;
    Ok(())
}

fn write_values(
    writer: &mut SerializedColumnWriter<'_>,
    values: &Values,
    rows: Range<usize>,
) -> Result<(), ParquetError> {
    match values {
        Values::Text(values) => {
            let values: Vec<ByteArray> =
                values[rows].iter().map(|text| text.as_bytes().to_vec().into()).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, None, None)?
        }
        Values::Integer(values) => {
            writer.typed::<Int64Type>().write_batch(&values[rows], None, None)?
        }
        Values::Real(values) => {
            writer.typed::<DoubleType>().write_batch(&values[rows], None, None)?
        }
    };
    Ok(())
}

fn schema(table: &Table) -> Result<Arc<Type>, ParquetError> {
    let field = |column: &Column| {
        let (physical, logical) = match column.values {
            Values::Text(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            Values::Integer(_) => (PhysicalType::INT64, None),
            Values::Real(_) => (PhysicalType::DOUBLE, None),
        };
        let field = Type::primitive_type_builder(&column.name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical);
        field.build().map(Arc::new)
    };
    let fields: Result<Vec<Arc<Type>>, ParquetError> = table.columns.iter().map(field).collect();
    Type::group_type_builder("table").with_fields(fields?).build().map(Arc::new)
}

/// What the system said, where it said something.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(cause) => io::Error::other(cause),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::RowAccessor;

    use super::super::write_table;
    use super::*;

    fn written(table: &Table) -> SerializedFileReader<File> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write_table(&path, table, false).unwrap();
        SerializedFileReader::new(File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn every_type_is_read_back_over_several_row_groups() {
        let rows = ROWS_PER_GROUP + 3;
        let real = |i: usize| if i % 7 == 3 { f64::NAN } else { i as f64 / 3.0 };
        let columns = vec![
            Column::text("text", (0..rows).map(|i| format!("µ{}", i % 50)).collect()),
            Column::integer("integer", (0..rows).map(|i| i64::MAX - i as i64).collect()),
            Column::real("real", (0..rows).map(real).collect()),
        ];
        let reader = written(&Table { columns });
        assert_eq!(reader.num_row_groups(), 2);
        assert_eq!(reader.metadata().file_metadata().num_rows() as usize, rows);
        let mut seen = 0;
        for (i, row) in reader.get_row_iter(None).unwrap().enumerate() {
            let row = row.unwrap();
            assert_eq!(row.get_string(0).unwrap(), &format!("µ{}", i % 50));
            assert_eq!(row.get_long(1).unwrap(), i64::MAX - i as i64);
            let found = row.get_double(2).unwrap();
            assert!(found.to_bits() == real(i).to_bits() || (found.is_nan() && real(i).is_nan()));
            seen += 1;
        }
        assert_eq!(seen, rows);
    }

    #[test]
    fn columns_are_required_and_compressed() {
        let columns = vec![
            Column::text("t", vec!["a".to_owned()]),
            Column::real("r", vec![f64::NAN]),
            Column::integer("i", vec![1]),
        ];
        let reader = written(&Table { columns });
        let schema = reader.metadata().file_metadata().schema_descr();
        for (i, kind) in [PhysicalType::BYTE_ARRAY, PhysicalType::DOUBLE, PhysicalType::INT64]
            .into_iter()
            .enumerate()
        {
            let column = schema.column(i);
            assert_eq!((column.physical_type(), column.max_def_level()), (kind, 0));
            let chunk = reader.metadata().row_group(0).column(i);
            assert_eq!(chunk.compression(), Compression::SNAPPY);
        }
        assert_eq!(schema.column(0).logical_type_ref(), Some(&LogicalType::String));
    }

    #[test]
    fn a_table_without_rows_has_columns() {
        let reader = written(&Table { columns: vec![Column::real("a", vec![])] });
        let file = reader.metadata().file_metadata();
        assert_eq!((file.num_rows(), file.schema_descr().num_columns()), (0, 1));
    }

    #[test]
    fn what_the_system_says_stays() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(io_error(ParquetError::from(full)).kind(), io::ErrorKind::StorageFull);
    }
}
