//! `spotlight train` from end to end: what it writes, and that a run that was killed goes on to
//! the same weights.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use program::{ends, program};
use spotlight::io::manifest::{Manifest, Split};
use spotlight::learn::model_file::Model;
use spotlight::record::Record;
use stacks::{Stacks, folder_of};

/// Settings of a run that takes seconds.
const SMALL: [&str; 10] =
    ["--width", "2", "--depth", "1", "--batch", "2", "--patch", "8,16,16", "--validate-every", "4"];

fn train(stacks: &Stacks, run: &Path, more: &[&str]) -> Command {
    let mut command = program();
    command.arg("train").arg(&stacks.manifest).arg("-o").arg(run).args(SMALL).args(more);
    command
}

/// What a command that must succeed says on standard error.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    ends(&command.output().unwrap(), 0, &[])
}

/// The columns of a log that do not depend on the clock.
fn losses(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("log.csv")).unwrap();
    let lines = text.lines().map(|line| line.split(',').take(5).collect::<Vec<_>>().join(","));
    lines.collect()
}

/// Every loss of a run's event files: little-endian f32 after the tag of a scalar.
fn scalars(run: &Path, tag: &str) -> Vec<f32> {
    let is_events = |name: &str| name.starts_with("events.out.tfevents.");
    let files: Vec<_> = folder_of(run).into_iter().filter(|name| is_events(name)).collect();
    assert_eq!(files.len(), 1, "one event file");
    let bytes = fs::read(run.join(&files[0])).unwrap();
    let value = |at: usize| {
        let at = at + tag.len();
        assert_eq!(bytes[at], 0x15, "field 2 of 32 bits follows the tag");
        f32::from_le_bytes(bytes[at + 1..at + 5].try_into().unwrap())
    };
    let at = bytes.windows(tag.len()).enumerate().filter(|(_, window)| *window == tag.as_bytes());
    at.map(|(at, _)| value(at)).collect()
}

#[test]
fn a_run_has_all_its_files() {
    let stacks = Stacks::simulated(5);
    let run = stacks.path("run");
    let text = succeeds(&mut train(&stacks, &run, &["--iterations", "9"]));
    assert!(text.contains("learning from 3 pairs, validating on 1 pair"), "{text}");
    assert!(text.contains("the best: validation loss"), "{text}");

    let mut names = folder_of(&run);
    names.retain(|name| !name.starts_with("events.out.tfevents."));
    let expected = [
        "checkpoint.safetensors",
        "log.csv",
        "model.safetensors",
        "recipe.toml",
        "record.json",
        "split.csv",
    ];
    assert_eq!(names, expected);

    let log = losses(&run);
    assert_eq!(log[0], "iteration,loss,mmse,dice,validation_loss");
    assert_eq!(log.len(), 10);
    let validated: Vec<usize> = (1..10).filter(|i| !log[*i].ends_with(',')).collect();
    assert_eq!(validated, [4, 8, 9], "every 4 iterations and at the end");
    let second = |line: &str| line.split(',').nth(1).unwrap().parse::<f64>().unwrap();
    let expected: Vec<f32> = log[1..].iter().map(|line| second(line) as f32).collect();
    assert_eq!(scalars(&run, "loss/train"), expected);
    assert_eq!(scalars(&run, "loss/validate").len(), 3);

    let model = Model::read(&run.join("model.safetensors")).unwrap();
    assert_eq!(model.manifest.network.width, 2);
    assert_eq!(model.manifest.output_clip_min, Some(0.0));
    assert_eq!(model.manifest.inputs_sha256.len(), 8, "two files of each of four pairs");
    assert_eq!(model.manifest.target_channel.as_deref(), Some("only"));
    let ranges = model.manifest.ranges.unwrap();
    assert!(ranges.raw_max > ranges.raw_min);

    let record = fs::read(run.join("record.json")).unwrap();
    let record: Record = serde_json::from_slice(&record).unwrap();
    assert_eq!(record.program, "spotlight");
    assert_eq!(record.inputs.len(), 9, "the manifest and eight stacks");
    assert_eq!(record.details["model_iteration"], model.manifest.iteration.unwrap());

    let split = Manifest::read(&run.join("split.csv")).unwrap();
    split.check_files().unwrap();
    assert_eq!(split.rows_of(Split::Test).count(), 1);
}

#[test]
fn the_written_recipe_repeats_the_run() {
    let stacks = Stacks::simulated(4);
    let (first, second) = (stacks.path("first"), stacks.path("second"));
    let more = ["--iterations", "4", "--loss", "mse", "--set", "train.beta1=0.6", "--seed", "7"];
    succeeds(&mut train(&stacks, &first, &more));
    let mut command = program();
    command.arg("train").arg(first.join("split.csv")).arg("-o").arg(&second);
    succeeds(command.arg("-c").arg(first.join("recipe.toml")).args(["--threads", "1"]));
    assert_eq!(losses(&first), losses(&second));
    for file in ["model.safetensors", "recipe.toml"] {
        let bytes = |run: &Path| fs::read(run.join(file)).unwrap();
        assert_eq!(bytes(&first), bytes(&second), "{file}");
    }
    let model = Model::read(&second.join("model.safetensors")).unwrap();
    assert_eq!(model.manifest.output_clip_min, None, "F-net may predict below 0");
}

