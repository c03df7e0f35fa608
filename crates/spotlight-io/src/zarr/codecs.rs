//! [`Coding`]: how the chunks of an array are laid out and encoded, checked before use.

use serde_json::{Map, Value};

use super::element::Stored;
use super::node::Description;
use crate::error::{Fault, malformed, unsupported};
use crate::metadata::ByteOrder;

/// Codecs that are read, with the names that Zarr 2 and 3 have for them.
const CODECS: &[&str] = &[
    "blosc",
    "bytes",
    "crc32c",
    "endian",
    "gzip",
    "numcodecs.gzip",
    "numcodecs.zlib",
    "numcodecs.zstd",
    "sharding_indexed",
    "transpose",
    "zlib",
    "zstd",
];

/// Most bytes of a chunk when it is decoded.
const MAX_CHUNK_BYTES: u64 = 2 << 30;

/// Most chunks in a shard.
const MAX_CHUNKS_IN_SHARD: u64 = 1 << 24;

/// Most axes of an array.
const MAX_AXES: usize = 16;

/// How the numbers of an array are stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Coding {
    pub(super) stored: Stored,
    /// Lengths of the axes.
    pub(super) shape: Vec<u64>,
    /// Lengths of what is stored together.
    pub(super) outer: Vec<u64>,
    /// Bytes of what is decoded at once.
    pub(super) decoded: u64,
    /// Most bytes of what is fetched at once.
    pub(super) fetched: u64,
    pub(super) compression: String,
    pub(super) byte_order: ByteOrder,
    pub(super) zstd: bool,
}

/// The codecs of a chunk or of the chunks in a shard.
#[derive(Debug, Default)]
struct Chain {
    compression: Option<String>,
    big_endian: bool,
    zstd: bool,
    /// Whether there is nothing but a shard, so that its parts can be fetched.
    only_shard: bool,
    shard: Option<Box<(Vec<u64>, Chain)>>,
}

impl Coding {
    /// Reads and checks the metadata of an array.
    pub(super) fn of(array: &Description) -> Result<Self, Fault> {
        let metadata = &array.metadata;
        let (stored, outer, chain) =
            if array.version == 2 { version_2(metadata)? } else { version_3(metadata)? };
        let shape = lengths(metadata.get("shape"), "shape")?;
        if shape.len() < 2 || shape.len() > MAX_AXES {
            return unsupported(
                format!("an array of {} axes", shape.len()),
                "name an array of images, with the axes y and x",
            );
        }
        if outer.len() != shape.len() {
            return malformed("the chunks have another number of axes than the array");
        }
        let whole = product(&shape).and_then(|voxels| voxels.checked_mul(8));
        if whole.is_none_or(|bytes| bytes > i64::MAX as u64) {
            return Err(Fault::Limit(format!("an array of {shape:?} voxels is too large")));
        }
        // The deepest chunk names the compression; the first one is what is fetched.
        let mut deepest = &chain;
        while let Some(shard) = &deepest.shard {
            deepest = &shard.1;
        }
        let inner = chain.shard.as_ref().filter(|_| chain.only_shard).map(|shard| &shard.0);
        let decoded = chunk_bytes(inner.unwrap_or(&outer), stored)?;
        let index = match &chain.shard {
            Some(shard) => 16 * chunks_in_shard(&outer, &shard.0)? + 64,
            None => 0,
        };
        Ok(Self {
            stored,
            // No encoder makes more of a chunk; it also bounds what gzip, which does not tell the
            // size, can make of it: a thousand times as much.
            fetched: (2 * decoded + (64 << 10)).max(index),
            decoded,
            shape,
            outer,
            compression: deepest.compression.clone().unwrap_or_else(|| "none".to_owned()),
            byte_order: if deepest.big_endian { ByteOrder::Big } else { ByteOrder::Little },
            zstd: chain.zstd || deepest.zstd,
        })
    }
}

