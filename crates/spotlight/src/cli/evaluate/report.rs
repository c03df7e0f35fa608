//! What is printed: a table for each level, the tests, and why scores are not defined.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};
use spotlight_image::evaluate::{Bootstrap, Interval};
use spotlight_io::table::{Table as FileTable, Values};

use super::Options;
use super::notes::notes;
use super::pooled::{Comparison, Level, Series, comparisons, mean_of};
use super::set::Findings;
use super::tables::same_threshold;
use super::thresholds::THRESHOLD_METRICS;
use crate::recipe::SegmentRecipe;
use crate::record::peak_memory_bytes;
use crate::table::{Table, count, number};

/// Thresholds of the IoU that are printed; the files have all.
const PRINTED_IOU: [f64; 4] = [0.5, 0.65, 0.75, 0.8];

/// Fewer pairs than this never reach a p of 0.05.
const LEAST_PAIRS: usize = 6;

/// All tables as text.
pub(super) fn text(
    findings: &Findings,
    series: &[Series],
    tables: &[(&'static str, FileTable)],
    folder: &Path,
) -> String {
    let mut text = String::new();
    for level in Level::ALL {
        let of_level: Vec<&Series> = series.iter().filter(|s| s.level == level).collect();
        if !of_level.is_empty() {
            text.push_str(&level_text(findings, level, &of_level));
        }
    }
    text.push_str(&threshold_text(findings));
    text.push_str(&tests_text(findings, series));
    for note in notes(findings, series) {
        text.push_str(&format!("{note}\n"));
    }
    let names: Vec<&str> = tables.iter().map(|(name, _)| *name).collect();
    text.push_str(&format!("Written to {}: {}, record\n", folder.display(), names.join(", ")));
    text
}

/// A table of one level: a row for each score, a column for each contender that has one.
fn level_text(findings: &Findings, level: Level, series: &[&Series]) -> String {
    let has = |contender: &usize| series.iter().any(|s| !s.values[*contender].is_empty());
    let columns: Vec<usize> = (0..findings.contenders.len()).filter(has).collect();
    let printed = |s: &&&Series| s.iou.is_nan() || PRINTED_IOU.contains(&s.iou);
    let rows: Vec<&Series> = series.iter().filter(printed).copied().collect();
    let title = |s: &Series| match s.iou.is_nan() {
        true => s.metric.title.to_owned(),
        false => format!("{} at {:.2}", s.metric.title, s.iou),
    };
    let mut table =
        Table::new(if level == Level::Pixels { &["region", "score"] } else { &["score"] });
    let mut before = "";
    for s in &rows {
        let region = if s.region == before { "" } else { s.region };
        before = s.region;
        let first = (level == Level::Pixels).then(|| region.replace('_', " "));
        table.rows.push(first.into_iter().chain([title(s)]).collect());
    }
    for contender in columns {
        table.header.push(findings.contenders[contender].name.clone());
        let cells: Vec<[String; 3]> = rows.iter().map(|s| parts(s, contender)).collect();
        for (row, cell) in table.rows.iter_mut().zip(aligned(&cells)) {
            row.push(cell);
        }
    }
    let heading = match level {
        Level::Pixels => "Pixels: is the prediction like the target?",
        Level::Objects => "Objects: were the true objects found?",
        Level::Features => "Features: do matched objects look alike?",
    };
    let images = findings.images.len();
    let percent = 100.0 * Bootstrap::default().level;
    format!(
        "{heading} Mean [{percent} % interval] of {}.\n\n{}\n",
        count(images, "image"),
        table.text()
    )
}

/// Mean and ends of the interval as text; the ends are empty where one image gives none.
fn parts(series: &Series, contender: usize) -> [String; 3] {
    let values = &series.values[contender];
    let Interval { estimate, low, high } = mean_of(values);
    let show = |value: f64| number(Some(value), series.metric.decimals);
    match values.iter().filter(|value| !value.is_nan()).count() {
        0 | 1 => [show(estimate), String::new(), String::new()],
        _ => [show(estimate), show(low), show(high)],
    }
}

/// `mean [low, high]` with all three below each other.
fn aligned(cells: &[[String; 3]]) -> Vec<String> {
    let width = |part: usize| cells.iter().map(|cell| cell[part].chars().count()).max();
    let [a, b, c] = [0, 1, 2].map(|part| width(part).unwrap_or(0));
    let line = |[mean, low, high]: &[String; 3]| {
        if low.is_empty() {
            return format!("{mean:>a$}");
        }
        format!("{mean:>a$} [{low:>b$}, {high:>c$}]")
    };
    cells.iter().map(line).collect()
}

/// The series of thresholds, a row for each contender and threshold.
fn threshold_text(findings: &Findings) -> String {
    if findings.thresholds.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["model", "threshold"]);
    table.header.extend(THRESHOLD_METRICS.map(|metric| metric.title.to_owned()));
    for group in findings.thresholds.chunk_by(same_threshold) {
        let means = THRESHOLD_METRICS.iter().enumerate().map(|(place, metric)| {
            let values: Vec<f64> = group.iter().map(|scores| scores.values[place]).collect();
            number(Some(mean_of(&values).estimate), metric.decimals)
        });
        let name = findings.contenders[group[0].contender].name.clone();
        let threshold = number(Some(group[0].threshold), 2);
        table.rows.push([name, threshold].into_iter().chain(means).collect());
    }
    format!(
        "Thresholds: the foreground after voxels below a threshold are removed; - is none.\n\n{}\n",
        table.text()
    )
}

/// The tests, unless there are too few images for any of them to say something.
fn tests_text(findings: &Findings, series: &[Series]) -> String {
    let tests: Vec<(&Series, Comparison)> =
        comparisons(series).into_iter().filter(|(_, test)| test.images > 0).collect();
    let Some(most) = tests.iter().map(|(_, test)| test.images).max() else {
        return String::new();
    };
    if most < LEAST_PAIRS {
        let least = (2.0 * 0.5_f64.powi(most as i32)).min(1.0);
        return format!(
            "Tests between models are not shown: with {} no p is below {least}, and \
             p < 0.05 needs {LEAST_PAIRS}.\n",
            count(most, "image")
        );
    }
    let mut table = Table::new(&["region", "score", "between", "images", "median difference", "p"]);
    for (series, test) in &tests {
        let [a, b] = test.contenders.map(|contender| &findings.contenders[contender].name);
        let decimals = series.metric.decimals + 1;
        table.rows.push(vec![
            if series.region.is_empty() { series.level.name() } else { series.region }
                .replace('_', " "),
            series.metric.title.to_owned(),
            format!("{a} − {b}"),
            test.images.to_string(),
            number(Some(test.median_difference), decimals),
            probability(test.test.p_value),
        ]);
    }
    let few = tests.iter().filter(|(_, test)| test.images < LEAST_PAIRS).count();
    let few = if few > 0 {
        format!("{few} of the tests have fewer than {LEAST_PAIRS} images and cannot reach 0.05.\n")
    } else {
        String::new()
    };
    format!(
        "Tests: Wilcoxon's signed-rank test of paired images, two-sided, each by itself.\n\n{}\n{few}",
        table.text()
    )
}

/// A p with two digits.
fn probability(p: f64) -> String {
    if p >= 0.001 { number(Some(p), 4) } else { format!("{p:.1e}") }
}

/// All tables as JSON: of each a list of its rows, null where a number is not defined.
pub(super) fn json_text(tables: &[(&'static str, FileTable)]) -> Result<String> {
    let rows = |table: &FileTable| -> Vec<Value> {
        let row = |place: usize| {
            let cell = |values: &Values| match values {
                Values::Text(values) => json!(values[place]),
                Values::Integer(values) => json!(values[place]),
                Values::Real(values) => json!(values[place]),
            };
            let cells = table.columns.iter().map(|c| (c.name.clone(), cell(&c.values)));
            Value::Object(cells.collect::<Map<String, Value>>())
        };
        (0..table.rows()).map(row).collect()
    };
    let all: Map<String, Value> =
        tables.iter().map(|(name, table)| ((*name).to_owned(), json!(rows(table)))).collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&all)?))
}

