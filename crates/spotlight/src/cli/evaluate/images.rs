//! The images of one contender, shown one after the other as often as a score needs them: whole
//! where they fit into memory, else some planes at a time.

use std::ops::Range;

use anyhow::{Context as _, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use spotlight_image::evaluate::masked_product;
use spotlight_image::foreground::mask;
use spotlight_image::grid::voxel_count;
use spotlight_image::{Shape, Volume};

use super::comparison::{Case, OpenCase, Prepared, Space, Statistics};
use super::statistics::statistics;
use crate::cli::failure;

/// Images are kept in memory up to this many bytes, and a quarter of the memory; those beyond are
/// read again each time.
const KEPT_BYTES: u64 = 2 << 30;

/// Bytes that a voxel takes while its image is read and scored: both images in several units,
/// masks, and once more what is being made of them.
const BYTES_OF_VOXEL: u64 = 40;

/// Two volumes of four bytes, and a mask of one.
const HELD_BYTES_OF_VOXEL: u64 = 9;

/// Bytes that each thread takes for each voxel of the plane that it scores: window means of up to
/// five terms, normalised planes, Fourier transforms.
const BYTES_OF_PLANE_VOXEL: u64 = 64;

/// What is shown an image, or planes of it one slab after the other, and which of the planes
/// count: those around them are there for windows to look at.
pub(super) type See<'a> = &'a mut (dyn FnMut(&Prepared, Range<usize>) + Send);

/// A part of the volume that scores are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// All of it.
    Whole,
    /// Both images times the foreground mask of the target: still the whole volume.
    Foreground,
    /// The voxels of the mask alone.
    ForegroundVoxels,
}

impl Region {
    pub(super) const ALL: [Self; 3] = [Self::Whole, Self::Foreground, Self::ForegroundVoxels];

    /// Its word in the tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Foreground => "foreground",
            Self::ForegroundVoxels => "foreground_voxels",
        }
    }
}

/// The images of one contender.
pub(super) struct Images<'a> {
    cases: Vec<Case>,
    space: Space<'a>,
    statistics: Vec<Option<Statistics>>,
    kept: Vec<Option<Prepared>>,
    /// The image that was shown last, if it is not kept.
    last: Option<(usize, Prepared)>,
    /// Bytes in which images may be kept yet.
    room: u64,
    /// Bytes that scoring may take besides.
    memory_bytes: u64,
}

