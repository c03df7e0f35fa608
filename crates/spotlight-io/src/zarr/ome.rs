//! [`Multiscale`]: what OME-Zarr metadata, versions 0.1 to 0.5, say of an image.
//!
//! The metadata are read value by value and not by a fixed schema: versions differ, writers leave
//! things out, and whatever is not needed for the voxels is a warning at most.

use serde_json::{Map, Value};

use super::store::checked_path;
use crate::error::{Fault, malformed, unsupported};
use crate::metadata::{micrometres_per_unit, positive};

/// An axis as the metadata describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) name: String,
    /// Its type, such as `space`.
    pub(super) kind: Option<String>,
    pub(super) unit: Option<String>,
}

impl Axis {
    pub(super) fn is_space(&self) -> bool {
        self.kind.as_deref() == Some("space")
    }
}

/// An image of several resolutions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Multiscale {
    /// Version of OME-Zarr, such as `0.4`.
    pub(super) version: String,
    pub(super) name: String,
    pub(super) axes: Option<Vec<Axis>>,
    /// Paths of the arrays, the full resolution first.
    pub(super) levels: Vec<String>,
    /// Step along each axis of the full resolution, in the units of the axes.
    pub(super) scale: Option<Vec<f64>>,
    /// Names of the channels, as many as the metadata have.
    pub(super) channel_names: Vec<Option<String>>,
    pub(super) warnings: Vec<String>,
}

/// Reads the first image of a group's metadata.
pub(super) fn multiscale(ome: &Map<String, Value>, zarr: u8) -> Result<Multiscale, Fault> {
    let Some(all) = ome.get("multiscales").and_then(Value::as_array) else {
        return malformed("the group has no list of multiscales, so it is no image");
    };
    let Some(first) = all.first() else { return malformed("the list of multiscales is empty") };
    let mut warnings = Vec::new();
    if all.len() > 1 {
        warnings.push(format!("the first of {} multiscales is read", all.len()));
    }
    let version = version(ome, first, zarr);
    if first.get("coordinateSystems").is_some() && first.get("axes").is_none() {
        return unsupported(
            format!("OME-Zarr {version} with coordinate systems"),
            "save it as OME-Zarr 0.5",
        );
    }
    let axes = axes(first)?;
    let Some(levels) = first.get("datasets").and_then(Value::as_array) else {
        return malformed("the image has no list of datasets");
    };
    let path = |level: &Value| match level.get("path").and_then(Value::as_str) {
        Some(path) => checked_path(path).map(str::to_owned),
        None => malformed("a dataset has no path"),
    };
    let paths: Vec<String> = levels.iter().map(path).collect::<Result<_, Fault>>()?;
    let Some(level) = levels.first() else { return malformed("the list of datasets is empty") };
    let count = axes.as_ref().map(Vec::len);
    let own = scale(level, count, &mut warnings);
    let shared = scale(first, count, &mut warnings);
    let scale = match (own, shared) {
        (Some(own), Some(shared)) => Some(own.iter().zip(&shared).map(|(a, b)| a * b).collect()),
        (own, shared) => own.or(shared),
    };
    let name = first.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let channel_names = channel_names(ome);
    Ok(Multiscale { version, name, axes, levels: paths, scale, channel_names, warnings })
}

/// The version that the metadata state, or that their form tells.
fn version(ome: &Map<String, Value>, image: &Value, zarr: u8) -> String {
    let stated = image.get("version").or_else(|| ome.get("version")).and_then(Value::as_str);
    let first_axis = image.get("axes").and_then(|axes| axes.get(0));
    let form = match first_axis {
        _ if zarr == 3 => "0.5",
        Some(Value::Object(_)) => "0.4",
        Some(_) => "0.3",
        None => "0.1",
    };
    stated.unwrap_or(form).to_owned()
}

/// The axes: objects since 0.4, letters in 0.3, absent before.
fn axes(image: &Value) -> Result<Option<Vec<Axis>>, Fault> {
    let Some(axes) = image.get("axes") else { return Ok(None) };
    let Some(axes) = axes.as_array() else { return malformed("the axes are not a list") };
    let text = |axis: &Value, key: &str| axis.get(key).and_then(Value::as_str).map(str::to_owned);
    let axis = |axis: &Value| match axis {
        Value::String(name) => Ok(Axis { name: name.clone(), kind: None, unit: None }),
        other => match text(other, "name") {
            Some(name) => Ok(Axis { name, kind: text(other, "type"), unit: text(other, "unit") }),
            None => malformed("an axis has no name"),
        },
    };
    axes.iter().map(axis).collect::<Result<_, Fault>>().map(Some)
}

