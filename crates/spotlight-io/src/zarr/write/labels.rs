//! [`Parent`]: the image store that a label image belongs to.
//!
//! `IMAGE/labels` lists the label images of an image; each has as many levels as the image,
//! reduced by the same factors.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::layout::ZarrLayout;
use super::metadata::{group_files, labels_attributes};
use super::options::NgffVersion;
use crate::Error;
use crate::atomic;

/// The image store of a label image.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    image: PathBuf,
    name: String,
    version: NgffVersion,
    factors: Vec<[usize; 3]>,
}

impl Parent {
    /// The image of a label image with a path of the form `IMAGE/labels/NAME`; none for
    /// other paths.
    pub(super) fn of(path: &Path, layout: &ZarrLayout) -> Result<Option<Self>, Error> {
        let (Some(name), Some(group)) = (path.file_name(), path.parent()) else { return Ok(None) };
        if group.file_name().is_none_or(|name| name != "labels") {
            return Ok(None);
        }
        let image = group.parent().filter(|image| !image.as_os_str().is_empty());
        let image = image.unwrap_or_else(|| Path::new("."));
        // Renaming into the image needs the place where it really lies.
        let image = image.canonicalize().map_err(|source| Error::read(image, source))?;
        let (version, attributes) = read_attributes(&image)?;
        check_version(&image, version, &attributes)?;
        let described = Described::of(&image, &attributes)?;
        described.check(&image, version, layout)?;
        let name = name.to_string_lossy().into_owned();
        Ok(Some(Self { factors: described.factors(&image)?, image, name, version }))
    }

    pub(super) fn version(&self) -> NgffVersion {
        self.version
    }

    /// How many voxels of a level make one of the next, for every level but the last.
    pub(super) fn factors(&self) -> &[[usize; 3]] {
        &self.factors
    }

    pub(super) fn label_path(&self) -> PathBuf {
        self.image.join("labels").join(&self.name)
    }

    /// Beside the image, so that nothing unfinished lies in it.
    pub(super) fn work_path(&self) -> PathBuf {
        let image = self.image.file_name().unwrap_or_default().to_string_lossy();
        self.image.with_file_name(format!(".{image}.labels.{}.part", self.name))
    }

    /// Makes the group of label images, if there is none.
    pub(super) fn make_group(&self) -> Result<(), Error> {
        let group = self.image.join("labels");
        fs::create_dir_all(&group).map_err(|source| Error::write(&group, source))?;
        if read_group(&group, self.version)?.is_none() { self.write_group(&[]) } else { Ok(()) }
    }

    /// Adds the label image to the list of the group.
    pub(super) fn list(&self) -> Result<(), Error> {
        let group = self.image.join("labels");
        let mut names = read_group(&group, self.version)?.unwrap_or_default();
        if names.contains(&self.name) {
            return Ok(());
        }
        names.push(self.name.clone());
        self.write_group(&names)
    }

    fn write_group(&self, names: &[String]) -> Result<(), Error> {
        for (file, text) in group_files(self.version, labels_attributes(names)) {
            let path = self.image.join("labels").join(file);
            atomic::write_bytes(&path, text.as_bytes(), true)?;
        }
        Ok(())
    }
}

/// What the metadata of an image say of its levels.
struct Described {
    /// Where each axis lies: t, c, z, y, x.
    axes: Vec<String>,
    paths: Vec<String>,
    /// The scale of every level along (z, y, x).
    scales: Vec<[f64; 3]>,
}

impl Described {
    fn of(image: &Path, attributes: &Map<String, Value>) -> Result<Self, Error> {
        let missing = |what: &str| Error::Format {
            path: image.to_owned(),
            what: format!("not an OME-Zarr image that can hold labels: {what}"),
        };
        let multiscale = attributes.get("multiscales").and_then(|all| all.get(0));
        let multiscale = multiscale.ok_or_else(|| missing("it has no multiscales"))?;
        let axes = multiscale["axes"].as_array().ok_or_else(|| missing("its axes have no list"))?;
        let name = |axis: &Value| axis["name"].as_str().map(str::to_owned);
        let axes: Vec<String> = axes
            .iter()
            .map(name)
            .collect::<Option<_>>()
            .ok_or_else(|| missing("an axis has no name"))?;
        let datasets = multiscale["datasets"].as_array().filter(|all| !all.is_empty());
        let datasets = datasets.ok_or_else(|| missing("it has no levels"))?;
        let mut described = Self { axes, paths: Vec::new(), scales: Vec::new() };
        for dataset in datasets {
            let path = dataset["path"].as_str().ok_or_else(|| missing("a level has no path"))?;
            let transforms = dataset["coordinateTransformations"].as_array();
            let scale = transforms.into_iter().flatten().find(|one| one["type"] == "scale");
            let scale = scale.and_then(|one| one["scale"].as_array());
            let scale = scale.ok_or_else(|| missing("a level has no scale"))?;
            let along = |axis: &str| match described.axes.iter().position(|name| name == axis) {
                Some(place) => scale.get(place).and_then(Value::as_f64),
                None => Some(1.0),
            };
            let scale = [along("z"), along("y"), along("x")].map(|one| one.ok_or(()));
            let [Ok(z), Ok(y), Ok(x)] = scale else { return Err(missing("a scale is not whole")) };
            described.paths.push(path.to_owned());
            described.scales.push([z, y, x]);
        }
        Ok(described)
    }

