//! Removing objects whose flows are not those that their shape would have.
//!
//! ```text
//! error = mean over the object of |flow of the object - predicted flow / 5|^2
//! ```
//!
//! For planes alone. (`flow_error` and `remove_bad_flow_masks` of Cellpose 3.1.1.1.)

use std::collections::BTreeMap;

use super::super::flows::flow_of_object;
use crate::Volume;
use crate::label::bounding_boxes;

/// The error of each object of a plane against predicted flows (y, x).
///
/// # Panics
///
/// If there is more than one plane, or the shapes differ.
#[must_use]
pub fn flow_errors(labels: &Volume<u32>, [y, x]: [&Volume<f32>; 2]) -> BTreeMap<u32, f64> {
    assert_eq!(labels.shape[0], 1, "flow errors are of one plane");
    assert!(y.shape == labels.shape && x.shape == labels.shape, "flows of another shape");
    let mut errors = BTreeMap::new();
    for (label, region) in bounding_boxes(labels) {
        let width = region.shape[2];
        let (mut sum, mut count) = (0.0, 0.0);
        for (index, flow) in flow_of_object(labels, label, region).into_iter().enumerate() {
            let place = [0, region.start[1] + index / width, region.start[2] + index % width];
            let offset = labels.offset(place);
            if labels.voxels[offset] == label {
                let off = |own: f64, predicted: f32| (own - f64::from(predicted / 5.0)).powi(2);
                sum += off(flow[0], y.voxels[offset]) + off(flow[1], x.voxels[offset]);
                count += 1.0;
            }
        }
        errors.insert(label, sum / count);
    }
    errors
}

/// Sets objects of a plane with a larger error than the threshold to 0. A threshold of 0 or
/// less removes none, as in the reference.
///
/// # Panics
///
/// As [`flow_errors`].
#[must_use]
pub fn remove_bad_flows(
    labels: &Volume<u32>,
    flow: [&Volume<f32>; 2],
    threshold: f64,
) -> Volume<u32> {
    if threshold <= 0.0 {
        return labels.clone();
    }
    let errors = flow_errors(labels, flow);
    let bad = |label: &u32| errors.get(label).is_some_and(|error| *error > threshold);
    labels.map(|label| if bad(label) { 0 } else { *label })
}
