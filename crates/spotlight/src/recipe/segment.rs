//! The recipe of a segmentation: the sections of `spotlight segment`.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spotlight_image::segment::{Cleanup, Watershed};
use toml::{Table, Value};

use super::cellpose::CellposeSettings;
use super::settings::{Sections, Setting, section};
use crate::cli::wrong_use;

/// Every setting of a segmentation. The default is the paper's where it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SegmentRecipe {
    /// The grid that nuclei are found on.
    pub grid: GridOptions,
    /// The watershed, with the preparation and the cleanup of both methods. `scale` is not a
    /// setting: it follows from the grid.
    pub watershed: Watershed,
    /// Cellpose, in place of the watershed.
    pub cellpose: CellposeSettings,
}

/// The settings of [`Watershed`] that make the section `[prepare]`.
const PREPARE: [&str; 4] = ["stretch_percent", "clahe_divisors", "clahe_clip_limit", "clahe_bins"];

/// Sides of voxels that differ by no more than this share are equal: voxel sizes are often rounded.
const EQUAL_SIDES: f64 = 0.01;

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

    /// How many times a voxel of the grid is longer along z than along y and x, for a stack with
    /// voxels of this size in µm; 1 if the sides are equal, or neither stack nor recipe tells.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight::recipe::{GridOptions, GridScale, SegmentRecipe};
    ///
    /// let mut recipe = SegmentRecipe::default();
    /// assert_eq!(recipe.anisotropy(Some([0.3, 0.1, 0.1])), 1.0);
    /// recipe.grid = GridOptions::Scale(GridScale { scale: [1.0; 3] });
    /// assert!((recipe.anisotropy(Some([0.3, 0.1, 0.1])) - 3.0).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn anisotropy(&self, spacing_um: Option<[f64; 3]>) -> f64 {
        let [z, y, x] = match (&self.grid, spacing_um) {
            (GridOptions::Spacing(grid), _) => grid.spacing_um,
            (GridOptions::Scale(grid), Some(from)) => {
                std::array::from_fn(|axis| from[axis] / grid.scale[axis])
            }
            (GridOptions::Scale(_), None) => return 1.0,
        };
        let ratio = z / (y * x).sqrt();
        if (ratio - 1.0).abs() <= EQUAL_SIDES { 1.0 } else { ratio }
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
        let prepare = PREPARE.iter().filter_map(|key| watershed.remove_entry(*key)).collect();
        let mut table = Table::new();
        table.insert("grid".to_owned(), Value::try_from(&self.grid)?);
        table.insert("prepare".to_owned(), Value::Table(prepare));
        table.insert("watershed".to_owned(), Value::Table(watershed));
        table.insert("cellpose".to_owned(), Value::try_from(&self.cellpose)?);
        table.extend(cleanup.map(|cleanup| ("cleanup".to_owned(), cleanup)));
        Ok(table)
    }

    fn from_table(table: &Table) -> Result<Self, toml::de::Error> {
        let mut table = table.clone();
        let grid = section(&mut table, "grid")?;
        let cleanup: Cleanup = section(&mut table, "cleanup")?;
        let cellpose = section(&mut table, "cellpose")?;
        let mut watershed: Table = section(&mut table, "watershed")?;
        watershed.extend(section::<Table>(&mut table, "prepare")?);
        let watershed: Watershed = watershed.try_into()?;
        Ok(Self { grid, watershed: Watershed { cleanup, ..watershed }, cellpose })
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
                "prepare.stretch_percent",
                "two percentages, the first below the second",
            ),
            (clahe_divisors.iter().all(|n| *n > 0), "prepare.clahe_divisors", "above 0"),
            (
                self.watershed.clahe_clip_limit > 0.0,
                "prepare.clahe_clip_limit",
                "above 0, such as 0.015",
            ),
            ((2..=16_384).contains(&self.watershed.clahe_bins), "prepare.clahe_bins", "2 to 16384"),
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
            None => self.cellpose.check().map(|()| self),
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
        let cellpose = "[prepare]\nclahe_bins = 64\n[cellpose]\ndiameter = 0\ndo_3d = false\n";
        for text in ["", text, cellpose, "[grid]\nrule = \"scale\"\nscale = [1, 0.5, 0.5]"] {
            let recipe = read(text).unwrap();
            assert_eq!(read(&recipe.to_toml().unwrap()).unwrap(), recipe);
        }
        assert_eq!(read("").unwrap(), SegmentRecipe::default());
        let recipe = read(cellpose).unwrap();
        assert_eq!((recipe.watershed.clahe_bins, recipe.cellpose.diameter), (64, 0.0));
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
        check_error("[prepare]\nstretch_percent = [99.0, 1.0]", "the first below the second");
        check_error("[watershed]\nclahe_bins = 9", "did you mean prepare.clahe_bins?");
        check_error("[prepare]\nball_radius = 9", "did you mean watershed.ball_radius?");
    }

    #[test]
    fn wrong_settings_of_cellpose_are_refused() {
        for (text, words) in [
            ("diameter = -3", "cellpose.diameter must be a number above 0; 0 is that of the model"),
            ("diameter = nan", "cellpose.diameter must be a number above 0"),
            ("diameter = \"large\"", "cellpose.diameter is \"large\", it must be a number"),
            ("median_size = 2", "cellpose.median_size must be odd"),
            ("percentiles = [99, 1]", "cellpose.percentiles is 99, 1, it must be two rising"),
            ("percentiles = [1]", "it must be a list of 2, each a number"),
            ("cellprob_threshold = inf", "cellpose.cellprob_threshold is inf"),
            ("stitch_threshold = 2", "cellpose.stitch_threshold is 2, it must be between 0 and 1"),
            ("tile_overlap = 0.9", "cellpose.tile_overlap is 0.9"),
            ("tile_size = 100", "cellpose.tile_size is 100, it must be a multiple of 16"),
            ("tile_size = 1_000_000_000", "cellpose.tile_size must be at most"),
            ("batch_size = 0", "cellpose.batch_size is 0, it must be at least 1"),
            ("min_size = -1", "not below 0"),
            ("anisotropy = 2", "no setting cellpose.anisotropy"),
        ] {
            check_error(&format!("[cellpose]\n{text}"), words);
        }
    }

    #[test]
    fn anisotropy_follows_from_the_grid() {
        let of = |text: &str, spacing_um| read(text).unwrap().anisotropy(spacing_um);
        let check = |text: &str, spacing_um, expected: f64| {
            assert!((of(text, spacing_um) - expected).abs() < 1e-9, "{text}");
        };
        check("[grid]\nspacing_um = [1.2, 0.6, 0.6]", Some([0.3; 3]), 2.0);
        let scale = "[grid]\nrule = \"scale\"\nscale = [1, 0.5, 0.5]";
        check(scale, Some([0.29, 0.108, 0.108]), 0.29 / 0.216);
        check(scale, None, 1.0);
        // Sides that are equal but for their last figures.
        assert_eq!(of(scale, Some([0.4334, 0.2167, 0.21671])).to_bits(), 1.0_f64.to_bits());
    }
}
