//! `spotlight demo` in small: all its files are there, and the picture shows four panels.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use assert_cmd::Command;

const TINY: &str = "--pairs 4 --shape 16,32,32 --width 2 --depth 1 --patch 8,16,16 --batch 1 \
                    --iterations 3";

fn demo(folder: &Path, more: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("spotlight").unwrap();
    command.arg("demo").arg("-o").arg(folder).args(TINY.split_whitespace()).args(more);
    command.output().unwrap()
}

#[test]
fn a_tiny_demo_writes_all_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let output = demo(&out, &[]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let printed = String::from_utf8(output.stdout).unwrap();
    for part in ["F-net", "Spotlight", "PSNR", "PSNR fg", "r fg", "Dice fg", "montage.png"] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
    for file in [
        "stacks/manifest.csv",
        "stacks/pair_003_signal.ome.tif",
        "fnet/model.safetensors",
        "fnet/pair_003_signal.ome.tif",
        "spotlight/model.safetensors",
        "spotlight/pair_003_signal.ome.tif",
        "scores.csv",
        "montage.png",
        "record.json",
    ] {
        assert!(out.join(file).is_file(), "{file} is missing");
    }
    let scores = std::fs::read_to_string(out.join("scores.csv")).unwrap();
    let first: Vec<&str> = scores.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(first, ["model", "F-net", "Spotlight"]);
    check_picture(&out.join("montage.png"));

    let again = demo(&out, &[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--overwrite"));
    let scores_again = demo(&out, &["--overwrite"]);
    assert!(scores_again.status.success());
    let repeated = std::fs::read_to_string(out.join("scores.csv")).unwrap();
    assert_eq!(repeated, scores, "the same seed gives the same scores");
}

#[cfg(unix)]
#[test]
fn a_demo_that_is_interrupted_ends_with_130_and_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_spotlight"))
        .args(["demo", "-q", "-o"])
        .arg(&out)
        .args(TINY.split_whitespace().filter(|word| !["--iterations", "3"].contains(word)))
        .args(["--iterations", "1000000"])
        .spawn()
        .unwrap();
    // Training begins when all stacks are there.
    let begun = std::time::Instant::now();
    while !out.join("stacks/manifest.csv").exists() {
        assert!(begun.elapsed().as_secs() < 60, "no stacks after a minute");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let signal = std::process::Command::new("kill").arg("-INT").arg(demo.id().to_string()).status();
    assert!(signal.unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    assert!(!out.join("fnet/model.safetensors").exists());
    for folder in [&out, &out.join("fnet"), &out.join("stacks")] {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let parts: Vec<_> = names.filter(|n| n.to_string_lossy().ends_with(".part")).collect();
        assert!(parts.is_empty(), "{parts:?}");
    }
}

/// Four columns of panels on a dark ground, each with more than a few shades.
fn check_picture(path: &Path) {
    let decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let (width, height) = (info.width as usize, info.height as usize);
    let pixel = |x: usize, y: usize| &bytes[3 * (y * width + x)..][..3];
    let ground = pixel(0, 0).to_vec();
    // A row through the xy panels that meets no mark: panels are gray, the ground is not.
    let y = (0..height)
        .find(|y| (0..width).filter(|x| pixel(*x, *y) != &ground[..]).count() > width / 2)
        .unwrap();
    let inside: Vec<bool> = (0..width).map(|x| pixel(x, y + 2) != &ground[..]).collect();
    let starts: Vec<usize> =
        (1..width).filter(|x| inside[*x] && !inside[x - 1] && inside[*x..].len() > 300).collect();
    assert_eq!(starts.len(), 4, "panels begin at {starts:?}");
    for start in starts {
        let shades: HashSet<u8> = (0..300)
            .flat_map(|dy| (0..300).map(move |dx| (dx, dy)))
            .map(|(dx, dy)| pixel(start + dx, y + dy)[0])
            .collect();
        assert!(shades.len() > 5, "the panel at {start} has {} shades", shades.len());
    }
}
