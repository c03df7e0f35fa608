//! The settings that `spotlight tune` tries: their names, values and table.

use std::path::Path;

use anyhow::Result;
use spotlight_image::segment::{Grid, Trial, Watershed};
use spotlight_io::table::{Column, Table, write_table};

use crate::cli::wrong_use;

/// A setting that can be tried.
pub(super) struct Field {
    /// Its key in the recipe and for `--try`.
    pub(super) name: &'static str,
    /// Its value in a segmentation.
    pub(super) get: fn(&Watershed) -> usize,
    /// Its values in a grid.
    values: fn(&mut Grid) -> &mut Vec<usize>,
}

/// All that can be tried.
pub(super) const FIELDS: [Field; 5] = [
    Field {
        name: "median_size",
        get: |watershed| watershed.median_size,
        values: |grid| &mut grid.median_size,
    },
    Field {
        name: "ball_radius",
        get: |watershed| watershed.ball_radius,
        values: |grid| &mut grid.ball_radius,
    },
    Field {
        name: "seed_dilation",
        get: |watershed| watershed.seed_dilation,
        values: |grid| &mut grid.seed_dilation,
    },
    Field {
        name: "min_object_voxels",
        get: |watershed| watershed.cleanup.min_object_voxels,
        values: |grid| &mut grid.min_object_voxels,
    },
    Field {
        name: "max_object_voxels",
        get: |watershed| watershed.cleanup.max_object_voxels,
        values: |grid| &mut grid.max_object_voxels,
    },
];

/// The grid of the default values, and those of `--try key=n,n`.
///
/// # Errors
///
/// If a key is not known, or a value no whole number, or an even median.
pub(super) fn grid(tries: &[String]) -> Result<Grid> {
    let mut grid = Grid::default();
    for text in tries {
        let (key, list) = text.split_once('=').unwrap_or((text, ""));
        let field = FIELDS.iter().find(|field| field.name == key.trim()).ok_or_else(|| {
            let known = FIELDS.map(|field| field.name).join(", ");
            wrong_use(format!("--try {text}: {key} cannot be tried"), format!("try {known}"))
        })?;
        let values: Option<Vec<usize>> =
            list.split(',').map(|value| value.trim().parse().ok()).collect();
        let values = values.ok_or_else(|| {
            let hint = format!("write it as --try {}=3,5", field.name);
            wrong_use(format!("--try {text}: these are not whole numbers"), hint)
        })?;
        if field.name == "median_size" && values.iter().any(|size| size % 2 == 0) {
            return Err(wrong_use(format!("--try {text}: a median has an odd size"), ""));
        }
        *(field.values)(&mut grid) = values;
    }
    Ok(grid)
}

/// Writes all trials, the best first.
pub(super) fn write(path: &Path, trials: &[Trial], overwrite: bool) -> Result<()> {
    let scores = trials.iter().map(|trial| trial.score).collect();
    let mut columns = vec![Column::real("mean_average_precision", scores)];
    for field in &FIELDS {
        let values = trials.iter().map(|trial| (field.get)(&trial.options) as i64);
        columns.push(Column::integer(field.name, values.collect()));
    }
    Ok(write_table(path, &Table { columns }, overwrite)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_replace_the_values_of_their_setting() {
        let tried =
            grid(&["ball_radius=4, 6".to_owned(), "max_object_voxels=0".to_owned()]).unwrap();
        assert_eq!(tried.ball_radius, [4, 6]);
        assert_eq!(tried.max_object_voxels, [0]);
        assert_eq!(tried.median_size, Grid::default().median_size);
        for wrong in ["radius=3", "ball_radius", "ball_radius=x", "median_size=4"] {
            assert!(grid(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
