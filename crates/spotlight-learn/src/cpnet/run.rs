//! The network over the planes of a stack: in tiles, and in three orientations.
//!
//! ```text
//! each plane      framed with zeros, cut into tiles, flows and logits of each tile, their mean
//!                 weighted with a taper, the frame cut off
//! YX over z       a: flows along y and x, logit
//! ZX over y       b: flows along z and x, logit
//! ZY over x       c: flows along z and y, logit
//! sums            dz = b0 + c0,  dy = a0 + c1,  dx = a1 + b1,  logit = a2 + b2 + c2
//! ```
//! Planes and tiles go through in batches, so that beside the sums only these take memory.
//!
//! The same as `run_net` and `run_3D` of `cellpose` 3.1.1.1.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use spotlight_engine::Engine;
use spotlight_image::cellpose::Tiling;
use spotlight_image::{Shape, Volume};

use super::{Cpnet, pass::Pass};
use crate::error::Error;

/// How the network is taken over planes; the defaults are those of the package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// Side of a tile in pixels, a multiple of 16.
    pub tile_size: usize,
    /// Share of a tile that overlaps the next.
    pub tile_overlap: f64,
    /// Whether tiles overlap by half and every second one is turned over.
    pub augment: bool,
    /// Tiles that go through the network together, at most.
    pub batch_size: usize,
    /// Bytes of memory that the program may take while the network runs and objects are searched
    /// for, the network's image and what it says of it included; batches are as small as it asks
    /// for. The scaling of the image before takes what it needs.
    pub memory_bytes: u64,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            tile_size: 224,
            tile_overlap: 0.1,
            augment: false,
            batch_size: 8,
            memory_bytes: 4 << 30,
        }
    }
}

impl RunOptions {
    /// Whether every option makes sense.
    ///
    /// # Errors
    ///
    /// The first that does not.
    pub fn check(&self) -> Result<(), Error> {
        let option =
            |option, found: String, expected| Err(Error::Option { option, found, expected });
        if self.tile_size == 0 || !self.tile_size.is_multiple_of(16) {
            return option("tile_size", self.tile_size.to_string(), "a multiple of 16");
        }
        if !(0.05..=0.5).contains(&self.tile_overlap) {
            return option("tile_overlap", self.tile_overlap.to_string(), "between 0.05 and 0.5");
        }
        if self.batch_size == 0 {
            return option("batch_size", self.batch_size.to_string(), "at least 1");
        }
        Ok(())
    }

    pub(super) fn tiling(&self) -> Tiling {
        Tiling { size: self.tile_size, overlap: self.tile_overlap, augment: self.augment }
    }
}

/// Which planes of a stack (z, y, x).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// Planes (y, x), one for every z.
    Yx,
    /// Planes (z, x), one for every y.
    Zx,
    /// Planes (z, y), one for every x.
    Zy,
}

impl Orientation {
    /// The axes of the stack: that along which planes follow each other, then those of a plane.
    pub(super) fn axes(self) -> [usize; 3] {
        match self {
            Self::Yx => [0, 1, 2],
            Self::Zx => [1, 0, 2],
            Self::Zy => [2, 0, 1],
        }
    }

    /// Number of planes, their first and their second side.
    pub(super) fn planes(self, shape: Shape) -> [usize; 3] {
        self.axes().map(|axis| shape[axis])
    }
}

/// What the network says of every plane of one orientation.
#[derive(Clone, Debug)]
pub struct PlaneOutputs {
    /// Flow along the first axis of the planes, (plane, first axis, second axis).
    pub first: Volume<f32>,
    /// Flow along the second axis of the planes.
    pub second: Volume<f32>,
    /// Logits of being in a cell.
    pub logits: Volume<f32>,
    /// The style of each plane, (plane, feature).
    pub styles: Vec<f32>,
}

/// Sums over the three orientations.
#[derive(Clone, Debug)]
pub struct StackOutputs {
    /// Flows along z, y and x, each (z, y, x).
    pub flows: [Volume<f32>; 3],
    /// Logits of being in a cell.
    pub logits: Volume<f32>,
    /// The styles of the last orientation, ZY: (x, feature).
    pub styles: Vec<f32>,
}

/// Takes the network over all planes of one orientation.
///
/// `channels` are the image's channels, (z, y, x); the network's further ones are zeros. `name` is
/// how errors name the stack. `progress` learns after every batch how many of how many tiles are
/// done.
///
/// # Errors
///
/// If an option makes no sense, or memory does not suffice for the outputs and one tile.
///
/// # Panics
///
/// If there is no channel, there are more than the network has, their shapes differ, or the network
/// has other outputs than two flows and a logit.
///
/// # Examples
///
/// ```
/// use spotlight_engine::{Engine, EngineOptions};
/// use spotlight_image::Volume;
/// use spotlight_learn::cpnet::{Cpnet, Orientation, RunOptions, run_planes};
///
/// let network = Cpnet::seeded(&[2, 4, 6, 8], 3, 0);
/// let engine = Engine::new(&EngineOptions::default())?;
/// let stack = Volume::from_fn([3, 20, 30], |[z, y, x]| ((z + y) * x % 9) as f32);
/// let options = RunOptions::default();
/// let outputs = run_planes(
///     &network, &engine, &[&stack], Orientation::Zx, "cells.tif", &options, &mut |_, _| {},
/// )?;
/// assert_eq!(outputs.logits.shape, [20, 3, 30]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_planes(
    network: &Cpnet,
    engine: &Engine,
    channels: &[&Volume<f32>],
    orientation: Orientation,
    name: &str,
    options: &RunOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<PlaneOutputs, Error> {
    options.check()?;
    let shape = orientation.planes(channels[0].shape);
    let held = volume_bytes(channels[0].shape, channels.len() + 3);
    let batch = network.batch(channels[0].shape, orientation, options, held);
    let batch = batch.map_err(|needed| memory_error(name, 3, shape, needed, options))?;
    let pass = Pass::new(network, engine, channels, orientation, options, batch);
    let [mut first, mut second, mut logits] = [(); 3].map(|()| Volume::filled(shape, 0.0));
    let plane = shape[1] * shape[2];
    let total = pass.tiles();
    let styles = pass.run(&mut |done| progress(done, total), &mut |start, outputs| {
        for (index, output) in outputs.iter().enumerate() {
            let volumes = [&mut first, &mut second, &mut logits];
            for (volume, from) in volumes.into_iter().zip(output.voxels.chunks_exact(plane)) {
                volume.voxels[(start + index) * plane..][..plane].copy_from_slice(from);
            }
        }
    });
    Ok(PlaneOutputs { first, second, logits, styles })
}

