//! `spotlight segment`: finds the nuclei of fluorescence stacks, measured or predicted.

mod cellpose;
mod options;
mod preview;
mod run;
mod streamed;

pub use options::{Method, Options};
pub use run::run;

pub(super) use options::recipe;
pub(super) use run::missing_spacing;
