//! The reference vectors of scikit-image, trimesh and cubic, `testdata/golden/features`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::PI;

use serde_json::Value;
use spotlight_golden::{Array, Case, Elements, cases, number, run_topic};
use spotlight_image::evaluate::{
    ObjectMatch, cosine_distance, feature_distance, percentile_of_numbers as percentile,
};
use spotlight_image::measure::{
    Channel, FeatureSet, FeatureTable, MeasureOptions, Moments, centroid, marching_cubes, measure,
    moments, normalised_moments, texture,
};
use spotlight_image::{Shape, Volume};

/// cubic's names of mesh features and ours.
const MESH_FEATURES: [(&str, &str); 20] = [
    ("Area", "mesh_area"),
    ("Volume", "mesh_volume"),
    ("Min Axis Length", "mesh_axis_length_min"),
    ("Med Axis Length", "mesh_axis_length_med"),
    ("Max Axis Length", "mesh_axis_length_max"),
    ("Scale", "mesh_scale"),
    ("Inertia PC1", "mesh_inertia_pc1"),
    ("Inertia PC2", "mesh_inertia_pc2"),
    ("Inertia PC3", "mesh_inertia_pc3"),
    ("Bounding Box Volume", "mesh_bounding_box_volume"),
    ("Oriented Bounding Box Volume", "mesh_oriented_box_volume"),
    ("Bounding Cylinder Volume", "mesh_cylinder_volume"),
    ("Bounding Sphere Volume", "mesh_sphere_volume"),
    ("Convex Hull Volume", "mesh_hull_volume"),
    ("Convex Hull Area", "mesh_hull_area"),
    ("Sphericity", "mesh_sphericity"),
    ("Extent", "mesh_extent"),
    ("Solidity", "mesh_solidity"),
    ("Avg Gaussian Curvature", "mesh_gaussian_curvature"),
    ("Avg Mean Curvature", "mesh_mean_curvature"),
];

#[test]
fn golden_features() {
    run_topic("features", |case| {
        let case = &with_separate_tolerances(case);
        let functions = case.functions();
        let short: Vec<&str> = functions.iter().map(|f| f.split(' ').next().unwrap()).collect();
        match short.as_slice() {
            ["skimage.measure.regionprops_table"] => check_regionprops(case),
            ["skimage.measure.marching_cubes", "trimesh.Trimesh", other]
                if *other == "cubic.feature.mesh.extract_mesh_features" =>
            {
                check_mesh(case);
            }
            ["cubic.feature.mesh.extract_features"] => check_mesh_table(case),
            ["cubic.feature.texture.glcm_features"] => check_texture(case),
            ["cubic.metrics.feature.cosine_median;"] => check_profiles(case),
            ["cubic.metrics.feature._calculate_cosine"] => check_cosine(case),
            ["cubic.feature.voxel.calculate_feature_percentiles"] => check_percentiles(case),
            other => panic!("{}: unknown functions {other:?}", case.name()),
        }
    });
}

/// Tolerance entries such as "a, b" as one entry for each name.
fn with_separate_tolerances(case: &Case) -> Case {
    let mut case = case.clone();
    let entries = case.json["tolerance"].as_object_mut().unwrap();
    let lists: Vec<String> = entries.keys().filter(|key| key.contains(", ")).cloned().collect();
    for list in lists {
        let entry = entries.remove(&list).unwrap();
        for name in list.split(", ") {
            entries.insert(name.to_owned(), entry.clone());
        }
    }
    case
}

