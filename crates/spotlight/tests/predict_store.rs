//! `spotlight predict` into OME-Zarr stores: in little memory, of every time point, and whatever
//! happens meanwhile.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use program::{fails, program, succeeds};
use serde_json::Value;
use spotlight::image::{Shape, Volume};
use spotlight::io::{
    OutputChannel, SampleType, Selection, Voxels, WriteOptions, ZarrLayout, ZarrOptions,
    ZarrWriter, inspect, read_stack, write_ome_tiff,
};
use stacks::{SPACING, write_model};

/// More than the program needs for one box, less than it needs for a whole stack.
const LITTLE: &str = "290MiB";

/// A folder with a model and stacks; it vanishes with this.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        write_model(&lab.path("model.safetensors"));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_tiff(&self, name: &str, shape: Shape, spacing_um: Option<[f64; 3]>) {
        let voxels = Voxels::from(Volume::from_fn(shape, |place| voxel(place, 0)));
        let channels = [OutputChannel { name: "light", voxels: &voxels }];
        write_ome_tiff(&self.path(name), &channels, spacing_um, &WriteOptions::default()).unwrap();
    }

    fn write_zarr(&self, name: &str, shape: Shape, times: usize) {
        let layout =
            ZarrLayout { times, ..ZarrLayout::stack(shape, SampleType::U16, &["light"], SPACING) };
        let options = ZarrOptions { levels: Some(1), ..ZarrOptions::default() };
        let writer = ZarrWriter::create(&self.path(name), &layout, &options, "made up").unwrap();
        for unit in writer.units() {
            for time in 0..times {
                let [z0, y0, x0] = unit.start;
                let part =
                    Volume::from_fn(unit.shape, |[z, y, x]| voxel([z0 + z, y0 + y, x0 + x], time));
                writer.write_unit(time, 0, unit, &part.into()).unwrap();
            }
        }
        writer.finish().unwrap();
    }

    fn command(&self, input: &str, output: &str, more: &[&str]) -> Command {
        let mut command = program();
        command.arg("predict").arg(self.path("model.safetensors")).arg(self.path(input));
        command.arg("-o").arg(self.path(output)).args(more);
        command
    }

    fn predict(&self, input: &str, output: &str, more: &[&str]) -> Output {
        self.command(input, output, more).output().unwrap()
    }

    fn record(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

fn voxel([z, y, x]: [usize; 3], time: usize) -> u16 {
    ((7 * z + 3 * y + (5 + time) * x + z * y) % 41) as u16
}

fn stain(path: &Path, time: usize) -> Volume<f32> {
    let selection = Selection { time, ..Selection::default() };
    read_stack(path, &selection).unwrap().to_f32()
}

/// All files of a folder, by their names in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                all.insert(name, fs::read(path).unwrap());
            }
        }
    }
    all
}

#[track_caller]
fn check_equal(found: &Volume<f32>, expected: &Volume<f32>) {
    assert_eq!(found.shape, expected.shape);
    let [low, high] = expected
        .voxels
        .iter()
        .fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], v| [a.min(*v), b.max(*v)]);
    let differences = found.voxels.iter().zip(&expected.voxels).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(0.0, f32::max);
    assert!(largest <= 1e-4 * (high - low), "{largest} of {}", high - low);
}

#[test]
fn a_store_made_box_by_box_has_the_stain_of_the_whole() {
    let lab = Lab::new();
    lab.write_tiff("a.tif", [40, 300, 500], Some([0.29, 0.2, 0.29]));
    succeeds(&lab.predict("a.tif", "whole.ome.tif", &[]));
    let printed = succeeds(&lab.predict("a.tif", "boxes.ome.zarr", &["--memory", LITTLE]));
    assert_eq!(printed.trim(), lab.path("boxes.ome.zarr").display().to_string());
    let whole = stain(&lab.path("whole.ome.tif"), 0);
    check_equal(&stain(&lab.path("boxes.ome.zarr"), 0), &whole);
    let info = inspect(&lab.path("boxes.ome.zarr")).unwrap();
    assert_eq!(info.spacing_um, Some([0.29, 0.2, 0.29]));
    assert_eq!(info.channel_names, ["Virtual stain"]);
    assert!(info.levels > 1);
    let record = lab.record("boxes.ome.json");
    assert_eq!(record["outputs"][0], "boxes.ome.zarr");
    assert_eq!(record["details"]["times"], serde_json::json!([0]));
    #[cfg(target_os = "linux")]
    {
        let peak = record["details"]["peak_memory_bytes"].as_u64().unwrap();
        assert!(peak < (290 << 20) + (300 << 20), "{peak}");
    }
}

#[test]
fn a_stack_that_does_not_fit_is_refused_before_it_is_read_unless_it_becomes_a_store() {
    let lab = Lab::new();
    lab.write_tiff("a.tif", [64, 512, 512], SPACING);
    let refused = lab.predict("a.tif", "whole.ome.tif", &["--memory", "130MiB"]);
    fails(&refused, 1, &["a.tif", "--memory"]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("--format ome-zarr"), "{text}");
}

