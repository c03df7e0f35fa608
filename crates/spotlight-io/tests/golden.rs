//! The reference vectors of topic io: files that tifffile wrote.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

use serde_json::Value;
use spotlight_golden::{Array, Case, Elements, cases, number, run_selected};
use spotlight_image::grid::Region;
use spotlight_io::{
    ArrayData, ByteOrder, Channel, Image, ImageInfo, Selection, Storage, Voxels, inspect,
    read_array, read_stack,
};

const TIFFFILE: &str = "tifffile.imwrite / TiffWriter";

#[test]
fn golden_io() {
    let others = cases("io").iter().filter(|case| !case.is_by("tifffile")).count();
    run_selected("io", |case| case.is_by("tifffile"), check_tiff);
    if others > 0 {
        println!("golden io: {others} cases of formats that are not read yet");
    }
}

fn check_tiff(case: &Case) {
    assert!(case.functions().iter().all(|f| f == TIFFFILE), "{:?}", case.functions());
    let known = [
        "imagej",
        "resolution",
        "no_metadata",
        "bigtiff",
        "tile",
        "photometric",
        "ome",
        "compression",
        "predictor",
        "byteorder",
        "rowsperstrip",
        "subresolutions",
        "planarconfig",
        "metadata",
        "resolutionunit",
        "extrasamples",
        "compressionargs",
        "contiguous",
        "truncate",
        "volumetric",
        "subifds",
        "align",
    ];
    for name in case.json["params"].as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{}: parameter {name}", case.name());
    }
    let files = case.json["files"].as_object().unwrap();
    let tiffs = files.iter().filter(|(_, file)| file["kind"] == "tiff");
    let tiffs: Vec<_> = tiffs.map(|(name, _)| case.folder.join(name)).collect();
    assert!(!tiffs.is_empty());
    for path in tiffs {
        let found = read_array(&path, 0).unwrap_or_else(|error| panic!("{error}"));
        check_array(case, &found);
        let info = inspect(&path).unwrap();
        check_facts(case, &info);
        check_metadata(case, &info);
        check_stacks(&path, &info, &found);
    }
    for name in case.expected_arrays() {
        assert!(name == "array" || name.starts_with("level_"), "{}: array {name}", case.name());
    }
}

fn check_array(case: &Case, found: &ArrayData) {
    let expected = case.expected("array");
    let no_axes = case.param("no_metadata").as_bool() == Some(true);
    if no_axes {
        // The file holds planes and no word about the axes before them.
        let plane = if found.axes.contains('S') { 3 } else { 2 };
        let fold = |shape: &[usize]| {
            let cut = shape.len().saturating_sub(plane);
            (shape[..cut].iter().product::<usize>(), shape[cut..].to_vec())
        };
        assert_eq!(fold(&found.shape), fold(&expected.shape), "{}", case.name());
    } else {
        assert_eq!(found.shape, expected.shape, "{}", case.name());
    }
    let axes = case.scalar("axes").as_str().unwrap();
    if !no_axes || axes.len() == found.axes.len() {
        assert_eq!(found.axes, axes, "{}", case.name());
    }
    let dtype = match case.scalar("dtype").as_str().unwrap() {
        "float16" => "float32",
        "bool" => "uint8",
        other => other,
    };
    assert_eq!(found.voxels.sample_type().name(), dtype, "{}", case.name());
    assert_eq!(case.tolerance("array")["kind"], "exact");
    assert!(bits(&found.voxels) == bits_of(&expected), "{}: values differ", case.name());
}

fn check_facts(case: &Case, info: &ImageInfo) {
    let expected = |name: &str| case.scalar(name).clone();
    let order = if info.byte_order == ByteOrder::Little { "<" } else { ">" };
    assert_eq!(expected("byteorder"), order);
    let Storage::Tiff { pages, big, predictor, tile } = info.storage else { panic!("a TIFF") };
    assert_eq!(expected("is_bigtiff"), big);
    assert_eq!(expected("n_pages"), pages);
    assert_eq!(expected("n_series"), info.series.len());
    assert_eq!(expected("levels"), info.levels);
    assert_eq!(expected("predictor_tag"), predictor);
    assert_eq!(expected("is_tiled"), tile.is_some());
    let compression = match expected("compression_tag").as_u64().unwrap() {
        1 => "none",
        5 => "LZW",
        8 | 32_946 => "deflate",
        32_773 => "PackBits",
        50_000 | 34_926 => "zstd",
        other => panic!("{}: compression {other}", case.name()),
    };
    assert_eq!(info.compression, compression);
}

fn check_metadata(case: &Case, info: &ImageInfo) {
    let metadata = case.scalar("metadata");
    let spacing = |axis: usize| info.partial_spacing_um[axis];
    for (axis, letter) in ["Z", "Y", "X"].into_iter().enumerate() {
        let size = &metadata[format!("PhysicalSize{letter}")];
        if !size.is_null() {
            let um = match metadata[format!("PhysicalSize{letter}Unit")].as_str() {
                None | Some("µm") => 1.0,
                Some("nm") => 1e-3,
                Some("mm") => 1e3,
                Some(other) => panic!("{}: unit {other}", case.name()),
            };
            close(spacing(axis), number(size) * um);
        }
    }
    if case.param("imagej").as_bool() == Some(true) && !metadata["unit"].is_null() {
        let um = match metadata["unit"].as_str().unwrap() {
            "um" | "micron" | "µm" | "\\u00B5m" => 1.0,
            "nm" => 1e-3,
            "mm" => 1e3,
            other => panic!("{}: unit {other}", case.name()),
        };
        if !metadata["spacing"].is_null() {
            close(spacing(0), number(&metadata["spacing"]) * um);
        }
        if let Some(resolution) = case.param("resolution").as_array() {
            close(spacing(2), um / number(&resolution[0]));
            close(spacing(1), um / number(&resolution[1]));
        }
    }
    if let Some(names) = metadata["Channel"]["Name"].as_array() {
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        assert_eq!(info.channel_names, names);
    }
}

