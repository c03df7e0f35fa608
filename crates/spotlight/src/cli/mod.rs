//! The command line: one file per command, and what all commands share.

pub mod convert;
pub mod demo;
pub mod evaluate;
pub mod import;
pub mod info;
pub mod jobs;
pub mod labels;
pub mod measure;
pub mod outcome;
pub mod predict;
pub mod segment;
pub mod signals;
pub mod simulate;
pub mod stacks;
pub mod train;
pub mod tune;
pub mod values;
pub mod weights;

use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use spotlight_engine::{Engine, EngineOptions, Precision};

pub use outcome::{Outcome, WRONG_USE, failure, wrong_use};

/// Predict fluorescence z-stacks from transmitted light.
///
/// Train a 3D network on pairs of transmitted-light and fluorescence stacks, then
/// stain new transmitted-light stacks with it.
#[derive(Debug, Parser)]
#[command(name = "spotlight", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Settings that every command has.
    #[command(flatten)]
    pub global: Global,
}

const EXAMPLES: &str = "\
Examples:
  spotlight demo                                    everything once, on simulated stacks
  spotlight train manifest.csv -o run               learn from pairs of stacks
  spotlight predict run/model.safetensors *.tif -o stained
  spotlight segment stained/*.ome.tif -o labels     a label for each nucleus
  spotlight evaluate --prediction stained/a.ome.tif --target a_dna.tif";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate, train, predict and score once, to see what the program does
    Demo(demo::Options),
    /// Write simulated pairs of stacks with a manifest
    Simulate(simulate::Options),
    /// Train a network on pairs of stacks listed in a manifest
    Train(Box<train::Options>),
    /// Stain transmitted-light stacks with a trained model
    Predict(predict::Options),
    /// Find the nuclei of fluorescence stacks, measured or predicted
    Segment(segment::Options),
    /// Find the settings of segment that fit stacks with known nuclei best
    Tune(tune::Options),
    /// Score predictions against fluorescence stacks
    Evaluate(evaluate::Options),
    /// Measure the objects of label images: a table for profiling
    Measure(measure::Options),
    /// Turn an F-net of pytorch_fnet into a model file
    Import(import::Options),
    /// Fetch published weights, and tell where they lie
    Weights(weights::Options),
    /// Turn images of any format that is read into OME-Zarr or OME-TIFF
    Convert(Box<convert::Options>),
    /// Describe image files and models
    Info(info::Options),
}

/// Settings that every command has.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Number of threads [default: one for each processor core]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Sum convolutions directly: slower, with a quarter of the rounding errors
    #[arg(long, global = true)]
    pub precise: bool,
    /// Print errors and results only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print plain lines in place of a progress bar
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// What a command knows about the way it was started.
#[derive(Clone, Debug)]
pub struct Context {
    /// Number of threads asked for; `None` is one for each processor core.
    pub threads: Option<usize>,
    /// How much rounding the engine may do for speed; `None` leaves it to the environment.
    pub precision: Option<Precision>,
    /// Only errors and results are wanted.
    pub quiet: bool,
    /// A progress bar may be drawn: standard error is a terminal and nobody said no.
    pub bars: bool,
    /// Raised by Ctrl-C and SIGTERM, once a command has asked for time to stop well.
    pub stop: signals::Stop,
}

impl Context {
    /// The context of a program started with these settings.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        Self {
            threads: global.threads.map(NonZeroUsize::get),
            precision: global.precise.then_some(Precision::Precise),
            quiet: global.quiet,
            bars: !global.quiet && !global.no_progress && std::io::stderr().is_terminal(),
            stop: signals::Stop::default(),
        }
    }

    /// Starts the engine as the settings ask.
    ///
    /// # Errors
    ///
    /// If the environment asks for what this machine does not have, or no threads can be started.
    pub fn engine(&self) -> Result<Engine> {
        let (threads, precision) = (self.threads, self.precision);
        Ok(Engine::new(&EngineOptions { threads, precision, ..EngineOptions::default() })?)
    }

    /// Writes a command's result to standard output.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written. A reader that has gone away
    /// (`spotlight info … | head`) ends the program quietly.
    pub fn print(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(outcome::ReaderGone.into())
            }
            other => other.context("while writing to standard output"),
        }
    }

    /// Writes a remark to standard error, one line, unless `--quiet`.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            // Remarks are a courtesy: losing one must not lose the work.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// Whatever kept the command from its end; [`Outcome::of`] turns it into the words and the
/// exit status.
pub fn run(command_line: CommandLine) -> Result<()> {
    let mut context = Context::new(&command_line.global);
    context.stop = signals::Stop::on_signals()?;
    if let Some(threads) = context.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("while starting the threads")?;
    }
    match command_line.command {
        Command::Demo(options) => demo::run(&options, &context),
        Command::Simulate(options) => simulate::run(&options, &context),
        Command::Train(options) => train::run(&options, &context),
        Command::Predict(options) => predict::run(&options, &context),
        Command::Segment(options) => segment::run(&options, &context),
        Command::Tune(options) => tune::run(&options, &context),
        Command::Evaluate(options) => evaluate::run(&options, &context),
        Command::Measure(options) => measure::run(&options, &context),
        Command::Import(options) => import::run(&options, &context),
        Command::Weights(options) => weights::run(&options, &context),
        Command::Convert(options) => convert::run(&options, &context),
        Command::Info(options) => info::run(&options, &context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in CommandLine::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("spotlight"), "{} has no example", command.get_name());
        }
    }
}