/// The product of all scales of a dataset or an image; none where there is none.
fn scale(owner: &Value, axes: Option<usize>, warnings: &mut Vec<String>) -> Option<Vec<f64>> {
    let steps = owner.get("coordinateTransformations")?.as_array()?;
    let mut product: Option<Vec<f64>> = None;
    for step in steps {
        match step.get("type").and_then(Value::as_str) {
            Some("scale") => (),
            Some("identity" | "translation") => continue,
            other => {
                let other = other.unwrap_or("without a type");
                warnings.push(format!("a coordinate transformation {other} is left out"));
                continue;
            }
        }
        let numbers = step.get("scale").and_then(Value::as_array);
        let numbers: Option<Vec<f64>> =
            numbers.and_then(|numbers| numbers.iter().map(Value::as_f64).collect());
        let fits = |numbers: &Vec<f64>| axes.is_none_or(|axes| axes == numbers.len());
        let Some(numbers) = numbers.filter(fits) else {
            warnings.push("a scale that has no number for every axis is left out".to_owned());
            continue;
        };
        product = Some(match product {
            Some(before) => before.iter().zip(&numbers).map(|(a, b)| a * b).collect(),
            None => numbers,
        });
    }
    product
}

/// The labels of the channels in the metadata for OMERO.
fn channel_names(ome: &Map<String, Value>) -> Vec<Option<String>> {
    let channels = ome.get("omero").and_then(|omero| omero.get("channels"));
    let label = |channel: &Value| {
        let label = channel.get("label").and_then(Value::as_str).map(str::trim);
        label.filter(|label| !label.is_empty()).map(str::to_owned)
    };
    channels.and_then(Value::as_array).into_iter().flatten().map(label).collect()
}

/// Voxel size in µm along each axis of space; the others have none.
///
/// Writers often leave the unit out. Then the scale counts as µm, with a warning, unless it is 1
/// along all axes of space, which says nothing.
pub(super) fn spacing_um(
    axes: &[Axis],
    is_space: &[bool],
    scale: &[f64],
    warnings: &mut Vec<String>,
) -> Vec<Option<f64>> {
    let space = || axes.iter().zip(scale).zip(is_space).filter(|(_, space)| **space);
    let silent = space().all(|((_, scale), _)| *scale == 1.0);
    if !silent && space().any(|((axis, _), _)| axis.unit.is_none()) {
        warnings.push("the voxel size has no unit and is taken for µm".to_owned());
    }
    let mut size = |((axis, scale), is_space): ((&Axis, &f64), &bool)| {
        if !is_space {
            return None;
        }
        let um = match axis.unit.as_deref() {
            None if silent => None,
            None => Some(1.0),
            Some(unit) => {
                let um = micrometres_per_unit(unit);
                if um.is_none() {
                    let name = &axis.name;
                    warnings.push(format!("the unit \"{unit}\" of axis {name} is no length"));
                }
                um
            }
        };
        positive(um? * scale)
    };
    axes.iter().zip(scale).zip(is_space).map(&mut size).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Multiscale {
        multiscale(value.as_object().unwrap(), 2).unwrap()
    }

    #[test]
    fn scales_of_level_and_image_multiply() {
        let found = read(&json!({
            "multiscales": [{
                "axes": [{"name": "y", "type": "space", "unit": "nanometer"}, {"name": "x"}],
                "datasets": [
                    {"path": "0", "coordinateTransformations": [
                        {"type": "scale", "scale": [2, 3]},
                        {"type": "translation", "translation": [0, 0]}]},
                    {"path": "1"}],
                "coordinateTransformations": [{"type": "scale", "scale": [10, 0.5]}]
            }],
            "omero": {"channels": [{"label": "DAPI"}, {"label": " "}, {}]}
        }));
        assert_eq!(found.version, "0.4");
        assert_eq!(found.scale, Some(vec![20.0, 1.5]));
        assert_eq!(found.levels, ["0", "1"]);
        assert_eq!(found.channel_names, [Some("DAPI".to_owned()), None, None]);
        let mut warnings = Vec::new();
        let axes = found.axes.unwrap();
        let um = spacing_um(&axes, &[true, true], &[20.0, 1.5], &mut warnings);
        assert_eq!(um, [Some(0.02), Some(1.5)]);
        assert_eq!(warnings, ["the voxel size has no unit and is taken for µm"]);
        let um = spacing_um(&axes, &[true, true], &[1.0, 1.0], &mut warnings);
        assert_eq!(um, [Some(1e-3), None]);
    }

    #[test]
    fn old_versions_have_letters_or_no_axes() {
        let old = read(&json!({"multiscales": [{"datasets": [{"path": "0"}], "version": "0.1"}]}));
        assert_eq!((old.version.as_str(), old.axes), ("0.1", None));
        let letters =
            read(&json!({"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]}));
        assert_eq!(letters.version, "0.3");
        assert_eq!(letters.axes.unwrap()[1].name, "x");
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for bad in [
            json!({"multiscales": []}),
            json!({"multiscales": [{"datasets": []}]}),
            json!({"multiscales": [{"datasets": [{"path": "../0"}]}]}),
            json!({"multiscales": [{"axes": [{}], "datasets": [{"path": "0"}]}]}),
            json!({"multiscales": [{"coordinateSystems": [], "datasets": [{"path": "0"}]}]}),
        ] {
            assert!(multiscale(bad.as_object().unwrap(), 2).is_err(), "{bad}");
        }
    }
}
