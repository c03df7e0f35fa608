//! `spotlight evaluate` within a bound of memory: the same tables, and the bound holds.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod program;
mod stacks;

use std::fs;
use std::path::Path;
use std::process::Output;

use program::{fails, program, succeeds};
use spotlight::image::Volume;
use spotlight::io::{Compression, OutputChannel, Voxels, WriteOptions, write_ome_tiff};
use stacks::folder_of;

fn write(folder: &Path, name: &str, voxels: impl Into<Voxels>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let voxels = voxels.into();
    let options = WriteOptions { compression: Compression::Zstd, ..WriteOptions::default() };
    let channel = OutputChannel { name: "DNA", voxels: &voxels };
    write_ome_tiff(&path, &[channel], Some([0.3, 0.1, 0.1]), &options).unwrap();
}

fn evaluate(folder: &Path, arguments: &str) -> Output {
    let mut command = program();
    command.current_dir(folder).arg("evaluate").args(arguments.split(' '));
    command.output().unwrap()
}

/// Blobs in noise.
fn target(at: [usize; 3], seed: usize) -> f32 {
    let [z, y, x] = at.map(|i| i as f32);
    let blob = 800.0 * ((y / 11.0).sin() * (x / 13.0).cos() * (z / 5.0).sin()).max(0.0);
    let [z, y, x] = at;
    let noise = (z * 7919 + y * 104_729 + x * x * 1_299_709 + seed * 31) % 101;
    (100.0 + blob + noise as f32).round()
}

fn prediction(at: [usize; 3], seed: usize) -> f32 {
    let [z, y, x] = at;
    let other = ((z * 31 + y * y * 7 + x * 1009 + seed) % 97) as f32 * 0.31;
    0.8 * target(at, seed) + other
}

/// Checks that two folders hold the same tables.
fn same_tables(folder: &Path, one: &str, two: &str) {
    let names = |out: &str| -> Vec<String> {
        let names = folder_of(&folder.join(out)).into_iter();
        names.filter(|name| name != "record.json").collect()
    };
    assert_eq!(names(one), names(two));
    assert!(names(one).len() >= 2);
    for name in names(one) {
        let read = |out: &str| fs::read_to_string(folder.join(out).join(&name)).unwrap();
        assert_eq!(read(one), read(two), "{name}");
    }
}

#[test]
fn scores_of_a_prediction_are_the_same_in_slabs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shape = [18, 52, 50];
    write(path, "t.tif", Volume::from_fn(shape, |at| target(at, 1) as u16));
    write(path, "p.tif", Volume::from_fn(shape, |at| prediction(at, 1)));
    write(path, "m.tif", Volume::from_fn(shape, |at| u8::from(target(at, 2) > 400.0)));
    let pair = "--prediction p.tif --target t.tif --mask m.tif";
    for otsu in ["smooth", "plain"] {
        let run = |name: &str, more: &str| {
            let words = format!("{pair} --otsu {otsu} -o {otsu}_{name}.csv{more}");
            let printed = succeeds(&evaluate(path, &words));
            (printed, fs::read_to_string(path.join(format!("{otsu}_{name}.csv"))).unwrap())
        };
        let whole = run("whole", "");
        assert_eq!(run("slabs", " --memory 1MB --threads 1"), whole);
    }
}

#[test]
fn tables_of_a_data_set_are_the_same_in_slabs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut manifest = "path_signal,path_target\n".to_owned();
    for seed in 0..2 {
        let shape = [12 + 5 * seed, 180, 190];
        write(
            path,
            &format!("{seed}_dna.tif"),
            Volume::from_fn(shape, |at| target(at, seed) as u16),
        );
        let name = format!("stained/{seed}_bf.ome.tif");
        write(path, &name, Volume::from_fn(shape, |at| prediction(at, seed)));
        manifest.push_str(&format!("{seed}_bf.tif,{seed}_dna.tif\n"));
    }
    fs::write(path.join("manifest.csv"), manifest).unwrap();
    let words = "--manifest manifest.csv --predictions stained --otsu plain";
    let whole = succeeds(&evaluate(path, &format!("{words} -o whole")));
    let slabs = succeeds(&evaluate(path, &format!("{words} -o slabs --memory 20MB")));
    same_tables(path, "whole", "slabs");
    assert_eq!(slabs.replace("slabs", "whole"), whole);
    // All scores are there, those that need the whole stack too.
    let images = fs::read_to_string(path.join("slabs/images.csv")).unwrap();
    let row: Vec<&str> = images.lines().nth(1).unwrap().split(',').collect();
    let header: Vec<&str> = images.lines().next().unwrap().split(',').collect();
    for score in ["ssim", "ms_ssim", "micro_ms3im", "frc_um"] {
        let place = header.iter().position(|name| *name == score).unwrap();
        assert!(row[place].parse::<f64>().unwrap().is_finite(), "{score}");
    }
    assert!(!slabs.contains("FSC: left out"), "{slabs}");

    // Less than even a plane needs.
    let words = format!("{words} -o none --memory 2MB");
    fails(&evaluate(path, &words), 1, &["0_bf.ome.tif", "bytes of memory", "--memory"]);
}

