//! Microscope files and tables to volumes and back.
//!
//! [`read_stack`] gives one z-stack of one channel of a TIFF or CZI file, [`Image`] any box of one,
//! [`write_ome_tiff`] writes stacks that Fiji and Python open with axes, voxel size and channel
//! names, [`inspect`] says what a file holds, and [`manifest`] is the table of a dataset. Nothing is computed here beyond
//! decoding; whatever a file does not say (a voxel size, a channel's name) is left out and
//! never guessed.
//!
//! Every writer of the workspace goes through [`atomic`]: no output appears under its
//! final name before it is whole.

pub mod atomic;
mod czi;
mod error;
mod image;
pub mod manifest;
mod metadata;
mod ome_xml;
mod planes;
mod source;
pub mod table;
pub mod tensorboard;
mod tiff;
mod voxels;
mod zarr;

pub use error::Error;
pub use image::{Image, OpenStack, inspect, is_image_folder, is_pattern, read_array, read_stack};
pub use metadata::{AxisOrigin, ByteOrder, Dimension, ImageInfo, Storage};
pub use source::Layout;
pub use tiff::hyperstack::{PlaneIndex, write_ome_tiff_planes};
pub use tiff::page_axes::PageAxes;
pub use tiff::write::{
    Compression, OmeTiffWriter, OutputChannel, OutputForm, WriteOptions, write_ome_tiff,
};
pub use voxels::{ArrayData, Channel, SampleType, Selection, Stack, Voxels};
pub use zarr::is_address;
pub use zarr::write::{
    NgffVersion, ZarrChannel, ZarrCompression, ZarrLayout, ZarrOptions, ZarrWriter,
};
