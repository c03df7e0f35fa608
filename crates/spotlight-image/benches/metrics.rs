//! Times MicroMS3IM, Fourier ring correlation and average precision side by side with the
//! Python originals on a simulated stack, and measures the memory each needs.
//!
//! ```text
//! cargo bench -p spotlight-image --bench metrics -- [PYTHON MIPLIB]
//! ```
//!
//! PYTHON is an interpreter with the packages of `benches/requirements_metrics.txt`, MIPLIB
//! the folder of the unpacked miplib; without them only ours is timed. Every metric runs in a
//! process of its own, ours before and after the original; the slower of both is compared.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a panic is how a benchmark reports")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use spotlight_image::evaluate::{
    IOU_THRESHOLDS, MsSsim, RingCorrelation, average_precision, mean_of_defined, micro_fit,
    micro_ms3im, overlap, ring_correlation,
};
use spotlight_image::filter::gaussian;
use spotlight_image::simulate::{Simulation, simulate};
use spotlight_image::{Border, Shape, Volume};

const SHAPE: Shape = [64, 224, 336];
const METRICS: [&str; 3] = ["microms3im", "frc", "ap"];

/// Runs of ours and of the original of which the shortest counts.
const REPEATS: [&str; 2] = ["7", "3"];

/// Every nucleus whose label is a multiple of this is missing in the prediction.
const DROPPED: u16 = 10;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--one", metric, folder, repeats] => one(metric, Path::new(folder), repeats),
        [] => compare(None),
        [python, miplib] => compare(Some((python, miplib))),
        other => panic!("expected nothing or PYTHON MIPLIB, got {other:?}"),
    }
}

