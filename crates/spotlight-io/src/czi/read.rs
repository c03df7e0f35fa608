//! Opens CZI files and reads boxes of them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use spotlight_image::Volume;
use spotlight_image::grid::{Region, voxel_count};

use super::directory::{Entry, read_directory};
use super::metadata::{Metadata, read_metadata};
use super::scene::{Scene, scenes};
use super::segment::{Bytes, read_header};
use super::sub_block::read_rows;
use crate::Error;
use crate::error::Fault;
use crate::metadata::{AxisOrigin, ByteOrder, Dimension, ImageInfo, Storage};
use crate::source::{Layout, Place, Source};
use crate::voxels::{ArrayData, SampleType, Voxels};

/// Tiles of a plane that are decoded at once, which bounds the memory of large mosaics.
const TILES_AT_ONCE: usize = 16;

/// An open file: its directory and metadata. Sub-blocks are read when they are asked for.
#[derive(Debug)]
pub(crate) struct Image {
    path: PathBuf,
    scenes: Vec<Scene>,
    metadata: Metadata,
    unfinished: bool,
}

impl Image {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        open(path).map_err(|fault| fault.at(path))
    }

    fn names(&self, scene: &Scene) -> Vec<Option<String>> {
        let samples = scene.pixel.samples;
        let name = |channel: usize| {
            let number = i64::from(scene.first[1]) + (channel / samples) as i64;
            let stored = usize::try_from(number).ok();
            let stored = stored.and_then(|number| self.metadata.channel_names.get(number));
            let stored = stored.cloned().flatten();
            if samples == 1 {
                return stored;
            }
            let colour = ["red", "green", "blue"][channel % samples];
            Some(stored.map_or(colour.to_owned(), |name| format!("{name} {colour}")))
        };
        (0..scene.lengths[1] * samples).map(name).collect()
    }

    /// Axes of more than one position, and rows and columns.
    fn axes(scene: &Scene) -> (String, Vec<usize>) {
        let [times, channels, depth] = scene.lengths;
        let [height, width] = scene.size;
        let all = [
            ('T', times),
            ('C', channels * scene.pixel.samples),
            ('Z', depth),
            ('Y', height),
            ('X', width),
        ];
        all.into_iter().filter(|(axis, length)| *length > 1 || "YX".contains(*axis)).unzip()
    }

    /// The directory says what every axis is.
    fn dimensions(scene: &Scene) -> [Dimension; 5] {
        let [times, channels, depth] = scene.lengths;
        let [height, width] = scene.size;
        let lengths = [times, channels * scene.pixel.samples, depth, height, width];
        Dimension::all(lengths, [AxisOrigin::Metadata; 5])
    }

    fn series_name(&self, scene: &Scene) -> String {
        let name = scene.number.and_then(|number| self.metadata.scene_names.get(&number));
        name.cloned().unwrap_or_default()
    }

    fn warnings(&self, scene: &Scene) -> Vec<String> {
        let mut all = Vec::new();
        if let Err(Fault::Unsupported { what, way_out }) = scene.check() {
            all.push(format!("{what} is not supported; {way_out}"));
        }
        if self.unfinished {
            all.push("the file is marked as one whose writing did not end".to_owned());
        }
        let missing = scene.missing_planes();
        if missing > 0 {
            all.push(format!("{missing} planes are not in the file; they are read as 0"));
        }
        let missing = self.metadata.spacing_um.iter().zip(["z", "y", "x"]);
        let missing = missing.filter(|pair| pair.0.is_none()).map(|pair| pair.1);
        let missing: Vec<&str> = missing.collect();
        if !missing.is_empty() {
            all.push(format!("the voxel size along {} is not recorded", missing.join(", ")));
        }
        all
    }
}

fn open(path: &Path) -> Result<Image, Fault> {
    let mut bytes = Bytes::open(path)?;
    let header = read_header(&mut bytes)?;
    let entries = read_directory(&mut bytes, header.directory_at)?;
    let scenes = scenes(entries, bytes.length)?;
    let metadata = header.metadata_at.map(|at| read_metadata(&mut bytes, at)).transpose()?;
    let metadata = metadata.unwrap_or_default();
    Ok(Image { path: path.to_owned(), scenes, metadata, unfinished: header.unfinished })
}

