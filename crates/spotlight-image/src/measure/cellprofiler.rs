//! Names under which CellProfiler, CytoTable and pycytominer know the columns.
//!
//! Tools for profiles take a column for a feature if its name begins with a compartment
//! (`Nuclei_`), and for an identifier if it begins with `Metadata_`; positions would be taken for
//! features, so they are identifiers here. X, Y and Z are the axes x, y and z.
//!
//! | ours | name | remark |
//! |---|---|---|
//! | label | `Metadata_ObjectNumber` | |
//! | centroid | `Metadata_Nuclei_Location_Center_X`, `_Y`, `_Z` | in voxels |
//! | region | `Metadata_SourceBBoxXMin`, `XMax`, … `ZMax` | in voxels, the maximum is outside |
//! | voxels | `AreaShape_Volume` | CellProfiler counts voxels, whatever the spacing |
//! | `area` | `AreaShape_PhysicalVolume` | the same in µm³ where there is a spacing |
//! | `area_bbox` | `AreaShape_BoundingBoxVolume` | |
//! | `area_convex`, `area_filled` | `AreaShape_ConvexVolume`, `_FilledVolume` | CellProfiler: in 2D, as Area |
//! | `axis_major_length`, `axis_minor_length` | `AreaShape_MajorAxisLength`, `_MinorAxisLength` | |
//! | `equivalent_diameter_area` | `AreaShape_EquivalentDiameter` | |
//! | `euler_number`, `extent`, `solidity` | `AreaShape_EulerNumber`, `_Extent`, `_Solidity` | |
//! | `feret_diameter_max` | `AreaShape_MaxFeretDiameter` | CellProfiler: in 2D |
//! | `inertia_tensor-i-j` | `AreaShape_InertiaTensor_i_j` | CellProfiler: in 2D |
//! | `inertia_tensor_eigvals-i` | `AreaShape_InertiaTensorEigenvalues_i` | CellProfiler: in 2D |
//! | `mesh_area` | `AreaShape_SurfaceArea` | CellProfiler meshes at level 0, we half way |
//! | other `mesh_*` | `AreaShape_Mesh…` | no counterpart |
//! | `intensity_mean`, `_std`, `_min`, `_max` | `Intensity_MeanIntensity_<Channel>`, `Std…`, `Min…`, `Max…` | |
//! | `intensity_sum` | `Intensity_IntegratedIntensity_<Channel>` | |
//! | `intensity_displacement` | `Intensity_MassDisplacement_<Channel>` | CellProfiler: in voxels |
//! | `texture_asm` | `Texture_AngularSecondMoment_<Channel>_1_Mean_<levels>` | distance 1, mean of 13 directions |
//! | `texture_homogeneity` | `Texture_InverseDifferenceMoment_…` | |
//! | `texture_contrast`, `_correlation` | `Texture_Contrast_…`, `_Correlation_…` | |
//! | `texture_entropy` | `Texture_Entropy_…` | natural logarithm; CellProfiler: base 2 |
//! | `texture_dissimilarity`, `_energy` | `Texture_Dissimilarity_…`, `_Energy_…` | no counterpart |
//!
//! CellProfiler measures lengths and volumes in voxels; ours are in the unit of the table.
//!
//! References: `cellprofiler.modules.measureobjectsizeshape`, `measureobjectintensity` and
//! `measuretexture` of CellProfiler 4; `pycytominer.cyto_utils.features`.

use super::table::FeatureTable;

/// How columns of a table are called in profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileNames {
    /// What the objects are; the names of all features begin with it.
    pub compartment: String,
    /// Grey levels that textures were computed with; a part of their names.
    pub texture_levels: u8,
}

impl Default for ProfileNames {
    fn default() -> Self {
        Self { compartment: String::from("Nuclei"), texture_levels: 32 }
    }
}

