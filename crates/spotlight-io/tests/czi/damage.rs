//! Damaged files: an error or an image, never a panic, a hang or much memory.

use std::path::Path;
use std::time::{Duration, Instant};

use spotlight_io::{Selection, inspect, read_array, read_stack};

use crate::builder::{Tile, czi};
use crate::{Folder, XML, jpeg_xr, words, zstd};

/// Small files with every compression.
fn seeds() -> Vec<Vec<u8>> {
    let (together, apart) = words(&[1, 2, 3, 4, 5, 6]);
    let at = |z: i32| Tile::grey([0, 0], [2, 3], &[('Z', z), ('S', 0), ('M', 0)], &[]);
    let picture = Tile::grey([0, 0], [6, 9], &[], &[]);
    let sub_blocks = [
        vec![at(0).pixels(1, 0, together.clone()), at(1).pixels(1, 5, zstd(&[], &together))],
        vec![at(0).pixels(1, 6, zstd(&[3, 1, 1], &apart))],
        vec![picture.pixels(3, 4, jpeg_xr::bytes(jpeg_xr::COLOUR))],
    ];
    sub_blocks.iter().map(|tiles| czi(tiles, XML)).collect()
}

/// Whether the whole array can be read.
fn try_all(path: &Path) -> bool {
    let start = Instant::now();
    drop(inspect(path));
    drop(read_stack(path, &Selection::default()));
    let array = read_array(path, 0);
    if let Ok(array) = &array {
        assert!(array.shape.iter().product::<usize>() < 100 << 20, "{:?}", array.shape);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    array.is_ok()
}

#[test]
fn cut_files() {
    let folder = Folder::new();
    for seed in seeds() {
        assert!(try_all(&folder.add(&seed)));
        // After the metadata come at most 31 bytes that mean nothing.
        for cut in (1..seed.len() - 31).step_by(3) {
            assert!(!try_all(&folder.add(&seed[..cut])), "cut at {cut} of {}", seed.len());
        }
    }
}

#[test]
fn flipped_bytes() {
    let folder = Folder::new();
    for (index, seed) in seeds().iter().enumerate() {
        for at in 0..seed.len() {
            // All bits, the sign, or a small change: each in one of the three files.
            let mut damaged = seed.clone();
            damaged[at] ^= [0xFF, 0x80, 0x01][(at + index) % 3];
            try_all(&folder.add(&damaged));
        }
    }
    assert!(peak_memory_bytes() < 1 << 30, "{} bytes of memory", peak_memory_bytes());
}

#[test]
fn damage_at_several_places() {
    let folder = Folder::new();
    let mut state = 7_u64;
    let mut below = |limit: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % limit
    };
    for seed in seeds() {
        for round in 0..600 {
            let mut damaged = seed.clone();
            for _ in 0..2 + round % 6 {
                let at = below(damaged.len());
                damaged[at] = [0, 1, 0x7F, 0x80, 0xFF][below(5)];
            }
            try_all(&folder.add(&damaged));
        }
    }
}

/// The most memory the process has held; 0 where the system does not say.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
