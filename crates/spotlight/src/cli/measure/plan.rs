//! Which files belong together, in which unit lengths are, and whether the table can be
//! written: checked before any voxel is read.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_io::atomic;
use spotlight_io::table::TableFormat;
use spotlight_io::{Channel, inspect};

use super::{Options, record_path};
use crate::cli::{failure, values, wrong_use};

/// The files of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// One for each label image, in their order.
    pub(super) fields: Vec<Field>,
    /// The unit of all lengths of the table.
    pub(super) unit: LengthUnit,
    /// Voxel size in place of what the files say.
    pub(super) spacing_um: Option<[f64; 3]>,
    /// Channel of the label images.
    pub(super) label_channel: Option<Channel>,
}

/// A label image with the images of the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) labels: PathBuf,
    pub(super) images: Vec<Image>,
}

/// One channel of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) path: PathBuf,
    /// The channel to read, where the file has several.
    pub(super) channel: Option<Channel>,
    /// What the command line calls it; else the file must name it.
    pub(super) name: Option<String>,
}

/// The unit that lengths are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LengthUnit {
    /// The voxel size is known.
    Micrometre,
    /// Voxels were asked for.
    Voxel,
    /// No label image gives a voxel size.
    VoxelForWant,
}

impl LengthUnit {
    /// As the record calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Micrometre => "um",
            Self::Voxel | Self::VoxelForWant => "voxel",
        }
    }
}

impl Plan {
    /// What the command line asks for.
    ///
    /// # Errors
    ///
    /// If files are missing or do not pair up, if some label images give a voxel size and
    /// others do not, or if the table is in the way.
    pub(super) fn new(options: &Options) -> Result<Self> {
        TableFormat::of(&options.output).map_err(|error| wrong_use(error.to_string(), ""))?;
        let labels = values::files(&options.labels)?;
        let groups = groups(&options.image, labels.len())?;
        let images = |i: usize| groups.iter().flat_map(move |g| g.images(i, &options.channel));
        if options.channel.len() > 1 && groups.iter().any(|group| group.name.is_some()) {
            return Err(wrong_use(
                "--image NAME= names one channel, and --channel chooses several",
                "leave NAME= out to take the names of --channel, or give one --channel",
            ));
        }
        let fields = labels.iter().enumerate();
        let fields: Vec<Field> = fields
            .map(|(i, labels)| Field { labels: labels.clone(), images: images(i).collect() })
            .collect();
        let unit = unit(options, &labels)?;
        let label_channel = options.label_channel.clone();
        let plan = Self { fields, unit, spacing_um: options.spacing, label_channel };
        plan.check_output(options)?;
        Ok(plan)
    }

    /// The files that are read.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Path> {
        self.fields.iter().flat_map(|field| {
            let images = field.images.iter().map(|image| image.path.as_path());
            std::iter::once(field.labels.as_path()).chain(images)
        })
    }

    fn check_output(&self, options: &Options) -> Result<()> {
        let known = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for output in [options.output.clone(), record_path(&options.output)] {
            if self.inputs().any(|input| known(input) == known(&output)) {
                return Err(wrong_use(
                    format!("{} would replace an input", output.display()),
                    "choose another output",
                ));
            }
            if atomic::check_free(&output, options.overwrite).is_err() {
                return Err(wrong_use(
                    format!("{} exists already", output.display()),
                    "choose another output, or add --overwrite to replace it",
                ));
            }
        }
        // Dropped at once: leaves nothing behind.
        atomic::check_free(&options.output, options.overwrite)?;
        atomic::check_writable(&options.output)?;
        Ok(())
    }
}

