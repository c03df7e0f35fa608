//! Zarr stores of other programs, valid and invalid.
//!
//! They are not part of the project: the tests run where the folder that the variable
//! `SPOTLIGHT_DATA` names, or `../shared/data` beside the project, is present. The table
//! `real_zarr.csv` holds what zarr-python 3 reads from every array, and how many images the
//! metadata of every group name: `array`, `images:N`, or `refused` for what is no image, has
//! fewer than two axes, is no number, or has a codec that is not read.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

mod data;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data::data;
use spotlight_io::{Image, Selection, inspect, read_array, read_stack};

/// Folders of the data that hold Zarr stores.
const FOLDERS: &[&str] = &[
    "formats/neuroglancer_zarr",
    "formats/omezarr_hcs_v04",
    "formats/omezarr_v04_valid_invalid",
    "formats/viv",
    "formats/zarrs_zarr",
    "idr0062_blastocyst_omezarr",
];

/// A row of the table.
struct Expected {
    path: String,
    what: String,
    sample_type: String,
    shape: Vec<usize>,
    mean: f64,
}

fn table() -> Vec<Expected> {
    let mut reader = csv::Reader::from_reader(include_bytes!("real_zarr.csv").as_slice());
    let rows = reader.records().map(|record| {
        let record = record.unwrap();
        Expected {
            path: record[0].to_owned(),
            what: record[1].to_owned(),
            sample_type: record[2].to_owned(),
            shape: record[3].split_whitespace().map(|n| n.parse().unwrap()).collect(),
            mean: record[4].parse().unwrap_or(f64::NAN),
        }
    });
    rows.collect()
}

/// The folder of all data, where the stores are present.
fn root() -> Option<PathBuf> {
    FOLDERS.iter().all(|folder| data(folder).is_some()).then(|| data("")).flatten()
}

#[test]
fn real_stores_read_as_zarr_python_reads_them() {
    let Some(root) = root() else { return };
    let (mut read, mut refused, mut images) = (0, 0, 0);
    for expected in table() {
        let path = root.join(&expected.path);
        let start = Instant::now();
        match expected.what.as_str() {
            "refused" => {
                let error = inspect(&path).expect_err(&expected.path).to_string();
                assert!(!error.contains('\n') && error.contains(&expected.path), "{error}");
                refused += 1;
            }
            "array" => {
                check_array(&path, &expected);
                read += 1;
            }
            several => {
                let count: usize = several.strip_prefix("images:").unwrap().parse().unwrap();
                check_images(&path, &expected, count);
                images += 1;
            }
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{path:?} is slow");
    }
    println!("real stores: {read} arrays, {images} groups of images, {refused} refused");
}

fn check_array(path: &Path, expected: &Expected) {
    let found = read_array(path, 0).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.voxels.sample_type().name(), expected.sample_type, "{path:?}");
    assert_eq!(found.shape, expected.shape, "{path:?}");
    let values = found.voxels.to_f64().voxels;
    let finite: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    let mean = finite.iter().sum::<f64>() / finite.len() as f64;
    let close = (mean - expected.mean).abs() <= 1e-9 * expected.mean.abs().max(1.0);
    assert!(close || (mean.is_nan() && expected.mean.is_nan()), "{path:?}: mean {mean}");
}

fn check_images(path: &Path, expected: &Expected, count: usize) {
    let info = inspect(path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(info.series.len(), count, "{path:?}");
    assert_eq!(info.shape, expected.shape, "{path:?}");
    assert_eq!(info.sample_type.name(), expected.sample_type, "{path:?}");
    for series in [0, count - 1] {
        let channel = Some(spotlight_io::Channel::Index(0));
        let selection = Selection { channel, time: 0, series };
        let stack = read_stack(path, &selection).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(stack.shape()[1..], expected.shape[expected.shape.len() - 2..], "{path:?}");
    }
}

#[test]
fn plates_wells_and_fields_open() {
    let Some(root) = root() else { return };
    let plate = root.join("formats/omezarr_hcs_v04/hcs.zarr");
    let info = inspect(&plate).unwrap();
    let names = ["A/1/0", "A/1/1", "A/2/0", "A/2/1", "B/1/0", "B/1/1", "B/2/0", "B/2/1"];
    assert_eq!(info.series, names);
    assert_eq!(info.channel_names, ["Name", "Channel 1", "Channel 2"]);
    assert_eq!(inspect(&plate.join("B/2")).unwrap().series, ["0", "1"]);
    let field = inspect(&plate.join("B/2/1")).unwrap();
    assert_eq!((field.series.len(), field.axes.as_str()), (1, "TCZYX"));
    let one = Selection { channel: Some("Channel 1".parse().unwrap()), time: 0, series: 7 };
    let of_plate = read_stack(&plate, &one).unwrap();
    let of_field = read_stack(&plate.join("B/2/1"), &Selection { series: 0, ..one }).unwrap();
    assert_eq!(of_plate.voxels, of_field.voxels);
}

#[test]
fn a_store_of_version_0_1_opens_with_warnings() {
    let Some(root) = root() else { return };
    let path = root.join("idr0062_blastocyst_omezarr/6001240.zarr");
    let info = inspect(&path).unwrap();
    assert_eq!(
        (info.format.as_str(), info.axes.as_str(), info.levels),
        ("OME-Zarr 0.1", "TCZYX", 3)
    );
    assert_eq!(info.channel_names, ["LaminB1", "Dapi"]);
    assert_eq!(info.spacing_um, None);
    assert!(info.warnings.iter().any(|w| w.contains("names no axes")), "{:?}", info.warnings);
    let channel = Some("dapi".parse().unwrap());
    let selection = Selection { channel, ..Selection::default() };
    let stack = Image::open(&path).unwrap().stack(&selection).unwrap();
    assert_eq!((stack.shape(), stack.block()), ([236, 275, 271], [1, 275, 271]));
}

#[test]
fn every_store_is_in_the_table() {
    let Some(root) = root() else { return };
    let table = table();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let has = |name: &str| folder.join(name).is_file();
        if [".zarray", ".zgroup", ".zattrs", "zarr.json"].into_iter().any(has) {
            let name = folder.strip_prefix(&root).unwrap().to_string_lossy();
            assert!(table.iter().any(|row| row.path == name), "{name}");
        }
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
}
