//! Writes OME-Zarr block by block: any size in bounded memory, resumable after a kill.
//!
//! [`ZarrWriter`] takes a [`ZarrLayout`] and writes whole units (shards) of level 0 as they
//! come; the lower levels, the metadata and the final name follow in the end. Formats:
//! OME-Zarr 0.5 (<https://ngff.openmicroscopy.org/0.5/>) on Zarr 3 and OME-Zarr 0.4 on Zarr 2.

mod folder;
mod labels;
mod layout;
mod level;
mod metadata;
mod options;
mod plan;
mod progress;
mod pyramid;
mod reduce;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod store_tests;
mod writer;

pub use layout::{ZarrChannel, ZarrLayout};
pub use options::{NgffVersion, ZarrCompression, ZarrOptions};
pub use writer::ZarrWriter;
