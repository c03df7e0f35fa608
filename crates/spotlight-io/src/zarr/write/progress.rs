//! [`Progress`]: which units are whole, in a file that survives a kill at any moment.
//!
//! The first line is the digest of what is written; each further line is a unit whose chunks
//! are on the disk. A line is appended and synced after the chunks are; a torn last line is
//! ignored. The file is locked while a program writes the store.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use spotlight_image::grid::Region;

use super::folder::sync_folder;

/// A write unit of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub(super) level: usize,
    pub(super) time: usize,
    pub(super) channel: usize,
    /// Where the unit begins along (z, y, x).
    pub(super) start: [usize; 3],
}

impl Mark {
    pub(super) fn new(level: usize, time: usize, channel: usize, unit: Region) -> Self {
        Self { level, time, channel, start: unit.start }
    }
}

/// What [`Progress::open`] found.
#[derive(Debug)]
pub(super) enum Found {
    /// No file, or none with a whole first line: nothing to go on with.
    Nothing,
    /// Another program holds it.
    Locked,
    /// The digest and the units.
    Begun(String, Progress),
}

/// An open, locked progress file.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    done: HashSet<Mark>,
    complete: bool,
}

/// The line after which the store may have its final name.
const COMPLETE: &str = "complete";

impl Progress {
    /// Begins a file with a digest of one line; the folder exists, the file does not.
    pub(super) fn begin(path: &Path, digest: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create_new(true).open(path)?;
        if !lock(&file) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        file.write_all(format!("{digest}\n").as_bytes())?;
        file.sync_all()?;
        sync_folder(path.parent());
        Ok(Self { state: Mutex::new(State { file, done: HashSet::new(), complete: false }) })
    }

    /// Opens a file, drops what was torn, and gives what is whole.
    pub(super) fn open(path: &Path) -> io::Result<Found> {
        let mut file = match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        if !lock(&file) {
            return Ok(Found::Locked);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut lines = whole_lines(&bytes);
        let Some(digest) = lines.next() else { return Ok(Found::Nothing) };
        let digest = digest.to_owned();
        let (mut done, mut complete) = (HashSet::new(), false);
        let mut length = digest.len() + 1;
        for line in lines {
            match parse(line) {
                Some(mark) => drop(done.insert(mark)),
                None if line == COMPLETE => complete = true,
                // After a power cut, what follows may be anything; these units are written again.
                None => break,
            }
            length += line.len() + 1;
        }
        file.set_len(length as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Found::Begun(digest, Self { state: Mutex::new(State { file, done, complete }) }))
    }

    pub(super) fn is_done(&self, mark: Mark) -> bool {
        self.state().done.contains(&mark)
    }

    /// Adds a unit whose chunks are on the disk.
    pub(super) fn mark(&self, mark: Mark) -> io::Result<()> {
        let Mark { level, time, channel, start: [z, y, x] } = mark;
        let mut state = self.state();
        append(&mut state.file, &format!("{level} {time} {channel} {z} {y} {x}"))?;
        state.done.insert(mark);
        Ok(())
    }

    /// Whether all of the store is written, but perhaps not under its final name.
    pub(super) fn is_complete(&self) -> bool {
        self.state().complete
    }

    pub(super) fn mark_complete(&self) -> io::Result<()> {
        let mut state = self.state();
        append(&mut state.file, COMPLETE)?;
        state.complete = true;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends a line; what a full disk left of it is taken back.
fn append(file: &mut File, line: &str) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data());
    if written.is_err() {
        // Should this fail, too, the torn line is dropped when the file is opened again.
        drop(file.set_len(before));
    }
    written
}

/// Whether no other program holds the file. Network file systems may know no locks; then
/// nobody can tell, and the file is taken.
fn lock(file: &File) -> bool {
    // A program that was killed may need a moment until its last write is through.
    for _ in 0..10 {
        if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

/// The lines that end, up to the first that is no text.
fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let lines = bytes[..end].split_inclusive(|byte| *byte == b'\n');
    lines.map_while(|line| str::from_utf8(&line[..line.len() - 1]).ok())
}

fn parse(line: &str) -> Option<Mark> {
    let numbers: Result<Vec<usize>, _> = line.split(' ').map(str::parse).collect();
    match numbers.ok()?[..] {
        [level, time, channel, z, y, x] => Some(Mark { level, time, channel, start: [z, y, x] }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(z: usize) -> Mark {
        Mark { level: 0, time: 0, channel: 1, start: [z, 0, 512] }
    }

    #[test]
    fn a_torn_line_is_dropped_and_the_next_begins_where_it_did() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress");
        let progress = Progress::begin(&path, "abc").unwrap();
        progress.mark(unit(0)).unwrap();
        progress.mark(unit(16)).unwrap();
        drop(progress);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "abc\n0 0 1 0 0 512\n0 0 1 16 0 512\n");
        for length in 0..text.len() {
            std::fs::write(&path, &text[..length]).unwrap();
            match Progress::open(&path).unwrap() {
                Found::Nothing => assert!(length < 4),
                Found::Locked => panic!("locked"),
                Found::Begun(digest, progress) => {
                    assert_eq!(digest, "abc");
                    assert_eq!(progress.is_done(unit(0)), length >= 18);
                    assert!(!progress.is_done(unit(16)));
                    if length >= 18 {
                        progress.mark(unit(16)).unwrap();
                        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
                    }
                }
            }
        }
    }

    #[test]
    fn garbage_after_a_power_cut_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress");
        std::fs::write(&path, b"abc\n0 0 1 0 0 512\n\0\0\0\xff\n0 0 1 16 0 512\n").unwrap();
        let Found::Begun(_, progress) = Progress::open(&path).unwrap() else { panic!("nothing") };
        assert!(progress.is_done(unit(0)) && !progress.is_done(unit(16)));
        assert_eq!(std::fs::read(&path).unwrap(), b"abc\n0 0 1 0 0 512\n");
    }

    #[test]
    fn two_programs_cannot_hold_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress");
        let first = Progress::begin(&path, "abc").unwrap();
        assert!(matches!(Progress::open(&path).unwrap(), Found::Locked));
        drop(first);
        assert!(matches!(Progress::open(&path).unwrap(), Found::Begun(..)));
    }
}
