//! [`Images`]: the images of a store as a [`Source`], and whole arrays of it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use spotlight_image::grid::Region;

use super::array::OpenArray;
use super::axes::{Axes, Role};
use super::contents::{Found, find_images};
use super::node::{Description, Node, read_node};
use super::ome::{Axis, Multiscale, multiscale, spacing_um};
use super::store::Store;
use super::web::{PATIENCE, Web};
use crate::Error;
use crate::error::{Fault, malformed};
use crate::metadata::{AxisOrigin, Dimension, ImageInfo, Storage, spacing_warnings};
use crate::source::{Layout, Place, Source};
use crate::voxels::{ArrayData, Voxels};

/// More channels than any microscope has.
const MAX_CHANNELS: usize = 1 << 16;

/// The images at and below a path of a store.
#[derive(Debug)]
pub(crate) struct Images {
    path: PathBuf,
    found: Vec<Found>,
    opened: Vec<OnceLock<Arc<Opened>>>,
    warnings: Vec<String>,
}

/// An image whose array is open.
#[derive(Debug)]
struct Opened {
    array: OpenArray,
    axes: Axes,
    format: String,
    name: String,
    levels: usize,
    channel_names: Vec<Option<String>>,
    spacing_um: [Option<f64>; 3],
    warnings: Vec<String>,
}

impl Images {
    /// Opens a folder or a web address.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let address = path.to_str().filter(|_| super::is_address(path));
        if address.is_some_and(|address| address.starts_with("s3://")) {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                what: "an s3:// address".to_owned(),
                way_out: "take the https:// address of the bucket, or copy the store to a folder"
                    .to_owned(),
            });
        }
        let store = match address {
            Some(address) => Store::Web(Web::new(address, PATIENCE)),
            None => Store::Folder(path.to_owned()),
        };
        Self::of(path, &store)
    }

    pub(super) fn of(path: &Path, store: &Store) -> Result<Self, Error> {
        let images = find_images(store).map_err(|fault| fault.at(path))?;
        let opened = images.all.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { path: path.to_owned(), found: images.all, opened, warnings: images.warnings })
    }

    fn image(&self, series: usize) -> Result<Arc<Opened>, Error> {
        let slot = &self.opened[series];
        if let Some(opened) = slot.get() {
            return Ok(Arc::clone(opened));
        }
        let opened = open_image(&self.found[series]).map_err(|fault| self.error(series, fault))?;
        // Another thread may have been faster; both opened the same.
        Ok(Arc::clone(slot.get_or_init(|| Arc::new(opened))))
    }

    /// The error of an image, with its name where the store holds several.
    fn error(&self, series: usize, fault: Fault) -> Error {
        match self.found[series].name.as_str() {
            "" => fault.at(&self.path),
            name => fault.within(name).at(&self.path),
        }
    }
}

