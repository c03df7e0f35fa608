//! The picture of the demo: input, target, F-net and Spotlight of a held-out stack.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_image::foreground::threshold;
use spotlight_image::standardise::moments;
use spotlight_io::manifest::Row;
use spotlight_io::{Selection, atomic, read_stack};
use spotlight_learn::predict::Predictor;
use spotlight_learn::prepare::TargetCentre;

use super::Model;
use crate::cli::evaluate::target_centre;
use crate::montage::{Column, fullest_cut, montage, percentile_limits};

/// Draws a held-out row with its two stains and writes it as PNG.
///
/// The stains are shown in the grey levels of the target: the standardisation of their
/// model, with the target's own statistics, is undone, so that one pair of limits fits all
/// three fluorescence columns.
pub(super) fn write(
    path: &Path,
    row: &Row,
    stains: &[(Model, &Row, PathBuf)],
    predictors: &[(Model, Predictor)],
    overwrite: bool,
) -> Result<()> {
    let read = |path: &Path| read_stack(path, &Selection::default());
    let (input, target) = (read(&row.signal)?, read(&row.target)?);
    let integer = target.is_integer();
    let spacing_um = target.spacing_um.unwrap_or([1.0; 3]);
    let (input, target) = (input.to_f32(), target.to_f32());
    let mut shown: Vec<(&str, Volume<f32>)> = Vec::new();
    for (model, predictor) in predictors {
        let of_row = stains.iter().find(|(m, r, _)| m == model && *r == row);
        let (_, _, path) = of_row.expect("every model has stained every held-out row");
        let manifest = &predictor.model.manifest;
        let measured = moments(&target);
        let centre = match target_centre(manifest) {
            TargetCentre::Mean => measured.mean,
            TargetCentre::Threshold => threshold(&target, integer, manifest.prepare.otsu),
        };
        let counts = |value: &f32| (f64::from(*value) * measured.std + centre) as f32;
        shown.push((model.title(), read(path)?.to_f32().map(counts)));
    }
    let truth = match &row.mask {
        Some(mask) => read(mask)?.to_f32().map(|label| *label > 0.0),
        None => Volume::filled(target.shape, false),
    };
    let cut = fullest_cut(&truth);
    let [light, fluorescence] = [&input, &target].map(|v| percentile_limits(v, 0.1, 99.9));
    let mut columns = vec![
        Column { title: "Input", volume: &input, limits: light, unit: "counts" },
        Column { title: "Target", volume: &target, limits: fluorescence, unit: "counts" },
    ];
    columns.extend(shown.iter().map(|(title, volume)| Column {
        title,
        volume,
        limits: fluorescence,
        unit: "counts",
    }));
    let [depth, height, _] = target.shape;
    let notes = [
        format!(
            "A held-out simulated stack: plane z = {} of {depth} above line y = {} of {height}; \
             the orange marks show where the other one lies.",
            cut.z + 1,
            cut.y + 1,
        ),
        "Black and white are the values above each column: 0.1 and 99.9 % of the voxels of \
         the input, and of the target for all fluorescence."
            .to_owned(),
        "Predictions are shown in the target's counts: their standardisation is undone.".to_owned(),
    ];
    let drawn = montage(&columns, cut, spacing_um, &notes);
    let mut png = Vec::new();
    drawn.picture.write_png(&mut png, &notes.join(" "))?;
    Ok(atomic::write_bytes(path, &png, overwrite)?)
}