fn check_regionprops(case: &Case) {
    case.only_params(&["spacing"]);
    let labels = labels(&case.input("labels"));
    let has_intensity = !case.json["inputs"]["intensity"].is_null();
    let image = has_intensity.then(|| float_volume(&case.input("intensity")));
    let image = image.unwrap_or_else(|| Volume::filled(labels.shape, 0.0));
    let spacing_um = case.param("spacing").as_array().map(|list| {
        let list: Vec<f64> = list.iter().map(number).collect();
        [list[0], list[1], list[2]]
    });
    let features = FeatureSet::ShapeAndIntensity;
    let options = MeasureOptions { features, spacing_um, ..Default::default() };
    let table = measure(&labels, &[Channel { name: "image", image: &image }], &options);
    if !case.scalar("rows").is_null() {
        for (name, rows) in case.scalar("rows").as_object().unwrap() {
            assert_eq!(rows.as_u64().unwrap(), table.objects.len() as u64, "rows of {name}");
        }
    }
    let objects: Vec<ObjectMoments> = (0..table.objects.len())
        .map(|row| ObjectMoments::new(&labels, &image, &table, row))
        .collect();
    for name in case.expected_scalars() {
        match name.as_str() {
            "rows" | "columns" => (),
            // What the reference could not do at all is not among its columns.
            "unsupported" => (),
            "labels" => {
                let found: Vec<f64> = table.objects.iter().map(|o| f64::from(o.label)).collect();
                case.check_values("labels", &found, &numbers(case.scalar("labels")));
            }
            other => {
                let column = other.strip_prefix("col.").unwrap();
                check_column(case, column, &table, &objects);
            }
        }
    }
}

fn check_column(case: &Case, name: &str, table: &FeatureTable, objects: &[ObjectMoments]) {
    let expected = numbers(case.scalar(&format!("col.{name}")));
    let found: Vec<f64> = match table.column(name) {
        Some(column) => column.values.clone(),
        None => (0..objects.len()).map(|row| objects[row].value(name, table, row)).collect(),
    };
    assert_eq!(found.len(), expected.len(), "{}: rows of {name}", case.name());
    // Where an object is flat the reference's hull fails: area 0 and solidity ∞. Ours is that
    // of the face midpoints, so it is checked to be one instead.
    let hull_areas = case.scalar("col.area_convex");
    let of_hull = ["area_convex", "solidity", "feret_diameter_max"].contains(&name);
    for row in 0..found.len() {
        if of_hull && !hull_areas.is_null() && number(&hull_areas[row]) == 0.0 {
            let area = table.column("area").unwrap().values[row];
            let least = if name == "area_convex" { area } else { 0.0 };
            assert!(found[row].is_finite() && found[row] >= least, "{}: {name}", case.name());
            continue;
        }
        let column = format!("col.{name}");
        let mut case = case.clone();
        if case.tolerance(&column)["kind"] == "scaled" {
            let allowed = number(&case.tolerance(&column)["rel"]) * objects[row].scale(name);
            let mut entry = case.tolerance(&column).clone();
            entry["kind"] = "abs".into();
            entry["abs"] = allowed.into();
            case.json["tolerance"][&column] = entry;
        }
        case.check_values(&column, &[found[row]], &[expected[row]]);
    }
}

/// The moments of one object, plain and weighted: raw, central, normalised.
struct ObjectMoments {
    plain: [Moments; 3],
    weighted: [Moments; 3],
    /// Where the crop begins, in the units of the spacing.
    start: [f64; 3],
    largest_side: f64,
    voxel_volume: f64,
}

impl ObjectMoments {
    fn new(labels: &Volume<u32>, image: &Volume<f32>, table: &FeatureTable, row: usize) -> Self {
        let object = &table.objects[row];
        let spacing = table.spacing_um.unwrap_or([1.0; 3]);
        let mask = labels.crop(object.region).map(|label| *label == object.label);
        let image = image.crop(object.region);
        let all = |weights: Option<&Volume<f32>>| {
            let raw = moments(&mask, weights, [0.0; 3], spacing);
            let central = moments(&mask, weights, centroid(&raw), spacing);
            [raw, central, normalised_moments(&central, spacing)]
        };
        let side = |axis: usize| object.region.shape[axis] as f64 * spacing[axis];
        Self {
            plain: all(None),
            weighted: all(Some(&image)),
            start: [0, 1, 2].map(|axis| object.region.start[axis] as f64 * spacing[axis]),
            largest_side: (0..3).map(side).fold(0.0, f64::max),
            voxel_volume: spacing.iter().product(),
        }
    }

