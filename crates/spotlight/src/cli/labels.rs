//! Label images in files: one whole number for each object, 0 where there is none.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_image::label::{Connectivity, components};
use spotlight_image::measure::TooLarge;
use spotlight_image::resample::{Order, Resize, resize};
use spotlight_image::{Shape, Volume};
use spotlight_io::{
    OmeTiffWriter, OutputChannel, OutputForm, SampleType, Selection, Stack, Voxels, WriteOptions,
    read_stack, write_ome_tiff,
};

use crate::cli::failure;

/// A label image that was read.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The labels, (z, y, x).
    pub volume: Volume<u32>,
    /// Voxel size in µm along (z, y, x), where the file tells it.
    pub spacing_um: Option<[f64; 3]>,
    /// The file.
    pub path: PathBuf,
}

/// Reads a label image; numbers may be stored as floats if they are whole.
///
/// # Errors
///
/// If the file cannot be read, or a voxel is not a whole number from 0 to 4,294,967,295.
pub fn read_labels(path: &Path) -> Result<Labels> {
    let stack = read_stack(path, &Selection::default())?;
    let spacing_um = stack.spacing_um;
    Ok(Labels { volume: labels_of(stack)?, spacing_um, path: path.to_owned() })
}

/// Reads the true labels of an image; a mask of one value has objects only if it is one object,
/// or if its connected components (26 neighbours) are to be numbered.
///
/// # Errors
///
/// As [`read_labels`], or if several objects have one number.
pub fn read_truth(path: &Path, number_components: bool) -> Result<Labels> {
    let mut labels = read_labels(path)?;
    let first = labels.volume.voxels.iter().copied().find(|label| *label != 0);
    let Some(value) = first else { return Ok(labels) };
    if labels.volume.voxels.iter().any(|label| *label != 0 && *label != value) {
        return Ok(labels);
    }
    let numbered = components(&labels.volume, Connectivity::Corners);
    let count = numbered.voxels.iter().copied().max().unwrap_or(0);
    if count > 1 && !number_components {
        return Err(failure(
            format!(
                "{}: all objects have the value {value}, in {count} pieces; expected labels",
                path.display()
            ),
            "give each object its own number, or add --truth-components to take pieces as objects",
        ));
    }
    labels.volume = numbered;
    Ok(labels)
}

/// Labels on another grid of the same field: every voxel has the label of the nearest one.
#[must_use]
pub fn on_grid(labels: &Volume<u32>, shape: Shape) -> Volume<u32> {
    let nearest = Resize { order: Order::Nearest, anti_aliasing: false, ..Resize::default() };
    resize(labels, shape, &nearest)
}

/// The labels of a stack.
///
/// # Errors
///
/// If a voxel is not a whole number from 0 to 4,294,967,295.
pub fn labels_of(stack: Stack) -> Result<Volume<u32>> {
    labels_of_box(stack.voxels, [0; 3], &stack.path)
}

/// The labels of a box that begins at `start` of a stack.
///
/// # Errors
///
/// As [`labels_of`].
pub fn labels_of_box(voxels: Voxels, start: [usize; 3], path: &Path) -> Result<Volume<u32>> {
    let refuse = |shape: Shape, offset: usize, value: f64| {
        let [_, height, width] = shape;
        let at = [offset / (height * width), offset / width % height, offset % width];
        let at = [0, 1, 2].map(|axis| start[axis] + at[axis]);
        Err(failure(
            format!("{}: the voxel at (z, y, x) = {at:?} is {value}, no label", path.display()),
            "labels are whole numbers from 0; is this an image and not its objects?",
        ))
    };
    let whole = match voxels {
        Voxels::U8(volume) => volume.map(|label| u32::from(*label)),
        Voxels::U16(volume) => volume.map(|label| u32::from(*label)),
        Voxels::U32(volume) => volume,
        other => {
            let numbers = other.to_f64();
            let is_label = |v: f64| (0.0..=f64::from(u32::MAX)).contains(&v) && v.fract() == 0.0;
            if let Some(offset) = numbers.voxels.iter().position(|number| !is_label(*number)) {
                return refuse(numbers.shape, offset, numbers.voxels[offset]);
            }
            numbers.map(|label| *label as u32)
        }
    };
    Ok(whole)
}

/// Bytes that a voxel takes while labels of this type are read: in the file's type, and as a
/// label.
#[must_use]
pub fn label_reading_bytes(of: SampleType) -> u64 {
    let stored = of.bytes() as u64;
    match of {
        SampleType::U8 | SampleType::U16 => stored + 4,
        SampleType::U32 => stored,
        // By way of f64.
        _ => stored + 8 + 4,
    }
}

/// The error of an object of a label image that is larger than the memory it may be measured in.
#[must_use]
pub fn object_too_large(path: &Path, TooLarge { object, bytes }: &TooLarge) -> anyhow::Error {
    let ([z, y, x], start) = (object.region.shape, object.region.start);
    let (path, label) = (path.display(), object.label);
    failure(
        format!(
            "{path}: the object {label} fills a box of {z} x {y} x {x} voxels from (z, y, x) = \
             {start:?} and needs {bytes} bytes to be measured"
        ),
        format!(
            "allow them with --memory {}MiB; does one label stand for many objects?",
            bytes.div_ceil(1 << 20)
        ),
    )
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
    let voxels = in_type(labels, sample_type(largest));
    let channel = OutputChannel { name: CHANNEL, voxels: &voxels };
    Ok(write_ome_tiff(path, &[channel], spacing_um, &write_options(overwrite))?)
}

