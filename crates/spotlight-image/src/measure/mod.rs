//! Features of the objects of a label image: shape, surface, brightness, texture.
//!
//! [`measure`] makes a table with one row an object and one column a feature. Each object is
//! measured in its bounding box, several at a time; the whole image is read once, to find the
//! boxes. Of an image that is larger than memory, [`ObjectSearch`] finds them part by part, and
//! [`measure_batches`] measures the objects of one box after the other. The profile of the paper is the set [`FeatureSet::Shape`] in voxels.
//!
//! | family | columns | file |
//! |---|---|---|
//! | voxel shape | 23, as in scikit-image's `regionprops` | `regionprops.rs` |
//! | surface | 20, as in cubic's mesh features | `surface.rs` |
//! | brightness | 6 for each image | `intensity.rs` |
//! | texture | 7 for each image | `texture.rs` |
//!
//! Every object has every shape feature, be it a single voxel, a line or a plane, and whether or
//! not it touches the border of the image. Only brightness and texture can be undefined: NaN
//! where there is nothing to measure (a texture without neighbours, a centre of no brightness).

mod batch;
mod bounding_box;
mod bounding_cylinder;
mod bounding_sphere;
mod cavity;
mod cell;
mod cellprofiler;
mod convex_hull;
mod curvature;
mod eigen;
mod euler;
mod feret;
mod hull_image;
mod intensity;
mod marching_cubes;
mod marching_cubes_table;
mod mesh;
mod moments;
mod object;
mod regionprops;
mod surface;
mod table;
mod texture;

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::Volume;

pub use batch::{Batch, FieldBox, MeasureMemory, TooLarge, batches, measure_batches};
pub use cavity::cavity_voxels;
pub use cellprofiler::{ProfileNames, profile_columns, profile_name};
pub use euler::euler_number;
pub use marching_cubes::marching_cubes;
pub use mesh::Mesh;
pub use moments::{Moments, centroid, inertia_tensor, moments, normalised_moments};
pub use object::{Object, ObjectSearch, objects};
pub use regionprops::{REGIONPROPS, regionprops};
pub use surface::{SURFACE_FEATURES, surface_features};
pub use table::{Column, FeatureTable, Unit};
pub use texture::texture;

/// Which features to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeatureSet {
    /// Voxel shape and surface: the profile of the paper.
    #[default]
    Shape,
    /// These, and brightness and texture in every image.
    ShapeAndIntensity,
}

/// What to measure and in which units.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureOptions {
    /// Which features.
    pub features: FeatureSet,
    /// Distance between voxels along (z, y, x). Without it lengths are in voxels, as in the
    /// paper's feature distance. If it is not positive and finite, all features of shape are
    /// NaN.
    pub spacing_um: Option<[f64; 3]>,
    /// Radius of the ball in which curvature is measured, in voxels: times the cube root of
    /// the volume of a voxel if there is a spacing, so that curvatures scale with the object.
    pub curvature_radius_voxels: f64,
    /// Grey levels that an object's brightness is divided into for its texture.
    pub texture_levels: u8,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
            features: FeatureSet::Shape,
            spacing_um: None,
            curvature_radius_voxels: 1.0,
            texture_levels: 32,
        }
    }
}

/// An image to measure brightness and texture in.
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    /// Ends the names of its columns.
    pub name: &'a str,
    /// The image, of the labels' shape.
    pub image: &'a Volume<f32>,
}

