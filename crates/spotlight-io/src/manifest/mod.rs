//! [`Manifest`]: the table of a dataset, one row a pair of stacks.
//!
//! A CSV file with the columns `path_signal`, `channel_signal`, `path_target`,
//! `channel_target`, `path_mask`, `split`, in any order; only the two paths of signal and
//! target are needed. Paths are relative to the folder of the CSV; web addresses stay as they are.
//! A channel is a name or a
//! number from 0; `split` is `train`, `validate` or `test`.

mod split;

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::table::{Column, Table, write_csv};
use crate::{Channel, Error, is_address, is_pattern};

pub use split::{Fractions, paper_split, permutation, seeded_split};

/// What a pair is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// Fitting the network.
    Train,
    /// Choosing the best of the networks on the way.
    Validate,
    /// Scores.
    Test,
}

impl Split {
    /// The word in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validate => "validate",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_lowercase().as_str() {
            "train" | "training" => Ok(Self::Train),
            "validate" | "validation" | "val" => Ok(Self::Validate),
            "test" => Ok(Self::Test),
            other => Err(format!("split is {other:?}, expected train, validate or test")),
        }
    }
}

/// One pair of stacks. The paths are ready to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The transmitted-light stack.
    pub signal: PathBuf,
    /// Its channel, where the file has several.
    pub channel_signal: Option<Channel>,
    /// The fluorescence stack.
    pub target: PathBuf,
    /// Its channel, where the file has several.
    pub channel_target: Option<Channel>,
    /// A stack whose voxels above 0 are foreground.
    pub mask: Option<PathBuf>,
    /// What the pair is used for, where the table says so.
    pub split: Option<Split>,
}

/// The table of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The pairs in the order of the file.
    pub rows: Vec<Row>,
    /// The file.
    pub path: PathBuf,
    /// Line of each row in the file, for messages.
    pub lines: Vec<u64>,
}

const COLUMNS: [&str; 6] =
    ["path_signal", "channel_signal", "path_target", "channel_target", "path_mask", "split"];

impl Manifest {
    /// Reads a table. Files are not looked for: see [`Manifest::check_files`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be read; [`Error::Manifest`] or [`Error::Format`] if
    /// a column is missing or unknown, a field is wrong, a row is repeated, or there are no
    /// rows.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_io::manifest::{Manifest, Split};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("manifest.csv");
    /// std::fs::write(&path, "path_signal,path_target,split\na.tif,b.tif,test\n")?;
    /// let manifest = Manifest::read(&path)?;
    /// assert_eq!(manifest.rows[0].signal, folder.path().join("a.tif"));
    /// assert_eq!(manifest.rows[0].split, Some(Split::Test));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .flexible(true)
            .has_headers(false)
            .from_reader(bytes);
        let mut columns: Option<Columns> = None;
        let mut manifest = Self { rows: Vec::new(), path: path.to_owned(), lines: Vec::new() };
        for record in reader.records() {
            let record = record.map_err(|error| csv_error(path, bytes, error))?;
            let line = line_of(bytes, record.position());
            if record.iter().all(str::is_empty) {
                continue;
            }
            match &columns {
                None => {
                    columns = Some(Columns::of(&record).map_err(|what| at(path, line, what))?);
                }
                Some(columns) => {
                    let row = columns.row(&record, folder_of(path));
                    let row = row.map_err(|what| at(path, line, what))?;
                    if let Some(before) = manifest.rows.iter().position(|other| same(other, &row)) {
                        let before = manifest.lines[before];
                        let what = format!("the same pair as in line {before}; remove one of them");
                        return Err(at(path, line, what));
                    }
                    manifest.rows.push(row);
                    manifest.lines.push(line);
                }
            }
        }
        if manifest.rows.is_empty() {
            let what = "the manifest has no rows; expected a header with path_signal and \
                        path_target, and a row for every pair of stacks";
            return Err(Error::Format { path: path.to_owned(), what: what.to_owned() });
        }
        Ok(manifest)
    }

    /// Checks that all files of the rows are there.
    ///
    /// # Errors
    ///
    /// [`Error::Manifest`] with the line and the first missing file.
    pub fn check_files(&self) -> Result<(), Error> {
        for (row, line) in self.rows.iter().zip(&self.lines) {
            for file in [Some(&row.signal), Some(&row.target), row.mask.as_ref()] {
                // Opening them says what is missing behind an address or a pattern.
                let named = |file: &&PathBuf| !is_address(file) && !is_pattern(file);
                if let Some(file) = file.filter(named).filter(|file| !file.exists()) {
                    let file = file.display();
                    let what = format!("there is no file {file}; correct the path");
                    return Err(at(&self.path, *line, what));
                }
            }
        }
        Ok(())
    }

    /// Gives a part to every row that has none, by [`seeded_split`] over those rows.
    ///
    /// Nothing is changed where every row has its part.
    pub fn fill_split(&mut self, fractions: Fractions, seed: u32) {
        let open: Vec<&mut Row> = self.rows.iter_mut().filter(|row| row.split.is_none()).collect();
        let parts = seeded_split(open.len(), fractions, seed);
        for (row, part) in open.into_iter().zip(parts) {
            row.split = Some(part);
        }
    }

    /// The rows of a part.
    pub fn rows_of(&self, part: Split) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.split == Some(part))
    }
}

