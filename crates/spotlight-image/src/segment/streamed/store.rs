//! [`Store`]: the voxels of a whole grid, in memory or in scratch room, read and written by boxes.

use std::cell::RefCell;

use super::space::{Scratch, Space};
use crate::Volume;
use crate::grid::{Region, Shape, voxel_count};

/// A number that scratch room holds.
pub(super) trait Stored: Copy + Default {
    const BYTES: usize;
    fn put(self, bytes: &mut [u8]);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! stored {
    ($($t:ty),*) => {$(
        impl Stored for $t {
            const BYTES: usize = size_of::<$t>();
            fn put(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$t>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    )*};
}
stored!(u16, f32, f64);

/// The voxels of a grid; all are 0 at first.
pub(super) struct Store<'a, T, E> {
    pub(super) shape: Shape,
    place: Place<T, E>,
    space: &'a Space<'a, E>,
    /// Bytes of it in memory.
    bytes: u64,
}

enum Place<T, E> {
    Memory(RefCell<Volume<T>>),
    Scratch(RefCell<Box<dyn Scratch<E>>>),
}

impl<'a, T: Stored, E> Store<'a, T, E> {
    /// Room for a grid: in memory as long as half of it stays free.
    pub(super) fn new(shape: Shape, space: &'a Space<'a, E>) -> Result<Self, E> {
        let bytes = (voxel_count(shape) * T::BYTES) as u64;
        let stored = space.stored_bytes.get();
        if let Some(open) = space.room.open
            && stored + bytes > space.room.memory_bytes / 2
        {
            return Ok(Self {
                shape,
                place: Place::Scratch(RefCell::new(open(bytes)?)),
                space,
                bytes: 0,
            });
        }
        space.stored_bytes.set(stored + bytes);
        let place = Place::Memory(RefCell::new(Volume::filled(shape, T::default())));
        Ok(Self { shape, place, space, bytes })
    }

    /// The voxels of a box.
    pub(super) fn read(&self, region: Region) -> Result<Volume<T>, E> {
        let scratch = match &self.place {
            Place::Memory(volume) => return Ok(volume.borrow().crop(region)),
            Place::Scratch(scratch) => scratch,
        };
        let mut voxels = Vec::with_capacity(voxel_count(region.shape));
        let mut bytes = Vec::new();
        for (at, count) in spans(self.shape, region) {
            bytes.resize(count * T::BYTES, 0);
            scratch.borrow_mut().read((at * T::BYTES) as u64, &mut bytes)?;
            voxels.extend(bytes.chunks_exact(T::BYTES).map(T::get));
        }
        Ok(Volume::new(region.shape, voxels))
    }

    /// All voxels.
    pub(super) fn into_whole(self) -> Result<Volume<T>, E> {
        match &self.place {
            Place::Memory(volume) => Ok(volume.replace(Volume::filled([0; 3], T::default()))),
            Place::Scratch(_) => self.read(Region::whole(self.shape)),
        }
    }

    /// Writes a box that begins at `start`.
    pub(super) fn write(&self, start: [usize; 3], part: &Volume<T>) -> Result<(), E> {
        let scratch = match &self.place {
            Place::Memory(volume) => {
                volume.borrow_mut().paste(start, part);
                return Ok(());
            }
            Place::Scratch(scratch) => scratch,
        };
        let mut voxels = part.voxels.as_slice();
        let mut bytes = Vec::new();
        for (at, count) in spans(self.shape, Region { start, shape: part.shape }) {
            let (now, later) = voxels.split_at(count);
            bytes.resize(count * T::BYTES, 0);
            let places = bytes.chunks_exact_mut(T::BYTES).zip(now);
            places.for_each(|(bytes, voxel)| voxel.put(bytes));
            scratch.borrow_mut().write((at * T::BYTES) as u64, &bytes)?;
            voxels = later;
        }
        Ok(())
    }
}

impl<T, E> Drop for Store<'_, T, E> {
    fn drop(&mut self) {
        let stored = &self.space.stored_bytes;
        stored.set(stored.get() - self.bytes);
    }
}

/// The stretches of neighbouring voxels that make a box of a grid: where each begins, and how many
/// voxels it has.
fn spans(shape: Shape, region: Region) -> Vec<(usize, usize)> {
    let [depth, height, width] = region.shape;
    if voxel_count(region.shape) == 0 {
        return Vec::new();
    }
    let offset = |z: usize, y: usize| {
        ((region.start[0] + z) * shape[1] + region.start[1] + y) * shape[2] + region.start[2]
    };
    if width < shape[2] {
        let rows = (0..depth).flat_map(|z| (0..height).map(move |y| (z, y)));
        return rows.map(|(z, y)| (offset(z, y), width)).collect();
    }
    (0..depth).map(|z| (offset(z, 0), height * width)).collect()
}
