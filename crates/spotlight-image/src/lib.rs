//! Volumes and all that is computed from them: pure functions on arrays.
//!
//! Axes are always (z, y, x). Nothing here opens a file, prints, reads a clock
//! or draws a random number without a seed.
//!
//! | module | holds |
//! |---|---|
//! | [`grid`] | shapes, regions, voxel sizes |
//! | [`volume`] | [`Volume`], the data every stage passes on |
//! | [`tile`] | crop and pad rules, tiles with a halo |
//! | [`resample`] | spline zoom between voxel sizes |
//! | [`filter`] | median and Gaussian |
//! | [`foreground`] | Otsu's threshold and the mask above it |
//! | [`standardise`] | whole-stack standardisation |
//! | [`simulate`] | paired stacks with truth |
//! | [`evaluate`] | scores of a prediction |

pub mod evaluate;
pub mod filter;
pub mod foreground;
pub mod grid;
pub mod resample;
pub mod simulate;
pub mod standardise;
pub mod tile;
pub mod volume;

pub use grid::{Region, Shape};
pub use volume::Volume;
