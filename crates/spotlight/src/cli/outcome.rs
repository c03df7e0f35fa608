//! How a command ends: the words on standard error and the exit status.
//!
//! | status | means |
//! |---|---|
//! | 0 | done |
//! | 1 | failed: the input, the disk or the machine is at fault |
//! | 2 | wrong use: the command line, the recipe or the output folder must change |
//! | 130, 143 | stopped by Ctrl-C (SIGINT) or by SIGTERM, and only then |

use crate::cli::signals::Interrupted;

/// Exit status of a command that failed.
pub const FAILED: u8 = 1;

/// Exit status of a command that was asked for something it cannot do.
pub const WRONG_USE: u8 = 2;

/// An error that the program itself finds: one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The sentence, without "error: " and without a full stop at its end.
    pub message: String,
    /// What to do, where the sentence does not say it.
    pub hint: Option<String>,
    /// The exit status: [`FAILED`] or [`WRONG_USE`].
    pub status: u8,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// The error of a command line, a recipe or an output folder that must change (status 2).
///
/// An empty `hint` is no hint.
#[must_use]
pub fn wrong_use(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    problem(message.into(), hint.into(), WRONG_USE)
}

/// The error of an input or a machine at fault (status 1).
///
/// An empty `hint` is no hint.
#[must_use]
pub fn failure(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    problem(message.into(), hint.into(), FAILED)
}

fn problem(message: String, hint: String, status: u8) -> anyhow::Error {
    let hint = (!hint.is_empty()).then_some(hint);
    Problem { message, hint, status }.into()
}

impl Interrupted {
    /// The error of a command that stopped well: how far it has come, and how to go on.
    #[must_use]
    pub fn after(self, message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        let problem =
            Problem { message: message.into(), hint: Some(hint.into()), status: self.status() };
        anyhow::Error::from(self).context(problem)
    }
}

/// The reader of standard output has gone away: nothing is left to do, and nothing is wrong.
#[derive(Clone, Copy, Debug)]
pub struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader of standard output has gone away")
    }
}

impl std::error::Error for ReaderGone {}

/// The words and the exit status of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What went wrong, with its causes, outermost first.
    pub message: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit status.
    pub status: u8,
}

impl Outcome {
    /// The outcome of a command that ended with `error`.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        if error.is::<ReaderGone>() {
            return Self { message: None, hint: None, status: 0 };
        }
        let found = error.downcast_ref::<Problem>();
        let (hint, mut status) =
            found.map_or((None, FAILED), |problem| (problem.hint.clone(), problem.status));
        if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            status = interrupted.status();
        }
        let message = sentence(error);
        let hint = hint.or_else(|| advice(error, &message));
        Self { message: Some(message), hint, status }
    }
}

impl std::fmt::Display for Outcome {
    /// What standard error shows: one line for the message, one for the hint.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(message) = &self.message {
            // A run that a person has stopped is no error.
            let kind = if self.status > 128 { "stopped" } else { "error" };
            writeln!(f, "{kind}: {message}")?;
        }
        self.hint.iter().try_for_each(|hint| writeln!(f, "hint: {hint}"))
    }
}

/// What to do where the system refuses, unless the message says it.
fn advice(error: &anyhow::Error, message: &str) -> Option<String> {
    use std::io::ErrorKind;
    const ELSEWHERE: &str = "choose another folder";
    let refused = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>())?;
    let first = match refused.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "free some space or "
        }
        ErrorKind::PermissionDenied => "ask for permission or ",
        ErrorKind::ReadOnlyFilesystem => "",
        _ => return None,
    };
    (!message.contains(ELSEWHERE)).then(|| format!("{first}{ELSEWHERE}"))
}

/// The error and its causes, joined by colons; a cause that its effect already tells is left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[track_caller]
    fn check(error: &anyhow::Error, message: Option<&str>, hint: Option<&str>, status: u8) {
        let expected =
            Outcome { message: message.map(str::to_owned), hint: hint.map(str::to_owned), status };
        assert_eq!(Outcome::of(error), expected);
    }

    #[test]
    fn a_foreign_error_is_a_failure() {
        check(&anyhow::anyhow!("no disk"), Some("no disk"), None, 1);
    }

    #[test]
    fn context_goes_before_the_cause() {
        let error = failure("no such file", "check the name").context("while reading a.csv");
        check(&error, Some("while reading a.csv: no such file"), Some("check the name"), 1);
    }

    #[test]
    fn wrong_use_is_status_two_through_any_context() {
        check(&wrong_use("no", "").context("while"), Some("while: no"), None, 2);
    }

    #[test]
    fn a_cause_already_told_is_left_out() {
        let cause = std::io::Error::other("disk full");
        let told = Err::<(), _>(cause).context("a.tif: disk full").unwrap_err();
        check(&told, Some("a.tif: disk full"), None, 1);
    }

    #[test]
    fn a_full_disk_comes_with_advice() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = anyhow::Error::from(full).context("cannot write a.tif");
        let hint = Some("free some space or choose another folder");
        check(&error, Some("cannot write a.tif: no storage space"), hint, 1);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        check(&ReaderGone.into(), None, None, 0);
    }

    #[test]
    fn what_is_shown_is_a_line_each() {
        let shown = |error: anyhow::Error| Outcome::of(&error).to_string();
        assert_eq!(shown(failure("no disk", "buy one")), "error: no disk\nhint: buy one\n");
        let stopped = Interrupted::of_signal(2).after("after 3 of 5", "go on");
        assert_eq!(shown(stopped), "stopped: after 3 of 5: interrupted\nhint: go on\n");
        assert_eq!(shown(ReaderGone.into()), "");
    }

    #[test]
    fn a_signal_gives_its_own_status() {
        check(&Interrupted::of_signal(2).into(), Some("interrupted"), None, 130);
        check(&Interrupted::of_signal(15).into(), Some("terminated"), None, 143);
    }
}