impl Source for Images {
    fn parts(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn series_count(&self) -> usize {
        self.found.len()
    }

    fn layout(&self, series: usize) -> Result<Layout, Error> {
        let image = self.image(series)?;
        let shape = [Role::Z, Role::Y, Role::X].map(|role| image.axes.length(role));
        let chunk = image.axes.spatial(&image.array.chunk);
        let block = |axis: usize| chunk[axis].unwrap_or(1).min(shape[axis]);
        Ok(Layout {
            shape,
            sample_type: image.array.coding.stored.sample_type(),
            times: image.axes.length(Role::Time),
            channel_names: image.channel_names.clone(),
            partial_spacing_um: image.spacing_um,
            block: std::array::from_fn(block),
        })
    }

    fn info(&self) -> Result<ImageInfo, Error> {
        let image = self.image(0)?;
        let layout = self.layout(0)?;
        let one = if self.found.len() == 1 { image.name.as_str() } else { "" };
        let names = self.found.iter().map(|found| match found.name.as_str() {
            "" => one.to_owned(),
            name => name.to_owned(),
        });
        let mut warnings = self.warnings.clone();
        warnings.extend(image.warnings.iter().cloned());
        Ok(ImageInfo {
            path: self.path.clone(),
            format: image.format.clone(),
            axes: image.axes.letters(),
            shape: image.array.shape.clone(),
            dimensions: dimensions(&image.axes),
            sample_type: layout.sample_type,
            channel_names: layout.names(),
            spacing_um: layout.spacing_um(),
            partial_spacing_um: layout.partial_spacing_um,
            times: layout.times,
            series: names.collect(),
            levels: image.levels,
            byte_order: image.array.coding.byte_order,
            compression: image.array.coding.compression.clone(),
            storage: Storage::Zarr {
                version: image.array.version,
                chunk: image.array.chunk.clone(),
                shard: image.array.shard.clone(),
            },
            warnings,
        })
    }

    fn read(&self, from: Place, region: Region) -> Result<Voxels, Error> {
        let image = self.image(from.series)?;
        let inside = |role: &Role| -> Range<usize> {
            let along = |axis: usize| region.start[axis]..region.stop()[axis];
            match role {
                Role::Time => from.time..from.time + 1,
                Role::Channel => from.channel..from.channel + 1,
                Role::Z => along(0),
                Role::Y => along(1),
                Role::X => along(2),
                Role::Other => 0..1,
            }
        };
        let ranges: Vec<Range<usize>> = image.axes.roles.iter().map(inside).collect();
        // The stored axes without those of length 1; where z is absent, it comes first.
        let mut stored: Vec<Role> = image.axes.roles.clone();
        stored.retain(|role| matches!(role, Role::Z | Role::Y | Role::X));
        if stored.len() == 2 {
            stored.insert(0, Role::Z);
        }
        let place = |role: Role| stored.iter().position(|known| *known == role).unwrap_or(0);
        let order = [Role::Z, Role::Y, Role::X].map(place);
        let mut shape = [1; 3];
        for (axis, place) in order.into_iter().enumerate() {
            shape[place] = region.shape[axis];
        }
        let bytes = image.array.read(&ranges);
        let voxels = bytes.and_then(|bytes| image.array.coding.stored.voxels(&bytes, shape, order));
        voxels.map_err(|fault| self.error(from.series, fault))
    }
}

/// What the axes are, and whether the metadata say it.
fn dimensions(axes: &Axes) -> [Dimension; 5] {
    let roles = [Role::Time, Role::Channel, Role::Z, Role::Y, Role::X];
    let origin = |role: Role| match axes.roles.contains(&role) {
        false => AxisOrigin::Absent,
        true if axes.assumed => AxisOrigin::Assumed,
        true => AxisOrigin::Metadata,
    };
    Dimension::all(roles.map(|role| axes.length(role)), roles.map(origin))
}

/// A whole array of a store, with its axes in the order in which they are stored.
pub(crate) fn read_array(path: &Path, series: usize) -> Result<ArrayData, Error> {
    let images = Images::open(path)?;
    if series >= images.found.len() {
        return Err(Error::Choice {
            path: path.to_owned(),
            what: format!("there is no image {series}"),
            choices: format!("one from 0 to {}", images.found.len() - 1),
        });
    }
    let image = images.image(series)?;
    let shape = image.array.shape.clone();
    let ranges: Vec<Range<usize>> = shape.iter().map(|length| 0..*length).collect();
    let [.., rows, columns] = shape.as_slice() else {
        return malformed("the array has no planes").map_err(|fault: Fault| fault.at(path));
    };
    let folded = [shape[..shape.len() - 2].iter().product(), *rows, *columns];
    let bytes = image.array.read(&ranges);
    let voxels =
        bytes.and_then(|bytes| image.array.coding.stored.voxels(&bytes, folded, [0, 1, 2]));
    let voxels = voxels.map_err(|fault| images.error(series, fault))?;
    Ok(ArrayData { axes: image.axes.letters(), shape, voxels })
}

fn open_image(found: &Found) -> Result<Opened, Fault> {
    let node = match &found.node {
        Some(node) => Some(node.clone()),
        None => read_node(&found.store)?,
    };
    match node {
        Some(Node::Array(array)) => plain(found, &array),
        Some(Node::Group(group)) => {
            let image = multiscale(group.ome(), group.version)?;
            let path = &image.levels[0];
            let store = found.store.below(path);
            let Some(Node::Array(described)) = read_node(&store).map_err(|f| f.within(path))?
            else {
                return malformed(format!(
                    "the array {path} of the full resolution is not there (no zarr.json or .zarray)"
                ));
            };
            let array = OpenArray::open(&store, &described).map_err(|f| f.within(path))?;
            of_ome_zarr(image, array)
        }
        None => malformed("the image is listed and not there (no zarr.json, .zgroup or .zarray)"),
    }
}

/// An array with the metadata of an image.
fn of_ome_zarr(image: Multiscale, array: OpenArray) -> Result<Opened, Fault> {
    let version = &image.version;
    let axes = match &image.axes {
        Some(axes) => Axes::named(axes, &array.shape)?,
        None => Axes::unnamed(&array.shape, &format!("OME-Zarr {version} names"))?,
    };
    let mut warnings = image.warnings;
    warnings.extend(axes.warnings.iter().cloned());
    let spacing = match (&image.axes, &image.scale) {
        (Some(named), Some(scale)) => {
            let space = |role: &Role| matches!(role, Role::Z | Role::Y | Role::X);
            let space: Vec<bool> = axes.roles.iter().map(space).collect();
            let sizes = spacing_um(named, &space, scale, &mut warnings);
            axes.spatial(&sizes).map(Option::flatten)
        }
        _ => [None; 3],
    };
    let names = image.channel_names;
    let count = axes.length(Role::Channel);
    if !names.is_empty() && names.len() != count {
        warnings.push(format!("{} channels are named, and there are {count}", names.len()));
    }
    let format = format!("OME-Zarr {version}");
    let levels = image.levels.len();
    finish(array, axes, names, Opening { format, name: image.name, levels, spacing, warnings })
}

/// An array without the metadata of an image.
fn plain(found: &Found, described: &Description) -> Result<Opened, Fault> {
    let array = OpenArray::open(&found.store, described)?;
    let axes = match dimension_names(described).map(|axes| Axes::named(&axes, &array.shape)) {
        Some(Ok(axes)) => axes,
        _ => Axes::unnamed(&array.shape, "the array names")?,
    };
    let mut warnings = vec!["a Zarr array without OME-Zarr metadata of an image".to_owned()];
    warnings.extend(axes.warnings.iter().cloned());
    let format = format!("Zarr {}", described.version);
    let spacing = [None; 3];
    let opening = Opening { format, name: String::new(), levels: 1, spacing, warnings };
    finish(array, axes, Vec::new(), opening)
}

/// The names that Zarr 3, or xarray in Zarr 2, gives to axes.
fn dimension_names(described: &Description) -> Option<Vec<Axis>> {
    let names = described.metadata.get("dimension_names");
    let names = names.or_else(|| described.attributes.get("_ARRAY_DIMENSIONS"))?.as_array()?;
    let axis =
        |name: &Value| Some(Axis { name: name.as_str()?.to_owned(), kind: None, unit: None });
    names.iter().map(axis).collect()
}

/// What is known of an image beside its array, axes and channels.
struct Opening {
    format: String,
    name: String,
    levels: usize,
    spacing: [Option<f64>; 3],
    warnings: Vec<String>,
}

fn finish(
    array: OpenArray,
    axes: Axes,
    mut channel_names: Vec<Option<String>>,
    opening: Opening,
) -> Result<Opened, Fault> {
    let Opening { format, name, levels, spacing: spacing_um, mut warnings } = opening;
    let channels = axes.length(Role::Channel);
    if channels > MAX_CHANNELS {
        return Err(Fault::Limit(format!("{channels} channels are more than are read")));
    }
    channel_names.resize(channels, None);
    warnings.extend(array.coding.stored.warning());
    warnings.extend(spacing_warnings(spacing_um));
    Ok(Opened { array, axes, format, name, levels, channel_names, spacing_um, warnings })
}
