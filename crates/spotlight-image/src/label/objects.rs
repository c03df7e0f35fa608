//! Objects of a label image: their size and extent, and removing some by these.

use std::collections::{BTreeMap, BTreeSet};

use super::{Components, Connectivity};
use crate::Volume;
use crate::grid::Region;

/// How many voxels each label has; 0 is left out.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, label::voxel_counts};
///
/// let counts = voxel_counts(&Volume::new([1, 1, 4], vec![7, 0, 7, 90_000]));
/// assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(7, 2), (90_000, 1)]);
/// ```
#[must_use]
pub fn voxel_counts(labels: &Volume<u32>) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for_each_run(labels, Region::whole(labels.shape), |label, _, [start, stop]| {
        *counts.entry(label).or_insert(0) += stop - start;
    });
    counts
}

/// The smallest box around each label; 0 is left out.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Region, Volume, label::bounding_boxes};
///
/// let boxes = bounding_boxes(&Volume::new([1, 2, 3], vec![0, 3, 0, 0, 3, 3]));
/// assert_eq!(boxes[&3], Region { start: [0, 0, 1], shape: [1, 2, 2] });
/// ```
#[must_use]
pub fn bounding_boxes(labels: &Volume<u32>) -> BTreeMap<u32, Region> {
    boxes_in(labels, Region::whole(labels.shape))
}

/// The smallest box around the voxels of each label in a region.
pub(crate) fn boxes_in<L>(labels: &Volume<L>, region: Region) -> BTreeMap<u32, Region>
where
    L: Copy + Into<u32>,
{
    let mut corners: BTreeMap<u32, [[usize; 3]; 2]> = BTreeMap::new();
    for_each_run(labels, region, |label, [z, y], [start, stop]| {
        let [first, last] = corners.entry(label).or_insert([[z, y, start], [z, y, stop]]);
        *first = [first[0].min(z), first[1].min(y), first[2].min(start)];
        *last = [last[0].max(z + 1), last[1].max(y + 1), last[2].max(stop)];
    });
    let region = |[first, last]: [[usize; 3]; 2]| Region {
        start: first,
        shape: std::array::from_fn(|axis| last[axis] - first[axis]),
    };
    corners.into_iter().map(|(label, corners)| (label, region(corners))).collect()
}

/// Sets labels of fewer than `min_voxels` voxels to 0. (`skimage.morphology
/// .remove_small_objects` of labels, with a `max_size` of `min_voxels - 1`.)
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, label::remove_small_objects};
///
/// let labels = Volume::new([1, 1, 4], vec![1, 0, 2, 2]);
/// assert_eq!(remove_small_objects(&labels, 2).voxels, [0, 0, 2, 2]);
/// ```
#[must_use]
pub fn remove_small_objects(labels: &Volume<u32>, min_voxels: usize) -> Volume<u32> {
    let counts = voxel_counts(labels);
    without(labels, &counts, |count| *count < min_voxels)
}

/// Sets labels of more than `max_voxels` voxels to 0.
#[must_use]
pub fn remove_large_objects(labels: &Volume<u32>, max_voxels: usize) -> Volume<u32> {
    let counts = voxel_counts(labels);
    without(labels, &counts, |count| *count > max_voxels)
}

/// Sets labels that reach over at most `max_planes` planes along z to 0.
#[must_use]
pub fn remove_thin_objects(labels: &Volume<u32>, max_planes: usize) -> Volume<u32> {
    without(labels, &bounding_boxes(labels), |region| region.shape[0] <= max_planes)
}

/// Sets labels that touch another label, be it with a corner, to 0.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, label::remove_touching_objects};
///
/// let labels = Volume::new([1, 1, 5], vec![1, 2, 0, 3, 3]);
/// assert_eq!(remove_touching_objects(&labels).voxels, [0, 0, 0, 3, 3]);
/// ```
#[must_use]
pub fn remove_touching_objects(labels: &Volume<u32>) -> Volume<u32> {
    let mut touching = BTreeMap::new();
    let [depth, height, width] = labels.shape;
    for z in 0..depth {
        for y in 0..height {
            for x in 0..width {
                let label = labels.at([z, y, x]);
                // Half of the neighbours: the others see this voxel among theirs.
                for (dz, dy, dx) in LATER_NEIGHBOURS.into_iter().filter(|_| label != 0) {
                    let (y, x) = (y.wrapping_add_signed(dy), x.wrapping_add_signed(dx));
                    if z + dz < depth && y < height && x < width {
                        let other = labels.at([z + dz, y, x]);
                        if other != 0 && other != label {
                            touching.extend([(label, ()), (other, ())]);
                        }
                    }
                }
            }
        }
    }
    without(labels, &touching, |()| true)
}

