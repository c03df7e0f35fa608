//! [`ZarrWriter`]: an unfinished store.

use std::io;
use std::path::Path;

use rayon::prelude::*;
use spotlight_image::Volume;
use spotlight_image::grid::{Region, Shape, voxel_count};
use zarrs::array::{Array, ArrayBytes, ArrayToBytesCodecTraits, CodecOptions};
use zarrs::filesystem::FilesystemStore;

use super::folder::Folder;
use super::labels::Parent;
use super::layout::ZarrLayout;
use super::level::Level;
use super::metadata::{group_files, image_attributes};
use super::options::{NgffVersion, ZarrOptions};
use super::plan::{Plan, name_of};
use super::progress::{Mark, Progress};
use crate::Error;
use crate::voxels::{Voxels, on_volume};

/// An OME-Zarr store that is being written, unit by unit.
///
/// The store grows in a hidden folder beside its final name, `.NAME.part`, and gets its name
/// in [`ZarrWriter::finish`]. Dropped or killed before, it can be taken up by
/// [`ZarrWriter::resume`] and will be the same, byte for byte, as one written at a stretch.
/// Units may come in any order and from several threads.
///
/// A label image (see [`ZarrOptions::labels`]) with a path of the form `IMAGE/labels/NAME`
/// becomes one of the label images of the store `IMAGE`, with its version and levels.
///
/// A unit of n bytes takes about 4 n bytes of memory while it is written, a lower level less.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_io::{SampleType, Voxels, ZarrLayout, ZarrOptions, ZarrWriter};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("stain.ome.zarr");
/// let layout = ZarrLayout::stack([4, 300, 300], SampleType::F32, &["DNA"], Some([0.3; 3]));
/// let options = ZarrOptions::default();
/// let digest = "inputs and settings";
/// let writer = match ZarrWriter::resume(&path, &layout, &options, digest)? {
///     Some(writer) => writer,
///     None => ZarrWriter::create(&path, &layout, &options, digest)?,
/// };
/// for unit in writer.units() {
///     if !writer.is_done(0, 0, unit) {
///         let voxels = Voxels::from(Volume::filled(unit.shape, 0.5_f32));
///         writer.write_unit(0, 0, unit, &voxels)?;
///     }
/// }
/// writer.finish()?;
/// assert!(path.join("zarr.json").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ZarrWriter {
    pub(super) folder: Folder,
    pub(super) layout: ZarrLayout,
    pub(super) options: ZarrOptions,
    pub(super) levels: Vec<Level>,
    pub(super) arrays: Vec<Array<FilesystemStore>>,
    pub(super) progress: Progress,
    pub(super) parent: Option<Parent>,
}

impl ZarrWriter {
    /// Begins a new store; `digest` stands for all inputs and settings that the voxels come
    /// from.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] if the store exists and may not be replaced; [`Error::Choice`] if an
    /// unfinished store of the name is there, or something else that is no store, or a label
    /// image does not fit its image; [`Error::Format`] and [`Error::Unsupported`] if the image
    /// of a label image is no OME-Zarr that can hold it; [`Error::Io`] if the system refuses
    /// or another program is writing the store.
    ///
    /// # Panics
    ///
    /// If there is no channel, time point or voxel, a length of the chunk or the unit is 0,
    /// labels are not integers of one channel, a window or position is not finite, or the
    /// digest is empty or has more than one line.
    pub fn create(
        path: &Path,
        layout: &ZarrLayout,
        options: &ZarrOptions,
        digest: &str,
    ) -> Result<Self, Error> {
        let plan = Plan::new(path, layout, options, digest)?;
        let files = plan.array_files();
        let progress = plan.folder.begin(options.overwrite, digest, &plan.print(), &files)?;
        plan.writer(progress)
    }

    /// Takes up an unfinished store; none if there is none, be it that nothing was begun or
    /// that all is finished.
    ///
    /// # Errors
    ///
    /// [`Error::Choice`] if the unfinished store has another digest, layout or options; else
    /// as [`ZarrWriter::create`].
    ///
    /// # Panics
    ///
    /// As [`ZarrWriter::create`].
    pub fn resume(
        path: &Path,
        layout: &ZarrLayout,
        options: &ZarrOptions,
        digest: &str,
    ) -> Result<Option<Self>, Error> {
        let plan = Plan::new(path, layout, options, digest)?;
        match plan.folder.resume(options.overwrite, digest, &plan.print())? {
            Some(progress) => plan.writer(progress).map(Some),
            None => Ok(None),
        }
    }

    /// The boxes in which level 0 of every channel and time point is written.
    #[must_use]
    pub fn units(&self) -> Vec<Region> {
        self.levels[0].units().collect()
    }

    /// Number of voxels of a unit along (z, y, x), the last along each axis aside.
    #[must_use]
    pub fn unit_shape(&self) -> Shape {
        self.levels[0].unit
    }

    /// Whether a unit is written already.
    #[must_use]
    pub fn is_done(&self, time: usize, channel: usize, unit: Region) -> bool {
        self.progress.is_complete() || self.progress.is_done(Mark::new(0, time, channel, unit))
    }

    /// Writes a unit of level 0; when this returns, it is on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses; what is written stays and can be resumed.
    ///
    /// # Panics
    ///
    /// If there is no such time point, channel or unit, or the voxels have not its shape or
    /// the type of the layout.
    pub fn write_unit(
        &self,
        time: usize,
        channel: usize,
        unit: Region,
        voxels: &Voxels,
    ) -> Result<(), Error> {
        assert!(time < self.layout.times, "there is no time point {time}");
        assert!(channel < self.layout.channels.len(), "there is no channel {channel}");
        assert!(self.levels[0].is_unit(unit), "{unit:?} is no write unit");
        assert_eq!(voxels.shape(), unit.shape, "voxels of the shape of the unit");
        assert_eq!(voxels.sample_type(), self.layout.sample_type, "voxels of the layout's type");
        self.store_unit(Mark::new(0, time, channel, unit), unit, voxels)
    }