/// Our names of shape features and CellProfiler's.
const SHAPE: [(&str, &str); 43] = [
    ("area", "PhysicalVolume"),
    ("area_bbox", "BoundingBoxVolume"),
    ("area_convex", "ConvexVolume"),
    ("area_filled", "FilledVolume"),
    ("axis_major_length", "MajorAxisLength"),
    ("axis_minor_length", "MinorAxisLength"),
    ("equivalent_diameter_area", "EquivalentDiameter"),
    ("euler_number", "EulerNumber"),
    ("extent", "Extent"),
    ("feret_diameter_max", "MaxFeretDiameter"),
    ("inertia_tensor-0-0", "InertiaTensor_0_0"),
    ("inertia_tensor-0-1", "InertiaTensor_0_1"),
    ("inertia_tensor-0-2", "InertiaTensor_0_2"),
    ("inertia_tensor-1-0", "InertiaTensor_1_0"),
    ("inertia_tensor-1-1", "InertiaTensor_1_1"),
    ("inertia_tensor-1-2", "InertiaTensor_1_2"),
    ("inertia_tensor-2-0", "InertiaTensor_2_0"),
    ("inertia_tensor-2-1", "InertiaTensor_2_1"),
    ("inertia_tensor-2-2", "InertiaTensor_2_2"),
    ("inertia_tensor_eigvals-0", "InertiaTensorEigenvalues_0"),
    ("inertia_tensor_eigvals-1", "InertiaTensorEigenvalues_1"),
    ("inertia_tensor_eigvals-2", "InertiaTensorEigenvalues_2"),
    ("solidity", "Solidity"),
    ("mesh_area", "SurfaceArea"),
    ("mesh_volume", "MeshVolume"),
    ("mesh_axis_length_min", "MeshMinAxisLength"),
    ("mesh_axis_length_med", "MeshMedAxisLength"),
    ("mesh_axis_length_max", "MeshMaxAxisLength"),
    ("mesh_scale", "MeshScale"),
    ("mesh_inertia_pc1", "MeshInertiaPC1"),
    ("mesh_inertia_pc2", "MeshInertiaPC2"),
    ("mesh_inertia_pc3", "MeshInertiaPC3"),
    ("mesh_bounding_box_volume", "MeshBoundingBoxVolume"),
    ("mesh_oriented_box_volume", "MeshOrientedBoxVolume"),
    ("mesh_cylinder_volume", "MeshBoundingCylinderVolume"),
    ("mesh_sphere_volume", "MeshBoundingSphereVolume"),
    ("mesh_hull_volume", "MeshConvexHullVolume"),
    ("mesh_hull_area", "MeshConvexHullArea"),
    ("mesh_sphericity", "MeshSphericity"),
    ("mesh_extent", "MeshExtent"),
    ("mesh_solidity", "MeshSolidity"),
    ("mesh_gaussian_curvature", "MeshGaussianCurvature"),
    ("mesh_mean_curvature", "MeshMeanCurvature"),
];

/// Our names of features of an image, up to the name of the image, and CellProfiler's.
const OF_IMAGE: [(&str, &str, &str); 13] = [
    ("intensity_mean_", "Intensity", "MeanIntensity"),
    ("intensity_std_", "Intensity", "StdIntensity"),
    ("intensity_min_", "Intensity", "MinIntensity"),
    ("intensity_max_", "Intensity", "MaxIntensity"),
    ("intensity_sum_", "Intensity", "IntegratedIntensity"),
    ("intensity_displacement_", "Intensity", "MassDisplacement"),
    ("texture_contrast_", "Texture", "Contrast"),
    ("texture_dissimilarity_", "Texture", "Dissimilarity"),
    ("texture_homogeneity_", "Texture", "InverseDifferenceMoment"),
    ("texture_asm_", "Texture", "AngularSecondMoment"),
    ("texture_energy_", "Texture", "Energy"),
    ("texture_correlation_", "Texture", "Correlation"),
    ("texture_entropy_", "Texture", "Entropy"),
];

/// The profile of a table: columns by the names above, identifiers first.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::measure::{MeasureOptions, ProfileNames, measure, profile_columns};
///
/// let labels = Volume::new([1, 1, 3], vec![0, 7, 7]);
/// let table = measure(&labels, &[], &MeasureOptions::default());
/// let profile = profile_columns(&table, &ProfileNames::default());
/// assert_eq!(profile[0], (String::from("Metadata_ObjectNumber"), vec![7.0]));
/// assert!(profile.contains(&(String::from("Nuclei_AreaShape_Volume"), vec![2.0])));
/// ```
#[must_use]
pub fn profile_columns(table: &FeatureTable, names: &ProfileNames) -> Vec<(String, Vec<f64>)> {
    let mut profile = identifiers(table, names);
    let voxels = table.objects.iter().map(|object| object.voxels as f64).collect();
    profile.push((format!("{}_AreaShape_Volume", names.compartment), voxels));
    for column in &table.columns {
        profile.push((profile_name(&column.name, names), column.values.clone()));
    }
    profile
}

