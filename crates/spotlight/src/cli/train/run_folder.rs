//! The folder of a run: which files it has, and when a run may write there.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::options::Options;
use crate::cli::{failure, wrong_use};

/// Files of a run.
pub(super) const MODEL: &str = "model.safetensors";
pub(super) const CHECKPOINT: &str = "checkpoint.safetensors";
pub(super) const LOG: &str = "log.csv";
pub(super) const RECIPE: &str = "recipe.toml";
pub(super) const SPLIT: &str = "split.csv";
pub(super) const RECORD: &str = "record.json";

/// How the names of `TensorBoard` event files begin.
const EVENTS: &str = "events.out.tfevents.";

/// The folder of a run.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    resume: bool,
    /// Whether this run has made the folder.
    is_new: bool,
}

impl RunFolder {
    /// Checks that the run may be written there; writes nothing that stays.
    pub(super) fn check(options: &Options) -> Result<Self> {
        let path = options.output.clone();
        let name = path.display();
        if path.exists() && !path.is_dir() {
            let hint = "give the name of a folder with -o";
            return Err(wrong_use(format!("{name} is a file, not a folder"), hint));
        }
        let has = |file: &str| path.join(file).exists();
        if options.resume && !has(RECIPE) {
            let message = format!("there is no run in {name} to go on with: {RECIPE} is missing");
            return Err(wrong_use(message, "leave out --resume to start one"));
        }
        let replaces = options.resume || options.overwrite;
        let old = [MODEL, CHECKPOINT, LOG].into_iter().find(|file| has(file) && !replaces);
        if let Some(file) = old {
            let message = format!("{} exists already", path.join(file).display());
            let hint = "--resume goes on with that run, --overwrite replaces it, -o takes another \
                        folder";
            return Err(wrong_use(message, hint));
        }
        let is_new = !path.exists();
        probe(&path)?;
        Ok(Self { path, resume: options.resume, is_new })
    }

    /// A file of the run.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a checkpoint is there to go on from.
    pub(super) fn goes_on(&self) -> bool {
        self.resume && self.file(CHECKPOINT).exists()
    }

    /// Makes the folder.
    pub(super) fn create(&self) -> Result<()> {
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot create the folder {}", self.path.display()))
    }

    /// Removes what a run has written that has failed before its first checkpoint.
    ///
    /// It is a courtesy: the error that made the run fail is what has to be told.
    pub(super) fn remove_beginnings(&self) {
        if self.file(CHECKPOINT).exists() {
            return; // a run to go on with
        }
        let _ = self.remove_events();
        for file in [RECIPE, SPLIT, LOG] {
            let _ = remove(&self.file(file));
        }
        if self.is_new {
            // Where something else is in the folder it stays.
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    /// Removes what an earlier run has left and this one will not replace at once.
    pub(super) fn clear(&self, has_checkpoint: bool) -> Result<()> {
        let mut old = vec![self.file(MODEL), self.file(RECORD), self.file(LOG)];
        if !has_checkpoint {
            old.push(self.file(CHECKPOINT));
        }
        self.remove_events()?;
        old.iter().try_for_each(|path| remove(path))
    }

    /// Removes the event files of earlier runs.
    pub(super) fn remove_events(&self) -> Result<()> {
        let reading = || format!("cannot read the folder {}", self.path.display());
        for entry in std::fs::read_dir(&self.path).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            if entry.file_name().to_string_lossy().starts_with(EVENTS) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Finds out early, before hours of work, that nothing can be written in a folder.
fn probe(folder: &Path) -> Result<()> {
    let there = folder.ancestors().find(|path| path.is_dir());
    // The last ancestor of a relative path is the empty one, which is no folder.
    let there = there.unwrap_or(Path::new("."));
    let probe = tempfile::Builder::new().prefix(".spotlight").tempfile_in(there);
    probe.and_then(tempfile::NamedTempFile::close).map_err(|error| {
        let reason = error.raw_os_error().map_or(error, std::io::Error::from_raw_os_error);
        let message = format!("cannot write in {}: {reason}", there.display());
        failure(message, "choose another folder with -o, or ask for permission on this one")
    })
}
