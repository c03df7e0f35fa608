//! `spotlight weights`: fetches published weights once and tells where they lie.
//!
//! The only command that uses the network, and only `weights fetch` does. The files lie in the
//! user's cache folder, each with its SHA-256 beside it as `sha256sum` writes it.

mod cache;
mod download;
mod fetch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::table::Table;

pub use cache::cached;
use cache::{cache_folder, fetched};

const EXAMPLES: &str = "\
Examples:
  spotlight weights fetch cellpose-nuclei
  spotlight weights fetch cellpose-nuclei --url https://mirror.example.org/nucleitorch_0
  spotlight weights list
  spotlight weights path cellpose-nuclei     the file, for scripts";

/// Weights that somebody has published.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// What commands call them.
    pub name: &'static str,
    /// Name of the file.
    pub file: &'static str,
    /// Where it was published.
    pub url: &'static str,
    /// What they are.
    pub about: &'static str,
}

/// All weights that can be fetched. No published checksum of any of them is known.
const PUBLISHED: [Published; 1] = [Published {
    name: "cellpose-nuclei",
    file: "nucleitorch_0",
    url: "https://www.cellpose.org/models/nucleitorch_0",
    about: "Cellpose's network for nuclei, of versions 1 to 3",
}];

/// The options of `spotlight weights`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What is done with weights.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Download published weights into the cache folder
    #[command(after_help = EXAMPLES)]
    Fetch(FetchOptions),
    /// List the weights that can be fetched, and where they are
    #[command(after_help = EXAMPLES)]
    List {
        /// Print one JSON array with an object for each
        #[arg(long)]
        json: bool,
    },
    /// Print the path of fetched weights
    #[command(after_help = EXAMPLES)]
    Path {
        /// Name of the weights
        #[arg(value_name = "NAME", value_parser = published)]
        weights: Published,
    },
}

/// The options of `spotlight weights fetch`.
#[derive(Debug, Args)]
pub struct FetchOptions {
    /// Name of the weights
    #[arg(value_name = "NAME", value_parser = published)]
    pub weights: Published,
    /// Take the file from this address
    #[arg(long, value_name = "URL", value_parser = address)]
    pub url: Option<String>,
    /// SHA-256 that the file must have
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub sha256: Option<String>,
    /// Fetch again what is there, and replace it if it has the same SHA-256
    #[arg(long)]
    pub overwrite: bool,
    /// Give up where no byte comes for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", hide = true, value_parser = seconds)]
    pub stall: Duration,
}

fn published(name: &str) -> Result<Published, String> {
    PUBLISHED.into_iter().find(|weights| weights.name == name).ok_or_else(|| {
        let names = PUBLISHED.map(|weights| weights.name);
        format!("expected one of: {}", names.join(", "))
    })
}

fn address(text: &str) -> Result<String, String> {
    if ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(text.to_owned());
    }
    Err("expected an address that begins with https:// or http://".to_owned())
}

fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("expected 64 hexadecimal digits".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

/// Runs `spotlight weights`.
///
/// # Errors
///
/// When weights cannot be fetched, are not the ones that were fetched before, or are not there.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    match &options.action {
        Action::Fetch(options) => {
            let path = fetch::fetch(options, context)?;
            context.print(&format!("{}\n", path.display()))
        }
        Action::List { json } => list(*json, context),
        Action::Path { weights } => context.print(&format!("{}\n", fetched(weights)?.display())),
    }
}

fn list(as_json: bool, context: &Context) -> Result<()> {
    let folder = cache_folder()?;
    let path = |weights: &Published| -> Option<PathBuf> {
        Some(folder.join(weights.file)).filter(|path| path.is_file())
    };
    if as_json {
        let object = |weights: &Published| {
            let Published { name, url, about, .. } = weights;
            json!({ "name": name, "url": url, "about": about, "path": path(weights) })
        };
        let objects: Vec<Value> = PUBLISHED.iter().map(object).collect();
        return context.print(&format!("{}\n", serde_json::to_string_pretty(&objects)?));
    }
    let mut table = Table::new(&["weights", "what", "file"]);
    table.rows.extend(PUBLISHED.iter().map(|weights| {
        let file =
            path(weights).map_or("not fetched".to_owned(), |path| path.display().to_string());
        vec![weights.name.to_owned(), weights.about.to_owned(), file]
    }));
    context.print(&table.text())
}
