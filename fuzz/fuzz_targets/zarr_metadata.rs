//! Any text as the metadata of a Zarr store: described, and its first stack read. The first byte
//! says which files the rest, cut at NUL bytes, is: those of Zarr 3 (`zarr.json` of the group and
//! of the array `0`) or of Zarr 2 (`.zgroup`, `.zattrs`, `0/.zarray`). One chunk is there, of 64
//! bytes of zeros.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use spotlight_io::{Channel, Selection, inspect, read_stack};

const VERSION_3: [&str; 2] = ["zarr.json", "0/zarr.json"];
const VERSION_2: [&str; 3] = [".zgroup", ".zattrs", "0/.zarray"];

static STORE: LazyLock<PathBuf> = LazyLock::new(|| {
    let store = std::env::temp_dir().join(format!("spotlight_fuzz_{}.zarr", std::process::id()));
    for chunk in ["0/c/0/0/0/0", "0/0.0.0.0"] {
        let chunk = store.join(chunk);
        let folder = chunk.parent().expect("a chunk lies in the array");
        std::fs::create_dir_all(folder).expect("the folder for temporary files can be written");
        std::fs::write(chunk, [0; 64]).expect("the folder for temporary files can be written");
    }
    store
});

fuzz_target!(|bytes: &[u8]| {
    let Some((version, text)) = bytes.split_first() else { return };
    let names: &[&str] = if version % 2 == 1 { &VERSION_3 } else { &VERSION_2 };
    for name in VERSION_3.iter().chain(&VERSION_2) {
        // Most are not there: the last input was perhaps of the same version.
        drop(std::fs::remove_file(STORE.join(name)));
    }
    for (name, text) in names.iter().zip(text.split(|byte| *byte == 0)) {
        std::fs::write(STORE.join(name), text)
            .expect("the folder for temporary files can be written");
    }
    drop(inspect(&STORE));
    let first = Selection { channel: Some(Channel::Index(0)), ..Selection::default() };
    drop(read_stack(&STORE, &first));
});