/// The unit of lengths; one table has one unit.
fn unit(options: &Options, labels: &[PathBuf]) -> Result<LengthUnit> {
    if options.in_voxels {
        return Ok(LengthUnit::Voxel);
    }
    if options.spacing.is_some() {
        return Ok(LengthUnit::Micrometre);
    }
    let mut with = None;
    let mut without = None;
    for path in labels {
        let place = if inspect(path)?.spacing_um.is_some() { &mut with } else { &mut without };
        place.get_or_insert(path);
    }
    match (with, without) {
        (Some(with), Some(without)) => Err(failure(
            format!("{} gives a voxel size and {} does not", with.display(), without.display()),
            "measure all with --spacing z,y,x in µm, or all with --in-voxels",
        )),
        (Some(_), None) => Ok(LengthUnit::Micrometre),
        (None, _) => Ok(LengthUnit::VoxelForWant),
    }
}

/// Files of one channel, one for each label image.
struct Group {
    name: Option<String>,
    files: Vec<PathBuf>,
}

impl Group {
    /// The images that belong to a label image: one for each channel that is read.
    fn images(&self, index: usize, channels: &[Channel]) -> Vec<Image> {
        let path = self.files[index].clone();
        let image = |channel: Option<Channel>| {
            let of_channel = match &channel {
                Some(Channel::Name(name)) => Some(name.clone()),
                _ => None,
            };
            let name = self.name.clone().or(of_channel);
            Image { path: path.clone(), channel, name }
        };
        match channels {
            [] => vec![image(None)],
            channels => channels.iter().cloned().map(|channel| image(Some(channel))).collect(),
        }
    }
}

/// The images in groups of as many files as there are label images. A `NAME=` begins a group;
/// what has no name goes on with the present group until it is full.
fn groups(arguments: &[String], fields: usize) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for argument in arguments {
        let (name, path) = values::name_and_path(argument);
        for (i, file) in values::files(&[PathBuf::from(path)])?.into_iter().enumerate() {
            let begins = i == 0 && name.is_some();
            match groups.last_mut().filter(|group| !begins && group.files.len() < fields) {
                Some(group) => group.files.push(file),
                None => groups.push(Group {
                    name: name.filter(|_| begins).map(str::to_owned),
                    files: vec![file],
                }),
            }
        }
    }
    let Some(group) = groups.iter().find(|group| group.files.len() != fields) else {
        return Ok(groups);
    };
    let of = group.name.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    Err(wrong_use(
        format!("{fields} label images and {} images{of} do not pair up", group.files.len()),
        "give one image of each channel for each label image, in the same order",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], fields: usize, expected: &[(Option<&str>, &[&str])]) {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        for name in ["a1.tif", "a2.tif", "b1.tif", "b2.tif"] {
            std::fs::write(place(name), "").unwrap();
        }
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| match argument.split_once('=') {
                Some((name, path)) => format!("{name}={}", place(path)),
                None => place(argument),
            })
            .collect();
        let found = groups(&arguments, fields).unwrap();
        let found: Vec<(Option<&str>, Vec<PathBuf>)> =
            found.iter().map(|group| (group.name.as_deref(), group.files.clone())).collect();
        let files = |names: &[&str]| names.iter().map(|name| place(name).into()).collect();
        let expected: Vec<(Option<&str>, Vec<PathBuf>)> =
            expected.iter().map(|(name, names)| (*name, files(names))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn images_come_in_groups_of_the_label_images() {
        check(&[], 2, &[]);
        check(&["a1.tif", "b1.tif"], 1, &[(None, &["a1.tif"]), (None, &["b1.tif"])]);
        check(&["a1.tif", "b1.tif"], 2, &[(None, &["a1.tif", "b1.tif"])]);
        check(&["D=a?.tif"], 2, &[(Some("D"), &["a1.tif", "a2.tif"])]);
        check(
            &["D=a1.tif", "a2.tif", "E=b1.tif", "b2.tif"],
            2,
            &[(Some("D"), &["a1.tif", "a2.tif"]), (Some("E"), &["b1.tif", "b2.tif"])],
        );
        check(
            &["D=a*.tif", "b*.tif"],
            2,
            &[(Some("D"), &["a1.tif", "a2.tif"]), (None, &["b1.tif", "b2.tif"])],
        );
    }
}
