//! OME-XML, the description inside OME-TIFF files.
//!
//! Reference: the OME data model, <https://docs.openmicroscopy.org/ome-model/>, schemas
//! 2003-FC to 2016-06.

pub(crate) mod read;
pub(crate) mod write;

pub(crate) use read::{Document, PlaneBlock, check_nesting, parse};
