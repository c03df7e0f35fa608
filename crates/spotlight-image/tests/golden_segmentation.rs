//! The reference vectors of scikit-image, SciPy and cubic, `testdata/golden/segmentation`.
//!
//! Where the tolerance says that a faithful port gives the very same labels, ours must.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use serde_json::Value;
use spotlight_golden::{Array, Case, number, run_topic};
use spotlight_image::filter::{
    Clahe, Footprint, clahe, dilate, distance_transform, erode, median, median_cube, percentiles,
    stretch,
};
use spotlight_image::foreground::{Bins, otsu_threshold};
use spotlight_image::label::{
    Connectivity, clear_border, components, fill_holes, fill_object_holes,
    fill_object_holes_in_planes, fill_small_holes, remove_large_objects, remove_small_components,
    remove_small_objects, remove_thin_objects, remove_touching_objects,
};
use spotlight_image::resample::{Resize, rescale};
use spotlight_image::segment::{
    Cleanup, Peaks, Watershed, cleanup, h_maxima, local_maxima, local_maxima_in, split, watershed,
};
use spotlight_image::{Border, Region, Shape, Volume};

#[test]
fn golden_segmentation() {
    run_topic("segmentation", |case| {
        let functions = case.functions();
        let function = functions[0].split([' ', '(', ',']).next().unwrap();
        match function {
            "skimage.morphology.binary_dilation" => check_dilation(case),
            "scipy.ndimage.binary_fill_holes" => check_fill_holes(case),
            "skimage.exposure.equalize_adapthist" => check_clahe(case),
            "cubic.segmentation.segment_utils.cleanup_segmentation" => check_cleanup(case),
            "skimage.segmentation.clear_border" => check_clear_border(case),
            "scipy.ndimage.distance_transform_edt" => check_distance(case),
            "skimage.morphology.ball" => check_footprints(case),
            "cubic.segmentation.segment_utils.*" => check_label_steps(case),
            "skimage.measure.label" => check_components(case),
            "skimage.filters.median" | "scipy.ndimage.median_filter" => check_median(case),
            "skimage.feature.peak_local_max" => check_peaks(case),
            "skimage.morphology.h_maxima" => check_h_maxima(case),
            "skimage.morphology.remove_small_holes" => check_small_holes(case),
            "skimage.morphology.remove_small_objects" => check_small_objects(case),
            "cubic.segmentation.segment_utils.segment_watershed" => check_split(case),
            "skimage.segmentation.watershed" => check_watershed(case),
            "cubic.image_utils.normalize_min_max" => check_pipeline(case),
            other => panic!("unknown function {other}"),
        }
    });
}

fn check_dilation(case: &Case) {
    case.only_params(&["radius"]);
    let mask = mask(&case.input("mask"));
    let radius = case.param("radius").as_u64().unwrap() as usize;
    check_mask(case, "dilated", &dilate(&mask, &Footprint::ball(radius)));
    if case.expected_arrays().contains(&"eroded_dilated".to_owned()) {
        let back = erode(&dilate(&mask, &Footprint::ball(2)), &Footprint::ball(1));
        check_mask(case, "eroded_dilated", &back);
    }
}

fn check_fill_holes(case: &Case) {
    case.only_params(&["structuring_element"]);
    for name in ["closed", "leaking"] {
        let filled = fill_holes(&mask(&case.input(name)));
        check_mask(case, &format!("filled_{name}"), &filled);
    }
    for name in ["closed", "leaking"] {
        let mut planes = mask(&case.input(name));
        for z in 0..planes.shape[0] {
            let plane = Region { start: [z, 0, 0], shape: [1, planes.shape[1], planes.shape[2]] };
            let filled = fill_holes(&planes.crop(plane));
            planes.paste(plane.start, &filled);
        }
        let expected = mask(&case.expected("filled_per_plane"));
        if planes == expected {
            return;
        }
    }
    panic!("no input filled plane by plane is filled_per_plane");
}