impl<'a> Images<'a> {
    pub(super) fn new(cases: Vec<Case>, space: Space<'a>, memory_bytes: u64) -> Self {
        let (statistics, kept) = (vec![None; cases.len()], vec![None; cases.len()]);
        // The only image is never kept beside another.
        let room = if cases.len() > 1 { KEPT_BYTES.min(memory_bytes / 4) } else { 0 };
        let memory_bytes = memory_bytes - room;
        Self { cases, space, statistics, kept, last: None, room, memory_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.cases.len()
    }

    /// Shows one image: whole, or slab after slab, each with so many planes around it as far as
    /// there are any.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or not even a plane fits into memory.
    pub(super) fn show(&mut self, index: usize, halo: usize, see: See) -> Result<()> {
        if let Some(whole) = self.in_memory(index) {
            see(whole, 0..whole.target.shape[0]);
            return Ok(());
        }
        let case = OpenCase::new(&self.cases[index], self.space)?;
        let needed = whole_bytes(case.shape());
        if needed <= self.memory_bytes {
            let whole = self.read_whole(index, &case)?;
            see(whole, 0..whole.target.shape[0]);
            return Ok(());
        }
        if !case.has_slabs() {
            return Err(self.too_large(index, "comparing it on the grid of the model", needed));
        }
        let slabs = Slabs::new(case.shape(), case.planes_at_once(), halo, self.memory_bytes);
        let slabs =
            slabs.map_err(|needed| self.too_large(index, "scoring it plane by plane", needed))?;
        self.last = None;
        let found = match self.statistics[index] {
            Some(found) => found,
            None => statistics(case.target(), case.otsu(), self.memory_bytes)?,
        };
        self.statistics[index] = Some(found);
        let pool = slabs.pool()?;
        for slab in slabs.ranges() {
            let around = slab.start.saturating_sub(halo)..(slab.end + halo).min(slabs.planes);
            let prepared = case.slab(&around, &found)?;
            let core = slab.start - around.start..slab.end - around.start;
            match &pool {
                None => see(&prepared, core),
                Some(pool) => pool.install(|| see(&prepared, core)),
            }
        }
        Ok(())
    }

    /// Shows one image while so many bytes are taken already.
    pub(super) fn show_within(&mut self, taken: u64, index: usize, see: See) -> Result<()> {
        let memory_bytes = self.memory_bytes;
        self.memory_bytes = memory_bytes.saturating_sub(taken);
        let shown = self.show(index, 0, see);
        self.memory_bytes = memory_bytes;
        shown
    }

    /// Shows one image whole; `for_what` is the part of the work that needs it so, for the error.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or does not fit into memory.
    pub(super) fn show_whole<R>(
        &mut self,
        index: usize,
        for_what: &str,
        see: impl FnOnce(&Prepared) -> R,
    ) -> Result<R> {
        if self.in_memory(index).is_none() {
            let case = OpenCase::new(&self.cases[index], self.space)?;
            let needed = whole_bytes(case.shape());
            if needed > self.memory_bytes {
                return Err(self.too_large(index, for_what, needed));
            }
            return Ok(see(self.read_whole(index, &case)?));
        }
        self.in_memory(index).map(see).context("the image was there a moment ago")
    }

    /// What may be taken for more than the image that is shown, of this shape; and the least that
    /// showing it takes besides.
    pub(super) fn beside(&self, shape: Shape) -> [u64; 2] {
        let whole = whole_bytes(shape) <= self.memory_bytes;
        let held = if whole { HELD_BYTES_OF_VOXEL * voxel_count(shape) as u64 } else { 0 };
        let least = if whole { 0 } else { Slabs::least(shape, 0) };
        [self.memory_bytes.saturating_sub(held), least]
    }

    /// What `--memory` must be for so many bytes.
    pub(super) fn memory_for(&self, bytes: u64) -> u64 {
        if self.cases.len() > 1 {
            bytes.saturating_add(KEPT_BYTES.min(bytes.div_ceil(3)))
        } else {
            bytes
        }
    }

    fn in_memory(&self, index: usize) -> Option<&Prepared> {
        let last = self.last.as_ref().filter(|(last, _)| *last == index);
        self.kept[index].as_ref().or(last.map(|(_, whole)| whole))
    }

    fn read_whole(&mut self, index: usize, case: &OpenCase) -> Result<&Prepared> {
        self.last = None;
        let (whole, statistics) = case.whole(self.statistics[index])?;
        self.statistics[index] = Some(statistics);
        let bytes = HELD_BYTES_OF_VOXEL * whole.target.voxels.len() as u64;
        if bytes <= self.room {
            self.room -= bytes;
            return Ok(self.kept[index].insert(whole));
        }
        Ok(&self.last.insert((index, whole)).1)
    }

    fn too_large(&self, index: usize, for_what: &str, bytes: u64) -> anyhow::Error {
        let bytes = self.memory_for(bytes);
        failure(
            format!(
                "{}: {for_what} needs {bytes} bytes of memory",
                self.cases[index].prediction.display()
            ),
            format!("allow them with --memory {}MiB", bytes.div_ceil(1 << 20)),
        )
    }
}

/// What an image takes that is scored whole.
fn whole_bytes(shape: Shape) -> u64 {
    let plane = (shape[1] * shape[2]) as u64;
    let threads = rayon::current_num_threads() as u64;
    BYTES_OF_VOXEL * voxel_count(shape) as u64 + threads * BYTES_OF_PLANE_VOXEL * plane
}

/// How a stack is cut into slabs that fit into memory, and how many threads may score them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slabs {
    planes: usize,
    step: usize,
    threads: usize,
}

impl Slabs {
    /// The error is the number of bytes that a single plane needs.
    fn new(shape: Shape, at_once: usize, halo: usize, memory_bytes: u64) -> Result<Self, u64> {
        let [planes, rows, columns] = shape;
        let plane = ((rows * columns) as u64).max(1);
        let of_thread = BYTES_OF_PLANE_VOXEL * plane;
        let around = 2 * halo as u64;
        let least = Self::least(shape, halo);
        if least > memory_bytes {
            return Err(least);
        }
        // Threads take no more than half of what is left beside the least slab.
        let more = (memory_bytes - least) / 2 / of_thread;
        let threads = rayon::current_num_threads().min(1 + more as usize);
        let of_slab = memory_bytes - threads as u64 * of_thread;
        let fit = (of_slab / (BYTES_OF_VOXEL * plane) - around) as usize;
        let step = if fit > at_once { fit / at_once * at_once } else { fit };
        Ok(Self { planes, step: step.clamp(1, planes.max(1)), threads })
    }

    /// The bytes that a single plane needs.
    fn least([_, rows, columns]: Shape, halo: usize) -> u64 {
        let plane = ((rows * columns) as u64).max(1);
        plane * (BYTES_OF_VOXEL * (1 + 2 * halo as u64) + BYTES_OF_PLANE_VOXEL)
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let Self { planes, step, .. } = *self;
        (0..planes).step_by(step).map(move |first| first..(first + step).min(planes))
    }

