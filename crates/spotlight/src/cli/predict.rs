//! `spotlight predict`: stains transmitted-light stacks with a trained model.

use anyhow::Result;
use clap::Args;

use crate::cli::{Context, failure};

const EXAMPLES: &str = "\
Examples:
  spotlight predict run/model.safetensors new/*.tif -o stained";

/// The options of `spotlight predict`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Model file
    #[arg(value_name = "MODEL")]
    pub model: std::path::PathBuf,
    /// Transmitted-light stacks
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<std::path::PathBuf>,
    /// Folder for the stained stacks
    #[arg(short, long, value_name = "OUT")]
    pub output: std::path::PathBuf,
}

/// Runs `spotlight predict`.
///
/// # Errors
///
/// When the command cannot do its work.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let _ = (options, context);
    Err(failure("`spotlight predict` is not part of this build", ""))
}
