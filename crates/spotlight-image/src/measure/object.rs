//! Finds the objects of a label image: bounding box, size and centre of each, in one pass.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use crate::{Region, Shape, Volume};

/// Planes that are looked at side by side.
const PLANES_AT_ONCE: usize = 16;

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
    let mut search = ObjectSearch::new(labels.shape);
    search.add([0; 3], labels);
    search.finish()
}

/// A search for the objects of a label image of which only a box is in memory at a time.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Region, Volume};
/// use spotlight_image::measure::{ObjectSearch, objects};
///
/// let labels = Volume::from_fn([6, 4, 5], |[z, y, x]| ((z * y + x) % 7) as u32);
/// let mut search = ObjectSearch::new(labels.shape);
/// for z in [4, 0, 2] {
///     search.add([z, 0, 0], &labels.crop(Region { start: [z, 0, 0], shape: [2, 4, 5] }));
/// }
/// assert_eq!(search.finish(), objects(&labels));
/// ```
#[derive(Clone, Debug)]
pub struct ObjectSearch {
    shape: Shape,
    found: BTreeMap<u32, Extent>,
}

impl ObjectSearch {
    /// In an image of this shape.
    ///
    /// # Panics
    ///
    /// If a side has 2³² voxels or more.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        assert!(shape.iter().all(|side| u32::try_from(*side).is_ok()), "{shape:?} is too long");
        Self { shape, found: BTreeMap::new() }
    }

    /// Looks at the box of labels that begins at `start`. The boxes may come in any order; what
    /// is found does not depend on it.
    ///
    /// # Panics
    ///
    /// If the box does not lie in the image.
    pub fn add(&mut self, start: [usize; 3], labels: &Volume<u32>) {
        let region = Region { start, shape: labels.shape };
        assert!(region.fits(self.shape), "{region:?} is not inside {:?}", self.shape);
        let planes: Vec<usize> = (0..labels.shape[0]).collect();
        // A few planes at a time, so that each label is held once for each thread.
        for some in planes.chunks(PLANES_AT_ONCE) {
            let each: Vec<HashMap<u32, Extent>> =
                some.par_iter().map(|z| extents_in_plane(labels, *z, start)).collect();
            for (label, extent) in each.into_iter().flatten() {
                let known = self.found.entry(label);
                known.and_modify(|known| known.merge(&extent)).or_insert(extent);
            }
        }
    }

    /// All objects that were found, in the order of their labels.
    #[must_use]
    pub fn finish(self) -> Vec<Object> {
        let shape = self.shape;
        self.found.into_iter().map(|(label, extent)| extent.object(label, shape)).collect()
    }
}

/// The voxels of an object in its bounding box, the labels beginning at `origin` of the image.
pub(super) fn mask(labels: &Volume<u32>, origin: [usize; 3], object: &Object) -> Volume<bool> {
    crop_map(labels, within(object.region, origin), |label| label == object.label)
}

/// A region of an image as one of a box that begins at `origin`.
pub(super) fn within(region: Region, origin: [usize; 3]) -> Region {
    let start = [0, 1, 2].map(|axis| region.start[axis] - origin[axis]);
    Region { start, shape: region.shape }
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
    low: [u32; 3],
    /// The last voxel, not the one after it.
    high: [u32; 3],
    voxels: u64,
    /// Sums of positions: whole numbers, so that the order of adding does not matter.
    sums: [u128; 3],
}

impl Extent {
    /// `length` voxels of a row from the first on.
    fn of_run(first: [usize; 3], length: usize) -> Self {
        let [z, y, start] = first;
        let (count, last) = (length as u128, start + length - 1);
        let place = |position: [usize; 3]| position.map(|along| along as u32);
        Self {
            low: place(first),
            high: place([z, y, last]),
            voxels: length as u64,
            sums: [z as u128 * count, y as u128 * count, (start + last) as u128 * count / 2],
        }
    }

    fn merge(&mut self, other: &Self) {
        self.low = [0, 1, 2].map(|axis| self.low[axis].min(other.low[axis]));
        self.high = [0, 1, 2].map(|axis| self.high[axis].max(other.high[axis]));
        self.voxels += other.voxels;
        self.sums = [0, 1, 2].map(|axis| self.sums[axis] + other.sums[axis]);
    }

    fn object(&self, label: u32, shape: [usize; 3]) -> Object {
        let start = self.low.map(|low| low as usize);
        let stop = self.high.map(|high| high as usize + 1);
        let sides = [0, 1, 2].map(|axis| stop[axis] - start[axis]);
        let at_face = |axis: usize| start[axis] == 0 || stop[axis] == shape[axis];
        Object {
            label,
            region: Region { start, shape: sides },
            voxels: self.voxels,
            centroid: self.sums.map(|sum| sum as f64 / self.voxels as f64),
            touches_border: (0..3).any(at_face),
        }
    }
}

/// Looks up a label once for each run of equal voxels, not once for each voxel. The labels begin
/// at `origin` of the image.
fn extents_in_plane(labels: &Volume<u32>, z: usize, origin: [usize; 3]) -> HashMap<u32, Extent> {
    let mut found: HashMap<u32, Extent> = HashMap::new();
    let width = labels.shape[2];
    for (y, row) in labels.plane(z).chunks_exact(width.max(1)).enumerate() {
        let mut start = 0;
        while start < width {
            let label = row[start];
            let same = row[start..].iter().take_while(|other| **other == label).count();
            if label != 0 {
                let first = [origin[0] + z, origin[1] + y, origin[2] + start];
                let run = Extent::of_run(first, same);
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
    fn boxes_in_any_order_hold_the_objects_of_the_whole() {
        let labels = Volume::from_fn([7, 9, 11], |[z, y, x]| {
            let hash = (z * 7919 + y * 104_729 + x * 1_299_709) % 13;
            [0, 0, 3, 70_000, u32::MAX, 1][hash.min(5)]
        });
        let mut search = ObjectSearch::new(labels.shape);
        for z in [6, 0, 3] {
            for y in [5, 0] {
                for x in [0, 8, 4] {
                    let start = [z, y, x];
                    let left = [0, 1, 2].map(|axis| labels.shape[axis] - start[axis]);
                    let shape = [left[0].min(3), left[1].min(5), left[2].min(4)];
                    search.add(start, &labels.crop(Region { start, shape }));
                }
            }
        }
        assert_eq!(search.finish(), objects(&labels));
    }

    #[test]
    fn images_without_voxels_have_no_objects() {
        for shape in [[0, 3, 3], [3, 0, 3], [3, 3, 0]] {
            assert_eq!(objects(&Volume::new(shape, Vec::new())), []);
        }
        assert_eq!(objects(&Volume::filled([2, 2, 2], 0)), []);
    }
}