fn version_2(metadata: &Map<String, Value>) -> Result<(Stored, Vec<u64>, Chain), Fault> {
    let Some(dtype) = metadata.get("dtype") else { return malformed(".zarray has no dtype") };
    let stored = Stored::of_version_2(dtype)?;
    let chunks = lengths(metadata.get("chunks"), "chunks")?;
    let big_endian = dtype.as_str().is_some_and(|name| name.starts_with('>'));
    let mut chain = Chain { big_endian, ..Chain::default() };
    let filters = metadata.get("filters").and_then(Value::as_array);
    let compressor = metadata.get("compressor").filter(|compressor| !compressor.is_null());
    for codec in filters.into_iter().flatten().chain(compressor) {
        let Some(id) = codec.get("id").and_then(Value::as_str) else {
            return malformed("a codec in .zarray has no id");
        };
        add(&mut chain, id, codec)?;
    }
    Ok((stored, chunks, chain))
}

fn version_3(metadata: &Map<String, Value>) -> Result<(Stored, Vec<u64>, Chain), Fault> {
    let Some(data_type) = metadata.get("data_type") else {
        return malformed("zarr.json has no data_type");
    };
    let stored = Stored::of_version_3(data_type)?;
    let grid = metadata.get("chunk_grid").unwrap_or(&Value::Null);
    match grid.get("name").and_then(Value::as_str) {
        Some("regular") => (),
        Some(other) => {
            return unsupported(
                format!("the Zarr chunk grid {other}"),
                "save it in regular chunks",
            );
        }
        None => return malformed("zarr.json has no chunk_grid"),
    }
    let chunk = grid.get("configuration").and_then(|grid| grid.get("chunk_shape"));
    let chunks = lengths(chunk, "chunk_shape")?;
    let chain = chain(metadata.get("codecs"), chunks.len(), 0)?;
    Ok((stored, chunks, chain))
}

/// Reads a list of codecs, and the lists inside a shard.
fn chain(codecs: Option<&Value>, axes: usize, depth: usize) -> Result<Chain, Fault> {
    let Some(codecs) = codecs.and_then(Value::as_array) else {
        return malformed("there is no list of codecs");
    };
    let mut chain = Chain::default();
    for codec in codecs {
        let name = codec.as_str().or_else(|| codec.get("name").and_then(Value::as_str));
        let Some(name) = name else { return malformed("a codec has no name") };
        let configuration = codec.get("configuration").unwrap_or(&Value::Null);
        add(&mut chain, name, configuration)?;
        match name {
            "bytes" | "endian" => {
                chain.big_endian =
                    configuration.get("endian").and_then(Value::as_str) == Some("big");
            }
            "transpose" => check_transpose(configuration, axes)?,
            "sharding_indexed" => {
                if depth == 4 {
                    return Err(Fault::Limit("shards lie in shards more than four deep".into()));
                }
                let inner = lengths(configuration.get("chunk_shape"), "chunk_shape of the shards")?;
                if inner.len() != axes {
                    return malformed("the chunks of the shards have another number of axes");
                }
                self::chain(configuration.get("index_codecs"), axes + 1, depth + 1)?;
                let codecs = self::chain(configuration.get("codecs"), axes, depth + 1)?;
                chain.zstd |= codecs.zstd;
                chain.only_shard = true;
                chain.shard = Some(Box::new((inner, codecs)));
            }
            _ => (),
        }
    }
    chain.only_shard &= codecs.len() == 1;
    Ok(chain)
}

/// Takes note of a codec, if it is known.
fn add(chain: &mut Chain, name: &str, configuration: &Value) -> Result<(), Fault> {
    if !CODECS.contains(&name) {
        return unsupported(
            format!("the Zarr codec {name}"),
            "save the array with zstd, blosc, gzip or without compression",
        );
    }
    let short = name.trim_start_matches("numcodecs.");
    chain.zstd |= short == "zstd";
    match short {
        "zstd" | "gzip" | "zlib" => chain.compression = Some(short.to_owned()),
        "blosc" => {
            let inside = configuration.get("cname").and_then(Value::as_str);
            chain.compression = Some(match inside {
                Some(inside) => format!("blosc ({inside})"),
                None => short.to_owned(),
            });
        }
        _ => (),
    }
    Ok(())
}

fn check_transpose(configuration: &Value, axes: usize) -> Result<(), Fault> {
    let Some(order) = configuration.get("order") else {
        return malformed("the codec transpose has no order");
    };
    if order.is_string() {
        return unsupported(
            format!("the order {order} of the codec transpose, of a draft of Zarr 3,"),
            "save the array again with a library of today",
        );
    }
    let places = order.as_array().into_iter().flatten().map(Value::as_u64);
    let mut places: Vec<Option<u64>> = places.collect();
    places.sort_unstable();
    if places.into_iter().eq((0..axes as u64).map(Some)) {
        return Ok(());
    }
    malformed("the order of the codec transpose does not name every axis once")
}

