//! `spotlight measure` within a bound of memory: the same table, and the bound holds.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod program;
mod stacks;

use std::fs;
use std::path::Path;
use std::process::Output;

use program::{fails, program, succeeds};
use serde_json::Value;
use spotlight::image::Volume;
use spotlight::io::{Compression, OutputChannel, Voxels, WriteOptions, write_ome_tiff};
use stacks::folder_of;

fn write(folder: &Path, name: &str, voxels: impl Into<Voxels>) {
    let voxels = voxels.into();
    let options = WriteOptions { compression: Compression::Zstd, ..WriteOptions::default() };
    let channel = OutputChannel { name: "DNA", voxels: &voxels };
    write_ome_tiff(&folder.join(name), &[channel], Some([0.5, 0.25, 0.25]), &options).unwrap();
}

fn measure(folder: &Path, arguments: &str) -> Output {
    let mut command = program();
    command.current_dir(folder).arg("measure").args(arguments.split(' '));
    command.output().unwrap()
}

/// Balls of several sizes in rows, two of which touch, and a ball that is seen in part.
fn ball_at([z, y, x]: [usize; 3]) -> u32 {
    let (row, column) = (y / 40, x / 40);
    let centre = [16.0 + (7 * row + 3 * column) as f64 % 11.0, 20.0, 20.0];
    let radius = 6.0 + ((5 * row + column) % 13) as f64;
    let offset = [z as f64, (y % 40) as f64, (x % 40) as f64];
    let squared: f64 = (0..3).map(|axis| (offset[axis] - centre[axis]).powi(2)).sum();
    if squared <= radius * radius { 1 + (row * 100 + column) as u32 * 977 } else { 0 }
}

fn brightness([z, y, x]: [usize; 3]) -> u32 {
    (z * 7919 + y * 104_729 + x * 1_299_709) as u32 % 4093
}

#[test]
fn a_bound_of_memory_changes_no_digit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shape = [37, 203, 251];
    write(path, "labels.ome.tif", Volume::from_fn(shape, ball_at));
    write(path, "whole.ome.tif", Volume::from_fn(shape, |at| brightness(at) as u16));
    let real = |at| brightness(at) as f32 * 0.37 + ball_at(at) as f32;
    write(path, "real.ome.tif", Volume::from_fn(shape, real));
    let images = "--labels labels.ome.tif --image DNA=whole.ome.tif --image ER=real.ome.tif";
    succeeds(&measure(path, &format!("{images} -o whole.csv")));
    let expected = fs::read_to_string(path.join("whole.csv")).unwrap();
    assert_eq!(expected.lines().count(), 1 + 34);
    for (name, memory, threads) in [("a", "30MB", 1), ("b", "4MB", 2), ("c", "4MB", 1)] {
        let words = format!("{images} -o {name}.csv --memory {memory} --threads {threads}");
        succeeds(&measure(path, &words));
        assert_eq!(fs::read_to_string(path.join(format!("{name}.csv"))).unwrap(), expected);
    }

    // Shape alone, of labels that are stored as floats.
    write(path, "float.ome.tif", Volume::from_fn(shape, |at| ball_at(at) as f32));
    succeeds(&measure(path, "--labels float.ome.tif -o d.csv"));
    succeeds(&measure(path, "--labels float.ome.tif -o e.csv --memory 5MB"));
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    assert_eq!(read("d.csv"), read("e.csv"));
}

#[test]
fn an_object_that_does_not_fit_is_an_error_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let labels = Volume::from_fn([20, 100, 100], |[_, y, x]| if y == x { 7 } else { 0_u16 });
    write(path, "labels.ome.tif", labels);
    let before = folder_of(path);
    let words = "--labels labels.ome.tif -o t.csv --memory 1MB";
    let parts = [
        "labels.ome.tif",
        "object 7",
        "20 x 100 x 100 voxels from (z, y, x) = [0, 0, 0]",
        "bytes",
        "--memory 5MiB",
    ];
    fails(&measure(path, words), 1, &parts);
    assert_eq!(folder_of(path), before);
    succeeds(&measure(path, "--labels labels.ome.tif -o t.csv --memory 5MiB"));
}

/// A voxel that is no label is told by its place in the stack, not in the box.
#[test]
fn places_in_errors_are_those_of_the_stack() {
    let folder = tempfile::tempdir().unwrap();
    let bad = |at| if at == [30, 60, 50] { 0.5 } else { 0.0_f32 };
    write(folder.path(), "labels.ome.tif", Volume::from_fn([40, 64, 64], bad));
    let words = "--labels labels.ome.tif -o t.csv --memory 100kB";
    fails(&measure(folder.path(), words), 1, &["labels.ome.tif", "[30, 60, 50] is 0.5"]);
}

/// Half a billion bytes of labels and as many of an image, in 200 MB.
#[test]
#[cfg(target_os = "linux")]
fn the_bound_holds() {
    let folder = tempfile::tempdir().unwrap();
    let shape = [256, 1024, 1024];
    // Zeros need no memory here before they are written.
    let mut labels = Volume::filled(shape, 0_u16);
    let mut image = labels.clone();
    let mut expected = 0;
    for z in (20..240).step_by(60) {
        for y in (100..1000).step_by(300) {
            for x in (100..1000).step_by(400) {
                expected += 1;
                for i in 0..20 * 20 * 20 {
                    let at = labels.offset([z + i / 400, y + i / 20 % 20, x + i % 20]);
                    labels.voxels[at] = expected;
                    image.voxels[at] = (i * i % 1009) as u16;
                }
            }
        }
    }
    write(folder.path(), "labels.ome.tif", labels);
    write(folder.path(), "image.ome.tif", image);
    let words = "--labels labels.ome.tif --image DNA=image.ome.tif -o t.csv --memory 200MB";
    succeeds(&measure(folder.path(), words));
    let table = fs::read_to_string(folder.path().join("t.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + usize::from(expected));
    let record = fs::read(folder.path().join("t.csv.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let peak = record["details"]["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak < 500_000_000, "{peak} bytes");
}
