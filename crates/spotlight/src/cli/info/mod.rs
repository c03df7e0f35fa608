//! `spotlight info`: describes image files, models, runs, manifests and the engine.

mod engine;
mod image;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use spotlight_image::Shape;
use spotlight_io::manifest::{Manifest, Row, Split};
use spotlight_io::{inspect, is_address, is_image_folder};
use spotlight_learn::fnet::FnetOptions;
use spotlight_learn::loss::Loss;
use spotlight_learn::model_file::{Model, ModelManifest, Ranges};
use spotlight_learn::prepare::TargetCentre;

use crate::cli::evaluate::target_centre;
use crate::cli::{Context, Outcome, failure, values};

const EXAMPLES: &str = "\
Examples:
  spotlight info stack.tif
  spotlight info 'plate.zarr/*/*/*'         the fields of a plate
  spotlight info run
  spotlight info manifest.csv 'plate/*.tif' --json
  spotlight info --engine                   how this machine computes the layers of F-net
  spotlight info --engine run --batch 24    and those of a model, in training";

/// The options of `spotlight info`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Images (files, Zarr and NDTiff folders, addresses, names with fields such as img_z{z}.tif),
    /// model files, folders of runs, manifests (.csv); patterns with * and ?
    #[arg(value_name = "PATH", required_unless_present = "engine")]
    pub paths: Vec<PathBuf>,
    /// Describe the compute engine, and how it computes the layers of the models given
    #[arg(long)]
    pub engine: bool,
    /// Voxels along z, y, x of the image that the layers work on
    #[arg(long, value_name = "Z,Y,X", default_value = "32,64,64", value_parser = values::shape, requires = "engine")]
    pub patch: Shape,
    /// Number of images that the layers work on at a time
    #[arg(long, value_name = "N", default_value = "1", requires = "engine")]
    pub batch: NonZeroUsize,
    /// Print one JSON array with an object for each path
    #[arg(long)]
    pub json: bool,
}

/// What is known of one path: lines for a person, an object for a machine.
#[derive(Clone, Debug)]
struct Description {
    lines: Vec<(&'static str, String)>,
    object: Value,
}

/// Runs `spotlight info`.
///
/// # Errors
///
/// When a path cannot be described; the others are described nevertheless.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    if options.engine {
        let batch = options.batch.get();
        let (text, objects) = engine::describe(&options.paths, options.patch, batch, context)?;
        return if options.json {
            context.print(&format!("{}\n", serde_json::to_string_pretty(&objects)?))
        } else {
            context.print(&text)
        };
    }
    let paths = values::files(&options.paths)?;
    let (mut text, mut objects, mut problems) = (String::new(), Vec::new(), Vec::new());
    for path in &paths {
        match describe(path) {
            Ok(Description { lines, mut object }) => {
                object["path"] = json!(path);
                objects.push(object);
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&describe_lines(&path.display().to_string(), &lines));
            }
            Err(error) => {
                let message = Outcome::of(&error).message.unwrap_or_default();
                objects.push(json!({ "path": path, "kind": "error", "error": message }));
                problems.push(error);
            }
        }
    }
    if options.json {
        text = format!("{}\n", serde_json::to_string_pretty(&objects)?);
    }
    context.print(&text)?;
    let failed = problems.len();
    match problems.into_iter().next() {
        None => Ok(()),
        Some(only) if failed == 1 => Err(only),
        Some(first) => Err(first.context(format!("{failed} of {} paths failed", paths.len()))),
    }
}

fn describe(path: &Path) -> Result<Description> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let model = values::model_path(path);
    match ending.as_str() {
        _ if is_address(path) => Ok(image::describe(&inspect(path)?)),
        "csv" => describe_manifest(path),
        "safetensors" => describe_model(path),
        _ if path.is_dir() && model.is_file() => describe_model(&model),
        _ if path.is_dir() && !is_store(path) => Err(failure(
            format!("{} is a folder without model.safetensors", path.display()),
            "name the files in it, such as with a pattern",
        )),
        _ => Ok(image::describe(&inspect(path)?)),
    }
}

