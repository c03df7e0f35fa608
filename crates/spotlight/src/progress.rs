//! How far a long piece of work has come: a bar on a terminal, a plain line now and then
//! elsewhere, nothing with `--quiet`.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Context;

/// Without a terminal a line is written at most this often.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows how far one piece of work has come, on standard error.
#[derive(Debug)]
pub struct Progress<'a> {
    context: &'a Context,
    title: Cow<'static, str>,
    total: u64,
    bar: ProgressBar,
    /// Steps done before this program started, and when it did: for the time left.
    started: (u64, Instant),
    last_line: Instant,
}

impl<'a> Progress<'a> {
    /// Starts at 0 of `total` steps.
    #[must_use]
    pub fn new(context: &'a Context, title: impl Into<Cow<'static, str>>, total: u64) -> Self {
        Self::starting_at(context, title, 0, total)
    }

    /// Starts at `done` of `total` steps: work that an earlier run has begun.
    #[must_use]
    pub fn starting_at(
        context: &'a Context,
        title: impl Into<Cow<'static, str>>,
        done: u64,
        total: u64,
    ) -> Self {
        let title = title.into();
        let target =
            if context.bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = "{prefix} {wide_bar} {pos}/{len}  {msg}";
        let style =
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸─"));
        bar.set_prefix(title.to_string());
        bar.set_position(done);
        let now = Instant::now();
        Self { context, title, total, bar, started: (done, now), last_line: now }
    }

    /// Tells that `done` steps are done, with a remark such as the loss; the time left is added.
    pub fn set(&mut self, done: u64, remark: &str) {
        let (before, since) = self.started;
        let left = time_left(
            since.elapsed(),
            done.saturating_sub(before),
            self.total.saturating_sub(done),
        );
        let parts =
            [remark.to_owned(), left.map(|left| format!("{left} left")).unwrap_or_default()];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let remark = parts.join(", ");
        self.bar.set_message(remark.clone());
        self.bar.set_position(done);
        if !self.context.bars && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let comma = if remark.is_empty() { "" } else { ", " };
            self.context.say(&format!("{} {done} of {}{comma}{remark}", self.title, self.total));
        }
    }

    /// Writes a remark above the bar, unless `--quiet`.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| self.context.say(line));
    }
}

impl Drop for Progress<'_> {
    /// Takes the bar away: what comes next says what was done.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The time that the steps left will take at the speed so far, in words.
fn time_left(elapsed: Duration, done: u64, left: u64) -> Option<String> {
    (done > 0).then(|| duration(elapsed.mul_f64(left as f64 / done as f64)))
}

/// A duration to the precision that a person waits by: "4 s", "3 min", "2 h 05 min", "3 d 4 h".
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    let minutes = (seconds + 30) / 60;
    let (hours, days) = (minutes / 60, minutes / 1440);
    match () {
        () if seconds < 100 => format!("{seconds} s"),
        () if minutes < 100 => format!("{minutes} min"),
        () if hours < 48 => format!("{hours} h {:02} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: u64, words: &str) {
        assert_eq!(duration(Duration::from_secs(seconds)), words);
    }

    #[test]
    fn durations_are_as_coarse_as_they_are_long() {
        check(0, "0 s");
        check(99, "99 s");
        check(100, "2 min");
        check(5939, "99 min");
        check(7500, "2 h 05 min");
        check(4 * 86400 + 3600, "4 d 1 h");
    }

    #[test]
    fn the_time_left_follows_from_the_speed_so_far() {
        assert_eq!(time_left(Duration::from_secs(10), 5, 20).as_deref(), Some("40 s"));
        assert_eq!(time_left(Duration::from_secs(10), 0, 20), None);
    }
}
