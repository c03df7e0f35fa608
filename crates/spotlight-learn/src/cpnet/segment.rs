//! From a stack to its objects, as Cellpose's `eval` does it.
//!
//! ```text
//! stack ─normalise─► 1st and 99th percentile at 0 and 1 ─resize─► objects as large as in training
//!       ─network──► flows and logits ─resize─► on the grid of the stack ─follow the flows─► objects
//! ```
//! In 3D the network sees planes of three orientations and flows have three components. Otherwise
//! every plane is segmented by itself, and objects of neighbouring planes may be stitched.
//!
//! The same as `CellposeModel.eval` of `cellpose` 3.1.1.1 for an image of one channel.

use serde::{Deserialize, Serialize};
use spotlight_engine::Engine;
use spotlight_image::cellpose::{
    Dynamics, Normalisation, fill_and_remove, masks_of_planes, masks_of_stack, normalise,
    resize_linear, scaled_shape, stitch,
};
use spotlight_image::{Shape, Volume};

use super::{Cpnet, NUCLEI_DIAMETER, Orientation, RunOptions, run_3d, run_planes};
use crate::error::Error;

/// Steps along the flows at the size of training.
const STEPS: f64 = 200.0;

/// How a stack is segmented. The defaults are those of the package, in 3D as the paper uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellposeOptions {
    /// Diameter of the objects in pixels; without, that of the labels the model was trained with.
    pub diameter: Option<f64>,
    /// Diameter in pixels that objects had in training; without, what the model's file says, or
    /// else 17, that of the model for nuclei.
    pub model_diameter: Option<f64>,
    /// Whether the network sees planes of three orientations and objects are found in 3D.
    pub do_3d: bool,
    /// In 3D, how many times a voxel is longer along z than along y and x.
    pub anisotropy: f64,
    /// Whether the stack is scaled so that its percentiles become 0 and 1.
    pub normalise: bool,
    /// These percentiles, in percent.
    pub percentiles: [f64; 2],
    /// Voxels with a logit above this may lie in an object.
    pub cellprob_threshold: f64,
    /// In planes, objects with a larger error of their flow are removed; 0: none are.
    pub flow_threshold: f64,
    /// Objects of fewer voxels are removed.
    pub min_size: usize,
    /// Objects of more than this share of the stack, or of the plane, are removed.
    pub max_size_fraction: f64,
    /// Without `do_3d`, objects of neighbouring planes are joined where their intersection over
    /// union is at least this; 0: they are not.
    pub stitch_threshold: f64,
    /// Steps along the flows; without, 200, or more for objects that are shrunk for the network.
    pub steps: Option<usize>,
    /// How the network is taken over planes.
    pub run: RunOptions,
}

impl Default for CellposeOptions {
    fn default() -> Self {
        Self {
            diameter: None,
            model_diameter: None,
            do_3d: true,
            anisotropy: 1.0,
            normalise: true,
            percentiles: [1.0, 99.0],
            cellprob_threshold: 0.0,
            flow_threshold: 0.4,
            min_size: 15,
            max_size_fraction: 0.4,
            stitch_threshold: 0.0,
            steps: None,
            run: RunOptions::default(),
        }
    }
}

impl CellposeOptions {
    /// Whether every option makes sense.
    ///
    /// # Errors
    ///
    /// The first that does not.
    pub fn check(&self) -> Result<(), Error> {
        let option =
            |option, found: String, expected| Err(Error::Option { option, found, expected });
        let positive = |value: f64| value > 0.0 && value.is_finite();
        for (name, value) in [
            ("diameter", self.diameter),
            ("model_diameter", self.model_diameter),
            ("anisotropy", Some(self.anisotropy)),
        ] {
            if let Some(value) = value.filter(|value| !positive(*value)) {
                return option(name, value.to_string(), "a number above 0");
            }
        }
        let [low, high] = self.percentiles;
        if !(0.0 <= low && low < high && high <= 100.0) {
            let found = format!("{low}, {high}");
            return option("percentiles", found, "two rising numbers from 0 to 100");
        }
        for (name, value) in [
            ("cellprob_threshold", self.cellprob_threshold),
            ("flow_threshold", self.flow_threshold),
        ] {
            if !value.is_finite() {
                return option(name, value.to_string(), "a number");
            }
        }
        for (name, value) in [
            ("max_size_fraction", self.max_size_fraction),
            ("stitch_threshold", self.stitch_threshold),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return option(name, value.to_string(), "between 0 and 1");
            }
        }
        self.run.check()
    }

    /// By how much the network's image is larger than the stack, along y and x.
    fn rescale(&self, network: &Cpnet) -> f64 {
        let trained = self.model_diameter.or(network.diameter).unwrap_or(NUCLEI_DIAMETER);
        trained / self.diameter.or(network.label_diameter).unwrap_or(trained)
    }

    fn dynamics(&self, network: &Cpnet) -> Dynamics {
        let steps = (1.0 / self.rescale(network) * STEPS) as usize;
        Dynamics {
            steps: self.steps.unwrap_or(steps),
            cell_threshold: self.cellprob_threshold,
            flow_threshold: self.flow_threshold,
            min_voxels: self.min_size,
            max_fraction: self.max_size_fraction,
            ..Dynamics::default()
        }
    }
}

