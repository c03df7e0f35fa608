//! The pairs of a manifest as training reads them: the one place where files meet the method.

use std::path::{Path, PathBuf};

use spotlight_io::manifest::Row;
use spotlight_io::{Channel, Selection, Stack, inspect, read_stack};
use spotlight_learn::Error;
use spotlight_learn::prepare::{Pairs, RawPair};

/// Voxel sizes that differ by less than this fraction are the same.
const SAME_SPACING: f64 = 0.01;

/// Rows of a manifest, read from their files one by one.
#[derive(Clone, Debug)]
pub struct ManifestPairs<'a> {
    /// The rows.
    pub rows: Vec<&'a Row>,
    /// Voxel size in µm along (z, y, x) of files that do not tell theirs.
    pub spacing_um: Option<[f64; 3]>,
}

impl Pairs for ManifestPairs<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn load(&self, index: usize) -> Result<RawPair, Error> {
        let row = self.rows[index];
        let signal = read(&row.signal, row.channel_signal.as_ref())?;
        let target = read(&row.target, row.channel_target.as_ref())?;
        let name = pair_name(row);
        let spacing_um = spacing(&signal, &target, &name)?.or(self.spacing_um);
        Ok(RawPair {
            signal: signal.to_f32(),
            target: target.to_f32(),
            target_is_integer: target.is_integer(),
            spacing_um,
            name,
        })
    }
}

/// How errors name a pair: by both of its files.
#[must_use]
pub fn pair_name(row: &Row) -> String {
    if row.signal == row.target {
        return row.signal.display().to_string();
    }
    format!("{} with {}", row.signal.display(), row.target.display())
}

/// The files of rows, each once, in the order of their first mention.
#[must_use]
pub fn files<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for row in rows {
        for path in [&row.signal, &row.target] {
            if !files.contains(path) {
                files.push(path.clone());
            }
        }
    }
    files
}

/// The name of the channel that is read from a file: as the manifest or the file gives it.
#[must_use]
pub fn channel_name(path: &Path, channel: Option<&Channel>) -> Option<String> {
    let place = match channel {
        Some(Channel::Name(name)) => return Some(name.clone()),
        Some(Channel::Index(index)) => *index,
        None => 0,
    };
    // The file was read before, so that a failure here could only be the system's: then the
    // name is not known.
    inspect(path).ok()?.channel_names.get(place).cloned()
}

fn read(path: &Path, channel: Option<&Channel>) -> Result<Stack, Error> {
    let selection = Selection { channel: channel.cloned(), ..Selection::default() };
    read_stack(path, &selection).map_err(|error| Error::Data(Box::new(error)))
}

/// The voxel size that the files tell; both may, but not differently.
fn spacing(signal: &Stack, target: &Stack, name: &str) -> Result<Option<[f64; 3]>, Error> {
    let (Some(a), Some(b)) = (signal.spacing_um, target.spacing_um) else {
        return Ok(signal.spacing_um.or(target.spacing_um));
    };
    if a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= SAME_SPACING * a.abs()) {
        return Ok(Some(a));
    }
    let problem = format!(
        "the signal has voxels of {a:?} µm (z, y, x) and the target of {b:?} µm; \
         a pair must share one grid"
    );
    Err(Error::Stack { name: name.to_owned(), problem })
}
