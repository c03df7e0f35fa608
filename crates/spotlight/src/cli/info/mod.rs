//! `spotlight info`: describes image files, models, runs, manifests and the engine.

mod engine;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use spotlight_image::Shape;
use spotlight_io::manifest::{Manifest, Row, Split};
use spotlight_io::{ByteOrder, ImageInfo, Storage, inspect};
use spotlight_learn::fnet::FnetOptions;
use spotlight_learn::loss::Loss;
use spotlight_learn::model_file::{Model, ModelManifest, Ranges};
use spotlight_learn::prepare::TargetCentre;

use crate::cli::evaluate::target_centre;
use crate::cli::{Context, Outcome, failure, values};

const EXAMPLES: &str = "\
Examples:
  spotlight info stack.tif
  spotlight info run
  spotlight info manifest.csv 'plate/*.tif' --json
  spotlight info --engine                   how this machine computes the layers of F-net
  spotlight info --engine run --batch 24    and those of a model, in training";

/// The options of `spotlight info`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Image files, model files, folders of runs, manifests (.csv); patterns with * and ?
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
        "csv" => describe_manifest(path),
        "safetensors" => describe_model(path),
        _ if path.is_dir() && model.is_file() => describe_model(&model),
        _ if path.is_dir() => Err(failure(
            format!("{} is a folder without model.safetensors", path.display()),
            "name the files in it, such as with a pattern",
        )),
        _ => Ok(describe_image(&inspect(path)?)),
    }
}

fn describe_lines(title: &str, lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{title}\n");
    for (name, value) in lines {
        text.push_str(&format!("  {name:<width$}  {value}\n"));
    }
    text
}

fn describe_image(info: &ImageInfo) -> Description {
    let order = match info.byte_order {
        ByteOrder::Little => "little-endian",
        ByteOrder::Big => "big-endian",
    };
    let shape: Vec<String> = info.shape.iter().map(ToString::to_string).collect();
    let spacing = match (info.spacing_um, info.partial_spacing_um) {
        (Some([z, y, x]), _) => format!("{z} x {y} x {x} µm (z, y, x)"),
        (None, [None, None, None]) => "not given".to_owned(),
        (None, partial) => {
            let parts = partial.map(|um| um.map_or_else(|| "?".to_owned(), |um| um.to_string()));
            format!("{} µm (z, y, x), incomplete", parts.join(" x "))
        }
    };
    let mut lines = vec![
        ("image", format!("{}, {}", info.format, describe_storage(info, order))),
        ("axes", format!("{} {}, {}", info.axes, shape.join(" x "), info.sample_type)),
        ("channels", info.channel_names.join(", ")),
        ("voxel size", spacing),
    ];
    if info.series.len() > 1 {
        lines.push(("images", format!("{} in this file", info.series.len())));
    }
    lines.extend(info.warnings.iter().map(|warning| ("note", warning.clone())));
    let mut object = json!({
        "kind": "image",
        "format": info.format,
        "axes": info.axes,
        "shape": info.shape,
        "type": info.sample_type.name(),
        "channels": info.channel_names,
        "spacing_um": info.spacing_um,
        "partial_spacing_um": info.partial_spacing_um,
        "times": info.times,
        "series": info.series,
        "levels": info.levels,
        "byte_order": order,
        "compression": info.compression,
        "warnings": info.warnings,
    });
    let fields = match &info.storage {
        Storage::Tiff { pages, big, predictor, tile } => {
            json!({ "pages": pages, "big": big, "predictor": predictor, "tile": tile })
        }
        Storage::Zarr { version, chunk, shard } => {
            json!({ "zarr_version": version, "chunk": chunk, "shard": shard })
        }
        Storage::Czi { sub_blocks } => json!({ "sub_blocks": sub_blocks }),
    };
    for (name, value) in fields.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
    Description { lines, object }
}

/// How the voxels are stored, in words.
fn describe_storage(info: &ImageInfo, order: &str) -> String {
    let compression = &info.compression;
    let by =
        |lengths: &[usize]| lengths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
    match &info.storage {
        Storage::Tiff { pages, big, predictor, tile } => {
            let mut text = format!("{pages} planes, {order}, compression {compression}");
            if *predictor > 1 {
                text.push_str(&format!(" with predictor {predictor}"));
            }
            if let Some(tile) = tile {
                text.push_str(&format!(", tiles of {}", by(tile)));
            }
            if *big {
                text.push_str(", BigTIFF");
            }
            text
        }
        Storage::Zarr { version, chunk, shard } => {
            let mut text = format!(
                "Zarr {version}, {order}, compression {compression}, chunks of {}",
                by(chunk)
            );
            if let Some(shard) = shard {
                text.push_str(&format!(" in shards of {}", by(shard)));
            }
            text
        }
        Storage::Czi { sub_blocks } => {
            format!("{sub_blocks} sub-blocks, {order}, compression {compression}")
        }
    }
}

fn describe_manifest(path: &Path) -> Result<Description> {
    let rows = Manifest::read(path)?.rows;
    let count = |split| rows.iter().filter(|row| row.split == split).count();
    let splits = [Some(Split::Train), Some(Split::Validate), Some(Split::Test), None].map(count);
    let missing: Vec<&PathBuf> = rows.iter().flat_map(files_of).filter(|f| !f.exists()).collect();
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
