//! Foreground-aware 3D virtual staining: the library behind the `spotlight` program.
//!
//! The four rooms below do the work and are re-exported whole. This crate adds
//! what only a program needs: one file per command ([`cli`]),
//! with the picture of several volumes side by side ([`montage`]) and tables as text
//! ([`table`]).

pub mod cli;
pub mod montage;
pub mod pairs;
pub mod progress;
pub mod recipe;
pub mod record;
pub mod scores;
pub mod table;

pub use spotlight_engine as engine;
pub use spotlight_image as image;
pub use spotlight_io as io;
pub use spotlight_learn as learn;
