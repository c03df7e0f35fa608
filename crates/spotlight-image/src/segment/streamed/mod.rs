//! [`segment`](super::segment) of a stack that does not fit in memory.
//!
//! The stack is read box by box, and what is in between is kept in [`Scratch`] room where it is
//! large. Every step does the same sums as the one on a whole volume, so that the result is the
//! same, voxel by voxel and number by number:
//!
//! ```text
//! percentiles    count the upper halves of the bits, then the lower ones     4 passes | prepare
//! equalise       the range, histograms of the tiles, their interpolation              |
//! reduce         along x and y in whole planes, along z in whole columns              |
//! smooth         boxes with a halo                                          smooth
//! threshold      the range, then the histogram; the mask as runs            mask
//! fill holes     components of the runs between
//! distance       in planes, then in columns along z                         distance
//! seeds          boxes with a halo of the ball; joined as runs              seeds
//! flood          all voxels of the mask, and none else, in one queue        flood
//! clean up       runs with a label; holes object by object                  tidy
//! ```
//!
//! The flood is not cut at all: which of equally high seeds comes first depends on the whole
//! queue. What has to fit in memory are the voxels of the mask, on the reduced grid.

mod distance;
mod flood;
mod mask;
mod prepare;
mod reduce;
mod runs;
mod seeds;
mod space;
mod store;
mod tidy;

pub use runs::LabelRuns;
pub use space::{Boxes, Fault, Room, Scratch};

use super::{Watershed, reduced_shape};
use crate::Volume;
use crate::grid::voxel_count;
use space::Space;

/// [`segment`](super::segment) of a stack that is read box by box, with the same result.
///
/// `tell` learns which part of the work is done.
///
/// # Errors
///
/// [`Fault::Outside`] if the stack or the scratch room cannot be read or written;
/// [`Fault::TooLarge`] if what must be in memory at once is more than the room allows.
///
/// # Panics
///
/// As [`segment`](super::segment).
///
/// # Examples
///
/// ```
/// use spotlight_image::segment::streamed::{Room, segment};
/// use spotlight_image::segment::{self, Watershed};
/// use spotlight_image::Volume;
///
/// let stack = Volume::from_fn([40, 60, 80], |[z, y, x]| {
///     let square = |a: usize, b: usize| a.abs_diff(b).pow(2) as f32;
///     1000.0 - (square(z, 20) + square(y, 30) + square(x, 40)).min(200.0)
/// });
/// let room = Room::memory_only(64 << 20);
/// let labels = segment(&stack, &Watershed::default(), &room, &mut |_| ())?;
/// let in_core = segment::segment(&stack, &Watershed::default());
/// assert_eq!(labels.count(), 1);
/// assert_eq!(labels.plane(10), in_core.plane(10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn segment<E>(
    stack: &impl Boxes<E>,
    options: &Watershed,
    room: &Room<'_, E>,
    tell: &mut dyn FnMut(f64),
) -> Result<LabelRuns, Fault<E>> {
    let shape = reduced_shape(stack.shape(), options.scale);
    if voxel_count(stack.shape()) == 0 {
        return Ok(LabelRuns::none(stack.shape()));
    }
    let space = &Space::new(room, tell);
    let prepared = prepare::prepare(stack, options, space)?;
    space.tell(0.7);
    let smooth = mask::smooth(prepared, options, space)?;
    space.tell(0.85);
    let mask = mask::foreground(smooth, options, space)?;
    let voxels = runs::voxel_count(&mask);
    if voxels == 0 || voxels == voxel_count(shape) {
        // A mask without a background has no depth, and so no seed.
        return Ok(LabelRuns::none(shape));
    }
    let distance = distance::distance(&mask, space)?;
    space.tell(0.9);
    let seeds = seeds::seeds(&distance, &mask, options, space)?;
    space.tell(0.95);
    let labels = flood::flood(distance, mask, &seeds, options.connectivity, space)?;
    drop(seeds);
    let labels = tidy::cleanup(labels, &options.cleanup, space)?;
    space.tell(1.0);
    Ok(labels)
}

/// [`prepare`](super::prepare) of a stack that is read box by box, with the same result. Only the
/// result is in memory whole.
///
/// # Errors
///
/// As [`segment`].
///
/// # Panics
///
/// As [`super::prepare`].
pub fn prepare<E>(
    stack: &impl Boxes<E>,
    options: &Watershed,
    room: &Room<'_, E>,
    tell: &mut dyn FnMut(f64),
) -> Result<Volume<f32>, Fault<E>> {
    let shape = reduced_shape(stack.shape(), options.scale);
    let space = &Space::new(room, tell);
    space.check(4 * voxel_count(shape) as u64, "the stack on the grid of the labels", None)?;
    let prepared = prepare::prepare(stack, options, space)?;
    space.tell(1.0);
    Ok(prepared.into_whole()?)
}
