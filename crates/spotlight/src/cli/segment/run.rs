//! The work of `spotlight segment`: each stack read, stained if asked, segmented and written.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use spotlight_engine::Engine;
use spotlight_image::segment::{Watershed, prepare, reduced_shape, segment};
use spotlight_image::{Shape, Volume};
use spotlight_io::{Image, OpenStack, Selection, atomic};
use spotlight_learn::predict::{PredictOptions, Predictor};

use super::cellpose::{Cellpose, Plan};
use super::options::{Method, Options};
use super::streamed::OpenBoxes;
use super::{preview, streamed};
use crate::cli::jobs::{self, Job, Request, Role};
use crate::cli::labels::{on_grid, write_labels};
use crate::cli::stacks::spacing_of_grid;
use crate::cli::{Context, failure, stacks, values};
use crate::progress::Progress;
use crate::recipe::SegmentRecipe;
use crate::record::{Started, input_files, peak_memory_bytes, record_path};

/// Runs `spotlight segment`.
///
/// # Errors
///
/// When a recipe, a model or a stack cannot be used, or an output is in the way or cannot be
/// written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    options.check_weights()?;
    let recipe = options.recipe()?;
    let jobs = jobs::plan(&Request {
        inputs: &options.inputs,
        channel: options.channel.as_ref(),
        manifest: options.manifest.as_deref(),
        split: options.split,
        role: if options.model.is_some() { Role::Signal } else { Role::Target },
        output: &options.output,
        stores: false,
        overwrite: options.overwrite,
    })?;
    let model = options.model.as_deref().map(values::model_path);
    let predictor = model.as_deref().map(Predictor::read).transpose()?;
    let cellpose = match options.method {
        Method::Watershed => None,
        Method::Cellpose => Some(Cellpose::read(options.weights.as_deref())?),
    };
    let engine = context.engine()?;
    for job in jobs.iter().filter(|_| options.preview) {
        atomic::check_free(&preview_path(job), options.overwrite)?;
    }
    jobs::prepare_folders(&jobs, options.overwrite)?;
    let segmenter = Segmenter { options, recipe, engine, model, predictor, cellpose };

    let mut progress = Progress::new(context, "segment", STEPS * jobs.len() as u64);
    let mut results = Vec::with_capacity(jobs.len());
    for (index, job) in jobs.iter().enumerate() {
        let name = job.input.display().to_string();
        let mut tell = |part: f64| {
            progress.set(STEPS * index as u64 + (STEPS as f64 * part) as u64, &name);
        };
        let result = segmenter.segment(job, &mut tell)?;
        match result.nuclei {
            0 => progress.say(&format!(
                "{}: no nuclei; see docs/segment.md, or tune the settings to your stacks",
                result.output.display()
            )),
            1 => progress.say(&format!("{}: 1 nucleus", result.output.display())),
            n => progress.say(&format!("{}: {n} nuclei", result.output.display())),
        }
        results.push(result);
    }
    drop(progress);
    let text = if options.json {
        format!("{}\n", serde_json::to_string_pretty(&results)?)
    } else {
        results.iter().map(|result| format!("{}\n", result.output.display())).collect()
    };
    context.print(&text)
}

/// Steps of the bar for one stack.
const STEPS: u64 = 1000;

/// Part of the bar for staining, where there is a model: the watershed takes seconds where staining
/// takes minutes, Cellpose about as long.
const STAINING: [f64; 2] = [0.95, 0.4];

/// Part of the bar at the end of the preparation for Cellpose, where a stack is read box by box.
const PREPARING: f64 = 0.2;

/// Part of the bar at the end of Cellpose's network.
const NETWORK: f64 = 0.95;

/// What all stacks of a run have in common.
struct Segmenter<'a> {
    options: &'a Options,
    recipe: SegmentRecipe,
    engine: Engine,
    /// The file of the model that stains the stacks first.
    model: Option<PathBuf>,
    predictor: Option<Predictor>,
    /// The network, where nuclei are found by Cellpose.
    cellpose: Option<Cellpose>,
}

/// What became of a stack.
#[derive(Debug, Serialize)]
struct Segmented {
    input: PathBuf,
    output: PathBuf,
    nuclei: usize,
    /// Voxel size of the labels in µm along (z, y, x).
    spacing_um: Option<[f64; 3]>,
    /// How long finding the nuclei took, staining apart.
    seconds: f64,
}

impl Segmented {
    fn new(job: &Job, nuclei: u32, spacing_um: Option<[f64; 3]>, seconds: f64) -> Self {
        let (input, output) = (job.input.clone(), job.output.clone());
        Self { input, output, nuclei: nuclei as usize, spacing_um, seconds }
    }
}