/// The name of a feature in a profile.
///
/// Of the name of an image only letters and digits are kept, because underscores part the
/// names of profiles. A feature that is not ours keeps its name behind the compartment's.
///
/// # Examples
///
/// ```
/// use spotlight_image::measure::{ProfileNames, profile_name};
///
/// let names = ProfileNames::default();
/// assert_eq!(profile_name("solidity", &names), "Nuclei_AreaShape_Solidity");
/// assert_eq!(profile_name("intensity_mean_DNA 1", &names), "Nuclei_Intensity_MeanIntensity_DNA1");
/// ```
#[must_use]
pub fn profile_name(feature: &str, names: &ProfileNames) -> String {
    let ProfileNames { compartment, texture_levels } = names;
    if let Some((_, shape)) = SHAPE.iter().find(|(ours, _)| *ours == feature) {
        return format!("{compartment}_AreaShape_{shape}");
    }
    for (prefix, category, name) in OF_IMAGE {
        if let Some(image) = feature.strip_prefix(prefix) {
            let image: String = image.chars().filter(|c| c.is_alphanumeric()).collect();
            let name = format!("{compartment}_{category}_{name}_{image}");
            let is_texture = category == "Texture";
            return if is_texture { format!("{name}_1_Mean_{texture_levels}") } else { name };
        }
    }
    format!("{compartment}_{feature}")
}

fn identifiers(table: &FeatureTable, names: &ProfileNames) -> Vec<(String, Vec<f64>)> {
    let numbers = table.objects.iter().map(|object| f64::from(object.label)).collect();
    let mut columns = vec![(String::from("Metadata_ObjectNumber"), numbers)];
    let axes = [("X", 2), ("Y", 1), ("Z", 0)];
    for (axis, i) in axes {
        let name = format!("Metadata_{}_Location_Center_{axis}", names.compartment);
        columns.push((name, table.objects.iter().map(|object| object.centroid[i]).collect()));
    }
    for (axis, i) in axes {
        let low = table.objects.iter().map(|object| object.region.start[i] as f64).collect();
        let high = table.objects.iter().map(|object| object.region.stop()[i] as f64).collect();
        columns.push((format!("Metadata_SourceBBox{axis}Min"), low));
        columns.push((format!("Metadata_SourceBBox{axis}Max"), high));
    }
    columns
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Channel, FeatureSet, MeasureOptions, measure};
    use super::*;
    use crate::Volume;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let labels = Volume::filled([2, 2, 2], 1);
        let image = Volume::filled([2, 2, 2], 1.0);
        let channels = [Channel { name: "DNA", image: &image }];
        let features = FeatureSet::ShapeAndIntensity;
        let table = measure(&labels, &channels, &MeasureOptions { features, ..Default::default() });
        let names: BTreeSet<String> = profile_columns(&table, &ProfileNames::default())
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names.len(), 10 + 1 + table.columns.len());
        for name in &names {
            let known = ["Metadata_", "Nuclei_AreaShape_", "Nuclei_Intensity_", "Nuclei_Texture_"];
            assert!(known.iter().any(|start| name.starts_with(start)), "{name}");
        }
        assert!(names.contains("Nuclei_Texture_Contrast_DNA_1_Mean_32"));
        assert!(names.contains("Nuclei_AreaShape_SurfaceArea"));
        assert!(names.contains("Metadata_SourceBBoxZMax"));
    }

    #[test]
    fn volume_is_a_count_and_physical_volume_is_not() {
        let labels = Volume::filled([2, 2, 2], 5);
        let options = MeasureOptions { spacing_um: Some([0.5; 3]), ..Default::default() };
        let table = measure(&labels, &[], &options);
        let names = ProfileNames { compartment: String::from("Mito"), ..Default::default() };
        let profile = profile_columns(&table, &names);
        let value = |name: &str| profile.iter().find(|(n, _)| n == name).unwrap().1[0];
        assert_eq!(value("Mito_AreaShape_Volume"), 8.0);
        assert_eq!(value("Mito_AreaShape_PhysicalVolume"), 1.0);
        assert_eq!(value("Metadata_Mito_Location_Center_X"), 0.5);
    }
}