/// The file of [`write_labels`], of labels that are made plane by plane and of which the largest is
/// known.
///
/// # Errors
///
/// As [`write_labels`].
pub fn write_label_planes(
    path: &Path,
    shape: Shape,
    largest: u32,
    spacing_um: Option<[f64; 3]>,
    overwrite: bool,
    mut plane: impl FnMut(usize) -> Vec<u32>,
) -> Result<()> {
    let form = OutputForm { shape, sample_type: sample_type(largest), spacing_um };
    let options = write_options(overwrite);
    let mut writer = OmeTiffWriter::create(path, &[CHANNEL], form, &options)?;
    for z in 0..shape[0] {
        let labels = Volume::new([1, shape[1], shape[2]], plane(z));
        writer.write(&in_type(labels, form.sample_type))?;
    }
    Ok(writer.finish()?)
}

/// The old place on an axis of the label of each new place, by the rule of [`on_grid`].
#[must_use]
pub fn places_on_grid(old: usize, new: usize) -> Vec<usize> {
    let places = Volume::new([1, 1, old], (0..old as u32).collect());
    on_grid(&places, [1, 1, new]).voxels.iter().map(|place| *place as usize).collect()
}

/// Name of the channel of a label image.
const CHANNEL: &str = "Nuclei";

/// 16 bits where they suffice and else 32.
fn sample_type(largest: u32) -> SampleType {
    if u16::try_from(largest).is_ok() { SampleType::U16 } else { SampleType::U32 }
}

fn in_type(labels: Volume<u32>, sample_type: SampleType) -> Voxels {
    match sample_type {
        SampleType::U16 => Voxels::U16(labels.map(|label| *label as u16)),
        _ => Voxels::U32(labels),
    }
}

fn write_options(overwrite: bool) -> WriteOptions {
    let description = format!("Labels of nuclei by Spotlight {}", env!("CARGO_PKG_VERSION"));
    WriteOptions { overwrite, description: Some(description), ..WriteOptions::default() }
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
            assert_eq!(read.volume, labels);
            assert_eq!(read.spacing_um, Some([2.0, 1.0, 1.0]));
            let bits = read_stack(&path, &Selection::default()).unwrap().voxels.sample_type();
            assert_eq!(bits.to_string(), if largest < 65_536 { "uint16" } else { "uint32" });
        }
    }

    #[test]
    fn places_on_a_grid_are_those_of_the_labels() {
        let labels = Volume::from_fn([3, 5, 8], |[z, y, x]| (z * 40 + y * 8 + x) as u32);
        for shape in [[3, 5, 8], [6, 9, 17], [2, 3, 3], [1, 1, 1], [7, 10, 16]] {
            let places: Vec<Vec<usize>> =
                (0..3).map(|axis| places_on_grid(labels.shape[axis], shape[axis])).collect();
            let by_place =
                |[z, y, x]: [usize; 3]| labels.at([places[0][z], places[1][y], places[2][x]]);
            assert_eq!(on_grid(&labels, shape), Volume::from_fn(shape, by_place));
        }
    }

    #[test]
    fn planes_make_the_file_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        for largest in [7, 70_000] {
            let paths = ["whole", "planes"].map(|name| folder.path().join(name));
            for path in &paths {
                std::fs::create_dir_all(path).unwrap();
            }
            let paths = paths.map(|path| path.join(format!("{largest}.ome.tif")));
            let labels = Volume::new([2, 1, 2], vec![0, 3, largest, 3]);
            write_labels(&paths[0], labels.clone(), None, false).unwrap();
            let plane = |z: usize| labels.plane(z).to_vec();
            write_label_planes(&paths[1], labels.shape, largest, None, false, plane).unwrap();
            let [whole, planes] = paths.map(|path| std::fs::read(path).unwrap());
            assert_eq!(whole, planes);
        }
    }

    fn of(voxels: impl Into<Voxels>) -> Result<Vec<u32>> {
        let voxels = voxels.into();
        let stack = Stack { voxels, spacing_um: None, channel_name: None, path: "a.tif".into() };
        labels_of(stack).map(|labels| labels.voxels)
    }

    #[test]
    fn whole_numbers_of_any_type_are_labels() {
        let shape = [1, 1, 2];
        assert_eq!(of(Volume::new(shape, vec![0_u8, 255])).unwrap(), [0, 255]);
        assert_eq!(of(Volume::new(shape, vec![0_i16, 300])).unwrap(), [0, 300]);
        assert_eq!(of(Volume::new(shape, vec![7_u32, u32::MAX])).unwrap(), [7, u32::MAX]);
        assert_eq!(of(Volume::new(shape, vec![0.0_f32, 70_000.0])).unwrap(), [0, 70_000]);
    }

    #[test]
    fn other_numbers_are_refused_with_their_place() {
        for value in [0.5, -1.0, f32::NAN, f32::INFINITY] {
            let error = of(Volume::new([2, 1, 2], vec![0.0, 1.0, 2.0, value])).unwrap_err();
            let message = error.to_string();
            assert!(message.contains("a.tif") && message.contains("[1, 0, 1]"), "{message}");
        }
        assert!(of(Volume::new([1, 1, 1], vec![-1_i32])).is_err());
    }
}
