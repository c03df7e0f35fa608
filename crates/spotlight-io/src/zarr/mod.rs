//! OME-Zarr and plain Zarr: arrays of chunks in a folder or behind a web address.
//!
//! [`store`] finds the bytes of a key, in a folder or, through [`web`], over HTTP; [`node`] reads
//! what a path holds; [`contents`] lists the images below it (a plate, a well, a file of several
//! images, labels); [`ome`] and [`axes`] read what the metadata say of an image; [`codecs`] checks how
//! its chunks are encoded and [`array`] reads boxes of them; [`read`] gives all this the face of a
//! [`Source`](crate::source::Source). [`write`](mod@write) makes stores.
//!
//! Chunks are decoded by the crate `zarrs`. Nothing is handed to it that was not checked: sizes,
//! types and codecs before an array is opened, lengths and claims of chunks when they are fetched.
//!
//! References: the Zarr specifications 2 and 3, and OME-NGFF 0.1 to 0.5.

mod array;
mod axes;
mod codecs;
mod contents;
mod element;
mod lenient;
mod node;
mod ome;
mod read;
mod store;
mod web;
#[cfg(test)]
mod web_tests;
pub(crate) mod write;

use std::path::Path;

pub(crate) use read::{Images, read_array};

/// Whether a path is a web address (`http://`, `https://` or `s3://`) and not a file.
///
/// An address is read as a Zarr store. Take a path for what it is before joining or normalising
/// it: an address has two slashes in a row.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// assert!(spotlight_io::is_address(Path::new("https://example.org/plate.zarr/B/3/0")));
/// assert!(!spotlight_io::is_address(Path::new("plate.zarr/B/3/0")));
/// ```
#[must_use]
pub fn is_address(path: &Path) -> bool {
    let begins = |start: &str| path.to_str().is_some_and(|text| text.starts_with(start));
    ["http://", "https://", "s3://"].into_iter().any(begins)
}

/// Whether a folder is a Zarr group, or an array with no group around it.
pub(crate) fn is_image_folder(path: &Path) -> bool {
    let has = |folder: &Path, name: &str| folder.join(name).is_file();
    let named = |folder: &Path| {
        ["zarr.json", ".zarray", ".zgroup", ".zattrs"].iter().any(|name| has(folder, name))
    };
    let inside = path.parent().is_some_and(named);
    named(path) && !(inside && is_array(path))
}

fn is_array(path: &Path) -> bool {
    let store = store::Store::Folder(path.to_owned());
    path.join(".zarray").is_file()
        || matches!(node::read_node(&store), Ok(Some(node::Node::Array(_))))
}
