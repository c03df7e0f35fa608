//! The tables of a data set, as files hold them.

use spotlight_image::evaluate::Interval;
use spotlight_io::table::{Column, Table};

use super::pixels::PIXEL_METRICS;
use super::pooled::{Comparison, Series, comparisons, mean_of, median_of};
use super::set::Findings;
use super::thresholds::{THRESHOLD_METRICS, ThresholdScores};

/// Names of all tables that there may be, in the order of [`all`].
pub(super) const NAMES: [&str; 7] = [
    "images",
    "objects",
    "segmentations",
    "summary",
    "tests",
    "threshold_images",
    "threshold_series",
];

/// All tables by name; those of levels that were not scored are left out.
pub(super) fn all(findings: &Findings, series: &[Series]) -> Vec<(&'static str, Table)> {
    let mut tables = Vec::new();
    let mut add = |name: &'static str, columns: Vec<Column>| {
        if columns.first().is_some_and(|column| column.rows() > 0) {
            tables.push((name, Table { columns }));
        }
    };
    add(NAMES[0], images(findings));
    add(NAMES[1], objects(findings));
    add(NAMES[2], segmentations(findings));
    add(NAMES[3], summary(findings, series));
    add(NAMES[4], tests(findings, series));
    add(NAMES[5], threshold_images(findings));
    add(NAMES[6], threshold_series(findings));
    tables
}

/// The first two columns of the tables with a row for each image.
fn image_and_model(findings: &Findings, rows: impl Iterator<Item = (usize, usize)>) -> Vec<Column> {
    let (images, models) = rows
        .map(|(image, contender)| {
            (findings.images[image].name.clone(), findings.contenders[contender].name.clone())
        })
        .unzip();
    vec![Column::text("image", images), Column::text("model", models)]
}

fn integer<R>(name: &str, rows: &[R], value: impl Fn(&R) -> usize) -> Column {
    Column::integer(name, rows.iter().map(|row| value(row) as i64).collect())
}

fn real<R>(name: &str, rows: &[R], value: impl Fn(&R) -> f64) -> Column {
    Column::real(name, rows.iter().map(value).collect())
}

fn images(findings: &Findings) -> Vec<Column> {
    let rows = &findings.pixels;
    let mut columns = image_and_model(findings, rows.iter().map(|s| (s.image, s.contender)));
    columns.push(Column::text("region", rows.iter().map(|s| s.region.name().into()).collect()));
    for (place, metric) in PIXEL_METRICS.iter().enumerate() {
        columns.push(real(metric.name, rows, |s| s.values[place]));
    }
    columns.push(integer("planes", rows, |s| s.shape[0]));
    columns.push(integer("constant_planes", rows, |s| s.constant_planes));
    columns.push(real("foreground_share", rows, |s| s.foreground));
    columns.push(real("data_range", rows, |s| s.data_range));
    columns
}

fn objects(findings: &Findings) -> Vec<Column> {
    let rows = &findings.objects;
    let mut columns = image_and_model(findings, rows.iter().map(|s| (s.image, s.contender)));
    columns.extend([
        real("iou", rows, |s| s.iou),
        integer("true_positives", rows, |s| s.true_positives),
        integer("false_positives", rows, |s| s.false_positives),
        integer("false_negatives", rows, |s| s.false_negatives),
        real("average_precision", rows, |s| s.average_precision),
        real("matched_iou", rows, |s| s.matched_iou),
        real("matched_dice", rows, |s| s.matched_dice),
        real("feature_distance", rows, |s| s.feature_distance),
    ]);
    columns
}

fn segmentations(findings: &Findings) -> Vec<Column> {
    let rows = &findings.segmentations;
    let mut columns = image_and_model(findings, rows.iter().map(|s| (s.image, s.contender)));
    columns.extend([
        integer("true_objects", rows, |s| s.true_objects),
        integer("predicted_objects", rows, |s| s.predicted_objects),
        real("mean_ap_50_90", rows, |s| s.mean_precision[0]),
        real("mean_ap_50_95", rows, |s| s.mean_precision[1]),
        real("matched_iou", rows, |s| s.matched_iou),
        real("matched_dice", rows, |s| s.matched_dice),
        integer("split", rows, |s| s.errors[0]),
        integer("merged", rows, |s| s.errors[1]),
        integer("missed", rows, |s| s.errors[2]),
        integer("spurious", rows, |s| s.errors[3]),
        real("mean_feature_distance", rows, |s| s.feature_distance),
    ]);
    columns
}