fn check_clahe(case: &Case) {
    case.only_params(&["kernel_size", "clip_limit", "nbins", "kernel_size_used"]);
    let array = case.input("image");
    let image = if array.is_integer() {
        assert_eq!(array.dtype(), "uint16", "no scale for other whole numbers");
        volume_f32(&array).map(|voxel| voxel / 65_535.0)
    } else {
        volume_f32(&array)
    };
    let tile = match case.param("kernel_size") {
        Value::Null => None,
        Value::Array(sizes) => {
            let mut tile = [1; 3];
            let sizes: Vec<usize> = sizes.iter().map(|n| n.as_u64().unwrap() as usize).collect();
            tile[3 - sizes.len()..].copy_from_slice(&sizes);
            Some(tile)
        }
        size => Some([size.as_u64().unwrap() as usize; 3]),
    };
    let clip_limit = number(case.param("clip_limit"));
    let bins = case.param("nbins").as_u64().unwrap() as usize;
    let equalised = clahe(image, &Clahe { tile, clip_limit, bins });
    check_f32(case, "equalized", &equalised);
}

fn check_cleanup(case: &Case) {
    let names = ["min_obj_size", "max_obj_size", "border_buffer_size", "max_hole_size"];
    case.only_params(&names);
    let [min, max, border, hole] = names.map(|name| case.param(name).as_u64().map(|n| n as usize));
    let options = Cleanup {
        min_object_voxels: min.unwrap_or(0),
        max_object_voxels: max.unwrap_or(0),
        clear_border: border.is_some(),
        border_buffer_voxels: border.unwrap_or(0),
        hole_voxels: hole.unwrap_or(0),
    };
    check_labels(case, "cleaned", &cleanup(&labels(&case.input("labels")), &options));
}

fn check_clear_border(case: &Case) {
    case.only_params(&["buffer_size"]);
    let buffer = case.param("buffer_size").as_u64().unwrap() as usize;
    let labels = labels(&case.input("labels"));
    check_labels(case, "cleared_buffer0", &clear_border(&labels, [Some(0); 3]));
    check_labels(case, "cleared_buffer", &clear_border(&labels, [Some(buffer); 3]));
    let in_plane = |buffer| {
        let cleared = clear_border(&labels, [None, Some(buffer), Some(buffer)]);
        components(&cleared, Connectivity::Corners)
    };
    check_labels(case, "xy_buffer0", &in_plane(0));
    check_labels(case, "xy_buffer", &in_plane(buffer));
}

fn check_distance(case: &Case) {
    case.only_params(&["sampling"]);
    let mask = mask(&case.input("mask"));
    let mut spacing = [1.0; 3];
    if let Some(sampling) = case.param("sampling").as_array() {
        let sampling: Vec<f64> = sampling.iter().map(number).collect();
        spacing[3 - sampling.len()..].copy_from_slice(&sampling);
    }
    let distance: Volume<f64> = distance_transform(&mask, spacing);
    let expected = case.expected("distance");
    assert_eq!(distance.shape, volume_shape(&expected.shape));
    case.check_values("distance", &distance.voxels, &expected.to_f64());
    let single: Volume<f32> = distance_transform(&mask, spacing);
    for (single, double) in single.voxels.iter().zip(&distance.voxels) {
        assert!((f64::from(*single) - double).abs() <= 1e-6 * double);
    }
}

fn check_footprints(case: &Case) {
    case.only_params(&[]);
    for name in case.expected_arrays() {
        let (kind, radius) = name.split_once('_').unwrap();
        let radius = radius.parse().unwrap();
        let footprint = match kind {
            "ball" => Footprint::ball(radius),
            "disk" => Footprint::disk(radius),
            other => panic!("unknown footprint {other}"),
        };
        check_mask(case, &name, &footprint.mask());
    }
}

fn check_label_steps(case: &Case) {
    case.only_params(&["max_size", "min_z", "hole_area"]);
    let parameter = |name: &str| case.param(name).as_u64().unwrap() as usize;
    let whole = labels(&case.input("labels"));
    let with_holes = labels(&case.input("labels_with_holes"));
    for name in case.expected_arrays() {
        let found = match name.as_str() {
            "remove_large_objects" => remove_large_objects(&whole, parameter("max_size")),
            "remove_touching_objects" => remove_touching_objects(&whole),
            "remove_thin_objects" => remove_thin_objects(&whole, parameter("min_z")),
            "fill_label_holes" => fill_object_holes(&with_holes),
            "fill_holes_slicer" => fill_object_holes_in_planes(&with_holes, parameter("hole_area")),
            other => panic!("unknown step {other}"),
        };
        check_labels(case, &name, &found);
    }
}

