//! `spotlight info`: describes image files and models.

use anyhow::Result;
use clap::Args;

use crate::cli::{Context, failure};

const EXAMPLES: &str = "\
Examples:
  spotlight info stack.tif run/model.safetensors";

/// The options of `spotlight info`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Files to describe
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<std::path::PathBuf>,
}

/// Runs `spotlight info`.
///
/// # Errors
///
/// When the command cannot do its work.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let _ = (options, context);
    Err(failure("`spotlight info` is not part of this build", ""))
}
