//! What a stack that is read box by box needs around it: where boxes come from, room for what is
//! in between, and how much memory there is.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;

use crate::Volume;
use crate::grid::{Region, Shape};

/// A stack that is read box by box.
pub trait Boxes<E> {
    /// Number of voxels along (z, y, x).
    fn shape(&self) -> Shape;

    /// Number of voxels along (z, y, x) that are best read together.
    fn block(&self) -> Shape;

    /// The voxels of a box that lies inside the stack.
    ///
    /// # Errors
    ///
    /// If the box cannot be read.
    fn read(&self, region: Region) -> Result<Volume<f32>, E>;
}

impl<E> Boxes<E> for Volume<f32> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn block(&self) -> Shape {
        [1, self.shape[1], self.shape[2]]
    }

    fn read(&self, region: Region) -> Result<Volume<f32>, E> {
        Ok(self.crop(region))
    }
}

/// Bytes outside of memory, such as a temporary file. All are 0 at first.
pub trait Scratch<E> {
    /// Writes bytes at a position.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), E>;

    /// Reads as many bytes as fit from a position.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), E>;
}

/// Makes scratch room of so many bytes.
type Open<'a, E> = dyn Fn(u64) -> Result<Box<dyn Scratch<E>>, E> + 'a;

/// How much memory there is, and where to put what does not fit.
pub struct Room<'a, E> {
    pub(super) memory_bytes: u64,
    pub(super) open: Option<&'a Open<'a, E>>,
}

impl<'a, E> Room<'a, E> {
    /// So much memory, and scratch room that this function makes.
    #[must_use]
    pub fn new(memory_bytes: u64, open: &'a Open<'a, E>) -> Self {
        Self { memory_bytes, open: Some(open) }
    }
}

impl Room<'static, Infallible> {
    /// So much memory, and nothing else: what should be in scratch room is in memory, too.
    #[must_use]
    pub fn memory_only(memory_bytes: u64) -> Self {
        Self { memory_bytes, open: None }
    }
}

impl<E> fmt::Debug for Room<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("memory_bytes", &self.memory_bytes).finish_non_exhaustive()
    }
}

/// Why a stack could not be segmented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault<E> {
    /// The stack or the scratch room could not be read or written.
    Outside(E),
    /// Something must be in memory at once and is larger than that may be.
    TooLarge {
        /// What it is, as a subject: "the outlines of the foreground".
        what: &'static str,
        /// Where it lies on the reduced grid, if it is a part.
        region: Option<Region>,
        /// The bytes that it needs.
        needed_bytes: u64,
        /// The bytes that there are.
        memory_bytes: u64,
    },
}

impl<E> From<E> for Fault<E> {
    fn from(error: E) -> Self {
        Self::Outside(error)
    }
}

impl<E: fmt::Display> fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(error) => error.fmt(f),
            Self::TooLarge { what, region, needed_bytes, memory_bytes } => {
                let mib = |bytes: u64| bytes.div_ceil(1 << 20);
                write!(f, "{what} ")?;
                if let Some(Region { start, shape }) = region {
                    write!(
                        f,
                        "in the box of {shape:?} voxels at (z, y, x) = {start:?} of its grid "
                    )?;
                }
                write!(
                    f,
                    "take {} MiB of memory at once, {} MiB are allowed",
                    mib(*needed_bytes),
                    memory_bytes >> 20
                )
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Fault<E> {}

/// The room while it is used: how much of the memory is taken, and who is told of the work.
pub(super) struct Space<'a, E> {
    pub(super) room: &'a Room<'a, E>,
    /// Bytes of stores that are in memory.
    pub(super) stored_bytes: Cell<u64>,
    /// Who is told of the work, and what was told last.
    tell: RefCell<&'a mut dyn FnMut(f64)>,
    told: Cell<f64>,
}

impl<'a, E> Space<'a, E> {
    pub(super) fn new(room: &'a Room<'a, E>, tell: &'a mut dyn FnMut(f64)) -> Self {
        Self { room, stored_bytes: Cell::new(0), tell: RefCell::new(tell), told: Cell::new(0.0) }
    }

    /// Tells which part of the work is done. A step that is done twice takes none back.
    pub(super) fn tell(&self, part: f64) {
        self.told.set(part.max(self.told.get()));
        (self.tell.borrow_mut())(self.told.get());
    }

    /// Tells which part of a piece of the work is done.
    pub(super) fn tell_within(&self, [from, to]: [f64; 2], done: usize, of: usize) {
        self.tell(from + (to - from) * done as f64 / of.max(1) as f64);
    }

    /// Bytes for what a box at a time needs.
    pub(super) fn working_bytes(&self) -> usize {
        usize::try_from(self.room.memory_bytes / 4).unwrap_or(usize::MAX)
    }