#[test]
fn every_time_point_is_stained_into_one_store() {
    let lab = Lab::new();
    lab.write_zarr("film.ome.zarr", [6, 40, 50], 3);
    let refused = lab.predict("film.ome.zarr", "film.ome.tif", &[]);
    fails(&refused, 1, &["3 time points", "--format ome-zarr", "--time"]);
    succeeds(&lab.predict("film.ome.zarr", "out", &["--format", "ome-zarr"]));
    let out = lab.path("out/film.ome.zarr");
    assert_eq!(inspect(&out).unwrap().times, 3);
    for time in 0..3 {
        let (name, chosen) = (format!("{time}.ome.tif"), time.to_string());
        succeeds(&lab.predict("film.ome.zarr", &name, &["--time", &chosen]));
        check_equal(&stain(&out, time), &stain(&lab.path(&name), 0));
    }
    succeeds(&lab.predict("film.ome.zarr", "one.ome.zarr", &["--time", "1"]));
    assert_eq!(inspect(&lab.path("one.ome.zarr")).unwrap().times, 1);
    check_equal(&stain(&lab.path("one.ome.zarr"), 0), &stain(&out, 1));
    fails(&lab.predict("film.ome.zarr", "no.ome.zarr", &["--time", "3"]), 1, &["time point 3"]);
}

#[test]
fn what_is_finished_is_left_alone_and_what_differs_is_refused() {
    let lab = Lab::new();
    lab.write_tiff("a.tif", [8, 40, 50], SPACING);
    succeeds(&lab.predict("a.tif", "a.ome.zarr", &[]));
    let before = files(&lab.path("a.ome.zarr"));
    fails(&lab.predict("a.tif", "a.ome.zarr", &[]), 2, &["exists already"]);
    succeeds(&lab.predict("a.tif", "a.ome.zarr", &["--resume"]));
    assert!(files(&lab.path("a.ome.zarr")) == before);
    let other = lab.predict("a.tif", "a.ome.zarr", &["--resume", "--spacing", "0.3,0.3,0.3"]);
    fails(&other, 1, &["other inputs or settings", "--overwrite"]);
    let other = ["--resume", "--overwrite", "--spacing", "0.58,0.29,0.29"];
    succeeds(&lab.predict("a.tif", "a.ome.zarr", &other));
    assert!(files(&lab.path("a.ome.zarr")) != before);
    fails(&lab.predict("a.tif", "a.ome.tif", &["--resume"]), 2, &["a.ome.tif", "--resume"]);
}

#[test]
fn an_input_that_vanishes_leaves_what_is_done() {
    let lab = Lab::new();
    lab.write_zarr("a.ome.zarr", [40, 600, 300], 1);
    let whole = lab.predict("a.ome.zarr", "whole/a.ome.zarr", &["--memory", LITTLE]);
    succeeds(&whole);
    // Chunks of the last planes are damaged after the first boxes could be written.
    let chunks = files(&lab.path("a.ome.zarr/0"));
    let last = chunks.keys().rfind(|name| name.to_string_lossy().contains('c'));
    let chunk = lab.path("a.ome.zarr/0").join(last.unwrap());
    let bytes = fs::read(&chunk).unwrap();
    fs::write(&chunk, vec![7; bytes.len()]).unwrap();
    let broken = lab.predict("a.ome.zarr", "parts/a.ome.zarr", &["--memory", LITTLE]);
    fails(&broken, 1, &["a.ome.zarr", "--resume"]);
    assert!(!lab.path("parts/a.ome.zarr").exists());
    fs::write(&chunk, &bytes).unwrap();
    succeeds(&lab.predict("a.ome.zarr", "parts/a.ome.zarr", &["--memory", LITTLE, "--resume"]));
    assert!(files(&lab.path("parts/a.ome.zarr")) == files(&lab.path("whole/a.ome.zarr")));
}

/// Numbers from 0 to 1 that look random (Steele et al.'s `SplitMix64`).
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
}

#[test]
fn killed_fifty_times_it_ends_with_the_same_bytes() {
    let lab = Lab::new();
    lab.write_zarr("a.ome.zarr", [34, 260, 40], 2);
    let started = std::time::Instant::now();
    let options = ["--memory", LITTLE, "--threads", "2"];
    succeeds(&lab.predict("a.ome.zarr", "undisturbed/a.ome.zarr", &options));
    let took = started.elapsed();
    let expected = files(&lab.path("undisturbed/a.ome.zarr"));
    let resumed = [&options[..], &["--resume"]].concat();
    let (mut kills, mut state) = (0, 5);
    while kills < 50 {
        let mut command = lab.command("a.ome.zarr", "killed/a.ome.zarr", &resumed);
        let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        sleep(Duration::from_secs_f64(took.as_secs_f64() * random(&mut state)));
        running.kill().unwrap();
        let ended = running.wait_with_output().unwrap();
        if ended.status.success() {
            // It was through before it could be killed.
            assert!(files(&lab.path("killed/a.ome.zarr")) == expected, "after {kills} kills");
            fs::remove_dir_all(lab.path("killed/a.ome.zarr")).unwrap();
            continue;
        }
        assert_eq!(ended.status.code(), None, "{}", String::from_utf8_lossy(&ended.stderr));
        kills += 1;
    }
    succeeds(&lab.predict("a.ome.zarr", "killed/a.ome.zarr", &resumed));
    assert!(files(&lab.path("killed/a.ome.zarr")) == expected);
    let names = fs::read_dir(lab.path("killed")).unwrap().map(|entry| entry.unwrap().file_name());
    // A record that is killed while it is written leaves a hidden file of another name.
    let of_store = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(".a.ome.zarr");
    let left: Vec<_> = names.filter(of_store).collect();
    assert!(left.is_empty(), "{left:?}");
}
