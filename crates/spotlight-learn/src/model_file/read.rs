//! Reading a model file, trusting none of its numbers before they were checked.
//!
//! Nothing is allocated that is larger than the file itself, and the weights only once: they are
//! read piece by piece into the network, and hashed on the way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::container::{Checksum, WEIGHT_BYTES};
use super::{CHECKSUM_KEY, FORMAT, MANIFEST_KEY, Model, ModelManifest, WRITTEN_ONLY};
use crate::error::Error;
use crate::fnet::{Entry, Fnet, FnetOptions};

/// Longest header that is read; that of the paper's network has some 25 thousand bytes.
const MAX_HEADER: u64 = 16 << 20;

/// Limits that no network reaches but a damaged number may.
const MAX_CHANNELS: usize = 1 << 12;
const MAX_DEPTH: usize = 10;

/// Numbers that are read at a time: they are still in the cache when they are hashed.
const PIECE: usize = 64 << 10;

/// The header of a safetensors file.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Place>,
}

/// Where a tensor lies behind the header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

pub(super) fn read(path: &Path) -> Result<Model, Error> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    read_from(file, size, path)
}

/// Reads a file of `size` bytes; `path` is how errors name it.
pub(super) fn read_from(mut file: impl Read, size: u64, path: &Path) -> Result<Model, Error> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut length = [0; 8];
    if size < length.len() as u64 {
        return Err(not_a_model(path, format!("it has only {size} bytes")));
    }
    file.read_exact(&mut length).map_err(failed)?;
    let header_end = check_header_length(path, u64::from_le_bytes(length), size)?;
    let mut text = vec![0; (header_end - 8) as usize];
    file.read_exact(&mut text).map_err(failed)?;
    let header: Header = serde_json::from_slice(&text)
        .map_err(|error| not_a_model(path, format!("its header is not as expected: {error}")))?;

    let manifest_text = metadata(path, &header, MANIFEST_KEY)?;
    let manifest = parse_manifest(path, manifest_text)?;
    check_options(path, &manifest.network)?;
    let entries = Fnet::entries_of(&manifest.network);
    let (entries, length) = check_table(path, &entries, &header.tensors)?;
    let end = header_end + length;
    if size < end {
        return Err(Error::Truncated { path: path.to_owned(), expected: end, found: size });
    }
    if size > end {
        return Err(damaged(path, format!("it has {} bytes too many", size - end)));
    }

    let mut network = Fnet::zeroed(&manifest.network);
    let checksum = read_weights(file, manifest_text, &entries, &mut network).map_err(failed)?;
    if checksum != metadata(path, &header, CHECKSUM_KEY)? {
        return Err(damaged(path, "its content does not have the checksum in its header".into()));
    }
    Ok(Model { manifest, network })
}

/// Fills the tensors of a network, in the order of the file, and gives the checksum of what was
/// read.
fn read_weights(
    mut file: impl Read,
    manifest: &str,
    entries: &[&Entry],
    network: &mut Fnet,
) -> std::io::Result<String> {
    let mut checksum = Checksum::of(manifest);
    let mut bytes = vec![0; PIECE * WEIGHT_BYTES];
    for entry in entries {
        for values in network.values_mut(entry).chunks_mut(PIECE) {
            let bytes = &mut bytes[..values.len() * WEIGHT_BYTES];
            file.read_exact(bytes)?;
            checksum.update(bytes);
            let words = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word));
            values.iter_mut().zip(words).for_each(|(to, value)| *to = value);
        }
    }
    Ok(checksum.text())
}

/// Where the header ends, if its length makes sense for a file of this size.
fn check_header_length(path: &Path, length: u64, size: u64) -> Result<u64, Error> {
    if !(2..=MAX_HEADER).contains(&length) {
        let reason = "it does not begin as a safetensors file does".to_owned();
        return Err(not_a_model(path, reason));
    }
    let end = 8 + length;
    if size < end {
        return Err(Error::Truncated { path: path.to_owned(), expected: end, found: size });
    }
    Ok(end)
}

fn metadata<'a>(path: &Path, header: &'a Header, key: &str) -> Result<&'a str, Error> {
    let found = header.metadata.get(key).map(String::as_str);
    found.ok_or_else(|| {
        not_a_model(path, format!("it is a safetensors file whose metadata have no {key}"))
    })
}

fn parse_manifest(path: &Path, text: &str) -> Result<ModelManifest, Error> {
    let wrong = |error: serde_json::Error| damaged(path, format!("its manifest: {error}"));
    let mut json: Value = serde_json::from_str(text).map_err(wrong)?;
    let format = json["format"].as_u64();
    let found = format.ok_or_else(|| damaged(path, "its manifest has no format".to_owned()))?;
    if found > FORMAT {
        return Err(Error::NewerFormat { path: path.to_owned(), found, supported: FORMAT });
    }
    if let Some(fields) = json.as_object_mut() {
        WRITTEN_ONLY.iter().for_each(|key| drop(fields.remove(*key)));
    }
    serde_json::from_value(json).map_err(wrong)
}

fn check_options(path: &Path, options: &FnetOptions) -> Result<(), Error> {
    if is_network(options) {
        return Ok(());
    }
    Err(damaged(path, format!("no network is of this size: {options:?}")))
}

/// Whether a network may be of this size.
pub(super) fn is_network(options: &FnetOptions) -> bool {
    let FnetOptions { width, depth, in_channels, out_channels } = *options;
    let counts = [width, in_channels, out_channels];
    depth <= MAX_DEPTH && counts.iter().all(|count| (1..=MAX_CHANNELS).contains(count))
}

/// Checks that the table holds the tensors of the network and nothing else, one after the
/// other; returns them in the order of the file, and the number of their bytes.
fn check_table<'a>(
    path: &Path,
    entries: &'a [Entry],
    tensors: &BTreeMap<String, Place>,
) -> Result<(Vec<&'a Entry>, u64), Error> {
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = &entry.name;
        let Some(place) = tensors.get(name) else {
            return Err(damaged(path, format!("the tensor {name} is missing")));
        };
        if place.dtype != "F32" || place.shape != entry.shape {
            let Place { dtype, shape, .. } = place;
            return Err(damaged(
                path,
                format!("{name} is {dtype} {shape:?}, the network needs F32 {:?}", entry.shape),
            ));
        }
        places.push((place.data_offsets, entry));
    }
    if let Some(name) = tensors.keys().find(|name| !entries.iter().any(|e| e.name == **name)) {
        return Err(damaged(path, format!("the tensor {name} is not part of the network")));
    }
    places.sort_by_key(|(place, _)| *place);
    let mut end = 0;
    for ([from, to], Entry { name, range, .. }) in &places {
        let length = (range.len() * WEIGHT_BYTES) as u64;
        if *from != end || to.checked_sub(*from) != Some(length) {
            return Err(damaged(path, format!("{name} does not lie where it should")));
        }
        end = *to;
    }
    Ok((places.into_iter().map(|(_, entry)| entry).collect(), end))
}

fn not_a_model(path: &Path, reason: String) -> Error {
    Error::NotAModel { path: path.to_owned(), reason }
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Damaged { path: path.to_owned(), reason }
}
