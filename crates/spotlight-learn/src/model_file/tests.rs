//! Model files, whole and broken.

use std::fs;
use std::path::PathBuf;

use safetensors::SafeTensors;
use serde_json::json;
use tempfile::TempDir;

use super::read::read_from;
use super::{FORMAT, Model, ModelManifest, Ranges};
use crate::fnet::{Fnet, FnetOptions};

fn model(depth: usize) -> Model {
    let network = Fnet::new(&FnetOptions { width: 1, depth, ..FnetOptions::default() }, 4);
    let manifest = ModelManifest {
        network: network.options,
        ranges: Some(Ranges {
            raw_min: 3.0,
            raw_max: 4000.0,
            standardised_min: -1.3,
            standardised_max: 22.0,
        }),
        target_channel: Some("DNA \"405\" µ".to_owned()),
        iteration: Some(17),
        inputs_sha256: vec!["00ff".to_owned()],
        recipe: json!({ "train": { "iterations": 17, "learning_rate": 1e-3 } }),
        ..ModelManifest::default()
    };
    Model { manifest, network }
}

fn file_of(model: &Model) -> (TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    (folder, path, bytes)
}

#[test]
fn what_was_written_is_read() {
    let written = model(1);
    let (folder, path, bytes) = file_of(&written);
    let read = Model::read(&path).unwrap();
    assert_eq!(read.manifest, written.manifest);
    assert_eq!(read.network.parameters, written.network.parameters);
    assert_eq!(read.network.buffers, written.network.buffers);
    read.write(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes, "the same model has the same bytes");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn others_can_read_the_weights() {
    let written = model(1);
    let (_folder, _, bytes) = file_of(&written);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.len(), written.network.entries().len());
    let weight = tensors.tensor("net_recurse.sub_u.sub_2conv_more.conv1.weight").unwrap();
    assert_eq!(weight.shape(), [2, 1, 3, 3, 3]);
    let entries = written.network.entries();
    let entry = entries.iter().find(|e| e.name == "conv_out.bias").unwrap();
    let bias = tensors.tensor("conv_out.bias").unwrap();
    assert_eq!(bias.data(), written.network.values(entry)[0].to_le_bytes());
}

#[track_caller]
fn check_error(path: &PathBuf, bytes: &[u8], expected: &str) {
    fs::write(path, bytes).unwrap();
    let message = Model::read(path).unwrap_err().to_string();
    assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    assert!(message.contains("model.safetensors"), "{message:?} does not name the file");
    assert!(!message.contains('\n'));
}

#[test]
fn every_truncation_is_told() {
    let (_folder, path, bytes) = file_of(&model(0));
    for length in 0..bytes.len() {
        let expected = if length < 8 { "has only" } else { "is truncated" };
        check_error(&path, &bytes[..length], expected);
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    check_error(&path, &longer, "1 bytes too many");
}

/// Every bit counts, but for those of the padding after the header. One bit of each byte
/// is flipped, another one in the next byte.
#[test]
fn flipped_bits_of_the_header_are_found() {
    let (_folder, path, bytes) = file_of(&model(0));
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in 0..header + 4 {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 8);
        match read_from(broken.as_slice(), broken.len() as u64, &path) {
            Err(error) => assert!(error.to_string().contains("model.safetensors")),
            Ok(_) => {
                let blank = |byte: u8| byte.is_ascii_whitespace();
                assert!(blank(bytes[at]) && blank(broken[at]), "byte {at}: {}", bytes[at]);
            }
        }
    }
}

#[test]
fn foreign_files_are_named_as_such() {
    let (_folder, path, _) = file_of(&model(0));
    check_error(&path, b"II*\0\x08\0\0\0 and a picture", "does not begin as");
    check_error(&path, b"\x02\0\0\0\0\0\0\0{}", "have no spotlight");
    check_error(&path, b"\x04\0\0\0\0\0\0\0PK\x03\x04", "header");
    fs::remove_file(&path).unwrap();
    assert!(Model::read(&path).unwrap_err().to_string().starts_with("cannot read"));
}

/// Changes the manifest of a file and gives it the checksum that belongs to it.
fn with_manifest(bytes: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..end]).unwrap();
    let text = header["__metadata__"]["spotlight"].as_str().unwrap();
    let mut manifest = serde_json::from_str(text).unwrap();
    change(&mut manifest);
    let text = manifest.to_string();
    let mut checksum = super::container::Checksum::of(&text);
    checksum.update(&bytes[end..]);
    let checksum = checksum.text();
    header["__metadata__"] = json!({ "spotlight": text, "spotlight_sha256": checksum });
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &bytes[end..]].concat()
}

#[test]
fn contradictions_are_told() {
    let (_folder, path, bytes) = file_of(&model(1));
    let newer = with_manifest(&bytes, |m| m["format"] = json!(FORMAT + 1));
    check_error(&path, &newer, "model format 2, this program reads up to 1: update Spotlight");
    let wider = with_manifest(&bytes, |m| m["network"]["width"] = json!(2));
    check_error(&path, &wider, "the network needs F32 [2, 1, 3, 3, 3]");
    let deeper = with_manifest(&bytes, |m| m["network"]["depth"] = json!(2));
    check_error(&path, &deeper, "sub_u.sub_2conv_less.conv1.weight is missing");
    let flatter = with_manifest(&bytes, |m| m["network"]["depth"] = json!(0));
    check_error(&path, &flatter, "is not part of the network");
    let absurd = with_manifest(&bytes, |m| m["network"]["depth"] = json!(60));
    check_error(&path, &absurd, "no network is of this size");
    let unknown = with_manifest(&bytes, |m| m["spacing"] = json!(1));
    check_error(&path, &unknown, "unknown field `spacing`");
    let same = with_manifest(&bytes, |_| {});
    fs::write(&path, same).unwrap();
    Model::read(&path).unwrap();
}

#[test]
fn manifest_tells_its_laws() {
    let mut manifest = ModelManifest::default();
    assert_eq!(manifest.to_json()["laws"]["target"], "(y - T) / std(y)");
    manifest.loss = crate::loss::Loss::Mse;
    assert_eq!(manifest.to_json()["laws"]["target"], "(y - mean(y)) / std(y)");
    assert_eq!(manifest.to_json()["axes"], "zyx");
}
