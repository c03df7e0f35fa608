//! Tests of whole tables: properties, degenerate objects, bad input.

use super::*;
use crate::Region;

/// A mask in which about this percentage of the voxels is set, scattered.
pub(super) fn noise(shape: [usize; 3], seed: usize, percent: u64) -> Volume<bool> {
    Volume::from_fn(shape, |[z, y, x]| {
        let place = ((seed * 64 + z) * 64 + y) * 64 + x;
        let mut mixed = (place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % 100 < percent
    })
}

fn shape_of(mask: &Volume<bool>) -> FeatureTable {
    measure(&mask.map(|inside| u32::from(*inside)), &[], &MeasureOptions::default())
}

fn value(table: &FeatureTable, name: &str) -> f64 {
    assert_eq!(table.objects.len(), 1);
    table.column(name).unwrap().values[0]
}

fn assert_near(found: f64, expected: f64) {
    let allowed = 1e-9 * expected.abs().max(1.0);
    assert!((found - expected).abs() <= allowed, "{found}, expected {expected}");
}

#[test]
fn no_object_is_a_table_without_rows() {
    let image = Volume::filled([2, 3, 4], 1.0);
    let channels = [Channel { name: "a", image: &image }];
    for features in [FeatureSet::Shape, FeatureSet::ShapeAndIntensity] {
        let options = MeasureOptions { features, ..Default::default() };
        let table = measure(&Volume::filled([2, 3, 4], 0), &channels, &options);
        assert_eq!(table.objects, []);
        let extra = if features == FeatureSet::Shape { 0 } else { 13 };
        assert_eq!(table.columns.len(), 43 + extra);
        assert!(table.columns.iter().all(|column| column.values.is_empty()));
    }
    let empty = measure(&Volume::new([0, 3, 4], Vec::new()), &[], &MeasureOptions::default());
    assert_eq!(empty.columns.len(), 43);
}

/// All shape features of voxels, lines, planes and boxes are numbers; some are known.
#[test]
fn degenerate_objects_have_every_feature() {
    for shape in [[1, 1, 1], [1, 1, 4], [5, 1, 1], [1, 3, 4], [2, 2, 2], [3, 1, 2]] {
        let table = shape_of(&Volume::filled(shape, true));
        for column in &table.columns {
            assert!(column.values[0].is_finite(), "{} of {shape:?}", column.name);
        }
        let count = shape.iter().product::<usize>() as f64;
        let sides = shape.map(|side| side as f64);
        for name in ["area", "area_bbox", "area_convex", "area_filled"] {
            assert_eq!(value(&table, name), count);
        }
        for name in ["solidity", "extent", "euler_number"] {
            assert_eq!(value(&table, name), 1.0, "{name} of {shape:?}");
        }
        let [a, b, c] = sides;
        assert_near(value(&table, "inertia_tensor-0-0"), (b * b + c * c - 2.0) / 12.0);
        assert_near(value(&table, "mesh_bounding_box_volume"), count);
        let scale = (a * a + b * b + c * c).sqrt();
        assert_near(value(&table, "mesh_scale"), scale);
        assert!(value(&table, "mesh_oriented_box_volume") <= count * (1.0 + 1e-9));
        assert!(value(&table, "mesh_hull_volume") <= count);
        assert_near(value(&table, "mesh_volume"), value(&table, "mesh_hull_volume"));
        assert_near(value(&table, "mesh_solidity"), 1.0);
    }
}

#[test]
fn shapes_of_a_mask_are_those_of_the_table() {
    let mask = noise([6, 7, 8], 1, 60);
    let table = shape_of(&mask);
    let alone =
        [&regionprops(&mask, [1.0; 3])[..], &surface_features(&mask, [1.0; 3], 1.0)[..]].concat();
    for (column, value) in table.columns.iter().zip(alone) {
        assert_eq!(column.values[0], value, "{}", column.name);
    }
    let nothing = Volume::filled([2, 2, 2], false);
    assert!(regionprops(&nothing, [1.0; 3]).iter().all(|v| v.is_nan()));
    assert!(surface_features(&nothing, [1.0; 3], 1.0).iter().all(|v| v.is_nan()));
    assert!(regionprops(&mask, [1.0, 0.0, 1.0]).iter().all(|v| v.is_nan()));
}

#[test]
fn one_voxel_is_an_octahedron() {
    let table = shape_of(&Volume::filled([1, 1, 1], true));
    let pi = std::f64::consts::PI;
    let expected = [
        ("axis_major_length", 0.0),
        ("axis_minor_length", 0.0),
        ("feret_diameter_max", 1.0),
        ("mesh_volume", 1.0 / 6.0),
        ("mesh_area", 3.0_f64.sqrt()),
        ("mesh_hull_area", 3.0_f64.sqrt()),
        ("mesh_sphere_volume", pi / 6.0),
        ("mesh_inertia_pc1", 1.0 / 120.0),
        ("mesh_gaussian_curvature", 4.0 * pi),
    ];
    for (name, expected) in expected {
        assert_near(value(&table, name), expected);
    }
}

#[test]
fn a_torus_has_a_tunnel_and_a_shell_a_cavity() {
    let torus = Volume::from_fn([3, 11, 11], |[z, y, x]| {
        let across = ((y as f64 - 5.0).hypot(x as f64 - 5.0) - 3.5).abs();
        (z as f64 - 1.0).hypot(across) <= 1.2
    });
    let table = shape_of(&torus);
    assert_eq!(value(&table, "euler_number"), 0.0);
    assert_eq!(value(&table, "area_filled"), value(&table, "area"));
    let shell = Volume::from_fn([5, 5, 5], |p| p.iter().any(|v| [0, 4].contains(v)));
    let table = shape_of(&shell);
    assert_eq!(value(&table, "euler_number"), 2.0);
    assert_eq!(value(&table, "area_filled"), 125.0);
    assert_eq!(value(&table, "area_convex"), 125.0);
}

#[test]
fn a_ball_is_nearly_a_ball() {
    let radius = 12.0_f64;
    let ball = Volume::from_fn([25, 25, 25], |p| {
        p.iter().map(|v| (*v as f64 - 12.0).powi(2)).sum::<f64>() <= radius * radius
    });
    let table = shape_of(&ball);
    let pi = std::f64::consts::PI;
    let near = |name: &str, expected: f64, part: f64| {
        let found = value(&table, name);
        assert!((found / expected - 1.0).abs() < part, "{name} {found}, expected {expected}");
    };
    near("area", 4.0 / 3.0 * pi * radius.powi(3), 0.02);
    near("axis_major_length", 2.0 * radius, 0.02);
    near("axis_minor_length", 2.0 * radius, 0.02);
    near("feret_diameter_max", 2.0 * radius + 1.0, 0.02);
    near("mesh_sphere_volume", 4.0 / 3.0 * pi * (radius + 0.5).powi(3), 0.02);
    near("mesh_cylinder_volume", 2.0 * pi * (radius + 0.4).powi(3), 0.05);
    let sphericity = value(&table, "mesh_sphericity");
    assert!((0.85..1.0).contains(&sphericity), "{sphericity}");
}

/// An object measures the same wherever it is, at the border of the image too.
#[test]
fn position_and_neighbours_do_not_matter() {
    let mask = noise([6, 7, 8], 1, 60);
    let alone = shape_of(&mask);
    let places = [([0, 0, 0], true), ([14, 13, 12], true), ([3, 0, 9], true), ([7, 6, 5], false)];
    for (i, (start, at_border)) in places.into_iter().enumerate() {
        let mut labels = Volume::filled([20, 20, 20], 0);
        for (position, inside) in mask.voxels.iter().enumerate() {
            let [z, y, x] = [position / 56, position / 8 % 7, position % 8];
            let place = labels.offset([start[0] + z, start[1] + y, start[2] + x]);
            labels.voxels[place] = if *inside { 70_000 } else { 3 + i as u32 };
        }
        let table = measure(&labels, &[], &MeasureOptions::default());
        let row = table.objects.iter().position(|object| object.label == 70_000).unwrap();
        assert_eq!(table.objects[row].touches_border, at_border);
        for (column, expected) in table.columns.iter().zip(&alone.columns) {
            assert_eq!(column.values[row], expected.values[0], "{}", column.name);
        }
    }
}

/// With voxels of half the size every feature follows its unit.
#[test]
fn features_scale_with_their_units() {
    let labels = noise([6, 7, 8], 1, 60).map(|inside| u32::from(*inside));
    let of = |spacing: f64| {
        measure(
            &labels,
            &[],
            &MeasureOptions { spacing_um: Some([spacing; 3]), ..Default::default() },
        )
    };
    let (one, half) = (of(1.0), of(0.5));
    for (one, half) in one.columns.iter().zip(&half.columns) {
        let Unit::Length(power) = one.unit else {
            assert_near(half.values[0], one.values[0]);
            continue;
        };
        assert_near(half.values[0] * 2.0_f64.powi(i32::from(power)), one.values[0]);
    }
}

#[test]
fn a_spacing_that_is_none_leaves_only_brightness() {
    let image = Volume::filled([2, 2, 2], 3.0);
    let channels = [Channel { name: "dye", image: &image }];
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = MeasureOptions {
            features: FeatureSet::ShapeAndIntensity,
            spacing_um: Some([1.0, bad, 1.0]),
            ..Default::default()
        };
        let table = measure(&Volume::filled([2, 2, 2], 1), &channels, &options);
        assert!(table.columns[..43].iter().all(|column| column.values[0].is_nan()));
        assert_eq!(table.column("intensity_mean_dye").unwrap().values, [3.0]);
    }
}