/// What the network says of a stack, on the stack's grid.
#[derive(Clone, Debug)]
pub struct StackFlows {
    /// Flows along z, y and x in 3D, along y and x otherwise; each (z, y, x).
    pub flows: Vec<Volume<f32>>,
    /// Logits of being in an object.
    pub logits: Volume<f32>,
}

/// The objects of a stack (z, y, x), numbered from 1. `name` is how errors name it. `progress`
/// learns after every batch how many of how many tiles the network is through with.
///
/// Without `do_3d` and stitching, the objects of every plane are numbered by themselves.
///
/// # Errors
///
/// If an option makes no sense, the stack is empty or holds a voxel that is not finite, nothing is
/// left of it at the size that the network needs, or memory does not suffice.
///
/// # Panics
///
/// If the network has other outputs than two flows and a logit.
///
/// # Examples
///
/// ```
/// use spotlight_engine::{Engine, EngineOptions};
/// use spotlight_image::Volume;
/// use spotlight_learn::cpnet::{CellposeOptions, Cpnet, segment};
///
/// let network = Cpnet::seeded(&[2, 4, 6, 8], 3, 0);
/// let engine = Engine::new(&EngineOptions::default())?;
/// let stack = Volume::from_fn([3, 20, 30], |[z, y, x]| ((z + y) * x % 9) as f32);
/// let options = CellposeOptions { diameter: Some(20.0), ..CellposeOptions::default() };
/// let objects = segment(&network, &engine, stack, "cells.tif", &options, &mut |_, _| {})?;
/// assert_eq!(objects.shape, [3, 20, 30]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn segment(
    network: &Cpnet,
    engine: &Engine,
    stack: Volume<f32>,
    name: &str,
    options: &CellposeOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Volume<u32>, Error> {
    // Before the network's hours: that the search for objects is likely to fit.
    let likely = stack.voxels.len() / LIKELY_SHARE;
    check_search(network, stack.shape, likely, name, options)?;
    let StackFlows { flows, logits } =
        stack_flows(network, engine, stack, name, options, progress)?;
    let (shape, dynamics) = (logits.shape, options.dynamics(network));
    let threshold = options.cellprob_threshold as f32;
    let cells = logits.voxels.iter().filter(|logit| **logit > threshold).count();
    check_search(network, shape, cells, name, options)?;
    let objects = engine.install(|| match flows.as_slice() {
        [z, y, x] => masks_of_stack([z, y, x], &logits, shape, &dynamics),
        [y, x] if options.stitch_threshold > 0.0 && shape[0] > 1 => {
            // Small pieces may be joined to large objects, so they go afterwards.
            let dynamics = Dynamics { min_voxels: 0, ..dynamics };
            let planes = masks_of_planes([y, x], &logits, shape, &dynamics);
            fill_and_remove(&stitch(&planes, options.stitch_threshold), options.min_size)
        }
        [y, x] => masks_of_planes([y, x], &logits, shape, &dynamics),
        _ => unreachable!("flows have two or three components"),
    });
    Ok(objects)
}

/// Voxels of a stack for one that lies in a cell, where that is not known yet.
const LIKELY_SHARE: usize = 4;

/// Makes sure that the search for objects keeps to the memory of the options, if so many voxels lie
/// in cells.
fn check_search(
    network: &Cpnet,
    shape: Shape,
    cells: usize,
    name: &str,
    options: &CellposeOptions,
) -> Result<(), Error> {
    let voxels = shape.iter().product::<usize>() as u64;
    let needed = network.fixed_bytes() + search_bytes(voxels, cells as u64, options.do_3d);
    let allowed = options.run.memory_bytes;
    if needed <= allowed {
        return Ok(());
    }
    let problem = format!(
        "the search for objects in its {shape:?} voxels (z, y, x) takes {needed} bytes if {cells} \
         of them lie in cells, and Cellpose may use {allowed}: allow more memory, or crop the stack"
    );
    Err(Error::Stack { name: name.to_owned(), problem })
}