    /// A column that identifies the object or is a moment of it.
    fn value(&self, name: &str, table: &FeatureTable, row: usize) -> f64 {
        let object = &table.objects[row];
        let (family, indices) = name.split_once('-').unwrap_or((name, ""));
        let index: Vec<usize> = indices.split('-').filter_map(|i| i.parse().ok()).collect();
        let spacing = table.spacing_um.unwrap_or([1.0; 3]);
        match family {
            "label" => f64::from(object.label),
            "bbox" => {
                let edges = [object.region.start, object.region.stop()].concat();
                edges[index[0]] as f64
            }
            "centroid" => object.centroid[index[0]] * spacing[index[0]],
            "centroid_local" => centroid(&self.plain[0])[index[0]],
            "centroid_weighted" => self.start[index[0]] + centroid(&self.weighted[0])[index[0]],
            "centroid_weighted_local" => centroid(&self.weighted[0])[index[0]],
            "intensity_mean" | "intensity_std" | "intensity_min" | "intensity_max" => {
                table.column(&format!("{family}_image")).unwrap().values[row]
            }
            _ => self.of_family(family)[index[0]][index[1]][index[2]],
        }
    }

    fn of_family(&self, family: &str) -> &Moments {
        match family {
            "moments" => &self.plain[0],
            "moments_central" => &self.plain[1],
            "moments_normalized" => &self.plain[2],
            "moments_weighted" => &self.weighted[0],
            "moments_weighted_central" => &self.weighted[1],
            "moments_weighted_normalized" => &self.weighted[2],
            other => panic!("unknown column {other}"),
        }
    }

    /// The scale that the rounding of a moment is relative to, as the cases describe it.
    fn scale(&self, name: &str) -> f64 {
        let (family, indices) = name.split_once('-').unwrap();
        let order: i32 = indices.split('-').map(|i| i.parse::<i32>().unwrap()).sum();
        let mass = if family.contains("weighted") { &self.weighted } else { &self.plain };
        let mass = mass[0][0][0][0];
        let power = self.largest_side.powi(order);
        if family.contains("normalized") {
            return power * mass / mass.powf(1.0 + f64::from(order) / 3.0);
        }
        mass * self.voxel_volume * power
    }
}

fn check_mesh(case: &Case) {
    case.only_params(&["level", "spacing", "padding"]);
    assert_eq!(number(case.param("level")), 0.5);
    assert_eq!(numbers(case.param("spacing")), [1.0; 3]);
    let mask = labels(&case.input("mask"));
    let mesh = marching_cubes(&mask.map(|label| *label != 0));
    check_vertices(case, &mesh.positions([1.0; 3]));
    let mut edges: BTreeMap<[u32; 2], u32> = BTreeMap::new();
    for face in &mesh.faces {
        for i in 0..3 {
            let (a, b) = (face[i], face[(i + 1) % 3]);
            *edges.entry([a.min(b), a.max(b)]).or_default() += 1;
        }
    }
    let (v, f) = (mesh.vertices.len() as f64, mesh.faces.len() as f64);
    let watertight = edges.values().all(|count| *count == 2);
    let table = measure(&mask, &[], &MeasureOptions::default());
    for name in case.expected_scalars() {
        let found = match name.as_str() {
            "features_order" => continue,
            "n_vertices" => v,
            "n_faces" => f,
            "euler_characteristic" => v - edges.len() as f64 + f,
            "watertight" => f64::from(u8::from(watertight)),
            feature => {
                check_mesh_feature(case, feature, &table, 0, &mask, number(case.scalar(feature)));
                continue;
            }
        };
        case.check_scalar(&name, found);
    }
    assert_eq!(case.expected_scalars().len(), 25, "a feature is missing");
}

