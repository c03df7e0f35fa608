//! Writes OME-Zarr stores of every kind, for `.ci/check_ome_zarr.py` to read.
//!
//! `cargo run -p spotlight-io --example write_ome_zarr -- FOLDER`. The voxel of time t, channel
//! c at (z, y, x) is (1000 t + 300 c + 17 z + 5 y + 3 x) mod 251, a quarter of it where numbers
//! are real, and 0 outside the first 100 rows and columns in the sparse store. Stopped and
//! started again, it goes on where it was.

use std::error::Error;
use std::path::{Path, PathBuf};

use spotlight_image::Volume;
use spotlight_image::grid::Region;
use spotlight_io::{
    NgffVersion, SampleType, Voxels, ZarrChannel, ZarrCompression, ZarrLayout, ZarrOptions,
    ZarrWriter,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("name a folder")?;
    std::fs::create_dir_all(&folder)?;
    for (version, compression, name) in [
        (NgffVersion::V05, ZarrCompression::Zstd, "v05"),
        (NgffVersion::V04, ZarrCompression::Blosc, "v04"),
        (NgffVersion::V05, ZarrCompression::Blosc, "v05-blosc"),
        (NgffVersion::V04, ZarrCompression::Zstd, "v04-zstd"),
        (NgffVersion::V05, ZarrCompression::None, "v05-none"),
        (NgffVersion::V04, ZarrCompression::None, "v04-none"),
    ] {
        write_version(&folder.join(name), &ZarrOptions { version, compression, ..small() })?;
    }
    let layout = layout([8, 700, 700], SampleType::U16);
    write(&folder.join("sparse.ome.zarr"), &layout, &small(), Some(100))?;
    write(&folder.join("default.ome.zarr"), &layout, &ZarrOptions::default(), None)?;
    Ok(())
}

/// Stores of one version: an image with labels, labels alone, every type, no voxel size.
fn write_version(folder: &Path, options: &ZarrOptions) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let image = ZarrLayout {
        times: 2,
        channels: vec![
            ZarrChannel {
                name: "DNA".into(),
                colour: Some([0, 0, 255]),
                window: Some([10.0, 200.0]),
            },
            ZarrChannel { name: "membrane µ\"".into(), ..ZarrChannel::default() },
        ],
        origin_um: Some([5.0, -1.0, 0.5]),
        time_step_s: Some(30.0),
        ..layout([9, 300, 277], SampleType::U16)
    };
    let path = folder.join("image.ome.zarr");
    let described = Some("made by a formula".to_owned());
    write(&path, &image, &ZarrOptions { description: described, ..options.clone() }, None)?;
    let labels = ZarrLayout { sample_type: SampleType::U32, ..image.clone() };
    let labels = ZarrLayout { channels: vec![ZarrChannel::default()], ..labels };
    let as_labels = ZarrOptions { labels: true, ..options.clone() };
    for name in ["nuclei", "cells"] {
        write(&path.join("labels").join(name), &labels, &as_labels, None)?;
    }
    write(&folder.join("labels-alone.ome.zarr"), &labels, &as_labels, None)?;
    for sample_type in [
        SampleType::U8,
        SampleType::I8,
        SampleType::U16,
        SampleType::I16,
        SampleType::U32,
        SampleType::I32,
        SampleType::F32,
        SampleType::F64,
    ] {
        let path = folder.join(format!("type-{sample_type}.ome.zarr"));
        let options = ZarrOptions { levels: Some(2), ..options.clone() };
        write(&path, &layout([5, 40, 33], sample_type), &options, None)?;
    }
    let unknown = ZarrLayout { spacing_um: None, ..layout([1, 7, 300], SampleType::F32) };
    write(&folder.join("no-size.ome.zarr"), &unknown, options, None)?;
    Ok(())
}

fn small() -> ZarrOptions {
    ZarrOptions { chunk: [4, 64, 64], unit: Some([8, 128, 128]), ..ZarrOptions::default() }
}

fn layout(shape: [usize; 3], sample_type: SampleType) -> ZarrLayout {
    ZarrLayout::stack(shape, sample_type, &["DNA"], Some([0.5, 0.25, 0.25]))
}

fn write(
    path: &Path,
    layout: &ZarrLayout,
    options: &ZarrOptions,
    cut: Option<usize>,
) -> Result<(), Box<dyn Error>> {
    let writer = match ZarrWriter::resume(path, layout, options, "formula")? {
        Some(writer) => writer,
        None if path.exists() => return Ok(()),
        None => ZarrWriter::create(path, layout, options, "formula")?,
    };
    for time in 0..layout.times {
        for channel in 0..layout.channels.len() {
            for unit in writer.units() {
                if writer.is_done(time, channel, unit) {
                    continue;
                }
                let voxels = voxels(layout.sample_type, [time, channel], unit, cut);
                writer.write_unit(time, channel, unit, &voxels)?;
            }
        }
    }
    Ok(writer.finish()?)
}

/// The formula, in the type of the store.
fn voxels(
    sample_type: SampleType,
    [time, channel]: [usize; 2],
    unit: Region,
    cut: Option<usize>,
) -> Voxels {
    let whole = Volume::from_fn(unit.shape, |at| {
        let [z, y, x]: [usize; 3] = std::array::from_fn(|axis| unit.start[axis] + at[axis]);
        let inside = cut.is_none_or(|cut| y < cut && x < cut);
        let value = (1000 * time + 300 * channel + 17 * z + 5 * y + 3 * x) % 251;
        if inside { value as u8 } else { 0 }
    });
    match sample_type {
        SampleType::U8 => whole.into(),
        SampleType::I8 => whole.map(|v| *v as i8).into(),
        SampleType::U16 => whole.map(|v| u16::from(*v)).into(),
        SampleType::I16 => whole.map(|v| i16::from(*v)).into(),
        SampleType::U32 => whole.map(|v| u32::from(*v)).into(),
        SampleType::I32 => whole.map(|v| i32::from(*v)).into(),
        SampleType::F32 => whole.map(|v| f32::from(*v) / 4.0).into(),
        SampleType::F64 => whole.map(|v| f64::from(*v) / 4.0).into(),
    }
}