fn compare(reference: Option<(&str, &str)>) {
    let folder = env::temp_dir().join(format!("spotlight-metrics-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let nuclei = write_images(&folder);
    let voxels = SHAPE.iter().product::<usize>() as f64;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{SHAPE:?} voxels, {nuclei} nuclei, {threads} threads");
    println!("metric       ours s  bytes/voxel  original s  bytes/voxel  ratio  scores");
    for metric in METRICS {
        let mut ours = run_ours(metric, &folder);
        let Some((python, miplib)) = reference else {
            println!("{metric:<11} {:7.4} {:12.2}  {}", ours[0], ours[1] / voxels, ours[2]);
            continue;
        };
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = manifest.join("../../benches/reference_metrics.py");
        let mut original = Command::new(python);
        original.arg(script).arg(metric).arg(&folder).arg(REPEATS[1]).env("MIPLIB", miplib);
        let original = run(&mut original);
        ours[0] = ours[0].max(run_ours(metric, &folder)[0]);
        println!(
            "{metric:<11} {:7.4} {:12.2} {:11.4} {:12.2} {:6.1}  {:.6} {:.6}",
            ours[0],
            ours[1] / voxels,
            original[0],
            original[1] / voxels,
            original[0] / ours[0],
            ours[2],
            original[2],
        );
    }
    fs::remove_dir_all(&folder).unwrap();
}

fn run_ours(metric: &str, folder: &Path) -> [f64; 3] {
    let program = env::current_exe().unwrap();
    run(Command::new(program).args(["--one", metric]).arg(folder).arg(REPEATS[0]))
}

/// Seconds, bytes and score that a process prints.
fn run(command: &mut Command) -> [f64; 3] {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers = text.lines().last().unwrap().split_whitespace();
    let numbers: Vec<f64> = numbers.map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Runs one metric and prints its time, memory and score.
fn one(metric: &str, folder: &Path, repeats: &str) {
    let image = |name: &str| Volume::new(SHAPE, read_npy(&folder.join(name), f32::from_le_bytes));
    let labels = |name: &str| {
        Volume::new(
            SHAPE,
            read_npy(&folder.join(name), |bytes| u32::from(u16::from_le_bytes(bytes))),
        )
    };
    match metric {
        "microms3im" => {
            let (target, prediction) = (image("target.npy"), image("prediction.npy"));
            measure(repeats, || {
                let fit = micro_fit(&[(&target, &prediction)], 3.0);
                mean_of_defined(&micro_ms3im(&target, &prediction, &fit, &MsSsim::default())).0
            });
        }
        "frc" => {
            let target = image("target.npy");
            measure(repeats, || {
                let found = ring_correlation(&target, 0.29, &RingCorrelation::default());
                let planes: Vec<f64> = found.iter().map(|found| found.resolution_um).collect();
                mean_of_defined(&planes).0
            });
        }
        "ap" => {
            let (truth, prediction) = (labels("true_labels.npy"), labels("predicted_labels.npy"));
            measure(repeats, || {
                let found = average_precision(&overlap(&truth, &prediction), &IOU_THRESHOLDS);
                found.iter().map(|found| found.average_precision).sum::<f64>() / 10.0
            });
        }
        other => panic!("unknown metric {other}"),
    }
}

fn measure(repeats: &str, score: impl Fn() -> f64) {
    // Peak memory since here, where the kernel tells.
    let reset = fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS");
    let value = score();
    let peak = if reset.is_ok() { memory("VmHWM") - before } else { f64::NAN };
    let seconds = (0..repeats.parse::<usize>().unwrap()).map(|_| {
        let start = Instant::now();
        assert_eq!(score(), value);
        start.elapsed().as_secs_f64()
    });
    println!("{} {} {value}", seconds.fold(f64::INFINITY, f64::min), peak.max(0.0));
}

/// A field of the process' status, in bytes.
fn memory(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.map_or(f64::NAN, |kilobytes| kilobytes.parse::<f64>().unwrap() * 1024.0)
}

/// A stack of fluorescence, a blurred and noisy copy as its prediction, the labels of the
/// nuclei and a shifted copy without some; returns the number of nuclei.
fn write_images(folder: &Path) -> usize {
    let options = Simulation { shape: SHAPE, nucleus_diameter_um: 6.2, ..Simulation::default() };
    let pair = simulate(&options);
    let target = pair.fluorescence.map(|v| f32::from(*v));
    let blurred = gaussian(&target, [1.0; 3], 4.0, Border::Nearest);
    let noise = |i: usize| ((i * 7919 + i / 336 * 104_729) % 101) as f32 / 5.0;
    let prediction: Vec<f32> =
        blurred.voxels.iter().enumerate().map(|(i, v)| 0.8 * v + noise(i)).collect();
    let nuclei = usize::from(pair.labels.voxels.iter().copied().max().unwrap());
    let predicted = Volume::from_fn(SHAPE, |[z, y, x]| {
        let from = [z.saturating_sub(1), y.saturating_sub(2), x.saturating_sub(1)];
        let label = pair.labels.at(from);
        if label.is_multiple_of(DROPPED) { 0 } else { label - label / DROPPED }
    });
    let float = |v: &f32| v.to_le_bytes();
    write_npy(&folder.join("target.npy"), "<f4", &target.voxels, float);
    write_npy(&folder.join("prediction.npy"), "<f4", &prediction, float);
    let whole = |v: &u16| v.to_le_bytes();
    write_npy(&folder.join("true_labels.npy"), "<u2", &pair.labels.voxels, whole);
    write_npy(&folder.join("predicted_labels.npy"), "<u2", &predicted.voxels, whole);
    nuclei
}

fn write_npy<T, const N: usize>(
    path: &Path,
    descr: &str,
    voxels: &[T],
    bytes: impl Fn(&T) -> [u8; N],
) {
    let [z, y, x] = SHAPE;
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({z}, {y}, {x}), }}");
    let header = format!("{header:<117}\n");
    let mut content = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    content.extend(header.as_bytes());
    content.extend(voxels.iter().flat_map(bytes));
    fs::write(path, content).unwrap();
}

fn read_npy<T, const N: usize>(path: &Path, number: impl Fn([u8; N]) -> T) -> Vec<T> {
    let content = fs::read(path).unwrap();
    content[128..].chunks_exact(N).map(|bytes| number(bytes.try_into().unwrap())).collect()
}
