//! `spotlight predict` on several stacks: what is read ahead and written behind stays in order,
//! and memory stays within its bounds.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use program::{fails, program, succeeds};
use serde_json::Value;
use spotlight::image::{Shape, Volume};
use spotlight::io::{OutputChannel, Selection, Voxels, WriteOptions, read_stack, write_ome_tiff};
use spotlight::learn::model_file::Model;
use spotlight::learn::predict::fixed_bytes;
use stacks::{SPACING, folder_of, write_model};

/// A folder with a model and stacks; it vanishes with this.
struct Plate {
    folder: tempfile::TempDir,
}

impl Plate {
    /// A model with the weights before training, but larger, and stacks of these names, each of
    /// them another.
    fn new(names: &[&str], shape: Shape) -> Self {
        let plate = Self { folder: tempfile::tempdir().unwrap() };
        write_model(&plate.path("model.safetensors"));
        for (index, name) in names.iter().enumerate() {
            let voxel = |[z, y, x]: [usize; 3]| ((7 * z + 3 * y + (5 + index) * x) % 41) as u16;
            plate.write(name, &Volume::from_fn(shape, voxel).into());
        }
        plate
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, voxels: &Voxels) {
        let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
        let channels = [OutputChannel { name: "light", voxels }];
        write_ome_tiff(&self.path(name), &channels, SPACING, &options).unwrap();
    }

    /// The command that stains these stacks to a folder.
    fn command(&self, names: &[&str], out: &str, more: &[&str]) -> Command {
        let mut command = program();
        command.arg("predict").arg(self.path("model.safetensors"));
        command.args(names.iter().map(|name| self.path(name)));
        command.arg("-o").arg(self.path(out)).args(more);
        command
    }

    fn predict(&self, names: &[&str], out: &str, more: &[&str]) -> Output {
        self.command(names, out, more).output().unwrap()
    }