/// Writes a table; paths below its folder are written relative to it.
///
/// # Errors
///
/// [`Error::Exists`] if the file exists and may not be replaced, [`Error::Io`] if the system
/// refuses.
pub fn write(path: &Path, rows: &[Row], overwrite: bool) -> Result<(), Error> {
    let folder = folder_of(path);
    let relative = |file: &Path| {
        if is_address(file) {
            return file.to_string_lossy().into_owned();
        }
        let inside = file.strip_prefix(folder).unwrap_or(file);
        // A manifest travels between systems: with slashes everywhere.
        let parts = inside.components().map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy()),
            _ => None,
        });
        match parts.collect::<Option<Vec<_>>>() {
            Some(parts) => parts.join("/"),
            None => inside.to_string_lossy().into_owned(),
        }
    };
    let channel = |c: &Option<Channel>| c.as_ref().map_or_else(String::new, ToString::to_string);
    let fields = |row: &Row| {
        [
            relative(&row.signal),
            channel(&row.channel_signal),
            relative(&row.target),
            channel(&row.channel_target),
            row.mask.as_deref().map_or_else(String::new, relative),
            row.split.map_or("", Split::name).to_owned(),
        ]
    };
    let cells: Vec<[String; COLUMNS.len()]> = rows.iter().map(fields).collect();
    let column = |i: usize| cells.iter().map(|row| row[i].clone()).collect();
    let columns = COLUMNS.iter().enumerate().map(|(i, name)| Column::text(*name, column(i)));
    write_csv(path, &Table { columns: columns.collect() }, overwrite)
}

/// Where each column of [`COLUMNS`] is in the file.
struct Columns([Option<usize>; COLUMNS.len()]);

impl Columns {
    fn of(header: &csv::StringRecord) -> Result<Self, String> {
        let mut places = [None; COLUMNS.len()];
        for (place, name) in header.iter().enumerate() {
            if name.is_empty() {
                return Err(format!(
                    "column {} has no name; remove it (an index column of pandas: index=False)",
                    place + 1
                ));
            }
            let Some(known) = COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(name))
            else {
                let nearest = nearest(&name.to_lowercase());
                return Err(format!("there is no column {name}; the nearest is {nearest}"));
            };
            if places[known].replace(place).is_some() {
                return Err(format!("the column {name} is there twice"));
            }
        }
        for needed in [0, 2] {
            if places[needed].is_none() {
                return Err(format!("the column {} is missing", COLUMNS[needed]));
            }
        }
        Ok(Self(places))
    }

    fn row(&self, record: &csv::StringRecord, folder: &Path) -> Result<Row, String> {
        let field = |column: usize| {
            let text = self.0[column].and_then(|place| record.get(place)).unwrap_or("");
            Some(text).filter(|text| !text.is_empty())
        };
        let header = self.0.iter().flatten().count();
        if record.len() > header && record.iter().skip(header).any(|field| !field.is_empty()) {
            let found = record.len();
            return Err(format!(
                "{found} fields, expected {header}; quote fields that contain commas"
            ));
        }
        let place = |text: &str| match is_address(Path::new(text)) {
            true => PathBuf::from(text),
            false => folder.join(text),
        };
        let path = |column: usize| field(column).map(place);
        let needed = |column: usize| {
            path(column).ok_or_else(|| format!("the field {} is empty", COLUMNS[column]))
        };
        let channel = |column: usize| {
            let parse = |text: &str| match text.parse() {
                Ok(channel) => channel,
                Err(never) => match never {},
            };
            field(column).map(parse)
        };
        Ok(Row {
            signal: needed(0)?,
            channel_signal: channel(1),
            target: needed(2)?,
            channel_target: channel(3),
            mask: path(4),
            split: field(5).map(str::parse).transpose()?,
        })
    }
}

fn nearest(name: &str) -> &'static str {
    let mut best = COLUMNS[0];
    for column in COLUMNS {
        if strsim::jaro_winkler(name, column) > strsim::jaro_winkler(name, best) {
            best = column;
        }
    }
    best
}