fn check_vertices(case: &Case, found: &[[f64; 3]]) {
    let expected = case.expected("vertices");
    let halves = |values: &[f64]| [0, 1, 2].map(|axis| (2.0 * values[axis]).round() as i64);
    let values = expected.to_f64();
    for value in &values {
        let off = (2.0 * value - (2.0 * value).round()).abs();
        assert!(off <= 2.0 * number(&case.tolerance("vertices")["abs"]), "not a midpoint");
    }
    let expected: BTreeSet<[i64; 3]> = values.chunks_exact(3).map(halves).collect();
    let found: BTreeSet<[i64; 3]> = found.iter().map(|position| halves(position)).collect();
    assert_eq!(found, expected, "{}: vertices", case.name());
}

fn check_mesh_table(case: &Case) {
    case.only_params(&[]);
    let labels = labels(&case.input("labels"));
    let table = measure(&labels, &[], &MeasureOptions::default());
    let found: Vec<f64> = table.objects.iter().map(|o| f64::from(o.label)).collect();
    case.check_values("labels", &found, &numbers(case.scalar("labels")));
    let columns: Vec<&str> =
        case.scalar("columns").as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(columns.len(), MESH_FEATURES.len());
    let expected = case.expected("features").to_f64();
    // "Tolerances as in the mesh_* cases."
    let like = cases("features").into_iter().find(|c| c.is_by("extract_mesh_features")).unwrap();
    for (i, expected) in expected.iter().enumerate() {
        let (row, name) = (i / columns.len(), columns[i % columns.len()]);
        check_mesh_feature(&like, name, &table, row, &labels, *expected);
    }
}

fn check_mesh_feature(
    case: &Case,
    name: &str,
    table: &FeatureTable,
    row: usize,
    labels: &Volume<u32>,
    mut expected: f64,
) {
    let ours = MESH_FEATURES.iter().find(|(theirs, _)| *theirs == name);
    let (_, ours) = ours.unwrap_or_else(|| panic!("unknown feature {name}"));
    let found = table.column(ours).unwrap().values[row];
    // Of what the reference searches for, it need not have found the smallest.
    if found < 0.99 * expected && name.starts_with("Bounding ") {
        let mask = labels.map(|label| *label == table.objects[row].label);
        let points = marching_cubes(&mask).positions([1.0; 3]);
        match name {
            // The reference takes its centre from Qhull's furthest-site Voronoi diagram, which
            // can lack the right vertex where many points lie on one sphere, as on a voxel
            // grid. Where a smaller sphere holds all vertices, it is not the smallest.
            "Bounding Sphere Volume" => {
                expected = expected.min(4.0 / 3.0 * PI * radius_that_holds(&points, 5000).powi(3));
            }
            // The reference descends from one start and can end in another minimum.
            "Bounding Cylinder Volume" => expected = expected.min(cylinder_that_holds(&points)),
            _ => (),
        }
    }
    case.check_values(name, &[found], &[expected]);
}