fn check_components(case: &Case) {
    case.only_params(&["connectivity"]);
    let connectivity = connectivity(case.param("connectivity"));
    let binary = components(&mask(&case.input("binary")), connectivity);
    let multi = components(&labels(&case.input("multi")), connectivity);
    for (name, found) in [("binary", binary), ("multi", multi)] {
        check_labels(case, &format!("labels_{name}"), &found);
        let count = found.voxels.iter().max().unwrap();
        assert_eq!(case.scalar(&format!("n_{name}")).as_u64(), Some(u64::from(*count)));
    }
}

fn check_median(case: &Case) {
    case.only_params(&["radius", "size", "mode", "cval"]);
    let image = volume_f32(&case.input("image"));
    let is_plane = case.input("image").shape.len() == 2;
    let footprint = match (case.param("radius").as_u64(), case.param("size")) {
        (Some(radius), Value::Null) if is_plane => Footprint::disk(radius as usize),
        (Some(radius), Value::Null) => Footprint::ball(radius as usize),
        (None, Value::Array(sizes)) => {
            let size = |i: usize| sizes[i].as_u64().unwrap() as usize;
            Footprint::cuboid([size(0), size(1), size(2)])
        }
        (None, size) => {
            let size = size.as_u64().unwrap() as usize;
            Footprint::cuboid([if is_plane { 1 } else { size }, size, size])
        }
        other => panic!("radius and size are {other:?}"),
    };
    let border = match case.param("mode").as_str().unwrap() {
        "nearest" => Border::Nearest,
        "reflect" => Border::Reflect,
        "mirror" => Border::Mirror,
        "constant" => Border::Constant(number(case.param("cval"))),
        other => panic!("unknown mode {other}"),
    };
    check_f32(case, "filtered", &median(&image, &footprint, border));
}

fn check_peaks(case: &Case) {
    let known = ["min_distance", "threshold_abs", "threshold_rel", "exclude_border", "footprint"];
    case.only_params(&known);
    let image = volume_f32(&case.input("image"));
    let min_distance = case.param("min_distance").as_u64().unwrap_or(1) as usize;
    let footprint = if case.param("footprint").is_null() {
        Footprint::cuboid([2 * min_distance + 1; 3])
    } else {
        let given = mask(&case.input("footprint"));
        let ball = Footprint::ball(given.shape[0] / 2);
        assert_eq!(ball.mask(), given, "a footprint that is no ball");
        ball
    };
    let margin = match case.param("exclude_border") {
        Value::Null | Value::Bool(true) => min_distance,
        Value::Bool(false) => 0,
        width => width.as_u64().unwrap() as usize,
    };
    let option = |name: &str| case.param(name).as_f64().map(|value| value as f32);
    let options = Peaks {
        footprint,
        threshold: option("threshold_abs"),
        relative_threshold: option("threshold_rel"),
        min_distance,
        margin,
    };
    let peaks = if case.json["inputs"]["labels"].is_null() {
        local_maxima(&image, &options)
    } else {
        local_maxima_in(&image, &labels(&case.input("labels")), &options)
    };
    // The same order, too: the kind is set, ours is a list.
    assert_eq!(case.tolerance("coordinates")["kind"], "set");
    let found: Vec<f64> = peaks.iter().flatten().map(|index| *index as f64).collect();
    assert_eq!(found, case.expected("coordinates").to_f64());
    case.check_scalar("n", peaks.len() as f64);
}

