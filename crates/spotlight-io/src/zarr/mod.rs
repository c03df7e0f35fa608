//! OME-Zarr: images as folders of compressed chunks, with levels of lower resolution.

pub(crate) mod write;