/// A list of lengths, none of them 0.
fn lengths(value: Option<&Value>, what: &str) -> Result<Vec<u64>, Fault> {
    let Some(list) = value.and_then(Value::as_array) else {
        return malformed(format!("the metadata have no {what}"));
    };
    let lengths: Option<Vec<u64>> = list.iter().map(Value::as_u64).collect();
    match lengths {
        Some(lengths) if lengths.iter().all(|length| *length > 0) => Ok(lengths),
        Some(_) => malformed(format!("a length in the {what} is 0, so there is no voxel")),
        None => malformed(format!("the {what} are not whole numbers")),
    }
}

fn product(lengths: &[u64]) -> Option<u64> {
    lengths.iter().try_fold(1_u64, |product, length| product.checked_mul(*length))
}

fn chunk_bytes(chunk: &[u64], stored: Stored) -> Result<u64, Fault> {
    match product(chunk).and_then(|voxels| voxels.checked_mul(stored.bytes())) {
        Some(bytes) if bytes <= MAX_CHUNK_BYTES => Ok(bytes),
        _ => Err(Fault::Limit(format!(
            "a chunk of {chunk:?} voxels is larger than {} GiB, which is the most that is decoded \
             at once; save the array in smaller chunks",
            MAX_CHUNK_BYTES >> 30
        ))),
    }
}

fn chunks_in_shard(shard: &[u64], chunk: &[u64]) -> Result<u64, Fault> {
    // A transposition before the shard permutes its axes: only the number is checked.
    let (Some(shard), Some(chunk)) = (product(shard), product(chunk)) else {
        return Err(Fault::Limit("a shard is too large".to_owned()));
    };
    match shard / chunk {
        0 => malformed("the chunks of a shard are larger than the shard"),
        count @ 1..=MAX_CHUNKS_IN_SHARD if shard.is_multiple_of(chunk) => Ok(count),
        1..=MAX_CHUNKS_IN_SHARD => malformed("a shard is no whole number of chunks"),
        count => Err(Fault::Limit(format!("a shard of {count} chunks is too large"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn array(metadata: Value) -> Description {
        let Value::Object(metadata) = metadata else { panic!("an object") };
        Description { version: 3, metadata, attributes: Map::new() }
    }

    fn sharded(shard: [u64; 2], chunk: [u64; 2], before: &[Value]) -> Value {
        let sharding = json!({"name": "sharding_indexed", "configuration": {
            "chunk_shape": chunk,
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "big"}},
                {"name": "blosc", "configuration": {"cname": "lz4"}}
            ],
            "index_codecs": [{"name": "bytes"}, {"name": "crc32c"}]
        }});
        let codecs: Vec<Value> = before.iter().cloned().chain([sharding]).collect();
        json!({
            "shape": [100, 200], "data_type": "uint16", "codecs": codecs,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}}
        })
    }

    #[test]
    fn chunks_of_a_shard_are_what_is_decoded() {
        let found = Coding::of(&array(sharded([40, 60], [10, 20], &[]))).unwrap();
        assert_eq!(found.decoded, 10 * 20 * 2);
        assert_eq!(found.outer, [40, 60]);
        assert_eq!((found.compression.as_str(), found.byte_order), ("blosc (lz4)", ByteOrder::Big));
        // Something before the shard: it is decoded whole.
        let turned = json!({"name": "transpose", "configuration": {"order": [1, 0]}});
        let found = Coding::of(&array(sharded([40, 60], [20, 10], &[turned]))).unwrap();
        assert_eq!(found.decoded, 40 * 60 * 2);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let order = json!({"name": "transpose", "configuration": {"order": [1, 1]}});
        for bad in [
            sharded([40, 60], [80, 20], &[]),
            sharded([40, 60], [7, 20], &[]),
            sharded([1 << 32, 1 << 32], [1, 1], &[]),
            sharded([1 << 20, 1 << 20], [1, 1], &[]),
            sharded([40, 60], [10, 20], &[order]),
            sharded([40, 60], [10, 20], &[json!({"name": "numcodecs.bz2"})]),
        ] {
            assert!(Coding::of(&array(bad.clone())).is_err(), "{bad}");
        }
    }
}