/// In the units of a model, against true masks; what needs whole stacks is refused.
#[test]
fn scores_in_the_space_of_a_model_are_the_same_in_slabs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let run = |words: &str| {
        let mut command = program();
        command.current_dir(path).args(words.split(' ')).output().unwrap()
    };
    succeeds(&run("simulate -o . --pairs 3 --shape 16,48,48"));
    let small = "--width 2 --depth 1 --batch 1 --patch 8,16,16 --iterations 3 --loss mse";
    succeeds(&run(&format!("train manifest.csv -o run {small}")));
    succeeds(&run("predict run --manifest manifest.csv -o stained"));
    let words = "--manifest manifest.csv --predictions stained --model run";
    let whole = succeeds(&evaluate(path, &format!("{words} -o whole")));
    let slabs = succeeds(&evaluate(path, &format!("{words} -o slabs --memory 1300kB")));
    same_tables(path, "whole", "slabs");
    assert_eq!(slabs.replace("slabs", "whole"), whole);
    let words = format!("{words} -o none --thresholds --memory 1300kB");
    let parts = ["pair_000", "the segmentation at thresholds needs", "--memory"];
    fails(&evaluate(path, &words), 1, &parts);
}

#[test]
fn what_does_not_fit_is_left_out_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shape = [200, 48, 52];
    write(path, "dna.tif", Volume::from_fn(shape, |at| target(at, 1) as u16));
    write(path, "stained/bf.ome.tif", Volume::from_fn(shape, |at| prediction(at, 1)));
    fs::write(path.join("manifest.csv"), "path_signal,path_target\nbf.tif,dna.tif\n").unwrap();
    let words = "--manifest manifest.csv --predictions stained --otsu plain";
    let whole = succeeds(&evaluate(path, &format!("{words} -o whole")));
    assert!(!whole.contains("FSC: left out"), "{whole}");
    let without = succeeds(&evaluate(path, &format!("{words} -o slabs --memory 1500kB")));
    assert!(without.contains("FSC: left out in 1 of 1 predictions"), "{without}");
    assert!(without.contains("bytes (--memory "), "{without}");
    // All else is the same.
    let rows = |out: &str| -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_path(path.join(out).join("images.csv")).unwrap();
        let header = reader.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let keep = |row: &csv::StringRecord| -> Vec<String> {
            let cells = header.iter().zip(row).filter(|(name, _)| !name.starts_with("fsc"));
            cells.map(|(_, cell)| cell.to_owned()).collect()
        };
        rows.iter().map(keep).collect()
    };
    assert_eq!(rows("whole"), rows("slabs"));
}

#[test]
fn objects_are_the_same_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let ball = |[z, y, x]: [usize; 3], shift: usize| {
        let at = [z % 12, (y + shift) % 16, x % 16].map(|i| i as f64);
        let squared = (at[0] - 6.0).powi(2) + (at[1] - 8.0).powi(2) + (at[2] - 8.0).powi(2);
        let label = 1 + z / 12 * 100 + (y + shift) / 16 * 10 + x / 16;
        if squared < (20 + label % 13) as f64 { label as u16 } else { 0 }
    };
    write(path, "dna.tif", Volume::from_fn([25, 97, 96], |at| target(at, 1) as u16));
    write(path, "mask.tif", Volume::from_fn([25, 97, 96], |at| ball(at, 0)));
    write(path, "same/bf.ome.tif", Volume::from_fn([25, 97, 96], |at| ball(at, 2)));
    let half = |[z, y, x]: [usize; 3]| ball([2 * z, 2 * y, 2 * x], 1);
    write(path, "half/bf.ome.tif", Volume::from_fn([12, 48, 48], half));
    let manifest = "path_signal,path_target,path_mask\nbf.tif,dna.tif,mask.tif\n";
    fs::write(path.join("manifest.csv"), manifest).unwrap();
    let words = "--manifest manifest.csv --labels same half";
    succeeds(&evaluate(path, &format!("{words} -o whole")));
    succeeds(&evaluate(path, &format!("{words} -o parts --memory 600kB")));
    same_tables(path, "whole", "parts");

    // Pieces of a mask are numbered only where all of it fits.
    write(path, "one.tif", Volume::from_fn([25, 97, 96], |at| u8::from(ball(at, 0) > 0)));
    let manifest = "path_signal,path_target,path_mask\nbf.tif,dna.tif,one.tif\n";
    fs::write(path.join("one.csv"), manifest).unwrap();
    let words = "--manifest one.csv --labels same --truth-components -o one --memory 600kB";
    fails(&evaluate(path, words), 1, &["one.tif", "have the value 1", "--memory"]);
}

/// Two stacks of 34 million voxels, which take more than a gigabyte when they are scored whole.
#[test]
#[cfg(target_os = "linux")]
fn the_bound_holds() {
    use std::io::Read;

    let folder = tempfile::tempdir().unwrap();
    let shape = [32, 1024, 1024];
    // Zeros need no memory here before they are written.
    let mut stack = Volume::filled(shape, 0_u8);
    for i in 0..1_000_000 {
        let at = stack.offset([i / 40_000 + 5, i / 200 % 200 + 300, i % 200 + 300]);
        stack.voxels[at] = 50 + (i * i % 101) as u8;
    }
    write(folder.path(), "t.tif", stack.clone());
    stack.voxels.iter_mut().step_by(7).filter(|v| **v > 0).for_each(|v| *v -= 20);
    write(folder.path(), "p.tif", stack);
    let words = "--prediction p.tif --target t.tif --otsu plain --memory 200MB --json";
    let mut command = program();
    command.current_dir(&folder).arg("evaluate").args(words.split(' '));
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut output = child.stdout.take().unwrap();
    let mut peak = 0;
    let mut text = String::new();
    // The mark never falls, so the last one that can be read is the highest.
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
        peak = kib.map_or(peak, |kib: u64| peak.max(1024 * kib));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    output.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"psnr\""), "{text}");
    assert!(peak > 50_000_000 && peak < 500_000_000, "{peak} bytes");
}