#[test]
fn rows_are_those_of_each_object_alone() {
    let shape = [8, 12, 12];
    let labels = Volume::from_fn(shape, |[z, y, x]| match (z / 4, y / 6, x / 6) {
        (0, 0, 0) => 1_000_000,
        (1, 1, 1) => 2,
        (1, 0, 1) if (z + y + x) % 3 > 0 => 7,
        _ => 0,
    });
    let image = Volume::from_fn(shape, |[z, y, x]| ((z * 31 + y * 17 + x * 7) % 23) as f32);
    let features = FeatureSet::ShapeAndIntensity;
    let options = MeasureOptions { features, ..Default::default() };
    let channels = [Channel { name: "a", image: &image }];
    let table = measure(&labels, &channels, &options);
    assert_eq!(table.objects.iter().map(|o| o.label).collect::<Vec<_>>(), [2, 7, 1_000_000]);
    for (i, object) in table.objects.iter().enumerate() {
        let region = Region::whole(shape);
        let alone = labels.crop(region).map(|v| if *v == object.label { *v } else { 0 });
        let single = measure(&alone, &channels, &options);
        for (all, one) in table.columns.iter().zip(&single.columns) {
            assert_eq!(all.values[i], one.values[0], "{}", all.name);
        }
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let labels = Volume::from_fn([6, 30, 30], |[z, y, x]| {
        let tile = (y / 6 * 5 + x / 6) as u32;
        if (z * 31 + y * 17 + x * 7) % 11 < 9 { tile } else { 0 }
    });
    let of = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| measure(&labels, &[], &MeasureOptions::default()))
    };
    assert_eq!(of(1), of(3));
}

#[test]
#[should_panic(expected = "dye must have the labels' shape")]
fn images_of_another_shape_are_refused() {
    let image = Volume::filled([2, 2, 3], 3.0);
    let channels = [Channel { name: "dye", image: &image }];
    let _ = measure(&Volume::filled([2, 2, 2], 1), &channels, &MeasureOptions::default());
}

#[test]
fn every_object_is_told_of_once() {
    let labels = Volume::from_fn([3, 4, 5], |[z, y, x]| (z * 20 + y * 5 + x) as u32 % 7);
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |done: usize, of: usize| told.lock().unwrap().push((done, of));
    let table = measure_and_tell(&labels, &[], &MeasureOptions::default(), &tell);
    let mut told = told.into_inner().unwrap();
    told.sort_unstable();
    assert_eq!(told, (1..=6).map(|done| (done, 6)).collect::<Vec<_>>());
    assert_eq!(table, measure(&labels, &[], &MeasureOptions::default()));
}
