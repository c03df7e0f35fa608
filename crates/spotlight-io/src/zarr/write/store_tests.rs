//! What is written, read back through the arrays and metadata alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use spotlight_image::Volume;
use spotlight_image::grid::{Region, Shape};
use zarrs::array::{Array, ElementOwned};
use zarrs::filesystem::FilesystemStore;

use super::*;
use crate::voxels::on_volume;
use crate::{Error, SampleType, Voxels};

/// Small blocks, so that small images have many.
fn small(version: NgffVersion) -> ZarrOptions {
    ZarrOptions {
        version,
        chunk: [2, 4, 4],
        unit: Some([2, 8, 8]),
        levels: Some(3),
        ..ZarrOptions::default()
    }
}

const SPACING: Option<[f64; 3]> = Some([0.5, 0.25, 0.25]);

fn layout(shape: Shape, sample_type: SampleType) -> ZarrLayout {
    ZarrLayout::stack(shape, sample_type, &["DNA"], SPACING)
}

fn ramp(shape: Shape) -> Volume<u16> {
    Volume::from_fn(shape, |[z, y, x]| (1 + 100 * z + 10 * y + x) as u16)
}

/// Writes one stack of the only channel at the only time point.
pub(super) fn write(
    path: &Path,
    layout: &ZarrLayout,
    options: &ZarrOptions,
    stacks: &[Voxels],
) -> Result<(), Error> {
    let writer = ZarrWriter::create(path, layout, options, "digest")?;
    for (index, voxels) in stacks.iter().enumerate() {
        let (time, channel) = (index / layout.channels.len(), index % layout.channels.len());
        for unit in writer.units() {
            writer.write_unit(time, channel, unit, &crop(voxels, unit))?;
        }
    }
    writer.finish()
}

pub(super) fn crop(voxels: &Voxels, region: Region) -> Voxels {
    on_volume!(voxels, volume => volume.crop(region).into())
}

/// A whole level, all axes.
pub(super) fn read<T: ElementOwned>(path: &Path, level: usize) -> (Vec<u64>, Vec<T>) {
    let store = Arc::new(FilesystemStore::new(path).unwrap());
    let array = Array::open(store, &format!("/{level}")).unwrap();
    let voxels = array.retrieve_array_subset::<Vec<T>>(&array.subset_all()).unwrap();
    (array.shape().to_vec(), voxels)
}

fn attributes(path: &Path, version: NgffVersion) -> Value {
    let json = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(path.join(name)).unwrap()).unwrap()
    };
    match version {
        NgffVersion::V04 => json(".zattrs"),
        NgffVersion::V05 => json("zarr.json")["attributes"]["ome"].clone(),
    }
}

/// Every file under a folder with its content.
pub(super) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_owned();
                    found.push((name, std::fs::read(&path).unwrap()));
                }
            }
        }
    }
    found.sort();
    found
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[track_caller]
fn check<T: ElementOwned + PartialEq + std::fmt::Debug>(volume: &Volume<T>, options: &ZarrOptions)
where
    Volume<T>: Clone + Into<Voxels>,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ome.zarr");
    let voxels: Voxels = volume.clone().into();
    write(&path, &layout(volume.shape, voxels.sample_type()), options, &[voxels]).unwrap();
    let (shape, found) = read::<T>(&path, 0);
    assert_eq!(shape[2..], volume.shape.map(|length| length as u64));
    assert_eq!(found, volume.voxels);
    assert_eq!(names(folder.path()), ["a.ome.zarr"]);
}

const COMPRESSIONS: [ZarrCompression; 3] =
    [ZarrCompression::None, ZarrCompression::Zstd, ZarrCompression::Blosc];

#[test]
fn every_type_version_and_compression_is_read_back() {
    let ramp = ramp([3, 11, 9]);
    for version in [NgffVersion::V04, NgffVersion::V05] {
        for compression in COMPRESSIONS {
            let options = ZarrOptions { compression, ..small(version) };
            check(&ramp, &options);
            check(&ramp.map(|v| *v as u8), &options);
            check(&ramp.map(|v| *v as i8), &options);
            check(&ramp.map(|v| 150 - *v as i16), &options);
            check(&ramp.map(|v| u32::from(*v) * 70_000), &options);
            check(&ramp.map(|v| -i32::from(*v) * 70_000), &options);
            check(&ramp.map(|v| f32::from(*v) / 3.0), &options);
            check(&ramp.map(|v| f64::from(*v) / -3.0), &options);
        }
    }
}

#[test]
fn ragged_and_tiny_shapes_are_read_back() {
    for version in [NgffVersion::V04, NgffVersion::V05] {
        for shape in [[1, 1, 1], [1, 4, 4], [2, 8, 8], [5, 17, 9], [1, 3, 40], [9, 1, 1]] {
            check(&ramp(shape), &small(version));
            check(&ramp(shape), &ZarrOptions { version, ..ZarrOptions::default() });
        }
    }
}