/// Whether two rows are the same pair, whatever their parts.
fn same(one: &Row, other: &Row) -> bool {
    one.signal == other.signal
        && one.target == other.target
        && one.channel_signal == other.channel_signal
        && one.channel_target == other.channel_target
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn at(path: &Path, line: u64, what: String) -> Error {
    Error::Manifest { path: path.to_owned(), line, what }
}

/// Line of a record; the reader counts blank lines before a record to it.
fn line_of(bytes: &[u8], position: Option<&csv::Position>) -> u64 {
    let start = position.map_or(0, |position| position.byte() as usize).min(bytes.len());
    let blank = bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    1 + bytes[..start + blank].iter().filter(|byte| **byte == b'\n').count() as u64
}

fn csv_error(path: &Path, bytes: &[u8], error: csv::Error) -> Error {
    let line = line_of(bytes, error.position());
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::read(path, source),
        csv::ErrorKind::Utf8 { .. } => at(path, line, "not UTF-8 text; save it as UTF-8".into()),
        other => at(path, line, format!("not a CSV row ({other:?})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        std::fs::write(&path, text).unwrap();
        let mut manifest = Manifest::read(&path)?;
        for row in &mut manifest.rows {
            row.signal = row.signal.strip_prefix(folder.path()).unwrap().to_owned();
        }
        Ok(manifest)
    }

    #[track_caller]
    fn check_error(text: &str, parts: &[&str]) {
        let message = read(text).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }

    #[test]
    fn an_address_is_not_joined_to_the_folder_and_a_pattern_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        let (address, pattern) = ("https://host/a.zarr/B/3/0", "img_z{z}.tif");
        let text = format!("path_signal,path_target\n{address},{pattern}\n");
        std::fs::write(&path, &text).unwrap();
        let manifest = Manifest::read(&path).unwrap();
        assert_eq!(manifest.rows[0].signal, Path::new(address));
        assert_eq!(manifest.rows[0].target, folder.path().join(pattern));
        manifest.check_files().unwrap();
        write(&path, &manifest.rows, true).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains(&format!("{address},,{pattern}")));
    }

    #[test]
    fn marks_blank_lines_quotes_and_any_order() {
        let text = "\u{feff}split, path_target ,path_signal,channel_signal\r\n\r\n\
                    test,t.tif,\"a, b.tif\",1\r\n,,,\r\n,t2.tif,s2.tif,DAPI\r\n";
        let manifest = read(text).unwrap();
        assert_eq!(manifest.rows.len(), 2);
        assert_eq!(manifest.rows[0].signal, Path::new("a, b.tif"));
        assert_eq!(manifest.rows[0].channel_signal, Some(Channel::Index(1)));
        assert_eq!(manifest.rows[0].split, Some(Split::Test));
        assert_eq!(manifest.rows[1].channel_signal, Some(Channel::Name("DAPI".into())));
        assert_eq!((manifest.rows[1].split, &manifest.rows[1].mask), (None, &None));
        assert_eq!(manifest.lines, [3, 5]);
    }

    #[test]
    fn mistakes_are_named() {
        check_error("path_signal,path_tagret\na,b\n", &["line 1", "path_tagret", "path_target"]);
        check_error("path_signal\na\n", &["path_target is missing"]);
        check_error("path_signal,path_target,path_signal\n", &["path_signal is there twice"]);
        check_error(",path_signal,path_target\n0,a,b\n", &["index=False"]);
        check_error("path_signal,path_target\n", &["no rows"]);
        check_error("", &["no rows"]);
        check_error("path_signal,path_target\na,\n", &["line 2", "path_target is empty"]);
        check_error("path_signal,path_target\na,b,c,d\n", &["line 2", "quote"]);
        check_error("path_signal,path_target,split\na,b,trian\n", &["trian", "validate"]);
        check_error("path_signal,path_target\na,b\n\na,b\n", &["line 4", "line 2"]);
    }

    #[test]
    fn missing_files_are_named_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        std::fs::write(folder.path().join("a.tif"), b"").unwrap();
        std::fs::write(&path, "path_signal,path_target\na.tif,a.tif\na.tif,b.tif\n").unwrap();
        let message = Manifest::read(&path).unwrap().check_files().unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("b.tif"), "{message}");
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        let row = Row {
            signal: folder.path().join("stacks").join("a, b.tif"),
            channel_signal: Some(Channel::Index(2)),
            target: folder.path().join("t.tif"),
            channel_target: Some(Channel::Name("DNA \"x\"".into())),
            mask: Some(folder.path().join("mask.tif")),
            split: Some(Split::Validate),
        };
        let other =
            Row { target: "/elsewhere/t.tif".into(), mask: None, split: None, ..row.clone() };
        let rows = [row, other];
        write(&path, &rows, false).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"stacks/a, b.tif\",2,t.tif,"), "{text}");
        assert_eq!(Manifest::read(&path).unwrap().rows, rows);
    }

    #[test]
    fn open_rows_get_a_part() {
        let mut manifest =
            read("path_signal,path_target,split\na,b,test\nc,d,\ne,f,\ng,h,\n").unwrap();
        manifest.fill_split(Fractions::default(), 1);
        assert_eq!(manifest.rows[0].split, Some(Split::Test));
        assert!(manifest.rows.iter().all(|row| row.split.is_some()));
        assert_eq!(manifest.rows_of(Split::Train).count(), 1);
    }
}
