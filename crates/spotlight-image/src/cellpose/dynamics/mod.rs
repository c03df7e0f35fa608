//! From flows to masks: voxels follow the flow, and those that end together are an object.
//!
//! ```text
//! cells     voxels with a logit above a threshold                          field
//! follow    p = p + flow(p) / 5, 200 times, from each of them              motion
//! label     peaks of the histogram of their ends, grown and painted        seeds
//! check     in planes: flows of the object beside the predicted ones       quality
//! resize    by nearest neighbours, if asked for
//! tidy      small objects, holes                                           fill
//! ```
//!
//! The same as `compute_masks` and `resize_and_compute_masks` of Cellpose 3.1.1.1 on the CPU.

mod field;
mod fill;
mod motion;
mod quality;
mod seeds;

use rayon::prelude::*;

pub use fill::fill_and_remove;
pub use quality::{flow_errors, remove_bad_flows};

use self::field::{Field, Lanes, cells_of};
use self::motion::{ByVoxel, InPlane, InStack, Motion, follow};
use super::resize::resize_nearest;
use crate::{Region, Shape, Volume};

/// How flows become masks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dynamics {
    /// Number of steps; Cellpose takes 200 over the factor by which an image was resized.
    pub steps: usize,
    /// Voxels with a logit above this may lie in a cell.
    pub cell_threshold: f64,
    /// In planes, objects with a larger error of their flow are removed; 0 or less: none are.
    pub flow_threshold: f64,
    /// Objects of fewer voxels are removed.
    pub min_voxels: usize,
    /// Objects of more than this share of the image are removed.
    pub max_fraction: f64,
    /// Whether flows are interpolated between voxels.
    pub interpolate: bool,
}

impl Default for Dynamics {
    fn default() -> Self {
        Self {
            steps: 200,
            cell_threshold: 0.0,
            flow_threshold: 0.4,
            min_voxels: 15,
            max_fraction: 0.4,
            interpolate: true,
        }
    }
}

/// The objects of a stack by its flow (z, y, x) and the logits of its voxels, on a grid of
/// `shape` voxels; the flow of a network is 5 times the unit vector.
///
/// # Panics
///
/// If flow and logits differ in shape, or a stack without voxels is to have some.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::cellpose::{Dynamics, joint_flows_of_stack, masks_of_stack};
///
/// let far = |x: usize| if x < 9 { 1 } else { 2 };
/// let inside = |z, y, x| (1..7).contains(&z) && (1..8).contains(&y) && (1..16).contains(&x);
/// let labels = Volume::from_fn([8, 9, 17], |[z, y, x]| if inside(z, y, x) { far(x) } else { 0 });
/// let [z, y, x] = joint_flows_of_stack(&labels).map(|flow| flow.map(|f| 5.0 * f));
/// let logits = labels.map(|label| if *label > 0 { 6.0 } else { -6.0 });
/// let masks = masks_of_stack([&z, &y, &x], &logits, logits.shape, &Dynamics::default());
/// assert_eq!(masks, labels);
/// ```
#[must_use]
pub fn masks_of_stack(
    flow: [&Volume<f32>; 3],
    logit: &Volume<f32>,
    shape: Shape,
    options: &Dynamics,
) -> Volume<u32> {
    let objects = objects_of_stack(flow, logit, options);
    fill_and_remove(&resized(objects, shape), options.min_voxels)
}

/// The objects of each plane by itself, numbered from 1 in each, by the flow (y, x) and the
/// logits, on a grid of `shape` voxels.
///
/// # Panics
///
/// If flow and logits differ in shape, or `shape` has another number of planes, or planes
/// without pixels are to have some.
#[must_use]
pub fn masks_of_planes(
    flow: [&Volume<f32>; 2],
    logit: &Volume<f32>,
    shape: Shape,
    options: &Dynamics,
) -> Volume<u32> {
    assert_eq!(shape[0], logit.shape[0], "planes by themselves are not resized along z");
    let [_, height, width] = logit.shape;
    let masks = |z: usize| {
        let region = Region { start: [z, 0, 0], shape: [1, height, width] };
        let [y, x, logit] = [flow[0], flow[1], logit].map(|volume| volume.crop(region));
        let objects = objects_of_plane([&y, &x], &logit, options);
        let good = remove_bad_flows(&objects, [&y, &x], options.flow_threshold);
        let masks = fill_and_remove(&resized(good, [1, shape[1], shape[2]]), options.min_voxels);
        masks.voxels
    };
    assert_flow(&flow, logit);
    let planes: Vec<Vec<u32>> = (0..shape[0]).into_par_iter().map(masks).collect();
    Volume::new(shape, planes.concat())
}