/// How one stack is segmented.
#[derive(Clone, Copy)]
struct Run<'a> {
    job: &'a Job,
    plan: &'a Plan,
    /// Voxel size of the stack in µm along (z, y, x).
    spacing_um: Option<[f64; 3]>,
    /// Whether it is read box by box.
    by_boxes: bool,
}

impl Segmenter<'_> {
    /// Segments one stack and writes its labels and their record.
    fn segment(&self, job: &Job, tell: &mut dyn FnMut(f64)) -> Result<Segmented> {
        let started = Started::now();
        tell(0.0);
        let selection = Selection { channel: job.channel.clone(), ..Selection::default() };
        let stack = Image::open(&job.input)?.stack(&selection)?;
        let spacing_um = self.options.spacing.or(stack.spacing_um());
        let chain =
            self.recipe.watershed_for(spacing_um).ok_or_else(|| missing_spacing(&job.input))?;
        let plan = self.plan(chain, spacing_um);
        let by_boxes = self.goes_by_boxes(job, &stack, &plan)?;
        let run = Run { job, plan: &plan, spacing_um, by_boxes };
        let result = if by_boxes {
            self.by_boxes(&run, stack, tell)?
        } else {
            self.in_memory(&run, &stack, tell)?
        };
        self.write_record(started, &run, &result)?;
        Ok(result)
    }

    /// Whether a stack is larger than the memory for it, so that it is read box by box.
    fn goes_by_boxes(&self, job: &Job, stack: &OpenStack, plan: &Plan) -> Result<bool> {
        let (shape, memory) = (stack.shape(), self.options.memory);
        let reduced = reduced_shape(shape, plan.chain.scale);
        let needed = streamed::whole_bytes(shape, reduced, self.options.preview);
        if needed <= memory {
            return Ok(false);
        }
        let (needed, memory) = (needed.div_ceil(1 << 20), memory >> 20);
        let input = job.input.display();
        let refuse = |option: &str, way_out: &str| {
            Err(failure(
                format!(
                    "{input} is read box by box, as a whole it takes {needed} MiB and --memory \
                     allows {memory} MiB, but {option} needs all of it"
                ),
                format!("{way_out}, or allow --memory {needed}MiB"),
            ))
        };
        if self.predictor.is_some() {
            return refuse("--model", "stain it by spotlight predict first");
        }
        if self.options.preview {
            return refuse("--preview", "leave --preview out");
        }
        Ok(true)
    }

    /// Segments a stack that is in memory as a whole.
    fn in_memory(
        &self,
        run: &Run<'_>,
        stack: &OpenStack,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Segmented> {
        let Run { job, plan, spacing_um, .. } = *run;
        let image = stacks::to_finite(stack.read_whole()?.voxels, &job.input)?;
        let image = self.stain(image, spacing_um, job, tell)?;

        let before = Instant::now();
        let shape = image.shape;
        let shown = self.options.preview.then(|| image.clone());
        let found = match &self.cellpose {
            None => segment(&image, &plan.chain),
            Some(cellpose) => {
                let prepared = prepare(&image, &plan.chain);
                drop(image);
                self.by_network(cellpose, prepared, run, tell)?
            }
        };
        let labels_um = self.labels_um(run, shape, found.shape);
        let stays = self.options.keep_grid || found.shape == shape;
        let labels = if stays { found } else { on_grid(&found, shape) };
        let seconds = seconds_since(before);
        let nuclei = labels.voxels.iter().copied().max().unwrap_or(0);
        if let Some(image) = shown {
            let outlined = on_grid(&labels, shape);
            preview::write(
                &preview_path(job),
                &image,
                &outlined,
                spacing_um,
                self.options.overwrite,
            )?;
        }
        write_labels(&job.output, labels, labels_um, self.options.overwrite)?;
        Ok(Segmented::new(job, nuclei, labels_um, seconds))
    }

    /// Segments a stack that is read box by box.
    fn by_boxes(
        &self,
        run: &Run<'_>,
        stack: OpenStack,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Segmented> {
        let Run { job, plan, .. } = *run;
        let before = Instant::now();
        let stack = OpenBoxes(stack);
        let shape = stack.0.shape();
        let memory = self.options.memory;
        let Some(cellpose) = &self.cellpose else {
            let found = streamed::watershed(&stack, &plan.chain, &job.output, memory, tell)?;
            let labels_um = self.labels_um(run, shape, found.shape());
            let seconds = seconds_since(before);
            let shape = if self.options.keep_grid { found.shape() } else { shape };
            streamed::write(&job.output, &found, shape, labels_um, self.options.overwrite)?;
            return Ok(Segmented::new(job, found.count(), labels_um, seconds));
        };
        let mut preparing = |part: f64| tell(PREPARING * part);
        let prepared = streamed::prepare(&stack, &plan.chain, &job.output, memory, &mut preparing)?;
        drop(stack);
        let found = self.by_network(cellpose, prepared, run, tell)?;
        let labels_um = self.labels_um(run, shape, found.shape);
        let seconds = seconds_since(before);
        let nuclei = found.voxels.iter().copied().max().unwrap_or(0);
        let shape = if self.options.keep_grid { found.shape } else { shape };
        streamed::write(&job.output, &found, shape, labels_um, self.options.overwrite)?;
        Ok(Segmented::new(job, nuclei, labels_um, seconds))
    }

    /// Voxel size of the labels that are written.
    fn labels_um(&self, run: &Run<'_>, shape: Shape, found: Shape) -> Option<[f64; 3]> {
        let grid = if self.options.keep_grid { found } else { shape };
        run.spacing_um.map(|from| spacing_of_grid(from, shape, grid))
    }

    /// How a stack with voxels of this size is segmented.
    fn plan(&self, chain: Watershed, spacing_um: Option<[f64; 3]>) -> Plan {
        let settings = &self.recipe.cellpose;
        let anisotropy = self.recipe.anisotropy(spacing_um);
        Plan {
            chain,
            median_size: settings.median_size,
            options: settings.options(anisotropy, self.options.memory),
        }
    }

    /// The nuclei of a prepared stack by Cellpose's network.
    fn by_network(
        &self,
        cellpose: &Cellpose,
        prepared: Volume<f32>,
        run: &Run<'_>,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Volume<u32>> {
        let before = match (self.predictor.is_some(), run.by_boxes) {
            (true, _) => self.staining(),
            (false, true) => PREPARING,
            (false, false) => 0.0,
        };
        let mut tell = |part: f64| tell(before + (NETWORK - before) * part);
        let name = run.job.input.display().to_string();
        cellpose.segment(&self.engine, prepared, &name, run.plan, &mut tell)
    }

    /// Part of the bar at the end of staining.
    fn staining(&self) -> f64 {
        STAINING[usize::from(self.cellpose.is_some())]
    }

    /// The stain of a stack, on its own grid; the stack itself where there is no model.
    fn stain(
        &self,
        image: Volume<f32>,
        spacing_um: Option<[f64; 3]>,
        job: &Job,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Volume<f32>> {
        let Some(predictor) = &self.predictor else { return Ok(image) };
        if predictor.model.manifest.prepare.resample && spacing_um.is_none() {
            return Err(stacks::missing_spacing(&job.input));
        }
        let settings =
            PredictOptions { memory_bytes: self.options.memory, ..PredictOptions::default() };
        let part = self.staining();
        let mut tell = |done: usize, of: usize| tell(part * done as f64 / of.max(1) as f64);
        let name = job.input.display().to_string();
        let engine = &self.engine;
        let mut stain =
            predictor.predict(engine, vec![image], spacing_um, &name, &settings, &mut tell)?;
        Ok(stain.channels.swap_remove(0))
    }

    fn write_record(&self, started: Started, run: &Run<'_>, result: &Segmented) -> Result<()> {
        let Run { job, plan, .. } = *run;
        let mut record = started.record(&self.engine);
        let weights = self.cellpose.as_ref().map(|cellpose| cellpose.weights.as_path());
        let (model, recipe) = (self.model.as_deref(), self.options.recipe.as_deref());
        let files = [Some(job.input.as_path()), model, weights, recipe];
        record.inputs = input_files(files.into_iter().flatten())?;
        record.outputs = job.output.file_name().map(PathBuf::from).into_iter().collect();
        record.details = json!({
            "method": self.options.method.name(),
            "channel": job.channel.as_ref().map(ToString::to_string),
            "nuclei": result.nuclei,
            "scale": plan.chain.scale,
            "cellpose": self.cellpose.as_ref().map(|cellpose| json!({
                "weights": cellpose.weights,
                "diam_mean": cellpose.network.diameter,
                "diam_labels": cellpose.network.label_diameter,
                "options": plan.options,
            })),
            "spacing_um": result.spacing_um,
            "segmentation_seconds": result.seconds,
            "read_box_by_box": run.by_boxes,
            "peak_memory_bytes": peak_memory_bytes(),
            "recipe": self.recipe.to_json()?,
        });
        record.write(&record_path(&job.output), true)
    }
}

fn seconds_since(before: Instant) -> f64 {
    (before.elapsed().as_secs_f64() * 1e3).round() / 1e3
}

/// Where the picture of a stack lies: beside its labels, `a.ome.tif` and `a.ome.png`.
fn preview_path(job: &Job) -> PathBuf {
    job.output.with_extension("png")
}

/// The error of a stack whose voxel size the recipe needs.
pub(in crate::cli) fn missing_spacing(path: &Path) -> anyhow::Error {
    failure(
        format!("{} gives no voxel size", path.display()),
        "give it in µm with --spacing z,y,x, or use half the stack's own grid with --set grid.rule=scale",
    )
}