fn summary(findings: &Findings, series: &[Series]) -> Vec<Column> {
    let rows: Vec<(&Series, usize, Interval)> = series
        .iter()
        .flat_map(|series| {
            let having = series.values.iter().enumerate().filter(|(_, values)| !values.is_empty());
            having.map(move |(contender, values)| (series, contender, mean_of(values)))
        })
        .collect();
    let values = |row: &(&Series, usize, Interval)| row.0.values[row.1].clone();
    let defined = |row: &_| values(row).iter().filter(|value| !value.is_nan()).count();
    let words = |word: fn(&Series) -> &str| rows.iter().map(|row| word(row.0).into()).collect();
    let model = |row: &(_, usize, _)| findings.contenders[row.1].name.clone();
    vec![
        Column::text("level", words(|series| series.level.name())),
        Column::text("region", words(|series| series.region)),
        real("iou", &rows, |row| row.0.iou),
        Column::text("metric", words(|series| series.metric.name)),
        Column::text("model", rows.iter().map(model).collect()),
        integer("images", &rows, defined),
        integer("undefined", &rows, |row| values(row).len() - defined(row)),
        real("mean", &rows, |row| row.2.estimate),
        real("low", &rows, |row| row.2.low),
        real("high", &rows, |row| row.2.high),
        real("median", &rows, |row| median_of(&values(row))),
    ]
}

fn tests(findings: &Findings, series: &[Series]) -> Vec<Column> {
    let rows = comparisons(series);
    let words = |word: fn(&Series) -> &str| rows.iter().map(|row| word(row.0).into()).collect();
    let models = |place: usize| {
        let name = |test: &Comparison| test.contenders[place];
        rows.iter().map(|row| findings.contenders[name(&row.1)].name.clone()).collect()
    };
    vec![
        Column::text("level", words(|series| series.level.name())),
        Column::text("region", words(|series| series.region)),
        Column::text("metric", words(|series| series.metric.name)),
        Column::text("model_a", models(0)),
        Column::text("model_b", models(1)),
        integer("images", &rows, |row| row.1.images),
        integer("differing", &rows, |row| row.1.test.pairs),
        real("median_difference", &rows, |row| row.1.median_difference),
        real("statistic", &rows, |row| row.1.test.statistic),
        real("p_value", &rows, |row| row.1.test.p_value),
        real("least_p_value", &rows, |row| row.1.least_p),
    ]
}

fn threshold_images(findings: &Findings) -> Vec<Column> {
    let rows = &findings.thresholds;
    let mut columns = image_and_model(findings, rows.iter().map(|s| (s.image, s.contender)));
    columns.push(real("threshold", rows, |s| s.threshold));
    for (place, metric) in THRESHOLD_METRICS.iter().enumerate() {
        columns.push(real(metric.name, rows, |s| s.values[place]));
    }
    columns.push(integer("objects", rows, |s| s.objects));
    columns
}

/// The scores of all images of one contender at one threshold, which stand together.
pub(super) fn same_threshold(a: &ThresholdScores, b: &ThresholdScores) -> bool {
    a.contender == b.contender && a.threshold.to_bits() == b.threshold.to_bits()
}

fn threshold_series(findings: &Findings) -> Vec<Column> {
    let groups: Vec<&[ThresholdScores]> = findings.thresholds.chunk_by(same_threshold).collect();
    let model = |group: &&[ThresholdScores]| findings.contenders[group[0].contender].name.clone();
    let mut columns = vec![
        Column::text("model", groups.iter().map(model).collect()),
        real("threshold", &groups, |group| group[0].threshold),
        integer("images", &groups, |group| group.len()),
    ];
    for (place, metric) in THRESHOLD_METRICS.iter().enumerate() {
        let intervals: Vec<Interval> = groups
            .iter()
            .map(|group| mean_of(&group.iter().map(|s| s.values[place]).collect::<Vec<_>>()))
            .collect();
        columns.push(real(metric.name, &intervals, |interval| interval.estimate));
        columns.push(real(&format!("{}_low", metric.name), &intervals, |interval| interval.low));
        columns.push(real(&format!("{}_high", metric.name), &intervals, |interval| interval.high));
    }
    columns
}
