//! Any bytes as a model file: the header of safetensors, the manifest in it, the weights.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spotlight_learn::model_file::Model;

fuzz_target!(|bytes: &[u8]| {
    let name = format!("spotlight_fuzz_{}.safetensors", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes).expect("the folder for temporary files can be written");
    drop(Model::read(&path));
});
