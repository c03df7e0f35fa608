//! The reference vectors of scikit-image and SciPy, `testdata/golden/{otsu,resize}`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use spotlight_golden::{Array, Case, Elements, run_topic};
use spotlight_image::foreground::{Bins, otsu_threshold};
use spotlight_image::resample::{
    Alignment, Order, Resize, Zoom, rescale_shape, resize, zoom_shape, zoom_with,
};
use spotlight_image::{Border, Shape, Volume, Voxel};

/// Calls a function with the volume of an array, whatever its voxels are.
macro_rules! with_volume {
    ($array:expr, $function:ident($($argument:expr),*)) => {{
        let array: &Array = $array;
        let shape = volume_shape(&array.shape);
        macro_rules! call {
            ($voxels:expr) => {
                $function(&Volume::new(shape, $voxels.clone()), $($argument),*)
            };
        }
        match &array.elements {
            Elements::U8(v) => call!(v),
            Elements::I8(v) => call!(v),
            Elements::U16(v) => call!(v),
            Elements::I16(v) => call!(v),
            Elements::U32(v) => call!(v),
            Elements::I32(v) => call!(v),
            Elements::F32(v) => call!(v),
            Elements::F64(v) => call!(v),
            _ => panic!("no volumes of {}", array.dtype()),
        }
    }};
}

#[test]
fn golden_otsu() {
    run_topic("otsu", |case| {
        for function in case.functions() {
            let known = ["skimage.filters.threshold_otsu", "viscy_utils.losses.spotlight."];
            assert!(known.iter().any(|k| function.starts_with(k)), "unknown function {function}");
        }
        assert!(case.is_by("skimage.filters.threshold_otsu"));
        case.only_params(&["nbins"]);
        with_volume!(&case.input("image"), check_otsu(case));
    });
}

fn check_otsu<T: Voxel>(image: &Volume<T>, case: &Case) {
    let count = case.param("nbins").as_u64().unwrap_or(256) as usize;
    let bins = if T::WHOLE { Bins::Integers } else { Bins::Count(count) };
    let threshold = otsu_threshold(image, bins);
    case.check_scalar("threshold", threshold);
    let n = image.voxels.len() as f64;
    case.check_scalar("n", n);
    let number_of = |inside: &dyn Fn(f64) -> bool| {
        image.voxels.iter().filter(|v| inside(v.to_f64())).count() as f64
    };
    let counts = [("ge", number_of(&|v| v >= threshold)), ("gt", number_of(&|v| v > threshold))];
    for (name, found) in counts {
        if threshold == spotlight_golden::number(case.scalar("threshold")) {
            case.check_scalar(&format!("count_{name}"), found);
            case.check_scalar(&format!("fraction_{name}"), found / n);
        } else {
            let range = case.scalar("count_range");
            let (low, high) =
                (spotlight_golden::number(&range[0]), spotlight_golden::number(&range[1]));
            assert!((low..=high).contains(&found), "{found} voxels {name} {threshold}");
        }
    }
    let mask = spotlight_image::foreground::mask(image, threshold);
    assert_eq!(mask.voxels.iter().filter(|v| **v).count() as f64, counts[0].1);
}

#[test]
fn golden_resize() {
    run_topic("resize", |case| {
        let functions = case.functions();
        let short: Vec<&str> =
            functions.iter().filter_map(|f| f.split([' ', '(']).next()).collect();
        let x = case.input("x");
        match short.as_slice() {
            ["scipy.ndimage.zoom"] | ["scipy.ndimage.zoom", "fnet.transforms.Resizer"] => {
                with_volume!(&x, check_zoom(case, x.shape.len()));
            }
            ["skimage.transform.rescale"] | ["skimage.transform.resize"] => {
                check_resize(case, &x);
            }
            other => panic!("{}: unknown functions {other:?}", case.name()),
        }
    });
}

fn check_zoom<T: Voxel>(x: &Volume<T>, case: &Case, dimensions: usize) {
    let known = ["zoom", "order", "mode", "cval", "prefilter", "grid_mode", "output_shape"];
    case.only_params(&known);
    let order = order(case, 3);
    let prefilter = flag(case, "prefilter", true);
    assert!(prefilter || order != Order::Cubic, "cubic zoom without prefilter");
    let factors = factors(case, "zoom", dimensions);
    let alignment =
        if flag(case, "grid_mode", false) { Alignment::Faces } else { Alignment::Centres };
    let border = match text(case, "mode", "constant").as_str() {
        "nearest" => Border::Nearest,
        "mirror" => Border::Mirror,
        "reflect" | "grid-mirror" => Border::Reflect,
        "constant" => Border::Cutoff(constant(case)),
        "grid-constant" => Border::Constant(constant(case)),
        other => panic!("unknown mode {other}"),
    };
    let shape = zoom_shape(x.shape, factors);
    let y = zoom_with(x, shape, &Zoom { order, border, alignment });
    check_result(case, &y, dimensions);
}

