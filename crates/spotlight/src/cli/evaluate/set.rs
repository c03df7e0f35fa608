//! The images of a manifest: every contender is scored on every image, then all together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_image::evaluate::SERIES_THRESHOLDS;
use spotlight_io::manifest::Row;

use super::Options;
use super::comparison::Case;
use super::contender::{Contender, contenders};
use super::files::{self, Results};
use super::images::Images;
use super::label_stacks::LabelStack;
use super::objects::{ObjectScores, Segmentation, Truths, object_scores};
use super::pixels::{PixelScores, pixel_scores};
use super::pooled::all_series;
use super::thresholds::{SeriesOptions, ThresholdScores, threshold_scores};
use super::{report, tables};
use crate::cli::jobs::output_name;
use crate::cli::labels::{Labels, read_labels, read_truth};
use crate::cli::{Context, failure, values, wrong_use};
use crate::progress::Progress;
use crate::recipe::SegmentRecipe;
use crate::record::Started;

/// An image with all files that belong to it; of each contender where it has one.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) row: Row,
    predictions: Vec<Option<PathBuf>>,
    labels: Vec<Option<PathBuf>>,
}

/// All that was found.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    pub(super) images: Vec<Image>,
    pub(super) contenders: Vec<Contender>,
    pub(super) pixels: Vec<PixelScores>,
    pub(super) objects: Vec<ObjectScores>,
    pub(super) segmentations: Vec<Segmentation>,
    pub(super) thresholds: Vec<ThresholdScores>,
    /// Whether the resolution by shells was asked for.
    pub(super) shells: bool,
}

/// Scores the rows of a manifest and writes all tables.
pub(super) fn run(
    options: &Options,
    manifest: &Path,
    recipe: &SegmentRecipe,
    context: &Context,
) -> Result<()> {
    let started = Started::now();
    let Some(output) = &options.output else {
        return Err(wrong_use("--manifest needs a folder for the tables", "give it by -o DIR"));
    };
    let contenders = contenders(options)?;
    check_models(options, &contenders)?;
    let images = images(options, manifest, &contenders)?;
    files::check_free(output, options.overwrite)?;
    files::check_writable(output)?;

    let findings = evaluate_all(options, images, contenders, recipe, context)?;
    let series = all_series(&findings);
    let tables = tables::all(&findings, &series);
    let inputs = input_paths(manifest, &findings);
    let details = report::details(options, &findings, recipe)?;
    let results = Results { tables: &tables, format: options.format, inputs, details };
    files::write(output, &results, started, options.overwrite, context)?;
    let text = if options.json {
        report::json_text(&tables)?
    } else {
        report::text(&findings, &series, &tables, output)
    };
    context.print(&text)
}

/// The series of thresholds needs a model for each folder of predictions.
fn check_models(options: &Options, contenders: &[Contender]) -> Result<()> {
    if !options.thresholds {
        return Ok(());
    }
    let mut predicting = contenders.iter().filter(|contender| contender.predictions.is_some());
    if predicting.clone().next().is_none() {
        return Err(wrong_use("--thresholds need predictions", "give them by --predictions DIR"));
    }
    match predicting.find(|contender| contender.model.is_none()) {
        Some(Contender { name, .. }) => Err(wrong_use(
            format!("--thresholds are in the units of a model, and {name} has none"),
            format!("give it by --model {name}=MODEL"),
        )),
        None => Ok(()),
    }
}

/// The rows of the manifest with their files, all of which exist.
fn images(options: &Options, manifest: &Path, contenders: &[Contender]) -> Result<Vec<Image>> {
    let rows = values::rows(manifest, options.split)?;
    let mut names: HashMap<String, PathBuf> = HashMap::new();
    let mut images = Vec::with_capacity(rows.len());
    for row in rows {
        let file = output_name(&row.signal);
        if let Some(other) = names.insert(file.clone(), row.signal.clone()) {
            let (one, two) = (other.display(), row.signal.display());
            return Err(failure(
                format!("{one} and {two} would both have the prediction {file}"),
                "give the signals different file names",
            ));
        }
        let of_each = |folder: fn(&Contender) -> Option<&PathBuf>, second: Option<String>| {
            let find = |contender: &Contender| {
                folder(contender).map(|folder| find(folder, &file, second.as_deref())).transpose()
            };
            contenders.iter().map(find).collect::<Result<Vec<_>>>()
        };
        let predictions = of_each(|contender| contender.predictions.as_ref(), None)?;
        let target = Some(output_name(&row.target)).filter(|name| *name != file);
        let labels = of_each(|contender| contender.labels.as_ref(), target)?;
        for needed in std::iter::once(&row.target).chain(&row.mask) {
            if !needed.exists() {
                let (needed, manifest) = (needed.display(), manifest.display());
                return Err(failure(
                    format!("{manifest}: there is no file {needed}"),
                    "correct the path in the manifest",
                ));
            }
        }
        let name = file.trim_end_matches(".ome.tif").to_owned();
        images.push(Image { name, row, predictions, labels });
    }
    let has_labels = contenders.iter().any(|contender| contender.labels.is_some());
    if has_labels && images.iter().all(|image| image.row.mask.is_none()) {
        return Err(failure(
            format!("{}: no row has true labels to compare --labels with", manifest.display()),
            "give label images in the column path_mask",
        ));
    }
    Ok(images)
}

/// The file of an image in a folder: named as the signal, or as the target.
fn find(folder: &Path, name: &str, second: Option<&str>) -> Result<PathBuf> {
    let names = std::iter::once(name).chain(second);
    let found = names.map(|name| folder.join(name)).find(|path| path.exists());
    found.ok_or_else(|| {
        let or = second.map(|second| format!(" or {second}")).unwrap_or_default();
        failure(
            format!("{}: there is no {name}{or}", folder.display()),
            "predict or segment all rows of the manifest, or choose some with --split",
        )
    })
}

