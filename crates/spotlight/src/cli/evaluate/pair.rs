//! Single predictions: each beside its target, and its mask if there is one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use spotlight_io::atomic;
use spotlight_learn::model_file::Model;

use super::Options;
use super::comparison::{Case, Space, evaluate};
use crate::cli::{Context, values, wrong_use};
use crate::progress::Progress;
use crate::scores::{HEADINGS, NAMES, Scores};
use crate::table::{Table, count};

/// One prediction with its scores.
#[derive(Clone, Debug)]
pub struct Scored {
    /// What the row is called.
    pub name: String,
    /// The scores.
    pub scores: Scores,
}

/// Scores the predictions that are named, in their order.
pub(super) fn run(options: &Options, context: &Context) -> Result<()> {
    let cases = cases_in_order(options)?;
    if let Some(output) = &options.output {
        atomic::check_free(output, options.overwrite)?;
    }
    let model = the_model(options)?;
    let manifest = model.as_ref().map(|model| &model.manifest);
    let space = manifest.map_or(Space::Raw(options.otsu), Space::Model);

    let mut scored = Vec::with_capacity(cases.len());
    let mut progress = Progress::new(context, "evaluate", cases.len() as u64);
    for (index, case) in cases.iter().enumerate() {
        let name = case.prediction.display().to_string();
        progress.set(index as u64, &name);
        scored.push(Scored { name, scores: evaluate(case, space, options.memory)? });
    }
    drop(progress);
    if let Some(output) = &options.output {
        atomic::write_bytes(output, csv(&scored)?.as_bytes(), options.overwrite)?;
    }
    let by_mask = cases.iter().all(|case| case.mask.is_some());
    let text = if options.json {
        json_text(&scored, manifest.is_some(), by_mask)?
    } else {
        table_text(&scored, manifest.is_some(), by_mask)
    };
    context.print(&text)
}

/// The one model of all predictions.
fn the_model(options: &Options) -> Result<Option<Model>> {
    match &options.model[..] {
        [] => Ok(None),
        [path] => Ok(Some(Model::read(&values::model_path(Path::new(path)))?)),
        _ => {
            Err(wrong_use("several models need --manifest", "score each model's predictions alone"))
        }
    }
}

/// Predictions, targets and masks in the order in which they are named.
fn cases_in_order(options: &Options) -> Result<Vec<Case>> {
    let lists = [&options.prediction, &options.target, &options.mask];
    let mut files = Vec::new();
    for list in lists {
        // A target may belong to several predictions, so that repeated names stay.
        let each: Result<Vec<Vec<PathBuf>>> =
            list.iter().map(|name| values::files(std::slice::from_ref(name))).collect();
        files.push(each?.concat());
    }
    check_counts(files[0].len(), files[1].len(), files[2].len())?;
    let case = |index: usize| Case {
        prediction: files[0][index].clone(),
        target: files[1][index].clone(),
        channel: options.channel.clone(),
        mask: files[2].get(index).cloned(),
    };
    Ok((0..files[0].len()).map(case).collect())
}

fn check_counts(predictions: usize, targets: usize, masks: usize) -> Result<()> {
    if predictions != targets || (masks > 0 && masks != predictions) {
        return Err(wrong_use(
            format!(
                "{}, {} and {} do not pair up",
                count(predictions, "prediction"),
                count(targets, "target"),
                count(masks, "mask")
            ),
            "give one target, and one mask or none, for each prediction, in the same order",
        ));
    }
    Ok(())
}

/// The scores as CSV, one row for each prediction.
fn csv(scored: &[Scored]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["prediction"].iter().chain(&NAMES))?;
    for row in scored {
        let values = row.scores.values().map(|value| value.to_string());
        writer.write_record(std::iter::once(&row.name).chain(&values))?;
    }
    let bytes = writer.into_inner().context("while writing the scores")?;
    String::from_utf8(bytes).context("while writing the scores")
}

fn json_text(scored: &[Scored], by_model: bool, by_mask: bool) -> Result<String> {
    let row = |name: &str, scores: &Scores| -> Result<Value> {
        let mut row = serde_json::to_value(scores)?;
        row["name"] = json!(name);
        Ok(row)
    };
    let rows: Result<Vec<Value>> = scored.iter().map(|s| row(&s.name, &s.scores)).collect();
    let all: Vec<Scores> = scored.iter().map(|s| s.scores).collect();
    let whole = json!({
        "space": if by_model { "model" } else { "raw" },
        "dice_against": if by_mask { "mask" } else { "target" },
        "scores": rows?,
        "mean": row("mean", &Scores::mean(&all))?,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?))
}

fn table_text(scored: &[Scored], by_model: bool, by_mask: bool) -> String {
    let mut table = Table::new(&["prediction"]);
    table.header.extend(HEADINGS.map(str::to_owned));
    let all: Vec<Scores> = scored.iter().map(|s| s.scores).collect();
    let mut rows: Vec<(&str, Scores)> =
        scored.iter().map(|s| (s.name.as_str(), s.scores)).collect();
    if all.len() > 1 {
        rows.push(("mean", Scores::mean(&all)));
    }
    for (name, scores) in rows {
        table.rows.push([vec![name.to_owned()], scores.cells()].concat());
    }
    let mean = Scores::mean(&all);
    let space = if by_model {
        "in the space of the model: the span of its raw training targets"
    } else {
        "of the stacks as they are: the span of the target"
    };
    let truth = if by_mask { "the given mask" } else { "that of the target" };
    format!(
        "{}\nPSNR in dB, data range {} {space}.\n\
         Foreground: the target above its threshold, {:.1} % of the volume; Dice against {truth}.\n",
        table.text(),
        (mean.data_range * 1e4).round() / 1e4,
        100.0 * mean.foreground,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_must_pair_up() {
        assert!(check_counts(2, 2, 0).is_ok() && check_counts(2, 2, 2).is_ok());
        for (predictions, targets, masks) in [(2, 1, 0), (1, 2, 0), (2, 2, 1)] {
            let error = check_counts(predictions, targets, masks).unwrap_err();
            assert_eq!(crate::cli::Outcome::of(&error).status, 2);
        }
    }

    #[test]
    fn a_csv_has_a_row_for_each_prediction_and_keeps_all_digits() {
        let scores = Scores { psnr: f64::INFINITY, pearson: 1.0 / 3.0, ..Scores::mean(&[]) };
        let text = csv(&[Scored { name: "a, b.tif".into(), scores }]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split(',').count(), 10);
        assert!(lines[1].starts_with("\"a, b.tif\",inf,NaN,NaN,0.3333333333333333,"), "{text}");
    }
}
