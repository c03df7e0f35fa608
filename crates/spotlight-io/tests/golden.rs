//! The reference vectors of topic io: files that tifffile wrote, and stores of zarr-python and
//! ome-zarr-py.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use serde_json::Value;
use spotlight_golden::{Array, Case, Elements, number, run_topic};
use spotlight_image::grid::Region;
use spotlight_io::{
    ArrayData, ByteOrder, Channel, Image, ImageInfo, Selection, Storage, Voxels, inspect,
    read_array, read_stack,
};

const TIFFFILE: &str = "tifffile.imwrite / TiffWriter";

#[test]
fn golden_io() {
    run_topic(
        "io",
        |case| if case.is_by("tifffile") { check_tiff(case) } else { check_zarr(case) },
    );
}

/// An image or an array of Zarr, its levels, its metadata and every stack of it.
fn check_zarr(case: &Case) {
    case.only_params(&["codec", "fill_value", "ome_zarr_version", "separator", "zarr_format"]);
    let files: Vec<&String> = case.json["files"].as_object().unwrap().keys().collect();
    let [file] = files.as_slice() else { panic!("{}: one store", case.name()) };
    let path = case.folder.join(file);
    let paths = case.scalar("dataset_paths").as_array().cloned().unwrap_or_default();
    for name in case.expected_arrays() {
        // A level is read as the array that it is; the first one as the image, too.
        let level = name.strip_prefix("level_").map(|level| level.parse::<usize>().unwrap());
        let array = level.map_or(path.clone(), |level| path.join(paths[level].as_str().unwrap()));
        check_zarr_array(case, &name, &read_array(&array, 0).unwrap());
    }
    let info = inspect(&path).unwrap();
    let whole = read_array(&path, 0).unwrap();
    let first = if paths.is_empty() { "array" } else { "level_0" };
    check_zarr_array(case, first, &whole);
    check_stacks(&path, &info, &whole);
    if !paths.is_empty() {
        check_ome_zarr(case, &info);
    }
    let said = info.warnings.iter().any(|warning| warning.contains("without OME-Zarr metadata"));
    assert_eq!(said, paths.is_empty(), "{:?}", info.warnings);
}

fn check_zarr_array(case: &Case, name: &str, found: &ArrayData) {
    let expected = case.expected(name);
    assert_eq!(case.tolerance(name)["kind"], "exact");
    assert_eq!(found.shape, expected.shape, "{}: {name}", case.name());
    let dtype = &case.json["expected"]["arrays"][name]["dtype"];
    assert_eq!(dtype, found.voxels.sample_type().name(), "{}: {name}", case.name());
    assert!(bits(&found.voxels) == bits_of(&expected), "{}: {name} differs", case.name());
}

fn check_ome_zarr(case: &Case, info: &ImageInfo) {
    let numbers = |value: &Value| -> Vec<usize> { serde_json::from_value(value.clone()).unwrap() };
    let version = case.param("ome_zarr_version").as_str().unwrap();
    assert_eq!(info.format, format!("OME-Zarr {version}"));
    assert_eq!(info.axes.to_lowercase(), case.scalar("axes").as_str().unwrap());
    assert_eq!(info.shape, numbers(case.scalar("shape")));
    assert_eq!(case.scalar("n_levels"), info.levels);
    assert_eq!(case.scalar("dtype"), info.sample_type.name());
    let codec = case.param("codec").as_str().unwrap();
    let compression = info.compression.split([' ', '(']).next().unwrap();
    assert!(codec.contains(compression), "{codec}: {compression}");
    let Storage::Zarr { version, chunk, shard } = &info.storage else { panic!("a Zarr store") };
    assert_eq!(*version, if info.format.ends_with("0.5") { 3 } else { 2 });
    assert_eq!(*chunk, numbers(&case.scalar("chunks")[0]));
    let shards = &case.scalar("shards")[0];
    assert_eq!(*shard, (!shards.is_null()).then(|| numbers(shards)));
    for (axis, scale) in info.axes.chars().zip(case.scalar("scales")[0].as_array().unwrap()) {
        if let Some(place) = "ZYX".find(axis) {
            close(info.partial_spacing_um[place], number(scale));
        }
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
