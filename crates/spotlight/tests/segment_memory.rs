//! `spotlight segment` of stacks larger than the memory it may take.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use program::{fails, program, succeeds};
use spotlight::image::{Region, Volume};
use spotlight::io::{
    Compression, Image, OmeTiffWriter, OutputForm, SampleType, Selection, Voxels, WriteOptions,
};
use stacks::{SPACING, Stacks, folder_of};

/// Settings for nuclei of a radius of 8 voxels.
const SMALL: [&str; 4] =
    ["--set", "watershed.ball_radius=3", "--set", "cleanup.min_object_voxels=20"];

/// Whether a nucleus is at a place; they lie 22 voxels apart, some of them touch.
fn is_inside([z, y, x]: [usize; 3]) -> bool {
    let shift = (y / 20 * 7 + x / 18 * 3) % 5;
    let square = |at: usize, period: usize| (at % period).abs_diff(period / 2).pow(2);
    square(z + shift, 22) + square(y, 20) + square(x, 18) <= 81
}

/// A stack with many nuclei.
fn nuclei(shape: [usize; 3]) -> Volume<u16> {
    Volume::from_fn(shape, |place| {
        let noise = (place[0] * 7919 + place[1] * 104_729 + place[2] * 1_299_709) % 97;
        noise as u16 + if is_inside(place) { 700 } else { 100 }
    })
}

/// Segments a file into a folder of its own; the labels as bytes, and the record.
fn segment(input: &Path, folder: &Path, more: &[&str]) -> (Vec<u8>, serde_json::Value) {
    fs::create_dir_all(folder).unwrap();
    let output = folder.join("labels.ome.tif");
    let mut command = program();
    command.args(["segment"]).arg(input).arg("-o").arg(&output).args(SMALL).args(more);
    succeeds(&command.output().unwrap());
    assert_eq!(folder_of(folder), ["labels.ome.json", "labels.ome.tif"]);
    let record = fs::read(folder.join("labels.ome.json")).unwrap();
    (fs::read(output).unwrap(), serde_json::from_slice(&record).unwrap())
}

#[test]
fn little_memory_gives_the_same_file() {
    let stacks = Stacks::simulated(0);
    let input = stacks.path("dna.tif");
    stacks.write("dna.tif", &nuclei([61, 90, 83]).into(), SPACING);
    for (name, more) in [
        ("grid", &["--keep-grid"][..]),
        ("stack", &[]),
        ("plain", &["--set", "grid.rule=scale", "--set", "grid.scale=[1, 0.7, 0.4]"]),
    ] {
        let folder = |way: &str| stacks.path(&format!("{name}-{way}"));
        let (whole, record) = segment(&input, &folder("whole"), more);
        assert_eq!(record["details"]["read_box_by_box"], false);
        assert!(record["details"]["nuclei"].as_u64().unwrap() > 10);
        let little = [more, &["--memory", "5MB"]].concat();
        let (boxes, record) = segment(&input, &folder("boxes"), &little);
        assert_eq!(record["details"]["read_box_by_box"], true);
        assert!(whole == boxes, "{name}");
    }
}

#[test]
fn what_needs_the_whole_stack_is_refused_before_any_work() {
    let stacks = Stacks::simulated(0);
    stacks.write("dna.tif", &nuclei([61, 90, 83]).into(), SPACING);
    let input = stacks.path("dna.tif");
    let output = stacks.path("labels.ome.tif");
    let run = |more: &[&str]| {
        let mut command = program();
        command.arg("segment").arg(&input).arg("-o").arg(&output).args(SMALL).args(more);
        command.output().unwrap()
    };
    let words = ["dna.tif is read box by box", "--preview needs all of it", "leave --preview out"];
    fails(&run(&["--memory", "5MB", "--preview"]), 1, &words);
    let words = ["dna.tif", "MiB of memory at once", "--memory"];
    fails(&run(&["--memory", "100kB"]), 1, &words);
    assert!(!output.exists());
}

#[test]
fn voxels_that_are_no_numbers_are_named_by_their_place_in_the_stack() {
    let stacks = Stacks::simulated(0);
    let mut bad = nuclei([61, 90, 83]).map(|voxel| f32::from(*voxel));
    let offset = bad.offset([40, 3, 5]);
    bad.voxels[offset] = f32::INFINITY;
    stacks.write("bad.tif", &bad.into(), SPACING);
    let mut command = program();
    command.arg("segment").arg(stacks.path("bad.tif")).arg("-o").arg(stacks.path("labels.tif"));
    let output = command.args(["--memory", "2MB"]).output().unwrap();
    fails(&output, 1, &["bad.tif", "[40, 3, 5] is inf"]);
}

#[test]
fn a_large_stack_stays_within_its_memory() {
    let stacks = Stacks::simulated(0);
    let path = stacks.path("large.ome.tif");
    let shape = [128, 1024, 1024];
    let form = OutputForm { shape, sample_type: SampleType::U16, spacing_um: SPACING };
    let options = WriteOptions { compression: Compression::Zstd, ..WriteOptions::default() };
    let mut writer = OmeTiffWriter::create(&path, &["dna"], form, &options).unwrap();
    // Nuclei in two corners that are far from each other, and nothing between.
    let is_near =
        |[z, y, x]: [usize; 3]| (z < 60 && y < 200 && x < 200) || (z > 60 && y > 800 && x > 800);
    for z in 0..shape[0] {
        let plane = Volume::from_fn([1, shape[1], shape[2]], |[_, y, x]| {
            let place = [z, y, x];
            if is_near(place) && is_inside(place) { 900_u16 } else { 0 }
        });
        writer.write(&plane.into()).unwrap();
    }
    writer.finish().unwrap();
    let folder = stacks.path("out");
    let (_, record) = segment(
        &path,
        &folder,
        &["--memory", "200MB", "--set", "prepare.stretch_percent=[0, 100]"],
    );
    let details = &record["details"];
    assert_eq!(details["read_box_by_box"], true);
    let nuclei = details["nuclei"].as_u64().unwrap();
    assert!(nuclei > 100, "{nuclei}");
    if let Some(peak) = details["peak_memory_bytes"].as_u64() {
        assert!(peak < 500_000_000, "{peak}");
    }
    let labels = Image::open(&folder.join("labels.ome.tif")).unwrap();
    let labels = labels.stack(&Selection::default()).unwrap();
    assert_eq!(labels.shape(), shape);
    let mut seen = BTreeSet::new();
    for z in (0..shape[0]).step_by(2) {
        let plane =
            labels.read(Region { start: [z, 0, 0], shape: [1, shape[1], shape[2]] }).unwrap();
        let Voxels::U16(plane) = plane else { panic!("more than 65,535 nuclei") };
        seen.extend(plane.voxels);
    }
    assert_eq!(seen.len() as u64, nuclei + 1);
}
