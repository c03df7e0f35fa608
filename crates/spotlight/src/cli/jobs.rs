//! Which stacks a command works on and where each result is written, checked before anything
//! is read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_io::Channel;
use spotlight_io::atomic::AtomicFile;
use spotlight_io::manifest::{Row, Split};

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
#[must_use]
pub fn output_name(input: &Path) -> String {
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = name.to_lowercase();
    let endings = [".ome.tiff", ".ome.tif", ".tiff", ".tif", ".ome.zarr", ".zarr", ".czi"];
    let ending = endings.iter().find(|ending| lower.ends_with(*ending)).map_or(0, |e| e.len());
    // The endings are ASCII, so they have the same length in both spellings.
    format!("{}.ome.tif", &name[..name.len() - ending])
}

/// Refuses outputs that exist, that are inputs, or that two inputs share.
fn check(jobs: &[Job], overwrite: bool) -> Result<()> {
    // As they are named and as the system knows them: one file may have several names.
    let known = |path: &Path| path.canonicalize().ok();
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
        // Dropped at once: leaves nothing behind.
        AtomicFile::create(&job.output, overwrite)?;
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
        check_name("a.ome.zarr", "a.ome.tif");
        check_name("a.czi", "a.ome.tif");
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