    /// Fewer threads than there are, where not all may score; the scores do not depend on it.
    fn pool(&self) -> Result<Option<ThreadPool>> {
        if self.threads == rayon::current_num_threads() {
            return Ok(None);
        }
        let pool = ThreadPoolBuilder::new().num_threads(self.threads).build();
        Ok(Some(pool.context("while starting the threads")?))
    }
}

impl Prepared {
    /// The foreground of the target.
    pub(super) fn foreground(&self) -> Volume<bool> {
        mask(&self.target, self.threshold)
    }

    /// Intensities of the target and of a prediction in its units, as far as they count in a
    /// region: whole, or times the mask.
    pub(super) fn pair(&self, prediction: &Volume<f32>, region: Region) -> [Volume<f32>; 2] {
        let pair = [&self.target, prediction].map(|volume| self.intensity.of(volume));
        match region {
            Region::Whole | Region::ForegroundVoxels => pair,
            Region::Foreground => {
                let foreground = self.foreground();
                pair.map(|volume| masked_product(&volume, &foreground))
            }
        }
    }
}

#[cfg(test)]
impl Prepared {
    /// Some of the planes.
    pub(super) fn planes(&self, range: Range<usize>) -> Self {
        let [_, rows, columns] = self.target.shape;
        let region = spotlight_image::Region {
            start: [range.start, 0, 0],
            shape: [range.len(), rows, columns],
        };
        Self {
            prediction: self.prediction.crop(region),
            target: self.target.crop(region),
            truth: self.truth.as_ref().map(|truth| truth.crop(region)),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spotlight_image::foreground::OtsuRecipe;
    use spotlight_io::{OutputChannel, Voxels, WriteOptions, write_ome_tiff};

    #[test]
    fn an_image_that_is_read_again_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, factor: usize| {
            let volume = Volume::from_fn([3, 9, 9], |[z, y, x]| ((z + factor * y * x) % 13) as f32);
            let voxels = Voxels::F32(volume);
            let channel = OutputChannel { name: "only", voxels: &voxels };
            let path = folder.path().join(name);
            write_ome_tiff(&path, &[channel], None, &WriteOptions::default()).unwrap();
            path
        };
        let (prediction, target) = (write("a.tif", 3), write("b.tif", 5));
        let case = Case { prediction, target, channel: None, mask: None };
        let space = Space::Raw(OtsuRecipe::Smooth);
        let seen = |room: u64, memory_bytes: u64| {
            let cases = vec![case.clone()];
            let mut images = Images { room, ..Images::new(cases, space, memory_bytes) };
            let shown = [0, 0].map(|index| {
                let (mut planes, mut slabs) = (Vec::new(), 0);
                let see: See = &mut |prepared, core| {
                    slabs += 1;
                    let core = prepared.planes(core);
                    let [a, b] = core.pair(&core.prediction, Region::Foreground);
                    planes.push(([a.voxels, b.voxels], core.threshold, core.data_range));
                };
                images.show(index, 1, see).unwrap();
                let [mut a, mut b] = [Vec::new(), Vec::new()];
                for ([x, y], ..) in &planes {
                    a.extend_from_slice(x);
                    b.extend_from_slice(y);
                }
                assert_eq!(slabs == 3, memory_bytes < 1 << 20);
                (a, b, planes[0].1, planes[0].2)
            });
            assert_eq!(images.kept[0].is_some(), room > 0 && memory_bytes >= 1 << 20);
            shown
        };
        let [first, again] = seen(0, 1 << 30);
        assert_eq!(first, again);
        assert_eq!(seen(1 << 20, 1 << 30), [first.clone(), again]);
        // A plane of 81 voxels with one on each side.
        let [by_planes, again] = seen(0, 81 * (3 * 40 + 64));
        assert_eq!([&by_planes, &again], [&first, &first]);
    }

    #[test]
    fn slabs_take_no_more_than_they_may() {
        let plane = 1000 * 1000;
        let at = |memory: u64, at_once| Slabs::new([50, 1000, 1000], at_once, 3, memory);
        let least = plane * (7 * 40 + 64);
        assert_eq!(at(least - 1, 1), Err(least));
        assert_eq!(at(least, 8), Ok(Slabs { planes: 50, step: 1, threads: 1 }));
        for memory in [least, 2 * least, 3 * least + 7, 9 * least] {
            let Slabs { step, threads, .. } = at(memory, 4).unwrap();
            assert!(plane * (40 * (step as u64 + 6) + 64 * threads as u64) <= memory);
            assert!(step < 4 || step % 4 == 0 || step == 50);
        }
    }
}
