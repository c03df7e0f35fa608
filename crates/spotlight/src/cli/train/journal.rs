//! What a run tells while it goes on: the progress bar, the log and the event file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use spotlight_io::tensorboard::EventWriter;
use spotlight_learn::train::Progress as Iteration;

use super::log::{Line, Log};
use super::run_folder::{LOG, RunFolder};
use crate::cli::Context;
use crate::progress::Progress;

/// Tells of every iteration. Nothing is written before the first is done, so that a run that
/// cannot begin leaves nothing behind.
pub(super) struct Journal<'a> {
    context: &'a Context,
    folder: &'a RunFolder,
    /// Writes what goes before the log: the recipe and the split.
    preface: &'a dyn Fn() -> Result<()>,
    /// When the first iteration began.
    began: Instant,
    open: Option<Open<'a>>,
    failed: Option<anyhow::Error>,
}

/// A journal that has begun.
struct Open<'a> {
    log: Log,
    events: EventWriter,
    bar: Progress<'a>,
    /// The last validation loss, for the bar.
    validation: Option<f64>,
    /// The last line, for the end of the run.
    last: Option<Line>,
}

impl<'a> Journal<'a> {
    /// The journal of a run that begins now.
    pub(super) fn new(
        context: &'a Context,
        folder: &'a RunFolder,
        preface: &'a dyn Fn() -> Result<()>,
    ) -> Self {
        Self { context, folder, preface, began: Instant::now(), open: None, failed: None }
    }

    /// Tells of an iteration. A failure, such as a full disk, raises `stop` and is kept for
    /// [`Journal::close`].
    pub(super) fn note(&mut self, iteration: &Iteration, stop: &AtomicBool) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.try_note(iteration) {
            self.failed = Some(error);
            stop.store(true, Ordering::SeqCst);
        }
    }

    fn try_note(&mut self, iteration: &Iteration) -> Result<()> {
        if self.open.is_none() {
            self.open = Some(self.begin(iteration)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let line = open.log.add(iteration)?;
        let now = now_s();
        scalars(&mut open.events, &line, now)?;
        if iteration.validation.is_some() || iteration.has_checkpoint {
            open.events.flush()?;
        }
        open.validation = line.validation.or(open.validation);
        open.bar.set(iteration.iteration, &remark(&line, open.validation));
        open.last = Some(line);
        Ok(())
    }

    /// Writes recipe, split, log and event file as they are before this iteration.
    fn begin(&self, iteration: &Iteration) -> Result<Open<'a>> {
        let next = iteration.iteration;
        if next == 1 {
            self.folder.clear(iteration.has_checkpoint)?;
        }
        (self.preface)()?;
        let log = Log::open(&self.folder.file(LOG), next, self.began)?;
        // The curves of the runs before are written anew: what came after the checkpoint is
        // not part of this run.
        self.folder.remove_events()?;
        let elapsed = log.before.last().map_or(0.0, |line| line.seconds);
        let began = now_s() - elapsed;
        let mut events = EventWriter::create(self.folder.path(), began)?;
        log.before.iter().try_for_each(|line| scalars(&mut events, line, began + line.seconds))?;
        let validation = log.before.iter().rev().find_map(|line| line.validation);
        let bar = Progress::starting_at(self.context, "training", next - 1, iteration.iterations);
        Ok(Open { log, events, bar, validation, last: None })
    }

    /// Takes the bar away and hands out the last line.
    ///
    /// # Errors
    ///
    /// The failure that [`Journal::note`] met.
    pub(super) fn close(self) -> Result<Option<Line>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(mut open) = self.open else { return Ok(None) };
        open.events.flush()?;
        Ok(open.last)
    }
}

/// The curves of `TensorBoard`.
fn scalars(events: &mut EventWriter, line: &Line, wall_time_s: f64) -> Result<()> {
    let values = [("loss/train", Some(line.loss)), ("loss/validate", line.validation)];
    for (tag, value) in values {
        if let Some(value) = value {
            events.scalar(tag, line.iteration, value as f32, wall_time_s)?;
        }
    }
    Ok(())
}

/// What the bar shows: "loss 0.412, validation 0.430, 1.30 M voxels/s".
fn remark(line: &Line, validation: Option<f64>) -> String {
    let validation = validation.map(|loss| format!(", validation {loss:.3}")).unwrap_or_default();
    format!("loss {:.3}{validation}, {:.2} M voxels/s", line.loss, line.voxels_per_s / 1e6)
}

/// Seconds since 1970.
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
