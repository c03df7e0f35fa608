//! Flows of labels followed back give the labels; odd images give defined results.

use super::*;
use crate::cellpose::{flows_of_planes, joint_flows_of_stack};
use crate::grid::index_of;

/// Boxes with a voxel between them: of boxes that touch, interpolated flows would carry
/// some voxels of the faces over.
fn cells(shape: Shape) -> Volume<u32> {
    let bounds = |n: usize, first: usize| [0, first.min(n), (first + 11).min(n), n];
    let cell = |bounds: [usize; 4], i: usize| bounds.iter().rposition(|b| *b <= i).unwrap();
    let [z, y, x] = [bounds(shape[0], 10), bounds(shape[1], 9), bounds(shape[2], 11)];
    Volume::from_fn(shape, |place| {
        let number = cell(z, place[0]) * 9 + cell(y, place[1]) * 3 + cell(x, place[2]) + 1;
        let ends = [z, y, x].map(|bounds| bounds.map(|bound| bound.wrapping_sub(1)));
        let edge = (0..3).any(|axis| {
            let at_end = ends[axis].contains(&place[axis]);
            at_end && (axis > 0 || place[axis] + 1 < shape[axis])
        });
        if edge { 0 } else { number as u32 }
    })
}

fn logits(labels: &Volume<u32>) -> Volume<f32> {
    labels.map(|label| if *label > 0 { 1.0 } else { -1.0 })
}

fn times_5(flow: &Volume<f32>) -> Volume<f32> {
    flow.map(|flow| 5.0 * flow)
}

/// Whether two label images mark the same objects, whatever their numbers.
#[track_caller]
fn assert_same_objects(found: &Volume<u32>, expected: &Volume<u32>) {
    assert_eq!(found.shape, expected.shape);
    let mut partner = std::collections::BTreeMap::new();
    for (a, b) in found.voxels.iter().zip(&expected.voxels) {
        assert_eq!(partner.entry(*a).or_insert(*b), b, "object {a}");
    }
    let partners: std::collections::BTreeSet<_> = partner.values().collect();
    assert_eq!(partners.len(), partner.len(), "objects were split");
}

#[test]
fn flows_of_labels_followed_back_give_the_labels() {
    let labels = cells([20, 26, 30]);
    for interpolate in [true, false] {
        let options = Dynamics { interpolate, max_fraction: 1.0, ..Dynamics::default() };
        let [z, y, x] = joint_flows_of_stack(&labels).map(|flow| times_5(&flow));
        let masks = masks_of_stack([&z, &y, &x], &logits(&labels), labels.shape, &options);
        assert_same_objects(&masks, &labels);
    }
}

#[test]
fn flows_of_planes_followed_back_give_the_labels() {
    let labels = cells([2, 26, 30]);
    let [y, x] = flows_of_planes(&labels).map(|flow| times_5(&flow));
    for flow_threshold in [0.4, 0.0, f64::INFINITY] {
        let options = Dynamics { flow_threshold, ..Dynamics::default() };
        let masks = masks_of_planes([&y, &x], &logits(&labels), labels.shape, &options);
        for z in 0..2 {
            let region = Region { start: [z, 0, 0], shape: [1, 26, 30] };
            assert_same_objects(&masks.crop(region), &labels.crop(region));
        }
    }
}

/// Flow that is turned by a right angle is not that of any object.
#[test]
fn wrong_flows_are_removed() {
    let labels = cells([1, 9, 11]);
    let [y, x] = flows_of_planes(&labels).map(|flow| times_5(&flow));
    let turned = y.map(|flow| -flow);
    assert_eq!(remove_bad_flows(&labels, [&y, &x], 0.4), labels);
    assert!(flow_errors(&labels, [&y, &x]).values().all(|error| *error < 1e-10));
    assert_eq!(remove_bad_flows(&labels, [&x, &turned], 0.4).voxels, [0; 99]);
    assert_eq!(remove_bad_flows(&labels, [&x, &turned], f64::INFINITY), labels);
    assert_eq!(remove_bad_flows(&labels, [&x, &turned], 0.0), labels);
}

