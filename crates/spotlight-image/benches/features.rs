//! Times the features of a simulated stack of about 100 nuclei, and the memory they need.
//!
//! With a folder as its argument it also writes the labels, the image and the features there,
//! so that `benches/reference_features.py` can measure the same objects beside it:
//!
//! ```text
//! cargo bench -p spotlight-image --bench features [-- FOLDER]
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that reports and stops")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;
use spotlight_image::Volume;
use spotlight_image::measure::{
    Channel, FeatureSet, FeatureTable, MeasureOptions, Object, measure, objects, regionprops,
    surface_features,
};
use spotlight_image::simulate::{Simulation, simulate};

/// Runs of which the fastest counts.
const RUNS: usize = 10;

/// Smaller objects are not nuclei but parts of some.
const LEAST_VOXELS: u64 = 500;

fn main() {
    // The size that the paper segments and measures at: half of 0.29 µm resolution.
    let options = Simulation {
        shape: [64, 224, 336],
        spacing_um: [0.58; 3],
        seed: 1,
        ..Simulation::default()
    };
    let pair = simulate(&options);
    let labels = without_fragments(&pair.labels.map(|label| u32::from(*label)));
    let image = pair.fluorescence.map(|grey| f32::from(*grey));
    drop(pair);
    println!("objects {}", objects(&labels).len());
    if let Some(bytes) = peak_bytes(|| drop(table(&labels, &image, FeatureSet::ShapeAndIntensity)))
    {
        println!("peak_bytes_per_voxel {:.2}", bytes / labels.voxels.len() as f64);
    }
    let crops = || objects(&labels).into_par_iter().map(|object| mask(&labels, &object));
    report("voxel", || drop(crops().map(|m| regionprops(&m, [1.0; 3])).collect::<Vec<_>>()));
    report("mesh", || {
        drop(crops().map(|m| surface_features(&m, [1.0; 3], 1.0)).collect::<Vec<_>>());
    });
    report("shape", || drop(table(&labels, &image, FeatureSet::Shape)));
    report("shape_and_intensity", || {
        drop(table(&labels, &image, FeatureSet::ShapeAndIntensity));
    });
    // Cargo adds an option of its own.
    if let Some(folder) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) {
        export(Path::new(&folder), &labels, &image);
    }
}

/// Removes what the stack's sides leave of some nuclei: scikit-image stops at planes.
fn without_fragments(labels: &Volume<u32>) -> Volume<u32> {
    let whole = objects(labels).into_iter().filter(|object| object.voxels >= LEAST_VOXELS);
    let whole: BTreeSet<u32> = whole.map(|object| object.label).collect();
    labels.map(|label| if whole.contains(label) { *label } else { 0 })
}

fn table(labels: &Volume<u32>, image: &Volume<f32>, features: FeatureSet) -> FeatureTable {
    let channels = [Channel { name: "image", image }];
    measure(labels, &channels, &MeasureOptions { features, ..MeasureOptions::default() })
}

fn mask(labels: &Volume<u32>, object: &Object) -> Volume<bool> {
    labels.crop(object.region).map(|label| *label == object.label)
}

/// Prints the least time on the wall with all threads and with one, and the mean time that one
/// thread kept its processor busy.
fn report(name: &str, work: impl Fn() + Sync) {
    let threads = rayon::current_num_threads();
    for threads in [threads, 1] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut wall = f64::INFINITY;
        let busy = busy_seconds();
        for _ in 0..RUNS {
            let start = Instant::now();
            pool.install(&work);
            wall = wall.min(start.elapsed().as_secs_f64());
        }
        println!("{name}_seconds_on_{threads}_threads {wall:.4}");
        if let (1, Some(before), Some(after)) = (threads, busy, busy_seconds()) {
            println!("{name}_processor_seconds {:.4}", (after - before) / RUNS as f64);
        }
    }
}

/// Seconds that processors have worked for this process (Linux): a machine that others use,
/// too, disturbs them less than the time on the wall.
fn busy_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may hold spaces.
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// How much memory of this process grows at most while `work` runs (Linux).
fn peak_bytes(work: impl FnOnce()) -> Option<f64> {
    let status = |field: &str| {
        let text = fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    // Sets the recorded peak back to what is used now.
    fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS:")?;
    work();
    Some((status("VmHWM:")? - before) * 1024.0)
}

fn export(folder: &Path, labels: &Volume<u32>, image: &Volume<f32>) {
    fs::create_dir_all(folder).unwrap();
    let bytes: Vec<u8> = labels.voxels.iter().flat_map(|v| v.to_le_bytes()).collect();
    write_npy(&folder.join("labels.npy"), "<u4", labels.shape, &bytes);
    let bytes: Vec<u8> = image.voxels.iter().flat_map(|v| v.to_le_bytes()).collect();
    write_npy(&folder.join("image.npy"), "<f4", image.shape, &bytes);
    let table = table(labels, image, FeatureSet::ShapeAndIntensity);
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let mut csv = format!("label,{}\n", names.join(","));
    for (row, object) in table.objects.iter().enumerate() {
        write!(csv, "{}", object.label).unwrap();
        for column in &table.columns {
            write!(csv, ",{:e}", column.values[row]).unwrap();
        }
        csv.push('\n');
    }
    fs::write(folder.join("features.csv"), csv).unwrap();
}

/// Format 1.0: magic, version, length of the header, a Python dictionary, the bytes.
fn write_npy(path: &Path, descr: &str, [z, y, x]: [usize; 3], data: &[u8]) {
    let dictionary =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({z}, {y}, {x}), }}");
    let header = format!("{dictionary:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(118_u16.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}
