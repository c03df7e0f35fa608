//! CZI, the format of ZEISS microscopes.
//!
//! A file is a sequence of segments; the directory lists the sub-blocks, each a tile of one
//! plane, by their positions along named dimensions.
//!
//! - [`segment`]: the file's header and parts of it, checked against its length;
//! - [`directory`]: the entries of the directory; [`pixel`]: what a pixel and a compression are;
//! - [`scene`]: which entries form an image; [`metadata`]: names and the voxel size;
//! - [`sub_block`]: bytes of a tile to numbers; [`read`]: boxes of planes.
//!
//! Reference: ZEISS ZISRAW (CZI) file format specification 1.2.2; where it is silent, what
//! libCZI does.

mod directory;
mod metadata;
mod pixel;
mod read;
mod scene;
mod segment;
mod sub_block;

pub(crate) use read::{Image, read_array};
