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
            let options = ZarrOptions { compression, chunk: [2, 6, 9], ..small(version) };
            let options = ZarrOptions { levels: Some(1), ..options };
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
        for shape in [[1, 1, 1], [2, 8, 8], [5, 9, 7], [1, 3, 20], [5, 1, 1]] {
            check(&ramp(shape), &small(version));
            check(&ramp(shape), &ZarrOptions { version, ..ZarrOptions::default() });
        }
    }
}

/// The mean of each block by its definition, or the first voxel.
fn coarser(volume: &Volume<u16>, factor: [usize; 3], labels: bool) -> Volume<u16> {
    let shape = std::array::from_fn(|axis| volume.shape[axis].div_ceil(factor[axis]));
    Volume::from_fn(shape, |at| {
        let start = std::array::from_fn(|axis| at[axis] * factor[axis]);
        if labels {
            return volume.at(start);
        }
        let shape = std::array::from_fn(|axis| factor[axis].min(volume.shape[axis] - start[axis]));
        let block = volume.crop(Region { start, shape }).voxels;
        let sum: f64 = block.iter().map(|voxel| f64::from(*voxel)).sum();
        (sum / block.len() as f64).round_ties_even() as u16
    })
}

#[test]
fn lower_levels_are_means_or_voxels_of_their_blocks() {
    let image = ramp([5, 19, 21]).map(|v| v.wrapping_mul(7919));
    for version in [NgffVersion::V04, NgffVersion::V05] {
        for labels in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.zarr");
            let options = ZarrOptions { labels, ..small(version) };
            write(&path, &layout(image.shape, SampleType::U16), &options, &[image.clone().into()])
                .unwrap();
            // Voxels of 0.5, 0.25, 0.25 µm: z is kept once, then all axes are halved.
            let first = coarser(&image, [1, 2, 2], labels);
            let second = coarser(&first, [2, 2, 2], labels);
            assert_eq!(read::<u16>(&path, 1), (vec![1, 1, 5, 10, 11], first.voxels));
            assert_eq!(read::<u16>(&path, 2), (vec![1, 1, 3, 5, 6], second.voxels));
            let datasets = &attributes(&path, version)["multiscales"][0]["datasets"];
            assert_eq!(
                datasets[2]["coordinateTransformations"],
                serde_json::json!([
                    { "type": "scale", "scale": [1.0, 1.0, 1.0, 1.0, 1.0] },
                    { "type": "translation", "translation": [0.0, 0.0, 0.25, 0.375, 0.375] },
                ])
            );
        }
    }
}

#[test]
fn channels_and_times_are_apart_and_described() {
    for version in [NgffVersion::V04, NgffVersion::V05] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        let mut layout = ZarrLayout {
            times: 2,
            time_step_s: Some(1.5),
            ..ZarrLayout::stack([2, 9, 5], SampleType::F32, &["bright", "dna"], None)
        };
        layout.channels[1].colour = Some([255, 128, 0]);
        layout.channels[1].window = Some([-1.0, 5.0]);
        let stacks: Vec<Volume<f32>> =
            (0..4).map(|n| ramp([2, 9, 5]).map(|v| f32::from(*v) + 1000.0 * n as f32)).collect();
        let voxels: Vec<Voxels> = stacks.iter().cloned().map(Voxels::from).collect();
        let options = ZarrOptions { levels: Some(1), ..small(version) };
        write(&path, &layout, &options, &voxels).unwrap();
        let (shape, found) = read::<f32>(&path, 0);
        assert_eq!(shape, [2, 2, 2, 9, 5]);
        assert_eq!(found, stacks.into_iter().flat_map(|stack| stack.voxels).collect::<Vec<_>>());
        let attributes = attributes(&path, version);
        let axes = &attributes["multiscales"][0]["axes"];
        assert_eq!(axes[0]["unit"], "second");
        assert_eq!(axes[2], serde_json::json!({ "name": "z", "type": "space" }));
        let channels = &attributes["omero"]["channels"];
        assert_eq!([&channels[0]["label"], &channels[1]["label"]], ["bright", "dna"]);
        assert_eq!([&channels[0]["color"], &channels[1]["color"]], ["00FFFF", "FF8000"]);
        // 1 + 100 z + 10 y + x, and 2000 more at the second time point.
        assert_eq!(channels[0]["window"]["start"], 1.0);
        assert_eq!(channels[0]["window"]["end"], 2185.0);
        assert_eq!(channels[1]["window"]["end"], 5.0);
    }
}