fn check_h_maxima(case: &Case) {
    case.only_params(&["connectivity", "heights"]);
    let connectivity = connectivity(case.param("connectivity"));
    let mut names = Vec::new();
    for (input, heights) in case.param("heights").as_object().unwrap() {
        let volume = volume_f32(&case.input(input));
        let mut check = |name: String, height: f64| {
            check_mask(case, &name, &h_maxima(&volume, height, connectivity));
            names.push(name);
        };
        for (i, height) in heights.as_array().unwrap().iter().enumerate() {
            check(format!("{input}_{i}"), number(height));
        }
        check(format!("{input}_local"), 0.0);
    }
    names.sort_unstable();
    let mut expected = case.expected_arrays();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

fn check_small_holes(case: &Case) {
    case.only_params(&["max_size", "connectivity"]);
    let mask = mask(&case.input("mask"));
    let max_size = case.param("max_size").as_u64().unwrap() as usize;
    let filled = fill_small_holes(&mask, max_size + 1, connectivity(case.param("connectivity")));
    check_mask(case, "filled", &filled);
    let new = filled.voxels.iter().zip(&mask.voxels).filter(|(a, b)| a != b).count();
    assert_eq!(case.scalar("voxels_filled").as_u64(), Some(new as u64));
}

fn check_small_objects(case: &Case) {
    case.only_params(&["max_size", "equivalent_min_size", "connectivity_for_mask"]);
    let min_size = case.param("max_size").as_u64().unwrap() as usize + 1;
    let kept = remove_small_objects(&labels(&case.input("labels")), min_size);
    check_labels(case, "labels_kept", &kept);
    let connectivity = connectivity(case.param("connectivity_for_mask"));
    let kept = remove_small_components(&mask(&case.input("mask")), min_size, connectivity);
    check_mask(case, "mask_kept", &kept);
}

fn check_split(case: &Case) {
    case.only_params(&["ball_size", "dilate_seeds"]);
    let options = Watershed {
        ball_radius: case.param("ball_size").as_u64().unwrap() as usize,
        seed_dilation: usize::from(case.param("dilate_seeds").as_bool().unwrap()),
        ..Watershed::default()
    };
    let found = split(&mask(&case.input("mask")), &options);
    check_exact_labels(case, &found);
}

fn check_watershed(case: &Case) {
    case.only_params(&["connectivity", "compactness"]);
    assert_eq!(number(case.param("compactness")), 0.0, "compact watershed");
    let image = volume_f32(&case.input("image"));
    let markers = labels(&case.input("markers"));
    let mask = (!case.json["inputs"]["mask"].is_null()).then(|| mask(&case.input("mask")));
    let connectivity = connectivity(case.param("connectivity"));
    check_exact_labels(case, &watershed(&image, &markers, mask.as_ref(), connectivity));
}

/// Stage by stage, each on our own result of the stage before.
fn check_pipeline(case: &Case) {
    let known = [
        "q",
        "downscale",
        "xy_only",
        "median",
        "clip",
        "hole",
        "ball",
        "dilate",
        "min_obj",
        "max_obj",
        "border",
        "max_hole",
    ];
    case.only_params(&known);
    let size = |name: &str| case.param(name).as_u64().unwrap() as usize;
    let image = volume_f32(&case.input("image"));
    let percents = [number(&case.param("q")[0]), number(&case.param("q")[1])];
    check_list(case, "normalize_low_high", &percentiles(&image, &percents));
    let stretched = stretch(&image, percents);
    let low = stretched.voxels.iter().fold(f32::INFINITY, |a, b| a.min(*b));
    let high = stretched.voxels.iter().fold(0.0_f32, |a, b| a.max(*b));
    let sum: f64 = stretched.voxels.iter().map(|v| f64::from(*v)).sum();
    let mean = sum / stretched.voxels.len() as f64;
    check_list(case, "normalized_min_max_mean", &[low.into(), high.into(), mean]);
    let factor = number(case.param("downscale"));
    let z_factor = if case.param("xy_only").as_bool().unwrap() { 1.0 } else { factor };
    let small = rescale(&stretched, [z_factor, factor, factor], &Resize::default());
    let smooth = median_cube(&small, size("median"));
    check_f32(case, "downscaled_median", &smooth);
    let tile = [smooth.shape[0] / 2, smooth.shape[1] / 3, smooth.shape[2] / 5];
    let clip_limit = number(case.param("clip"));
    let equalised = clahe(smooth, &Clahe { tile: Some(tile), clip_limit, ..Clahe::default() });
    check_f32(case, "clahe", &equalised);
    let threshold = otsu_threshold(&equalised, Bins::Count(256));
    case.check_scalar("otsu", threshold);
    let above = equalised.map(|voxel| f64::from(*voxel) > threshold);
    let binary = fill_small_holes(&above, size("hole"), Connectivity::Faces);
    check_mask(case, "binary", &binary);
    let options = Watershed {
        ball_radius: size("ball"),
        seed_dilation: usize::from(case.param("dilate").as_bool().unwrap()),
        cleanup: Cleanup {
            min_object_voxels: size("min_obj"),
            max_object_voxels: size("max_obj"),
            clear_border: true,
            border_buffer_voxels: size("border"),
            hole_voxels: size("max_hole"),
        },
        ..Watershed::default()
    };
    let objects = split(&binary, &options);
    check_labels(case, "watershed", &objects);
    let count = |labels: &Volume<u32>| f64::from(*labels.voxels.iter().max().unwrap());
    assert_eq!(count(&objects), number(case.scalar("n_watershed")));
    let cleaned = cleanup(&objects, &options.cleanup);
    check_labels(case, "labels", &cleaned);
    case.check_scalar("n_final", count(&cleaned));
}

fn check_list(case: &Case, name: &str, found: &[f64]) {
    let expected: Vec<f64> = case.scalar(name).as_array().unwrap().iter().map(number).collect();
    case.check_values(name, found, &expected);
}

fn check_f32(case: &Case, name: &str, found: &Volume<f32>) {
    let voxels: Vec<f64> = found.voxels.iter().map(|v| f64::from(*v)).collect();
    check_shaped(case, name, found.shape, &voxels);
}

fn check_mask(case: &Case, name: &str, found: &Volume<bool>) {
    let voxels: Vec<f64> = found.voxels.iter().map(|v| f64::from(u8::from(*v))).collect();
    check_shaped(case, name, found.shape, &voxels);
}

fn check_labels(case: &Case, name: &str, found: &Volume<u32>) {
    let voxels: Vec<f64> = found.voxels.iter().map(|v| f64::from(*v)).collect();
    check_shaped(case, name, found.shape, &voxels);
}

fn check_shaped(case: &Case, name: &str, shape: Shape, voxels: &[f64]) {
    let expected = case.expected(name);
    assert_eq!(shape, volume_shape(&expected.shape), "{}: shape of {name}", case.name());
    case.check_values(name, voxels, &expected.to_f64());
}

/// The very labels of the reference, to the voxel.
fn check_exact_labels(case: &Case, found: &Volume<u32>) {
    let tolerance = case.tolerance("labels");
    assert_eq!(tolerance["kind"], "label_agreement");
    assert_eq!(tolerance["ideal"], "exact");
    assert!(*found == labels(&case.expected("labels")), "{}: labels differ", case.name());
    // The largest label, be all smaller ones there or not.
    let largest = found.voxels.iter().max().unwrap();
    assert_eq!(case.scalar("n").as_u64(), Some(u64::from(*largest)), "{}: n", case.name());
}

fn connectivity(value: &Value) -> Connectivity {
    match value.as_u64() {
        Some(1) => Connectivity::Faces,
        Some(2) => Connectivity::Edges,
        Some(3) => Connectivity::Corners,
        _ => panic!("unknown connectivity {value}"),
    }
}

fn volume_f32(array: &Array) -> Volume<f32> {
    Volume::new(volume_shape(&array.shape), array.to_f32())
}

fn labels(array: &Array) -> Volume<u32> {
    assert!(array.is_integer(), "labels of {}", array.dtype());
    let voxels = array.to_f64().into_iter().map(|label| label as u32).collect();
    Volume::new(volume_shape(&array.shape), voxels)
}

fn mask(array: &Array) -> Volume<bool> {
    labels(array).map(|voxel| *voxel != 0)
}

/// Planes are volumes of one plane.
fn volume_shape(lengths: &[usize]) -> Shape {
    let mut shape = [1; 3];
    shape[3 - lengths.len()..].copy_from_slice(lengths);
    shape
}
