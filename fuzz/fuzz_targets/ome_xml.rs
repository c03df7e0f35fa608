//! Any text as a companion of OME-TIFF: described, and its first stack read. Planes that it
//! places in `plane.tif` are there: 1 x 2 pixels of 8 bits, twice.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use spotlight_io::{Channel, Selection, inspect, read_stack};

/// A TIFF of two directories with the fewest tags.
fn plane() -> Vec<u8> {
    let mut bytes = b"II*\0\x0A\0\0\0\x01\x02".to_vec();
    for next in [76_u32, 0] {
        bytes.extend(5_u16.to_le_bytes());
        // Width, height, bits, position and bytes of the pixels.
        for (tag, value) in [(256_u16, 2_u32), (257, 1), (258, 8), (273, 8), (279, 2)] {
            bytes.extend(tag.to_le_bytes());
            bytes.extend([4, 0, 1, 0, 0, 0]);
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(next.to_le_bytes());
    }
    bytes
}

static COMPANION: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("spotlight_fuzz_{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    let part = folder.join("plane.tif");
    std::fs::write(&part, plane()).expect("the folder for temporary files can be written");
    assert!(read_stack(&part, &Selection::default()).is_ok(), "the planes can be read");
    folder.join("set.companion.ome")
});

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*COMPANION, bytes).expect("the folder for temporary files can be written");
    drop(inspect(&COMPANION));
    let first = Selection { channel: Some(Channel::Index(0)), ..Selection::default() };
    drop(read_stack(&COMPANION, &first));
});
