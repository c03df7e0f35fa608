//! Files of microscopes and of other programs, and files made to break readers.
//!
//! They are not part of the project: the tests run where the folder that the variable
//! `SPOTLIGHT_DATA` names, or `../shared/data` beside the project, is present. The table
//! `real_files.csv` holds what tifffile 2026.3.3 reads from them; 1-bit images count as
//! uint8 and 16-bit floating point as float32, and the parts of a set of OME-TIFF files with
//! a companion stand for the whole set. The means of NDTiff are those of ndstorage 0.1.18.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

mod data;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data::data;
use spotlight_io::{Error, Selection, inspect, read_array, read_stack};

/// A row of the table.
struct Expected {
    path: String,
    sample_type: String,
    axes: String,
    shape: Vec<usize>,
    mean: f64,
}

fn table() -> Vec<Expected> {
    let mut reader = csv::Reader::from_reader(include_bytes!("real_files.csv").as_slice());
    let rows = reader.records().map(|record| {
        let record = record.unwrap();
        Expected {
            path: record[0].to_owned(),
            sample_type: record[1].to_owned(),
            axes: record[2].to_owned(),
            shape: record[3].split_whitespace().map(|n| n.parse().unwrap()).collect(),
            mean: record[4].parse().unwrap_or(f64::NAN),
        }
    });
    rows.collect()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            files_below(&entry, found);
        } else {
            found.push(entry);
        }
    }
}

fn is_tiff(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    name.ends_with(".tif") || name.ends_with(".tiff")
}

#[test]
fn real_files_read_as_tifffile_reads_them() {
    let Some(root) = data("") else { return };
    let (mut read, mut refused) = (0, 0);
    let table = table();
    for expected in &table {
        let path = root.join(&expected.path);
        match read_array(&path, 0) {
            Ok(found) => {
                assert_eq!(found.voxels.sample_type().name(), expected.sample_type, "{path:?}");
                assert_eq!(found.axes, expected.axes, "{path:?}");
                assert_eq!(found.shape, expected.shape, "{path:?}");
                let values = found.voxels.to_f64().voxels;
                let finite = values.iter().filter(|value| !value.is_nan());
                let count = finite.clone().count();
                let mean = finite.sum::<f64>() / count as f64;
                let close = (mean - expected.mean).abs() <= 1e-6 * expected.mean.abs().max(1.0);
                assert!(close, "{path:?}: mean {mean}, expected {}", expected.mean);
                read += 1;
            }
            Err(error) => {
                assert!(matches!(error, Error::Unsupported { .. }), "{error}");
                assert_eq!(expected.sample_type, "unsupported", "{error}");
                refused += 1;
            }
        }
    }
    println!("real files: {read} read as tifffile reads them, {refused} refused with advice");
}

#[test]
fn every_tiff_of_the_formats_is_in_the_table() {
    let Some(folder) = data("formats") else { return };
    let mut files = Vec::new();
    files_below(&folder, &mut files);
    let table = table();
    let root = folder.parent().unwrap();
    for file in files.iter().filter(|file| is_tiff(file)) {
        let name = file.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        assert!(table.iter().any(|row| row.path == name), "{name}");
    }
}

#[test]
fn malformed_files_are_refused_in_little_time_and_memory() {
    let Some(folder) = data("malformed_tiff") else { return };
    let mut files = Vec::new();
    files_below(&folder, &mut files);
    let before = peak_memory_bytes();
    let (mut refused, mut read, mut slowest) = (0, 0, Duration::ZERO);
    for file in &files {
        let start = Instant::now();
        drop(inspect(file));
        drop(read_stack(file, &Selection::default()));
        match read_array(file, 0) {
            Ok(array) => {
                let bytes =
                    array.voxels.sample_type().bytes() * array.shape.iter().product::<usize>();
                assert!(bytes < 100 << 20, "{}: {bytes} bytes", file.display());
                read += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
                refused += 1;
            }
        }
        let time = start.elapsed();
        assert!(time < Duration::from_secs(2), "{}: {time:?}", file.display());
        slowest = slowest.max(time);
    }
    let grown = peak_memory_bytes().saturating_sub(before);
    assert!(grown < 1 << 30, "{grown} bytes of memory");
    println!("malformed files: {refused} refused, {read} read, slowest {slowest:?}");
}

/// The most memory the process has held; 0 where the system does not say.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