/// Numbers the labels 1, 2, 3 ... in their order, so that none is missing.
/// (`skimage.segmentation.relabel_sequential`.)
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, label::relabel_sequential};
///
/// let labels = Volume::new([1, 1, 4], vec![9, 0, 70_000, 4]);
/// assert_eq!(relabel_sequential(&labels).voxels, [2, 0, 3, 1]);
/// ```
#[must_use]
pub fn relabel_sequential(labels: &Volume<u32>) -> Volume<u32> {
    let used: BTreeSet<u32> = voxel_counts(labels).into_keys().collect();
    let number: BTreeMap<u32, u32> = used.into_iter().zip(1..).collect();
    with_new_labels(labels, |label| number[&label])
}

/// Clears connected components of a mask that have fewer than `min_voxels` voxels.
/// (`skimage.morphology.remove_small_objects` of a mask, with a `max_size` of
/// `min_voxels - 1`.)
#[must_use]
pub fn remove_small_components(
    mask: &Volume<bool>,
    min_voxels: usize,
    connectivity: Connectivity,
) -> Volume<bool> {
    let components = Components::of(mask, connectivity, |voxel| voxel);
    let counts = components.voxel_counts();
    let mut kept = mask.clone();
    components.for_each_run(|component, voxels| {
        if counts[component] < min_voxels {
            kept.voxels[voxels].fill(false);
        }
    });
    kept
}

/// Steps to the 13 of 26 neighbours that come later in raster order.
const LATER_NEIGHBOURS: [(usize, isize, isize); 13] = [
    (0, 0, 1),
    (0, 1, -1),
    (0, 1, 0),
    (0, 1, 1),
    (1, -1, -1),
    (1, -1, 0),
    (1, -1, 1),
    (1, 0, -1),
    (1, 0, 0),
    (1, 0, 1),
    (1, 1, -1),
    (1, 1, 0),
    (1, 1, 1),
];

/// The label image without labels of which a property holds.
fn without<P>(
    labels: &Volume<u32>,
    properties: &BTreeMap<u32, P>,
    unwanted: impl Fn(&P) -> bool,
) -> Volume<u32> {
    let unwanted = |label| properties.get(&label).is_some_and(&unwanted);
    with_new_labels(labels, |label| if unwanted(label) { 0 } else { label })
}

fn with_new_labels(labels: &Volume<u32>, new_label: impl Fn(u32) -> u32) -> Volume<u32> {
    let mut changed = labels.clone();
    let [_, height, width] = labels.shape;
    for_each_run(labels, Region::whole(labels.shape), |label, [z, y], [start, stop]| {
        let row = (z * height + y) * width;
        changed.voxels[row + start..row + stop].fill(new_label(label));
    });
    changed
}

/// Calls a function with the label, the row (z, y), the first x and the one after the last
/// of every run of a label other than 0 in a region.
fn for_each_run<L: Copy + Into<u32>>(
    labels: &Volume<L>,
    region: Region,
    mut call: impl FnMut(u32, [usize; 2], [usize; 2]),
) {
    for z in region.start[0]..region.stop()[0] {
        for y in region.start[1]..region.stop()[1] {
            let mut start = region.start[2];
            let first = labels.offset([z, y, start]);
            let row = &labels.voxels[first..first + region.shape[2]];
            for run in row.chunk_by(|a, b| (*a).into() == (*b).into()) {
                let label = run[0].into();
                if label != 0 {
                    call(label, [z, y], [start, start + run.len()]);
                }
                start += run.len();
            }
        }
    }
}
