//! What `spotlight info` says of an image: axes, channels, voxel size, how it is stored.

use serde_json::{Value, json};
use spotlight_io::{AxisOrigin, ByteOrder, Dimension, ImageInfo, Storage};

use super::Description;
use crate::table::count;

/// Names of images that are shown to a person; `--json` has all.
const MOST_NAMES: usize = 12;

pub(super) fn describe(info: &ImageInfo) -> Description {
    let order = match info.byte_order {
        ByteOrder::Little => "little-endian",
        ByteOrder::Big => "big-endian",
    };
    let mut lines = vec![
        ("image", format!("{}, {}", info.format, storage(info, order))),
        ("axes", format!("{} {}, {}", info.axes, by(&info.shape), info.sample_type)),
        ("read as", dimensions(&info.dimensions)),
        ("channels", info.channel_names.join(", ")),
        ("voxel size", spacing(info)),
    ];
    if info.levels > 1 {
        lines.push(("levels", format!("{}, the full resolution is read", info.levels)));
    }
    if info.series.len() > 1 {
        lines.push(("images", series(&info.series)));
    }
    lines.extend(info.warnings.iter().map(|warning| ("note", warning.clone())));
    Description { lines, object: object(info, order) }
}

fn object(info: &ImageInfo, order: &str) -> Value {
    let dimension = |dimension: &Dimension| {
        json!({
            "axis": dimension.axis.to_string(),
            "length": dimension.length,
            "origin": origin(dimension.origin),
        })
    };
    let mut object = json!({
        "kind": "image",
        "format": info.format,
        "axes": info.axes,
        "shape": info.shape,
        "dimensions": info.dimensions.iter().map(dimension).collect::<Vec<_>>(),
        "type": info.sample_type.name(),
        "channels": info.channel_names,
        "spacing_um": info.spacing_um,
        "partial_spacing_um": info.partial_spacing_um,
        "times": info.times,
        "series": info.series,
        "levels": info.levels,
        "byte_order": order,
        "compression": info.compression,
        "warnings": info.warnings,
    });
    let fields = match &info.storage {
        Storage::Tiff { pages, big, predictor, tile } => {
            json!({ "pages": pages, "big": big, "predictor": predictor, "tile": tile })
        }
        Storage::Zarr { version, chunk, shard } => {
            json!({ "zarr_version": version, "chunk": chunk, "shard": shard })
        }
        Storage::Czi { sub_blocks } => json!({ "sub_blocks": sub_blocks }),
    };
    for (name, value) in fields.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
    object
}

/// What every axis was understood as: `T 1 (none), C 2, Z 30 (assumed), Y 512, X 512`.
fn dimensions(dimensions: &[Dimension]) -> String {
    let one = |dimension: &Dimension| {
        let Dimension { axis, length, origin: from } = dimension;
        match from {
            AxisOrigin::Metadata => format!("{axis} {length}"),
            other => format!("{axis} {length} ({})", origin(*other)),
        }
    };
    dimensions.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Where an axis is known from.
fn origin(origin: AxisOrigin) -> &'static str {
    match origin {
        AxisOrigin::Metadata => "metadata",
        AxisOrigin::Pattern => "pattern",
        AxisOrigin::Given => "option",
        AxisOrigin::Assumed => "assumed",
        AxisOrigin::Absent => "none",
    }
}

fn spacing(info: &ImageInfo) -> String {
    match (info.spacing_um, info.partial_spacing_um) {
        (Some(um), _) => format!("{} µm (z, y, x)", um.map(length).join(" x ")),
        (None, [None, None, None]) => "not given".to_owned(),
        (None, partial) => {
            let parts = partial.map(|um| um.map_or_else(|| "?".to_owned(), length));
            format!("{} µm (z, y, x), incomplete", parts.join(" x "))
        }
    }
}

/// A length in µm without the digits that a conversion of units leaves: 0.1, not 0.09999999999999999.
fn length(um: f64) -> String {
    let rounded = (um * 1e9).round() / 1e9;
    if rounded > 0.0 { rounded.to_string() } else { um.to_string() }
}

/// How many images there are, and the names of the first.
fn series(names: &[String]) -> String {
    let all = format!("{} in this file", names.len());
    if names.iter().all(String::is_empty) {
        return all;
    }
    let name = |(number, name): (usize, &String)| match name.as_str() {
        "" => number.to_string(),
        name => name.to_owned(),
    };
    let shown: Vec<String> = names.iter().enumerate().take(MOST_NAMES).map(name).collect();
    let more = if names.len() > MOST_NAMES { ", ..." } else { "" };
    format!("{all}: {}{more}", shown.join(", "))
}

fn by(lengths: &[usize]) -> String {
    lengths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

/// How the voxels are stored, in words.
fn storage(info: &ImageInfo, order: &str) -> String {
    let compression = &info.compression;
    match &info.storage {
        Storage::Tiff { pages, big, predictor, tile } => {
            let planes = count(*pages, "plane");
            let mut text = format!("{planes}, {order}, compression {compression}");
            if *predictor > 1 {
                text.push_str(&format!(" with predictor {predictor}"));
            }
            if let Some(tile) = tile {
                text.push_str(&format!(", tiles of {}", by(tile)));
            }
            if *big {
                text.push_str(", BigTIFF");
            }
            text
        }
        Storage::Zarr { version, chunk, shard } => {
            let mut text = format!(
                "Zarr {version}, {order}, compression {compression}, chunks of {}",
                by(chunk)
            );
            if let Some(shard) = shard {
                text.push_str(&format!(" in shards of {}", by(shard)));
            }
            text
        }
        Storage::Czi { sub_blocks } => {
            let sub_blocks = count(*sub_blocks, "sub-block");
            format!("{sub_blocks}, {order}, compression {compression}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_a_dozen_names() {
        assert_eq!(series(&vec![String::new(); 3]), "3 in this file");
        let two = ["A/1/0".to_owned(), String::new()];
        assert_eq!(series(&two), "2 in this file: A/1/0, 1");
        let many: Vec<String> = (0..30).map(|n| format!("s{n}")).collect();
        assert!(series(&many).ends_with("s10, s11, ..."), "{}", series(&many));
    }

    #[test]
    fn lengths_have_no_digits_of_a_conversion() {
        assert_eq!(length(0.099_999_999_999_999_99), "0.1");
        assert_eq!(length(0.108_333), "0.108333");
        assert_eq!(length(3e-12), "0.000000000003");
    }

    #[test]
    fn an_axis_that_the_metadata_do_not_name_says_so() {
        let axis = |axis, length, origin| Dimension { axis, length, origin };
        let all = [axis('T', 1, AxisOrigin::Absent), axis('Z', 5, AxisOrigin::Assumed)];
        assert_eq!(dimensions(&all), "T 1 (none), Z 5 (assumed)");
        assert_eq!(dimensions(&[axis('C', 2, AxisOrigin::Metadata)]), "C 2");
    }
}
