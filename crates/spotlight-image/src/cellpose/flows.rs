//! The flows that a perfect network would predict of a label image.
//!
//! Heat spreads from the centre of an object; the flow is the direction in which it grows:
//!
//! ```text
//! centre = voxel of the object nearest to the mean of its voxels, the first of equals
//! repeat n times: T(centre) += 1;  T(v) = sum of T over v and its neighbours in the object / k
//! flow(v) = g / (|g| + 1e-60),     g = T(v + e) - T(v - e) along each axis e
//! ```
//!
//! | function | neighbours | k | n | T outside of the object |
//! |---|---|---|---|---|
//! | [`flows_of_planes`] | 8 in the plane | 9 | 2 (height + width + 4) of its own box | 0 |
//! | [`joint_flows_of_planes`] | 8 in the plane | 9 | 2 (height + width + 2), largest box | that of others |
//! | [`joint_flows_of_stack`] | 6 | 7 | 6 (depth + height + width + 3), largest box | that of others |
//!
//! [`flows_of_stack`] adds up the flows in the planes of all three directions, as the network
//! is run on them. The same as `masks_to_flows` on the CPU, `masks_to_flows_gpu` and
//! `masks_to_flows_gpu_3d` of Cellpose 3.1.1.1. Heat is f64: far from the centre of a large
//! object it is too little for f32.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::heat::{Heat, Spread};
use crate::Volume;
use crate::grid::{Region, Shape, index_of, voxel_count};
use crate::label::{bounding_boxes, crop_object};

/// What a gradient of length 0 is divided by.
const TINY: f64 = 1e-60;

/// Flows along (y, x) of each plane of a label image, of length 1 in objects and 0 outside.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, cellpose::flows_of_planes};
///
/// let [y, x] = flows_of_planes(&Volume::new([1, 1, 5], vec![0, 4, 4, 4, 0]));
/// assert_eq!(y.voxels, [0.0; 5]);
/// assert_eq!(x.voxels, [0.0, 1.0, 0.0, -1.0, 0.0]);
/// ```
#[must_use]
pub fn flows_of_planes(labels: &Volume<u32>) -> [Volume<f32>; 2] {
    let planes: Vec<Volume<[f32; 2]>> =
        (0..labels.shape[0]).into_par_iter().map(|z| plane_flow(&plane_of(labels, 0, z))).collect();
    let component = |axis: usize| {
        let voxels = planes.iter().flat_map(|plane| plane.voxels.iter().map(|flow| flow[axis]));
        Volume::new(labels.shape, voxels.collect())
    };
    [component(0), component(1)]
}

/// Flows along (z, y, x): the sum of those in the planes (y, x), (z, x) and (z, y) through
/// each voxel, so that components reach 2.
#[must_use]
pub fn flows_of_stack(labels: &Volume<u32>) -> [Volume<f32>; 3] {
    let mut sums = [0; 3].map(|_| Volume::filled(labels.shape, 0.0_f32));
    for normal in 0..3 {
        let [first, second] = axes_of_plane(normal);
        let count = labels.shape[normal];
        let planes: Vec<Volume<[f32; 2]>> = (0..count)
            .into_par_iter()
            .map(|index| plane_flow(&plane_of(labels, normal, index)))
            .collect();
        for (index, plane) in planes.iter().enumerate() {
            let [_, height, width] = plane.shape;
            for a in 0..height {
                for b in 0..width {
                    let mut place = [index; 3];
                    (place[first], place[second]) = (a, b);
                    let [flow_a, flow_b] = plane.at([0, a, b]);
                    let offset = labels.offset(place);
                    sums[first].voxels[offset] += flow_a;
                    sums[second].voxels[offset] += flow_b;
                }
            }
        }
    }
    sums
}

