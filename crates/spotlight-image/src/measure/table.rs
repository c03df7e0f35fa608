//! The result of measuring: one row an object, one column a feature.

use super::object::Object;

/// What a column is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number without unit: counts, ratios, angles.
    One,
    /// This power of a length, in µm where a spacing was given and in voxels elsewhere.
    Length(u8),
    /// Grey levels of the intensity image.
    GreyLevel,
}

impl Unit {
    /// The unit as text, `um` standing for µm.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_image::measure::Unit;
    ///
    /// assert_eq!(Unit::Length(3).name(true), "um^3");
    /// assert_eq!(Unit::Length(1).name(false), "voxel");
    /// ```
    #[must_use]
    pub fn name(self, physical: bool) -> String {
        let length = if physical { "um" } else { "voxel" };
        match self {
            Self::One => String::from("1"),
            Self::Length(1) => String::from(length),
            Self::Length(power) => format!("{length}^{power}"),
            Self::GreyLevel => String::from("grey level"),
        }
    }
}

/// One feature of all objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name of the feature; features of an image end in its name.
    pub name: String,
    /// What the values are measured in.
    pub unit: Unit,
    /// A value for each object, in the order of [`FeatureTable::objects`]; NaN where the
    /// feature is not defined.
    pub values: Vec<f64>,
}

/// Features of the objects of a label image.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureTable {
    /// The objects, in the order of their labels.
    pub objects: Vec<Object>,
    /// The features. They are there even if no object is.
    pub columns: Vec<Column>,
    /// Distance between voxels along (z, y, x) that lengths are measured with; voxels are the
    /// unit of length if there is none.
    pub spacing_um: Option<[f64; 3]>,
}

impl FeatureTable {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The unit of a column as text.
    #[must_use]
    pub fn unit_name(&self, column: &Column) -> String {
        column.unit.name(self.spacing_um.is_some())
    }
}
