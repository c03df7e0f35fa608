//! `spotlight demo`: everything once, on simulated stacks.

mod figure;
mod study;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use spotlight_image::Shape;

use crate::cli::{Context, values, wrong_use};
use crate::progress::{Progress, duration};
use crate::scores::{HEADINGS, Scores};
use crate::table::{Table, count};

pub use study::{DemoOptions, Findings, Model, Setting, study};

const EXAMPLES: &str = "\
Examples:
  spotlight demo
  spotlight demo -o my-demo --seed 1
  spotlight demo -o long --iterations 2000";

/// The options of `spotlight demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Folder for all results
    #[arg(short, long, value_name = "DIR", default_value = "spotlight-demo")]
    pub output: PathBuf,
    /// Seed of the stacks, the first weights and the patches
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Iterations of each training
    #[arg(long, value_name = "N", default_value_t = DemoOptions::default().iterations)]
    pub iterations: u64,
    /// Pairs to simulate; the last quarter is held out
    #[arg(long, value_name = "N", default_value_t = DemoOptions::default().pairs)]
    pub pairs: usize,
    /// Channels of the networks' first level
    #[arg(long, value_name = "N", default_value_t = DemoOptions::default().width)]
    pub width: usize,
    /// Voxels of each stack along z, y, x
    #[arg(long, value_name = "Z,Y,X", value_parser = values::shape, hide = true)]
    pub shape: Option<Shape>,
    /// Voxels of each patch along z, y, x
    #[arg(long, value_name = "Z,Y,X", value_parser = values::shape, hide = true)]
    pub patch: Option<Shape>,
    /// Times that the networks halve their input
    #[arg(long, value_name = "N", hide = true)]
    pub depth: Option<usize>,
    /// Patches in an iteration
    #[arg(long, value_name = "N", hide = true)]
    pub batch: Option<usize>,
    /// Replace the results of an earlier demo
    #[arg(long)]
    pub overwrite: bool,
}

impl Options {
    fn settings(&self) -> DemoOptions {
        let default = DemoOptions::default();
        DemoOptions {
            seed: self.seed,
            iterations: self.iterations,
            pairs: self.pairs,
            width: self.width,
            shape: self.shape.unwrap_or(default.shape),
            patch: self.patch.unwrap_or(default.patch),
            depth: self.depth.unwrap_or(default.depth),
            batch: self.batch.unwrap_or(default.batch),
            ..default
        }
    }
}

/// Runs `spotlight demo`.
///
/// # Errors
///
/// When results of an earlier demo are in the way, files cannot be written, the settings do
/// not fit together, or a signal asks to stop.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    if options.pairs < 2 {
        return Err(wrong_use("a demo needs at least 2 pairs", "one to learn from, one to test"));
    }
    let begun = Instant::now();
    let engine = context.engine()?;
    context.stop.at_next_moment();
    let mut progress = Progress::new(context, "demo", 100);
    let mut tell = |done: f64, what: &str| progress.set((100.0 * done) as u64, what);
    let setting = Setting {
        folder: &options.output,
        overwrite: options.overwrite,
        engine: &engine,
        stop: &context.stop,
    };
    let findings = study(&options.settings(), setting, &mut tell)?;
    drop(progress);
    context.print(&summary(options, &findings))?;
    context.say(&format!("\nThe demo took {}.", duration(begun.elapsed())));
    Ok(())
}

/// The table F-net against Spotlight, and where everything lies.
fn summary(options: &Options, findings: &Findings) -> String {
    let mut table = Table::new(&["model"]);
    table.header.extend(HEADINGS.map(str::to_owned));
    for model in [Model::Fnet, Model::Spotlight] {
        let of_model = findings.scores.iter().filter(|(m, _)| *m == model);
        let scores: Vec<Scores> = of_model.map(|(_, scored)| scored.scores).collect();
        let name = vec![model.title().to_owned()];
        table.rows.push([name, Scores::mean(&scores).cells()].concat());
    }
    let mut files = Table::new(&["file", "holds"]);
    let base = &options.output;
    for (name, holds) in [
        ("montage.png", "input, target, F-net and Spotlight of a held-out stack"),
        ("scores.csv", "the scores of every held-out stack"),
        ("stacks/manifest.csv", "the simulated pairs"),
        ("fnet/model.safetensors", "the F-net, trained with the mean squared error"),
        ("spotlight/model.safetensors", "the same network, trained with the Spotlight loss"),
        ("fnet/, spotlight/", "the virtual stains, as OME-TIFF"),
    ] {
        files.rows.push(vec![base.join(name).display().to_string(), holds.to_owned()]);
    }
    let (held_out, learnt) = (findings.held_out, findings.learnt);
    let stacks = count(held_out, "held-out stack");
    format!(
        "Mean over {stacks}, after {} iterations on {learnt} others:\n\n{}\n\
         PSNR in dB and Pearson's r: whole, in the foreground (fg), over its voxels alone.\n\
         Dice: the predicted foreground against the true one of the simulation.\n\
         The squared error weighs {} in the Spotlight loss; the paper's 0.5 needs longer runs.\n\n{}",
        options.iterations,
        table.text(),
        options.settings().lambda_mse,
        files.text(),
    )
}