    /// Refuses what needs more memory than there is beside the stores.
    pub(super) fn check(
        &self,
        needed_bytes: u64,
        what: &'static str,
        region: Option<Region>,
    ) -> Result<(), Fault<E>> {
        self.check_alone(needed_bytes + self.stored_bytes.get(), what, region)
    }

    /// Refuses what needs more memory than there is, the stores being given up.
    pub(super) fn check_alone(
        &self,
        needed_bytes: u64,
        what: &'static str,
        region: Option<Region>,
    ) -> Result<(), Fault<E>> {
        let memory_bytes = self.room.memory_bytes;
        if needed_bytes <= memory_bytes {
            return Ok(());
        }
        Err(Fault::TooLarge { what, region, needed_bytes, memory_bytes })
    }
}

/// Cuts a grid into boxes of at most so many voxels (but at least one), in raster order: whole
/// multiples of the block if that is possible, and rather long than thick.
pub(super) fn boxes(shape: Shape, block: Shape, most: usize) -> Vec<Region> {
    let mut side: Shape = std::array::from_fn(|axis| block[axis].clamp(1, shape[axis].max(1)));
    for axis in 0..3 {
        let others = side.iter().product::<usize>() / side[axis];
        side[axis] = side[axis].min((most / others).max(1));
    }
    for axis in (0..3).rev() {
        let others = side.iter().product::<usize>() / side[axis];
        let times = (most / others / side[axis]).max(1);
        side[axis] = side[axis].saturating_mul(times).min(shape[axis].max(1));
    }
    Region::whole(shape).blocks(side).collect()
}

/// Cuts a grid into boxes that have at most so many voxels with a halo around them (but at least
/// one without), in raster order.
pub(super) fn boxes_with_halo(shape: Shape, halo: usize, most: usize) -> Vec<Region> {
    let mut side = shape.map(|length| length.max(1));
    let lengths = |side: Shape| -> Shape {
        std::array::from_fn(|axis| (side[axis] + 2 * halo).min(shape[axis].max(1)))
    };
    while lengths(side).iter().product::<usize>() > most {
        let lengths = lengths(side);
        let halved = |axis: &usize| side[*axis] > 1;
        // Rows stay whole as long as the others are not much shorter.
        let weight = |axis: &usize| if *axis == 2 { lengths[2] / 8 } else { lengths[*axis] };
        let Some(axis) = (0..3).filter(halved).max_by_key(weight) else { break };
        side[axis] = side[axis].div_ceil(2);
    }
    Region::whole(shape).blocks(side).collect()
}

/// Cuts a grid into slabs across an axis, of at most so many voxels but at least one thick.
pub(super) fn slabs(shape: Shape, axis: usize, most: usize) -> Vec<Region> {
    let across = (shape.iter().product::<usize>() / shape[axis].max(1)).max(1);
    let mut side = shape.map(|length| length.max(1));
    side[axis] = (most / across).clamp(1, side[axis]);
    Region::whole(shape).blocks(side).collect()
}

/// What two boxes have in common; where that is nothing, an empty box at the start of the first.
pub(super) fn common(a: Region, b: Region) -> Region {
    let start: [usize; 3] = std::array::from_fn(|axis| a.start[axis].max(b.start[axis]));
    let stop = |axis: usize| a.stop()[axis].min(b.stop()[axis]);
    let shape: Shape = std::array::from_fn(|axis| stop(axis).saturating_sub(start[axis]));
    if shape.contains(&0) {
        Region { start: a.start, shape: [0; 3] }
    } else {
        Region { start, shape }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::voxel_count;

    #[track_caller]
    fn check(regions: &[Region], shape: Shape) {
        let mut seen = Volume::filled(shape, 0_u8);
        for region in regions {
            let part = seen.crop(*region).map(|count| count + 1);
            seen.paste(region.start, &part);
        }
        assert!(seen.voxels.iter().all(|count| *count == 1), "{regions:?}");
    }

    #[test]
    fn every_voxel_is_in_one_box() {
        let shape = [5, 7, 9];
        for most in [0, 1, 5, 20, 64, 100, 1000] {
            let boxes = boxes(shape, [2, 3, 4], most);
            check(&boxes, shape);
            assert!(boxes.iter().all(|region| voxel_count(region.shape) <= most.max(1)));
            for halo in [0, 1, 3] {
                check(&boxes_with_halo(shape, halo, most), shape);
            }
            for axis in 0..3 {
                check(&slabs(shape, axis, most), shape);
            }
        }
        assert_eq!(boxes(shape, [1, 7, 9], 130).len(), 3);
        assert_eq!(boxes(shape, [2, 3, 4], 24)[0].shape, [2, 3, 4]);
        assert_eq!(boxes(shape, [2, 3, 4], 60)[0].shape, [2, 3, 8]);
    }
}
