//! From a pair of raw stacks to what the network is trained on.
//!
//! The order is F-net's: standardise the whole stack, then zoom it to the voxel size of
//! the model. The threshold of the Spotlight target is found on the raw stack at full
//! resolution, so that the boundary of the foreground is exactly 0 afterwards.
//!
//! References:
//! - C. Ounkomol et al. (2018), "Label-free prediction of three-dimensional
//!   fluorescence images from transmitted-light microscopy".
//! - A. A. Kalinin et al. (2025), section 2 and appendix A.4.

use serde::{Deserialize, Serialize};
use spotlight_image::foreground::{OtsuRecipe, mask, threshold};
use spotlight_image::resample::{Order, zoom, zoom_shape};
use spotlight_image::standardise::{Moments, moments, standardise};
use spotlight_image::{Shape, Volume};

use crate::error::Error;

/// Where the stacks come from; the program reads them from files, tests make them up.
pub trait Pairs: Sync {
    /// Number of pairs.
    fn len(&self) -> usize;

    /// Whether there is no pair.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads one pair, `index` below [`Pairs::len`].
    ///
    /// # Errors
    ///
    /// If the pair cannot be read.
    fn load(&self, index: usize) -> Result<RawPair, Error>;
}

/// A transmitted-light stack and the fluorescence stack of the same field, as acquired.
#[derive(Clone, Debug)]
pub struct RawPair {
    /// Transmitted light, (z, y, x).
    pub signal: Volume<f32>,
    /// Fluorescence on the same grid.
    pub target: Volume<f32>,
    /// Whether the fluorescence was stored as integers (Otsu bins differ).
    pub target_is_integer: bool,
    /// Voxel size in µm along (z, y, x), where the file tells it.
    pub spacing_um: Option<[f64; 3]>,
    /// How errors name the pair: the file of the signal or of the target.
    pub name: String,
}

/// What is subtracted from a target before it is divided by its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetCentre {
    /// The Otsu threshold of the stack: the foreground is what is at least 0 (Spotlight).
    Threshold,
    /// The mean of the stack (F-net).
    Mean,
}

/// How pairs of stacks are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrepareOptions {
    /// Voxel size of the model in µm along (z, y, x).
    pub spacing_um: [f64; 3],
    /// Whether stacks are zoomed to `spacing_um`; without, voxels are taken as they are.
    pub resample: bool,
    /// How the threshold of the foreground is found.
    pub otsu: OtsuRecipe,
    /// Centre of the target. Left out, it is that of the loss: the threshold for
    /// Spotlight, the mean for MSE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_centre: Option<TargetCentre>,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            spacing_um: [0.29; 3],
            resample: true,
            otsu: OtsuRecipe::Smooth,
            target_centre: None,
        }
    }
}

/// A pair on the grid of the model, in the units of the network.
#[derive(Clone, Debug)]
pub struct PreparedPair {
    /// Name of the pair, for messages.
    pub name: String,
    /// Standardised signal, (z, y, x).
    pub signal: Volume<f32>,
    /// Standardised target on the same grid.
    pub target: Volume<f32>,
    /// The foreground: target at or above the threshold, on the same grid.
    pub mask: Volume<bool>,
    /// What was measured on the raw stacks.
    pub facts: PairFacts,
}

/// What preparation measured on the raw stacks, at full resolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairFacts {
    /// Mean and standard deviation of the signal.
    pub signal: (f64, f64),
    /// Mean and standard deviation of the target.
    pub target: (f64, f64),
    /// Otsu's threshold T of the target.
    pub threshold: f64,
    /// Least and greatest raw intensity of the target.
    pub raw_range: (f64, f64),
    /// Least and greatest standardised intensity of the target.
    pub prepared_range: (f64, f64),
    /// Fraction of foreground voxels on the grid of the model.
    pub foreground: f64,
}

