//! `spotlight evaluate`: scores predictions against fluorescence stacks.
//!
//! With a model, target and prediction are compared in the model's own space: the target
//! is standardised as for training, and one and the same map, that from the standardised
//! to the raw intensities of the training set, is applied to both. Without a model the
//! stacks are compared as they are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use spotlight_image::Volume;
use spotlight_image::foreground::{OtsuRecipe, threshold};
use spotlight_image::resample::{Order, zoom, zoom_shape};
use spotlight_image::standardise::{moments, standardise};
use spotlight_io::{Channel, Selection, Stack, atomic, read_stack};
use spotlight_learn::loss::Loss;
use spotlight_learn::model_file::{Model, ModelManifest};
use spotlight_learn::prepare::TargetCentre;

use crate::cli::{Context, failure, values, wrong_use};
use crate::progress::Progress;
use crate::scores::{Comparison, HEADINGS, Intensity, NAMES, Scores, score};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  spotlight evaluate --prediction stained/a.ome.tif --target a_dna.tif --model run
  spotlight evaluate --prediction stained/*.tif --target dna/*.tif --model run -o scores.csv
  spotlight evaluate --prediction a.tif --target b.tif --mask nuclei.tif --json";

/// The options of `spotlight evaluate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Predicted stacks; patterns with * and ? are understood
    #[arg(long, value_name = "P", required = true, num_args = 1..)]
    pub prediction: Vec<PathBuf>,
    /// Fluorescence stacks, in the order of the predictions
    #[arg(long, value_name = "T", required = true, num_args = 1..)]
    pub target: Vec<PathBuf>,
    /// True foreground (voxels above 0), in the order of the predictions
    #[arg(long, value_name = "M", num_args = 1..)]
    pub mask: Vec<PathBuf>,
    /// Model that made the predictions, or the folder of its run
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Channel of the targets, by name or by number from 0
    #[arg(long, value_name = "NAME", value_parser = values::channel)]
    pub channel: Option<Channel>,
    /// Threshold of the target without a model: smooth or plain
    #[arg(long, value_name = "HOW", default_value = "smooth", value_parser = otsu, conflicts_with = "model")]
    pub otsu: OtsuRecipe,
    /// Table of the scores, one row for each prediction
    #[arg(short, long, value_name = "CSV")]
    pub output: Option<PathBuf>,
    /// Print the scores as JSON
    #[arg(long)]
    pub json: bool,
    /// Replace the table if it exists
    #[arg(long)]
    pub overwrite: bool,
}

fn otsu(text: &str) -> Result<OtsuRecipe, String> {
    match text {
        "smooth" => Ok(OtsuRecipe::Smooth),
        "plain" => Ok(OtsuRecipe::Plain),
        _ => Err("expected smooth or plain".to_owned()),
    }
}

/// One prediction with its scores.
#[derive(Clone, Debug)]
pub struct Scored {
    /// What the row is called.
    pub name: String,
    /// The scores.
    pub scores: Scores,
}

/// Runs `spotlight evaluate`.
///
/// # Errors
///
/// When the stacks cannot be read or do not fit together, or the table cannot be written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let predictions = values::files(&options.prediction)?;
    let targets = values::files(&options.target)?;
    let masks = values::files(&options.mask)?;
    check_counts(predictions.len(), targets.len(), masks.len())?;
    if let Some(output) = &options.output {
        atomic::check_free(output, options.overwrite)?;
    }
    let model =
        options.model.as_deref().map(|path| Model::read(&values::model_path(path))).transpose()?;
    let manifest = model.as_ref().map(|model| &model.manifest);

    let mut scored = Vec::with_capacity(predictions.len());
    let mut progress = Progress::new(context, "evaluate", predictions.len() as u64);
    for (index, prediction) in predictions.iter().enumerate() {
        let name = prediction.display().to_string();
        progress.set(index as u64, &name);
        let scores = evaluate(
            prediction,
            (&targets[index], options.channel.clone()),
            masks.get(index).map(PathBuf::as_path),
            manifest.map_or(Space::Raw(options.otsu), Space::Model),
        )?;
        scored.push(Scored { name, scores });
    }
    drop(progress);
    if let Some(output) = &options.output {
        atomic::write_bytes(output, csv(&scored)?.as_bytes(), options.overwrite)?;
    }
    let text = if options.json {
        json_text(&scored, manifest.is_some(), !masks.is_empty())?
    } else {
        table_text(&scored, manifest.is_some(), !masks.is_empty())
    };
    context.print(&text)
}

fn check_counts(predictions: usize, targets: usize, masks: usize) -> Result<()> {
    if predictions != targets || (masks > 0 && masks != predictions) {
        return Err(wrong_use(
            format!(
                "{predictions} predictions, {targets} targets and {masks} masks do not pair up"
            ),
            "give one target, and one mask or none, for each prediction, in the same order",
        ));
    }
    Ok(())
}

/// Where a prediction and its target are compared.
#[derive(Clone, Copy, Debug)]
pub enum Space<'a> {
    /// As they are; the threshold of the target is found by this recipe.
    Raw(OtsuRecipe),
    /// In the space of the model that predicted.
    Model(&'a ModelManifest),
}

/// Reads a prediction, its target and perhaps its true mask, and scores it.
///
/// # Errors
///
/// When a stack cannot be read, is not finite, or they do not fit together.
pub fn evaluate(
    prediction: &Path,
    (target, channel): (&Path, Option<Channel>),
    mask: Option<&Path>,
    space: Space,
) -> Result<Scores> {
    let read = |path: &Path| read_stack(path, &Selection::default());
    let predicted = read(prediction)?;
    let measured = read_stack(target, &Selection { channel, ..Selection::default() })?;
    let truth = mask.map(read).transpose()?;
    let mut values = measured.to_f32();
    for stack in [Some(&predicted), Some(&measured)].into_iter().flatten() {
        check_finite(stack)?;
    }
    let mut truth = truth.map(|stack| (stack.path.clone(), stack.to_f32().map(|v| *v > 0.0)));
    if let Some((path, mask)) = truth.as_ref().filter(|(_, mask)| mask.shape != values.shape) {
        return Err(shapes_disagree(path, mask.shape, target, values.shape));
    }

    let integer = measured.is_integer();
    let (threshold, intensity, data_range) = match space {
        Space::Raw(recipe) => raw_space(&values, integer, recipe),
        Space::Model(model) => {
            let (standardised, threshold) = standardised(&values, integer, model, target)?;
            values = standardised;
            (threshold, model_intensity(model), model.ranges.raw_span())
        }
    };
    if let Space::Model(model) = space {
        (values, truth) = on_grid_of(&predicted, values, truth, &measured, model);
    }
    if predicted.shape() != values.shape {
        return Err(shapes_disagree(prediction, predicted.shape(), target, measured.shape()));
    }
    let truth = truth.map(|(_, mask)| mask);
    Ok(score(&Comparison {
        prediction: &predicted.to_f32(),
        target: &values,
        threshold,
        truth: truth.as_ref(),
        intensity,
        data_range,
    }))
}

/// Threshold, map to intensities and data range of stacks that are compared as they are.
fn raw_space(target: &Volume<f32>, integer: bool, recipe: OtsuRecipe) -> (f64, Intensity, f64) {
    let widen = |(low, high): (f32, f32), v: &f32| (low.min(*v), high.max(*v));
    let (low, high) = target.voxels.iter().fold((f32::INFINITY, f32::NEG_INFINITY), widen);
    let span = f64::from(high) - f64::from(low);
    (threshold(target, integer, recipe), Intensity::SAME, span)
}

/// A target in the units of the model, and its threshold in them.
fn standardised(
    target: &Volume<f32>,
    integer: bool,
    model: &ModelManifest,
    path: &Path,
) -> Result<(Volume<f32>, f64)> {
    let moments = moments(target);
    if moments.std == 0.0 {
        return Err(failure(format!("{}: all voxels are equal", path.display()), ""));
    }
    let prepare = &model.prepare;
    let threshold = threshold(target, integer, prepare.otsu);
    let centre = match target_centre(model) {
        TargetCentre::Mean => moments.mean,
        TargetCentre::Threshold => threshold,
    };
    Ok((standardise(target, centre, moments.std), (threshold - centre) / moments.std))
}

/// What a model's targets were centred on.
#[must_use]
pub fn target_centre(model: &ModelManifest) -> TargetCentre {
    let of_loss = match model.loss {
        Loss::Mse => TargetCentre::Mean,
        Loss::Spotlight(_) => TargetCentre::Threshold,
    };
    model.prepare.target_centre.unwrap_or(of_loss)
}

/// The map from the units of a model to the intensities of its training set.
#[must_use]
pub fn model_intensity(model: &ModelManifest) -> Intensity {
    let offset = model.ranges.to_raw(0.0);
    Intensity { scale: model.ranges.to_raw(1.0) - offset, offset }
}

type Truth = Option<(PathBuf, Volume<bool>)>;

/// Target and truth zoomed as for training, if that is the grid of the prediction.
fn on_grid_of(
    predicted: &Stack,
    target: Volume<f32>,
    truth: Truth,
    measured: &Stack,
    model: &ModelManifest,
) -> (Volume<f32>, Truth) {
    let shape = predicted.shape();
    let factors = measured
        .spacing_um
        .map(|from| std::array::from_fn(|axis| from[axis] / model.prepare.spacing_um[axis]));
    let is_model_grid = factors.is_some_and(|factors| zoom_shape(target.shape, factors) == shape);
    if target.shape == shape || !is_model_grid {
        return (target, truth);
    }
    let nearest = |mask: &Volume<bool>| {
        let numbers = mask.map(|inside| f32::from(u8::from(*inside)));
        zoom(&numbers, shape, Order::Nearest).map(|v| *v > 0.5)
    };
    let truth = truth.map(|(path, mask)| (path, nearest(&mask)));
    (zoom(&target, shape, Order::Cubic), truth)
}

fn check_finite(stack: &Stack) -> Result<()> {
    let values = stack.to_f32();
    match values.voxels.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(offset) => {
            let [_, height, width] = values.shape;
            let at = [offset / (height * width), offset / width % height, offset % width];
            let path = stack.path.display();
            let value = values.voxels[offset];
            Err(failure(
                format!("{path}: the voxel at (z, y, x) = {at:?} is {value}"),
                "replace voxels that are not numbers before scoring",
            ))
        }
    }
}

fn shapes_disagree(a: &Path, a_shape: [usize; 3], b: &Path, b_shape: [usize; 3]) -> anyhow::Error {
    failure(
        format!(
            "{} has {a_shape:?} voxels (z, y, x) and {} has {b_shape:?}",
            a.display(),
            b.display()
        ),
        "score stacks of the same field and voxel size",
    )
}

/// The scores as CSV, one row for each prediction.
///
/// # Errors
///
/// If the rows cannot be encoded.
pub fn csv(scored: &[Scored]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["prediction"].iter().chain(&NAMES))?;
    for row in scored {
        let values = row.scores.values().map(|value| value.to_string());
        writer.write_record(std::iter::once(&row.name).chain(&values))?;
    }
    let bytes = writer.into_inner().context("while writing the scores")?;
    String::from_utf8(bytes).context("while writing the scores")
}

fn json_text(scored: &[Scored], by_model: bool, by_mask: bool) -> Result<String> {
    let row = |name: &str, scores: &Scores| -> Result<Value> {
        let mut row = serde_json::to_value(scores)?;
        row["name"] = json!(name);
        Ok(row)
    };
    let rows: Result<Vec<Value>> = scored.iter().map(|s| row(&s.name, &s.scores)).collect();
    let all: Vec<Scores> = scored.iter().map(|s| s.scores).collect();
    let whole = json!({
        "space": if by_model { "model" } else { "raw" },
        "dice_against": if by_mask { "mask" } else { "target" },
        "scores": rows?,
        "mean": row("mean", &Scores::mean(&all))?,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?))
}

fn table_text(scored: &[Scored], by_model: bool, by_mask: bool) -> String {
    let mut table = Table::new(&["prediction"]);
    table.header.extend(HEADINGS.map(str::to_owned));
    let all: Vec<Scores> = scored.iter().map(|s| s.scores).collect();
    let mut rows: Vec<(&str, Scores)> =
        scored.iter().map(|s| (s.name.as_str(), s.scores)).collect();
    if all.len() > 1 {
        rows.push(("mean", Scores::mean(&all)));
    }
    for (name, scores) in rows {
        table.rows.push([vec![name.to_owned()], scores.cells()].concat());
    }
    let mean = Scores::mean(&all);
    let space = if by_model {
        "in the space of the model: the span of its raw training targets"
    } else {
        "of the stacks as they are: the span of the target"
    };
    let truth = if by_mask { "the given mask" } else { "that of the target" };
    format!(
        "{}\nPSNR in dB, data range {} {space}.\n\
         Foreground: the target above its threshold, {:.1} % of the volume; Dice against {truth}.\n",
        table.text(),
        (mean.data_range * 1e4).round() / 1e4,
        100.0 * mean.foreground,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_must_pair_up() {
        assert!(check_counts(2, 2, 0).is_ok() && check_counts(2, 2, 2).is_ok());
        for (predictions, targets, masks) in [(2, 1, 0), (1, 2, 0), (2, 2, 1)] {
            let error = check_counts(predictions, targets, masks).unwrap_err();
            assert_eq!(crate::cli::Outcome::of(&error).status, 2);
        }
    }

    #[test]
    fn a_csv_has_a_row_for_each_prediction_and_keeps_all_digits() {
        let scores = Scores { psnr: f64::INFINITY, pearson: 1.0 / 3.0, ..Scores::mean(&[]) };
        let text = csv(&[Scored { name: "a, b.tif".into(), scores }]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split(',').count(), 10);
        assert!(lines[1].starts_with("\"a, b.tif\",inf,NaN,NaN,0.3333333333333333,"), "{text}");
    }
}
