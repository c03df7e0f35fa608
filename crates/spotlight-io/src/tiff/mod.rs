//! TIFF and its dialects: OME-TIFF, ImageJ, tifffile's "shaped" files, plain pages.
//!
//! - [`directory`]: header and directories (one a plane), checked against the file's size;
//! - [`codec`], [`predictor`], [`packed`], [`plane`]: bytes of a plane to numbers;
//! - [`series`]: which planes form an array, [`imagej`], [`shaped`], [`plain`] and [`ome`]
//!   read that from the descriptions, [`nd_tiff`] from an index beside the files;
//! - [`read`]: the functions of the crate's face; [`write`](mod@write) and [`hyperstack`]:
//!   OME-TIFF out, [`tags`] its directories;
//! - [`page_axes`]: what the pages are where the file does not say it.
//!
//! References: TIFF 6.0 (Adobe 1992); `BigTIFF` (`AWare` Systems); Adobe Photoshop TIFF
//! Technical Note 3 (floating-point predictor); the OME-TIFF specification 2016-06.

pub(crate) mod codec;
pub(crate) mod directory;
pub(crate) mod hyperstack;
pub(crate) mod imagej;
pub(crate) mod nd_index;
pub(crate) mod nd_tiff;
pub(crate) mod ome;
pub(crate) mod packed;
pub(crate) mod page;
pub(crate) mod page_axes;
pub(crate) mod plain;
pub(crate) mod plane;
pub(crate) mod predictor;
pub(crate) mod read;
pub(crate) mod series;
pub(crate) mod shaped;
pub(crate) mod tags;
pub(crate) mod write;

pub(crate) use read::{is_set, read_array};
pub(crate) use series::Image;
