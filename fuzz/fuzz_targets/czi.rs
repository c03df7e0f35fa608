//! Any bytes as a CZI: described, and its first stack and whole array read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spotlight_io::{Channel, Selection, inspect, read_array, read_stack};

/// The name of the first segment, which tells the format.
const START: &[u8] = b"ZISRAWFILE";

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("spotlight_fuzz_{}.czi", std::process::id()));
    // Without it every input would be refused at the door.
    let mut file = bytes.to_vec();
    let start = START.len().min(file.len());
    file[..start].copy_from_slice(&START[..start]);
    std::fs::write(&path, &file).expect("the folder for temporary files can be written");
    drop(inspect(&path));
    let first = Selection { channel: Some(Channel::Index(0)), ..Selection::default() };
    drop(read_stack(&path, &first));
    drop(read_array(&path, 0));
});
