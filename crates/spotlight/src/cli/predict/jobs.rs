//! Which stacks are stained and where each stain is written, checked before anything is read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_io::Channel;
use spotlight_io::atomic::AtomicFile;

use super::Options;
use crate::cli::{failure, values, wrong_use};

/// One stack to stain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) input: PathBuf,
    pub(super) channel: Option<Channel>,
    pub(super) output: PathBuf,
}

/// What is read and where it is written.
pub(super) fn plan(options: &Options) -> Result<Vec<Job>> {
    let inputs: Vec<(PathBuf, Option<Channel>)> = match &options.manifest {
        Some(manifest) => {
            let rows = values::rows(manifest, options.split)?.into_iter();
            rows.map(|row| (row.signal, row.channel_signal)).collect()
        }
        None => {
            let files = values::files(&options.inputs)?;
            files.into_iter().map(|file| (file, options.channel.clone())).collect()
        }
    };
    let out = &options.output;
    let name = out.to_string_lossy().to_lowercase();
    let is_file = inputs.len() == 1
        && !out.is_dir()
        && [".tif", ".tiff"].iter().any(|ending| name.ends_with(ending));
    let jobs: Vec<Job> = inputs
        .into_iter()
        .map(|(input, channel)| {
            let output = if is_file { out.clone() } else { out.join(output_name(&input)) };
            Job { input, channel, output }
        })
        .collect();
    check(&jobs, options.overwrite)?;
    Ok(jobs)
}

/// The name of the stain of an input in a folder: its own, with the ending `.ome.tif`.
#[must_use]
pub fn output_name(input: &Path) -> String {
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = name.to_lowercase();
    let endings = [".ome.tiff", ".ome.tif", ".tiff", ".tif"];
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
                "stain them one by one, or rename one of them",
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

/// Makes the folders of the outputs and makes sure that files can be written there,
/// before any time is spent.
pub(super) fn prepare_folders(jobs: &[Job], overwrite: bool) -> Result<()> {
    for job in jobs {
        let folder = job.output.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                failure(
                    format!("cannot make the folder {}: {error}", folder.display()),
                    "choose another output folder",
                )
            })?;
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