/// Flows along (y, x) of each plane, where heat of one object beside another counts as a
/// slope towards it. (Cellpose on a GPU.)
#[must_use]
pub fn joint_flows_of_planes(labels: &Volume<u32>) -> [Volume<f32>; 2] {
    let mut flows = [0; 2].map(|_| Volume::filled(labels.shape, 0.0_f32));
    for z in 0..labels.shape[0] {
        let plane = plane_of(labels, 0, z);
        let [_, y, x] =
            joint_flow(&plane, Spread::JointPlane, |[_, height, width]| 2 * (height + width + 2));
        flows[0].paste([z, 0, 0], &y);
        flows[1].paste([z, 0, 0], &x);
    }
    flows
}

/// Flows along (z, y, x) by heat that spreads in three directions, of length 1 in objects;
/// heat of one object beside another counts as a slope towards it.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, cellpose::joint_flows_of_stack};
///
/// let [z, y, x] = joint_flows_of_stack(&Volume::filled([3, 3, 3], 1));
/// assert_eq!([z.at([0, 1, 1]), y.at([1, 2, 1]), x.at([1, 1, 1])], [1.0, -1.0, 0.0]);
/// ```
#[must_use]
pub fn joint_flows_of_stack(labels: &Volume<u32>) -> [Volume<f32>; 3] {
    joint_flow(labels, Spread::JointStack, |shape| 6 * (shape.iter().sum::<usize>() + 3))
}

/// The centre of each object: its voxel nearest to the mean of its voxels.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, cellpose::object_centres};
///
/// let centres = object_centres(&Volume::new([1, 1, 4], vec![0, 5, 5, 5]));
/// assert_eq!(centres[&5], [0, 0, 2]);
/// ```
#[must_use]
pub fn object_centres(labels: &Volume<u32>) -> BTreeMap<u32, [usize; 3]> {
    let centre = |(label, region): (u32, Region)| {
        let inside = centre_in(&crop_object(labels, label, region));
        (label, std::array::from_fn(|axis| region.start[axis] + inside[axis]))
    };
    bounding_boxes(labels).into_iter().map(centre).collect()
}

/// The flow of each object of a plane with its label and box, heat being 0 around it.
pub(super) fn flow_of_object(plane: &Volume<u32>, label: u32, region: Region) -> Vec<[f64; 2]> {
    let object = crop_object(plane, label, region);
    let [_, height, width] = region.shape;
    let mut heat = Heat::new(&object, Spread::Plane);
    heat.spread(centre_in(&object), 2 * (height + width + 4));
    let flow = |(place, inside): ([usize; 3], &bool)| {
        if !inside {
            return [0.0; 2];
        }
        let [_, y, x] = direction(heat.gradient(place));
        [y, x]
    };
    places(region.shape).zip(&object.voxels).map(flow).collect()
}

fn plane_flow(plane: &Volume<u32>) -> Volume<[f32; 2]> {
    let mut flows = Volume::filled(plane.shape, [0.0; 2]);
    for (label, region) in bounding_boxes(plane) {
        let flow = flow_of_object(plane, label, region);
        for ([_, y, x], flow) in places(region.shape).zip(flow) {
            let offset = plane.offset([0, region.start[1] + y, region.start[2] + x]);
            if plane.voxels[offset] == label {
                flows.voxels[offset] = flow.map(|component| component as f32);
            }
        }
    }
    flows
}

fn joint_flow(
    labels: &Volume<u32>,
    spread: Spread,
    steps: impl Fn(Shape) -> usize,
) -> [Volume<f32>; 3] {
    let boxes = bounding_boxes(labels);
    let steps = boxes.values().map(|region| steps(region.shape)).max().unwrap_or(0);
    let heat = |(label, region): (&u32, &Region)| {
        let object = crop_object(labels, *label, *region);
        let mut heat = Heat::new(&object, spread);
        heat.spread(centre_in(&object), steps);
        heat
    };
    let heats: Vec<Heat> = boxes.par_iter().map(heat).collect();
    let mut all = Volume::filled(labels.shape, 0.0_f64);
    for ((label, region), heat) in boxes.iter().zip(&heats) {
        for place in places(region.shape) {
            let at = std::array::from_fn(|axis| region.start[axis] + place[axis]);
            if labels.at(at) == *label {
                let offset = all.offset(at);
                all.voxels[offset] = heat.at(place);
            }
        }
    }
    let mut flows = [0; 3].map(|_| Volume::filled(labels.shape, 0.0_f32));
    for (offset, place) in places(labels.shape).enumerate() {
        if labels.voxels[offset] != 0 {
            let flow = direction(slope(&all, place));
            flows.iter_mut().zip(flow).for_each(|(to, flow)| to.voxels[offset] = flow as f32);
        }
    }
    flows
}