/// Standardises and zooms a pair.
///
/// The signal becomes `(X - mean) / std`, the target `(Y - T) / std` or
/// `(Y - mean) / std` by [`PrepareOptions::target_centre`] (`T` where that is left out),
/// each by the statistics of the whole raw stack. Both are then zoomed to the voxel size
/// of the model by cubic splines. The mask is `Y >= T` on the zoomed grid whatever the
/// centre.
///
/// # Errors
///
/// If the stacks disagree in shape, hold a voxel that is not finite or are constant, or
/// the voxel size is needed and not known.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_learn::prepare::{PrepareOptions, RawPair, prepare};
///
/// let target = Volume::from_fn([8, 24, 24], |[_, y, _]| if y < 8 { 900.0 } else { 100.0 });
/// let pair = RawPair {
///     signal: target.map(|voxel| 5000.0 - voxel),
///     target,
///     target_is_integer: true,
///     spacing_um: Some([0.58, 0.29, 0.145]),
///     name: "cells.tif".to_owned(),
/// };
/// let prepared = prepare(&pair, &PrepareOptions::default())?;
/// assert_eq!(prepared.signal.shape, [16, 24, 12]); // at 0.29 µm
/// assert!(prepared.target.at([8, 2, 6]) > 0.0 && prepared.target.at([8, 20, 6]) < 0.0);
/// # Ok::<(), spotlight_learn::Error>(())
/// ```
pub fn prepare(pair: &RawPair, options: &PrepareOptions) -> Result<PreparedPair, Error> {
    if pair.signal.shape != pair.target.shape {
        let (signal, target) = (pair.signal.shape, pair.target.shape);
        let problem = format!(
            "signal has {signal:?} voxels (z, y, x) and target {target:?}; \
             a pair must share one grid"
        );
        return Err(Error::Stack { name: pair.name.clone(), problem });
    }
    let signal_moments = checked_moments(&pair.signal, "signal", &pair.name)?;
    let target_moments = checked_moments(&pair.target, "target", &pair.name)?;
    let to_um = options.resample.then_some(options.spacing_um);
    let shape = model_shape(pair.signal.shape, pair.spacing_um, to_um, &pair.name)?;

    let (mean, std) = (target_moments.mean, target_moments.std);
    let threshold = threshold(&pair.target, pair.target_is_integer, options.otsu);
    let signal = zoom_to(standardise(&pair.signal, signal_moments.mean, signal_moments.std), shape);
    let mut target = zoom_to(standardise(&pair.target, threshold, std), shape);
    let mask = mask(&target, 0.0);
    let mut centre = threshold;
    if options.target_centre == Some(TargetCentre::Mean) {
        // A zoom commutes with a shift; the mask thus is the same to the voxel.
        let shift = (threshold - mean) / std;
        let move_centre = |voxel: &mut f32| *voxel = (f64::from(*voxel) + shift) as f32;
        target.voxels.iter_mut().for_each(move_centre);
        centre = mean;
    }

    let raw_range = range(&pair.target.voxels);
    let foreground = mask.voxels.iter().filter(|voxel| **voxel).count() as f64;
    let facts = PairFacts {
        signal: (signal_moments.mean, signal_moments.std),
        target: (mean, std),
        threshold,
        raw_range,
        prepared_range: ((raw_range.0 - centre) / std, (raw_range.1 - centre) / std),
        foreground: foreground / mask.voxels.len() as f64,
    };
    Ok(PreparedPair { name: pair.name.clone(), signal, target, mask, facts })
}

