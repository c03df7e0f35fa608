//! Volumes and all that is computed from them: pure functions on arrays.
//!
//! Axes are always (z, y, x). Nothing here opens a file, prints, reads a clock
//! or draws a random number without a seed. No result depends on the number of threads.
//!
//! A module uses only those named before it:
//!
//! | module | holds |
//! |---|---|
//! | [`grid`] | shapes and regions |
//! | [`voxel`] | the number types of voxels |
//! | [`volume`] | [`Volume`], the data every stage passes on |
//! | [`border`] | what an image is taken to be beyond its edge |
//! | [`tile`] | crop and pad rules, tiles with a halo |
//! | [`filter`] | median, Gaussian, CLAHE, distances, binary morphology |
//! | [`resample`] | spline zoom between voxel sizes |
//! | [`label`] | connected components, removing objects, filling holes |
//! | [`foreground`] | Otsu's threshold and the mask above it |
//! | [`standardise`] | whole-stack standardisation |
//! | [`simulate`] | paired stacks with truth |
//! | [`segment`] | nuclei by seeded watershed |
//! | [`cellpose`] | Cellpose's tiles, flows and masks, all but its network |
//! | [`measure`] | features of the objects of a label image |
//! | [`evaluate`] | scores of a prediction |

pub mod border;
pub mod cellpose;
pub mod evaluate;
pub mod filter;
pub mod foreground;
pub mod grid;
pub mod label;
mod lines;
pub mod measure;
mod reduce;
pub mod resample;
pub mod segment;
pub mod simulate;
pub mod standardise;
pub mod tile;
pub mod volume;
pub mod voxel;

pub use border::Border;
pub use grid::{Region, Shape};
pub use volume::Volume;
pub use voxel::Voxel;
