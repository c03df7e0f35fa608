//! Local maxima, after scikit-image's `skimage.feature.peak_local_max`.
//!
//! A voxel is a local maximum if no voxel under the footprint around it is higher. Hardly any
//! voxel is: most fall to a neighbour, and only the others are compared with the whole
//! footprint. So its size costs nothing, where a maximum filter visits all of it everywhere.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::Volume;
use crate::filter::{Footprint, FootprintRow};
use crate::grid::{Region, Shape, voxel_count};
use crate::label::boxes_in;

/// Which local maxima count; the default is scikit-image's with a `min_distance` of 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Peaks {
    /// Where a maximum must not be exceeded. Best convex and around its centre, so that what
    /// lies beyond the edge makes no difference.
    pub footprint: Footprint,
    /// Only higher voxels count; the lowest of the volume if `None`.
    pub threshold: Option<f32>,
    /// Only voxels higher than this part of the highest of the volume count.
    pub relative_threshold: Option<f32>,
    /// Of maxima closer than this along every axis, only the highest stays; 1 keeps all.
    pub min_distance: usize,
    /// Voxels at the edge of the volume that are left out. Axes of one voxel have no edge.
    pub margin: usize,
}

impl Default for Peaks {
    fn default() -> Self {
        Self {
            footprint: Footprint::cuboid([3; 3]),
            threshold: None,
            relative_threshold: None,
            min_distance: 1,
            margin: 1,
        }
    }
}

/// The local maxima of a volume, highest first, in raster order where they are equal.
///
/// All voxels of a plateau count. A volume of nothing but maxima (a constant one) has none.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::segment::{Peaks, local_maxima};
///
/// let hills = Volume::new([1, 1, 7], vec![0.0, 2.0, 0.0, 1.0, 0.0, 3.0, 0.0]);
/// let peaks = local_maxima(&hills, &Peaks::default());
/// assert_eq!(peaks, [[0, 0, 5], [0, 0, 1], [0, 0, 3]]);
/// ```
#[must_use]
pub fn local_maxima(image: &Volume<f32>, options: &Peaks) -> Vec<[usize; 3]> {
    let search = Search::new(image, options);
    let maxima = search.maxima(Region::whole(image.shape), |_| true).unwrap_or_default();
    let inner = inner(image.shape, options.margin);
    let is_inner = |place: &[usize; 3]| {
        (0..3).all(|axis| (inner.start[axis]..inner.stop()[axis]).contains(&place[axis]))
    };
    search.sorted(maxima.into_iter().filter(is_inner).collect())
}

/// The local maxima of each label, label by label, each as [`local_maxima`] of its voxels
/// alone.
///
/// `labels` may be numbers, of which 0 is none, or a mask. Voxels in the margin belong to no
/// label. A label of nothing but maxima has only those voxels that a 6-neighbourhood does
/// not fit around: its isolated and outermost ones.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn local_maxima_in<L>(
    image: &Volume<f32>,
    labels: &Volume<L>,
    options: &Peaks,
) -> Vec<[usize; 3]>
where
    L: Copy + Into<u32> + Sync,
{
    assert_eq!(image.shape, labels.shape, "shapes of image and labels");
    let search = Search::new(image, options);
    let mut peaks = Vec::new();
    for (label, region) in boxes_in(labels, inner(image.shape, options.margin)) {
        let is_in = |voxel: usize| labels.voxels[voxel].into() == label;
        let maxima = search.maxima(region, is_in).unwrap_or_else(|| {
            let unopened = unopened(image.shape, region, is_in);
            unopened.into_iter().filter(|place| search.is_high(*place)).collect()
        });
        peaks.extend(search.sorted(maxima));
    }
    peaks
}

/// A box and the voxels around it, as far as a footprint reaches: what decides whether voxels of
/// the box are maxima of the whole volume.
pub(super) struct Surroundings<'a> {
    pub(super) image: &'a Volume<f32>,
    pub(super) mask: &'a Volume<bool>,
    /// The box that maxima are wanted of, inside of `inner`.
    pub(super) core: Region,
    /// What does not lie in the margin of the whole volume.
    pub(super) inner: Region,
}

