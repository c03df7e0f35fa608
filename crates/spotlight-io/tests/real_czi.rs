//! CZI files of microscopes, voxel by voxel as libCZI reads them.
//!
//! The files are not part of the project: the test runs where the folder that the variable
//! `SPOTLIGHT_DATA` names, or `../shared/data` beside the project, is present. The table
//! `real_czi.csv` was written by `real_czi.py` with pylibCZIrw 6.1.0.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

mod data;

use std::collections::BTreeSet;

use data::data;
use spotlight_image::grid::Region;
use spotlight_io::{Channel, Image, Selection, Storage, Voxels, inspect, read_array, read_stack};

/// A row of the table.
struct Expected {
    path: String,
    selection: Selection,
    sample_type: String,
    shape: Vec<usize>,
    sum: f64,
    crc: String,
}

fn table() -> Vec<Expected> {
    let mut reader = csv::Reader::from_reader(include_bytes!("real_czi.csv").as_slice());
    let rows = reader.records().map(|record| {
        let record = record.unwrap();
        Expected {
            path: record[0].to_owned(),
            selection: Selection {
                series: record[1].parse().unwrap(),
                channel: Some(Channel::Index(record[2].parse().unwrap())),
                time: record[3].parse().unwrap(),
            },
            sample_type: record[4].to_owned(),
            shape: record[5].split_whitespace().map(|n| n.parse().unwrap()).collect(),
            sum: record[6].parse().unwrap(),
            crc: record[7].to_owned(),
        }
    });
    rows.collect()
}

fn crc_32(voxels: &Voxels) -> String {
    let mut crc = flate2::Crc::new();
    match voxels {
        Voxels::U8(volume) => crc.update(&volume.voxels),
        Voxels::U16(volume) => volume.voxels.iter().for_each(|v| crc.update(&v.to_le_bytes())),
        other => panic!("{}", other.sample_type()),
    }
    format!("{:08x}", crc.sum())
}

#[test]
fn real_files_read_as_libczi_reads_them() {
    let Some(root) = data("formats/czi_czitools").and(data("")) else { return };
    let table = table();
    for expected in &table {
        let path = root.join(&expected.path);
        let found = read_stack(&path, &expected.selection).unwrap_or_else(|e| panic!("{e}"));
        let at = format!("{} {:?}", expected.path, expected.selection);
        assert_eq!(found.voxels.shape().to_vec(), expected.shape, "{at}");
        assert_eq!(found.voxels.sample_type().name(), expected.sample_type, "{at}");
        assert_eq!(found.voxels.to_f64().voxels.iter().sum::<f64>(), expected.sum, "{at}");
        assert_eq!(crc_32(&found.voxels), expected.crc, "{at}");
    }
    let files: BTreeSet<&String> = table.iter().map(|row| &row.path).collect();
    println!("CZI: {} z-stacks of {} files are those of libCZI", table.len(), files.len());
}

#[test]
fn every_real_file_is_in_the_table() {
    let Some(root) = data("formats/czi_czitools").and(data("")) else { return };
    let table = table();
    for folder in ["formats/czi_czitools", "formats/czi_neubias"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let known = table.iter().any(|row| row.path == format!("{folder}/{name}"));
            assert!(known || !name.ends_with(".czi"), "{folder}/{name}");
        }
    }
}

#[test]
fn boxes_of_real_files_are_parts_of_their_stacks() {
    let Some(root) = data("formats/czi_czitools").and(data("")) else { return };
    for expected in table() {
        let open = Image::open(&root.join(&expected.path)).unwrap();
        let stack = open.stack(&expected.selection).unwrap();
        let whole = stack.read_whole().unwrap().voxels.to_f64();
        let [depth, height, width] = stack.shape();
        let region = Region {
            start: [depth / 2, height / 3, width / 4],
            shape: [depth - depth / 2, height / 2, width / 2],
        };
        let part = stack.read(region).unwrap().to_f64();
        let [z, y, x] = region.start;
        let mut cut: Vec<f64> = Vec::new();
        for plane in z..z + region.shape[0] {
            for row in y..y + region.shape[1] {
                let first = (plane * height + row) * width + x;
                cut.extend(&whole.voxels[first..first + region.shape[2]]);
            }
        }
        assert_eq!(part.voxels, cut, "{}", expected.path);
    }
}

#[test]
fn what_real_files_say_of_themselves() {
    let Some(root) = data("formats/czi_czitools").and(data("")) else { return };
    let folder = root.join("formats/czi_czitools");
    let info = inspect(&folder.join("S3_1Pos_2Mosaic_T2_Z3_CH2_sm.czi")).unwrap();
    assert_eq!((info.axes.as_str(), info.shape.as_slice()), ("TCZYX", &[2, 2, 3, 122, 295][..]));
    assert_eq!(info.channel_names, ["DAPI", "EGFP"]);
    assert_eq!(info.series, ["TR1", "P1", "TR2"]);
    assert_eq!((info.levels, info.times), (1, 2));
    assert_eq!(info.storage, Storage::Czi { sub_blocks: 336 });
    for (found, expected) in info.spacing_um.unwrap().iter().zip([1.0, 1.6, 1.6]) {
        assert!((found - expected).abs() < 1e-9, "{found}");
    }
    assert_eq!(inspect(&folder.join("WellD6_S1.czi")).unwrap().levels, 2);
    let info = inspect(&folder.join("newCZI_compressed.czi")).unwrap();
    assert_eq!((info.compression.as_str(), info.axes.as_str()), ("zstd", "YX"));
    let array = read_array(&folder.join("LLS7_small.czi"), 0).unwrap();
    assert_eq!((array.axes.as_str(), array.shape.as_slice()), ("TCZYX", &[2, 2, 3, 64, 64][..]));
}
