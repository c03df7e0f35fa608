//! From a transmitted-light stack to its virtual stain, by a model file alone.
//!
//! The stack is standardised and zoomed as for training, brought to a size that the
//! network can halve, stained whole or in tiles, clipped, and zoomed back.
//!
//! References:
//! - C. Ounkomol et al. (2018): prediction on whole stacks.
//! - A. A. Kalinin et al. (2025): no prediction of Spotlight is below 0 (figure 3a).

mod fit;
mod levels;
mod memory;
mod plan;
mod stream;
mod stream_plan;
mod tiles;
mod work;

use std::path::Path;

use serde::{Deserialize, Serialize};
use spotlight_engine::Engine;
use spotlight_image::resample::{Order, zoom};
use spotlight_image::{Shape, Volume};

use crate::error::Error;
use crate::model_file::{Model, Ranges};
use crate::prepare::{model_shape, prepare_signal};

pub use fit::Fit;
pub use memory::fixed_bytes;
pub use stream::{SignalSource, StainGrid, StainSink};

use levels::Planes;
use memory::Grids;
use plan::{Budget, Plan};

/// How a stack is stained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictOptions {
    /// Bytes of memory that the program may take while it stains a stack, writes one before and
    /// reads one after; a stack that needs more is cut into tiles.
    pub memory_bytes: u64,
    /// How a stack is brought to a size that the network can halve.
    pub fit: Fit,
    /// Whether the stack is zoomed to the voxel size of the model; without, its voxels
    /// are taken as they are.
    pub resample: bool,
    /// The grid of the prediction.
    pub grid: OutputGrid,
    /// The units of the prediction.
    pub intensities: Intensities,
    /// Whether the prediction is clipped as the model asks (Spotlight: at 0).
    pub clip: bool,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            fit: Fit::Mirror,
            resample: true,
            grid: OutputGrid::Input,
            intensities: Intensities::Standardised,
            clip: true,
        }
    }
}

/// The grid of a prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputGrid {
    /// That of the input: every voxel has its prediction.
    #[default]
    Input,
    /// That of the network, at the voxel size of the model.
    Model,
}

/// The units of a prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intensities {
    /// Those of the network: standard deviations of the target from its centre.
    #[default]
    Standardised,
    /// Those of the fluorescence camera: the range of standardised training targets
    /// mapped to the range of the raw ones.
    Training,
}

/// A virtual stain.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The stain of each target, (z, y, x).
    pub channels: Vec<Volume<f32>>,
    /// Its voxel size in µm along (z, y, x), where that of the input is known.
    pub spacing_um: Option<[f64; 3]>,
    /// Number of tiles it was computed in.
    pub tiles: usize,
}

/// A model that is ready to stain.
#[derive(Clone, Debug)]
pub struct Predictor {
    /// The network, and how it is used.
    pub model: Model,
}

