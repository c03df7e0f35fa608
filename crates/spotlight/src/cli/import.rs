//! `spotlight import`: turns an F-net that pytorch_fnet has trained into a model file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use spotlight_learn::Error;
use spotlight_learn::fnet::FnetOptions;
use spotlight_learn::loss::Loss;
use spotlight_learn::model_file::{ImportedFnet, Model, ModelManifest, Ranges, import_fnet};
use spotlight_learn::prepare::PrepareOptions;

use crate::cli::jobs::make_folder;
use crate::cli::{Context, failure, values, wrong_use};
use crate::record::input_files;

const EXAMPLES: &str = "\
Examples:
  spotlight import saved_models/dna/model.p -o dna.safetensors
  spotlight import model.p -o membrane.safetensors --spacing 0.29 --target-channel Membrane
  spotlight import model.p -o dna.safetensors --raw-range 90,4095 --standardised-range=-1.9,24
  spotlight predict dna.safetensors stack.ome.tif -o stained/";

/// The options of `spotlight import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Checkpoint of pytorch_fnet (model.p), or a state dictionary of its network
    #[arg(value_name = "CHECKPOINT")]
    pub input: PathBuf,
    /// Model file (.safetensors)
    #[arg(short, long, value_name = "MODEL")]
    pub output: PathBuf,
    /// Voxel size in µm along z, y, x that the network was trained at; pytorch_fnet's is the default
    #[arg(long, value_name = "Z,Y,X", default_value = "0.29", value_parser = values::spacing_um)]
    pub spacing: [f64; 3],
    /// Stain stacks of any voxel size as they are: the network was trained without resizing
    #[arg(long)]
    pub no_resample: bool,
    /// Name of the channel that the network reads
    #[arg(long, value_name = "NAME")]
    pub signal_channel: Option<String>,
    /// Name of the channel that the network predicts
    #[arg(long, value_name = "NAME")]
    pub target_channel: Option<String>,
    /// Least and greatest intensity of all training targets, as acquired
    #[arg(long, value_name = "MIN,MAX", value_parser = range, requires = "standardised_range", allow_hyphen_values = true)]
    pub raw_range: Option<[f64; 2]>,
    /// Least and greatest intensity of all training targets, standardised
    #[arg(long, value_name = "MIN,MAX", value_parser = range, requires = "raw_range", allow_hyphen_values = true)]
    pub standardised_range: Option<[f64; 2]>,
    /// Replace the model file if it exists
    #[arg(long)]
    pub overwrite: bool,
}

fn range(text: &str) -> Result<[f64; 2], String> {
    let parts: Option<Vec<f64>> = text
        .split(',')
        .map(|part| part.trim().parse().ok().filter(|value: &f64| value.is_finite()))
        .collect();
    match parts.as_deref() {
        Some([least, greatest]) if least < greatest => Ok([*least, *greatest]),
        _ => Err("expected two numbers, the smaller first, such as -1.9,24".to_owned()),
    }
}

/// Runs `spotlight import`.
///
/// # Errors
///
/// When the checkpoint holds no F-net, or the model file is in the way or cannot be written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let output = values::model_path(&options.output);
    if !output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) {
        return Err(wrong_use(
            format!("{} does not end in .safetensors, as model files do", output.display()),
            format!("write to {}", output.with_extension("safetensors").display()),
        ));
    }
    if !options.overwrite && output.symlink_metadata().is_ok() {
        return Err(wrong_use(
            format!("{} exists already", output.display()),
            "choose another output, or add --overwrite to replace it",
        ));
    }
    let imported = import_fnet(&options.input).map_err(|error| match error {
        Error::NotTorch { .. } | Error::NotAnFnet { .. } => failure(
            error.to_string(),
            "give the model.p that pytorch_fnet has saved, or a state dictionary of its network",
        ),
        other => other.into(),
    })?;
    let model = model(options, imported)?;
    if let Some(folder) = output.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    model.write(&output)?;
    let FnetOptions { width, depth, .. } = model.network.options;
    let parameters = model.network.parameters.len();
    let iterations = match model.manifest.iteration {
        Some(count) => format!(", {count} iterations"),
        None => String::new(),
    };
    context.print(&format!(
        "{}: F-net of width {width}, depth {depth}, {parameters} parameters{iterations}\n",
        output.display()
    ))
}

/// The network with what the options and the checkpoint tell of it; what nobody tells is left out.
fn model(options: &Options, imported: ImportedFnet) -> Result<Model> {
    let ImportedFnet { network, iteration, settings } = imported;
    let files = input_files([options.input.as_path()])?;
    let name = options.input.file_name().map(|name| name.to_string_lossy().into_owned());
    let sha256 = files.first().map(|file| &file.sha256);
    let ranges = options.raw_range.zip(options.standardised_range).map(
        |([raw_min, raw_max], [standardised_min, standardised_max])| Ranges {
            raw_min,
            raw_max,
            standardised_min,
            standardised_max,
        },
    );
    let manifest = ModelManifest {
        network: network.options,
        prepare: PrepareOptions {
            spacing_um: options.spacing,
            resample: !options.no_resample,
            ..PrepareOptions::default()
        },
        loss: Loss::Mse,
        output_clip_min: None,
        ranges,
        signal_channel: options.signal_channel.clone(),
        target_channel: options.target_channel.clone(),
        iteration,
        program: format!("pytorch_fnet, imported by {}", ModelManifest::default().program),
        recipe: json!({
            "imported_from": { "file": name, "sha256": sha256, "pytorch_fnet": settings },
        }),
        ..ModelManifest::default()
    };
    Ok(Model { manifest, network })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers_in_order() {
        assert_eq!(range("-1.9, 24"), Ok([-1.9, 24.0]));
        for wrong in ["1", "2,1", "1,1", "1,2,3", "nan,1", "0,inf", "a,b", ""] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
