//! From a transmitted-light stack to its virtual stain, by a model file alone.
//!
//! The stack is standardised and zoomed as for training, brought to a size that the
//! network can halve, stained whole or in tiles, clipped, and zoomed back.
//!
//! References:
//! - C. Ounkomol et al. (2018): prediction on whole stacks.
//! - A. A. Kalinin et al. (2025): no prediction of Spotlight is below 0 (figure 3a).

mod fit;
mod tiles;

use std::path::Path;

use serde::{Deserialize, Serialize};
use spotlight_engine::Engine;
use spotlight_image::grid::voxel_count;
use spotlight_image::resample::{Order, zoom};
use spotlight_image::{Shape, Volume};

use crate::error::Error;
use crate::fnet::{Fnet, FnetOptions};
use crate::model_file::Model;
use crate::prepare::prepare_signal;

pub use fit::Fit;

/// How a stack is stained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictOptions {
    /// Bytes of memory that one stack may take; a stack that needs more is cut into tiles.
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
    /// The stain, (z, y, x).
    pub volume: Volume<f32>,
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

    /// Stains a stack.
    ///
    /// `spacing_um` is the voxel size of the stack, `name` is how errors name it.
    /// `progress` learns after every tile how many of how many are done.
    ///
    /// # Errors
    ///
    /// If the stack is constant or holds a voxel that is not finite, its voxel size is
    /// needed and not known, or the memory does not suffice for the smallest tile.
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
    /// let spacing_um = Some([0.29; 3]);
    /// let stain =
    ///     predictor.predict(&engine, &stack, spacing_um, "cells.tif", &options, &mut |_, _| {})?;
    /// assert_eq!(stain.volume.shape, stack.shape);
    /// assert!(stain.volume.voxels.iter().all(|voxel| *voxel >= 0.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn predict(
        &self,
        engine: &Engine,
        signal: &Volume<f32>,
        spacing_um: Option<[f64; 3]>,
        name: &str,
        options: &PredictOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Prediction, Error> {
        let Model { manifest, network } = &self.model;
        let resample = options.resample && manifest.prepare.resample;
        let to_um = resample.then_some(manifest.prepare.spacing_um);
        let prepared = prepare_signal(signal, spacing_um, to_um, name)?;
        let model_grid = prepared.shape;
        let multiple = network.options.divisor();
        let shape = options.fit.shape(model_grid, multiple).ok_or_else(|| {
            let problem = format!(
                "its {model_grid:?} voxels (z, y, x, at the voxel size of the model) leave nothing \
                 when cropped to multiples of {multiple}; mirror it instead"
            );
            Error::Stack { name: name.to_owned(), problem }
        })?;
        let plan = plan(network, shape, signal.shape, options, name)?;

        let fitted = options.fit.apply(&prepared, multiple);
        drop(prepared);
        let mut tiles = 0;
        let mut count = |done: usize, of: usize| {
            tiles = of;
            progress(done, of);
        };
        let stain = tiles::run(network, engine, &fitted.volume, plan.core, &mut count);
        let mut stain = fitted.undo(&stain);
        drop(fitted);
        self.clip(&mut stain, options);
        let on_input_grid = options.grid == OutputGrid::Input;
        if on_input_grid && model_grid != signal.shape {
            stain = zoom(&stain, signal.shape, Order::Cubic);
            self.clip(&mut stain, options); // splines overshoot
        }
        if options.intensities == Intensities::Training {
            let to_raw =
                |voxel: &mut f32| *voxel = manifest.ranges.to_raw(f64::from(*voxel)) as f32;
            stain.voxels.iter_mut().for_each(to_raw);
        }
        let spacing_um = spacing_um.map(|spacing| grid_spacing(spacing, signal.shape, stain.shape));
        Ok(Prediction { volume: stain, spacing_um, tiles })
    }

    /// Raises what is below the least value that the model's targets are meant to have.
    fn clip(&self, stain: &mut Volume<f32>, options: &PredictOptions) {
        if let Some(least) = self.model.manifest.output_clip_min.filter(|_| options.clip) {
            stain.voxels.iter_mut().for_each(|voxel| *voxel = voxel.max(least as f32));
        }
    }
}

/// The tiles that keep to the memory of the options.
fn plan(
    network: &Fnet,
    shape: Shape,
    input: Shape,
    options: &PredictOptions,
    name: &str,
) -> Result<tiles::Plan, Error> {
    let too_little = |needed: u64| Error::Memory {
        name: name.to_owned(),
        needed,
        allowed: options.memory_bytes,
    };
    let weights = 4 * (network.parameters.len() + network.buffers.len()) as u64;
    // The input and the result on its grid; signal, fitted signal, tile and stain on the other.
    let volumes = 4 * (2 * voxel_count(input) + 4 * voxel_count(shape)) as u64;
    let per_voxel = bytes_per_voxel(&network.options);
    let left = options.memory_bytes.saturating_sub(weights + volumes);
    let limit = usize::try_from(left / per_voxel).unwrap_or(usize::MAX);
    let (halo, multiple) = (network.options.halo(), network.options.divisor());
    tiles::plan(shape, halo, multiple, limit)
        .map_err(|smallest| too_little(weights + volumes + per_voxel * smallest as u64))
}

/// Bytes that the network holds for a voxel of its input at its fullest.
///
/// That is in the last pair of convolutions at full resolution: the input, the skip, what
/// came up from below and the two outputs, each in blocks of 16 channels. The levels
/// below hold less by then, and before it they add at most what two of these take.
fn bytes_per_voxel(options: &FnetOptions) -> u64 {
    let block = |channels: usize| channels.next_multiple_of(16) as u64;
    let planar = 2;
    4 * (block(options.in_channels) + 4 * block(options.width) + planar)
}

/// Voxel size after a corner-aligned zoom: the outermost voxel centres stay where they are.
fn grid_spacing(spacing_um: [f64; 3], from: Shape, to: Shape) -> [f64; 3] {
    std::array::from_fn(|axis| match (from[axis], to[axis]) {
        (a, b) if a == b => spacing_um[axis],
        (a, b) if a == 1 || b == 1 => spacing_um[axis] * a as f64 / b as f64,
        (a, b) => spacing_um[axis] * (a - 1) as f64 / (b - 1) as f64,
    })
}
