//! Any bytes as a TIFF: described, and its first stack and whole array read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spotlight_io::{Channel, Selection, inspect, read_array, read_stack};

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("spotlight_fuzz_{}.tif", std::process::id()));
    std::fs::write(&path, bytes).expect("the folder for temporary files can be written");
    drop(inspect(&path));
    let first = Selection { channel: Some(Channel::Index(0)), ..Selection::default() };
    drop(read_stack(&path, &first));
    drop(read_array(&path, 0));
});
