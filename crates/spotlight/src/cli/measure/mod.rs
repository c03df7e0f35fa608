//! `spotlight measure`: a table of the objects of label images, one row an object.
//!
//! The columns have the names under which CellProfiler, CytoTable and pycytominer know them:
//! identifiers begin with `Metadata_`, features with the compartment.

mod plan;
mod profile;
mod stacks;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};
use spotlight_image::measure::{FeatureSet, MeasureOptions, ProfileNames};
use spotlight_io::Channel;
use spotlight_io::table::write_table;

use crate::cli::{Context, values};
use crate::progress::Progress;
use crate::record::{Started, input_files, peak_memory_bytes};
use crate::table::count;
use plan::Plan;
use profile::Profile;

const EXAMPLES: &str = "\
Examples:
  spotlight measure --labels nuclei.ome.tif -o shapes.csv
  spotlight measure --labels nuclei.tif --image DNA=dna.tif --image ER=er.tif -o features.parquet
  spotlight measure --labels 'masks/*.tif' --image 'DNA=dna/*.tif' -o features.parquet
  spotlight measure --labels masks/*.tif --image stacks/*.tif --channel DNA,ER -o features.parquet
  spotlight measure --labels nuclei.tif -o features.csv --spacing 0.29,0.108,0.108";

/// The options of `spotlight measure`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Label images: whole numbers, one for each object, 0 outside; patterns are understood
    #[arg(long, value_name = "L", required = true, num_args = 1..)]
    pub labels: Vec<PathBuf>,
    /// Images to measure brightness and texture in, one for each label image, in their order;
    /// NAME= before the first names the channel; may be repeated for more channels
    #[arg(long, value_name = "[NAME=]I", num_args = 1..)]
    pub image: Vec<String>,
    /// Channels of the images, by name or by number from 0
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = values::channel, requires = "image")]
    pub channel: Vec<Channel>,
    /// Channel of the label images, by name or by number from 0
    #[arg(long, value_name = "NAME", value_parser = values::channel)]
    pub label_channel: Option<Channel>,
    /// Table of the objects, .csv or .parquet
    #[arg(short, long, value_name = "TABLE")]
    pub output: PathBuf,
    /// Voxel size in µm along z, y, x, in place of what the label images say
    #[arg(long, value_name = "Z,Y,X", value_parser = values::spacing_um)]
    pub spacing: Option<[f64; 3]>,
    /// Measure lengths in voxels, as the paper does, whatever the voxel size
    #[arg(long, conflicts_with = "spacing")]
    pub in_voxels: bool,
    /// What the objects are: the names of all features begin with it
    #[arg(long, value_name = "NAME", default_value = "Nuclei", value_parser = compartment)]
    pub compartment: String,
    /// Memory that the program may take; larger stacks are measured box by box
    #[arg(long, value_name = "AMOUNT", default_value = "4GiB", value_parser = values::bytes)]
    pub memory: u64,
    /// Replace the table and its record if they exist
    #[arg(long)]
    pub overwrite: bool,
}

/// Reads a compartment, one word: underscores part the names of features.
fn compartment(text: &str) -> Result<String, String> {
    let is_word = !text.is_empty() && text.chars().all(char::is_alphanumeric);
    if is_word && text != "Metadata" && text != "Image" {
        Ok(text.to_owned())
    } else {
        Err("expected one word of letters and digits, such as Nuclei, Cells or Mito".to_owned())
    }
}

/// Runs `spotlight measure`.
///
/// # Errors
///
/// When the files cannot be read or do not fit together, or the table is in the way or cannot
/// be written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let started = Started::now();
    let plan = Plan::new(options)?;
    if plan.unit == plan::LengthUnit::VoxelForWant {
        context.say(&format!(
            "{} gives no voxel size: lengths are in voxels (--spacing z,y,x gives them in µm)",
            plan.fields[0].labels.display()
        ));
    }
    let mut profile = Profile::new(profile_names(options, &plan));
    let mut images = Vec::with_capacity(plan.fields.len());

    const STEPS: u64 = 1000;
    let progress = Progress::new(context, "measure", STEPS * plan.fields.len() as u64);
    let progress = Mutex::new(progress);
    for (index, field) in plan.fields.iter().enumerate() {
        let name = field.labels.display().to_string();
        let tell = |part: f64| {
            let done = STEPS * index as u64 + (STEPS as f64 * part) as u64;
            progress.lock().unwrap_or_else(PoisonError::into_inner).set(done, &name);
        };
        tell(0.0);
        let stacks = stacks::open(field, &plan)?;
        profile.check_channels(field, &stacks.names)?;
        let measure_options =
            MeasureOptions { spacing_um: stacks.spacing_um, ..measure_options(&plan) };
        let table = stacks.measure(&measure_options, options.memory, &tell)?;
        if table.objects.is_empty() {
            let progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.say(&format!("{name} has no object: the table has no row of it"));
        }
        images.push(json!({
            "labels": field.labels,
            "images": field.images.iter().map(|image| &image.path).collect::<Vec<_>>(),
            "spacing_um": stacks.spacing_um,
            "objects": table.objects.len(),
        }));
        profile.add(index, field, &table);
    }
    drop(progress);

    let (objects, features) = (profile.table.rows(), profile.units.len());
    write_table(&options.output, &profile.table, options.overwrite)?;
    write_record(options, context, started, &plan, &profile, images)?;
    context.print(&format!(
        "{}: {}, {}, {}\n",
        options.output.display(),
        count(objects, "object"),
        count(features, "feature"),
        count(plan.fields.len(), "image"),
    ))
}

/// What is measured of every image.
fn measure_options(plan: &Plan) -> MeasureOptions {
    let with_images = plan.fields.iter().any(|field| !field.images.is_empty());
    let features = if with_images { FeatureSet::ShapeAndIntensity } else { FeatureSet::Shape };
    MeasureOptions { features, ..MeasureOptions::default() }
}

/// How the columns are called.
fn profile_names(options: &Options, plan: &Plan) -> ProfileNames {
    ProfileNames {
        compartment: options.compartment.clone(),
        texture_levels: measure_options(plan).texture_levels,
    }
}

fn write_record(
    options: &Options,
    context: &Context,
    started: Started,
    plan: &Plan,
    profile: &Profile,
    images: Vec<Value>,
) -> Result<()> {
    let measured = measure_options(plan);
    let units: Map<String, Value> =
        profile.units.iter().map(|(name, unit)| (name.clone(), json!(unit))).collect();
    let mut record = started.record(&context.engine()?);
    record.inputs = input_files(plan.inputs())?;
    record.outputs = options.output.file_name().map(PathBuf::from).into_iter().collect();
    record.details = json!({
        "unit_of_length": plan.unit.name(),
        "compartment": options.compartment,
        "curvature_radius_voxels": measured.curvature_radius_voxels,
        "texture_levels": measured.texture_levels,
        "channels": profile.channels,
        "images": images,
        "peak_memory_bytes": peak_memory_bytes(),
        "units": units,
    });
    record.write(&record_path(&options.output), options.overwrite)
}

/// Where the record of a table lies: beside it, `a.csv` and `a.csv.json`. The ending stays,
/// because one folder may hold a table in both formats.
fn record_path(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}