/// Tells of every image, and stops where a signal asks for it.
struct Teller<'a> {
    progress: Progress<'a>,
    context: &'a Context,
    done: u64,
}

impl Teller<'_> {
    fn next(&mut self, remark: &str) -> Result<()> {
        self.progress.set(self.done, remark);
        self.done += 1;
        self.context.stop.interrupted().map_or(Ok(()), |interrupted| Err(interrupted.into()))
    }
}

fn evaluate_all(
    options: &Options,
    images: Vec<Image>,
    contenders: Vec<Contender>,
    recipe: &SegmentRecipe,
    context: &Context,
) -> Result<Findings> {
    let count = |has: fn(&Contender) -> bool| contenders.iter().filter(|c| has(c)).count();
    let predicting = count(|contender| contender.predictions.is_some());
    let of_labels = count(|contender| contender.labels.is_some()) * images.len();
    // A fit, then each image, for no threshold and for all.
    let series = (SERIES_THRESHOLDS.len() + 1) * (images.len() + 1);
    let series = if options.thresholds { series } else { 0 };
    let steps = predicting * (images.len() + series) + of_labels;
    let progress = Progress::new(context, "evaluate", steps as u64);
    let mut teller = Teller { progress, context, done: 0 };
    let mut findings = Findings {
        images,
        contenders,
        pixels: Vec::new(),
        objects: Vec::new(),
        segmentations: Vec::new(),
        thresholds: Vec::new(),
        shells: !options.no_fsc,
    };
    for contender in 0..findings.contenders.len() {
        if findings.contenders[contender].predictions.is_some() {
            score_predictions(options, &mut findings, contender, recipe, &mut teller)?;
        }
    }
    score_labels(options, &mut findings, &mut teller)?;
    Ok(findings)
}

/// The levels that need predictions: pixels, and the series of thresholds.
fn score_predictions(
    options: &Options,
    findings: &mut Findings,
    contender: usize,
    recipe: &SegmentRecipe,
    teller: &mut Teller,
) -> Result<()> {
    let Contender { name, .. } = &findings.contenders[contender];
    let case = |image: &Image| {
        image.predictions[contender].clone().map(|prediction| Case {
            prediction,
            target: image.row.target.clone(),
            channel: image.row.channel_target.clone(),
            mask: image.row.mask.clone(),
        })
    };
    let space = findings.contenders[contender].space(options.otsu);
    let mut images =
        Images::new(findings.images.iter().filter_map(case).collect(), space, options.memory);
    let names: Vec<&str> = findings.images.iter().map(|image| image.name.as_str()).collect();
    let tell = |image: usize| teller.next(&format!("{name}, {}", names[image]));
    let pixels = pixel_scores(&mut images, contender, !options.no_fsc, tell)?;
    let mut thresholds = Vec::new();
    if options.thresholds {
        let series = SeriesOptions { contender, fill: options.fill, recipe };
        let truth = |image: usize| truth(options, &findings.images[image]);
        thresholds = threshold_scores(&mut images, series, truth, |place, image| {
            teller.next(&format!("{name}, threshold {}, {}", place + 1, names[image]))
        })?;
    }
    findings.pixels.extend(pixels);
    findings.thresholds.extend(thresholds);
    Ok(())
}

fn truth(options: &Options, image: &Image) -> Result<Option<Labels>> {
    let read = |path: &PathBuf| read_truth(path, options.truth_components);
    image.row.mask.as_ref().map(read).transpose()
}

/// The levels that need labels: objects and their features.
fn score_labels(options: &Options, findings: &mut Findings, teller: &mut Teller) -> Result<()> {
    let labelled = findings.contenders.iter().any(|contender| contender.labels.is_some());
    if !labelled {
        return Ok(());
    }
    let mut truths = Truths::default();
    let mut found = vec![Vec::new(); findings.contenders.len()];
    for (place, image) in findings.images.iter().enumerate() {
        let Some(mask) = &image.row.mask else { continue };
        let mut whole: Option<Labels> = None;
        for (contender, labels) in image.labels.iter().enumerate() {
            let Some(labels) = labels else { continue };
            let name = &findings.contenders[contender].name;
            teller.next(&format!("objects of {name}, {}", image.name))?;
            let stacks = [LabelStack::open(mask)?, LabelStack::open(labels)?];
            let needed = stacks[0].whole_bytes().saturating_add(stacks[1].whole_bytes());
            found[contender].push(if needed > options.memory {
                whole = None;
                truths.compare_parts(place, contender, stacks, options.memory)?
            } else {
                let truth = match whole.take() {
                    Some(truth) => truth,
                    None => read_truth(mask, options.truth_components)?,
                };
                let truth = whole.insert(truth);
                truths.compare(place, contender, truth, &read_labels(labels)?)?
            });
        }
    }
    for found in found {
        let (objects, segmentations) = object_scores(&found);
        findings.objects.extend(objects);
        findings.segmentations.extend(segmentations);
    }
    Ok(())
}

/// All files that were read.
fn input_paths(manifest: &Path, findings: &Findings) -> Vec<PathBuf> {
    let mut paths = vec![manifest.to_owned()];
    let models = findings.contenders.iter().filter_map(|contender| contender.model.as_ref());
    paths.extend(models.map(|(path, _)| path.clone()));
    for image in &findings.images {
        paths.push(image.row.target.clone());
        paths.extend(image.row.mask.clone());
        paths.extend(image.predictions.iter().chain(&image.labels).flatten().cloned());
    }
    paths
}
