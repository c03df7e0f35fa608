//! The JSON of groups, arrays and OME-Zarr's attributes, as Zarr 2 and 3 want it.

use serde_json::{Map, Value, json};

use super::layout::{ZarrChannel, ZarrLayout};
use super::level::Level;
use super::options::{NgffVersion, ZarrCompression, ZarrOptions};
use crate::metadata::positive;
use crate::voxels::SampleType;

impl NgffVersion {
    /// As the metadata spell it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V04 => "0.4",
            Self::V05 => "0.5",
        }
    }
}

/// Files of a group with OME-Zarr's attributes: name and content.
pub(super) fn group_files(version: NgffVersion, attributes: Map<String, Value>) -> Vec<File> {
    match version {
        NgffVersion::V04 => vec![
            (".zgroup", text(&json!({ "zarr_format": 2 }))),
            (".zattrs", text(&Value::Object(attributes))),
        ],
        NgffVersion::V05 => {
            let mut ome = Map::new();
            ome.insert("version".into(), version.name().into());
            ome.extend(attributes);
            let group = json!({
                "zarr_format": 3, "node_type": "group", "attributes": { "ome": ome },
            });
            vec![("zarr.json", text(&group))]
        }
    }
}

/// The file that describes the array of a level.
pub(super) fn array_file(layout: &ZarrLayout, options: &ZarrOptions, level: &Level) -> File {
    let [z, y, x] = level.shape;
    let shape = [layout.times, layout.channels.len(), z, y, x];
    let five = |[z, y, x]: [usize; 3]| [1, 1, z, y, x];
    let (chunk, unit) = (five(level.chunk), five(level.unit));
    let fill = if layout.sample_type.is_integer() { json!(0) } else { json!(0.0) };
    match options.version {
        NgffVersion::V04 => {
            let array = json!({
                "zarr_format": 2, "shape": shape, "chunks": chunk,
                "dtype": numpy_type(layout.sample_type), "compressor": compressor(options),
                "fill_value": fill, "order": "C", "filters": null, "dimension_separator": "/",
            });
            (".zarray", text(&array))
        }
        NgffVersion::V05 => {
            let bytes = json!({ "name": "bytes", "configuration": { "endian": "little" } });
            let mut codecs = vec![bytes.clone()];
            codecs.extend(codec(options.compression, layout.sample_type));
            let sharding = json!({ "name": "sharding_indexed", "configuration": {
                "chunk_shape": chunk, "codecs": codecs,
                "index_codecs": [bytes, { "name": "crc32c" }], "index_location": "end",
            }});
            let array = json!({
                "zarr_format": 3, "node_type": "array", "shape": shape,
                "data_type": layout.sample_type.name(),
                "chunk_grid": { "name": "regular", "configuration": { "chunk_shape": unit } },
                "chunk_key_encoding": { "name": "default", "configuration": { "separator": "/" } },
                "fill_value": fill, "codecs": [sharding], "attributes": {},
                "dimension_names": ["t", "c", "z", "y", "x"],
            });
            ("zarr.json", text(&array))
        }
    }
}

/// OME-Zarr's attributes of an image; `windows` are what viewers show of each channel.
pub(super) fn image_attributes(
    name: &str,
    layout: &ZarrLayout,
    options: &ZarrOptions,
    levels: &[Level],
    windows: &[[f64; 2]],
    source: Option<&str>,
) -> Map<String, Value> {
    let mut attributes = Map::new();
    let multiscale = multiscale(name, layout, options, levels);
    attributes.insert("multiscales".into(), json!([multiscale]));
    if !options.labels {
        attributes.insert("omero".into(), omero(layout, windows));
        return attributes;
    }
    let mut label = Map::new();
    label.insert("version".into(), options.version.name().into());
    if let Some(source) = source {
        label.insert("source".into(), json!({ "image": source }));
    }
    attributes.insert("image-label".into(), Value::Object(label));
    attributes
}

/// The attributes of the group that lists the label images of an image.
pub(super) fn labels_attributes(names: &[String]) -> Map<String, Value> {
    Map::from_iter([("labels".to_owned(), json!(names))])
}

