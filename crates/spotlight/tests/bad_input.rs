//! Bad input to `spotlight train`: one sentence that names the file and says what to do, exit
//! status 1 or 2, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use program::program;
use spotlight::image::Volume;
use stacks::{SPACING, Stacks, folder_of, pair};

/// All names below a folder, sorted.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in folder_of(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}

fn train(stacks: &Stacks, more: &[&str]) -> Command {
    let mut command = program();
    command.arg("train").arg(&stacks.manifest).arg("-o").arg(stacks.path("run"));
    command.args(["--width", "2", "--depth", "1", "--batch", "2", "--patch", "8,16,16"]);
    command.args(["--iterations", "2", "--quiet"]).args(more);
    command
}

/// Checks that a command fails with this status, in one sentence that has these words, and
/// leaves the folder of the stacks as it was.
#[track_caller]
fn fails(stacks: &Stacks, command: &mut Command, status: i32, words: &[&str]) {
    let before = tree(&stacks.path(""));
    program::fails(&command.output().unwrap(), status, words);
    assert_eq!(tree(&stacks.path("")), before, "something was left behind");
}

/// Three good pairs, all to be read, so that a bad one is not the test by chance.
fn three() -> Stacks {
    let stacks = Stacks::simulated(3);
    let row = |i, part| format!("{i}_bf.ome.tif,{i}_dna.ome.tif,{part}\n");
    let rows = [row(0, "train"), row(1, "train"), row(2, "validate")].concat();
    fs::write(&stacks.manifest, format!("path_signal,path_target,split\n{rows}")).unwrap();
    stacks
}

#[test]
fn shapes_that_disagree() {
    let stacks = three();
    let target = Volume::new([16, 32, 30], (0..16 * 32 * 30).map(|i| i as u16).collect());
    stacks.write("1_dna.ome.tif", &target.into(), SPACING);
    let words = ["1_bf.ome.tif", "1_dna.ome.tif", "[16, 32, 32]", "[16, 32, 30]"];
    fails(&stacks, &mut train(&stacks, &[]), 1, &words);
}

#[test]
fn a_stack_smaller_than_a_patch() {
    let stacks = three();
    let words = ["0_bf.ome.tif", "[16, 32, 32]", "[32, 16, 16]", "smaller patches"];
    let small = ["--width", "2", "--depth", "1", "--patch", "32,16,16"];
    fails(&stacks, &mut train_once(&stacks, &small), 1, &words);
}

#[test]
fn no_foreground() {
    let stacks = three();
    for i in 0..2 {
        let mut target = pair(i).1.map(|_| 0.0_f32);
        target.voxels[5000] = 1.0;
        stacks.write(&format!("{i}_dna.ome.tif"), &target.into(), SPACING);
    }
    let words = ["0_dna.ome.tif", "foreground", "min_foreground"];
    fails(&stacks, &mut train(&stacks, &["--otsu", "plain"]), 1, &words);
}

#[test]
fn constant_stacks() {
    for (name, role) in [("1_bf.ome.tif", "signal"), ("1_dna.ome.tif", "target")] {
        let stacks = three();
        stacks.write(name, &pair(1).0.map(|_| 7_u16).into(), SPACING);
        fails(&stacks, &mut train(&stacks, &[]), 1, &[name, role, "constant", "7"]);
    }
}

#[test]
fn voxels_that_are_not_finite() {
    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let stacks = three();
        let mut signal = pair(1).0.map(|voxel| f32::from(*voxel));
        signal.voxels[2 * 32 * 32 + 3 * 32 + 4] = value;
        stacks.write("1_bf.ome.tif", &signal.into(), SPACING);
        fails(&stacks, &mut train(&stacks, &[]), 1, &["1_bf.ome.tif", "[2, 3, 4]", word]);
    }
}

#[test]
fn no_voxel_size() {
    let stacks = three();
    let (signal, target) = pair(1);
    stacks.write("1_bf.ome.tif", &signal.into(), None);
    stacks.write("1_dna.ome.tif", &target.into(), None);
    let words = ["1_bf.ome.tif", "voxel size", "--spacing", "--no-resample"];
    fails(&stacks, &mut train(&stacks, &[]), 1, &words);
    for more in [["--spacing", "0.29,0.29,0.29"].as_slice(), &["--no-resample", "--overwrite"]] {
        assert!(train(&stacks, more).status().unwrap().success(), "{more:?}");
    }
}

#[test]
fn voxel_sizes_that_disagree() {
    let stacks = three();
    stacks.write("1_dna.ome.tif", &pair(1).1.into(), Some([0.29, 0.2, 0.2]));
    fails(&stacks, &mut train(&stacks, &[]), 1, &["1_dna.ome.tif", "0.2", "one grid"]);
}

#[test]
fn a_wrong_channel_name() {
    let stacks = three();
    let table = "path_signal,path_target,channel_target\n0_bf.ome.tif,0_dna.ome.tif,Dapi\n";
    fs::write(&stacks.manifest, table).unwrap();
    fails(&stacks, &mut train(&stacks, &[]), 1, &["0_dna.ome.tif", "Dapi", "only"]);
}

#[test]
fn a_manifest_with_a_missing_file() {
    let stacks = three();
    let table = "path_signal,path_target\n0_bf.ome.tif,0_dna.ome.tif\n1_bf.ome.tif,gone.tif\n";
    fs::write(&stacks.manifest, table).unwrap();
    fails(&stacks, &mut train(&stacks, &[]), 1, &["manifest.csv", "line 3", "gone.tif"]);
}

