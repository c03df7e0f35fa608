//! Watershed by flooding from markers.
//!
//! A queue holds voxels by how high the water stands when it reaches them, and by age:
//!
//! ```text
//! put all marker voxels into the queue with their height, all of age 0
//! take out the lowest (of equal ones the oldest) voxel v
//!     for each neighbour n without a label:
//!         n gets the label of v and enters the queue with max(height of n, that of v)
//! ```
//!
//! Ages keep plateaus fair: from two markers the flood meets half-way. Markers of one height
//! all have age 0, and which comes first is decided by the queue; to give what
//! `skimage.segmentation.watershed` gives to the voxel, ours is a binary heap of the same rules.
//!
//! P. Soille and M. M. Ansoult (1990), "Automated basin delineation from digital elevation
//! models using mathematical morphology"; F. Meyer (1991).

use crate::Volume;
use crate::filter::ordered;
use crate::label::Connectivity;

/// Grows markers over a landscape until they meet or fill the mask.
///
/// `markers` are labels, 0 where there is none; those outside the mask do not count. Without
/// a mask all voxels are flooded. Voxels that no marker reaches get 0. A NaN is higher than
/// all numbers.
///
/// # Panics
///
/// If the shapes differ.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::label::Connectivity;
/// use spotlight_image::segment::watershed;
///
/// let landscape = Volume::new([1, 1, 5], vec![0.0, 1.0, 2.0, 0.5, 0.0]);
/// let markers = Volume::new([1, 1, 5], vec![1, 0, 0, 0, 2]);
/// let basins = watershed(&landscape, &markers, None, Connectivity::Faces);
/// assert_eq!(basins.voxels, [1, 1, 2, 2, 2]);
/// ```
#[must_use]
pub fn watershed(
    landscape: &Volume<f32>,
    markers: &Volume<u32>,
    mask: Option<&Volume<bool>>,
    connectivity: Connectivity,
) -> Volume<u32> {
    assert_eq!(landscape.shape, markers.shape, "shapes of landscape and markers");
    let mut labels = markers.clone();
    if let Some(mask) = mask {
        assert_eq!(landscape.shape, mask.shape, "shapes of landscape and mask");
        let outside = labels.voxels.iter_mut().zip(&mask.voxels).filter(|(_, inside)| !**inside);
        outside.for_each(|(label, _)| *label = 0);
    }
    // -0 and 0 are one height.
    let height = |voxel: usize| ordered(landscape.voxels[voxel] + 0.0);
    let is_inside = |voxel: usize| mask.is_none_or(|mask| mask.voxels[voxel]);
    let mut queue = Queue::default();
    for (voxel, _) in labels.voxels.iter().enumerate().filter(|(_, label)| **label != 0) {
        queue.push(height(voxel), 0, voxel);
    }
    let neighbours = Neighbours::new(landscape.shape, connectivity);
    let mut age = 0;
    while let Some((level, voxel)) = queue.pop() {
        let label = labels.voxels[voxel];
        neighbours.for_each(voxel, |neighbour| {
            if labels.voxels[neighbour] == 0 && is_inside(neighbour) {
                age += 1;
                labels.voxels[neighbour] = label;
                queue.push(height(neighbour).max(level), age, neighbour);
            }
        });
    }
    labels
}

/// The steps to the neighbours of a voxel, the nearest first, then in raster order.
pub(super) struct Neighbours {
    shape: [usize; 3],
    steps: Vec<([isize; 3], isize)>,
}

impl Neighbours {
    pub(super) fn new(shape: [usize; 3], connectivity: Connectivity) -> Self {
        let mut steps = Vec::new();
        for z in -1..=1_isize {
            for y in -1..=1_isize {
                for x in -1..=1_isize {
                    let offset = (z * shape[1] as isize + y) * shape[2] as isize + x;
                    steps.push(([z, y, x], offset));
                }
            }
        }
        let axes = |(step, _): &([isize; 3], isize)| step.iter().filter(|s| **s != 0).count();
        steps.retain(|step| (1..=connectivity.steps()).contains(&axes(step)));
        steps.sort_by_key(axes);
        Self { shape, steps }
    }

    pub(super) fn for_each(&self, voxel: usize, mut call: impl FnMut(usize)) {
        let [depth, height, width] = self.shape;
        let (row, x) = (voxel / width, voxel % width);
        let (z, y) = (row / height, row % height);
        let is_inner = |at: usize, length: usize| at.wrapping_sub(1) < length.saturating_sub(2);
        if is_inner(z, depth) && is_inner(y, height) && is_inner(x, width) {
            for (_, offset) in &self.steps {
                call(voxel.wrapping_add_signed(*offset));
            }
            return;
        }
        for (step, offset) in &self.steps {
            let fits = |at: usize, step: isize, length| at.wrapping_add_signed(step) < length;
            if fits(z, step[0], depth) && fits(y, step[1], height) && fits(x, step[2], width) {
                call(voxel.wrapping_add_signed(*offset));
            }
        }
    }
}

/// A binary heap of voxels by height and age.
///
/// The rules that decide among equals: a voxel rises past its parent only if it is smaller;
/// the last voxel takes the place of the first and sinks to the smaller of its children, to
/// the left one of equal ones.
#[derive(Default)]
pub(super) struct Queue {
    /// Height and age in one number, and the voxel.
    items: Vec<(u64, usize)>,
}

impl Queue {
    pub(super) fn push(&mut self, height: u32, age: u32, voxel: usize) {
        let item = (u64::from(height) << 32 | u64::from(age), voxel);
        let mut at = self.items.len();
        self.items.push(item);
        while at > 0 {
            let parent = (at - 1) / 2;
            if item.0 >= self.items[parent].0 {
                break;
            }
            self.items[at] = self.items[parent];
            at = parent;
        }
        self.items[at] = item;
    }

    pub(super) fn pop(&mut self) -> Option<(u32, usize)> {
        let last = self.items.pop()?;
        let Some(first) = self.items.first().copied() else {
            return Some(((last.0 >> 32) as u32, last.1));
        };
        // The last item is likely to sink to the bottom, so its way is cleared first, and it
        // rises on it to where it belongs.
        let count = self.items.len();
        let mut at = 0;
        while 2 * at + 2 < count {
            let left = 2 * at + 1;
            let child = left + usize::from(self.items[left + 1].0 < self.items[left].0);
            self.items[at] = self.items[child];
            at = child;
        }
        if 2 * at + 1 < count {
            self.items[at] = self.items[2 * at + 1];
            at = 2 * at + 1;
        }
        while at > 0 && self.items[(at - 1) / 2].0 >= last.0 {
            self.items[at] = self.items[(at - 1) / 2];
            at = (at - 1) / 2;
        }
        self.items[at] = last;
        Some(((first.0 >> 32) as u32, first.1))
    }
}
