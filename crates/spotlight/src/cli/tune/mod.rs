//! `spotlight tune`: finds the settings of `segment` that fit stacks with known nuclei best.
//!
//! All combinations of a grid of settings are tried on every stack of a manifest that has
//! true labels. The score of a combination is the mean over the stacks of the average
//! precision at IoU 0.50, 0.55 ... 0.95. Stacks are read one after the other.

mod trials;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::json;
use spotlight_image::Volume;
use spotlight_image::evaluate::overlap;
use spotlight_image::segment::{Example, Grid, Trial, rank_trials, reduced_shape, trial_scores};
use spotlight_io::atomic;
use spotlight_io::manifest::{Row, Split};
use spotlight_io::{Selection, read_stack};

use crate::cli::evaluate::mean_average_precision;
use crate::cli::labels::{on_grid, read_truth};
use crate::cli::{Context, failure, segment, stacks, values};
use crate::progress::Progress;
use crate::recipe::SegmentRecipe;
use crate::record::{Started, input_files, record_path};
use crate::table::{Table, count, number};

use trials::{FIELDS, Field};

const EXAMPLES: &str = "\
Examples:
  spotlight tune manifest.csv -o tuned.toml
  spotlight tune manifest.csv --split train -o tuned.toml --try ball_radius=4,5,6,7
  spotlight segment stained/*.ome.tif -o labels -c tuned.toml

The manifest is that of train; path_target is segmented and compared with the labels in
path_mask. What is tried where --try says nothing else:
  median_size=3,5  ball_radius=5,7,10,15  seed_dilation=0,1
  min_object_voxels=100,500  max_object_voxels=7500,0 (no limit)";

/// The options of `spotlight tune`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Table (CSV) of fluorescence stacks with their true labels, paths relative to it
    #[arg(value_name = "MANIFEST.csv")]
    pub manifest: PathBuf,
    /// File (TOML) for the recipe with the best settings
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Only the rows of the manifest with this split: train, validate or test
    #[arg(long, value_name = "SPLIT")]
    pub split: Option<Split>,
    /// Values to try for a setting; may be repeated
    #[arg(long = "try", value_name = "KEY=N,N,...")]
    pub tries: Vec<String>,
    /// File (TOML) with the settings that are not tried
    #[arg(short = 'c', long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Any setting that is not tried; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Number the connected components of the masks, where they have one value only
    #[arg(long)]
    pub truth_components: bool,
    /// Voxel size of the stacks in µm along z, y, x, in place of what the files say
    #[arg(long, value_name = "Z,Y,X", value_parser = values::spacing_um)]
    pub spacing: Option<[f64; 3]>,
    /// Table (CSV or Parquet) of all settings that were tried
    #[arg(long, value_name = "FILE")]
    pub trials: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// Runs `spotlight tune`.
///
/// # Errors
///
/// When the manifest, a stack or a setting cannot be used, no stack has nuclei, or an output
/// is in the way or cannot be written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let started = Started::now();
    let grid = trials::grid(&options.tries)?;
    let recipe = segment::recipe(options.recipe.as_deref(), &options.set)?;
    for output in [Some(&options.output), options.trials.as_ref()].into_iter().flatten() {
        atomic::check_free(output, options.overwrite)?;
    }
    let rows = rows(options)?;
    let engine = context.engine()?;

    let mut progress = Progress::new(context, "tune", rows.len() as u64);
    let mut scores = Vec::with_capacity(rows.len());
    for (index, (row, mask)) in rows.iter().enumerate() {
        progress.set(index as u64, &row.target.display().to_string());
        scores.push(scores_of(row, mask, &recipe, &grid, options)?);
    }
    drop(progress);
    let trials = rank_trials(grid.settings(&recipe.watershed), &scores);
    let best = &trials[0];
    if best.score.is_nan() {
        return Err(failure(
            format!("{}: no stack has a nucleus in its mask", options.manifest.display()),
            "give path_mask images with a number for each nucleus",
        ));
    }
    let tuned = SegmentRecipe { watershed: best.options.clone(), ..recipe };
    let text = format!("{}{}", header(best.score, rows.len(), trials.len()), tuned.to_toml()?);
    atomic::write_bytes(&options.output, text.as_bytes(), options.overwrite)?;
    if let Some(path) = &options.trials {
        trials::write(path, &trials, options.overwrite)?;
    }

    let mut record = started.record(&engine);
    let read = rows.iter().flat_map(|(row, mask)| [row.target.as_path(), mask.as_path()]);
    let files = [options.manifest.as_path()].into_iter().chain(options.recipe.as_deref());
    record.inputs = input_files(files.chain(read))?;
    let written = [Some(&options.output), options.trials.as_ref()];
    record.outputs =
        written.into_iter().flatten().filter_map(|path| Some(path.file_name()?.into())).collect();
    record.details = json!({
        "score": best.score,
        "settings_tried": trials.len(),
        "recipe": tuned.to_json()?,
    });
    record.write(&record_path(&options.output), true)?;
    context.print(&report(options, &trials, rows.len())?)
}

/// The rows that are tried, each with its mask.
fn rows(options: &Options) -> Result<Vec<(Row, PathBuf)>> {
    let rows = values::rows(&options.manifest, options.split)?;
    rows.into_iter()
        .map(|row| match row.mask.clone() {
            Some(mask) => Ok((row, mask)),
            None => Err(failure(
                format!(
                    "{}: {} has no path_mask",
                    options.manifest.display(),
                    row.target.display()
                ),
                "give every row an image with a number for each nucleus, or choose rows by --split",
            )),
        })
        .collect()
}

/// The score of each of the settings on one stack.
fn scores_of(
    row: &Row,
    mask: &Path,
    recipe: &SegmentRecipe,
    grid: &Grid,
    options: &Options,
) -> Result<Vec<f64>> {
    let selection = Selection { channel: row.channel_target.clone(), ..Selection::default() };
    let stack = read_stack(&row.target, &selection)?;
    let spacing_um = options.spacing.or(stack.spacing_um);
    let chain =
        recipe.watershed_for(spacing_um).ok_or_else(|| segment::missing_spacing(&row.target))?;
    let image = stacks::to_finite(stack.voxels, &row.target)?;
    let truth = truth(mask, &row.target, &image, options.truth_components)?;
    let truth = on_grid(&truth, reduced_shape(image.shape, chain.scale));
    let example = Example { image: &image, truth: &truth };
    Ok(trial_scores(example, &chain, grid, |found, truth| {
        mean_average_precision(&overlap(truth, found))
    }))
}

/// The true labels of a stack.
fn truth(
    mask: &Path,
    target: &Path,
    image: &Volume<f32>,
    number_components: bool,
) -> Result<Volume<u32>> {
    let labels = read_truth(mask, number_components)?.volume;
    if labels.shape == image.shape {
        return Ok(labels);
    }
    Err(failure(
        format!(
            "{} has {:?} voxels (z, y, x) and {} has {:?}",
            mask.display(),
            labels.shape,
            target.display(),
            image.shape
        ),
        "give the labels on the grid of the stack",
    ))
}

/// First lines of the recipe.
fn header(score: f64, stacks: usize, settings: usize) -> String {
    let stacks = count(stacks, "stack");
    format!(
        "# The best of {settings} settings on {stacks}: mean average precision {score:.4}\n\
         # over IoU 0.50 to 0.95. To use it: spotlight segment IMAGE... -o OUT -c FILE\n\n"
    )
}

/// What is printed: the best settings, or all of it as JSON.
fn report(options: &Options, trials: &[Trial], stacks: usize) -> Result<String> {
    let value = |trial: &Trial, field: &Field| (field.get)(&trial.options);
    if options.json {
        let row = |trial: &Trial| {
            let fields = FIELDS.iter().map(|f| (f.name.to_owned(), json!(value(trial, f))));
            let score = (!trial.score.is_nan()).then_some(trial.score);
            let score = std::iter::once(("score".to_owned(), json!(score)));
            serde_json::Value::Object(score.chain(fields).collect())
        };
        let all: Vec<serde_json::Value> = trials.iter().map(row).collect();
        let whole = json!({ "recipe": options.output, "stacks": stacks, "trials": all });
        return Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?));
    }
    const SHOWN: usize = 10;
    let mut table = Table::new(&["mean AP"]);
    table.header.extend(FIELDS.iter().map(|field| field.name.to_owned()));
    for trial in &trials[..trials.len().min(SHOWN)] {
        let fields = FIELDS.iter().map(|field| value(trial, field).to_string());
        table.rows.push([number(Some(trial.score), 4)].into_iter().chain(fields).collect());
    }
    Ok(format!(
        "{}\nMean over the stacks of the average precision at IoU 0.50, 0.55 ... 0.95; \
         the best {} of {} settings.\n{}\n",
        table.text(),
        table.rows.len(),
        trials.len(),
        options.output.display()
    ))
}
