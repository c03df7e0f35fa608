//! The bytes of a model file: header, table of tensors, weights.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{CHECKSUM_KEY, MANIFEST_KEY};
use crate::error::Error;
use crate::fnet::Fnet;

/// The header is filled up with spaces to a multiple of this.
const ALIGNMENT: usize = 8;

/// Bytes of one weight.
pub(super) const WEIGHT_BYTES: usize = size_of::<f32>();

/// Writes manifest and weights to a file that appears when it is whole.
pub(super) fn write(path: &Path, manifest: &str, network: &Fnet) -> Result<(), Error> {
    let weights = weight_bytes(network);
    let mut checksum = Checksum::of(manifest);
    checksum.update(&weights);
    let header = header(manifest, &checksum.text(), network);
    let length = (header.len() as u64).to_le_bytes();
    write_whole(path, &[&length, header.as_bytes(), &weights])
}

/// All weights, in the order of the network's table.
fn weight_bytes(network: &Fnet) -> Vec<u8> {
    let count = network.parameters.len() + network.buffers.len();
    let mut bytes = Vec::with_capacity(count * WEIGHT_BYTES);
    for entry in network.entries() {
        let words = network.values(entry).iter().map(|value| value.to_le_bytes());
        bytes.extend(words.flatten());
    }
    bytes
}

/// SHA-256 of the manifest followed by the weights, which may come in pieces.
pub(super) struct Checksum(Sha256);

impl Checksum {
    pub(super) fn of(manifest: &str) -> Self {
        Self(Sha256::new_with_prefix(manifest))
    }

    pub(super) fn update(&mut self, weights: &[u8]) {
        self.0.update(weights);
    }

    /// In hexadecimal digits.
    pub(super) fn text(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn header(manifest: &str, checksum: &str, network: &Fnet) -> String {
    let mut table = Map::new();
    table.insert(
        "__metadata__".to_owned(),
        json!({ MANIFEST_KEY: manifest, CHECKSUM_KEY: checksum }),
    );
    let mut offset = 0;
    for entry in network.entries() {
        let end = offset + entry.range.len() * WEIGHT_BYTES;
        let place = json!({ "dtype": "F32", "shape": entry.shape, "data_offsets": [offset, end] });
        table.insert(entry.name.clone(), place);
        offset = end;
    }
    let mut header = Value::Object(table).to_string();
    let padded = header.len().next_multiple_of(ALIGNMENT);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    header
}

/// Writes a file under a temporary name beside the final one, and renames it when its
/// content is on the disk.
pub(crate) fn write_whole(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    let failed = |source: io::Error| {
        // Without the temporary file's name, which means nothing to a user.
        let source = source.raw_os_error().map_or(source, io::Error::from_raw_os_error);
        Error::Io { action: "write", path: path.to_owned(), source }
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let temporary = create_beside(folder).map_err(failed)?;
    let mut writer = BufWriter::new(temporary);
    let written = parts.iter().try_for_each(|part| writer.write_all(part));
    written.map_err(failed)?;
    let temporary = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    // The name, too, should survive a power cut; where folders cannot be opened as files
    // there is nothing to do.
    if let Ok(folder) = File::open(folder) {
        drop(folder.sync_all());
    }
    Ok(())
}

fn create_beside(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    #[cfg(unix)]
    {
        // Temporary files are 0600 by default; a model is as any file of the user.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
