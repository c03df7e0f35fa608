//! [`Node`]: what a path of a store holds, an array or a group, in Zarr 2 or 3.

use serde_json::{Map, Value};

use super::store::Store;
use crate::error::{Fault, malformed};

/// A file of metadata is not larger.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// What a path holds.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Array(Description),
    Group(Description),
}

/// The metadata of an array or a group.
#[derive(Clone, Debug)]
pub(super) struct Description {
    /// Version of Zarr: 2 or 3.
    pub(super) version: u8,
    /// All of it, without the attributes.
    pub(super) metadata: Map<String, Value>,
    /// What the writer says about it, such as the axes.
    pub(super) attributes: Map<String, Value>,
}

impl Description {
    /// The attributes of OME: in Zarr 3 they have a place of their own.
    pub(super) fn ome(&self) -> &Map<String, Value> {
        let own = self.attributes.get("ome").and_then(Value::as_object);
        own.filter(|_| self.version == 3).unwrap_or(&self.attributes)
    }
}

/// What a path holds; none where no file of metadata says it.
pub(super) fn read_node(store: &Store) -> Result<Option<Node>, Fault> {
    if let Some(mut metadata) = read_json(store, "zarr.json")? {
        let attributes = metadata.remove("attributes");
        return Ok(Some(of_version_3(metadata, attributes)?));
    }
    if let Some(metadata) = read_json(store, ".zarray")? {
        let attributes = read_json(store, ".zattrs")?.unwrap_or_default();
        return Ok(Some(Node::Array(Description { version: 2, metadata, attributes })));
    }
    let group = read_json(store, ".zgroup")?;
    let attributes = read_json(store, ".zattrs")?;
    if group.is_none() && attributes.is_none() {
        return Ok(None);
    }
    let attributes = attributes.unwrap_or_default();
    Ok(Some(Node::Group(Description { version: 2, metadata: Map::new(), attributes })))
}

fn of_version_3(metadata: Map<String, Value>, attributes: Option<Value>) -> Result<Node, Fault> {
    if metadata.get("zarr_format").and_then(Value::as_u64) != Some(3) {
        return malformed("zarr.json is not of Zarr version 3");
    }
    let attributes = match attributes {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(attributes)) => attributes,
        Some(_) => return malformed("the attributes in zarr.json are not an object"),
    };
    let kind = metadata.get("node_type").and_then(Value::as_str).map(str::to_owned);
    let description = Description { version: 3, metadata, attributes };
    match kind.as_deref() {
        Some("array") => Ok(Node::Array(description)),
        Some("group") => Ok(Node::Group(description)),
        _ => malformed("zarr.json says neither array nor group"),
    }
}

/// A JSON object; none where there is no such file.
fn read_json(store: &Store, key: &str) -> Result<Option<Map<String, Value>>, Fault> {
    let Some(bytes) = store.get(key, None, MAX_METADATA_BYTES)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) => malformed(format!("{key} is not a JSON object")),
        Err(error) => malformed(format!("{key} is not valid JSON ({error})")),
    }
}