impl Surroundings<'_> {
    /// The maxima of [`local_maxima_in`] in the core, as if all others were in reach, and whether
    /// any voxel of the mask there is none.
    pub(super) fn maxima(&self, options: &Peaks) -> (Vec<[usize; 3]>, bool) {
        let search = Search::new(self.image, options);
        let is_in = |voxel: usize| self.mask.voxels[voxel];
        let alone = options.footprint.voxel_count() == 1;
        let in_mask = self.voxels_of_core();
        let is_maximum =
            |place: &[usize; 3]| alone || search.is_maximum(*place, self.inner, &is_in);
        let total = in_mask.len();
        let mut maxima: Vec<[usize; 3]> = in_mask.into_par_iter().filter(is_maximum).collect();
        let any_other = alone || maxima.len() < total;
        maxima.retain(|place| search.is_high(*place));
        (maxima, any_other)
    }

    /// The voxels of the core that an opening by a 6-neighbourhood takes away.
    pub(super) fn unopened(&self) -> Vec<[usize; 3]> {
        let mut places = unopened(self.image.shape, self.inner, |voxel| self.mask.voxels[voxel]);
        let (start, stop) = (self.core.start, self.core.stop());
        places.retain(|place| (0..3).all(|i| (start[i]..stop[i]).contains(&place[i])));
        places
    }

    fn voxels_of_core(&self) -> Vec<[usize; 3]> {
        let (start, stop) = (self.core.start, self.core.stop());
        let mut places = Vec::new();
        for z in start[0]..stop[0] {
            for y in start[1]..stop[1] {
                let columns = (start[2]..stop[2]).map(|x| [z, y, x]);
                places.extend(columns.filter(|place| self.mask.at(*place)));
            }
        }
        places
    }
}

/// The volume without its margin.
pub(super) fn inner(shape: Shape, margin: usize) -> Region {
    let margins = shape.map(|length| if length == 1 { 0 } else { margin.min(length) });
    let length = |axis: usize| shape[axis].saturating_sub(2 * margins[axis]);
    Region { start: margins, shape: std::array::from_fn(length) }
}

/// Where maxima are searched for, and what counts as one.
struct Search<'a> {
    image: &'a Volume<f32>,
    options: &'a Peaks,
    threshold: f32,
    /// The nearest voxels of the footprint first, as most comparisons end there.
    rows: Vec<FootprintRow>,
}

impl<'a> Search<'a> {
    fn new(image: &'a Volume<f32>, options: &'a Peaks) -> Self {
        let lowest = image.voxels.iter().fold(f32::INFINITY, |low, v| low.min(*v));
        let highest = image.voxels.iter().fold(f32::NEG_INFINITY, |high, v| high.max(*v));
        let absolute = options.threshold.unwrap_or(lowest);
        let relative = options.relative_threshold.map(|part| part * highest);
        let threshold = relative.map_or(absolute, |relative| relative.max(absolute));
        let near = |row: &FootprintRow| row.z.abs() <= 1 && row.y.abs() <= 1;
        let clip =
            |row: &FootprintRow| FootprintRow { x: [row.x[0].max(-1), row.x[1].min(1)], ..*row };
        let mut far = options.footprint.rows.clone();
        far.sort_by_key(|row| row.z * row.z + row.y * row.y);
        let mut rows: Vec<FootprintRow> = far.iter().filter(|row| near(row)).map(clip).collect();
        rows.retain(|row| row.x[0] <= row.x[1]);
        rows.append(&mut far);
        Self { image, options, threshold, rows }
    }

    fn is_high(&self, place: [usize; 3]) -> bool {
        self.image.at(place) > self.threshold
    }

    /// The high maxima among the voxels of a label in a region, in raster order; `None` if
    /// all of its voxels are maxima.
    fn maxima(
        &self,
        region: Region,
        is_in: impl Fn(usize) -> bool + Sync,
    ) -> Option<Vec<[usize; 3]>> {
        let alone = self.options.footprint.voxel_count() == 1 || voxel_count(region.shape) == 1;
        let rows: Vec<[usize; 2]> = (region.start[0]..region.stop()[0])
            .flat_map(|z| (region.start[1]..region.stop()[1]).map(move |y| [z, y]))
            .collect();
        let columns = region.start[2]..region.stop()[2];
        let voxels = |[z, y]: [usize; 2]| columns.clone().map(move |x| [z, y, x]);
        let counts = |place: &[usize; 3]| is_in(self.image.offset(*place));
        let is_maximum = |place: &[usize; 3]| alone || self.is_maximum(*place, region, &is_in);
        let (maxima, others): (Vec<Vec<_>>, Vec<usize>) = rows
            .par_iter()
            .map(|row| {
                let high = voxels(*row).filter(|place| counts(place) && self.is_high(*place));
                let (maxima, others): (Vec<_>, Vec<_>) = high.partition(is_maximum);
                (maxima, others.len())
            })
            .unzip();
        let is_other = |place: [usize; 3]| counts(&place) && !is_maximum(&place);
        let any_other = alone
            || others.iter().any(|count| *count > 0)
            || rows.iter().any(|row| voxels(*row).any(is_other));
        any_other.then(|| maxima.concat())
    }