#[test]
fn without_validation_the_last_model_is_taken_and_it_is_said() {
    let stacks = Stacks::simulated(2);
    let run = stacks.path("run");
    let text = succeeds(&mut train(&stacks, &run, &["--iterations", "3", "--split", "paper"]));
    assert!(text.contains("there is none to validate on"), "{text}");
    assert!(text.contains("the last: no pair was there to validate on"), "{text}");
    assert_eq!(Model::read(&run.join("model.safetensors")).unwrap().manifest.iteration, Some(3));
}

#[test]
fn quiet_is_quiet() {
    let stacks = Stacks::simulated(3);
    let output = train(&stacks, &stacks.path("run"), &["--iterations", "1", "--quiet"]).output();
    let output = output.unwrap();
    assert!(output.status.success());
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn an_existing_run_is_kept_unless_told() {
    let stacks = Stacks::simulated(3);
    let run = stacks.path("run");
    succeeds(&mut train(&stacks, &run, &["--iterations", "3"]));
    let before = fs::read(run.join("model.safetensors")).unwrap();
    let output = train(&stacks, &run, &["--iterations", "2"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--resume") && text.contains("--overwrite"), "{text}");
    assert_eq!(fs::read(run.join("model.safetensors")).unwrap(), before);
    succeeds(&mut train(&stacks, &run, &["--iterations", "2", "--overwrite"]));
    assert_eq!(losses(&run).len(), 3);
    assert_eq!(scalars(&run, "loss/train").len(), 2);
}

/// Waits until the log of a run has this many iterations.
fn wait_for(run: &Path, iterations: usize, child: &mut Child) {
    let started = Instant::now();
    let lines = || fs::read_to_string(run.join("log.csv")).map_or(0, |text| text.lines().count());
    while lines() <= iterations {
        assert!(started.elapsed() < Duration::from_secs(120), "the run does not go on");
        assert!(child.try_wait().unwrap().is_none(), "the run has ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a run that would go on for long.
fn start(stacks: &Stacks, run: &Path, more: &[&str]) -> Child {
    train(stacks, run, more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_killed_run_goes_on_to_the_same_weights() {
    let stacks = Stacks::simulated(4);
    let (whole, broken) = (stacks.path("whole"), stacks.path("broken"));
    let often = ["--checkpoint-every", "3", "--flip", "yx", "--iterations"];
    let with = |iterations: &'static str| [often.as_slice(), &[iterations]].concat();

    // Killed twice, each time somewhere after a checkpoint; the second run is told to end far
    // beyond what it can do, and `iterations` is a setting that a resumed run may change.
    let mut child = start(&stacks, &broken, &with("100000"));
    wait_for(&broken, 7, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = start(&stacks, &broken, &[&with("100000")[..], &["--resume"]].concat());
    let reached = losses(&broken).len();
    wait_for(&broken, reached + 4, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!broken.join("model.safetensors").exists(), "no model of an unfinished run");

    // Where the second kill fell nobody knows; both runs end some iterations later.
    let end = (losses(&broken).len() + 10).to_string();
    let resumed = [&often[..], &[end.as_str(), "--resume", "--threads", "1"]].concat();
    succeeds(&mut train(&stacks, &broken, &resumed));
    succeeds(&mut train(&stacks, &whole, &[&often[..], &[end.as_str()]].concat()));

    assert_eq!(losses(&broken), losses(&whole));
    assert_eq!(scalars(&broken, "loss/train"), scalars(&whole, "loss/train"));
    for file in ["model.safetensors", "checkpoint.safetensors", "recipe.toml", "split.csv"] {
        let bytes = |run: &Path| fs::read(run.join(file)).unwrap();
        assert_eq!(bytes(&broken), bytes(&whole), "{file}");
    }
    let hidden: Vec<_> = folder_of(&broken).into_iter().filter(|n| n.starts_with('.')).collect();
    assert!(hidden.len() <= 2, "at most what the two kills have left: {hidden:?}");
}

#[cfg(unix)]
#[track_caller]
fn check_signal(signal: &str, status: i32) {
    let stacks = Stacks::simulated(3);
    let (stopped, whole) = (stacks.path("stopped"), stacks.path("whole"));
    let more = ["--checkpoint-every", "0", "--iterations", "100000"];
    let mut child = start(&stacks, &stopped, &more);
    wait_for(&stopped, 5, &mut child);
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(text.contains("--resume"), "{text}");
    let done = losses(&stopped).len() - 1;
    assert!(text.contains(&format!("after iteration {done} of 100000")), "{text}");
    assert!(!stopped.join("model.safetensors").exists());

    // The advice of the message: take the model as it is.
    let end = done.to_string();
    succeeds(&mut train(&stacks, &stopped, &["--resume", "--iterations", &end]));
    assert!(stopped.join("model.safetensors").exists());
    let end = (done + 2).to_string();
    succeeds(&mut train(&stacks, &stopped, &["--resume", "--iterations", &end]));
    succeeds(&mut train(&stacks, &whole, &["--iterations", &end]));
    let weights = |run: &Path| Model::read(&run.join("model.safetensors")).unwrap().network;
    assert_eq!(losses(&stopped), losses(&whole));
    assert_eq!(weights(&stopped).parameters, weights(&whole).parameters);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_a_checkpoint_and_130() {
    check_signal("-INT", 130);
}

#[cfg(unix)]
#[test]
fn termination_ends_with_a_checkpoint_and_143() {
    check_signal("-TERM", 143);
}
