//! From files to a comparison: target and prediction in one space, on one grid.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_image::foreground::{OtsuRecipe, threshold};
use spotlight_image::resample::{Order, zoom, zoom_shape};
use spotlight_image::standardise::{Moments, moments, standardise};
use spotlight_io::{Channel, Selection, Stack, read_stack};
use spotlight_learn::loss::Loss;
use spotlight_learn::model_file::{ModelManifest, Ranges};
use spotlight_learn::prepare::TargetCentre;

use crate::cli::failure;
use crate::cli::stacks::{check_finite, with_size};
use crate::scores::{Comparison, Intensity, Scores, score};

/// The files of one prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What was predicted.
    pub prediction: PathBuf,
    /// What was measured.
    pub target: PathBuf,
    /// Its channel, where the file has several.
    pub channel: Option<Channel>,
    /// The true foreground, the voxels above 0.
    pub mask: Option<PathBuf>,
}

/// Where a prediction and its target are compared.
#[derive(Clone, Copy, Debug)]
pub enum Space<'a> {
    /// As they are; the threshold of the target is found by this recipe.
    Raw(OtsuRecipe),
    /// In the space of the model that predicted.
    Model(&'a ModelManifest),
}

/// What was found about a target before: its smoothed threshold takes longer than all reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Statistics {
    moments: Moments,
    threshold: f64,
}

/// A prediction and its target on one grid in one unit, with what the scores need to know.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// What was predicted.
    pub(super) prediction: Volume<f32>,
    /// What was measured, in the units of the prediction.
    pub(super) target: Volume<f32>,
    /// Foreground begins at this value of the target.
    pub(super) threshold: f64,
    /// The true foreground, where there is a mask.
    pub(super) truth: Option<Volume<bool>>,
    /// How the units become intensities.
    pub(super) intensity: Intensity,
    /// Span of intensities that scores are relative to.
    pub(super) data_range: f64,
    /// Voxel size along (z, y, x), where one of the files tells it.
    pub(super) spacing_um: Option<[f64; 3]>,
}

/// Reads the files of a case and scores the prediction.
///
/// # Errors
///
/// When a stack cannot be read, is not finite, or they do not fit together.
pub fn evaluate(case: &Case, space: Space) -> Result<Scores> {
    let (prepared, _) = prepare(case, space, None)?;
    Ok(score(&Comparison {
        prediction: &prepared.prediction,
        target: &prepared.target,
        threshold: prepared.threshold,
        truth: prepared.truth.as_ref(),
        intensity: prepared.intensity,
        data_range: prepared.data_range,
    }))
}

/// Reads the files of a case and brings them to one grid and one unit.
pub(super) fn prepare(
    case: &Case,
    space: Space,
    known: Option<Statistics>,
) -> Result<(Prepared, Statistics)> {
    let read = |path: &Path| read_stack(path, &Selection::default());
    let predicted = read(&case.prediction)?;
    let selection = Selection { channel: case.channel.clone(), ..Selection::default() };
    let measured = read_stack(&case.target, &selection)?;
    let truth = case.mask.as_deref().map(read).transpose()?;
    let (prediction, raw) = (predicted.to_f32(), measured.to_f32());
    check_finite(&prediction, &predicted.path)?;
    check_finite(&raw, &measured.path)?;
    if let Some(mask) = truth.as_ref().filter(|mask| mask.shape() != measured.shape()) {
        return Err(shapes_disagree(mask, &measured));
    }
    let grid = common_grid(&predicted, &measured, space)?;
    let statistics = known.unwrap_or_else(|| Statistics {
        moments: moments(&raw),
        threshold: threshold(&raw, measured.is_integer(), otsu(space)),
    });
    let (mut target, threshold, intensity, data_range) = match space {
        Space::Raw(_) => {
            let span = span(&raw);
            (raw, statistics.threshold, Intensity::SAME, span)
        }
        Space::Model(model) => {
            let (target, threshold) = standardised(&raw, statistics, model, &case.target)?;
            let ranges = known_ranges(model)?;
            (target, threshold, intensity(&ranges), ranges.raw_span())
        }
    };
    let mut truth = truth.map(|mask| mask.to_f32().map(|label| *label > 0.0));
    let mut spacing_um = predicted.spacing_um;
    match grid {
        Grid::Target => spacing_um = spacing_um.or(measured.spacing_um),
        Grid::Model => {
            let shape = predicted.shape();
            target = zoom(&target, shape, Order::Cubic);
            truth = truth.map(|mask| zoom_mask(&mask, shape));
        }
    }
    let prepared =
        Prepared { prediction, target, threshold, truth, intensity, data_range, spacing_um };
    Ok((prepared, statistics))
}

fn otsu(space: Space) -> OtsuRecipe {
    match space {
        Space::Raw(recipe) => recipe,
        Space::Model(model) => model.prepare.otsu,
    }
}

/// The grid that a prediction lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grid {
    /// That of the target.
    Target,
    /// That of the target zoomed to the voxel size of the model.
    Model,
}

fn common_grid(predicted: &Stack, measured: &Stack, space: Space) -> Result<Grid> {
    if predicted.shape() == measured.shape() {
        return Ok(Grid::Target);
    }
    let is_zoomed = |model: &ModelManifest, from: [f64; 3]| {
        let to = model.prepare.spacing_um;
        let factors = std::array::from_fn(|axis| from[axis] / to[axis]);
        zoom_shape(measured.shape(), factors) == predicted.shape()
    };
    match (space, measured.spacing_um) {
        (Space::Model(model), Some(from)) if is_zoomed(model, from) => Ok(Grid::Model),
        _ => Err(shapes_disagree(predicted, measured)),
    }
}

fn zoom_mask(mask: &Volume<bool>, shape: [usize; 3]) -> Volume<bool> {
    let numbers = mask.map(|inside| f32::from(u8::from(*inside)));
    zoom(&numbers, shape, Order::Nearest).map(|number| *number > 0.5)
}

fn span(volume: &Volume<f32>) -> f64 {
    let widen = |(low, high): (f32, f32), v: &f32| (low.min(*v), high.max(*v));
    let (low, high) = volume.voxels.iter().fold((f32::INFINITY, f32::NEG_INFINITY), widen);
    f64::from(high) - f64::from(low)
}

/// A target in the units of the model, and its threshold in them.
fn standardised(
    target: &Volume<f32>,
    Statistics { moments, threshold }: Statistics,
    model: &ModelManifest,
    path: &Path,
) -> Result<(Volume<f32>, f64)> {
    if moments.std == 0.0 {
        return Err(failure(format!("{}: all voxels are equal", path.display()), ""));
    }
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

/// The intensities that a model was trained on, which one of another program may not know.
fn known_ranges(model: &ModelManifest) -> Result<Ranges> {
    model.ranges.ok_or_else(|| {
        failure(
            "the model does not know the intensities of the targets it was trained on",
            "import it again with --raw-range and --standardised-range, or leave --model out",
        )
    })
}

/// The map from the units of a model to the intensities of its training set.
fn intensity(ranges: &Ranges) -> Intensity {
    let offset = ranges.to_raw(0.0);
    Intensity { scale: ranges.to_raw(1.0) - offset, offset }
}

fn shapes_disagree(a: &Stack, b: &Stack) -> anyhow::Error {
    let told = |stack: &Stack| with_size(&stack.path, stack.shape());
    failure(format!("{} and {}", told(a), told(b)), "score stacks of the same field and voxel size")
}