/// Measures all objects of a label image; 0 is background.
///
/// Labels may have gaps and any value; voxels of one label are one object, connected or not. A
/// label image without objects yields all columns and no row. The images are used by
/// [`FeatureSet::ShapeAndIntensity`] only. The sides of the image must be below 2¹⁹ voxels.
///
/// # Panics
///
/// If an image has another shape than the labels.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::measure::{MeasureOptions, measure};
///
/// let ball = |p: [usize; 3]| p.iter().map(|v| (v - 6) * (v - 6)).sum::<usize>() <= 25;
/// let labels = Volume::from_fn([20, 20, 20], |p| {
///     u32::from(p.iter().all(|v| *v >= 6) && ball(p)) * 9
/// });
/// let options = MeasureOptions { spacing_um: Some([0.5; 3]), ..MeasureOptions::default() };
/// let table = measure(&labels, &[], &options);
/// assert_eq!(table.objects[0].label, 9);
/// let area = table.column("area").unwrap();
/// assert_eq!(area.values[0], table.objects[0].voxels as f64 * 0.125);
/// assert_eq!(table.unit_name(area), "um^3");
/// ```
#[must_use]
pub fn measure(
    labels: &Volume<u32>,
    channels: &[Channel<'_>],
    options: &MeasureOptions,
) -> FeatureTable {
    measure_and_tell(labels, channels, options, &|_, _| ())
}

/// As [`measure`], telling how many objects are measured of how many, from any thread.
///
/// # Panics
///
/// If an image has another shape than the labels.
#[must_use]
pub fn measure_and_tell(
    labels: &Volume<u32>,
    channels: &[Channel<'_>],
    options: &MeasureOptions,
    tell: &(dyn Fn(usize, usize) + Sync),
) -> FeatureTable {
    for channel in channels {
        let name = channel.name;
        assert_eq!(channel.image.shape, labels.shape, "{name} must have the labels' shape");
    }
    let channels = match options.features {
        FeatureSet::Shape => &[],
        FeatureSet::ShapeAndIntensity => channels,
    };
    let objects = objects(labels);
    let done = AtomicUsize::new(0);
    let measured = |object: &Object| {
        let row = row(labels, [0; 3], object, channels, options);
        tell(done.fetch_add(1, Ordering::Relaxed) + 1, objects.len());
        row
    };
    let rows: Vec<Vec<f64>> = objects.par_iter().map(measured).collect();
    let names: Vec<&str> = channels.iter().map(|channel| channel.name).collect();
    let mut columns = columns(&names);
    for (i, column) in columns.iter_mut().enumerate() {
        column.values = rows.iter().map(|row| row[i]).collect();
    }
    FeatureTable { objects, columns, spacing_um: options.spacing_um }
}

/// The columns without values.
fn columns(channels: &[&str]) -> Vec<Column> {
    let column = |name: String, unit: Unit| Column { name, unit, values: Vec::new() };
    let shape = REGIONPROPS.iter().chain(&SURFACE_FEATURES);
    let mut columns: Vec<Column> =
        shape.map(|(name, unit)| column((*name).to_owned(), *unit)).collect();
    for channel in channels {
        for (name, unit) in intensity::COLUMNS.iter().chain(&texture::COLUMNS) {
            columns.push(column(format!("{name}_{channel}"), *unit));
        }
    }
    columns
}

/// The features of one object; labels and images begin at `origin`, from which its region counts.
fn row(
    labels: &Volume<u32>,
    origin: [usize; 3],
    object: &Object,
    channels: &[Channel<'_>],
    options: &MeasureOptions,
) -> Vec<f64> {
    let spacing = options.spacing_um.unwrap_or([1.0; 3]);
    let mask = object::mask(labels, origin, object);
    let mut row = if regionprops::is_positive(spacing) {
        let hull = hull_image::hull_of_rows(&hull_image::row_spans(&mask));
        let radius = options.curvature_radius_voxels * spacing.iter().product::<f64>().cbrt();
        let voxel_shape = regionprops::regionprops_of_hull(&mask, object.voxels, &hull, spacing);
        let surface = surface::surface_features_of_hull(&mask, &hull, spacing, radius);
        [&voxel_shape[..], &surface[..]].concat()
    } else {
        vec![f64::NAN; REGIONPROPS.len() + SURFACE_FEATURES.len()]
    };
    for channel in channels {
        let image = channel.image.crop(object::within(object.region, origin));
        row.extend(intensity::intensity_features(&mask, &image, spacing));
        row.extend(texture::texture(&image, &mask, options.texture_levels));
    }
    row
}

#[cfg(test)]
mod tests;
