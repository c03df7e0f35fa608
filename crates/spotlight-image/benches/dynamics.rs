//! Time and memory of Cellpose's dynamics, and the worker of the comparison with Python's.
//!
//! Flows of a simulated stack of 32 x 112 x 168 voxels, with noise, become masks. With
//! `--worker FOLDER` it writes flows, logits and results into that folder and then, for each
//! name of a step on its input, runs the step once and answers with a line of JSON;
//! `benches/reference_dynamics.py` asks it in turns with the reference.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark reports")]

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use spotlight_image::Volume;
use spotlight_image::cellpose::{
    Dynamics, fill_and_remove, flows_of_stack, joint_flows_of_stack, masks_of_planes,
    masks_of_stack, objects_of_stack,
};
use spotlight_image::simulate::{Simulation, simulate};

/// Flows and logits as a network would predict them of about 100 nuclei.
struct Inputs {
    labels: Volume<u32>,
    flow: [Volume<f32>; 3],
    logit: Volume<f32>,
}

impl Inputs {
    fn new() -> Self {
        let simulation = Simulation {
            shape: [32, 112, 168],
            seed: 7,
            nucleus_diameter_um: 3.2,
            nucleus_height_um: 3.0,
            ..Simulation::default()
        };
        let labels = simulate(&simulation).labels.map(|label| u32::from(*label));
        let mut noise = noise();
        let flow = joint_flows_of_stack(&labels).map(|flow| flow.map(|f| 5.0 * f + noise()));
        let logit = labels.map(|label| if *label > 0 { 3.0 } else { -3.0 });
        Self { labels, flow, logit }
    }
}

/// Numbers from -1/2 to 1/2, always the same.
fn noise() -> impl FnMut() -> f32 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    }
}

/// A step by name, with what comes out of it.
struct Step<'a> {
    name: &'static str,
    run: Box<dyn Fn() -> Vec<Volume<f32>> + 'a>,
}

fn steps(inputs: &Inputs) -> Vec<Step<'_>> {
    let Inputs { labels, flow: [z, y, x], logit } = inputs;
    let options = Dynamics::default();
    let image = |labels: Volume<u32>| vec![labels.map(|label| *label as f32)];
    let masks = move || masks_of_stack([z, y, x], logit, logit.shape, &options);
    let objects = move || objects_of_stack([z, y, x], logit, &options);
    let planes = move || masks_of_planes([y, x], logit, logit.shape, &options);
    vec![
        Step { name: "masks of the stack", run: Box::new(move || image(masks())) },
        Step { name: "objects of the stack", run: Box::new(move || image(objects())) },
        Step { name: "masks of the planes", run: Box::new(move || image(planes())) },
        Step { name: "fill and remove", run: Box::new(move || image(fill_and_remove(labels, 15))) },
        Step { name: "flows of planes, summed", run: Box::new(|| flows_of_stack(labels).into()) },
        Step { name: "joint flows", run: Box::new(|| joint_flows_of_stack(labels).into()) },
    ]
}

/// What a run of a step took.
struct Cost {
    wall_s: f64,
    busy_s: f64,
    /// Largest resident memory during the run less that before it, if the system tells.
    peak_bytes: Option<f64>,
}

fn measure(step: &Step<'_>) -> Cost {
    // "5" sets the peak back to what is resident now.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
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

/// Seconds that the threads of this process have run; 0 where the system does not tell.
fn busy_seconds() -> f64 {
    let seconds = |task: std::io::Result<std::fs::DirEntry>| {
        let times = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| 1e-9 * nanoseconds)
    };
    std::fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(seconds).sum()
}

/// Makes the system's allocator give memory back at once, so that each step's own is seen.
const MALLOC: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

fn main() {
    // The allocator reads its settings when a program starts.
    if std::env::var_os(MALLOC[0].0).is_none() {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let status = again.args(std::env::args().skip(1)).envs(MALLOC).status().unwrap();
        std::process::exit(status.code().unwrap_or(1));
    }
    let inputs = Inputs::new();
    let steps = steps(&inputs);
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.as_slice() {
        [] => print_table(&steps, inputs.logit.voxels.len()),
        [worker, folder] if worker == "--worker" => answer(&inputs, &steps, Path::new(folder)),
        other => panic!("unknown arguments {other:?}"),
    }
}

fn print_table(steps: &[Step<'_>], voxels: usize) {
    println!("{} threads", rayon::current_num_threads());
    println!("{:<24} {:>9} {:>9} {:>14}", "step", "wall, ms", "busy, ms", "bytes a voxel");
    for step in steps {
        let mut costs: Vec<Cost> = (0..5).map(|_| measure(step)).collect();
        costs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
        let Cost { wall_s, busy_s, peak_bytes } = costs[costs.len() / 2];
        let bytes = peak_bytes.map_or(f64::NAN, |bytes| bytes / voxels as f64);
        let (wall, busy) = (1e3 * wall_s, 1e3 * busy_s);
        println!("{:<24} {wall:>9.2} {busy:>9.2} {bytes:>14.1}", step.name);
    }
}

/// Writes inputs and results, then runs the steps that it is asked for. Files hold f32.
fn answer(inputs: &Inputs, steps: &[Step<'_>], folder: &Path) {
    let write = |name: &str, volumes: &[Volume<f32>]| {
        let voxels = volumes.iter().flat_map(|volume| &volume.voxels);
        let bytes: Vec<u8> = voxels.flat_map(|voxel| voxel.to_le_bytes()).collect();
        let mut file = std::fs::File::create(folder.join(format!("{name}.f32"))).unwrap();
        file.write_all(&bytes).unwrap();
    };
    write("flow", &inputs.flow);
    write("logit", std::slice::from_ref(&inputs.logit));
    write("labels", &[inputs.labels.map(|label| *label as f32)]);
    steps.iter().for_each(|step| write(&format!("result {}", step.name), &(step.run)()));
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    let (threads, shape) = (rayon::current_num_threads(), inputs.logit.shape);
    println!("{}", serde_json::json!({ "threads": threads, "steps": names, "shape": shape }));
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let step = steps.iter().find(|step| step.name == line).unwrap();
        let Cost { wall_s, busy_s, peak_bytes } = measure(step);
        let cost = serde_json::json!({
            "wall_s": wall_s,
            "busy_s": busy_s,
            "peak_bytes": peak_bytes,
        });
        println!("{cost}");
    }
}
