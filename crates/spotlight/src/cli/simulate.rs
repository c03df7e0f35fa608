//! `spotlight simulate`: writes simulated pairs of stacks.

use anyhow::Result;
use clap::Args;

use crate::cli::{Context, failure};

const EXAMPLES: &str = "\
Examples:
  spotlight simulate -o simulated --pairs 8";

/// The options of `spotlight simulate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Folder for the stacks and the manifest
    #[arg(short, long, value_name = "DIR")]
    pub output: std::path::PathBuf,
}

/// Runs `spotlight simulate`.
///
/// # Errors
///
/// When the command cannot do its work.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let _ = (options, context);
    Err(failure("`spotlight simulate` is not part of this build", ""))
}
