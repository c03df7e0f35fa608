//! Recipes: one TOML file holds every setting of a command, and flags override it.
//!
//! A section is an option struct of the library, or one of the program's own.
//!
//! | recipe | of | sections |
//! |---|---|---|
//! | [`RunRecipe`] | `spotlight train` | network, prepare, sample, loss, train; data, split |
//! | [`SegmentRecipe`] | `spotlight segment` | grid, prepare, watershed, cellpose, cleanup |

mod cellpose;
mod run;
mod segment;
mod settings;

pub use cellpose::CellposeSettings;
pub use run::{DataOptions, RunRecipe, SeededSplit, SplitOptions};
pub use segment::{GridOptions, GridScale, GridSpacing, SegmentRecipe};
pub use settings::{Setting, assignment, read_settings};
