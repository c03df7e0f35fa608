//! Which stacks a command works on and where each result is written, checked before anything
//! is read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf, is_separator};

use anyhow::Result;
use spotlight_io::atomic;
use spotlight_io::manifest::{Row, Split};
use spotlight_io::{Channel, is_address};

use crate::cli::{failure, values, wrong_use};

/// One stack to read, and where its result goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) input: PathBuf,
    pub(super) channel: Option<Channel>,
    pub(super) output: PathBuf,
}

/// What a command was asked to read and to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// Names and patterns of files, where there is no manifest.
    pub(super) inputs: &'a [PathBuf],
    /// Channel of these files.
    pub(super) channel: Option<&'a Channel>,
    /// A manifest, and which of its rows.
    pub(super) manifest: Option<&'a Path>,
    pub(super) split: Option<Split>,
    /// The stack of a pair that is read.
    pub(super) role: Role,
    /// A folder, or the file for a single input.
    pub(super) output: &'a Path,
    /// Whether a result may be a Zarr store.
    pub(super) stores: bool,
    pub(super) overwrite: bool,
}

/// A stack of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Transmitted light.
    Signal,
    /// Fluorescence.
    Target,
}

/// What is read and where it is written. All results of a pair have one name, that of its
/// signal, so that they find together again.
pub(super) fn plan(request: &Request<'_>) -> Result<Vec<Job>> {
    let named = |input: PathBuf, channel| (output_name(&input), input, channel);
    let of_row = |row: Row| match request.role {
        Role::Signal => named(row.signal, row.channel_signal),
        Role::Target => (output_name(&row.signal), row.target, row.channel_target),
    };
    let inputs: Vec<(String, PathBuf, Option<Channel>)> = match request.manifest {
        Some(manifest) => values::rows(manifest, request.split)?.into_iter().map(of_row).collect(),
        None => {
            let files = values::files(request.inputs)?;
            files.into_iter().map(|file| named(file, request.channel.cloned())).collect()
        }
    };
    let out = request.output;
    let ending = out.to_string_lossy().to_lowercase();
    let is_store = ending.ends_with(".zarr");
    if is_store && !request.stores {
        return Err(wrong_use(
            format!("{} is named as a Zarr store, and this command writes OME-TIFF", out.display()),
            "name a .tif file or a folder",
        ));
    }
    let is_tiff = [".tif", ".tiff"].iter().any(|tiff| ending.ends_with(tiff));
    let is_file = inputs.len() == 1 && (is_store || is_tiff && !out.is_dir());
    let jobs: Vec<Job> = inputs
        .into_iter()
        .map(|(name, input, channel)| {
            let output = if is_file { out.to_owned() } else { out.join(name) };
            Job { input, channel, output }
        })
        .collect();
    check(&jobs, request.overwrite)?;
    Ok(jobs)
}

/// The name of the result of an input in a folder: its own, with the ending `.ome.tif`.
///
/// The field of a plate has the names of the plate and of those on the way, an address that of
/// its last parts, and a name with fields in braces what is left without them.
#[must_use]
pub fn output_name(input: &Path) -> String {
    format!("{}.ome.tif", stem(input))
}

/// The name of an input without its ending: `a` of `x/a.ome.tif`, `plate_B_3_0` of
/// `plate.zarr/B/3/0`.
#[must_use]
pub fn stem(input: &Path) -> String {
    let text = input.to_string_lossy();
    // What follows `?` or `#` in an address is not part of a name.
    let text = match is_address(input) {
        true => text.split(['?', '#']).next().unwrap_or_default(),
        false => &text,
    };
    let parts: Vec<&str> = text.split(is_separator).filter(|part| !part.is_empty()).collect();
    let is_store = |part: &&str| part.to_lowercase().ends_with(".zarr");
    let from = parts.iter().rposition(is_store).unwrap_or(parts.len().saturating_sub(1));
    let names: Vec<String> = parts[from..].iter().map(|part| bare_name(part)).collect();
    names.join("_")
}

