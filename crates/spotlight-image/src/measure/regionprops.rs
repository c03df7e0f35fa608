//! Shape of an object from its voxels: the columns of scikit-image's `regionprops`.
//!
//! | column | definition |
//! |---|---|
//! | `area` | n, the number of voxels, times the volume of one |
//! | `area_bbox` | volume of the bounding box |
//! | `area_convex` | volume of the hull image |
//! | `area_filled` | volume with all cavities filled |
//! | `axis_major_length` | √(10 (e₀ + e₁ − e₂)) |
//! | `axis_minor_length` | √(10 max(0, −e₀ + e₁ + e₂)) |
//! | `equivalent_diameter_area` | (6 area / π)^⅓ |
//! | `euler_number` | pieces − tunnels + cavities, connectivity 26 |
//! | `extent` | area / area_bbox |
//! | `feret_diameter_max` | largest distance between two points of the hull image |
//! | `inertia_tensor-i-j` | second central moments, axes (z, y, x) |
//! | `inertia_tensor_eigvals-i` | e₀ ≥ e₁ ≥ e₂, not below 0 |
//! | `solidity` | area / area_convex |
//!
//! Every object has all of them. Where scikit-image's first hull fails (fewer than four voxels
//! that are not in one plane) it reports `area_convex` 0, `solidity` ∞ and no Feret diameter;
//! ours are those of the hull of the face midpoints, as everywhere else.
//!
//! Reference: `skimage.measure.regionprops` of scikit-image 0.26.

use std::f64::consts::PI;

use super::cavity::cavity_voxels;
use super::convex_hull::ConvexHull;
use super::eigen::eigen;
use super::euler::euler_number;
use super::feret::feret_diameter_max;
use super::hull_image::{hull_image, hull_of_rows, row_spans, voxels_in};
use super::moments::inertia_tensor;
use super::table::Unit;
use crate::Volume;

/// Names and units of the values of [`regionprops`].
pub const REGIONPROPS: [(&str, Unit); 23] = [
    ("area", Unit::Length(3)),
    ("area_bbox", Unit::Length(3)),
    ("area_convex", Unit::Length(3)),
    ("area_filled", Unit::Length(3)),
    ("axis_major_length", Unit::Length(1)),
    ("axis_minor_length", Unit::Length(1)),
    ("equivalent_diameter_area", Unit::Length(1)),
    ("euler_number", Unit::One),
    ("extent", Unit::One),
    ("feret_diameter_max", Unit::Length(1)),
    ("inertia_tensor-0-0", Unit::Length(2)),
    ("inertia_tensor-0-1", Unit::Length(2)),
    ("inertia_tensor-0-2", Unit::Length(2)),
    ("inertia_tensor-1-0", Unit::Length(2)),
    ("inertia_tensor-1-1", Unit::Length(2)),
    ("inertia_tensor-1-2", Unit::Length(2)),
    ("inertia_tensor-2-0", Unit::Length(2)),
    ("inertia_tensor-2-1", Unit::Length(2)),
    ("inertia_tensor-2-2", Unit::Length(2)),
    ("inertia_tensor_eigvals-0", Unit::Length(2)),
    ("inertia_tensor_eigvals-1", Unit::Length(2)),
    ("inertia_tensor_eigvals-2", Unit::Length(2)),
    ("solidity", Unit::One),
];

/// Shape of an object from its voxels: the values of [`REGIONPROPS`].
///
/// The mask is that of the object's bounding box. Lengths are in the units of the spacing
/// (z, y, x). All are NaN of an empty mask, or if the spacing is not positive and finite.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, measure::{REGIONPROPS, regionprops}};
///
/// let row = regionprops(&Volume::filled([2, 3, 4], true), [1.0; 3]);
/// assert_eq!((REGIONPROPS[0].0, row[0]), ("area", 24.0));
/// ```
#[must_use]
pub fn regionprops(mask: &Volume<bool>, spacing: [f64; 3]) -> [f64; 23] {
    let spans = row_spans(mask);
    if spans.is_empty() || !is_positive(spacing) {
        return [f64::NAN; 23];
    }
    let voxels = mask.voxels.iter().filter(|inside| **inside).count() as u64;
    regionprops_of_hull(mask, voxels, &hull_of_rows(&spans), spacing)
}

/// Whether distances between voxels can be measured with.
pub(super) fn is_positive(spacing: [f64; 3]) -> bool {
    spacing.iter().all(|step| step.is_finite() && *step > 0.0)
}

/// [`regionprops`] of an object with `voxels` voxels, the hull being that of its voxels.
pub(super) fn regionprops_of_hull(
    mask: &Volume<bool>,
    voxels: u64,
    hull: &ConvexHull,
    spacing: [f64; 3],
) -> [f64; 23] {
    let voxel_volume: f64 = spacing.iter().product();
    let hull_image = hull_image(hull, [mask.shape[0], mask.shape[1]]);
    let area = voxels as f64 * voxel_volume;
    let area_bbox = mask.voxels.len() as f64 * voxel_volume;
    let area_convex = voxels_in(&hull_image) as f64 * voxel_volume;
    let [[t00, t01, t02], [t10, t11, t12], [t20, t21, t22]] = inertia_tensor(mask, spacing);
    let tensor = [[t00, t01, t02], [t10, t11, t12], [t20, t21, t22]];
    let [e2, e1, e0] = eigen(tensor).0.map(|value| value.max(0.0));
    [
        area,
        area_bbox,
        area_convex,
        (voxels + cavity_voxels(mask)) as f64 * voxel_volume,
        (10.0 * (e0 + e1 - e2)).sqrt(),
        (10.0 * (e1 + e2 - e0).max(0.0)).sqrt(),
        (6.0 * area / PI).cbrt(),
        euler_number(mask) as f64,
        voxels as f64 / mask.voxels.len() as f64,
        feret_diameter_max(&hull_image, spacing),
        t00,
        t01,
        t02,
        t10,
        t11,
        t12,
        t20,
        t21,
        t22,
        e0,
        e1,
        e2,
        voxels as f64 / voxels_in(&hull_image) as f64,
    ]
}