/// A file's name and content.
pub(super) type File = (&'static str, String);

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

fn multiscale(
    name: &str,
    layout: &ZarrLayout,
    options: &ZarrOptions,
    levels: &[Level],
) -> Map<String, Value> {
    let spacing_um = layout.valid_spacing_um();
    let time_step_s = layout.time_step_s.and_then(positive);
    let mut axes = vec![json!({ "name": "t", "type": "time" })];
    if time_step_s.is_some() {
        axes[0]["unit"] = "second".into();
    }
    axes.push(json!({ "name": "c", "type": "channel" }));
    for axis in ["z", "y", "x"] {
        axes.push(match spacing_um {
            Some(_) => json!({ "name": axis, "type": "space", "unit": "micrometer" }),
            None => json!({ "name": axis, "type": "space" }),
        });
    }
    let origin = layout.origin_um.filter(|_| spacing_um.is_some()).unwrap_or_default();
    let datasets = levels.iter().enumerate().map(|(index, level)| {
        let [scale, position] = level.transform(spacing_um.unwrap_or([1.0; 3]), origin);
        let [z, y, x] = scale;
        let scale = [time_step_s.unwrap_or(1.0), 1.0, z, y, x];
        let [z, y, x] = position;
        json!({ "path": index.to_string(), "coordinateTransformations": [
            { "type": "scale", "scale": scale },
            { "type": "translation", "translation": [0.0, 0.0, z, y, x] },
        ]})
    });
    let datasets: Vec<Value> = datasets.collect();
    let (kind, method) = match options.labels {
        true => ("nearest", "the first voxel of each block"),
        false => ("mean", "the mean of each block, whole numbers rounded half to even"),
    };
    let mut multiscale = Map::new();
    if options.version == NgffVersion::V04 {
        multiscale.insert("version".into(), options.version.name().into());
    }
    multiscale.insert("name".into(), name.into());
    multiscale.insert("axes".into(), axes.into());
    multiscale.insert("datasets".into(), datasets.into());
    multiscale.insert("type".into(), kind.into());
    let mut notes = json!({ "description": format!("Lower levels: {method}.") });
    if let Some(description) = &options.description {
        notes["image"] = description.as_str().into();
    }
    multiscale.insert("metadata".into(), notes);
    multiscale
}

/// Colours of channels that name none, where there are several.
const COLOURS: [[u8; 3]; 6] =
    [[0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 255, 0], [255, 0, 0], [0, 128, 255]];

fn omero(layout: &ZarrLayout, windows: &[[f64; 2]]) -> Value {
    let single = layout.channels.len() == 1;
    let channel = |(index, (channel, window)): (usize, (&ZarrChannel, &[f64; 2]))| {
        let own = if single { [255; 3] } else { COLOURS[index % COLOURS.len()] };
        let [red, green, blue] = channel.colour.unwrap_or(own);
        let [start, end] = *window;
        let [least, most] = type_range(layout.sample_type).unwrap_or([start, end]);
        json!({
            "label": channel.name, "color": format!("{red:02X}{green:02X}{blue:02X}"),
            "active": true, "coefficient": 1.0, "family": "linear", "inverted": false,
            "window": { "min": least, "max": most, "start": start, "end": end },
        })
    };
    let channels: Vec<Value> =
        layout.channels.iter().zip(windows).enumerate().map(channel).collect();
    let model = if single && layout.channels[0].colour.is_none() { "greyscale" } else { "color" };
    json!({
        "channels": channels,
        "rdefs": { "defaultT": 0, "defaultZ": layout.shape[0] / 2, "model": model },
    })
}

/// All that a type of whole numbers can hold.
fn type_range(sample_type: SampleType) -> Option<[f64; 2]> {
    match sample_type {
        SampleType::U8 => Some([0.0, f64::from(u8::MAX)]),
        SampleType::I8 => Some([f64::from(i8::MIN), f64::from(i8::MAX)]),
        SampleType::U16 => Some([0.0, f64::from(u16::MAX)]),
        SampleType::I16 => Some([f64::from(i16::MIN), f64::from(i16::MAX)]),
        SampleType::U32 => Some([0.0, f64::from(u32::MAX)]),
        SampleType::I32 => Some([f64::from(i32::MIN), f64::from(i32::MAX)]),
        SampleType::F32 | SampleType::F64 => None,
    }
}

fn numpy_type(sample_type: SampleType) -> &'static str {
    match sample_type {
        SampleType::U8 => "|u1",
        SampleType::I8 => "|i1",
        SampleType::U16 => "<u2",
        SampleType::I16 => "<i2",
        SampleType::U32 => "<u4",
        SampleType::I32 => "<i4",
        SampleType::F32 => "<f4",
        SampleType::F64 => "<f8",
    }
}

const ZSTD_LEVEL: i32 = 3;
const BLOSC_LEVEL: i32 = 5;

/// The compression as Zarr 2 names it.
fn compressor(options: &ZarrOptions) -> Value {
    match options.compression {
        ZarrCompression::None => Value::Null,
        ZarrCompression::Zstd => json!({ "id": "zstd", "level": ZSTD_LEVEL }),
        ZarrCompression::Blosc => json!({
            "id": "blosc", "cname": "zstd", "clevel": BLOSC_LEVEL, "shuffle": 1, "blocksize": 0,
        }),
    }
}

/// The compression as Zarr 3 names it.
fn codec(compression: ZarrCompression, sample_type: SampleType) -> Option<Value> {
    match compression {
        ZarrCompression::None => None,
        ZarrCompression::Zstd => Some(json!({
            "name": "zstd", "configuration": { "level": ZSTD_LEVEL, "checksum": false },
        })),
        ZarrCompression::Blosc => Some(json!({ "name": "blosc", "configuration": {
            "cname": "zstd", "clevel": BLOSC_LEVEL, "shuffle": "shuffle",
            "typesize": sample_type.bytes(), "blocksize": 0,
        }})),
    }
}
