//! What several commands say of stacks and their grids, and check in them.

use std::path::Path;

use anyhow::Result;
use spotlight_image::{Shape, Volume};
use spotlight_io::{SampleType, Voxels};

use crate::cli::failure;

/// The voxels as f32; the first that is not a number is an error.
///
/// # Errors
///
/// If a voxel is NaN or infinite.
pub fn to_finite(voxels: Voxels, path: &Path) -> Result<Volume<f32>> {
    to_finite_box(voxels, [0; 3], path)
}

/// The voxels of a box of a stack that begins at `start`, as [`to_finite`].
///
/// # Errors
///
/// If a voxel is NaN or infinite.
pub fn to_finite_box(voxels: Voxels, start: [usize; 3], path: &Path) -> Result<Volume<f32>> {
    let is_whole = voxels.is_integer();
    let values = into_f32(voxels);
    if !is_whole {
        check_finite_from(&values, start, path)?;
    }
    Ok(values)
}

/// The voxels as f32, without a copy of those that are.
#[must_use]
pub fn into_f32(voxels: Voxels) -> Volume<f32> {
    match voxels {
        Voxels::F32(volume) => volume,
        other => other.to_f32(),
    }
}

/// Bytes that a voxel takes while an image of this type is read: in the file's type, and as f32.
#[must_use]
pub fn reading_bytes(of: SampleType) -> u64 {
    of.bytes() as u64 + if of == SampleType::F32 { 0 } else { 4 }
}

/// Makes sure that every voxel is a number; `path` is the file for the error.
///
/// # Errors
///
/// If a voxel is NaN or infinite.
pub fn check_finite(values: &Volume<f32>, path: &Path) -> Result<()> {
    check_finite_from(values, [0; 3], path)
}

/// [`check_finite`] of a box that begins at `start` of a stack.
///
/// # Errors
///
/// If a voxel is NaN or infinite.
pub fn check_finite_from(values: &Volume<f32>, start: [usize; 3], path: &Path) -> Result<()> {
    match values.voxels.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(offset) => {
            let [_, height, width] = values.shape;
            let at = [offset / (height * width), offset / width % height, offset % width];
            let at = [0, 1, 2].map(|axis| start[axis] + at[axis]);
            let (path, value) = (path.display(), values.voxels[offset]);
            Err(failure(
                format!("{path}: the voxel at (z, y, x) = {at:?} is {value}"),
                "replace voxels that are not numbers first",
            ))
        }
    }
}

/// The error of a file that gives no voxel size.
#[must_use]
pub fn missing_spacing(path: &Path) -> anyhow::Error {
    failure(
        format!("{} gives no voxel size", path.display()),
        "give it in µm with --spacing z,y,x, such as --spacing 0.29,0.108,0.108",
    )
}

/// A stack with its size, for errors: "a.tif has 3 x 4 x 5 voxels (z, y, x)".
#[must_use]
pub fn with_size(path: &Path, shape: Shape) -> String {
    let [z, y, x] = shape;
    format!("{} has {z} x {y} x {x} voxels (z, y, x)", path.display())
}

/// The voxel size of another grid that fills the same box.
#[must_use]
pub fn spacing_of_grid(spacing_um: [f64; 3], from: Shape, to: Shape) -> [f64; 3] {
    std::array::from_fn(|axis| spacing_um[axis] * from[axis] as f64 / to[axis] as f64)
}
