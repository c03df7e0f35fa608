//! Steps of a benchmark: what each takes, in a table or for a program that asks for one at a time.
//!
//! Without arguments a benchmark prints the table. With `-- --worker FOLDER` it writes inputs and
//! results into that folder and then, for each name of a step on its input, runs the step once and
//! answers with a line of JSON; `benches/steps.py` asks it in turns with a reference.

use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[path = "../../../spotlight-engine/benches/clock/mod.rs"]
mod clock;

/// A step by name: how many voxels go in, and the step itself.
pub(crate) struct Step<'a, T> {
    pub(crate) name: &'static str,
    pub(crate) voxels: usize,
    pub(crate) run: Box<dyn Fn() -> T + 'a>,
}

/// Makes the system's allocator give memory back at once, so that each step's own is seen.
const MALLOC: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

/// Starts the program again with [`MALLOC`]: the allocator reads its settings at the start.
pub(crate) fn give_memory_back() {
    if std::env::var_os(MALLOC[0].0).is_none() {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let status = again.args(std::env::args().skip(1)).envs(MALLOC).status().unwrap();
        std::process::exit(status.code().unwrap_or(1));
    }
}

/// The folder of a worker; `None` where a table is asked for.
pub(crate) fn worker_folder() -> Option<PathBuf> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.as_slice() {
        [] => None,
        [worker, folder] if worker == "--worker" => Some(PathBuf::from(folder)),
        other => panic!("expected nothing or --worker FOLDER, got {other:?}"),
    }
}

/// Prints the median of five runs of each step.
pub(crate) fn print_table<T>(steps: &[Step<'_, T>]) {
    println!("{} threads", rayon::current_num_threads());
    println!("{:<24} {:>9} {:>9} {:>14}", "step", "wall, ms", "busy, ms", "bytes a voxel");
    for step in steps {
        let mut costs: Vec<Cost> = (0..5).map(|_| measure(step)).collect();
        costs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
        let Cost { wall_s, busy_s, peak_bytes } = costs[costs.len() / 2];
        let bytes = peak_bytes.map_or(f64::NAN, |bytes| bytes / step.voxels as f64);
        let (wall, busy) = (1e3 * wall_s, 1e3 * busy_s);
        println!("{:<24} {wall:>9.2} {busy:>9.2} {bytes:>14.1}", step.name);
    }
}

/// Writes the results of all steps with `write`, then runs the steps that it is asked for.
pub(crate) fn answer<T>(steps: &[Step<'_, T>], folder: &Path, write: impl Fn(&Path, T)) {
    for step in steps {
        write(&folder.join(format!("result {}.npy", step.name)), (step.run)());
    }
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    println!("{}", serde_json::json!({ "threads": rayon::current_num_threads(), "steps": names }));
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let step = steps.iter().find(|step| step.name == line).unwrap();
        let Cost { wall_s, busy_s, peak_bytes } = measure(step);
        let cost = serde_json::json!({
            "wall_s": wall_s,
            "busy_s": busy_s,
            "peak_bytes": peak_bytes,
            "voxels": step.voxels,
        });
        println!("{cost}");
    }
}

/// Writes numbers that NumPy reads: `kind` is its name of their type.
pub(crate) fn write_npy(
    file: &Path,
    kind: &str,
    lengths: &[usize],
    bytes: impl IntoIterator<Item = u8>,
) {
    let lengths: String = lengths.iter().map(|length| format!("{length}, ")).collect();
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({lengths}), }}");
    // The data begin at a multiple of 64 bytes, after a line break.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut content = b"\x93NUMPY\x01\x00".to_vec();
    content.extend((length as u16).to_le_bytes());
    writeln!(content, "{header:<width$}", width = length - 1).unwrap();
    content.extend(bytes);
    std::fs::write(file, content).unwrap();
}

/// What a run of a step took.
struct Cost {
    wall_s: f64,
    /// 0 where the system does not tell.
    busy_s: f64,
    /// Largest resident memory during the run less that before it, if the system tells.
    peak_bytes: Option<f64>,
}

fn measure<T>(step: &Step<'_, T>) -> Cost {
    // "5" sets the peak back to what is resident now.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let busy_seconds = || clock::busy_seconds().unwrap_or(0.0);
    let (before, busy, start) = (memory("VmRSS:"), busy_seconds(), Instant::now());
    let output = black_box((step.run)());
    let (wall_s, busy_s) = (start.elapsed().as_secs_f64(), busy_seconds() - busy);
    let peak = memory("VmHWM:");
    drop(output);
    let peak_bytes = before.zip(peak).filter(|_| reset).map(|(before, peak)| peak - before);
    Cost { wall_s, busy_s, peak_bytes }
}

/// A size from what Linux tells about this process, in bytes.
fn memory(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok().map(|kilobytes: f64| 1024.0 * kilobytes)
}