/// The objects of a stack before small ones are removed and holes are filled.
///
/// # Panics
///
/// If flow and logits differ in shape.
#[must_use]
pub fn objects_of_stack(
    flow: [&Volume<f32>; 3],
    logit: &Volume<f32>,
    options: &Dynamics,
) -> Volume<u32> {
    let field = field_of_stack(&flow, logit, options);
    let end = |position| offset_of(logit.shape, position);
    let ends = walk(&field, &InStack::new(&field), options, end);
    objects(field, &ends, options)
}

/// The objects of one plane before bad and small ones are removed and holes are filled.
///
/// # Panics
///
/// If flow and logits differ in shape, or have more than one plane.
#[must_use]
pub fn objects_of_plane(
    flow: [&Volume<f32>; 2],
    logit: &Volume<f32>,
    options: &Dynamics,
) -> Volume<u32> {
    let field = field_of_plane(&flow, logit, options);
    let end = |position| offset_of(logit.shape, position);
    let ends = walk(&field, &InPlane::new(&field), options, end);
    objects(field, &ends, options)
}

/// Where the walks of the cell voxels of a stack end, in raster order of the voxels:
/// positions along (z, y, x), in voxels.
///
/// # Panics
///
/// If flow and logits differ in shape.
#[must_use]
pub fn ends_in_stack(
    flow: [&Volume<f32>; 3],
    logit: &Volume<f32>,
    options: &Dynamics,
) -> Vec<[f32; 3]> {
    let field = field_of_stack(&flow, logit, options);
    walk(&field, &InStack::new(&field), options, |position| position)
}

/// Where the walks of the cell voxels of one plane end; z is 0.
///
/// # Panics
///
/// If flow and logits differ in shape, or have more than one plane.
#[must_use]
pub fn ends_in_plane(
    flow: [&Volume<f32>; 2],
    logit: &Volume<f32>,
    options: &Dynamics,
) -> Vec<[f32; 3]> {
    let field = field_of_plane(&flow, logit, options);
    walk(&field, &InPlane::new(&field), options, |position| position)
}

fn field_of_stack(flow: &[&Volume<f32>; 3], logit: &Volume<f32>, options: &Dynamics) -> Field {
    assert_flow(flow, logit);
    let flow = |offset: usize| -> Lanes {
        let [z, y, x] = flow.map(|component| component.voxels[offset]);
        if options.interpolate {
            InStack::flow(logit.shape, [z, y, x])
        } else {
            [z / 5.0, y / 5.0, x / 5.0, 0.0]
        }
    };
    Field::new(logit.shape, [1; 3], cells_of(logit, options.cell_threshold), flow)
}

fn field_of_plane(flow: &[&Volume<f32>; 2], logit: &Volume<f32>, options: &Dynamics) -> Field {
    assert_flow(flow, logit);
    assert_eq!(logit.shape[0], 1, "a plane has one plane");
    let flow = |offset: usize| -> Lanes {
        let [y, x] = flow.map(|component| component.voxels[offset] / 5.0);
        [0.0, y, x, 0.0]
    };
    Field::new(logit.shape, [0, 1, 1], cells_of(logit, options.cell_threshold), flow)
}

/// Where the walks end, by a motion that interpolates, or by voxels if the options say so.
fn walk<T: Send>(
    field: &Field,
    interpolated: &impl Motion,
    options: &Dynamics,
    end: impl Fn([f32; 3]) -> T + Sync,
) -> Vec<T> {
    if options.interpolate {
        follow(field, interpolated, options.steps, end)
    } else {
        follow(field, &ByVoxel::new(field), options.steps, end)
    }
}

fn objects(field: Field, ends: &[usize], options: &Dynamics) -> Volume<u32> {
    let (shape, cells) = field.into_cells();
    seeds::objects(shape, &cells, ends, options.max_fraction)
}

/// The voxel that a position lies in; what is not a number counts as 0.
fn offset_of(shape: Shape, position: [f32; 3]) -> usize {
    let [z, y, x] = std::array::from_fn(|axis| (position[axis] as usize).min(shape[axis] - 1));
    (z * shape[1] + y) * shape[2] + x
}

fn resized(labels: Volume<u32>, shape: Shape) -> Volume<u32> {
    if labels.shape == shape { labels } else { resize_nearest(&labels, shape) }
}

fn assert_flow(flow: &[&Volume<f32>], logit: &Volume<f32>) {
    let fits = |component: &&Volume<f32>| component.shape == logit.shape;
    assert!(flow.iter().all(fits), "flows and logits {:?} differ in shape", logit.shape);
}

#[cfg(test)]
mod tests;
