//! [`find_images`]: the images at and below a path of a store.
//!
//! ```text
//! array                       itself
//! group with `plate`          every field of every well, named B/3/0
//!            `well`           its fields
//!            `multiscales`    itself
//!            `bioformats2raw.layout`   the series 0, 1, ... or those that OME/ lists
//!            `labels`         every label image
//! ```

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::node::{Description, Node, read_node};
use super::store::{Store, checked_path};
use crate::error::{Fault, malformed, unsupported};

/// More images than any plate has.
const MAX_IMAGES: usize = 1_000_000;

/// The place of one image.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its path below the one that was opened; empty for that itself.
    pub(super) name: String,
    pub(super) store: Store,
    /// What is there, where that was read already.
    pub(super) node: Option<Node>,
}

/// The images at and below a path, and what a user should know.
#[derive(Clone, Debug)]
pub(super) struct Images {
    pub(super) all: Vec<Found>,
    pub(super) warnings: Vec<String>,
}

/// The images at and below a path.
pub(super) fn find_images(store: &Store) -> Result<Images, Fault> {
    let Some(node) = read_node(store)? else {
        return unsupported(
            "a folder without Zarr metadata (zarr.json, .zarray, .zgroup)",
            "name a TIFF file, or the folder of a Zarr store that is whole",
        );
    };
    let itself = |node| Found { name: String::new(), store: store.clone(), node: Some(node) };
    let Node::Group(group) = &node else {
        return Ok(Images { all: vec![itself(node)], warnings: Vec::new() });
    };
    let ome = group.ome();
    let images = if let Some(plate) = ome.get("plate") {
        plate_images(store, plate)?
    } else if let Some(well) = ome.get("well") {
        of_paths(store, &paths(well, "images")?)?
    } else if ome.contains_key("multiscales") {
        return Ok(Images { all: vec![itself(node)], warnings: Vec::new() });
    } else if ome.contains_key("bioformats2raw.layout") {
        numbered_images(store)?
    } else if let Some(labels) = names(ome, "labels") {
        of_paths(store, &labels)?
    } else {
        return malformed(no_image(store, group));
    };
    match images.all.len() {
        0 => malformed("the store lists no image"),
        1..=MAX_IMAGES => Ok(images),
        many => Err(Fault::Limit(format!("the store lists {many} images"))),
    }
}

fn no_image(store: &Store, group: &Description) -> String {
    let ome = if group.ome().is_empty() { "says nothing" } else { "names no image" };
    let names = store.names();
    let below = match names.as_slice() {
        [] => "there is nothing below it".to_owned(),
        names => {
            let some: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
            let more = if names.len() > 8 { ", ..." } else { "" };
            format!("open one of the paths below it: {}{more}", some.join(", "))
        }
    };
    format!("the Zarr group {ome} (no multiscales, plate, well or labels); {below}")
}

fn of_paths(store: &Store, paths: &[String]) -> Result<Images, Fault> {
    let found = |path: &String| {
        let path = checked_path(path)?;
        Ok(Found { name: path.to_owned(), store: store.below(path), node: None })
    };
    let all = paths.iter().map(found).collect::<Result<_, Fault>>()?;
    Ok(Images { all, warnings: Vec::new() })
}

/// Every field of every well, in the order of the plate.
fn plate_images(store: &Store, plate: &Value) -> Result<Images, Fault> {
    let wells = paths(plate, "wells")?;
    let fields: Vec<Option<Vec<Found>>> =
        wells.par_iter().map(|path| fields(store, path)).collect::<Result<_, Fault>>()?;
    let missing = wells.iter().zip(&fields).filter(|(_, fields)| fields.is_none());
    let warnings = missing.map(|(path, _)| format!("the well {path} is listed and not there"));
    let warnings = warnings.collect();
    Ok(Images { all: fields.into_iter().flatten().flatten().collect(), warnings })
}

/// The fields of a well; none where the well is not there.
fn fields(store: &Store, path: &str) -> Result<Option<Vec<Found>>, Fault> {
    let path = checked_path(path)?;
    let well = store.below(path);
    let Some(node) = read_node(&well).map_err(|fault| fault.within(path))? else {
        return Ok(None);
    };
    let Node::Group(group) = node else { return malformed(format!("{path} is not a well")) };
    let Some(images) = group.ome().get("well") else {
        return malformed(format!("{path} has no metadata of a well"));
    };
    let mut fields = of_paths(&well, &paths(images, "images")?)?.all;
    for field in &mut fields {
        field.name = format!("{path}/{}", field.name);
    }
    Ok(Some(fields))
}

/// The series of a file that bioformats2raw converted.
fn numbered_images(store: &Store) -> Result<Images, Fault> {
    if let Some(Node::Group(group)) = read_node(&store.below("OME"))?
        && let Some(series) = names(group.ome(), "series")
    {
        return of_paths(store, &series);
    }
    let mut all = Vec::new();
    for number in 0..MAX_IMAGES {
        let name = number.to_string();
        let store = store.below(&name);
        let Some(node) = read_node(&store).map_err(|fault| fault.within(&name))? else { break };
        all.push(Found { name, store, node: Some(node) });
    }
    Ok(Images { all, warnings: Vec::new() })
}

/// The `path` of every object in a list.
fn paths(parent: &Value, list: &str) -> Result<Vec<String>, Fault> {
    let Some(entries) = parent.get(list).and_then(Value::as_array) else {
        return malformed(format!("the metadata have no list of {list}"));
    };
    let path = |entry: &Value| entry.get("path").and_then(Value::as_str).map(str::to_owned);
    let paths: Option<Vec<String>> = entries.iter().map(path).collect();
    paths.map_or_else(|| malformed(format!("one of the {list} has no path")), Ok)
}

/// A list of names; none where it is absent or empty.
fn names(parent: &Map<String, Value>, list: &str) -> Option<Vec<String>> {
    let entries = parent.get(list)?.as_array()?;
    let names: Vec<String> = entries.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    (!names.is_empty()).then_some(names)
}
