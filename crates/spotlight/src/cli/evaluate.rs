//! `spotlight evaluate`: scores predictions against fluorescence stacks.

use anyhow::Result;
use clap::Args;

use crate::cli::{Context, failure};

const EXAMPLES: &str = "\
Examples:
  spotlight evaluate --prediction stained/a.ome.tif --target a_dna.tif";

/// The options of `spotlight evaluate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Predicted stack
    #[arg(long, value_name = "P")]
    pub prediction: std::path::PathBuf,
    /// Fluorescence stack
    #[arg(long, value_name = "T")]
    pub target: std::path::PathBuf,
}

/// Runs `spotlight evaluate`.
///
/// # Errors
///
/// When the command cannot do its work.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let _ = (options, context);
    Err(failure("`spotlight evaluate` is not part of this build", ""))
}
