//! `spotlight segment` and `spotlight tune` as a user runs them.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::fs;
use std::path::Path;
use std::process::Output;

use program::{fails, program, succeeds};
use spotlight::cli::labels::{read_labels, write_labels};
use spotlight::image::Volume;
use spotlight::image::label::voxel_counts;
use spotlight::io::manifest::{Row, Split, write};
use stacks::{SPACING, Stacks, folder_of, pair};

/// Centres of the nuclei of [`nuclei`], radius 5.
const CENTRES: [[usize; 3]; 4] = [[9, 14, 14], [10, 14, 34], [9, 34, 16], [11, 35, 36]];

fn label_at([z, y, x]: [usize; 3]) -> u32 {
    let inside = |c: &[usize; 3]| {
        let square = |a: usize, b: usize| a.abs_diff(b).pow(2);
        square(z, c[0]) + square(y, c[1]) + square(x, c[2]) <= 25
    };
    CENTRES.iter().position(inside).map_or(0, |index| index as u32 + 1)
}

/// A stack of 20 × 50 × 50 voxels with four nuclei.
fn nuclei() -> Volume<u16> {
    Volume::from_fn([20, 50, 50], |p| {
        let noise = (p[0] * 7919 + p[1] * 104_729 + p[2] * 1_299_709) % 37;
        noise as u16 + if label_at(p) > 0 { 900 } else { 100 }
    })
}

/// A stack, its truth and the manifest of both.
fn folder() -> Stacks {
    let stacks = Stacks::simulated(0);
    stacks.write("dna.tif", &nuclei().into(), SPACING);
    let truth = Volume::from_fn([20, 50, 50], label_at);
    write_labels(&stacks.path("truth.tif"), truth, SPACING, false).unwrap();
    let row = Row {
        signal: stacks.path("dna.tif"),
        channel_signal: None,
        target: stacks.path("dna.tif"),
        channel_target: None,
        mask: Some(stacks.path("truth.tif")),
        split: Some(Split::Train),
    };
    write(&stacks.manifest, &[row], true).unwrap();
    stacks
}

/// Settings for nuclei of a radius of 5 voxels, on the grid of the stack.
const SMALL: [&str; 8] = [
    "--set",
    "grid.rule=scale",
    "--set",
    "grid.scale=[1, 1, 1]",
    "--set",
    "watershed.ball_radius=4",
    "--set",
    "cleanup.min_object_voxels=50",
];

fn spotlight(command: &str, arguments: &[&Path], more: &[&str]) -> Output {
    program().arg(command).args(arguments).args(more).output().unwrap()
}

#[test]
fn nuclei_are_found_and_written_on_the_grid_of_the_stack() {
    let stacks = folder();
    let out = stacks.path("labels");
    let printed = succeeds(&spotlight(
        "segment",
        &[&stacks.path("dna.tif")],
        &[&["-o", out.to_str().unwrap()], &SMALL[..]].concat(),
    ));
    assert_eq!(printed.trim(), out.join("dna.ome.tif").display().to_string());
    assert_eq!(folder_of(&out), ["dna.ome.json", "dna.ome.tif"]);
    let found = read_labels(&out.join("dna.ome.tif")).unwrap();
    assert_eq!((found.volume.shape, found.spacing_um), ([20, 50, 50], SPACING));
    let at = CENTRES.map(|centre| found.volume.at(centre));
    // Numbered by their first voxels: the third nucleus begins a plane before the second.
    assert_eq!(at, [1, 3, 2, 4]);
    assert_eq!(voxel_counts(&found.volume).len(), 4);
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("dna.ome.json")).unwrap()).unwrap();
    assert_eq!(record["details"]["nuclei"], 4);
    assert_eq!(record["details"]["recipe"]["watershed"]["ball_radius"], 4);
    // Nothing is replaced unasked.
    fails(
        &spotlight("segment", &[&stacks.path("dna.tif")], &["-o", out.to_str().unwrap()]),
        2,
        &["dna.ome.tif exists already", "--overwrite"],
    );
}

#[test]
fn labels_can_stay_on_the_grid_they_were_found_on() {
    let stacks = folder();
    let out = stacks.path("half.tif");
    // 0.29 µm to 0.58 µm is one half.
    let settings = [
        "--set",
        "watershed.ball_radius=3",
        "--set",
        "cleanup.min_object_voxels=5",
        "--keep-grid",
        "--json",
        "-o",
        out.to_str().unwrap(),
    ];
    let printed = succeeds(&spotlight("segment", &[&stacks.path("dna.tif")], &settings));
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(json[0]["nuclei"], 4);
    let found = read_labels(&out).unwrap();
    assert_eq!(found.volume.shape, [10, 25, 25]);
    assert!(found.spacing_um.unwrap().iter().all(|um| (um - 0.58).abs() < 1e-9));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let stacks = folder();
    let bytes = ["1", "2", "3"].map(|threads| {
        let out = stacks.path(threads).join("labels.tif");
        fs::create_dir(stacks.path(threads)).unwrap();
        let more = [&["-o", out.to_str().unwrap(), "--threads", threads], &SMALL[..]].concat();
        succeeds(&spotlight("segment", &[&stacks.path("dna.tif")], &more));
        fs::read(out).unwrap()
    });
    assert!(bytes.iter().all(|other| *other == bytes[0]));
}

