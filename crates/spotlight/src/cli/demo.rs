//! `spotlight demo`: everything once, on simulated stacks.

use anyhow::Result;
use clap::Args;

use crate::cli::{Context, failure};

const EXAMPLES: &str = "\
Examples:
  spotlight demo
  spotlight demo -o my-demo";

/// The options of `spotlight demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Folder for all results
    #[arg(short, long, value_name = "DIR", default_value = "spotlight-demo")]
    pub output: std::path::PathBuf,
}

/// Runs `spotlight demo`.
///
/// # Errors
///
/// When the command cannot do its work.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let _ = (options, context);
    Err(failure("`spotlight demo` is not part of this build", ""))
}