#[test]
fn manifests_that_are_none() {
    let stacks = three();
    let cases = [
        ("path_signal,path_traget\na,b\n", "path_target"),
        ("path_signal,path_target\n", "no rows"),
        ("path_signal,path_target,split\na.tif,b.tif,tain\n", "train"),
    ];
    for (table, word) in cases {
        fs::write(&stacks.manifest, table).unwrap();
        fails(&stacks, &mut train(&stacks, &[]), 1, &["manifest.csv", word]);
    }
    fs::write(&stacks.manifest, "path_signal,path_target,split\n0_bf.ome.tif,0_dna.ome.tif,test\n")
        .unwrap();
    fails(&stacks, &mut train(&stacks, &[]), 1, &["manifest.csv", "learn from", "split train"]);
    fs::remove_file(&stacks.manifest).unwrap();
    fails(&stacks, &mut train(&stacks, &[]), 1, &["manifest.csv"]);
}

#[test]
fn a_stack_that_is_no_image() {
    let stacks = three();
    fs::write(stacks.path("1_bf.ome.tif"), "not an image").unwrap();
    fails(&stacks, &mut train(&stacks, &[]), 1, &["1_bf.ome.tif"]);
}

#[test]
fn recipes_that_are_wrong() {
    let stacks = three();
    let recipe = stacks.path("recipe.toml");
    let file = recipe.to_str().unwrap();
    let cases = [
        ("[train]\nbacth = 2\n", "line 2", "train.batch"),
        ("[train]\nbatch = \"two\"\n", "line 2", "whole number"),
        ("[train]\nbatch = 0\n", "train.batch", "at least 1"),
        ("[loss]\nkind = \"dice\"\n", "line 2", "spotlight"),
        ("train = [\n", "recipe.toml", "line"),
    ];
    for (text, first, second) in cases {
        fs::write(&recipe, text).unwrap();
        // Without --batch, which overrides the file.
        let mut command = program();
        command.arg("train").arg(&stacks.manifest).arg("-o").arg(stacks.path("run"));
        fails(&stacks, command.args(["--quiet", "-c", file]), 2, &[first, second]);
    }
    fs::remove_file(&recipe).unwrap();
    fails(&stacks, &mut train(&stacks, &["-c", file]), 2, &["recipe.toml"]);
}

#[test]
fn flags_that_are_wrong() {
    let stacks = three();
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--patch", "8,16,15"], &["sample.patch", "[8, 16, 15]", "multiple"]),
        (&["--loss", "dice"], &["--loss", "dice", "spotlight"]),
        (&["--set", "train.iteration=3"], &["--set", "train.iterations"]),
        (&["--resume"], &["run", "recipe.toml", "--resume"]),
    ];
    for (more, words) in cases {
        fails(&stacks, &mut train_once(&stacks, more), 2, words);
    }
    // What clap finds has its own form, and the same status.
    program::ends(&train_once(&stacks, &["--wdith", "3"]).output().unwrap(), 2, &["--width"]);
}

/// A command line without flags of its own that might be given twice.
fn train_once(stacks: &Stacks, more: &[&str]) -> Command {
    let mut command = program();
    command.arg("train").arg(&stacks.manifest).arg("-o").arg(stacks.path("run"));
    command.arg("--quiet").args(more);
    command
}

#[test]
fn a_file_in_place_of_the_folder() {
    let stacks = three();
    fs::write(stacks.path("run"), "mine").unwrap();
    fails(&stacks, &mut train(&stacks, &[]), 2, &["run", "not a folder", "-o"]);
    assert_eq!(fs::read(stacks.path("run")).unwrap(), b"mine");
}

#[test]
fn a_run_goes_on_with_its_own_recipe_and_stacks_only() {
    let stacks = three();
    assert!(train(&stacks, &[]).status().unwrap().success());
    let other = ["--resume", "--learning-rate", "0.5"];
    let words = ["checkpoint.safetensors", "train.learning_rate", "0.5", "same recipe"];
    fails(&stacks, &mut train(&stacks, &other), 2, &words);
    let (signal, _) = pair(9);
    stacks.write("0_bf.ome.tif", &signal.into(), SPACING);
    let words = ["checkpoint.safetensors", "same manifest"];
    fails(&stacks, &mut train(&stacks, &["--resume"]), 2, &words);
    fs::write(stacks.path("run/checkpoint.safetensors"), "nonsense").unwrap();
    fails(&stacks, &mut train(&stacks, &["--resume"]), 1, &["checkpoint.safetensors"]);
}

/// A folder where even the system's administrator may write nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written() {
    let stacks = three();
    let mut command = program();
    command.arg("train").arg(&stacks.manifest).args(["-o", "/proc/spotlight/run", "--quiet"]);
    fails(&stacks, &mut command, 1, &["cannot write in /proc", "another folder"]);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder() {
    use std::os::unix::fs::PermissionsExt;
    let stacks = three();
    let shut = stacks.path("shut");
    fs::create_dir(&shut).unwrap();
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o555)).unwrap();
    let may_write = fs::write(shut.join("probe"), "").is_ok();
    if !may_write {
        let mut command = program();
        command.arg("train").arg(&stacks.manifest).arg("-o").arg(shut.join("run")).arg("--quiet");
        fails(&stacks, &mut command, 1, &["cannot write in", "shut", "another folder"]);
    }
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A limit on the size of files stands for a full disk: the write of the checkpoint fails in
/// its middle.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full() {
    let stacks = three();
    let flags = ["--width", "8", "--depth", "1", "--patch", "8,16,16", "--iterations", "2"];
    let train = train_once(&stacks, &flags);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\""]);
    command.arg(train.get_program()).args(train.get_args());
    let words = ["checkpoint.safetensors", "free some space"];
    fails(&stacks, &mut command, 1, &words);
}