fn slope(heat: &Volume<f64>, place: [usize; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| {
        let at = |index: usize| {
            let mut place = place;
            place[axis] = index;
            if index < heat.shape[axis] { heat.at(place) } else { 0.0 }
        };
        at(place[axis] + 1) - at(place[axis].wrapping_sub(1))
    })
}

fn direction(gradient: [f64; 3]) -> [f64; 3] {
    let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    gradient.map(|g| g / (TINY + length))
}

fn axes_of_plane(normal: usize) -> [usize; 2] {
    [[1, 2], [0, 2], [0, 1]][normal]
}

/// A plane across an axis, as a stack of one plane.
fn plane_of(labels: &Volume<u32>, normal: usize, index: usize) -> Volume<u32> {
    let mut region = Region::whole(labels.shape);
    (region.start[normal], region.shape[normal]) = (index, 1);
    let [first, second] = axes_of_plane(normal).map(|axis| labels.shape[axis]);
    Volume::new([1, first, second], labels.crop(region).voxels)
}

fn places(shape: Shape) -> impl Iterator<Item = [usize; 3]> {
    (0..voxel_count(shape)).map(move |offset| index_of(shape, offset))
}

fn centre_in(object: &Volume<bool>) -> [usize; 3] {
    let inside = || places(object.shape).zip(&object.voxels).filter(|(_, inside)| **inside);
    let (mut sum, mut count) = ([0.0; 3], 0.0);
    for (place, _) in inside() {
        sum = std::array::from_fn(|axis| sum[axis] + place[axis] as f64);
        count += 1.0;
    }
    let mean = sum.map(|sum| sum / count);
    let mut nearest = ([0; 3], f64::INFINITY);
    for (place, _) in inside() {
        let [z, y, x]: [f64; 3] =
            std::array::from_fn(|axis| (place[axis] as f64 - mean[axis]).powi(2));
        let distance = z + x + y;
        if distance < nearest.1 {
            nearest = (place, distance);
        }
    }
    nearest.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_objects_nothing_flows() {
        let none = Volume::filled([2, 3, 4], 0);
        assert!(flows_of_stack(&none).iter().all(|flow| flow.voxels == [0.0; 24]));
        assert!(joint_flows_of_stack(&none).iter().all(|flow| flow.voxels == [0.0; 24]));
        assert!(joint_flows_of_planes(&none).iter().all(|flow| flow.voxels == [0.0; 24]));
        assert_eq!(flows_of_planes(&Volume::new([0, 2, 2], vec![]))[0].voxels, []);
        assert!(object_centres(&none).is_empty());
    }

    #[test]
    fn planes_add_up() {
        let ball = Volume::from_fn([7, 7, 7], |place| {
            let far: f64 = place.iter().map(|i| (*i as f64 - 3.0).powi(2)).sum();
            u32::from(far < 10.0) * 9
        });
        let [z, y, x] = flows_of_stack(&ball);
        for (offset, label) in ball.voxels.iter().enumerate() {
            let length = [&z, &y, &x].iter().map(|f| f.voxels[offset].powi(2)).sum::<f32>();
            assert!(*label != 0 || length == 0.0);
        }
        assert_eq!(z.at([0, 3, 3]), 2.0);
        assert_eq!([y.at([3, 6, 3]), x.at([3, 3, 0])], [-2.0, 2.0]);
    }
}