/// What the record tells: who was compared, and by which settings.
pub(super) fn details(
    options: &Options,
    findings: &Findings,
    recipe: &SegmentRecipe,
) -> Result<Value> {
    let contenders = findings.contenders.iter().map(|contender| {
        json!({
            "name": contender.name,
            "predictions": contender.predictions,
            "model": contender.model.as_ref().map(|(path, _)| path),
            "labels": contender.labels,
            "space": if contender.model.is_some() { "model" } else { "raw" },
        })
    });
    let names: Vec<&str> = findings.images.iter().map(|image| image.name.as_str()).collect();
    let bootstrap = Bootstrap::default();
    Ok(json!({
        "contenders": contenders.collect::<Vec<_>>(),
        "images": names,
        "split": options.split.map(|split| split.name()),
        "otsu": format!("{:?}", options.otsu).to_lowercase(),
        "truth_components": options.truth_components,
        "fsc": !options.no_fsc,
        "fill": options.thresholds.then(|| format!("{:?}", options.fill).to_lowercase()),
        "recipe": if options.thresholds { recipe.to_json()? } else { Value::Null },
        "peak_memory_bytes": peak_memory_bytes(),
        "bootstrap": {
            "resamples": bootstrap.resamples,
            "level": bootstrap.level,
            "seed": bootstrap.seed,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_intervals_stand_below_each_other() {
        let cell = |parts: [&str; 3]| parts.map(str::to_owned);
        let cells =
            [cell(["24.22", "23.9", "24.5"]), cell(["0.662", "0.6", "1.0"]), cell(["-", "", ""])];
        assert_eq!(aligned(&cells), ["24.22 [23.9, 24.5]", "0.662 [ 0.6,  1.0]", "    -"]);
    }

    #[test]
    fn small_probabilities_keep_their_digits() {
        assert_eq!(probability(0.03125), "0.0312");
        assert_eq!(probability(0.000_061_035), "6.1e-5");
        assert_eq!(probability(f64::NAN), "NaN");
    }
}
