//! From the numbers of a file to labels: whole numbers from 0, in any type that holds them.

use anyhow::Result;
use spotlight_image::{Shape, Volume};
use spotlight_io::{Stack, Voxels};

use crate::cli::failure;

/// The labels of a stack.
///
/// # Errors
///
/// If a voxel is not a whole number from 0 to 4,294,967,295.
pub(super) fn labels(stack: Stack) -> Result<Volume<u32>> {
    let path = stack.path;
    let refuse = |shape: Shape, offset: usize, value: f64| {
        let [_, height, width] = shape;
        let at = [offset / (height * width), offset / width % height, offset % width];
        Err(failure(
            format!("{}: the voxel at (z, y, x) = {at:?} is {value}, no label", path.display()),
            "labels are whole numbers from 0; is this an image and not its objects?",
        ))
    };
    let whole = match stack.voxels {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(voxels: impl Into<Voxels>) -> Result<Vec<u32>> {
        let voxels = voxels.into();
        let stack = Stack { voxels, spacing_um: None, channel_name: None, path: "a.tif".into() };
        labels(stack).map(|labels| labels.voxels)
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
