//! Shape of an object from the mesh of its surface.
//!
//! | column | definition | name in cubic |
//! |---|---|---|
//! | `mesh_area` | area of the marching-cubes surface | Area |
//! | `mesh_volume` | volume inside it | Volume |
//! | `mesh_axis_length_min`, `_med`, `_max` | sorted sides of its bounding box | Min/Med/Max Axis Length |
//! | `mesh_scale` | diagonal of that box | Scale |
//! | `mesh_inertia_pc1`, `_pc2`, `_pc3` | ascending moments of inertia of the solid | Inertia PC1..3 |
//! | `mesh_bounding_box_volume` | volume of the bounding box | Bounding Box Volume |
//! | `mesh_oriented_box_volume` | of the smallest box on a facet of the hull | Oriented Bounding Box Volume |
//! | `mesh_cylinder_volume` | of a small cylinder around it | Bounding Cylinder Volume |
//! | `mesh_sphere_volume` | of the smallest sphere around it | Bounding Sphere Volume |
//! | `mesh_hull_volume`, `mesh_hull_area` | of the convex hull | Convex Hull Volume, Area |
//! | `mesh_sphericity` | π^⅓ (6 volume)^⅔ / area | Sphericity |
//! | `mesh_extent` | volume / bounding box volume | Extent |
//! | `mesh_solidity` | volume / hull volume | Solidity |
//! | `mesh_gaussian_curvature` | mean over the vertices, within a radius | Avg Gaussian Curvature |
//! | `mesh_mean_curvature` | mean over the vertices, within a radius | Avg Mean Curvature |
//!
//! The mesh is closed also where the object touches the border of the image.
//!
//! References: `cubic.feature.mesh` of cubic 0.8, trimesh 5.2.

use std::f64::consts::PI;

use super::bounding_box::ScaledHull;
use super::bounding_cylinder::cylinder_volume;
use super::bounding_sphere::smallest_ball;
use super::convex_hull::ConvexHull;
use super::curvature::mean_curvatures;
use super::hull_image::{hull_of_rows, row_spans};
use super::marching_cubes::marching_cubes;
use super::mesh::{Vector, solid};
use super::regionprops::is_positive;
use super::table::Unit;
use crate::Volume;

/// Names and units of the values of [`surface_features`].
pub const SURFACE_FEATURES: [(&str, Unit); 20] = [
    ("mesh_area", Unit::Length(2)),
    ("mesh_volume", Unit::Length(3)),
    ("mesh_axis_length_min", Unit::Length(1)),
    ("mesh_axis_length_med", Unit::Length(1)),
    ("mesh_axis_length_max", Unit::Length(1)),
    ("mesh_scale", Unit::Length(1)),
    ("mesh_inertia_pc1", Unit::Length(5)),
    ("mesh_inertia_pc2", Unit::Length(5)),
    ("mesh_inertia_pc3", Unit::Length(5)),
    ("mesh_bounding_box_volume", Unit::Length(3)),
    ("mesh_oriented_box_volume", Unit::Length(3)),
    ("mesh_cylinder_volume", Unit::Length(3)),
    ("mesh_sphere_volume", Unit::Length(3)),
    ("mesh_hull_volume", Unit::Length(3)),
    ("mesh_hull_area", Unit::Length(2)),
    ("mesh_sphericity", Unit::One),
    ("mesh_extent", Unit::One),
    ("mesh_solidity", Unit::One),
    ("mesh_gaussian_curvature", Unit::One),
    ("mesh_mean_curvature", Unit::Length(1)),
];

/// Shape of an object from the mesh of its surface: the values of [`SURFACE_FEATURES`].
///
/// The radius of the curvatures and all lengths are in the units of the spacing (z, y, x). All
/// are NaN of an empty mask, or if the spacing is not positive and finite.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, measure::{SURFACE_FEATURES, surface_features}};
///
/// let row = surface_features(&Volume::filled([2, 3, 4], true), [1.0; 3], 1.0);
/// assert_eq!((SURFACE_FEATURES[4].0, row[4]), ("mesh_axis_length_max", 4.0));
/// ```
#[must_use]
pub fn surface_features(
    mask: &Volume<bool>,
    spacing: [f64; 3],
    curvature_radius: f64,
) -> [f64; 20] {
    let spans = row_spans(mask);
    if spans.is_empty() || !is_positive(spacing) {
        return [f64::NAN; 20];
    }
    surface_features_of_hull(mask, &hull_of_rows(&spans), spacing, curvature_radius)
}

/// [`surface_features`] of an object, the hull being that of its voxels.
pub(super) fn surface_features_of_hull(
    mask: &Volume<bool>,
    hull: &ConvexHull,
    spacing: [f64; 3],
    curvature_radius: f64,
) -> [f64; 20] {
    let mesh = marching_cubes(mask);
    let positions = mesh.positions(spacing);
    let solid = solid(&positions, &mesh.faces);
    let [gauss, mean] = mean_curvatures(&mesh, &positions, spacing, curvature_radius);
    let hull = ScaledHull::new(hull, spacing);
    let oriented_box = hull.oriented_box_volume();
    let cylinder = cylinder_volume(&hull, &solid.axes);
    let sphere = smallest_ball(&hull.points, &mut Vec::new(), f64::INFINITY);
    let sphere = 4.0 / 3.0 * PI * sphere.squared_radius.powf(1.5);
    let mut sides = [0, 1, 2].map(|axis| hull.extent(axis_vector(axis)));
    sides.sort_by(f64::total_cmp);
    let bounding_box: f64 = sides.iter().product();
    [
        solid.area,
        solid.volume,
        sides[0],
        sides[1],
        sides[2],
        sides.iter().map(|side| side * side).sum::<f64>().sqrt(),
        solid.inertia[0],
        solid.inertia[1],
        solid.inertia[2],
        bounding_box,
        oriented_box,
        cylinder,
        sphere,
        hull.volume,
        hull.area,
        PI.cbrt() * (6.0 * solid.volume).powf(2.0 / 3.0) / solid.area,
        solid.volume / bounding_box,
        solid.volume / hull.volume,
        gauss,
        mean,
    ]
}

fn axis_vector(axis: usize) -> Vector {
    let mut vector = [0.0; 3];
    vector[axis] = 1.0;
    vector
}