impl Source for Image {
    fn parts(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn series_count(&self) -> usize {
        self.scenes.len()
    }

    fn layout(&self, series: usize) -> Result<Layout, Error> {
        let scene = &self.scenes[series];
        scene.check().map_err(|fault| fault.at(&self.path))?;
        let [times, _, depth] = scene.lengths;
        let ([height, width], [tile_height, tile_width]) = (scene.size, scene.tile);
        Ok(Layout {
            shape: [depth, height, width],
            sample_type: scene.pixel.sample_type,
            times,
            channel_names: self.names(scene),
            partial_spacing_um: self.metadata.spacing_um,
            block: [1, tile_height, tile_width],
        })
    }

    fn info(&self) -> Result<ImageInfo, Error> {
        let scene = &self.scenes[0];
        let (axes, shape) = Self::axes(scene);
        let names = self.names(scene).into_iter().enumerate();
        let [z, y, x] = self.metadata.spacing_um;
        let mut compressions: Vec<&str> =
            scene.tiles().iter().map(|tile| tile.compression.name()).collect();
        compressions.sort_unstable();
        compressions.dedup();
        Ok(ImageInfo {
            path: self.path.clone(),
            format: "CZI".to_owned(),
            axes,
            shape,
            dimensions: Self::dimensions(scene),
            sample_type: scene.pixel.sample_type,
            channel_names: names.map(|(c, name)| name.unwrap_or_else(|| c.to_string())).collect(),
            spacing_um: (|| Some([z?, y?, x?]))(),
            partial_spacing_um: self.metadata.spacing_um,
            times: scene.lengths[0],
            series: self.scenes.iter().map(|scene| self.series_name(scene)).collect(),
            levels: scene.levels,
            byte_order: ByteOrder::Little,
            compression: compressions.join(", "),
            storage: Storage::Czi {
                sub_blocks: self.scenes.iter().map(|scene| scene.tiles().len()).sum(),
            },
            warnings: self.warnings(scene),
        })
    }

    fn read(&self, from: Place, region: Region) -> Result<Voxels, Error> {
        let scene = &self.scenes[from.series];
        let ([z, top, left], [end, bottom, right]) = (region.start, region.stop());
        let planes: Vec<[usize; 3]> = (z..end).map(|z| [from.time, from.channel, z]).collect();
        read_voxels(self, scene, &planes, &[top..bottom, left..right], region.shape)
            .map_err(|fault| fault.at(&self.path))
    }
}

/// A whole image with its axes T, C, Z, Y and X, those of one position left out.
pub(crate) fn read_array(path: &Path, series: usize) -> Result<ArrayData, Error> {
    let image = Image::open(path)?;
    let Some(scene) = image.scenes.get(series) else {
        return Err(Error::Choice {
            path: path.to_owned(),
            what: format!("there is no image {series}"),
            choices: format!("one from 0 to {}", image.scenes.len().saturating_sub(1)),
        });
    };
    let (axes, shape) = Image::axes(scene);
    let [times, channels, depth] = scene.lengths;
    let channels = channels * scene.pixel.samples;
    let planes: Vec<[usize; 3]> = (0..times * channels * depth)
        .map(|plane| [plane / (channels * depth), plane / depth % channels, plane % depth])
        .collect();
    let [height, width] = scene.size;
    let folded = [planes.len(), height, width];
    let voxels = read_voxels(&image, scene, &planes, &[0..height, 0..width], folded);
    Ok(ArrayData { axes, shape, voxels: voxels.map_err(|fault| fault.at(path))? })
}

/// Reads the same window of planes, each by (t, c, z), one after another into a volume.
fn read_voxels(
    image: &Image,
    scene: &Scene,
    planes: &[[usize; 3]],
    window: &[Range<usize>; 2],
    shape: [usize; 3],
) -> Result<Voxels, Fault> {
    scene.check()?;
    macro_rules! read {
        ($type:ty) => {{
            let mut voxels = vec![<$type>::default(); voxel_count(shape)];
            let size = (shape[1] * shape[2]).max(1);
            let work = voxels.par_chunks_mut(size).zip(planes);
            work.try_for_each(|(target, plane)| {
                fill_plane(image, scene, *plane, window, |to, bytes, step| {
                    let (numbers, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                    for (voxel, number) in target[to..].iter_mut().zip(numbers.iter().step_by(step))
                    {
                        *voxel = <$type>::from_le_bytes(*number);
                    }
                })
            })?;
            Volume::new(shape, voxels).into()
        }};
    }
    Ok(match scene.pixel.sample_type {
        SampleType::U8 => read!(u8),
        SampleType::U16 => read!(u16),
        SampleType::F32 => read!(f32),
        other => return Err(Fault::Format(format!("pixels of {other}"))),
    })
}

/// Gives the pieces of rows of a window of a plane, from the lowest tile to the uppermost: where
/// they belong in the window, their bytes, and the step from number to number.
fn fill_plane(
    image: &Image,
    scene: &Scene,
    [time, channel, z]: [usize; 3],
    window: &[Range<usize>; 2],
    mut put: impl FnMut(usize, &[u8], usize),
) -> Result<(), Fault> {
    let (pixel, samples) = (scene.pixel, scene.pixel.samples);
    // Colours are stored as blue, green, red and counted as red, green, blue.
    let skipped = (samples - 1 - channel % samples) * pixel.sample_type.bytes();
    let met = |tile: &&Entry| meet(&scene.window(tile), window).is_some();
    let tiles: Vec<&Entry> = scene.plane([time, channel / samples, z]).iter().filter(met).collect();
    for some in tiles.chunks(TILES_AT_ONCE) {
        let decode = |tile: &&Entry| {
            let covered = scene.window(tile);
            let Some(common) = meet(&covered, window) else { return Ok(None) };
            let top = covered[0].start;
            let rows = common[0].start - top..common[0].end - top;
            let bytes = read_rows(&mut Bytes::open(&image.path)?, tile, rows)?;
            Ok(Some((covered, common, bytes)))
        };
        let decoded: Result<Vec<_>, Fault> = some.par_iter().map(decode).collect();
        for (covered, [rows, columns], bytes) in decoded?.into_iter().flatten() {
            let row_bytes = covered[1].len() * pixel.bytes();
            for (line, row) in bytes.chunks_exact(row_bytes).zip(rows) {
                let from = (columns.start - covered[1].start) * pixel.bytes() + skipped;
                let last = (columns.end - covered[1].start) * pixel.bytes();
                let to =
                    (row - window[0].start) * window[1].len() + columns.start - window[1].start;
                put(to, &line[from..last], samples);
            }
        }
    }
    Ok(())
}

/// Rows and columns that two windows share, where there are any.
fn meet(one: &[Range<usize>; 2], two: &[Range<usize>; 2]) -> Option<[Range<usize>; 2]> {
    let common: [Range<usize>; 2] = std::array::from_fn(|axis| {
        one[axis].start.max(two[axis].start)..one[axis].end.min(two[axis].end)
    });
    common.iter().all(|range| range.start < range.end).then_some(common)
}
