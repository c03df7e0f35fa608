//! Every file of the folders of real and of malformed files is opened, described and read: no
//! panic, no file over two seconds, no memory beyond what its length can stand for.
//!
//! The folders are not part of the project (see `real_files.rs`). There is one test in this
//! file, for the allocator counts what the whole program holds.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

mod data;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data::data;
use peak_alloc::PeakAlloc;
use spotlight_io::{Channel, ImageInfo, Selection, Storage, inspect, read_array, read_stack};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A folder and all that is below it.
fn below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let mut entries: Vec<PathBuf> = entries.collect();
        entries.sort();
        entries.iter().for_each(|entry| below(entry, found));
    }
}

/// Bytes of a file, or of all files below a folder.
fn bytes_of(path: &Path) -> u64 {
    let mut all = Vec::new();
    below(path, &mut all);
    all.iter().filter(|path| path.is_file()).map(|path| path.metadata().unwrap().len()).sum()
}

/// Bytes of what belongs to a path: the parts of a set lie in one folder.
fn length(path: &Path, info: Option<&ImageInfo>) -> u64 {
    let set =
        info.is_some_and(|info| ["OME-TIFF", "NDTiff"].iter().any(|f| info.format.starts_with(f)));
    if set && path.is_file() { bytes_of(path.parent().unwrap()) } else { bytes_of(path) }
}

/// Reads the first and the last z-stack of every image, and the first as an array.
fn read(path: &Path, info: Option<&ImageInfo>) -> usize {
    let mut read = 0;
    for series in 0..info.map_or(1, |info| info.series.len()) {
        let last = info.map_or((0, 0), |info| (info.channel_names.len() - 1, info.times - 1));
        for (channel, time) in [(0, 0), last] {
            let channel = Some(Channel::Index(channel));
            read += usize::from(read_stack(path, &Selection { channel, time, series }).is_ok());
        }
    }
    read + usize::from(read_array(path, 0).is_ok())
}

#[test]
fn every_file_is_read_or_refused_in_little_time_and_memory() {
    let mut paths = Vec::new();
    for folder in ["formats", "malformed_tiff"].into_iter().filter_map(data) {
        below(&folder, &mut paths);
    }
    // Threads and tables that are made once are not a file's.
    drop(inspect(Path::new("none.tif")));
    rayon_is_ready();
    let (mut sound, mut refused, mut failures) = (0, 0, Vec::new());
    for path in &paths {
        let held = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let start = Instant::now();
        let info = inspect(path);
        if let Err(error) = &info {
            let (text, name) = (error.to_string(), path.file_name().unwrap().to_string_lossy());
            assert!(
                text.contains(&*name) || path.is_dir() || text.contains(" beside it"),
                "{text}"
            );
        }
        let info = info.ok();
        let count = read(path, info.as_ref());
        let (time, peak) = (start.elapsed(), MEMORY.peak_usage().saturating_sub(held));
        *(if count > 0 { &mut sound } else { &mut refused }) += 1;
        let most = (64 << 20)
            + 32 * usize::try_from(length(path, info.as_ref())).unwrap()
            + missing_chunks(info.as_ref());
        if time > Duration::from_secs(2) || peak > most {
            failures.push(format!("{}: {time:?}, {peak} of {most} bytes", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("sweep: {} files and folders, {sound} read, {refused} refused", paths.len());
}

/// Bytes that may be held for voxels which no file stands for: chunks that a Zarr store lacks are
/// its fill value. What is read may be there twice, as stored and in its type.
fn missing_chunks(info: Option<&ImageInfo>) -> usize {
    match info {
        Some(ImageInfo { storage: Storage::Zarr { .. }, shape, sample_type, .. }) => {
            2 * shape.iter().product::<usize>() * sample_type.bytes()
        }
        _ => 0,
    }
}

/// Starts the threads that decode planes.
fn rayon_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let voxels = spotlight_io::Voxels::from(spotlight_image::Volume::filled([4, 2, 2], 1_u8));
    let channel = spotlight_io::OutputChannel { name: "a", voxels: &voxels };
    let path = folder.path().join("a.tif");
    spotlight_io::write_ome_tiff(&path, &[channel], None, &spotlight_io::WriteOptions::default())
        .unwrap();
    read_stack(&path, &Selection::default()).unwrap();
}