#[track_caller]
fn close(found: Option<f64>, expected: f64) {
    let found = found.expect("the file gives a voxel size");
    assert!((found / expected - 1.0).abs() < 1e-6, "found {found}, expected {expected}");
}

/// Every z-stack, read by itself, must be the part of the whole array that it is.
fn check_stacks(path: &std::path::Path, info: &ImageInfo, whole: &ArrayData) {
    let unknown = whole.axes.chars().filter(|axis| !"TCZYXS".contains(*axis)).count();
    if unknown > 1 || (unknown == 1 && whole.axes.contains('Z')) {
        let refused = read_stack(path, &Selection::default());
        assert!(refused.is_err() || whole.shape.iter().filter(|n| **n > 1).count() <= 3);
        return;
    }
    let values = whole.voxels.to_f64().voxels;
    let length = |axis: char| whole.axes.find(axis).map_or(1, |at| whole.shape[at]);
    for time in 0..info.times {
        for channel in 0..info.channel_names.len() {
            let wanted = Selection { channel: Some(Channel::Index(channel)), time, series: 0 };
            let stack = read_stack(path, &wanted).unwrap();
            let sample = (channel % length('S'), channel / length('S'));
            let expected = values.iter().enumerate().filter_map(|(at, value)| {
                let mut rest = at;
                let axes = whole.axes.chars().rev().zip(whole.shape.iter().rev());
                let inside = axes.map(|(axis, length)| {
                    let index = rest % length;
                    rest /= length;
                    match axis {
                        'S' => index == sample.0,
                        'C' => index == sample.1,
                        'T' => index == time,
                        _ => true,
                    }
                });
                inside.collect::<Vec<_>>().into_iter().all(|fits| fits).then_some(*value)
            });
            let expected: Vec<u64> = expected.map(f64::to_bits).collect();
            let found: Vec<u64> =
                stack.voxels.to_f64().voxels.into_iter().map(f64::to_bits).collect();
            assert!(found == expected, "channel {channel} at time {time}");
            assert_eq!(stack.spacing_um, info.spacing_um);
            check_box(path, &wanted, &stack.voxels);
        }
    }
}

/// A box, read by itself, must be that part of its stack.
fn check_box(path: &std::path::Path, wanted: &Selection, whole: &Voxels) {
    let shape = whole.shape();
    let start = shape.map(|length| length / 3);
    let shape = std::array::from_fn(|axis| (shape[axis] - start[axis]).div_ceil(2));
    let region = Region { start, shape };
    let part = Image::open(path).unwrap().stack(wanted).unwrap().read(region).unwrap();
    assert_eq!(part.sample_type(), whole.sample_type());
    let expected = Voxels::from(whole.to_f64().crop(region));
    assert!(bits(&Voxels::from(part.to_f64())) == bits(&expected), "{region:?} of {wanted:?}");
}

/// The bits of every number, so that NaN compares.
fn bits(voxels: &Voxels) -> Vec<u64> {
    match voxels {
        Voxels::U8(v) => v.voxels.iter().map(|x| u64::from(*x)).collect(),
        Voxels::I8(v) => v.voxels.iter().map(|x| *x as u64).collect(),
        Voxels::U16(v) => v.voxels.iter().map(|x| u64::from(*x)).collect(),
        Voxels::I16(v) => v.voxels.iter().map(|x| *x as u64).collect(),
        Voxels::U32(v) => v.voxels.iter().map(|x| u64::from(*x)).collect(),
        Voxels::I32(v) => v.voxels.iter().map(|x| *x as u64).collect(),
        Voxels::F32(v) => v.voxels.iter().map(|x| u64::from(x.to_bits())).collect(),
        Voxels::F64(v) => v.voxels.iter().map(|x| x.to_bits()).collect(),
    }
}

fn bits_of(array: &Array) -> Vec<u64> {
    match &array.elements {
        Elements::Bool(v) => v.iter().map(|x| u64::from(*x)).collect(),
        Elements::U8(v) => v.iter().map(|x| u64::from(*x)).collect(),
        Elements::I8(v) => v.iter().map(|x| *x as u64).collect(),
        Elements::U16(v) => v.iter().map(|x| u64::from(*x)).collect(),
        Elements::I16(v) => v.iter().map(|x| *x as u64).collect(),
        Elements::U32(v) => v.iter().map(|x| u64::from(*x)).collect(),
        Elements::I32(v) => v.iter().map(|x| *x as u64).collect(),
        Elements::F32(v) => v.iter().map(|x| u64::from(x.to_bits())).collect(),
        Elements::F64(v) => v.iter().map(|x| x.to_bits()).collect(),
        other => panic!("elements {other:?}"),
    }
}
