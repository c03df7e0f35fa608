//! `log.csv`: one line for each iteration, whole whenever the run ends.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use spotlight_learn::train::Progress;

const HEADER: &str = "iteration,loss,mmse,dice,validation_loss,voxels_per_s,seconds";

/// One iteration as the log tells it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// Iterations done, this one included.
    pub(super) iteration: u64,
    /// Loss of the batch.
    pub(super) loss: f64,
    /// Its mean squared error in the foreground, with the Spotlight loss.
    pub(super) mmse: Option<f64>,
    /// Its Dice loss, with the Spotlight loss.
    pub(super) dice: Option<f64>,
    /// Loss on the validation patches, where it was computed.
    pub(super) validation: Option<f64>,
    /// Voxels learnt from in a second.
    pub(super) voxels_per_s: f64,
    /// Time since the first iteration began, breaks between two runs left out.
    pub(super) seconds: f64,
}

/// The log of a run that is going on.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// Time that earlier runs have taken, and when this one began.
    clock: (f64, Instant),
    /// The lines that were there before.
    pub(super) before: Vec<Line>,
}

impl Log {
    /// Opens the log of a run that began at a moment and whose next iteration is `next`,
    /// counted from 1.
    ///
    /// Lines of that iteration and later ones are dropped: they were written after the
    /// checkpoint that the run goes on from.
    pub(super) fn open(path: &Path, next: u64, began: Instant) -> Result<Self> {
        let name = path.display();
        let before = match std::fs::read_to_string(path) {
            _ if next <= 1 => Vec::new(),
            Ok(text) => parse(&text, next),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("while reading {name}")),
        };
        let mut text = format!("{HEADER}\n");
        before.iter().for_each(|line| text.push_str(&format(line)));
        spotlight_io::atomic::write_bytes(path, text.as_bytes(), true)?;
        let file = OpenOptions::new().append(true).open(path);
        let file = file.with_context(|| format!("while writing {name}"))?;
        let elapsed = before.last().map_or(0.0, |line| line.seconds);
        Ok(Self { file, clock: (elapsed, began), before })
    }

    /// Adds a line for an iteration.
    pub(super) fn add(&mut self, progress: &Progress) -> std::io::Result<Line> {
        let (elapsed, since) = self.clock;
        let has_parts = progress.loss.dice.is_some();
        let line = Line {
            iteration: progress.iteration,
            loss: progress.loss.total,
            mmse: has_parts.then_some(progress.loss.mse),
            dice: progress.loss.dice,
            validation: progress.validation.map(|loss| loss.total),
            voxels_per_s: progress.voxels_per_s.round(),
            seconds: elapsed + since.elapsed().as_secs_f64(),
        };
        self.file.write_all(format(&line).as_bytes())?;
        Ok(line)
    }
}

fn format(line: &Line) -> String {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let Line { iteration, loss, mmse, dice, validation, voxels_per_s, seconds } = line;
    let (mmse, dice, validation) = (number(*mmse), number(*dice), number(*validation));
    format!("{iteration},{loss},{mmse},{dice},{validation},{voxels_per_s},{seconds:.3}\n")
}

/// The lines before iteration `next`. A line that is cut off, as by a full disk, is left out.
fn parse(text: &str, next: u64) -> Vec<Line> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().skip(1).filter_map(parse_line);
    lines.take_while(|line| line.iteration < next).collect()
}

fn parse_line(line: &str) -> Option<Line> {
    let fields: Vec<&str> = line.split(',').collect();
    let [iteration, loss, mmse, dice, validation, voxels_per_s, seconds] = fields[..] else {
        return None;
    };
    let optional = |text: &str| text.parse().ok();
    Some(Line {
        iteration: iteration.parse().ok()?,
        loss: loss.parse().ok()?,
        mmse: optional(mmse),
        dice: optional(dice),
        validation: optional(validation),
        voxels_per_s: voxels_per_s.parse().ok()?,
        seconds: seconds.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use spotlight_learn::loss::LossTerms;

    fn progress(iteration: u64) -> Progress {
        Progress {
            iteration,
            iterations: 9,
            loss: LossTerms { total: 0.1, mse: 0.2, dice: Some(1.0 / 3.0) },
            voxels_per_s: 12.4,
            validation: (iteration == 2).then_some(LossTerms { total: 0.5, mse: 0.5, dice: None }),
            is_best: false,
            has_checkpoint: false,
        }
    }

    #[test]
    fn lines_after_the_checkpoint_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut log = Log::open(&path, 1, Instant::now()).unwrap();
        let lines: Vec<Line> = (1..=5).map(|i| log.add(&progress(i)).unwrap()).collect();
        log.file.write_all(b"6,0.1,0").unwrap(); // killed here
        let whole = std::fs::read_to_string(&path).unwrap();
        let log = Log::open(&path, 4, Instant::now()).unwrap();
        assert_eq!(log.before.len(), 3);
        assert_eq!(log.before[1].validation, Some(0.5));
        assert_eq!(log.before[2].dice, lines[2].dice);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(whole.starts_with(&kept));
        assert_eq!(kept.lines().count(), 4);
    }

    #[test]
    fn a_new_run_begins_a_new_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        Log::open(&path, 1, Instant::now()).unwrap().add(&progress(1)).unwrap();
        Log::open(&path, 1, Instant::now()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEADER}\n"));
    }
}