/// Takes the network over a stack in three orientations and sums what it says.
///
/// Arguments, errors and panics as for [`run_planes`]. The sums take 16 bytes a voxel; the rest
/// keeps to `options.memory_bytes` by smaller batches.
///
/// # Errors
///
/// If an option makes no sense, or memory does not suffice for the sums and one tile.
///
/// # Panics
///
/// If there is no channel, there are more than the network has, their shapes differ, or the network
/// has other outputs than two flows and a logit.
///
/// # Examples
///
/// ```
/// use spotlight_engine::{Engine, EngineOptions};
/// use spotlight_image::Volume;
/// use spotlight_learn::cpnet::{Cpnet, RunOptions, run_3d};
///
/// let network = Cpnet::seeded(&[2, 4, 6, 8], 3, 0);
/// let engine = Engine::new(&EngineOptions::default())?;
/// let stack = Volume::from_fn([3, 20, 30], |[z, y, x]| ((z + y) * x % 9) as f32);
/// let options = RunOptions::default();
/// let sums = run_3d(&network, &engine, &[&stack], "cells.tif", &options, &mut |_, _| {})?;
/// assert_eq!(sums.logits.shape, [3, 20, 30]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_3d(
    network: &Cpnet,
    engine: &Engine,
    channels: &[&Volume<f32>],
    name: &str,
    options: &RunOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<StackOutputs, Error> {
    options.check()?;
    let shape = channels[0].shape;
    let held = volume_bytes(shape, channels.len() + 4);
    let mut passes = Vec::new();
    for orientation in [Orientation::Yx, Orientation::Zx, Orientation::Zy] {
        let batch = network.batch(shape, orientation, options, held);
        let batch = batch.map_err(|needed| memory_error(name, 4, shape, needed, options))?;
        passes.push(Pass::new(network, engine, channels, orientation, options, batch));
    }
    let total = passes.iter().map(Pass::tiles).sum();
    let mut sums = [(); 4].map(|()| Volume::filled(shape, 0.0));
    let (mut before, mut styles) = (0, Vec::new());
    for pass in &passes {
        let [_, first, second] = pass.orientation.axes();
        styles = pass.run(&mut |done| progress(before + done, total), &mut |start, outputs| {
            engine.install(|| {
                for (part, axis) in [first, second, 3].into_iter().enumerate() {
                    add(&mut sums[axis], pass.orientation, start, outputs, part);
                }
            });
        });
        before += pass.tiles();
    }
    let [z, y, x, logits] = sums;
    Ok(StackOutputs { flows: [z, y, x], logits, styles })
}

fn volume_bytes(shape: Shape, volumes: usize) -> u64 {
    (shape.iter().product::<usize>() * volumes * size_of::<f32>()) as u64
}

fn memory_error(
    name: &str,
    volumes: usize,
    shape: Shape,
    needed: u64,
    options: &RunOptions,
) -> Error {
    let sums = volume_bytes(shape, volumes);
    Error::CellposeMemory { name: name.to_owned(), sums, needed, allowed: options.memory_bytes }
}

/// Adds one channel of the outputs of some planes, from plane `start` on, to a volume (z, y, x).
fn add(
    sum: &mut Volume<f32>,
    orientation: Orientation,
    start: usize,
    outputs: &[Volume<f32>],
    channel: usize,
) {
    let [_, height, width] = sum.shape;
    if height * width == 0 {
        return;
    }
    sum.voxels.par_chunks_exact_mut(height * width).enumerate().for_each(|(z, plane)| {
        let row_of = |output: &Volume<f32>, row: usize| {
            let first = output.offset([channel, row, 0]);
            first..first + output.shape[2]
        };
        match orientation {
            Orientation::Yx => {
                let Some(output) = z.checked_sub(start).and_then(|index| outputs.get(index)) else {
                    return;
                };
                let from = &output.voxels[output.offset([channel, 0, 0])..][..height * width];
                plane.iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
            }
            Orientation::Zx => {
                for (output, row) in outputs.iter().zip(plane.chunks_exact_mut(width).skip(start)) {
                    let from = &output.voxels[row_of(output, z)];
                    row.iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
                }
            }
            Orientation::Zy => {
                let columns: Vec<&[f32]> =
                    outputs.iter().map(|output| &output.voxels[row_of(output, z)]).collect();
                for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                    for (sum, column) in row[start..].iter_mut().zip(&columns) {
                        *sum += column[y];
                    }
                }
            }
        }
    });
}
