//! From files to a comparison: target and prediction in one space, on one grid; of large stacks
//! some planes at a time.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_image::foreground::{OtsuRecipe, threshold};
use spotlight_image::resample::{Order, zoom, zoom_shape};
use spotlight_image::standardise::{Moments, moments, standardise};
use spotlight_image::{Region, Shape, Volume};
use spotlight_io::{Channel, Image, OpenStack, Selection};
use spotlight_learn::loss::Loss;
use spotlight_learn::model_file::{ModelManifest, Ranges};
use spotlight_learn::prepare::TargetCentre;

use crate::cli::failure;
use crate::cli::stacks::{check_finite_from, into_f32, with_size};
use crate::scores::{Intensity, Scores};

use super::images::Images;
use super::sums::RegionSums;

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
    pub(super) moments: Moments,
    pub(super) threshold: f64,
    /// Largest less smallest voxel.
    pub(super) span: f64,
}

/// A prediction and its target on one grid in one unit, all of them or some planes, with what the
/// scores need to know.
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

/// Scores the prediction of a case within this many bytes of memory.
///
/// # Errors
///
/// When a stack cannot be read, is not finite, or they do not fit together, or into memory.
pub fn evaluate(case: &Case, space: Space, memory_bytes: u64) -> Result<Scores> {
    let mut images = Images::new(vec![case.clone()], space, memory_bytes);
    Ok(RegionSums::of(|see| images.show(0, 0, see))?.scores())
}

/// The files of a case, open, with nothing of them read.
#[derive(Debug)]
pub(super) struct OpenCase<'a> {
    space: Space<'a>,
    prediction: OpenStack,
    target: OpenStack,
    truth: Option<OpenStack>,
    grid: Grid,
}

impl<'a> OpenCase<'a> {
    pub(super) fn new(case: &Case, space: Space<'a>) -> Result<Self> {
        let open = |path: &Path, channel: Option<&Channel>| {
            let selection = Selection { channel: channel.cloned(), ..Selection::default() };
            Image::open(path)?.stack(&selection)
        };
        let prediction = open(&case.prediction, None)?;
        let target = open(&case.target, case.channel.as_ref())?;
        let truth = case.mask.as_deref().map(|path| open(path, None)).transpose()?;
        if let Some(mask) = truth.as_ref().filter(|mask| mask.shape() != target.shape()) {
            return Err(shapes_disagree(mask, &target));
        }
        let grid = common_grid(&prediction, &target, space)?;
        Ok(Self { space, prediction, target, truth, grid })
    }

    /// The stack that was measured.
    pub(super) fn target(&self) -> &OpenStack {
        &self.target
    }

    /// The grid of the comparison.
    pub(super) fn shape(&self) -> Shape {
        self.prediction.shape()
    }

    /// Whether some planes can be compared without the others.
    pub(super) fn has_slabs(&self) -> bool {
        self.grid == Grid::Target
    }

    /// Planes that are read in one go.
    pub(super) fn planes_at_once(&self) -> usize {
        let stacks = [Some(&self.prediction), Some(&self.target), self.truth.as_ref()];
        stacks.into_iter().flatten().map(|stack| stack.block()[0]).max().unwrap_or(1)
    }

    /// How the target's threshold is found.
    pub(super) fn otsu(&self) -> OtsuRecipe {
        otsu(self.space)
    }

    /// All of both; the statistics of the target are found where they are not known.
    pub(super) fn whole(&self, known: Option<Statistics>) -> Result<(Prepared, Statistics)> {
        let (prediction, raw) = (planes(&self.prediction, None)?, planes(&self.target, None)?);
        let integer = self.target.sample_type().is_integer();
        let statistics = known.unwrap_or_else(|| Statistics {
            moments: moments(&raw),
            threshold: threshold(&raw, integer, self.otsu()),
            span: span(&raw),
        });
        let truth = self.truth.as_ref().map(|mask| truth(mask, None)).transpose()?;
        Ok((self.prepared(prediction, raw, truth, &statistics)?, statistics))
    }

    /// Some planes of both, which must have one grid.
    pub(super) fn slab(&self, range: &Range<usize>, known: &Statistics) -> Result<Prepared> {
        let prediction = planes(&self.prediction, Some(range))?;
        let raw = planes(&self.target, Some(range))?;
        let truth = self.truth.as_ref().map(|mask| truth(mask, Some(range))).transpose()?;
        self.prepared(prediction, raw, truth, known)
    }

    fn prepared(
        &self,
        prediction: Volume<f32>,
        raw: Volume<f32>,
        mut truth: Option<Volume<bool>>,
        statistics: &Statistics,
    ) -> Result<Prepared> {
        let (mut target, threshold, intensity, data_range) = match self.space {
            Space::Raw(_) => (raw, statistics.threshold, Intensity::SAME, statistics.span),
            Space::Model(model) => {
                let path = self.target.path();
                let (target, threshold) = standardised(&raw, *statistics, model, path)?;
                let ranges = known_ranges(model)?;
                (target, threshold, intensity(&ranges), ranges.raw_span())
            }
        };
        let mut spacing_um = self.prediction.spacing_um();
        match self.grid {
            Grid::Target => spacing_um = spacing_um.or(self.target.spacing_um()),
            Grid::Model => {
                let shape = self.prediction.shape();
                target = zoom(&target, shape, Order::Cubic);
                truth = truth.map(|mask| zoom_mask(&mask, shape));
            }
        }
        Ok(Prepared { prediction, target, threshold, truth, intensity, data_range, spacing_um })
    }
}

/// The planes of a stack, or all, as f32 without what is not a number.
pub(super) fn planes(stack: &OpenStack, range: Option<&Range<usize>>) -> Result<Volume<f32>> {
    let [depth, height, width] = stack.shape();
    let range = range.cloned().unwrap_or(0..depth);
    let region = Region { start: [range.start, 0, 0], shape: [range.len(), height, width] };
    let values = into_f32(stack.read(region)?);
    check_finite_from(&values, region.start, stack.path())?;
    Ok(values)
}

fn truth(mask: &OpenStack, range: Option<&Range<usize>>) -> Result<Volume<bool>> {
    let [depth, height, width] = mask.shape();
    let range = range.cloned().unwrap_or(0..depth);
    let region = Region { start: [range.start, 0, 0], shape: [range.len(), height, width] };
    Ok(into_f32(mask.read(region)?).map(|label| *label > 0.0))
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

fn common_grid(predicted: &OpenStack, measured: &OpenStack, space: Space) -> Result<Grid> {
    if predicted.shape() == measured.shape() {
        return Ok(Grid::Target);
    }
    let is_zoomed = |model: &ModelManifest, from: [f64; 3]| {
        let to = model.prepare.spacing_um;
        let factors = std::array::from_fn(|axis| from[axis] / to[axis]);
        zoom_shape(measured.shape(), factors) == predicted.shape()
    };
    match (space, measured.spacing_um()) {
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
    Statistics { moments, threshold, .. }: Statistics,
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

fn shapes_disagree(a: &OpenStack, b: &OpenStack) -> anyhow::Error {
    let told = |stack: &OpenStack| with_size(stack.path(), stack.shape());
    failure(format!("{} and {}", told(a), told(b)), "score stacks of the same field and voxel size")
}
