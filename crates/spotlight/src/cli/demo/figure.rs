//! The picture of the demo: input, target, F-net and Spotlight of a held-out stack.

use std::path::Path;

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_io::manifest::Row;
use spotlight_io::{Selection, atomic, read_stack};

use super::study::Stain;
use crate::montage::{Column, fullest_cut, montage, percentile_limits};

/// Percentiles of the voxels that are drawn black and white.
const LIMITS: (f64, f64) = (0.1, 99.9);

/// Draws a held-out row with its stains and writes it as PNG.
pub(super) fn write(path: &Path, row: &Row, stains: &[Stain], overwrite: bool) -> Result<()> {
    let read = |path: &Path| read_stack(path, &Selection::default());
    let target = read(&row.target)?;
    let spacing_um = target.spacing_um;
    let mut shown = vec![
        ("Input", read(&row.signal)?.to_f32(), "counts"),
        ("Target", target.to_f32(), "counts"),
    ];
    for stain in stains.iter().filter(|stain| stain.row == row) {
        shown.push((stain.model.title(), read(&stain.path)?.to_f32(), "s.d."));
    }
    let truth = match &row.mask {
        Some(mask) => read(mask)?.to_f32().map(|label| *label > 0.0),
        None => Volume::filled(target.shape(), false),
    };
    let cut = fullest_cut(&truth);
    let column = |(title, volume, unit)| {
        let limits = percentile_limits(volume, LIMITS.0, LIMITS.1);
        Column { title, volume, limits, unit }
    };
    let columns: Vec<Column> =
        shown.iter().map(|(title, volume, unit)| column((*title, volume, *unit))).collect();
    let [depth, height, _] = target.shape();
    let notes = [
        format!(
            "A held-out simulated stack: plane z = {} of {depth} above line y = {} of {height}; \
             the orange marks show where the other one lies.",
            cut.z + 1,
            cut.y + 1,
        ),
        format!(
            "Black and white are the values above each column, {} and {} % of its voxels. \
             Predictions are in standard deviations of the target, from its mean (F-net) or from \
             its foreground threshold (Spotlight).",
            LIMITS.0, LIMITS.1,
        ),
    ];
    let drawn = montage(&columns, cut, spacing_um, &notes);
    let mut png = Vec::new();
    drawn.picture.write_png(&mut png, &notes.join(" "))?;
    Ok(atomic::write_bytes(path, &png, overwrite)?)
}
