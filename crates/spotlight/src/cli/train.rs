//! `spotlight train`: trains a network on pairs of stacks.

use anyhow::Result;
use clap::Args;

use crate::cli::{Context, failure};

const EXAMPLES: &str = "\
Examples:
  spotlight train manifest.csv -o run";

/// The options of `spotlight train`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Table of the pairs of stacks
    #[arg(value_name = "MANIFEST.csv")]
    pub manifest: std::path::PathBuf,
    /// Folder of the run
    #[arg(short, long, value_name = "RUN")]
    pub output: std::path::PathBuf,
}

/// Runs `spotlight train`.
///
/// # Errors
///
/// When the command cannot do its work.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let _ = (options, context);
    Err(failure("`spotlight train` is not part of this build", ""))
}