    fn record(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

fn voxels(path: &Path) -> Voxels {
    read_stack(path, &Selection::default()).unwrap().voxels
}

#[test]
fn many_stacks_are_stained_as_one_by_one() {
    let names = ["a.tif", "b.tif", "c.tif", "d.tif"];
    let plate = Plate::new(&names, [8, 20, 24]);
    let printed = succeeds(&plate.predict(&names, "out", &[]));
    let stains = names.map(|name| name.replace(".tif", ".ome.tif"));
    let expected = stains.clone().map(|stain| plate.path("out").join(stain).display().to_string());
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "in the order of the inputs");
    let mut seen: Vec<Voxels> = Vec::new();
    for (name, stain) in names.iter().zip(&stains) {
        assert!(plate.predict(&[name], "alone", &[]).status.success());
        let found = voxels(&plate.path("out").join(stain));
        assert!(found == voxels(&plate.path("alone").join(stain)), "{stain}");
        assert!(!seen.contains(&found), "{stain} is the stain of another stack");
        seen.push(found);
        let record = plate.record(&format!("out/{}", stain.replace(".tif", ".json")));
        let paths: Vec<&str> = record["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["path"].as_str().unwrap())
            .collect();
        assert!(paths[0].ends_with("model.safetensors") && paths[1].ends_with(name), "{paths:?}");
        assert_eq!(record["outputs"][0], stain.as_str());
        assert!(record["details"]["prediction_seconds"].as_f64().unwrap() >= 0.0);
    }
}

/// The second of three stacks is broken by `break_it`; the run must end with these words.
#[track_caller]
fn check_broken(break_it: impl FnOnce(&Plate, &Path), words: &[&str]) {
    let names = ["a.tif", "b.tif", "c.tif"];
    let plate = Plate::new(&names, [8, 20, 24]);
    assert!(plate.predict(&["a.tif"], "alone", &[]).status.success());
    break_it(&plate, &plate.path("b.tif"));
    fails(&plate.predict(&names, "out", &[]), 1, words);
    let out = plate.path("out");
    assert_eq!(folder_of(&out), ["a.ome.json", "a.ome.tif"], "the first, whole, and no more");
    assert!(voxels(&out.join("a.ome.tif")) == voxels(&plate.path("alone/a.ome.tif")));
    assert_eq!(plate.record("out/a.ome.json")["outputs"][0], "a.ome.tif");
}

#[test]
fn a_stack_that_cannot_be_read_ends_the_run() {
    let cut = |_: &Plate, path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    check_broken(cut, &["b.tif"]);
    check_broken(|_, path| fs::write(path, "").unwrap(), &["b.tif", "empty"]);
}

#[test]
fn a_stack_that_cannot_be_stained_ends_the_run() {
    let flatten = |plate: &Plate, _: &Path| {
        plate.write("b.tif", &Volume::filled([8, 20, 24], 7_u16).into());
    };
    check_broken(flatten, &["b.tif", "constant"]);
}

/// The error of the first stack in their order is told, whatever else fails beside it.
#[test]
fn a_stain_that_cannot_be_written_ends_the_run() {
    let names = ["a.tif", "b.tif", "c.tif"];
    let plate = Plate::new(&names, [8, 20, 24]);
    fs::create_dir_all(plate.path("out/b.ome.tif/full")).unwrap();
    fs::write(plate.path("c.tif"), "").unwrap();
    fails(&plate.predict(&names, "out", &["--overwrite"]), 1, &["b.ome.tif"]);
    assert_eq!(folder_of(&plate.path("out")), ["a.ome.json", "a.ome.tif", "b.ome.tif"]);
    assert_eq!(folder_of(&plate.path("out/b.ome.tif")), ["full"]);
}

/// In tiles, a stack and its neighbours in the run take no more than what the budget leaves beside
/// the fixed part; in one piece they take more.
#[test]
fn memory_stays_within_its_budget() {
    const BUDGET: u64 = 120 << 20;
    let names = ["a.tif", "b.tif", "c.tif"];
    let plate = Plate::new(&names, [32, 96, 192]);
    plate.write("tiny.tif", &Volume::from_fn([2, 2, 2], |[z, _, _]| z as u16).into());
    let run = |names: &[&str], out: &str, more: &[&str]| {
        let output = plate.predict(names, out, &[more, &["--threads", "2"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let last = names[names.len() - 1].replace(".tif", ".ome.json");
        let details = plate.record(&format!("{out}/{last}"))["details"].clone();
        (details["tiles"].as_u64().unwrap(), details["peak_memory_bytes"].as_u64())
    };
    let (_, least) = run(&["tiny.tif"], "tiny", &[]);
    let (whole, free) = run(&names, "free", &[]);
    let (tiles, bound) = run(&names, "bound", &["--memory", &BUDGET.to_string()]);
    assert!(whole == 1 && tiles > 1, "{whole} and {tiles} tiles");
    for name in names.map(|name| name.replace(".tif", ".ome.tif")) {
        let [free, bound] = ["free", "bound"].map(|out| voxels(&plate.path(out).join(&name)));
        let (Voxels::F32(free), Voxels::F32(bound)) = (free, bound) else { panic!("{name}") };
        let largest = free.voxels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = largest - free.voxels.iter().copied().fold(f32::INFINITY, f32::min);
        let differences = free.voxels.iter().zip(&bound.voxels).map(|(a, b)| (a - b).abs());
        let difference = differences.fold(0.0, f32::max);
        assert!(range > 0.1 && difference < 1e-5 * range, "{name}: {difference} of {range}");
    }
    let (Some(least), Some(free), Some(bound)) = (least, free, bound) else {
        return assert_ne!(std::env::consts::OS, "linux", "Linux tells the memory of a program");
    };
    let model = Model::read(&plate.path("model.safetensors")).unwrap();
    // Buffers for files and the scratch of two threads, of the fixed part.
    let allowed = BUDGET - fixed_bytes(&model.network) + (16 << 20);
    assert!(free - least > allowed, "{free} - {least} bytes are no test of {allowed}");
    assert!(bound - least <= allowed, "{bound} - {least} of {allowed} bytes");
    assert!(bound <= BUDGET, "{bound} of {BUDGET} bytes");
}

/// Ctrl-C ends the program at once; stains that have their names are whole.
#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_whole_stains() {
    let names = ["a.tif", "b.tif", "c.tif", "d.tif", "e.tif", "f.tif"];
    let plate = Plate::new(&names, [32, 96, 192]);
    let mut command = plate.command(&names, "out", &[]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !plate.path("out/a.ome.json").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no stain after a minute");
        sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let out = plate.path("out");
    let (hidden, shown): (Vec<_>, Vec<_>) =
        folder_of(&out).into_iter().partition(|name| name.starts_with('.'));
    assert!(hidden.len() <= 1, "at most what was being written: {hidden:?}");
    assert!(shown.len() < 2 * names.len(), "{shown:?}");
    for stain in shown.iter().filter(|name| name.ends_with(".tif")) {
        assert_eq!(voxels(&out.join(stain)).shape(), [32, 96, 192]);
    }
}