/// Loads and prepares all pairs in order, telling after each how many are done.
///
/// # Errors
///
/// Those of [`Pairs::load`] and [`prepare`].
pub fn prepare_all(
    pairs: &dyn Pairs,
    options: &PrepareOptions,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<PreparedPair>, Error> {
    let mut prepared = Vec::with_capacity(pairs.len());
    for index in 0..pairs.len() {
        prepared.push(prepare(&pairs.load(index)?, options)?);
        progress(index + 1);
    }
    Ok(prepared)
}

/// Standardises a signal by its own mean and standard deviation and zooms it, as for
/// training, from its voxel size to `to_um`, where that is given. The raw signal is freed
/// before the zoom.
///
/// # Errors
///
/// Those of [`prepare`] that concern the signal.
pub fn prepare_signal(
    signal: Volume<f32>,
    spacing_um: Option<[f64; 3]>,
    to_um: Option<[f64; 3]>,
    name: &str,
) -> Result<Volume<f32>, Error> {
    let moments = checked_moments(&signal, "signal", name)?;
    let shape = model_shape(signal.shape, spacing_um, to_um, name)?;
    let standardised = standardise(&signal, moments.mean, moments.std);
    drop(signal);
    Ok(zoom_to(standardised, shape))
}

/// Mean and standard deviation of a stack that is finite and not constant.
fn checked_moments(stack: &Volume<f32>, role: &str, name: &str) -> Result<Moments, Error> {
    let problem = |problem: String| Error::Stack { name: name.to_owned(), problem };
    if stack.voxels.is_empty() {
        return Err(problem(format!("the {role} has no voxels")));
    }
    if let Some(offset) = stack.voxels.iter().position(|voxel| !voxel.is_finite()) {
        return Err(not_finite(stack, offset, 0, role, name));
    }
    let moments = moments(stack);
    if moments.std.is_nan() || moments.std <= 0.0 {
        return Err(constant_stack(stack.voxels[0], role, name));
    }
    Ok(moments)
}

/// The error of a voxel that is not finite, in a stack or in a slab of one from plane `first` on.
pub(crate) fn not_finite(
    slab: &Volume<f32>,
    offset: usize,
    first: usize,
    role: &str,
    name: &str,
) -> Error {
    let [_, rows, columns] = slab.shape;
    let at = [first + offset / (rows * columns), offset / columns % rows, offset % columns];
    let voxel = slab.voxels[offset];
    let problem =
        format!("voxel {at:?} (z, y, x) of the {role} is {voxel}; replace what is not finite");
    Error::Stack { name: name.to_owned(), problem }
}

/// The error of a stack of one value.
pub(crate) fn constant_stack(value: f32, role: &str, name: &str) -> Error {
    let problem =
        format!("every voxel of the {role} is {value}; a constant stack cannot be standardised");
    Error::Stack { name: name.to_owned(), problem }
}

/// Shape of a stack on the grid of the model.
pub(crate) fn model_shape(
    shape: Shape,
    spacing_um: Option<[f64; 3]>,
    to_um: Option<[f64; 3]>,
    name: &str,
) -> Result<Shape, Error> {
    let Some(to) = to_um else { return Ok(shape) };
    let problem = |problem: String| Error::Stack { name: name.to_owned(), problem };
    let Some(from) = spacing_um else {
        return Err(problem(format!(
            "the file gives no voxel size, so it cannot be zoomed to {to:?} µm (z, y, x); \
             give the voxel size, or do without resampling"
        )));
    };
    if !from.iter().chain(&to).all(|size| size.is_finite() && *size > 0.0) {
        return Err(problem(format!(
            "voxel sizes must be positive; found {from:?} µm, wanted {to:?} µm (z, y, x)"
        )));
    }
    let factors = std::array::from_fn(|axis| from[axis] / to[axis]);
    let zoomed = zoom_shape(shape, factors);
    if zoomed.contains(&0) {
        return Err(problem(format!(
            "{shape:?} voxels of {from:?} µm vanish at {to:?} µm (z, y, x)"
        )));
    }
    Ok(zoomed)
}

/// Cubic zoom; corner-aligned, so the same shape means the same voxels.
fn zoom_to(stack: Volume<f32>, shape: Shape) -> Volume<f32> {
    if stack.shape == shape { stack } else { zoom(&stack, shape, Order::Cubic) }
}

fn range(voxels: &[f32]) -> (f64, f64) {
    let widen = |(low, high): (f32, f32), v: &f32| (low.min(*v), high.max(*v));
    let (low, high) = voxels.iter().fold((f32::INFINITY, f32::NEG_INFINITY), widen);
    (f64::from(low), f64::from(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two bright blocks on a dim ramp; sizes as after a microscope with flat voxels.
    fn raw(shape: Shape) -> RawPair {
        let target = Volume::from_fn(shape, |[z, y, x]| {
            let bright = (y / 4) % 2 == 0 && x > 3;
            (x + y + z) as f32 + if bright { 500.0 } else { 100.0 }
        });
        let signal = target.map(|voxel| 3000.0 - 2.0 * voxel);
        let spacing_um = Some([0.29; 3]);
        RawPair { signal, target, target_is_integer: true, spacing_um, name: "a.tif".into() }
    }

    fn plain() -> PrepareOptions {
        PrepareOptions { otsu: OtsuRecipe::Plain, ..PrepareOptions::default() }
    }

    #[test]
    fn target_is_centred_on_its_threshold() {
        let pair = raw([4, 8, 8]);
        let found = prepare(&pair, &plain()).unwrap();
        let facts = &found.facts;
        assert!((107.0..504.0).contains(&facts.threshold), "{}", facts.threshold);
        for (voxel, raw) in found.target.voxels.iter().zip(&pair.target.voxels) {
            let expected = (f64::from(*raw) - facts.threshold) / facts.target.1;
            assert!((f64::from(*voxel) - expected).abs() < 1e-6);
        }
        assert_eq!(facts.raw_range, (100.0, 513.0));
        let std = facts.target.1;
        assert!((facts.prepared_range.0 - (100.0 - facts.threshold) / std).abs() < 1e-12);
        let moments = moments(&found.signal);
        assert!(moments.mean.abs() < 1e-6 && (moments.std - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_mask_does_not_depend_on_the_centre() {
        let pair = RawPair { spacing_um: Some([0.29, 0.2, 0.4]), ..raw([4, 8, 8]) };
        let threshold = prepare(&pair, &plain()).unwrap();
        let options = PrepareOptions { target_centre: Some(TargetCentre::Mean), ..plain() };
        let mean = prepare(&pair, &options).unwrap();
        assert_eq!(threshold.mask, mean.mask);
        assert_ne!(threshold.target, mean.target);
        assert!(threshold.mask.voxels.contains(&true) && threshold.mask.voxels.contains(&false));
        let foreground = threshold.target.map(|voxel| *voxel >= 0.0);
        assert_eq!(foreground, threshold.mask);
    }

    #[track_caller]
    fn check_shape(spacing_um: Option<[f64; 3]>, resample: bool, shape: Shape) {
        let pair = RawPair { spacing_um, ..raw([4, 8, 8]) };
        let found = prepare(&pair, &PrepareOptions { resample, ..plain() }).unwrap();
        assert_eq!(found.signal.shape, shape);
        assert_eq!((found.target.shape, found.mask.shape), (shape, shape));
    }

    #[test]
    fn stacks_are_zoomed_by_their_own_voxel_size() {
        check_shape(Some([0.58, 0.29, 0.145]), true, [8, 8, 4]);
        check_shape(Some([0.290_000_1; 3]), true, [4, 8, 8]);
        check_shape(Some([0.58, 0.29, 0.145]), false, [4, 8, 8]);
        check_shape(None, false, [4, 8, 8]);
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut RawPair), parts: &[&str]) {
        let mut pair = raw([4, 8, 8]);
        change(&mut pair);
        let message = prepare(&pair, &plain()).unwrap_err().to_string();
        for part in ["a.tif"].iter().chain(parts) {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn unfit_stacks_are_named() {
        let narrow = Volume::filled([4, 8, 7], 1.0);
        check_refused(|pair| pair.target = narrow, &["[4, 8, 8]", "[4, 8, 7]", "one grid"]);
        check_refused(|pair| pair.signal.voxels[77] = f32::NAN, &["signal", "[1, 1, 5]", "NaN"]);
        check_refused(|pair| pair.target.voxels[0] = f32::INFINITY, &["target", "inf"]);
        check_refused(|pair| pair.target.voxels.fill(7.0), &["target", "is 7", "constant"]);
        check_refused(|pair| pair.spacing_um = None, &["no voxel size", "0.29"]);
        check_refused(|pair| pair.spacing_um = Some([0.29, 0.0, 0.29]), &["positive"]);
        check_refused(|pair| pair.spacing_um = Some([0.001; 3]), &["vanish"]);
    }

    #[test]
    fn a_constant_stack_of_any_value_is_refused() {
        for value in [0.1, 1e-30, 65_535.0, -3.7] {
            let stack = Volume::filled([3, 5, 7], value);
            assert!(prepare_signal(stack, None, None, "b.tif").is_err());
        }
    }

    #[test]
    fn options_survive_json_and_unknown_ones_are_refused() {
        let options = PrepareOptions { target_centre: Some(TargetCentre::Mean), ..plain() };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<PrepareOptions>(&text).unwrap(), options);
        let default: PrepareOptions = serde_json::from_str("{}").unwrap();
        assert_eq!(default, PrepareOptions::default());
        assert!(serde_json::from_str::<PrepareOptions>(r#"{"otzu":"plain"}"#).is_err());
    }
}
