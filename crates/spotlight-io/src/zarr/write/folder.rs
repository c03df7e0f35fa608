//! [`Folder`]: the hidden folder in which a store grows until it gets its final name.
//!
//! ```text
//! .NAME.part/store     the store; every object in it is whole
//! .NAME.part/layout    the shapes and settings, to compare with on resuming
//! .NAME.part/progress  which units are whole (see `progress`)
//! .NAME.part/new/      objects on the way; renamed into the store once they are on the disk
//! .NAME.part/old       what had the final name before, while it is replaced
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::progress::{Found, Progress};
use crate::Error;
use crate::atomic::check_free;

/// Where a store grows, and where it goes.
#[derive(Debug)]
pub(super) struct Folder {
    target: PathBuf,
    work: PathBuf,
    next: AtomicU64,
}

impl Folder {
    pub(super) fn new(target: PathBuf, work: PathBuf) -> Self {
        Self { target, work, next: AtomicU64::new(0) }
    }

    /// The final name.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// The growing store.
    pub(super) fn store(&self) -> PathBuf {
        self.work.join("store")
    }

    /// Makes the folder for a new store with its first files (metadata; name and content).
    pub(super) fn begin(
        &self,
        overwrite: bool,
        digest: &str,
        layout: &str,
        files: &[(String, String)],
    ) -> Result<Progress, Error> {
        self.check_target(overwrite)?;
        match Progress::open(&self.progress()).map_err(|source| self.explain(source))? {
            Found::Locked => return Err(self.busy()),
            Found::Begun(..) if !overwrite => {
                return Err(self.choice("an unfinished store of this name", "resuming it"));
            }
            Found::Begun(..) | Found::Nothing => self.clear()?,
        }
        let begun = || -> io::Result<Progress> {
            for folder in [self.work.clone(), self.store(), self.work.join("new")] {
                fs::create_dir(folder)?;
            }
            fs::write(self.work.join("layout"), layout)?;
            File::open(self.work.join("layout"))?.sync_all()?;
            for (key, text) in files {
                self.write(key, text.as_bytes())?;
            }
            sync_folder(self.work.parent());
            Progress::begin(&self.progress(), digest)
        };
        begun().map_err(|source| Error::write(&self.target, source))
    }

    /// Takes up an unfinished store of the same content, if there is one.
    pub(super) fn resume(
        &self,
        overwrite: bool,
        digest: &str,
        layout: &str,
    ) -> Result<Option<Progress>, Error> {
        let (begun, progress) =
            match Progress::open(&self.progress()).map_err(|source| self.explain(source))? {
                // What a kill while beginning or tidying up has left is of no use.
                Found::Nothing => return self.clear().map(|()| None),
                Found::Locked => return Err(self.busy()),
                Found::Begun(begun, progress) => (begun, progress),
            };
        let same = "the same inputs and settings to go on with it";
        if begun != digest {
            return Err(self.choice("an unfinished store of other inputs or settings", same));
        }
        let before = fs::read(self.work.join("layout")).map_err(|source| self.explain(source))?;
        if before != layout.as_bytes() {
            return Err(self.choice("an unfinished store of another shape or other options", same));
        }
        let has_store = self.store().is_dir();
        let is_published = progress.is_complete() && self.target.is_dir();
        if !has_store && !is_published {
            // What was written has vanished; only a new store can help.
            self.clear()?;
            return Ok(None);
        }
        if has_store {
            self.check_target(overwrite)?;
            let new = self.work.join("new");
            let emptied = remove(&new).and_then(|()| fs::create_dir(&new));
            emptied.map_err(|source| self.explain(source))?;
        }
        Ok(Some(progress))
    }

    /// Writes an object of the store: first under another name, then under its own.
    pub(super) fn write(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let new = self.work.join("new").join(number.to_string());
        let mut file = File::create(&new)?;
        let path = self.store().join(key);
        let moved = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.make_folder(path.parent().unwrap_or(&path)))
            .and_then(|()| fs::rename(&new, &path));
        if moved.is_err() {
            drop(fs::remove_file(&new));
        }
        sync_folder(path.parent());
        moved
    }

    /// Removes an object, if it is there.
    pub(super) fn remove(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.store().join(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.store().join(key).is_file()
    }

    /// Gives a complete store its final name; does nothing where it has it.
    pub(super) fn publish(&self, overwrite: bool) -> Result<(), Error> {
        let store = self.store();
        if !store.is_dir() && self.target.is_dir() {
            return Ok(());
        }
        self.check_target(overwrite)?;
        let publish = || {
            if self.target.symlink_metadata().is_ok() {
                let old = self.work.join("old");
                remove(&old)?;
                fs::rename(&self.target, old)?;
            }
            fs::rename(&store, &self.target)?;
            sync_folder(self.target.parent());
            Ok(())
        };
        publish().map_err(|source| self.explain(source))
    }

    /// Removes the folder; the progress goes first, so that nothing half removed is resumed.
    pub(super) fn clear(&self) -> Result<(), Error> {
        let cleared = remove(&self.progress()).and_then(|()| remove(&self.work));
        cleared.map_err(|source| Error::Io { action: "remove", path: self.work.clone(), source })
    }

    /// The error of a system that refuses, with the way on.
    pub(super) fn explain(&self, source: io::Error) -> Error {
        let work = self.work.display();
        let way_on = if self.store().is_dir() {
            format!("what is written is kept in {work}, and a run that resumes goes on from there")
        } else {
            format!("{work} is gone, and the same command begins anew")
        };
        Error::write(&self.target, io::Error::new(source.kind(), format!("{source}; {way_on}")))
    }

    fn progress(&self) -> PathBuf {
        self.work.join("progress")
    }

    fn check_target(&self, overwrite: bool) -> Result<(), Error> {
        check_free(&self.target, overwrite)?;
        let exists = self.target.symlink_metadata().is_ok();
        let is_store = ["zarr.json", ".zgroup", ".zattrs", ".zarray"]
            .iter()
            .any(|name| self.target.join(name).is_file());
        if exists && !is_store {
            // Replacing removes a folder with all that is in it.
            let what = "something that is no Zarr store has this name, and is not replaced";
            let (path, choices) = (self.target.clone(), "another name".to_owned());
            return Err(Error::Choice { path, what: what.into(), choices });
        }
        Ok(())
    }

    fn choice(&self, what: &str, first: &str) -> Error {
        let work = self.work.display();
        Error::Choice {
            path: self.target.clone(),
            what: format!("{what} lies in {work}"),
            choices: format!("{first}, overwriting, or another name, or delete that folder"),
        }
    }

    fn busy(&self) -> Error {
        let what = "another program is writing it; wait for it or stop it";
        Error::write(&self.target, io::Error::new(io::ErrorKind::ResourceBusy, what))
    }

    /// Makes a folder inside the store, but never the store itself: where that has vanished,
    /// the rest of it has, too.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let above = match folder.parent() {
            Some(above) if folder.starts_with(self.store()) && folder != self.store() => above,
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        self.make_folder(above)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_folder(Some(above)),
        }
        Ok(())
    }
}

/// Removes a file or folder, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Brings the names in a folder to the disk; where folders cannot be opened as files there is
/// nothing to do.
pub(super) fn sync_folder(folder: Option<&Path>) {
    if let Some(file) = folder.and_then(|folder| File::open(folder).ok()) {
        drop(file.sync_all());
    }
}
