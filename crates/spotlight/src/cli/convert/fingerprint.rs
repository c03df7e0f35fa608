//! [`digest`]: what inputs and settings an output comes from, in one line.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result};
use spotlight_io::is_address;

use super::options::{Options, Target};
use super::source::Source;
use crate::record::digest_of;

/// A digest of the files of an input (names, sizes, times of change) and of all settings that
/// show in the output. Of an address only the name and what the metadata say are known.
pub(super) fn digest(source: &Source, options: &Options, target: &Target) -> Result<String> {
    let mut text = String::new();
    let mut line = |about: String| {
        text.push_str(&about);
        text.push('\n');
    };
    line(format!("spotlight convert {}", env!("CARGO_PKG_VERSION")));
    line(format!("{}", source.image.path().display()));
    for part in source.image.parts() {
        if is_address(&part) {
            line(format!("{:?}", source.image.info()?));
        } else {
            add_files(&part, &mut line)
                .with_context(|| format!("while looking at {}", part.display()))?;
        }
    }
    let Source { series, times, channels, layout, .. } = source;
    line(format!("{series} {times:?} {channels:?} {layout:?}"));
    let axes = options.axes.as_ref().map(ToString::to_string);
    line(format!("{target:?} {axes:?} {:?}", options.zarr_version));
    line(format!("{:?} {:?} {}", options.chunk, options.levels, options.labels));
    Ok(digest_of(&text))
}

/// A line for a file, or for every file below a folder, in the order of their names.
fn add_files(path: &Path, line: &mut impl FnMut(String)) -> io::Result<()> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
        let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| add_files(entry, line));
    }
    let changed = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    line(format!("{} {} {changed}", path.display(), about.len()));
    Ok(())
}
