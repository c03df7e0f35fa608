//! Finds the objects of a label image: bounding box, size and centre of each, in one pass.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use crate::{Region, Volume};

/// One object of a label image: what identifies it, not what describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The value of its voxels, never 0.
    pub label: u32,
    /// The smallest box around it.
    pub region: Region,
    /// How many voxels it has.
    pub voxels: u64,
    /// Mean position (z, y, x) of its voxels, in voxels.
    pub centroid: [f64; 3],
    /// Whether a voxel of it lies on a face of the image.
    pub touches_border: bool,
}

/// All objects of a label image, in the order of their labels; 0 is background.
///
/// Labels may have gaps and any value. Voxels of one label are one object, connected or not.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, measure::objects};
///
/// let labels = Volume::new([1, 2, 3], vec![0, 70_000, 70_000, 5, 0, 70_000]);
/// let found = objects(&labels);
/// assert_eq!(found.iter().map(|o| (o.label, o.voxels)).collect::<Vec<_>>(), [(5, 1), (70_000, 3)]);
/// assert_eq!(found[1].region.start, [0, 0, 1]);
/// assert_eq!(found[1].region.shape, [1, 2, 2]);
/// ```
#[must_use]
pub fn objects(labels: &Volume<u32>) -> Vec<Object> {
    let planes: Vec<HashMap<u32, Extent>> =
        (0..labels.shape[0]).into_par_iter().map(|z| extents_in_plane(labels, z)).collect();
    let mut all: BTreeMap<u32, Extent> = BTreeMap::new();
    for (label, extent) in planes.into_iter().flatten() {
        all.entry(label).and_modify(|known| known.merge(&extent)).or_insert(extent);
    }
    all.into_iter().map(|(label, extent)| extent.object(label, labels.shape)).collect()
}

/// The voxels of an object in its bounding box.
pub(super) fn mask(labels: &Volume<u32>, object: &Object) -> Volume<bool> {
    crop_map(labels, object.region, |label| label == object.label)
}

/// Copies a region out, each voxel through a function.
pub(super) fn crop_map<T: Copy, U>(
    volume: &Volume<T>,
    region: Region,
    function: impl Fn(T) -> U,
) -> Volume<U> {
    let mut voxels = Vec::with_capacity(region.shape.iter().product());
    for z in region.start[0]..region.stop()[0] {
        for y in region.start[1]..region.stop()[1] {
            let from = volume.offset([z, y, region.start[2]]);
            let row = &volume.voxels[from..from + region.shape[2]];
            voxels.extend(row.iter().map(|voxel| function(*voxel)));
        }
    }
    Volume { shape: region.shape, voxels }
}

/// What is summed up about a label.
#[derive(Clone, Copy, Debug)]
struct Extent {
    low: [usize; 3],
    /// The last voxel, not the one after it.
    high: [usize; 3],
    voxels: u64,
    /// Sums of positions: whole numbers, so that the order of adding does not matter.
    sums: [u128; 3],
}

impl Extent {
    /// Voxels `start..stop` of a row.
    fn of_run(z: usize, y: usize, start: usize, stop: usize) -> Self {
        let count = (stop - start) as u128;
        let sum_x = (start + stop - 1) as u128 * count / 2;
        Self {
            low: [z, y, start],
            high: [z, y, stop - 1],
            voxels: count as u64,
            sums: [z as u128 * count, y as u128 * count, sum_x],
        }
    }

    fn merge(&mut self, other: &Self) {
        self.low = [0, 1, 2].map(|axis| self.low[axis].min(other.low[axis]));
        self.high = [0, 1, 2].map(|axis| self.high[axis].max(other.high[axis]));
        self.voxels += other.voxels;
        self.sums = [0, 1, 2].map(|axis| self.sums[axis] + other.sums[axis]);
    }

    fn object(&self, label: u32, shape: [usize; 3]) -> Object {
        let sides = [0, 1, 2].map(|axis| self.high[axis] + 1 - self.low[axis]);
        let at_face = |axis: usize| self.low[axis] == 0 || self.high[axis] + 1 == shape[axis];
        Object {
            label,
            region: Region { start: self.low, shape: sides },
            voxels: self.voxels,
            centroid: self.sums.map(|sum| sum as f64 / self.voxels as f64),
            touches_border: (0..3).any(at_face),
        }
    }
}

/// Looks up a label once for each run of equal voxels, not once for each voxel.
fn extents_in_plane(labels: &Volume<u32>, z: usize) -> HashMap<u32, Extent> {
    let mut found: HashMap<u32, Extent> = HashMap::new();
    let width = labels.shape[2];
    for (y, row) in labels.plane(z).chunks_exact(width.max(1)).enumerate() {
        let mut start = 0;
        while start < width {
            let label = row[start];
            let same = row[start..].iter().take_while(|other| **other == label).count();
            if label != 0 {
                let run = Extent::of_run(z, y, start, start + same);
                found.entry(label).and_modify(|known| known.merge(&run)).or_insert(run);
            }
            start += same;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_equal_a_naive_search() {
        let shape = [4, 6, 7];
        let labels = Volume::from_fn(shape, |[z, y, x]| {
            let hash = (z * 7919 + y * 104_729 + x * 1_299_709) % 11;
            [0, 0, 3, 70_000, u32::MAX][hash.min(4)]
        });
        for object in objects(&labels) {
            let mut inside = Vec::new();
            for i in 0..labels.voxels.len() {
                if labels.voxels[i] == object.label {
                    inside.push([i / 42, i / 7 % 6, i % 7]);
                }
            }
            let along = |axis: usize| inside.iter().map(move |p| p[axis]);
            let low = [0, 1, 2].map(|axis| along(axis).min().unwrap());
            let high = [0, 1, 2].map(|axis| along(axis).max().unwrap());
            assert_eq!((object.region.start, object.voxels), (low, inside.len() as u64));
            assert_eq!(object.region.stop(), high.map(|v| v + 1));
            for axis in 0..3 {
                let mean = along(axis).sum::<usize>() as f64 / inside.len() as f64;
                assert_eq!(object.centroid[axis], mean);
            }
            let at_face = |p: &[usize; 3]| (0..3).any(|a| p[a] == 0 || p[a] + 1 == shape[a]);
            assert_eq!(object.touches_border, inside.iter().any(at_face));
        }
    }

    #[test]
    fn images_without_voxels_have_no_objects() {
        for shape in [[0, 3, 3], [3, 0, 3], [3, 3, 0]] {
            assert_eq!(objects(&Volume::new(shape, Vec::new())), []);
        }
        assert_eq!(objects(&Volume::filled([2, 2, 2], 0)), []);
    }
}