#[test]
fn no_cells_no_objects() {
    for shape in [[0, 3, 3], [1, 1, 1], [1, 6, 6], [5, 1, 6], [4, 5, 6]] {
        let zero = Volume::filled(shape, 0.0);
        let masks = |threshold| {
            let options = Dynamics { cell_threshold: threshold, ..Dynamics::default() };
            let stack = masks_of_stack([&zero; 3], &zero, shape, &options);
            let planes = masks_of_planes([&zero; 2], &zero, shape, &options);
            (stack.voxels, planes.voxels)
        };
        let none = vec![0; zero.voxels.len()];
        for threshold in [0.0, f64::INFINITY] {
            assert_eq!(masks(threshold), (none.clone(), none.clone()));
        }
        // All voxels are cells, and none goes anywhere: no seed.
        assert_eq!(masks(f64::NEG_INFINITY), (none.clone(), none));
    }
}

/// A stack of one plane, row or column: nothing moves along an axis of one voxel.
#[test]
fn axes_of_one_voxel() {
    let shapes = [[1, 9, 9], [9, 1, 9], [9, 9, 1], [1, 1, 20]];
    for shape in shapes {
        let inwards = |axis: usize| {
            let middle = (shape[axis] / 2) as f32;
            Volume::from_fn(shape, |place| 5.0 * (middle - place[axis] as f32).clamp(-1.0, 1.0))
        };
        let [z, y, x] = [inwards(0), inwards(1), inwards(2)];
        let logit = Volume::filled(shape, 1.0);
        let options = Dynamics { max_fraction: 1.0, ..Dynamics::default() };
        for end in ends_in_stack([&z, &y, &x], &logit, &options) {
            for axis in 0..3 {
                let middle = (shape[axis] / 2) as f32;
                assert!((end[axis] - middle).abs() <= 1.6, "{shape:?}: {end:?}");
            }
        }
        let masks = masks_of_stack([&z, &y, &x], &logit, shape, &options);
        assert!(masks.voxels.iter().all(|label| *label == 1), "{shape:?}");
    }
}

#[test]
fn what_is_no_number_does_no_harm() {
    let logit = Volume::filled([3, 4, 5], 1.0);
    let nothing = Volume::filled([3, 4, 5], f32::NAN);
    for interpolate in [true, false] {
        let options = Dynamics { interpolate, ..Dynamics::default() };
        let masks = masks_of_stack([&nothing; 3], &logit, logit.shape, &options);
        assert_eq!(masks.shape, logit.shape);
        let masks = masks_of_planes([&nothing; 2], &logit, logit.shape, &options);
        assert_eq!(masks.shape, logit.shape);
        assert_eq!(masks_of_stack([&logit; 3], &nothing, logit.shape, &options).voxels, [0; 60]);
    }
}

/// The method of finding rounds must not change where a walk ends.
#[test]
fn walks_end_where_plain_steps_end() {
    struct Plain<'a>(InStack<'a>, usize);
    let shape = [9, 12, 11];
    let noise = |seed: usize| {
        Volume::from_fn(shape, |[z, y, x]| {
            let mixed = (z * 7919 + y * 104_729 + x * 1_299_709 + seed).wrapping_mul(2_654_435_761);
            ((mixed >> 8) % 1000) as f32 / 100.0 - 5.0
        })
    };
    let (z, y, x, logit) = (noise(1), noise(2), noise(3), noise(4));
    for steps in [0, 1, 2, 7, 200] {
        let options = Dynamics { steps, ..Dynamics::default() };
        let field = field_of_stack(&[&z, &y, &x], &logit, &options);
        let plain = Plain(InStack::new(&field), steps);
        let walk = |cell: &usize| {
            use super::motion::Motion;
            let start = plain.0.start(index_of(shape, *cell));
            let end = (0..plain.1).fold(start, |at, _| plain.0.step(at));
            plain.0.position(end)
        };
        let expected: Vec<[f32; 3]> = field.cells.iter().map(walk).collect();
        assert_eq!(ends_in_stack([&z, &y, &x], &logit, &options), expected);
    }
}
