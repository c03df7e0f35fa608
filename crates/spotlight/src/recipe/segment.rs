//! The recipe of a segmentation: the sections of `spotlight segment`.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spotlight_image::segment::{Cleanup, Watershed};
use toml::{Table, Value};

use super::settings::{Sections, Setting, section};
use crate::cli::wrong_use;

/// Every setting of a segmentation. The default is the paper's where it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SegmentRecipe {
    /// The grid that nuclei are found on.
    pub grid: GridOptions,
    /// The chain up to its cleanup. `scale` is not a setting: it follows from the grid.
    pub watershed: Watershed,
}

/// The grid that nuclei are found on: all sizes of the recipe are in its voxels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum GridOptions {
    /// Voxels of one size, whatever those of the stack.
    Spacing(GridSpacing),
    /// So many times the voxels of the stack, whatever their size.
    Scale(GridScale),
}

impl Default for GridOptions {
    fn default() -> Self {
        Self::Spacing(GridSpacing::default())
    }
}

/// Voxels of one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GridSpacing {
    /// Voxel size in µm along (z, y, x). The default is half the paper's resolution.
    pub spacing_um: [f64; 3],
}

impl Default for GridSpacing {
    fn default() -> Self {
        Self { spacing_um: [0.58; 3] }
    }
}

/// So many times the voxels of the stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GridScale {
    /// Factor of the stack's size along (z, y, x).
    pub scale: [f64; 3],
}

impl Default for GridScale {
    fn default() -> Self {
        Self { scale: Watershed::default().scale }
    }
}

impl SegmentRecipe {
    /// The recipe with these settings, later ones overriding earlier, all else the default.
    ///
    /// # Errors
    ///
    /// At the first setting that is unknown, of the wrong type or out of its range, and at one
    /// that has no meaning beside the others.
    pub fn new(settings: &[Setting]) -> Result<Self> {
        Self::of(settings)
    }

    /// The recipe as the text of a file that gives the same recipe again.
    ///
    /// # Errors
    ///
    /// If a number is too large for TOML.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(&self.to_table()?)?)
    }

    /// The recipe as JSON, for records.
    ///
    /// # Errors
    ///
    /// If a number is too large for TOML.
    pub fn to_json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(self.to_table()?)?)
    }

    /// The chain for a stack with voxels of this size in µm; `None` if the recipe needs the size
    /// and the stack has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight::recipe::SegmentRecipe;
    ///
    /// let recipe = SegmentRecipe::default();
    /// assert_eq!(recipe.watershed_for(Some([0.29; 3])).unwrap().scale, [0.5; 3]);
    /// assert!(recipe.watershed_for(None).is_none());
    /// ```
    #[must_use]
    pub fn watershed_for(&self, spacing_um: Option<[f64; 3]>) -> Option<Watershed> {
        let scale = match &self.grid {
            GridOptions::Scale(grid) => grid.scale,
            GridOptions::Spacing(grid) => {
                let from = spacing_um?;
                std::array::from_fn(|axis| from[axis] / grid.spacing_um[axis])
            }
        };
        Some(Watershed { scale, ..self.watershed.clone() })
    }
}

impl Sections for SegmentRecipe {
    fn known() -> Result<Table> {
        let mut known = Self::default().to_table()?;
        if let Some(Value::Table(grid)) = known.get_mut("grid") {
            // The settings of both rules.
            grid.extend(Table::try_from(GridScale::default())?);
        }
        Ok(known)
    }

    fn to_table(&self) -> Result<Table> {
        let mut watershed = Table::try_from(&self.watershed)?;
        watershed.remove("scale");
        let cleanup = watershed.remove("cleanup");
        let mut table = Table::new();
        table.insert("grid".to_owned(), Value::try_from(&self.grid)?);
        table.insert("watershed".to_owned(), Value::Table(watershed));
        table.extend(cleanup.map(|cleanup| ("cleanup".to_owned(), cleanup)));
        Ok(table)
    }

    fn from_table(table: &Table) -> Result<Self, toml::de::Error> {
        let mut table = table.clone();
        let grid = section(&mut table, "grid")?;
        let cleanup: Cleanup = section(&mut table, "cleanup")?;
        let watershed: Watershed = section(&mut table, "watershed")?;
        Ok(Self { grid, watershed: Watershed { cleanup, ..watershed } })
    }