/// Radius of a ball around all points, nearly the smallest: its centre goes to the furthest
/// point, each time by a smaller part of the way (Bădoiu and Clarkson, 2003).
fn radius_that_holds(points: &[[f64; 3]], steps: u32) -> f64 {
    let furthest = |centre: &[f64; 3]| {
        let squared =
            |p: &[f64; 3]| (0..3).map(|axis| (p[axis] - centre[axis]).powi(2)).sum::<f64>();
        points.iter().map(|p| (squared(p), *p)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    };
    let mut centre = points[0];
    for step in 1..steps {
        let (_, point) = furthest(&centre);
        let part = 1.0 / f64::from(step + 1);
        centre = [0, 1, 2].map(|axis| centre[axis] + (point[axis] - centre[axis]) * part);
    }
    furthest(&centre).0.sqrt()
}

/// Volume of a cylinder around all points, the best of many directions of its axis.
fn cylinder_that_holds(points: &[[f64; 3]]) -> f64 {
    let volume = |[z, y, x]: [f64; 3], steps: u32| {
        let along: Vec<f64> = points.iter().map(|p| p[0] * z + p[1] * y + p[2] * x).collect();
        let flat: Vec<[f64; 3]> = points
            .iter()
            .zip(&along)
            .map(|(p, a)| [p[0] - a * z, p[1] - a * y, p[2] - a * x])
            .collect();
        let low = along.iter().copied().fold(f64::INFINITY, f64::min);
        let high = along.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (high - low) * PI * radius_that_holds(&flat, steps).powi(2)
    };
    // A spiral over half a sphere, each direction for an equal part of it.
    let direction = |i: u32| {
        let (height, angle) = ((f64::from(i) + 0.5) / 2000.0, 2.399_963 * f64::from(i));
        let across = (1.0 - height * height).sqrt();
        [height, across * angle.cos(), across * angle.sin()]
    };
    let mut rough: Vec<(f64, [f64; 3])> =
        (0..2000).map(direction).map(|axis| (volume(axis, 20), axis)).collect();
    rough.sort_by(|a, b| a.0.total_cmp(&b.0));
    rough[..50].iter().map(|(_, axis)| volume(*axis, 1000)).fold(f64::INFINITY, f64::min)
}

fn check_texture(case: &Case) {
    case.only_params(&["levels", "distances", "symmetric", "normed", "value_range"]);
    assert_eq!(numbers(case.param("distances")), [1.0]);
    assert!(case.param("symmetric").as_bool().unwrap() && case.param("normed").as_bool().unwrap());
    assert!(case.param("value_range").is_null());
    let levels = u8::try_from(case.param("levels").as_u64().unwrap()).unwrap();
    let array = case.input("image");
    let shape = volume_shape(&array.shape);
    let mask = if case.json["inputs"]["mask"].is_null() {
        Volume::filled(shape, true)
    } else {
        labels(&case.input("mask")).map(|label| *label != 0)
    };
    let found = match &array.elements {
        Elements::F32(v) => texture(&Volume::new(shape, v.clone()), &mask, levels),
        Elements::F64(v) => texture(&Volume::new(shape, v.clone()), &mask, levels),
        Elements::U8(v) => texture(&Volume::new(shape, v.clone()), &mask, levels),
        Elements::U16(v) => texture(&Volume::new(shape, v.clone()), &mask, levels),
        _ => panic!("{}: no textures of {}", case.name(), array.dtype()),
    };
    let names =
        ["contrast", "dissimilarity", "homogeneity", "ASM", "energy", "correlation", "entropy"];
    assert_eq!(case.expected_scalars().len(), names.len());
    for (name, found) in names.iter().zip(found) {
        case.check_scalar(name, found);
    }
}

fn check_profiles(case: &Case) {
    case.only_params(&["features", "columns_sorted", "thresholds", "feature_ranges"]);
    let images = ["true", "pred"].map(|name| labels(&case.input(name)));
    let tables = images.each_ref().map(|labels| measure(labels, &[], &MeasureOptions::default()));
    let columns = case.param("columns_sorted").as_array().unwrap();
    let columns: Vec<&str> = columns.iter().map(|c| c.as_str().unwrap()).collect();
    for (table, side) in tables.iter().zip(["true", "pred"]) {
        let values: Vec<&[f64]> =
            columns.iter().map(|name| &table.column(name).unwrap().values[..]).collect();
        let rows = 0..table.objects.len();
        let flat: Vec<f64> = rows.flat_map(|row| values.iter().map(move |v| v[row])).collect();
        case.check_array(&format!("features_{side}"), &[table.objects.len(), columns.len()], &flat);
        let medians: Vec<f64> = values.iter().map(|v| percentile(v, 50.0)).collect();
        let name = format!("median_{side}");
        case.check_values(&name, &medians, &numbers(case.scalar(&name)));
    }
    let rows = tables.each_ref().map(|table| rows(table, &columns));
    let raw = vec![[0.0, 1.0]; columns.len()];
    let range = |name: &&str| {
        let range = &case.param("feature_ranges")[*name];
        [number(&range[0]), number(&range[1])]
    };
    let ranges: Vec<[f64; 2]> = columns.iter().map(range).collect();
    for (suffix, ranges) in [("", &raw), ("_range_normalised", &ranges)] {
        // All objects, not only pairs: the medians of each side.
        let medians = rows.each_ref().map(|rows| {
            let median = |(column, [low, high]): (usize, &[f64; 2])| {
                let scaled: Vec<f64> =
                    rows.iter().map(|row| (row[column] - low) / (high - low)).collect();
                percentile(&scaled, 50.0)
            };
            ranges.iter().enumerate().map(median).collect::<Vec<f64>>()
        });
        let name = format!("cosine_all{suffix}");
        case.check_scalar(&name, cosine_distance(&medians[0], &medians[1]));
        let name = format!("cosine_by_iou{suffix}");
        for (threshold, expected) in case.scalar(&name).as_object().unwrap() {
            let pairs = pairs(&images, &tables, threshold.parse().unwrap());
            let found = feature_distance(&rows[0], &rows[1], &pairs, Some(ranges));
            case.check_values(&name, &[found], &[number(expected)]);
        }
    }
}

/// Some columns of a table, object by object.
fn rows(table: &FeatureTable, columns: &[&str]) -> Vec<Vec<f64>> {
    let value = |row: usize| move |name: &&str| table.column(name).unwrap().values[row];
    (0..table.objects.len()).map(|row| columns.iter().map(value(row)).collect()).collect()
}

/// Rows of objects whose overlap is at least this part of their union; above one half each
/// object has one partner at most.
fn pairs(
    images: &[Volume<u32>; 2],
    tables: &[FeatureTable; 2],
    threshold: f64,
) -> Vec<ObjectMatch> {
    let mut pairs = Vec::new();
    for (i, a) in tables[0].objects.iter().enumerate() {
        for (j, b) in tables[1].objects.iter().enumerate() {
            let voxels = images[0].voxels.iter().zip(&images[1].voxels);
            let both = voxels.filter(|(x, y)| **x == a.label && **y == b.label).count() as f64;
            let iou = both / ((a.voxels + b.voxels) as f64 - both);
            if iou >= threshold {
                pairs.push(ObjectMatch { true_object: i, predicted_object: j, iou });
            }
        }
    }
    pairs
}

fn check_cosine(case: &Case) {
    case.only_params(&[]);
    let (a, b) = (case.input("a"), case.input("b"));
    let length = a.shape[1];
    let (a, b) = (a.to_f64(), b.to_f64());
    let rows = a.chunks_exact(length).zip(b.chunks_exact(length));
    let found: Vec<f64> = rows.map(|(a, b)| cosine_distance(a, b)).collect();
    case.check_values("distance", &found, &numbers(case.scalar("distance")));
    let opposite: Vec<f64> = a[..length].iter().map(|v| -v).collect();
    case.check_scalar("zero_vector", cosine_distance(&a[..length], &vec![0.0; length]));
    case.check_scalar("identical", cosine_distance(&a[..length], &a[..length]));
    case.check_scalar("opposite", cosine_distance(&a[..length], &opposite));
    assert_eq!(case.expected_scalars().len(), 4);
}

fn check_percentiles(case: &Case) {
    case.only_params(&["percentiles"]);
    let parts = numbers(case.param("percentiles"));
    let expected = case.scalar("percentiles").as_object().unwrap();
    let table = case.scalar("table").as_object().unwrap();
    assert_eq!(expected.len(), table.len());
    for (name, values) in table {
        let found: Vec<f64> =
            parts.iter().map(|part| percentile(&numbers(values), 100.0 * part)).collect();
        case.check_values("percentiles", &found, &numbers(&expected[name]));
    }
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(number).collect()
}

fn labels(array: &Array) -> Volume<u32> {
    assert!(array.is_integer());
    let labels = array.to_f64().into_iter().map(|label| label as u32).collect();
    Volume::new(volume_shape(&array.shape), labels)
}

fn float_volume(array: &Array) -> Volume<f32> {
    Volume::new(volume_shape(&array.shape), array.to_f32())
}

/// Planes are volumes of one plane.
fn volume_shape(lengths: &[usize]) -> Shape {
    assert!(lengths.len() <= 3, "too many axes: {lengths:?}");
    let mut shape = [1; 3];
    shape[3 - lengths.len()..].copy_from_slice(lengths);
    shape
}
