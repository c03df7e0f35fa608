//! Runs the program as a user does, and checks how it ended.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;

/// The program, for words of its command line.
pub(crate) fn program() -> Command {
    Command::new(cargo_bin("spotlight"))
}

/// Runs the program with these words.
pub(crate) fn spotlight(words: &[&str]) -> Output {
    program().args(words).output().unwrap()
}

/// Standard output of a command that must have succeeded.
#[track_caller]
pub(crate) fn succeeds(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Standard error of a command that must have ended with this status, and said all these words.
#[track_caller]
pub(crate) fn ends(output: &Output, status: i32, words: &[&str]) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    text
}

/// Checks that a command failed with this status, in one sentence with all these words and at
/// most a hint, and printed no result.
#[track_caller]
pub(crate) fn fails(output: &Output, status: i32, words: &[&str]) {
    let text = ends(output, status, words);
    assert!(output.stdout.is_empty());
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("error: ")), "{text}");
    assert!(lines.next().is_none_or(|line| line.starts_with("hint: ")), "{text}");
    assert_eq!(lines.next(), None, "more than a sentence and a hint: {text}");
}
