//! The options of `spotlight segment`, and the recipe that they make.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use spotlight_io::Channel;
use spotlight_io::manifest::Split;

use crate::cli::{values, wrong_use};
use crate::recipe::{SegmentRecipe, assignment, read_settings};

const EXAMPLES: &str = "\
Examples:
  spotlight segment stained/*.ome.tif -o labels
  spotlight segment dna.tif -o nuclei.ome.tif --spacing 0.29,0.108,0.108
  spotlight segment brightfield.tif -o labels --model run      stain it first
  spotlight segment --manifest manifest.csv --split test -o labels -c tuned.toml
  spotlight segment dna.tif -o labels --set watershed.ball_radius=7
  spotlight segment dna.tif -o labels --method cellpose        after spotlight weights fetch
  spotlight segment dna.tif -o labels --method cellpose --weights my_nuclei_model";

/// The options of `spotlight segment`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Fluorescence stacks, or with --model transmitted-light stacks; * and ? are understood
    #[arg(value_name = "IMAGE", required_unless_present = "manifest")]
    pub inputs: Vec<PathBuf>,
    /// Folder for the label images, or a .tif file for one input
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// How nuclei are found
    #[arg(long, value_name = "METHOD", default_value = "watershed")]
    pub method: Method,
    /// Weights of a Cellpose network, a file or the name of fetched ones [default: cellpose-nuclei]
    #[arg(long, value_name = "FILE|NAME")]
    pub weights: Option<PathBuf>,
    /// File (TOML) with settings, such as tune writes it
    #[arg(short = 'c', long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Any setting of the recipe; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Stain the stacks with this model first
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Segment the fluorescence stacks of this manifest, with --model the transmitted-light ones
    #[arg(long, value_name = "CSV", conflicts_with_all = ["inputs", "channel"])]
    pub manifest: Option<PathBuf>,
    /// Only the rows of the manifest with this split: train, validate or test
    #[arg(long, value_name = "SPLIT", requires = "manifest", conflicts_with = "inputs")]
    pub split: Option<Split>,
    /// Channel of the stacks, by name or by number from 0
    #[arg(long, value_name = "NAME", value_parser = values::channel)]
    pub channel: Option<Channel>,
    /// Voxel size of the stacks in µm along z, y, x, in place of what the files say
    #[arg(long, value_name = "Z,Y,X", value_parser = values::spacing_um)]
    pub spacing: Option<[f64; 3]>,
    /// Write the labels on the grid they were found on, not on that of the stack
    #[arg(long)]
    pub keep_grid: bool,
    /// Write a picture (PNG) with the outlines of the nuclei beside each label image
    #[arg(long)]
    pub preview: bool,
    /// Memory that may be taken; a stack that needs more is read box by box
    #[arg(long, value_name = "AMOUNT", default_value = "4GiB", value_parser = values::bytes)]
    pub memory: u64,
    /// Print a summary as JSON in place of the names of the files
    #[arg(long)]
    pub json: bool,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// A way to find nuclei.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Threshold, distance to the background, seeded watershed
    Watershed,
    /// Cellpose's network on planes of three orientations
    Cellpose,
}

impl Method {
    /// Its name, which is that of its section of the recipe too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Watershed => "watershed",
            Self::Cellpose => "cellpose",
        }
    }
}

impl Options {
    /// The recipe: the settings of the file, then those of `--set`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a setting is wrong or that of another method.
    pub fn recipe(&self) -> Result<SegmentRecipe> {
        let recipe = recipe(self.recipe.as_deref(), &self.set)?;
        // A file may have both methods; what is said here and now should do something.
        for other in Method::value_variants().iter().filter(|other| **other != self.method) {
            let section = format!("{}.", other.name());
            if let Some(text) = self.set.iter().find(|text| text.trim().starts_with(&section)) {
                return Err(wrong_use(
                    format!("--set {text} has no meaning with --method {}", self.method.name()),
                    format!("leave it out, or choose --method {}", other.name()),
                ));
            }
        }
        Ok(recipe)
    }

    /// Refuses weights for a method that has none.
    ///
    /// # Errors
    ///
    /// If `--weights` is given without `--method cellpose`.
    pub fn check_weights(&self) -> Result<()> {
        if self.weights.is_some() && self.method != Method::Cellpose {
            return Err(wrong_use(
                "--weights has no meaning without --method cellpose",
                "add --method cellpose, or leave --weights out",
            ));
        }
        Ok(())
    }
}

/// The recipe of a file and of further settings, written as `section.key=value`.
///
/// # Errors
///
/// If the file cannot be read or a setting is wrong.
pub(in crate::cli) fn recipe(file: Option<&Path>, set: &[String]) -> Result<SegmentRecipe> {
    let mut settings = file.map_or_else(|| Ok(Vec::new()), read_settings)?;
    for text in set {
        settings.push(assignment(text)?);
    }
    SegmentRecipe::new(&settings)
}