    /// Makes the lower levels and the metadata and gives the store its final name.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] if the name was taken meanwhile and may not be replaced;
    /// [`Error::Io`] if the system refuses; what is written stays and can be resumed.
    ///
    /// # Panics
    ///
    /// If a unit has not been written.
    pub fn finish(self) -> Result<(), Error> {
        if !self.progress.is_complete() {
            for (time, channel) in self.stacks() {
                for unit in self.levels[0].units() {
                    let done = self.is_done(time, channel, unit);
                    assert!(done, "{unit:?} of channel {channel} at time {time} is not written");
                }
            }
            self.write_lower_levels()?;
            self.write_image_metadata()?;
            self.progress.mark_complete().map_err(|source| self.folder.explain(source))?;
        }
        if let Some(parent) = &self.parent {
            parent.make_group()?;
        }
        self.folder.publish(self.options.overwrite)?;
        if let Some(parent) = &self.parent {
            parent.list()?;
        }
        self.folder.clear()
    }

    /// Every time point and channel.
    pub(super) fn stacks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let channels = self.layout.channels.len();
        (0..self.layout.times * channels).map(move |n| (n / channels, n % channels))
    }

    /// Writes the objects of a unit of any level and marks it.
    pub(super) fn store_unit(
        &self,
        mark: Mark,
        unit: Region,
        voxels: &Voxels,
    ) -> Result<(), Error> {
        let object = self.object_shape(mark.level);
        let whole = Region { start: [0; 3], shape: unit.shape };
        let parts: Vec<Region> = whole.blocks(object).collect();
        let written = parts.par_iter().try_for_each(|part| {
            let start = std::array::from_fn(|axis| unit.start[axis] + part.start[axis]);
            let key = self.object_key(mark, start);
            let bytes = on_volume!(voxels, volume => padded_bytes(volume, *part, object, |v| v.to_le_bytes()));
            match self.encode(mark.level, object, bytes)? {
                Some(bytes) => self.folder.write(&key, &bytes),
                None => self.folder.remove(&key),
            }
        });
        written
            .and_then(|()| self.progress.mark(mark))
            .map_err(|source| self.folder.explain(source))
    }

    /// Lengths of what lies in one file: a shard, or a chunk where there are no shards.
    pub(super) fn object_shape(&self, level: usize) -> Shape {
        match self.options.version {
            NgffVersion::V04 => self.levels[level].chunk,
            NgffVersion::V05 => self.levels[level].unit,
        }
    }

    /// The name in the store of the object with a voxel.
    pub(super) fn object_key(&self, mark: Mark, voxel: [usize; 3]) -> String {
        let object = self.object_shape(mark.level);
        let [z, y, x]: [usize; 3] = std::array::from_fn(|axis| voxel[axis] / object[axis]);
        let Mark { level, time, channel, .. } = mark;
        let prefix = match self.options.version {
            NgffVersion::V04 => "",
            NgffVersion::V05 => "c/",
        };
        format!("{level}/{prefix}{time}/{channel}/{z}/{y}/{x}")
    }

    /// The encoded object; none where all is 0, which is left out.
    fn encode(&self, level: usize, object: Shape, bytes: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let array = &self.arrays[level];
        let [z, y, x] = object.map(|length| length as u64);
        let shape = [1, 1, z, y, x].map(|length| length.try_into().map_err(io::Error::other));
        let shape = shape.into_iter().collect::<Result<Vec<_>, _>>()?;
        let options = CodecOptions::default().with_concurrent_target(rayon::current_num_threads());
        let encoded = array.codecs().encode(
            ArrayBytes::new_flen(bytes),
            &shape,
            array.data_type(),
            array.fill_value(),
            &options,
        );
        encoded.map(|bytes| Some(bytes.into_owned())).map_err(io::Error::other)
    }

    pub(super) fn write_image_metadata(&self) -> Result<(), Error> {
        let windows = self.windows()?;
        let source = self.parent.as_ref().map(|_| "../../");
        let attributes = image_attributes(
            &name_of(self.folder.target()),
            &self.layout,
            &self.options,
            &self.levels,
            &windows,
            source,
        );
        for (key, text) in group_files(self.options.version, attributes) {
            let written = self.folder.write(key, text.as_bytes());
            written.map_err(|source| self.folder.explain(source))?;
        }
        Ok(())
    }
}

/// A part of a volume, its voxels as little-endian bytes, filled up with 0 to a shape.
fn padded_bytes<T: Copy, const N: usize>(
    volume: &Volume<T>,
    part: Region,
    shape: Shape,
    to_bytes: impl Fn(T) -> [u8; N],
) -> Vec<u8> {
    let mut bytes = vec![0; voxel_count(shape) * N];
    let [depth, height, width] = part.shape;
    for z in 0..depth {
        for y in 0..height {
            let from = volume.offset([part.start[0] + z, part.start[1] + y, part.start[2]]);
            let to = ((z * shape[1] + y) * shape[2]) * N;
            let row = bytes[to..to + width * N].chunks_exact_mut(N);
            for (bytes, voxel) in row.zip(&volume.voxels[from..from + width]) {
                bytes.copy_from_slice(&to_bytes(*voxel));
            }
        }
    }
    bytes
}
