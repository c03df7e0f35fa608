//! The `spotlight` program: reads the command line, runs one command, reports once.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use spotlight::cli::{self, CommandLine, Outcome};

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(message) => return show_clap_message(&message),
    };
    match cli::run(command_line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Help and version go to standard output with status 0, wrong use to standard error with 2.
fn show_clap_message(message: &clap::Error) -> ExitCode {
    // A reader that has gone away is no reason to fail.
    let _ = message.print();
    if message.use_stderr() { ExitCode::from(cli::WRONG_USE) } else { ExitCode::SUCCESS }
}

/// Prints the error with its causes and, where there is one, what to do about it.
fn report(error: &anyhow::Error) -> ExitCode {
    let outcome = Outcome::of(error);
    // Where nobody can read standard error there is nothing left to tell.
    let _ = std::io::stderr().write_all(outcome.to_string().as_bytes());
    ExitCode::from(outcome.status)
}