#[test]
fn what_is_0_everywhere_is_left_out() {
    for version in [NgffVersion::V04, NgffVersion::V05] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        let mut image = Volume::filled([2, 64, 64], 0_u16);
        image.paste([0, 40, 16], &Volume::filled([2, 4, 4], 9));
        let layout = layout(image.shape, SampleType::U16);
        write(&path, &layout, &small(version), &[image.clone().into()]).unwrap();
        assert_eq!(read::<u16>(&path, 0).1, image.voxels);
        assert_eq!(read::<u16>(&path, 1).1.iter().filter(|v| **v != 0).count(), 8);
        let objects = |level: usize| {
            let files = files(&path.join(level.to_string()));
            files.iter().filter(|(name, _)| name.extension().is_none()).count()
        };
        let descriptions = if version == NgffVersion::V04 { 1 } else { 0 };
        let counts = [0, 1, 2].map(|level| objects(level) - descriptions);
        assert_eq!(counts, [1, 1, 1], "{version:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("minus.zarr");
    let minus = Volume::filled([1, 2, 2], -0.0_f32);
    let options = ZarrOptions::default();
    write(&path, &layout([1, 2, 2], SampleType::F32), &options, &[minus.into()]).unwrap();
    assert!(read::<f32>(&path, 0).1.iter().all(|voxel| voxel.is_sign_negative()));
}

#[test]
fn labels_lie_in_the_store_of_their_image() {
    for version in [NgffVersion::V04, NgffVersion::V05] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        let image = ramp([5, 19, 21]);
        let like = layout(image.shape, SampleType::U16);
        write(&path, &like, &small(version), &[image.clone().into()]).unwrap();
        // Version, number of levels and their factors are the image's, whatever is asked for.
        let options = ZarrOptions { labels: true, ..ZarrOptions::default() };
        for name in ["nuclei", "cells"] {
            let path = path.join("labels").join(name);
            let like = ZarrLayout { spacing_um: None, ..like.clone() };
            write(&path, &like, &options, &[image.clone().into()]).unwrap();
            let first = coarser(&image, [1, 2, 2], true);
            assert_eq!(read::<u16>(&path, 0).1, image.voxels);
            assert_eq!(read::<u16>(&path, 2).1, coarser(&first, [2, 2, 2], true).voxels);
            let attributes = attributes(&path, version);
            assert_eq!(attributes["multiscales"][0]["datasets"].as_array().unwrap().len(), 3);
            assert_eq!(attributes["image-label"]["source"]["image"], "../../");
            assert_eq!(attributes["image-label"]["version"], version.name());
            assert!(attributes["omero"].is_null());
        }
        let listed = &attributes(&path.join("labels"), version)["labels"];
        assert_eq!(listed, &serde_json::json!(["nuclei", "cells"]));
        assert_eq!(names(folder.path()), ["a.zarr"]);
        let mut found = names(&path.join("labels"));
        found.retain(|name| !name.starts_with(".z") && name != "zarr.json");
        found.sort();
        assert_eq!(found, ["cells", "nuclei"]);
        // The list stays as it is when one is written again.
        let again = ZarrOptions { overwrite: true, ..options };
        write(&path.join("labels/nuclei"), &like, &again, &[image.into()]).unwrap();
        let listed = &attributes(&path.join("labels"), version)["labels"];
        assert_eq!(listed, &serde_json::json!(["nuclei", "cells"]));
    }
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let image = ramp([2, 9, 9]);
    write(&path, &layout(image.shape, SampleType::U16), &ZarrOptions::default(), &[image.into()])
        .unwrap();
    let options = ZarrOptions { labels: true, ..ZarrOptions::default() };
    let refuse = |path: &Path, shape: Shape| {
        let layout = layout(shape, SampleType::U16);
        ZarrWriter::create(path, &layout, &options, "digest").unwrap_err().to_string()
    };
    let message = refuse(&path.join("labels/nuclei"), [2, 9, 8]);
    assert!(message.contains("1 x 2 x 9 x 9") && message.contains("1 x 2 x 9 x 8"), "{message}");
    let message = refuse(&folder.path().join("b.zarr/labels/nuclei"), [2, 9, 9]);
    assert!(message.contains("b.zarr") && message.contains("check the spelling"), "{message}");
    let message = refuse(&folder.path().join("labels/nuclei"), [2, 9, 9]);
    assert!(message.contains("no OME-Zarr image"), "{message}");
    std::fs::write(path.join("zarr.json"), "{").unwrap();
    let message = refuse(&path.join("labels/nuclei"), [2, 9, 9]);
    assert!(message.contains("zarr.json: not the JSON"), "{message}");
    assert_eq!(names(folder.path()), ["a.zarr"]);
}

