//! [`OpenArray`]: one array of a store, of which boxes are read.

use std::fmt;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;
use zarrs::array::{
    Array, ArrayBytes, ArrayCreateError, ArrayError, ArrayMetadata, ArrayShardedExt,
    ArrayShardedReadableExt, ArrayShardedReadableExtCache, ArraySubset, CodecError, CodecOptions,
};
use zarrs::storage::StorageError;

use super::codecs::Coding;
use super::lenient::fill_in;
use super::node::Description;
use super::store::{Chunks, Store};
use crate::error::{Fault, malformed};

/// An array whose metadata are sound.
pub(super) struct OpenArray {
    array: Array<Chunks>,
    /// Places of the chunks in the shards that were read so far.
    shards: ArrayShardedReadableExtCache,
    pub(super) version: u8,
    pub(super) coding: Coding,
    pub(super) shape: Vec<usize>,
    /// Lengths of what is decoded at once.
    pub(super) chunk: Vec<usize>,
    /// Lengths of a shard, where chunks are stored together.
    pub(super) shard: Option<Vec<usize>>,
}

impl fmt::Debug for OpenArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenArray").field("coding", &self.coding).finish_non_exhaustive()
    }
}

impl OpenArray {
    /// Opens the array of a folder.
    pub(super) fn open(store: &Store, described: &Description) -> Result<Self, Fault> {
        let coding = Coding::of(described)?;
        let chunks = Chunks {
            store: store.clone(),
            decoded: coding.decoded,
            limit: coding.fetched,
            zstd: coding.zstd,
        };
        let mut metadata = described.metadata.clone();
        fill_in(&mut metadata);
        let json = Value::Object(metadata);
        let metadata = if described.version == 2 {
            serde_json::from_value(json).map(ArrayMetadata::V2)
        } else {
            serde_json::from_value(json).map(ArrayMetadata::V3)
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                return malformed(format!("the metadata of the array are wrong: {error}"));
            }
        };
        let array =
            Array::new_with_metadata(Arc::new(chunks), "/", metadata).map_err(not_created)?;
        let lengths = |lengths: &[u64]| lengths.iter().map(|n| *n as usize).collect::<Vec<_>>();
        let inner = array.effective_subchunk_shape();
        let inner: Option<Vec<u64>> = inner.map(|shape| shape.iter().map(|n| n.get()).collect());
        let outer = lengths(&coding.outer);
        Ok(Self {
            shards: ArrayShardedReadableExtCache::new(&array),
            version: described.version,
            shape: lengths(&coding.shape),
            chunk: inner.as_deref().map_or_else(|| outer.clone(), lengths),
            shard: inner.is_some().then_some(outer),
            array,
            coding,
        })
    }

    /// The bytes of a box, in the order of the stored axes and of this machine.
    pub(super) fn read(&self, ranges: &[Range<usize>]) -> Result<Vec<u8>, Fault> {
        let voxels: usize = ranges.iter().map(ExactSizeIterator::len).product();
        // The bytes, and the numbers that are made of them.
        let needed = voxels * self.coding.stored.bytes() as usize;
        if Vec::<u8>::new().try_reserve_exact(needed.saturating_mul(2)).is_err() {
            return Err(Fault::Limit(format!(
                "{voxels} voxels need more memory than there is; read a part of them"
            )));
        }
        let ranges: Vec<Range<u64>> =
            ranges.iter().map(|range| range.start as u64..range.end as u64).collect();
        let subset = ArraySubset::new_with_ranges(&ranges);
        let decode = || -> Result<ArrayBytes<'static>, ArrayError> {
            if self.shard.is_some() {
                let options = CodecOptions::default();
                return self.array.retrieve_array_subset_sharded_opt(
                    &self.shards,
                    &subset,
                    &options,
                );
            }
            self.array.retrieve_array_subset(&subset)
        };
        // The sizes in chunks were checked as far as they can be seen from outside; a decoder
        // that gives up on the rest must not end the program.
        let decoded = catch_unwind(AssertUnwindSafe(decode));
        let bytes = match decoded {
            Ok(decoded) => decoded.map_err(not_decoded)?.into_fixed(),
            Err(_) => return malformed("a chunk is damaged: its decoder gave up"),
        };
        match bytes {
            Ok(bytes) if bytes.len() == needed => Ok(bytes.into_owned()),
            _ => malformed("the chunks hold another number of voxels than the metadata say"),
        }
    }
}

fn not_created(error: ArrayCreateError) -> Fault {
    let (what, way_out) = match error {
        ArrayCreateError::CodecsCreateError(error) => {
            (format!("one of the codecs ({error})"), "save it with zstd, blosc, gzip or no codec")
        }
        ArrayCreateError::UnsupportedZarrV2Array(error) => {
            (format!("an array of Zarr 2 ({error})"), "save it as Zarr 3")
        }
        ArrayCreateError::StorageTransformersCreateError(_) => {
            ("a storage transformer".to_owned(), "save the array without one")
        }
        ArrayCreateError::ChunkKeyEncodingCreateError(error) => {
            (format!("the names of the chunks ({error})"), "save it with the names of Zarr 3")
        }
        other => return Fault::Format(format!("the metadata of the array are wrong: {other}")),
    };
    Fault::Unsupported { what, way_out: way_out.to_owned() }
}

fn not_decoded(error: ArrayError) -> Fault {
    let storage = match error {
        ArrayError::StorageError(storage)
        | ArrayError::CodecError(CodecError::StorageError(storage)) => storage,
        other => return Fault::Format(format!("a chunk is damaged: {other}")),
    };
    match storage {
        StorageError::IOError(error) => Fault::Io(io::Error::new(error.kind(), error.to_string())),
        other => Fault::Format(format!("a chunk cannot be read: {other}")),
    }
}
