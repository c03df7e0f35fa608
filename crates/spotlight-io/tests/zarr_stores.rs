//! Zarr stores made here: axes, types, layouts, and every kind of damage.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spotlight_image::grid::Region;
use spotlight_io::{
    Channel, Error, Image, SampleType, Selection, Voxels, inspect, read_array, read_stack,
};
use tempfile::TempDir;

/// Writes a file and the folders above it.
fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn zarray(shape: &[u64], chunks: &[u64], dtype: &str) -> Value {
    json!({
        "zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": dtype, "order": "C",
        "compressor": null, "filters": null, "fill_value": 0, "dimension_separator": "/"
    })
}

/// Metadata of version 0.4 for an image with one array `0`.
fn multiscales(axes: &[&str], scale: &[f64], unit: Option<&str>) -> Value {
    let axis = |name: &&str| {
        let kind = match *name {
            "t" => "time",
            "c" => "channel",
            "x" | "y" | "z" => "space",
            _ => "custom",
        };
        let mut axis = json!({"name": name, "type": kind});
        if let Some(unit) = unit.filter(|_| kind == "space") {
            axis["unit"] = json!(unit);
        }
        axis
    };
    let axes: Vec<Value> = axes.iter().map(axis).collect();
    let steps = json!([{"type": "scale", "scale": scale}]);
    let levels = json!([{"path": "0", "coordinateTransformations": steps}]);
    json!({"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]})
}

/// An image of one chunk of bytes 0, 1, 2, ...
fn image(axes: &[&str], shape: &[u64], scale: &[f64], unit: Option<&str>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), ".zgroup", r#"{"zarr_format": 2}"#);
    put(folder.path(), ".zattrs", multiscales(axes, scale, unit).to_string());
    put(folder.path(), "0/.zarray", zarray(shape, shape, "|u1").to_string());
    let count: u64 = shape.iter().product();
    let name = vec!["0"; shape.len()].join("/");
    put(folder.path(), &format!("0/{name}"), (0..count).map(|n| n as u8).collect::<Vec<u8>>());
    folder
}

/// A plain array of one chunk, with some metadata changed.
fn array(shape: &[u64], dtype: &str, change: Value, chunk: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut metadata = zarray(shape, shape, dtype);
    for (key, value) in change.as_object().unwrap() {
        metadata[key] = value.clone();
    }
    put(folder.path(), ".zarray", metadata.to_string());
    put(folder.path(), &vec!["0"; shape.len()].join("/"), chunk);
    folder
}

fn numbers(path: &Path) -> Vec<f64> {
    read_array(path, 0).unwrap_or_else(|error| panic!("{error}")).voxels.to_f64().voxels
}

fn refusal(path: &Path) -> Error {
    let error = match inspect(path) {
        Err(error) => error,
        Ok(_) => read_array(path, 0).unwrap_err(),
    };
    let text = error.to_string();
    assert!(!text.contains('\n') && text.starts_with(path.to_str().unwrap()), "{text}");
    error
}

#[test]
fn axes_come_in_any_order() {
    let folder =
        image(&["x", "c", "z", "y"], &[2, 2, 3, 4], &[0.1, 1.0, 0.5, 0.2], Some("nanometer"));
    let info = inspect(folder.path()).unwrap();
    assert_eq!((info.axes.as_str(), info.shape), ("XCZY", vec![2, 2, 3, 4]));
    let [z, y, x] = info.spacing_um.unwrap();
    for (found, expected) in [(z, 5e-4), (y, 2e-4), (x, 1e-4)] {
        assert!((found / expected - 1.0).abs() < 1e-12, "{found}");
    }
    let selection = Selection { channel: Some(Channel::Index(1)), ..Selection::default() };
    let stack = read_stack(folder.path(), &selection).unwrap();
    let Voxels::U8(volume) = stack.voxels else { panic!("bytes") };
    assert_eq!(volume.shape, [3, 4, 2]);
    let expected = |[z, y, x]: [usize; 3]| (x * 24 + 12 + z * 4 + y) as u8;
    assert_eq!(volume, spotlight_image::Volume::from_fn([3, 4, 2], expected));
    let open = Image::open(folder.path()).unwrap().stack(&selection).unwrap();
    let region = Region { start: [1, 2, 1], shape: [2, 1, 1] };
    assert_eq!(open.read(region).unwrap(), Voxels::from(volume.crop(region)));
    assert_eq!(open.block(), [3, 4, 2]);
}

#[test]
fn a_plane_is_a_stack_of_one_plane() {
    let folder = image(&["y", "x"], &[2, 3], &[0.5, 0.5], Some("micrometer"));
    let stack = read_stack(folder.path(), &Selection::default()).unwrap();
    assert_eq!((stack.shape(), stack.spacing_um), ([1, 2, 3], None));
    let info = inspect(folder.path()).unwrap();
    assert_eq!(info.partial_spacing_um, [None, Some(0.5), Some(0.5)]);
}

#[test]
fn other_axes_must_have_length_1() {
    let one = image(&["modality", "y", "x"], &[1, 2, 3], &[1.0; 3], None);
    assert_eq!(read_stack(one.path(), &Selection::default()).unwrap().shape(), [1, 2, 3]);
    let two = image(&["modality", "y", "x"], &[2, 2, 3], &[1.0; 3], None);
    let text = refusal(two.path()).to_string();
    assert!(text.contains("\"modality\" of length 2"), "{text}");
}

#[test]
fn a_unit_that_is_left_out_counts_as_micrometre_where_the_scale_says_something() {
    let some = image(&["z", "y", "x"], &[1, 2, 3], &[0.5, 0.1, 0.1], None);
    let info = inspect(some.path()).unwrap();
    assert_eq!(info.spacing_um, Some([0.5, 0.1, 0.1]));
    assert!(info.warnings.iter().any(|w| w.contains("no unit")), "{:?}", info.warnings);
    let none = image(&["z", "y", "x"], &[1, 2, 3], &[1.0; 3], None);
    assert_eq!(inspect(none.path()).unwrap().spacing_um, None);
    let odd = image(&["z", "y", "x"], &[1, 2, 3], &[2.0; 3], Some("pixel"));
    assert_eq!(inspect(odd.path()).unwrap().spacing_um, None);
}

#[test]
fn labels_and_series_open_by_their_paths() {
    let folder = image(&["y", "x"], &[2, 3], &[1.0; 2], None);
    let labels = image(&["y", "x"], &[2, 2], &[1.0; 2], None);
    put(folder.path(), "labels/.zattrs", r#"{"labels": ["my nuclei"]}"#);
    put(folder.path(), "labels/.zgroup", r#"{"zarr_format": 2}"#);
    for file in [".zgroup", ".zattrs", "0/.zarray", "0/0/0"] {
        let bytes = fs::read(labels.path().join(file)).unwrap();
        put(folder.path(), &format!("labels/my nuclei/{file}"), bytes);
    }
    let inside = folder.path().join("labels/my nuclei");
    assert_eq!(inspect(&inside).unwrap().shape, [2, 2]);
    assert_eq!(inspect(&folder.path().join("labels")).unwrap().series, ["my nuclei"]);
    let outer = tempfile::tempdir().unwrap();
    put(
        outer.path(),
        "zarr.json",
        r#"{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}}"#,
    );
    for series in ["0", "1"] {
        for file in [".zgroup", ".zattrs", "0/.zarray", "0/0/0"] {
            let bytes = fs::read(labels.path().join(file)).unwrap();
            put(outer.path(), &format!("{series}/{file}"), bytes);
        }
    }
    assert_eq!(inspect(outer.path()).unwrap().series, ["0", "1"]);
    let refused = read_stack(outer.path(), &Selection { series: 2, ..Selection::default() });
    assert!(matches!(refused, Err(Error::Choice { .. })));
}

#[test]
fn a_plate_of_version_0_5_lists_the_fields_that_are_there() {
    let group = |ome: Value| {
        json!({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}).to_string()
    };
    let plate = tempfile::tempdir().unwrap();
    let wells = json!([{"path": "B/3"}, {"path": "C/4"}]);
    let ome = json!({"version": "0.5", "plate": {"wells": wells}});
    put(plate.path(), "zarr.json", group(ome.clone()));
    let fields = json!({"images": [{"path": "0"}, {"path": "1"}]});
    put(plate.path(), "B/3/zarr.json", group(json!({"version": "0.5", "well": fields})));
    let field = image(&["y", "x"], &[2, 3], &[1.0; 2], None);
    for file in [".zgroup", ".zattrs", "0/.zarray", "0/0/0"] {
        put(plate.path(), &format!("B/3/1/{file}"), fs::read(field.path().join(file)).unwrap());
    }
    // The first field is listed and not there: the plate opens, that field does not.
    let second = Selection { series: 1, ..Selection::default() };
    assert_eq!(read_stack(plate.path(), &second).unwrap().shape(), [1, 2, 3]);
    let text = refusal(plate.path()).to_string();
    assert!(text.contains("B/3/0") || text.contains("listed and not there"), "{text}");
    for file in [".zgroup", ".zattrs", "0/.zarray", "0/0/0"] {
        put(plate.path(), &format!("B/3/0/{file}"), fs::read(field.path().join(file)).unwrap());
    }
    let info = inspect(plate.path()).unwrap();
    assert_eq!(info.series, ["B/3/0", "B/3/1"]);
    assert!(info.warnings.iter().any(|w| w.contains("C/4")), "{:?}", info.warnings);
    let mut outside = ome;
    outside["plate"]["wells"][0]["path"] = json!("../B/3");
    put(plate.path(), "zarr.json", group(outside));
    assert!(matches!(refusal(plate.path()), Error::Format { .. }));
}

#[test]
fn types_that_are_read_as_others() {
    let halves = [0x3C00_u16, 0xC000].map(u16::to_le_bytes).concat();
    let half = array(&[1, 2], "<f2", json!({}), &halves);
    assert_eq!(numbers(half.path()), [1.0, -2.0]);
    assert_eq!(inspect(half.path()).unwrap().sample_type, SampleType::F32);
    let truth = array(&[1, 2], "|b1", json!({"fill_value": false}), &[1, 0]);
    assert_eq!(numbers(truth.path()), [1.0, 0.0]);
    let wide =
        |a: i64, b: i64| array(&[1, 2], ">i8", json!({}), &[a, b].map(i64::to_be_bytes).concat());
    assert_eq!(numbers(wide(-5, 2_147_483_647).path()), [-5.0, 2_147_483_647.0]);
    let text = refusal(wide(0, 2_147_483_648).path()).to_string();
    assert!(text.contains("2147483648"), "{text}");
}

#[test]
fn layouts_of_chunks() {
    let big = array(&[2, 2], ">u2", json!({}), &[1, 0, 2, 0, 3, 0, 4, 0]);
    assert_eq!(numbers(big.path()), [256.0, 512.0, 768.0, 1024.0]);
    let fortran = array(&[2, 3], "|u1", json!({"order": "F"}), &[0, 3, 1, 4, 2, 5]);
    assert_eq!(numbers(fortran.path()), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    // Chunks that are not there are the fill value; null is 0.
    for (fill, expected) in [(json!(7), 7.0), (json!(null), 0.0)] {
        let change = json!({"shape": [1, 5], "fill_value": fill, "dimension_separator": "."});
        let sparse = array(&[1, 2], "|u1", change, &[]);
        put(sparse.path(), "0.1", [8, 9]);
        assert_eq!(numbers(sparse.path()), [expected, expected, 8.0, 9.0, expected]);
    }
    let nan = array(&[1, 2], "<f4", json!({"fill_value": "NaN", "shape": [1, 4]}), &[0; 8]);
    let found = numbers(nan.path());
    assert!(found[1] == 0.0 && found[2].is_nan(), "{found:?}");
}

#[test]
fn a_box_is_read_from_the_chunks_that_it_meets() {
    let zlib = json!({"shape": [1, 6], "chunks": [1, 2], "compressor": {"id": "zlib", "level": 1}});
    let folder = array(&[1, 2], "|u1", zlib, b"not a zlib stream");
    fs::copy(folder.path().join("0/0"), folder.path().join("0/2")).unwrap();
    // The middle chunk is absent, which is sound; the others are damaged.
    let stack = Image::open(folder.path()).unwrap().stack(&Selection::default()).unwrap();
    assert_eq!(stack.block(), [1, 1, 2]);
    let middle = stack.read(Region { start: [0, 0, 2], shape: [1, 1, 2] }).unwrap();
    assert_eq!(middle.to_f64().voxels, [0.0, 0.0]);
    let error = stack.read(Region { start: [0, 0, 1], shape: [1, 1, 2] }).unwrap_err();
    assert!(error.to_string().contains("a chunk is damaged"), "{error}");
}

#[test]
fn a_huge_array_opens_and_gives_boxes() {
    let shape = [100_000, 100_000, 100_000];
    let folder =
        array(&[64, 64, 64], "|u1", json!({"shape": shape, "fill_value": 3}), &[1; 262_144]);
    assert_eq!(inspect(folder.path()).unwrap().shape, [100_000; 3]);
    let stack = Image::open(folder.path()).unwrap().stack(&Selection::default()).unwrap();
    let found = stack.read(Region { start: [0, 0, 63], shape: [1, 1, 2] }).unwrap();
    assert_eq!(found.to_f64().voxels, [1.0, 3.0]);
    let far = stack.read(Region { start: [99_999; 3], shape: [1; 3] }).unwrap();
    assert_eq!(far.to_f64().voxels, [3.0]);
    assert!(matches!(stack.read_whole(), Err(Error::Limit { .. })));
    assert!(matches!(refusal(folder.path()), Error::Limit { .. }));
}

#[test]
fn sizes_beyond_all_limits_are_refused() {
    let chunk = array(&[1, 2], "|u1", json!({"chunks": [100_000, 100_000]}), &[0; 2]);
    assert!(matches!(refusal(chunk.path()), Error::Limit { .. }));
    let shape = array(&[1, 2], "|u1", json!({"shape": [u64::MAX, u64::MAX]}), &[0; 2]);
    assert!(matches!(refusal(shape.path()), Error::Limit { .. }));
    let long = tempfile::tempdir().unwrap();
    put(long.path(), ".zgroup", vec![b' '; (64 << 20) + 1]);
    assert!(matches!(refusal(long.path()), Error::Limit { .. }));
}

#[test]
fn damaged_stores_are_refused_in_a_sentence() {
    let zero = array(&[1, 2], "|u1", json!({"shape": [0, 2]}), &[0; 2]);
    let axes = array(&[1, 2], "|u1", json!({"chunks": [1, 2, 3]}), &[0; 2]);
    let short = array(&[2, 2], "|u1", json!({}), &[0; 3]);
    let long = array(&[2, 2], "|u1", json!({}), &[0; 5]);
    let types = array(&[2, 2], "|u1", json!({"shape": "two"}), &[0; 4]);
    let fill = array(&[2, 2], "|u1", json!({"fill_value": [1]}), &[0; 4]);
    let gzip = json!({"compressor": {"id": "gzip", "level": 1}});
    let garbage = array(&[2, 2], "|u1", gzip, &[9; 30]);
    for folder in [&zero, &axes, &short, &long, &types, &fill, &garbage] {
        let error = refusal(folder.path());
        assert!(matches!(error, Error::Format { .. }), "{error}");
    }
    let text = array(&[2, 2], "|u1", json!({}), &[0; 4]);
    put(text.path(), ".zarray", "{\"zarr_format\": 2,");
    assert!(refusal(text.path()).to_string().contains("not valid JSON"));
    let image = image(&["y", "x"], &[2, 3], &[1.0; 2], None);
    fs::remove_file(image.path().join("0/.zarray")).unwrap();
    assert!(refusal(image.path()).to_string().contains("is not there"));
    put(
        image.path(),
        ".zattrs",
        multiscales(&["y", "x"], &[1.0; 2], None).to_string().replace("\"0\"", "\"../0\""),
    );
    assert!(refusal(image.path()).to_string().contains("does not lead into the store"));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(refusal(empty.path()), Error::Unsupported { .. }));
    put(empty.path(), "zarr.json", r#"{"zarr_format": 3, "node_type": "group"}"#);
    fs::create_dir(empty.path().join("here")).unwrap();
    assert!(refusal(empty.path()).to_string().contains("here"));
    assert!(refusal(&empty.path().join("zarr.json")).to_string().contains("name the folder"));
}

#[test]
fn shards_whose_index_leads_elsewhere_are_refused() {
    let shard = |entries: [u64; 2]| {
        let folder = tempfile::tempdir().unwrap();
        let bytes = json!({"name": "bytes", "configuration": {"endian": "little"}});
        let sharding = json!({"name": "sharding_indexed", "configuration": {
            "chunk_shape": [1, 2], "codecs": [{"name": "bytes"}], "index_codecs": [bytes]
        }});
        let metadata = json!({
            "zarr_format": 3, "node_type": "array", "shape": [2, 2], "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
            "chunk_key_encoding": {"name": "default"}, "fill_value": 9, "codecs": [sharding]
        });
        put(folder.path(), "zarr.json", metadata.to_string());
        let index = [0, 2, entries[0], entries[1]].map(u64::to_le_bytes).concat();
        put(folder.path(), "c/0/0", [&[1, 2, 3, 4], index.as_slice()].concat());
        folder
    };
    assert_eq!(numbers(shard([2, 2]).path()), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(numbers(shard([u64::MAX; 2]).path()), [1.0, 2.0, 9.0, 9.0]);
    for damaged in [[35, 2], [1 << 60, 2], [u64::MAX - 1, 5]] {
        let error = refusal(shard(damaged).path());
        assert!(matches!(error, Error::Format { .. }), "{error}");
    }
}

#[test]
fn what_is_not_read_is_named() {
    for (dtype, change, word) in [
        ("|u1", json!({"compressor": {"id": "lz4", "acceleration": 1}}), "codec lz4"),
        ("|u1", json!({"filters": [{"id": "delta", "dtype": "|u1"}]}), "codec delta"),
        ("<M8[ns]", json!({}), "type <M8[ns]"),
        ("|S4", json!({}), "type |S4"),
        ("|u1", json!({"dtype": [["a", "<u2"]]}), "structured"),
    ] {
        let folder = array(&[2, 2], dtype, change, &[0; 4]);
        let error = refusal(folder.path());
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let zip = tempfile::tempdir().unwrap();
    put(zip.path(), "a.zarr.zip", b"PK\x03\x04............");
    assert!(refusal(&zip.path().join("a.zarr.zip")).to_string().contains("unpack it first"));
}

/// A number from a sequence that looks random (SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Changes, removes, inserts or repeats a few bytes.
fn mutate(bytes: &mut Vec<u8>, state: &mut u64) {
    const LIKELY: &[u8] = b"0123456789-\"{}[],:.eEx\xFF\0";
    for _ in 0..=next(state) % 3 {
        let at = next(state) as usize % bytes.len();
        match next(state) % 5 {
            0 => bytes[at] = next(state) as u8,
            1 => bytes[at] = LIKELY[next(state) as usize % LIKELY.len()],
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, LIKELY[next(state) as usize % LIKELY.len()]),
            _ => bytes.truncate(at.max(1)),
        }
    }
}

/// Copies a store with one file changed and reads all that there is to read of it.
fn survives(folder: &Path, file: &str, whole: &[u8], rounds: usize, state: &mut u64) {
    for _ in 0..rounds {
        let mut bytes = whole.to_vec();
        mutate(&mut bytes, state);
        fs::write(folder.join(file), &bytes).unwrap();
        let start = Instant::now();
        if let Err(error) = inspect(folder) {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        drop(read_array(folder, 0));
        if let Ok(stack) = Image::open(folder).and_then(|image| image.stack(&Selection::default()))
        {
            drop(stack.read(Region { start: [0; 3], shape: [1; 3] }));
        }
        let text = String::from_utf8_lossy(&bytes);
        assert!(start.elapsed() < Duration::from_secs(2), "{file} is slow: {text}");
    }
    fs::write(folder.join(file), whole).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn damage_of_any_byte_ends_in_an_error_or_an_image() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/io");
    let mut state = 7;
    for (store, files) in [
        ("ngff04_zstd_f32/image.ome.zarr", vec![".zattrs", "s0/.zarray", "s0/0/0/0"]),
        ("ngff04_blosc_u16/image.ome.zarr", vec![".zattrs", "s0/.zarray", "s0/0/0/0/0/0"]),
        ("ngff05_sharded_u16/image.ome.zarr", vec!["zarr.json", "s0/zarr.json", "s0/c/0/0/0"]),
        ("ngff05_gzip_u8/image.ome.zarr", vec!["s0/zarr.json", "s0/c/0/0/0"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        copy(&golden.join(store), folder.path());
        for file in files {
            let whole = fs::read(folder.path().join(file)).unwrap();
            survives(folder.path(), file, &whole, 300, &mut state);
        }
    }
}