impl Predictor {
    /// Reads a model file.
    ///
    /// # Errors
    ///
    /// Those of [`Model::read`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        Ok(Self { model: Model::read(path)? })
    }

    /// Stains a stack, whose memory is freed as soon as it has been read.
    ///
    /// `signals` are the stack's channels, as many as the model has, all of one shape.
    /// `spacing_um` is the voxel size of the stack, `name` is how errors name it.
    /// `progress` learns after every tile how many of how many multiply-adds are done.
    ///
    /// # Errors
    ///
    /// If a channel is constant or holds a voxel that is not finite, the voxel size is
    /// needed and not known, the memory does not suffice for the smallest tile, or the model
    /// does not know the intensities that are asked for.
    ///
    /// # Panics
    ///
    /// If there are other channels than the model has, or their shapes differ.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_engine::{Engine, EngineOptions};
    /// use spotlight_image::Volume;
    /// use spotlight_learn::fnet::{Fnet, FnetOptions};
    /// use spotlight_learn::model_file::{Model, ModelManifest};
    /// use spotlight_learn::predict::{PredictOptions, Predictor};
    ///
    /// let network = Fnet::new(&FnetOptions { width: 2, depth: 1, ..FnetOptions::default() }, 0);
    /// let manifest = ModelManifest { network: network.options, ..ModelManifest::default() };
    /// let predictor = Predictor { model: Model { manifest, network } };
    ///
    /// let stack = Volume::from_fn([3, 9, 11], |[z, y, x]| ((z + y) * x % 9) as f32);
    /// let (engine, options) = (Engine::new(&EngineOptions::default())?, PredictOptions::default());
    /// let (signals, spacing_um) = (vec![stack], Some([0.29; 3]));
    /// let stain =
    ///     predictor.predict(&engine, signals, spacing_um, "cells.tif", &options, &mut |_, _| {})?;
    /// assert_eq!(stain.channels[0].shape, [3, 9, 11]);
    /// assert!(stain.channels[0].voxels.iter().all(|voxel| *voxel >= 0.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn predict(
        &self,
        engine: &Engine,
        signals: Vec<Volume<f32>>,
        spacing_um: Option<[f64; 3]>,
        name: &str,
        options: &PredictOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Prediction, Error> {
        let network = &self.model.network;
        assert_eq!(signals.len(), network.options.in_channels, "channels of the model");
        let ranges = self.ranges(options)?;
        let to_um = self.to_um(options);
        let input = signals[0].shape;
        let prepared: Vec<Volume<f32>> = signals
            .into_iter()
            .map(|signal| prepare_signal(signal, spacing_um, to_um, name))
            .collect::<Result<_, _>>()?;
        let model = prepared[0].shape;
        let plan = self.plan(input, model, options, name)?;

        let multiple = network.options.divisor();
        let (fitted, mut undone): (Vec<_>, Vec<_>) =
            prepared.into_iter().map(|signal| options.fit.apply(signal, multiple)).unzip();
        let stain = levels::run(network, engine, Planes::join(fitted), &plan, progress);
        let undo = undone.remove(0);
        let is_zoomed = options.grid == OutputGrid::Input && model != input;
        let zoom_back = |stain: &Volume<f32>| zoom(stain, input, Order::Cubic);
        let zoom_back: Option<&ZoomBack<'_>> = if is_zoomed { Some(&zoom_back) } else { None };
        let finish = |stain| self.finish(undo.apply(stain), zoom_back, ranges, options);
        let channels: Vec<Volume<f32>> = stain.split().into_iter().map(finish).collect();
        let shape = channels[0].shape;
        let spacing_um = spacing_um.map(|spacing| grid_spacing(spacing, input, shape));
        Ok(Prediction { channels, spacing_um, tiles: plan.up.count() })
    }

    /// Whether a stack of this shape can be stained by [`Predictor::predict`] with the memory of the
    /// options.
    ///
    /// # Errors
    ///
    /// If it cannot, or its voxel size is needed and not known.
    pub fn check_memory(
        &self,
        input: Shape,
        spacing_um: Option<[f64; 3]>,
        name: &str,
        options: &PredictOptions,
    ) -> Result<(), Error> {
        let model = model_shape(input, spacing_um, self.to_um(options), name)?;
        self.plan(input, model, options, name).map(drop)
    }

    /// The voxel size to which stacks are zoomed, where they are.
    fn to_um(&self, options: &PredictOptions) -> Option<[f64; 3]> {
        let prepare = &self.model.manifest.prepare;
        (options.resample && prepare.resample).then_some(prepare.spacing_um)
    }

    /// The map to raw intensities, if it is asked for.
    fn ranges(&self, options: &PredictOptions) -> Result<Option<Ranges>, Error> {
        let known = self.model.manifest.ranges;
        match options.intensities {
            Intensities::Standardised => Ok(None),
            Intensities::Training if known.is_some() => Ok(known),
            Intensities::Training => Err(Error::Option {
                option: "intensities",
                found: "training".to_owned(),
                expected: "standardised for a model that does not know those of its training",
            }),
        }
    }

    /// The tiles that keep to the memory of the options.
    fn plan(
        &self,
        input: Shape,
        model: Shape,
        options: &PredictOptions,
        name: &str,
    ) -> Result<Plan, Error> {
        let network = &self.model.network;
        let multiple = network.options.divisor();
        let fitted = options.fit.shape(model, multiple).ok_or_else(|| {
            let problem = format!(
                "its {model:?} voxels (z, y, x, at the voxel size of the model) leave nothing \
                 when cropped to multiples of {multiple}; mirror it instead"
            );
            Error::Stack { name: name.to_owned(), problem }
        })?;
        let output = if options.grid == OutputGrid::Input { input } else { model };
        let channels = [network.options.in_channels, network.options.out_channels];
        let grids = Grids { channels, input, model, fitted, output };
        let fixed = fixed_bytes(network) + grids.neighbours();
        let budget =
            Budget { bytes: options.memory_bytes.saturating_sub(fixed), volumes: grids.volumes() };
        plan::plan(&network.options, fitted, budget).map_err(|least| Error::Memory {
            name: name.to_owned(),
            needed: fixed + least,
            allowed: options.memory_bytes,
        })
    }

    /// A stain on the grid of the model as it is handed out: clipped, zoomed, in its units.
    fn finish(
        &self,
        mut stain: Volume<f32>,
        zoom_back: Option<&ZoomBack<'_>>,
        ranges: Option<Ranges>,
        options: &PredictOptions,
    ) -> Volume<f32> {
        self.clip(&mut stain, options);
        if let Some(zoom_back) = zoom_back {
            stain = zoom_back(&stain);
            self.clip(&mut stain, options); // splines overshoot
        }
        if let Some(ranges) = ranges {
            let to_raw = |voxel: &mut f32| *voxel = ranges.to_raw(f64::from(*voxel)) as f32;
            stain.voxels.iter_mut().for_each(to_raw);
        }
        stain
    }

    /// Raises what is below the least value that the model's targets are meant to have.
    fn clip(&self, stain: &mut Volume<f32>, options: &PredictOptions) {
        if let Some(least) = self.model.manifest.output_clip_min.filter(|_| options.clip) {
            stain.voxels.iter_mut().for_each(|voxel| *voxel = voxel.max(least as f32));
        }
    }
}

/// From the grid of the model to that of the input.
type ZoomBack<'a> = dyn Fn(&Volume<f32>) -> Volume<f32> + 'a;

/// Voxel size after a corner-aligned zoom: the outermost voxel centres stay where they are.
fn grid_spacing(spacing_um: [f64; 3], from: Shape, to: Shape) -> [f64; 3] {
    std::array::from_fn(|axis| match (from[axis], to[axis]) {
        (a, b) if a == b => spacing_um[axis],
        (a, b) if a == 1 || b == 1 => spacing_um[axis] * a as f64 / b as f64,
        (a, b) => spacing_um[axis] * (a - 1) as f64 / (b - 1) as f64,
    })
}