fn check_resize(case: &Case, x: &Array) {
    let known = [
        "scale",
        "output_shape_arg",
        "output_shape",
        "order",
        "mode",
        "cval",
        "clip",
        "preserve_range",
        "anti_aliasing",
    ];
    case.only_params(&known);
    let order = order(case, 1);
    // Whole numbers become floats unless no arithmetic is done on them.
    let preserve_range = flag(case, "preserve_range", false);
    if order == Order::Nearest || !x.is_integer() {
        with_volume!(x, check_resize_of(case, order, x));
    } else {
        let scale = if preserve_range { 1.0 } else { dtype_maximum(x) };
        let voxels = x.to_f64().iter().map(|v| v / scale).collect();
        check_resize_of(&Volume::new(volume_shape(&x.shape), voxels), case, order, x);
    }
}

fn check_resize_of<T: Voxel>(image: &Volume<T>, case: &Case, order: Order, x: &Array) {
    let dimensions = x.shape.len();
    let shape = match (case.param("scale").is_null(), case.param("output_shape_arg").as_array()) {
        (false, None) => rescale_shape(image.shape, factors(case, "scale", dimensions)),
        (true, Some(lengths)) => {
            let lengths: Vec<usize> =
                lengths.iter().map(|n| n.as_u64().unwrap() as usize).collect();
            volume_shape(&lengths)
        }
        _ => panic!("neither scale nor output_shape_arg alone"),
    };
    let shrinks = shape.iter().zip(&image.shape).any(|(new, old)| new < old);
    let by_default = shrinks && !(x.is_integer() && order == Order::Nearest);
    let anti_aliasing = flag(case, "anti_aliasing", by_default);
    assert!(!(anti_aliasing && T::WHOLE), "anti-aliasing of labels");
    let border = match text(case, "mode", "reflect").as_str() {
        "reflect" => Border::Mirror,
        "symmetric" => Border::Reflect,
        "edge" => Border::Nearest,
        "constant" => Border::Constant(constant(case)),
        other => panic!("unknown mode {other}"),
    };
    let options = Resize { order, border, anti_aliasing, clip: flag(case, "clip", true) };
    check_result(case, &resize(image, shape, &options), dimensions);
}

fn check_result<T: Voxel>(case: &Case, y: &Volume<T>, dimensions: usize) {
    let shape = &y.shape[3 - dimensions..];
    let found: Vec<f64> = y.voxels.iter().map(|v| v.to_f64()).collect();
    case.check_array("y", shape, &found);
    for name in case.expected_scalars() {
        assert_eq!(name, "output_shape", "unknown scalar");
        let expected = case.scalar(&name).as_array().unwrap().iter();
        let expected: Vec<u64> = expected.map(|n| n.as_u64().unwrap()).collect();
        assert_eq!(shape.iter().map(|n| *n as u64).collect::<Vec<_>>(), expected);
    }
}

/// Planes are volumes of one plane, rows volumes of one row.
fn volume_shape(lengths: &[usize]) -> Shape {
    assert!(lengths.len() <= 3, "too many axes: {lengths:?}");
    let mut shape = [1; 3];
    shape[3 - lengths.len()..].copy_from_slice(lengths);
    shape
}

/// A factor for each axis, or one for all.
fn factors(case: &Case, name: &str, dimensions: usize) -> [f64; 3] {
    let value = case.param(name);
    let mut given: Vec<f64> = match value.as_array() {
        Some(list) => list.iter().map(spotlight_golden::number).collect(),
        None => vec![spotlight_golden::number(value)],
    };
    if given.len() == 1 {
        given = vec![given[0]; dimensions];
    }
    assert_eq!(given.len(), dimensions, "factors for another number of axes");
    let mut factors = [1.0; 3];
    factors[3 - dimensions..].copy_from_slice(&given);
    factors
}

fn order(case: &Case, default: u64) -> Order {
    let value = case.param("order");
    match if value.is_null() { default } else { value.as_u64().unwrap() } {
        0 => Order::Nearest,
        1 => Order::Linear,
        3 => Order::Cubic,
        other => panic!("unknown order {other}"),
    }
}

fn flag(case: &Case, name: &str, default: bool) -> bool {
    let value = case.param(name);
    if value.is_null() { default } else { value.as_bool().unwrap() }
}

fn text(case: &Case, name: &str, default: &str) -> String {
    let value = case.param(name);
    if value.is_null() { default.to_owned() } else { value.as_str().unwrap().to_owned() }
}

fn constant(case: &Case) -> f64 {
    let value = case.param("cval");
    if value.is_null() { 0.0 } else { spotlight_golden::number(value) }
}

/// What scikit-image divides whole numbers by to make floats of them.
fn dtype_maximum(x: &Array) -> f64 {
    match x.dtype() {
        "uint8" => f64::from(u8::MAX),
        "uint16" => f64::from(u16::MAX),
        "uint32" => f64::from(u32::MAX),
        other => panic!("no scale for {other}"),
    }
}