/// A name without the ending of a format, and without fields in braces.
fn bare_name(name: &str) -> String {
    const ENDINGS: [&str; 8] =
        [".companion.ome", ".ome.tiff", ".ome.tif", ".tiff", ".tif", ".ome.zarr", ".zarr", ".czi"];
    let lower = name.to_ascii_lowercase();
    let ending = ENDINGS.iter().find(|ending| lower.ends_with(*ending));
    // Some letters get longer in lower case; those of ASCII do not.
    let name = &name[..name.len() - ending.map_or(0, |ending| ending.len())];
    if !name.contains('{') {
        return name.to_owned();
    }
    let mut left = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('{') {
        left.push_str(before);
        // With a field goes the mark of its axis: `_z{z}`, `-t{t}`, `ch{c}`.
        let cut = left.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let apart = |c: char| c.is_ascii_digit() || "_-. ".contains(c);
        if left.len() - cut.len() <= 2 && (cut.is_empty() || cut.ends_with(apart)) {
            left.truncate(cut.len());
        }
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    left.push_str(rest);
    let is_mark = |c: char| "_-. *?".contains(c);
    let left = left.trim_matches(is_mark).replace(['*', '?'], "");
    if left.is_empty() { "image".to_owned() } else { left }
}

/// Refuses outputs that exist, that are inputs, or that two inputs share.
pub(super) fn check(jobs: &[Job], overwrite: bool) -> Result<()> {
    // As they are named and as the system knows them: one file may have several names.
    // An address is on no disk.
    let known = |path: &Path| if is_address(path) { None } else { path.canonicalize().ok() };
    let mut inputs: HashSet<PathBuf> = jobs.iter().map(|job| job.input.clone()).collect();
    inputs.extend(jobs.iter().filter_map(|job| known(&job.input)));
    let mut writers: HashMap<&Path, &Job> = HashMap::new();
    for job in jobs {
        let output = job.output.display();
        if let Some(other) = writers.insert(&job.output, job) {
            let (one, two) = (other.input.display(), job.input.display());
            return Err(wrong_use(
                format!("{one} and {two} would both be written to {output}"),
                "write them to different folders, or rename one of them",
            ));
        }
        let names = [Some(job.output.clone()), known(&job.output)];
        if names.into_iter().flatten().any(|name| inputs.contains(&name)) {
            return Err(wrong_use(
                format!("{output} would replace an input"),
                "choose another folder for the output",
            ));
        }
        if !overwrite && job.output.exists() {
            return Err(wrong_use(
                format!("{output} exists already"),
                "choose another output, or add --overwrite to replace it",
            ));
        }
    }
    Ok(())
}

/// Makes a folder for results, with those above it.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        failure(
            format!("cannot make the folder {}: {error}", folder.display()),
            "choose another output folder",
        )
    })
}

/// Makes the folders of the outputs and makes sure that files can be written there,
/// before any time is spent.
pub(super) fn prepare_folders(jobs: &[Job], overwrite: bool) -> Result<()> {
    for job in jobs {
        let folder = job.output.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            make_folder(folder)?;
        }
    }
    if let Some(job) = jobs.first() {
        atomic::check_free(&job.output, overwrite)?;
        atomic::check_writable(&job.output)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(input: &str, output: &str) {
        assert_eq!(output_name(Path::new(input)), output);
    }

    #[test]
    fn outputs_are_named_after_their_inputs() {
        check_name("plate/a.tif", "a.ome.tif");
        check_name("a.OME.TIFF", "a.ome.tif");
        check_name("a.b.TIF", "a.b.ome.tif");
        check_name("a.stk", "a.stk.ome.tif");
        check_name("x/a.CZI", "a.ome.tif");
        check_name("a.zarr", "a.ome.tif");
        check_name("x/a.ome.zarr/", "a.ome.tif");
        check_name("x/plate.zarr/B/3/0", "plate_B_3_0.ome.tif");
        check_name("https://host/x/plate.zarr/B/3/0/?key=1", "plate_B_3_0.ome.tif");
        check_name("https://host/x/image", "image.ome.tif");
        check_name("img_z{z:02}_c{c}.tif", "img.ome.tif");
        check_name("x/s{c:DAPI,FITC}_plate_t{t}-{z}.TIF", "plate.ome.tif");
        check_name("D08_T{t:04}F001L01A{c:02}Z{z:02}C{c:02}.tif", "D08_F001L01.ome.tif");
        check_name("{z}.tif", "image.ome.tif");
        check_name("set.companion.ome", "set.ome.tif");
    }

    fn job(input: &str, output: &str) -> Job {
        Job { input: input.into(), channel: None, output: output.into() }
    }

    #[test]
    fn no_two_inputs_share_an_output_and_no_input_is_replaced() {
        let shared = [job("x/a.tif", "o/a.ome.tif"), job("y/a.tif", "o/a.ome.tif")];
        let message = check(&shared, true).unwrap_err().to_string();
        assert!(message.contains("x/a.tif and y/a.tif"), "{message}");
        let message = check(&[job("a.ome.tif", "a.ome.tif")], true).unwrap_err().to_string();
        assert!(message.contains("replace an input"), "{message}");
        assert!(check(&[job("a.tif", "o/a.ome.tif"), job("b.tif", "o/b.ome.tif")], false).is_ok());
    }
}