    fn is_maximum(
        &self,
        [z, y, x]: [usize; 3],
        region: Region,
        is_in: &(impl Fn(usize) -> bool + Sync),
    ) -> bool {
        let value = self.image.at([z, y, x]);
        let stop = region.stop();
        self.rows.iter().all(|row| {
            let (z, y) = (z.wrapping_add_signed(row.z), y.wrapping_add_signed(row.y));
            let is_inside =
                (region.start[0]..stop[0]).contains(&z) && (region.start[1]..stop[1]).contains(&y);
            if !is_inside {
                return true;
            }
            let first = (x as isize + row.x[0]).max(region.start[2] as isize) as usize;
            let after = ((x as isize + row.x[1] + 1).max(0) as usize).min(stop[2]);
            let start = self.image.offset([z, y, 0]);
            let mut voxels = start + first..start + after.max(first);
            !voxels.any(|voxel| self.image.voxels[voxel] > value && is_in(voxel))
        })
    }

    /// The highest first, without those too close to a higher one.
    fn sorted(&self, mut maxima: Vec<[usize; 3]>) -> Vec<[usize; 3]> {
        maxima.sort_by(|a, b| self.image.at(*b).total_cmp(&self.image.at(*a)));
        if self.options.min_distance > 1 {
            keep_distance(&mut maxima, self.options.min_distance);
        }
        maxima
    }
}

/// Drops places that are closer than a distance, along every axis, to one kept before.
fn keep_distance(places: &mut Vec<[usize; 3]>, distance: usize) {
    // Cells of that width: a place can only be close to those in its own and adjacent cells.
    let mut cells: HashMap<[usize; 3], Vec<[usize; 3]>> = HashMap::new();
    places.retain(|place| {
        let cell = place.map(|index| index / distance + 1);
        let is_close = |other: &[usize; 3]| (0..3).all(|i| place[i].abs_diff(other[i]) < distance);
        let mut near = (0..27).filter_map(|i| {
            let step = [i / 9, i / 3 % 3, i % 3];
            cells.get(&std::array::from_fn(|axis| cell[axis] + step[axis] - 1))
        });
        let keep = !near.any(|kept| kept.iter().any(is_close));
        if keep {
            cells.entry(cell).or_default().push(*place);
        }
        keep
    });
}

/// The voxels of a label in a region that its opening by a 6-neighbourhood takes away.
fn unopened(shape: Shape, region: Region, is_in: impl Fn(usize) -> bool) -> Vec<[usize; 3]> {
    let is_in = |[z, y, x]: [usize; 3]| {
        let place = [z, y, x];
        let inside = |axis: usize| (region.start[axis]..region.stop()[axis]).contains(&place[axis]);
        (0..3).all(inside) && is_in((z * shape[1] + y) * shape[2] + x)
    };
    let neighbours = |place: [usize; 3]| {
        let axes = (0..3).filter(move |axis| shape[*axis] > 1);
        axes.flat_map(move |axis| {
            [-1, 1].map(|step| {
                let mut neighbour = place;
                neighbour[axis] = neighbour[axis].wrapping_add_signed(step);
                neighbour
            })
        })
    };
    let is_core = |place: [usize; 3]| is_in(place) && neighbours(place).all(is_in);
    let mut places = Vec::new();
    for z in region.start[0]..region.stop()[0] {
        for y in region.start[1]..region.stop()[1] {
            for x in region.start[2]..region.stop()[2] {
                let place = [z, y, x];
                if is_in(place) && !is_core(place) && !neighbours(place).any(is_core) {
                    places.push(place);
                }
            }
        }
    }
    places
}