/// What the search for objects takes beside the program: flows and logits, and
///
/// ```text
/// in 3D      a place of each voxel; of a cell voxel its offset, its flow, its end and that of its
///            chunk; or, later, the ends that are counted and the labels
/// in planes  the labels of each plane and of all
/// ```
fn search_bytes(voxels: u64, cells: u64, do_3d: bool) -> u64 {
    if do_3d {
        16 * voxels + (4 * voxels + 40 * cells).max(8 * voxels + 16 * cells)
    } else {
        20 * voxels
    }
}

/// Flows and logits of a stack; arguments and errors as for [`segment`].
///
/// # Errors
///
/// As [`segment`].
///
/// # Panics
///
/// As [`segment`].
pub fn stack_flows(
    network: &Cpnet,
    engine: &Engine,
    stack: Volume<f32>,
    name: &str,
    options: &CellposeOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<StackFlows, Error> {
    options.check()?;
    let shape = stack.shape;
    let fault =
        |problem: &str| Err(Error::Stack { name: name.to_owned(), problem: problem.to_owned() });
    if stack.voxels.is_empty() {
        return fault("it has no voxel");
    }
    if !stack.voxels.iter().all(|voxel| voxel.is_finite()) {
        return fault("it holds a voxel that is not finite; replace such voxels");
    }
    let inner = network_shape(network, shape, options);
    if inner.contains(&0) {
        let problem = format!(
            "resized for the network, its {shape:?} voxels (z, y, x) become {inner:?}: \
             give a smaller diameter, or planes that are further apart"
        );
        return fault(&problem);
    }
    if let Some(needed) = too_large(inner, options).filter(|_| inner != shape) {
        let allowed = options.run.memory_bytes;
        let problem = format!(
            "resized for the network, its {shape:?} voxels (z, y, x) become {inner:?}, which takes \
             {needed:.0} bytes with flows and logits, and Cellpose may use {allowed}: \
             give a larger diameter, allow more memory, or crop the stack"
        );
        return fault(&problem);
    }
    let image = engine.install(|| prepared(stack, inner, options));
    let (flows, logits) = if options.do_3d {
        let sums = run_3d(network, engine, &[&image], name, &options.run, progress)?;
        (Vec::from(sums.flows), sums.logits)
    } else {
        let planes = Orientation::Yx;
        let outputs = run_planes(network, engine, &[&image], planes, name, &options.run, progress)?;
        (vec![outputs.first, outputs.second], outputs.logits)
    };
    drop(image);
    let back = |volume: Volume<f32>| {
        if inner == shape { volume } else { engine.install(|| resize_linear(&volume, shape)) }
    };
    Ok(StackFlows { flows: flows.into_iter().map(back).collect(), logits: back(logits) })
}

/// The shape of the network's image.
fn network_shape(network: &Cpnet, shape: Shape, options: &CellposeOptions) -> Shape {
    let rescale = options.rescale(network);
    if options.do_3d {
        return scaled_shape(shape, rescale, options.anisotropy);
    }
    let [_, height, width] = scaled_shape(shape, rescale, 1.0);
    [shape[0], height, width]
}

/// The bytes of an image of this shape with its flows and logits, if they are more than all memory
/// that is allowed: then it must not even be made. In f64, as they may be more than a u64 counts.
fn too_large(shape: Shape, options: &CellposeOptions) -> Option<f64> {
    let volumes = if options.do_3d { 5.0 } else { 4.0 };
    let voxels: f64 = shape.iter().map(|side| *side as f64).product();
    let needed = voxels * volumes * size_of::<f32>() as f64;
    (needed > options.run.memory_bytes as f64).then_some(needed)
}

/// The network's image.
fn prepared(mut stack: Volume<f32>, shape: Shape, options: &CellposeOptions) -> Volume<f32> {
    if options.normalise {
        // Planes that are neither seen in 3D nor stitched are images of their own.
        let whole_stack = options.do_3d || options.stitch_threshold > 0.0;
        let normalisation = Normalisation { percents: options.percentiles, whole_stack };
        stack = normalise(&stack, &normalisation);
    }
    if shape == stack.shape { stack } else { resize_linear(&stack, shape) }
}