    fn finish(self) -> Result<Self> {
        let (name, sizes) = match &self.grid {
            GridOptions::Spacing(grid) => ("grid.spacing_um", grid.spacing_um),
            GridOptions::Scale(grid) => ("grid.scale", grid.scale),
        };
        let Watershed { stretch_percent: [low, high], clahe_divisors, .. } = self.watershed;
        let rules = [
            (sizes.iter().all(|size| size.is_finite() && *size > 0.0), name, "above 0"),
            (
                0.0 <= low && low < high && high <= 100.0,
                "watershed.stretch_percent",
                "two percentages, the first below the second",
            ),
            (clahe_divisors.iter().all(|n| *n > 0), "watershed.clahe_divisors", "above 0"),
            (
                self.watershed.clahe_clip_limit > 0.0,
                "watershed.clahe_clip_limit",
                "above 0, such as 0.015",
            ),
            (
                (2..=16_384).contains(&self.watershed.clahe_bins),
                "watershed.clahe_bins",
                "2 to 16384",
            ),
            (self.watershed.median_size % 2 == 1, "watershed.median_size", "odd; 1 is no median"),
            (
                self.watershed.seed_height.is_finite() && self.watershed.seed_height >= 0.0,
                "watershed.seed_height",
                "0 or above; 0 is for seeds by the ball",
            ),
            (
                (2..=65_536).contains(&self.watershed.threshold_bins),
                "watershed.threshold_bins",
                "2 to 65536",
            ),
        ];
        match rules.iter().find(|(kept, _, _)| !kept) {
            Some((_, name, rule)) => Err(wrong_use(format!("{name} must be {rule}"), "")),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::parse_settings;
    use super::*;
    use crate::cli::Outcome;

    fn read(text: &str) -> Result<SegmentRecipe> {
        SegmentRecipe::new(&parse_settings(text, "r.toml")?)
    }

    #[test]
    fn a_written_recipe_reads_back_the_same() {
        let text = "[watershed]\nball_radius = 7\nseed_height = 1.5\nconnectivity = \"corners\"\n\
                    [cleanup]\nmax_object_voxels = 0\n";
        for text in ["", text, "[grid]\nrule = \"scale\"\nscale = [1, 0.5, 0.5]"] {
            let recipe = read(text).unwrap();
            assert_eq!(read(&recipe.to_toml().unwrap()).unwrap(), recipe);
        }
        assert_eq!(read("").unwrap().watershed, Watershed::default());
        assert_eq!(read(text).unwrap().watershed.cleanup.max_object_voxels, 0);
    }

    #[track_caller]
    fn check_error(text: &str, words: &str) {
        let outcome = Outcome::of(&read(text).unwrap_err());
        let message = [outcome.message, outcome.hint].map(Option::unwrap_or_default).join(" ");
        assert!(message.contains(words), "no {words:?} in {message}");
        assert_eq!(outcome.status, 2);
    }

    #[test]
    fn wrong_settings_are_refused() {
        check_error("[watershed]\nball_radus = 3", "did you mean watershed.ball_radius?");
        check_error("[watershed]\nmedian_size = 4", "watershed.median_size must be odd");
        check_error("[watershed]\nscale = [1.0, 1.0, 1.0]", "no setting watershed.scale");
        check_error("[watershed]\nconnectivity = \"8\"", "faces");
        check_error("[grid]\nscale = [1.0, 1.0, 1.0]", "scale");
        check_error("[grid]\nrule = \"scale\"\nspacing_um = [1.0, 1.0, 1.0]", "spacing_um");
        check_error("[watershed]\nseed_height = -0.5", "watershed.seed_height must be 0 or above");
        check_error("[watershed]\nseed_height = nan", "watershed.seed_height must be 0 or above");
        check_error("[watershed]\nseed_height = inf", "watershed.seed_height must be 0 or above");
        check_error("[cleanup]\nmin_object_voxels = -1", "not below 0");
        check_error("[watershed]\nstretch_percent = [99.0, 1.0]", "the first below the second");
    }
}
