//! Times Cellpose as a user runs it, for `benches/reference_cellpose.py`.
//!
//! ```text
//! cargo bench -p spotlight-learn --bench cellpose -- WEIGHTS STACK Z Y X THREADS
//! ```
//!
//! STACK is a file of little-endian f32 numbers in the order (z, y, x). Every line of the input is
//! a work: `flows` (the network in three orientations), or `segment` (flows and objects). After the
//! first run of a work, which is not measured, each is answered with a line of JSON: seconds on
//! the wall, seconds that each thread has run on average, the largest resident memory of the
//! process so far, and the file of the result beside STACK.
#![allow(clippy::print_stdout)]

#[path = "../../spotlight-engine/benches/clock/mod.rs"]
mod clock;

use std::{io::BufRead, path::Path, process::ExitCode, time::Instant};

use clock::busy_seconds;
use serde_json::{Value, json};
use spotlight_engine::{Engine, EngineOptions};
use spotlight_image::Volume;
use spotlight_learn::cpnet::{CellposeOptions, Cpnet, segment, stack_flows};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("{}", json!({ "error": problem }));
            ExitCode::FAILURE
        }
    }
}

/// What all works are done with.
struct Bench {
    network: Cpnet,
    engine: Engine,
    stack: Volume<f32>,
    file: String,
}

fn serve() -> Result<(), String> {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let words: Vec<String> = words.collect();
    // `cargo test` and `cargo bench` run every benchmark without arguments, too.
    let [weights, file, z, y, x, threads] = words.as_slice() else { return Ok(()) };
    let number = |word: &String| word.parse::<usize>().map_err(|error| format!("{word}: {error}"));
    let shape = [number(z)?, number(y)?, number(x)?];
    let options = EngineOptions { threads: Some(number(threads)?), ..EngineOptions::default() };
    let engine = Engine::new(&options).map_err(|error| error.to_string())?;
    let network = Cpnet::read(Path::new(weights)).map_err(|error| error.to_string())?;
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let stack = Volume::new(shape, values.collect());
    let bench = Bench { network, engine, stack, file: file.clone() };
    let mut warm = String::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        if warm != line {
            bench.run(&line)?;
            warm.clone_from(&line);
        }
        println!("{}", bench.measure(&line)?);
    }
    Ok(())
}

impl Bench {
    fn measure(&self, work: &str) -> Result<Value, String> {
        let (start, busy) = (Instant::now(), busy_seconds());
        let result = self.run(work)?;
        let wall_s = start.elapsed().as_secs_f64();
        let busy = busy.zip(busy_seconds()).map(|(before, after)| after - before);
        let file = format!("{}.{work}.ours", self.file);
        std::fs::write(&file, result).map_err(|error| format!("{file}: {error}"))?;
        Ok(json!({
            "wall_s": wall_s,
            "busy_s": busy.map(|busy| busy / self.engine.threads() as f64),
            "peak_rss_bytes": peak_rss_bytes(),
            "result": file,
        }))
    }

    /// The bytes of the result: flows and logits as f32, or labels as u32.
    fn run(&self, work: &str) -> Result<Vec<u8>, String> {
        let options =
            CellposeOptions { diameter: self.network.diameter, ..CellposeOptions::default() };
        let (network, engine, stack) = (&self.network, &self.engine, self.stack.clone());
        let quiet = &mut |_, _| {};
        let failed = |error: spotlight_learn::Error| error.to_string();
        match work {
            "flows" => {
                let found = stack_flows(network, engine, stack, "stack", &options, quiet);
                let found = found.map_err(failed)?;
                let volumes = found.flows.iter().chain([&found.logits]);
                let voxels = volumes.flat_map(|volume| &volume.voxels);
                Ok(voxels.flat_map(|voxel| voxel.to_le_bytes()).collect())
            }
            "segment" => {
                let found = segment(network, engine, stack, "stack", &options, quiet);
                let voxels = found.map_err(failed)?.voxels;
                Ok(voxels.iter().flat_map(|label| label.to_le_bytes()).collect())
            }
            other => Err(format!("unknown work {other}: flows or segment")),
        }
    }
}

/// The largest resident memory of this process so far (Linux).
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
