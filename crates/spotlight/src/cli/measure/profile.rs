//! The table of all images: identifiers first, then features, a row for each object.

use std::path::Path;

use anyhow::Result;
use spotlight_image::measure::{FeatureTable, ProfileNames, profile_columns, profile_name};
use spotlight_io::table::{Column, Table, Values};

use super::plan::Field;
use crate::cli::{failure, wrong_use};

/// A table that grows image by image.
pub(super) struct Profile {
    pub(super) table: Table,
    /// The features and their units.
    pub(super) units: Vec<(String, String)>,
    /// What the channels are called, once an image is read.
    pub(super) channels: Option<Vec<String>>,
    names: ProfileNames,
}

impl Profile {
    /// A table without rows or columns.
    pub(super) fn new(names: ProfileNames) -> Self {
        Self { table: Table::default(), units: Vec::new(), channels: None, names }
    }

    /// Checks what the channels of an image are called, before anything is measured in them.
    ///
    /// # Errors
    ///
    /// If two have one name, or other names than those of the first image.
    pub(super) fn check_channels(&mut self, field: &Field, channels: &[String]) -> Result<()> {
        let first = self.channels.get_or_insert_with(|| channels.to_vec());
        if let Some(i) = first.iter().zip(channels).position(|(one, two)| one != two) {
            return Err(failure(
                format!(
                    "the channel of {} is called {}, and that of the first image {}",
                    field.images[i].path.display(),
                    channels[i],
                    first[i]
                ),
                format!("name the channel of all images: --image {}=…", first[i]),
            ));
        }
        for (i, name) in channels.iter().enumerate() {
            if channels[..i].contains(name) {
                return Err(wrong_use(
                    format!("two images are called {name}"),
                    "name them: --image ONE=a.tif --image TWO=b.tif",
                ));
            }
            if *name == self.names.compartment {
                return Err(wrong_use(
                    format!("an image is called {name}, as the objects are"),
                    "name it: --image DNA=a.tif, or the objects: --compartment Cells",
                ));
            }
        }
        Ok(())
    }

    /// Adds the objects of an image, the `index`th from 0.
    pub(super) fn add(&mut self, index: usize, field: &Field, features: &FeatureTable) {
        let columns = self.columns(index, field, features);
        if index == 0 {
            self.units = self.units_of(features);
            self.table.columns = columns;
            return;
        }
        for (column, more) in self.table.columns.iter_mut().zip(columns) {
            append(&mut column.values, more.values);
        }
    }

    fn columns(&self, index: usize, field: &Field, features: &FeatureTable) -> Vec<Column> {
        let rows = features.objects.len();
        let compartment = &self.names.compartment;
        let text = |name: String, value: String| Column::text(name, vec![value; rows]);
        let mut columns = vec![
            Column::integer("Metadata_ImageNumber", vec![index as i64 + 1; rows]),
            text(format!("Metadata_FileName_{compartment}"), file_name(&field.labels)),
            text(format!("Metadata_PathName_{compartment}"), folder_name(&field.labels)),
        ];
        for (image, name) in field.images.iter().zip(self.channels.iter().flatten()) {
            columns.push(text(format!("Metadata_FileName_{name}"), file_name(&image.path)));
            columns.push(text(format!("Metadata_PathName_{name}"), folder_name(&image.path)));
        }
        let at_border = features.objects.iter().map(|object| i64::from(object.touches_border));
        columns.push(Column::integer("Metadata_TouchesBorder", at_border.collect()));
        for (axis, name) in ["Z", "Y", "X"].into_iter().enumerate() {
            let size = features.spacing_um.map_or(f64::NAN, |size| size[axis]);
            columns.push(Column::real(format!("Metadata_Spacing{name}_um"), vec![size; rows]));
        }
        let profile = profile_columns(features, &self.names);
        let (identifiers, measured): (Vec<_>, Vec<_>) =
            profile.into_iter().partition(|(name, _)| name.starts_with("Metadata_"));
        // The object's number beside the image's, other places after what is the image's.
        for (i, (name, values)) in identifiers.into_iter().enumerate() {
            let column = if is_whole(&name) {
                Column::integer(name, values.into_iter().map(|value| value as i64).collect())
            } else {
                Column::real(name, values)
            };
            columns.insert(if i == 0 { 1 } else { columns.len() }, column);
        }
        columns.extend(measured.into_iter().map(|(name, values)| Column::real(name, values)));
        columns
    }

    /// The features, each with its unit.
    fn units_of(&self, features: &FeatureTable) -> Vec<(String, String)> {
        let volume = format!("{}_AreaShape_Volume", self.names.compartment);
        let mut units = vec![(volume, String::from("voxel^3"))];
        units.extend(
            features.columns.iter().map(|column| {
                (profile_name(&column.name, &self.names), features.unit_name(column))
            }),
        );
        units
    }
}

/// Whether an identifier is a whole number: all but the positions of centres.
fn is_whole(name: &str) -> bool {
    name == "Metadata_ObjectNumber" || name.starts_with("Metadata_SourceBBox")
}

fn append(values: &mut Values, more: Values) {
    match (values, more) {
        (Values::Text(values), Values::Text(more)) => values.extend(more),
        (Values::Integer(values), Values::Integer(more)) => values.extend(more),
        (Values::Real(values), Values::Real(more)) => values.extend(more),
        _ => unreachable!("a column has one type in all images"),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folder of a file, as the command line gives it; `.` where it gives none.
fn folder_name(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_string_lossy().into_owned()
}