/// Whether a folder is an image, or a level of one.
fn is_store(path: &Path) -> bool {
    let is_array = ["zarr.json", ".zarray"].iter().any(|name| path.join(name).is_file());
    is_array || is_image_folder(path)
}

fn describe_lines(title: &str, lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{title}\n");
    for (name, value) in lines {
        text.push_str(&format!("  {name:<width$}  {value}\n"));
    }
    text
}

fn describe_manifest(path: &Path) -> Result<Description> {
    let rows = Manifest::read(path)?.rows;
    let count = |split| rows.iter().filter(|row| row.split == split).count();
    let splits = [Some(Split::Train), Some(Split::Validate), Some(Split::Test), None].map(count);
    let missing: Vec<&PathBuf> =
        rows.iter().flat_map(files_of).filter(|f| !values::may_exist(f)).collect();
    let masks = rows.iter().filter(|row| row.mask.is_some()).count();
    let [train, validate, test, none] = splits;
    let mut lines = vec![
        ("manifest", format!("{} pairs, {masks} with a mask", rows.len())),
        ("split", format!("{train} train, {validate} validate, {test} test, {none} without")),
    ];
    lines.extend(missing.iter().map(|file| ("missing", file.display().to_string())));
    let object = json!({
        "kind": "manifest",
        "pairs": rows.len(),
        "masks": masks,
        "splits": { "train": train, "validate": validate, "test": test, "none": none },
        "missing": missing,
    });
    Ok(Description { lines, object })
}

fn files_of(row: &Row) -> impl Iterator<Item = &PathBuf> {
    [Some(&row.signal), Some(&row.target), row.mask.as_ref()].into_iter().flatten()
}

fn describe_model(path: &Path) -> Result<Description> {
    let model = Model::read(path)?;
    let (manifest, network) = (&model.manifest, &model.network);
    let parameters = network.parameters.len();
    let [z, y, x] = manifest.prepare.spacing_um;
    let loss = match &manifest.loss {
        Loss::Mse => "mean squared error (F-net)".to_owned(),
        Loss::Spotlight(options) => {
            format!("Spotlight, lambda {}, k {}", options.lambda_mse, options.sigmoid_k)
        }
    };
    let clip =
        manifest.output_clip_min.map_or("no clip".to_owned(), |min| format!("clipped at {min}"));
    let channel = |name: &Option<String>| name.clone().unwrap_or_else(|| "unnamed".to_owned());
    let (signal, target) = (channel(&manifest.signal_channel), channel(&manifest.target_channel));
    let FnetOptions { width, depth, .. } = manifest.network;
    let lines = vec![
        ("model", format!("F-net of width {width}, depth {depth}: {parameters} parameters")),
        ("stains", format!("{signal} to {target}")),
        ("voxel size", format!("{z} x {y} x {x} µm (z, y, x)")),
        ("loss", loss),
        ("trained", trained(manifest)),
        ("output", format!("standard deviations from the {}, {clip}", centre_name(manifest))),
        ("intensities", intensities(manifest.ranges)),
        ("inputs", inputs(manifest.inputs_sha256.len())),
        ("made by", manifest.program.clone()),
    ];
    let object = json!({
        "kind": "model",
        "parameters": parameters,
        "manifest": manifest,
    });
    Ok(Description { lines, object })
}

fn trained(manifest: &ModelManifest) -> String {
    let told = |number: Option<u64>| number.map_or("unknown".to_owned(), |n| n.to_string());
    format!("{} iterations, seed {}", told(manifest.iteration), told(manifest.seed))
}

fn inputs(count: usize) -> String {
    match count {
        0 => "unknown".to_owned(),
        count => format!("{count} files, known by their SHA-256"),
    }
}

fn intensities(ranges: Option<Ranges>) -> String {
    let Some(Ranges { raw_min, raw_max, standardised_min: low, standardised_max: high }) = ranges
    else {
        return "of the training unknown: no evaluation with --model".to_owned();
    };
    format!("{raw_min} to {raw_max} raw, {low:.3} to {high:.3} standardised")
}

fn centre_name(manifest: &ModelManifest) -> &'static str {
    match target_centre(manifest) {
        TargetCentre::Mean => "mean of the target",
        TargetCentre::Threshold => "foreground threshold of the target",
    }
}