#[test]
fn an_existing_store_is_kept_or_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let (one, two) = (ramp([2, 20, 20]), ramp([2, 5, 5]));
    let options = small(NgffVersion::V04);
    write(&path, &layout(one.shape, SampleType::U16), &options, &[one.into()]).unwrap();
    let before = files(&path);
    let like = layout(two.shape, SampleType::U16);
    let refused = ZarrWriter::create(&path, &like, &options, "digest");
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    assert_eq!(files(&path), before);
    let replace = ZarrOptions { overwrite: true, ..small(NgffVersion::V05) };
    write(&path, &like, &replace, &[two.clone().into()]).unwrap();
    assert_eq!(read::<u16>(&path, 0).1, two.voxels);
    assert!(!path.join(".zattrs").exists());
    // A folder of other things is never replaced.
    let mine = folder.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("notes.txt"), "keep").unwrap();
    let refused = ZarrWriter::create(&mine, &like, &replace, "digest").unwrap_err().to_string();
    assert!(refused.contains("is not replaced"), "{refused}");
    assert!(mine.join("notes.txt").exists());
    let mut found = names(folder.path());
    found.sort();
    assert_eq!(found, ["a.zarr", "mine"]);
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let image = Volume::from_fn([6, 40, 50], |[z, y, x]| ((z * 31 + y * 7 + x * x) % 97) as f32);
    let layout = layout(image.shape, SampleType::F32);
    for version in [NgffVersion::V04, NgffVersion::V05] {
        for compression in COMPRESSIONS {
            let stores = [1, 4].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("a.zarr");
                let options =
                    ZarrOptions { compression, unit: Some([6, 40, 24]), ..small(version) };
                pool.install(|| write(&path, &layout, &options, &[image.clone().into()])).unwrap();
                files(&path)
            });
            assert!(stores[0].len() > 5);
            assert!(stores[0] == stores[1], "{version:?} {compression:?}");
        }
    }
}

#[test]
#[should_panic(expected = "is not written")]
fn a_store_with_a_hole_is_not_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let options = ZarrOptions::default();
    let layout = layout([2, 2, 2], SampleType::U8);
    drop(ZarrWriter::create(&path, &layout, &options, "digest").unwrap().finish());
}

#[test]
fn labels_follow_the_levels_of_an_image_of_another_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.zarr");
    let labels = ramp([2, 9, 9]);
    let like = layout(labels.shape, SampleType::U16);
    let options = ZarrOptions { labels: true, ..ZarrOptions::default() };
    // Three axes, names of its own for the levels, and a quarter along y and x at once.
    let describe = |version: &str, coarse: [f64; 3]| {
        let level = |path: &str, scale: [f64; 3]| {
            let transform = serde_json::json!({ "type": "scale", "scale": scale });
            serde_json::json!({ "path": path, "coordinateTransformations": [transform] })
        };
        let axes = ["z", "y", "x"].map(|name| serde_json::json!({ "name": name, "type": "space" }));
        let datasets = [level("s0", [1.0, 0.5, 0.5]), level("s1", coarse)];
        let multiscales = serde_json::json!([{ "axes": axes, "datasets": datasets }]);
        let ome = serde_json::json!({ "version": version, "multiscales": multiscales });
        let group = serde_json::json!({ "zarr_format": 3, "attributes": { "ome": ome } });
        std::fs::create_dir_all(path.join("s0")).unwrap();
        std::fs::write(path.join("zarr.json"), group.to_string()).unwrap();
        std::fs::write(path.join("s0/zarr.json"), r#"{ "shape": [2, 9, 9] }"#).unwrap();
    };
    describe("0.5", [1.0, 2.0, 2.0]);
    write(&path.join("labels/nuclei"), &like, &options, &[labels.clone().into()]).unwrap();
    let expected = coarser(&labels, [1, 4, 4], true);
    let found = read::<u16>(&path.join("labels/nuclei"), 1);
    assert_eq!(found, (vec![1, 1, 2, 3, 3], expected.voxels));
    assert!(!path.join("labels/nuclei/2").exists());
    let refused = || {
        let path = path.join("labels/cells");
        ZarrWriter::create(&path, &like, &options, "digest").unwrap_err().to_string()
    };
    describe("0.5", [1.0, 0.1, 0.1]);
    assert!(refused().contains("as a store of their own"), "{}", refused());
    describe("0.6", [1.0, 2.0, 2.0]);
    assert!(refused().contains("of version 0.6 is not supported"), "{}", refused());
}
