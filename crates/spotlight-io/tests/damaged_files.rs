//! Files cut off or with flipped bits: an error or an image, never a panic, a hang or much
//! memory. The damage is seeded, so that a failure can be repeated.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spotlight_io::manifest::Manifest;
use spotlight_io::{Selection, inspect, read_array, read_stack};

/// Sound files of all dialects and compressions.
fn seeds() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/io");
    let cases = std::fs::read_dir(folder).unwrap().map(|case| case.unwrap().path());
    let files = cases.flat_map(|case| {
        std::fs::read_dir(case).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>()
    });
    let mut tiffs: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|e| e == "tif")).collect();
    tiffs.sort();
    assert!(tiffs.len() >= 10);
    tiffs
}

/// A small generator: the numbers only have to be different.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

fn try_all(path: &Path) {
    let start = Instant::now();
    drop(inspect(path));
    drop(read_stack(path, &Selection::default()));
    if let Ok(array) = read_array(path, 0) {
        assert!(array.shape.iter().product::<usize>() < 100 << 20);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn cut_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(1);
    for seed in seeds() {
        let bytes = std::fs::read(&seed).unwrap();
        let path = folder.path().join(seed.file_name().unwrap());
        for cut in (0..40).map(|_| random.below(bytes.len())).chain(0..20) {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            try_all(&path);
            // A file cut in half cannot be whole.
            assert!(cut > bytes.len() / 2 || read_array(&path, 0).is_err(), "{seed:?} at {cut}");
        }
    }
}

#[test]
fn flipped_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(2);
    for seed in seeds() {
        let bytes = std::fs::read(&seed).unwrap();
        let path = folder.path().join(seed.file_name().unwrap());
        for round in 0..150 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + round % 8 {
                // Half of the damage goes to the tags, which lie at the start and the end.
                let edge = 600.min(bytes.len());
                let at = match random.below(4) {
                    0 => random.below(edge),
                    1 => bytes.len() - 1 - random.below(edge),
                    _ => random.below(bytes.len()),
                };
                match random.below(3) {
                    0 => damaged[at] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5)],
                    _ => damaged[at] ^= 1 << random.below(8),
                }
            }
            std::fs::write(&path, &damaged).unwrap();
            try_all(&path);
        }
    }
}

#[test]
fn random_bytes_after_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let mut random = Random(3);
    for round in 0..300 {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        if round % 2 == 1 {
            bytes = b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10".to_vec();
        }
        bytes.extend((0..random.below(400)).map(|_| random.below(256) as u8));
        std::fs::write(&path, &bytes).unwrap();
        try_all(&path);
    }
}

#[test]
fn damaged_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.csv");
    let text = b"path_signal,channel_signal,path_target,split\n\"a, b.tif\",1,c.tif,train\nd,,e,\n";
    let mut random = Random(4);
    for _ in 0..300 {
        let mut damaged = text.to_vec();
        for _ in 0..3 {
            let at = random.below(damaged.len());
            damaged[at] = b"\",\n\r\0\xFFa"[random.below(7)];
        }
        std::fs::write(&path, &damaged).unwrap();
        drop(Manifest::read(&path));
    }
}