#[test]
fn stacks_without_nuclei_and_planes_have_defined_labels() {
    let stacks = folder();
    stacks.write("flat.tif", &nuclei().map(|_| 7_u16).into(), SPACING);
    stacks.write(
        "plane.tif",
        &nuclei().crop(spotlight::image::Region { start: [9, 0, 0], shape: [1, 50, 50] }).into(),
        SPACING,
    );
    let out = stacks.path("labels");
    let images = [stacks.path("flat.tif"), stacks.path("plane.tif")];
    let more = [&[
        "-o",
        out.to_str().unwrap(),
        "--set",
        "watershed.hole_voxels=20",
        "--set",
        "grid.rule=spacing",
        "--set",
        "grid.spacing_um=[0.58, 0.29, 0.29]",
        "--set",
        "watershed.ball_radius=4",
        "--set",
        "cleanup.min_object_voxels=20",
    ][..]]
    .concat();
    succeeds(&spotlight("segment", &images.each_ref().map(|path| path.as_path()), &more));
    let flat = read_labels(&out.join("flat.ome.tif")).unwrap().volume;
    assert!(flat.voxels.iter().all(|label| *label == 0));
    let plane = read_labels(&out.join("plane.ome.tif")).unwrap().volume;
    assert_eq!((plane.shape, voxel_counts(&plane).len()), ([1, 50, 50], 4));
}

#[test]
fn tune_finds_settings_that_segment_uses() {
    let stacks = folder();
    let (recipe, trials) = (stacks.path("tuned.toml"), stacks.path("trials.csv"));
    let more = [
        "-o",
        recipe.to_str().unwrap(),
        "--trials",
        trials.to_str().unwrap(),
        "--try",
        "ball_radius=4,5",
        "--try",
        "min_object_voxels=50,100000",
        "--try",
        "max_object_voxels=0",
        "--set",
        "grid.rule=scale",
        "--set",
        "grid.scale=[1,1,1]",
    ];
    let printed = succeeds(&spotlight("tune", &[&stacks.manifest], &more));
    assert!(printed.starts_with("mean AP"), "{printed}");
    assert!(printed.contains("the best 10 of 16 settings"), "{printed}");
    let table = fs::read_to_string(&trials).unwrap();
    assert_eq!(table.lines().count(), 17);
    let best: f64 = table.lines().nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(best > 0.7, "{table}");
    let text = fs::read_to_string(&recipe).unwrap();
    assert!(text.contains("min_object_voxels = 50\n"), "{text}");
    let out = stacks.path("labels.tif");
    succeeds(&spotlight(
        "segment",
        &[&stacks.path("dna.tif")],
        &["-c", recipe.to_str().unwrap(), "-o", out.to_str().unwrap()],
    ));
    assert_eq!(voxel_counts(&read_labels(&out).unwrap().volume).len(), 4);
}

#[test]
fn bad_input_is_told_in_one_sentence() {
    let stacks = folder();
    let before = folder_of(&stacks.path(""));
    let image = stacks.path("dna.tif");
    let out = stacks.path("labels.tif").display().to_string();
    let segment = |more: &[&str]| spotlight("segment", &[&image], &[&["-o", &out], more].concat());
    fails(
        &segment(&["--set", "watershed.ball=3"]),
        2,
        &["no setting watershed.ball", "watershed.ball_radius"],
    );
    fails(&segment(&["--set", "watershed.median_size=2"]), 2, &["median_size must be odd"]);
    fails(&segment(&["-c", "missing.toml"]), 2, &["missing.toml"]);
    fails(&segment(&["--model", "missing"]), 1, &["missing"]);
    let tune =
        |more: &[&str]| spotlight("tune", &[&stacks.manifest], &[&["-o", &out], more].concat());
    fails(&tune(&["--try", "ball=3"]), 2, &["ball cannot be tried", "ball_radius"]);
    fails(&tune(&["--split", "test"]), 1, &["no row has the split test"]);
    assert_eq!(folder_of(&stacks.path("")), before);

    stacks.write("bare.tif", &pair(0).1.into(), None);
    fails(
        &spotlight("segment", &[&stacks.path("bare.tif")], &["-o", &out]),
        1,
        &["bare.tif gives no voxel size", "--spacing"],
    );
    let mut bad = nuclei().map(|voxel| f32::from(*voxel));
    bad.voxels[3] = f32::NAN;
    stacks.write("nan.tif", &bad.into(), SPACING);
    fails(
        &spotlight("segment", &[&stacks.path("nan.tif")], &["-o", &out]),
        1,
        &["nan.tif", "[0, 0, 3] is NaN"],
    );

    let binary = Volume::from_fn([20, 50, 50], |p| u32::from(label_at(p) > 0));
    write_labels(&stacks.path("truth.tif"), binary, SPACING, true).unwrap();
    fails(&tune(&[]), 1, &["truth.tif: all objects have the value 1, in 4 pieces"]);
    write_labels(&stacks.path("truth.tif"), Volume::filled([20, 50, 49], 1), SPACING, true)
        .unwrap();
    fails(&tune(&[]), 1, &["truth.tif has [20, 50, 49]", "dna.tif has [20, 50, 50]"]);
    assert!(!stacks.path("labels.tif").exists());
}

#[test]
fn a_split_without_a_manifest_is_refused() {
    let stacks = folder();
    let out = stacks.path("labels").display().to_string();
    let output = spotlight("segment", &[&stacks.path("dna.tif")], &["--split", "test", "-o", &out]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--split"));
    assert!(!stacks.path("labels").exists());
}