    /// How many voxels of each level make one of the next.
    fn factors(&self, image: &Path) -> Result<Vec<[usize; 3]>, Error> {
        let factor = |pair: &[[f64; 3]]| {
            let ratios = std::array::from_fn(|axis| (pair[1][axis] / pair[0][axis]).round());
            let sane = ratios.iter().all(|ratio: &f64| (1.0..=1024.0).contains(ratio));
            if sane { Ok(ratios.map(|ratio| ratio as usize)) } else { Err(ratios) }
        };
        self.scales.windows(2).map(factor).collect::<Result<_, _>>().map_err(|ratios| {
            let what = format!("a level is {ratios:?} times as coarse as the one before");
            let way_out = "write the labels as a store of their own".to_owned();
            Error::Unsupported { path: image.to_owned(), what, way_out }
        })
    }

    /// Whether labels of this layout lie on the voxels of the image.
    fn check(&self, image: &Path, version: NgffVersion, layout: &ZarrLayout) -> Result<(), Error> {
        let file = if version == NgffVersion::V04 { ".zarray" } else { "zarr.json" };
        let path = image.join(&self.paths[0]).join(file);
        let array = read_json(&path)?;
        let shape = array["shape"].as_array().cloned().unwrap_or_default();
        let along = |axis: &str| match self.axes.iter().position(|name| name == axis) {
            Some(place) => shape.get(place).and_then(Value::as_u64),
            None => Some(1),
        };
        let found = ["t", "z", "y", "x"].map(along);
        let [z, y, x] = layout.shape;
        let wanted = [layout.times, z, y, x].map(|length| Some(length as u64));
        if found == wanted {
            return Ok(());
        }
        let text = |lengths: [Option<u64>; 4]| {
            lengths.map(|length| length.map_or("?".to_owned(), |n| n.to_string())).join(" x ")
        };
        Err(Error::Choice {
            path: image.to_owned(),
            what: format!(
                "the image has {} voxels along t, z, y, x, the labels {}",
                text(found),
                text(wanted)
            ),
            choices: "the image that the labels were made from".to_owned(),
        })
    }
}

/// Labels must be of the version of their image.
fn check_version(
    image: &Path,
    version: NgffVersion,
    attributes: &Map<String, Value>,
) -> Result<(), Error> {
    let found = match version {
        NgffVersion::V04 => attributes.get("multiscales").and_then(|all| all[0].get("version")),
        NgffVersion::V05 => attributes.get("version"),
    };
    let found = found.and_then(Value::as_str).unwrap_or("unknown");
    if found == version.name() {
        return Ok(());
    }
    Err(Error::Unsupported {
        path: image.to_owned(),
        what: format!("writing labels into an OME-Zarr of version {found}"),
        way_out: "write them as a store of their own".to_owned(),
    })
}

/// The version and OME-Zarr's attributes of a store.
fn read_attributes(store: &Path) -> Result<(NgffVersion, Map<String, Value>), Error> {
    let (version, attributes) = if store.join("zarr.json").is_file() {
        let mut group = read_json(&store.join("zarr.json"))?;
        (NgffVersion::V05, group["attributes"]["ome"].take())
    } else if store.join(".zattrs").is_file() {
        (NgffVersion::V04, read_json(&store.join(".zattrs"))?)
    } else {
        let what = "no OME-Zarr image: there is neither zarr.json nor .zattrs in it".to_owned();
        return Err(Error::Format { path: store.to_owned(), what });
    };
    match attributes {
        Value::Object(attributes) => Ok((version, attributes)),
        _ => {
            let what = "no OME-Zarr image: it has no attributes of one".to_owned();
            Err(Error::Format { path: store.to_owned(), what })
        }
    }
}

/// The names in a group of label images; none if there is no group yet.
fn read_group(group: &Path, version: NgffVersion) -> Result<Option<Vec<String>>, Error> {
    let file = if version == NgffVersion::V04 { ".zattrs" } else { "zarr.json" };
    if !group.join(file).is_file() {
        return Ok(None);
    }
    let (_, attributes) = read_attributes(group)?;
    let names = attributes.get("labels").and_then(Value::as_array);
    let name = |name: &Value| name.as_str().map(str::to_owned);
    let names = names.and_then(|names| names.iter().map(name).collect::<Option<Vec<_>>>());
    let what = "a group of label images has no list of names".to_owned();
    names.map(Some).ok_or(Error::Format { path: group.to_owned(), what })
}

/// Metadata are small; a larger file is none.
const MOST_BYTES: u64 = 64 << 20;

fn read_json(path: &Path) -> Result<Value, Error> {
    let file = File::open(path).map_err(|source| Error::read(path, source))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|source| Error::read(path, source))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Format {
        path: path.to_owned(),
        what: format!("not the JSON of a Zarr store: {error}"),
    })
}
