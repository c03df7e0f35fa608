//! Label images in files: one whole number for each object, 0 where there is none.

use std::path::Path;

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_io::{OutputChannel, Selection, Voxels, WriteOptions, read_stack, write_ome_tiff};

use crate::cli::failure;

/// A label image that was read.
#[derive(Clone, Debug)]
pub struct LabelImage {
    /// The labels, (z, y, x).
    pub labels: Volume<u32>,
    /// Voxel size in µm along (z, y, x), where the file tells it.
    pub spacing_um: Option<[f64; 3]>,
}

/// Reads a label image; numbers may be stored as floats if they are whole.
///
/// # Errors
///
/// If the file cannot be read, or a voxel is not a whole number from 0 to 4,294,967,295.
pub fn read_labels(path: &Path) -> Result<LabelImage> {
    let stack = read_stack(path, &Selection::default())?;
    let spacing_um = stack.spacing_um;
    let labels = match stack.voxels {
        Voxels::U8(volume) => volume.map(|label| u32::from(*label)),
        Voxels::U16(volume) => volume.map(|label| u32::from(*label)),
        Voxels::U32(volume) => volume,
        Voxels::I8(volume) => whole(&volume, path)?,
        Voxels::I16(volume) => whole(&volume, path)?,
        Voxels::I32(volume) => whole(&volume, path)?,
        Voxels::F32(volume) => whole(&volume, path)?,
        Voxels::F64(volume) => whole(&volume, path)?,
    };
    Ok(LabelImage { labels, spacing_um })
}

/// Writes labels as OME-TIFF, in 16 bits where they suffice and else in 32.
///
/// # Errors
///
/// If the file is in the way or cannot be written.
pub fn write_labels(
    path: &Path,
    labels: Volume<u32>,
    spacing_um: Option<[f64; 3]>,
    overwrite: bool,
) -> Result<()> {
    let largest = labels.voxels.iter().copied().max().unwrap_or(0);
    let voxels = if u16::try_from(largest).is_ok() {
        Voxels::U16(labels.map(|label| *label as u16))
    } else {
        Voxels::U32(labels)
    };
    let description = format!("Labels of nuclei by Spotlight {}", env!("CARGO_PKG_VERSION"));
    let options =
        WriteOptions { overwrite, description: Some(description), ..WriteOptions::default() };
    let channel = OutputChannel { name: "Nuclei", voxels: &voxels };
    Ok(write_ome_tiff(path, &[channel], spacing_um, &options)?)
}

/// Numbers as labels.
fn whole<T: Copy + Into<f64>>(volume: &Volume<T>, path: &Path) -> Result<Volume<u32>> {
    let is_label =
        |value: f64| (0.0..=f64::from(u32::MAX)).contains(&value) && value.fract() == 0.0;
    match volume.voxels.iter().position(|value| !is_label((*value).into())) {
        None => Ok(volume.map(|value| (*value).into() as u32)),
        Some(offset) => {
            let value: f64 = volume.voxels[offset].into();
            let [_, height, width] = volume.shape;
            let at = [offset / (height * width), offset / width % height, offset % width];
            let path = path.display();
            Err(failure(
                format!("{path}: the voxel at (z, y, x) = {at:?} is {value}, which is no label"),
                "give an image with a whole number for each object and 0 elsewhere",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        for largest in [7, 65_535, 65_536, u32::MAX] {
            let path = folder.path().join(format!("{largest}.ome.tif"));
            let labels = Volume::new([2, 1, 2], vec![0, 3, largest, 3]);
            write_labels(&path, labels.clone(), Some([2.0, 1.0, 1.0]), false).unwrap();
            let read = read_labels(&path).unwrap();
            assert_eq!(read.labels, labels);
            assert_eq!(read.spacing_um, Some([2.0, 1.0, 1.0]));
            let bits = read_stack(&path, &Selection::default()).unwrap().voxels.sample_type();
            assert_eq!(bits.to_string(), if largest < 65_536 { "uint16" } else { "uint32" });
        }
    }

    #[test]
    fn fractions_and_negative_numbers_are_no_labels() {
        let volume = Volume::new([1, 2, 2], vec![0.0_f32, 2.0, 1.5, 0.0]);
        let error = whole(&volume, Path::new("a.tif")).unwrap_err().to_string();
        assert!(error.contains("a.tif: the voxel at (z, y, x) = [0, 1, 0] is 1.5"), "{error}");
        assert!(whole(&Volume::new([1, 1, 1], vec![-1_i16]), Path::new("a")).is_err());
        assert!(whole(&Volume::new([1, 1, 1], vec![f32::NAN]), Path::new("a")).is_err());
        assert_eq!(
            whole(&Volume::new([1, 1, 1], vec![3.0_f32]), Path::new("a")).unwrap().voxels,
            [3]
        );
    }
}
