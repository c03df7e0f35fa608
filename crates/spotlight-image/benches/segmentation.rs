//! How long the segmentation of a simulated stack takes, step by step.
//!
//! `cargo bench -p spotlight-image --bench segmentation` prints a table. With
//! `-- --worker FOLDER` it writes the inputs and results of all steps into that folder and
//! then, for each name of a step on its input, runs the step once and answers with a line of
//! JSON; `benches/reference_segmentation.py` asks it in turns with the reference.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark reports")]

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use spotlight_image::filter::{
    Clahe, Footprint, clahe, dilate, distance_transform, erode, gaussian, median, median_cube,
    open, percentiles, stretch,
};
use spotlight_image::foreground::{Bins, otsu_threshold};
use spotlight_image::label::{
    Connectivity, clear_border, components, fill_holes, fill_small_holes, fill_small_object_holes,
    remove_small_objects,
};
use spotlight_image::resample::{Resize, rescale};
use spotlight_image::segment::{
    Peaks, Watershed, cleanup, h_maxima, local_maxima_in, segment, watershed,
};
use spotlight_image::simulate::{Simulation, simulate};
use spotlight_image::{Border, Volume};

/// As large as a stack of the paper's test set, with about 100 nuclei.
fn simulation() -> Simulation {
    Simulation {
        shape: [64, 224, 336],
        seed: 7,
        nucleus_diameter_um: 6.4,
        nucleus_height_um: 6.0,
        ..Simulation::default()
    }
}

/// What comes out of a step.
enum Output {
    Numbers(Vec<f64>),
    Image(Volume<f32>),
    Mask(Volume<bool>),
    Labels(Volume<u32>),
    Places(Vec<[usize; 3]>),
}

/// A step by name: how many voxels go in, and the step itself.
struct Step<'a> {
    name: &'static str,
    voxels: usize,
    run: Box<dyn Fn() -> Output + 'a>,
}

/// The inputs of all steps.
struct Inputs {
    stack: Volume<f32>,
    stretched: Volume<f32>,
    equalised: Volume<f32>,
    reduced: Volume<f32>,
    smooth: Volume<f32>,
    above: Volume<bool>,
    mask: Volume<bool>,
    distance: Volume<f32>,
    depth: Volume<f32>,
    seeds: Volume<bool>,
    markers: Volume<u32>,
    objects: Volume<u32>,
}

impl Inputs {
    fn new(options: &Watershed) -> Self {
        let stack = simulate(&simulation()).fluorescence.map(|voxel| f32::from(*voxel));
        let stretched = stretch(&stack, options.stretch_percent);
        let equalised = clahe(stretched.clone(), &equalisation(options, &stack));
        let reduced = rescale(&equalised, options.scale, &Resize::default());
        let smooth = median_cube(&reduced, options.median_size);
        let threshold = otsu_threshold(&smooth, Bins::Count(options.threshold_bins));
        let above = smooth.map(|voxel| f64::from(*voxel) > threshold);
        let mask = fill_small_holes(&above, options.hole_voxels, Connectivity::Faces);
        let distance: Volume<f32> = distance_transform(&mask, [1.0; 3]);
        let mut peaks = Volume::filled(mask.shape, false);
        for place in local_maxima_in(&distance, &mask, &in_ball(options.ball_radius)) {
            let offset = peaks.offset(place);
            peaks.voxels[offset] = true;
        }
        let seeds = dilate(&peaks, &Footprint::ball(1));
        let markers = components(&seeds, Connectivity::Corners);
        let depth = distance.map(|d| -d);
        let objects = watershed(&depth, &markers, Some(&mask), Connectivity::Faces);
        Self {
            stack,
            stretched,
            equalised,
            reduced,
            smooth,
            above,
            mask,
            distance,
            depth,
            seeds,
            markers,
            objects,
        }
    }

    fn write(&self, folder: &Path) {
        let image = |name, volume: &Volume<f32>| write_image(&folder.join(name), volume);
        image("stack.npy", &self.stack);
        image("stretched.npy", &self.stretched);
        image("equalised.npy", &self.equalised);
        image("reduced.npy", &self.reduced);
        image("smooth.npy", &self.smooth);
        image("distance.npy", &self.distance);
        write_mask(&folder.join("above.npy"), &self.above);
        write_mask(&folder.join("mask.npy"), &self.mask);
        write_mask(&folder.join("seeds.npy"), &self.seeds);
        write_labels(&folder.join("markers.npy"), &self.markers);
        write_labels(&folder.join("objects.npy"), &self.objects);
    }
}

fn equalisation(options: &Watershed, stack: &Volume<f32>) -> Clahe {
    let tile = std::array::from_fn(|axis| stack.shape[axis] / options.clahe_divisors[axis]);
    Clahe { tile: Some(tile), clip_limit: options.clahe_clip_limit, bins: options.clahe_bins }
}

fn in_ball(radius: usize) -> Peaks {
    Peaks { footprint: Footprint::ball(radius), ..Peaks::default() }
}

fn steps<'a>(inputs: &'a Inputs, options: &'a Watershed) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut add = |name, voxels: usize, run: Box<dyn Fn() -> Output + 'a>| {
        steps.push(Step { name, voxels, run });
    };
    let Inputs { stack, reduced, mask, distance, objects, .. } = inputs;
    let (whole, half) = (stack.voxels.len(), reduced.voxels.len());
    let ball = |radius| move |distance, mask| local_maxima_in(distance, mask, &in_ball(radius));
    let percents = options.stretch_percent;
    add("percentiles", whole, Box::new(move || Output::Numbers(percentiles(stack, &percents))));
    add("stretch", whole, Box::new(move || Output::Image(stretch(stack, percents))));
    let equalisation = equalisation(options, stack);
    let equalise = move || Output::Image(clahe(inputs.stretched.clone(), &equalisation));
    add("clahe", whole, Box::new(equalise));
    let reduce = || Output::Image(rescale(&inputs.equalised, options.scale, &Resize::default()));
    add("half scale", whole, Box::new(reduce));
    let blur = || Output::Image(gaussian(reduced, [2.0; 3], 4.0, Border::Reflect));
    add("gaussian, sigma 2", half, Box::new(blur));
    add("median, cube of 5", half, Box::new(|| Output::Image(median_cube(reduced, 5))));
    let median_ball = || Output::Image(median(reduced, &Footprint::ball(2), Border::Nearest));
    add("median, ball of 2", half, Box::new(median_ball));
    let threshold = || Output::Numbers(vec![otsu_threshold(&inputs.smooth, Bins::Count(256))]);
    add("otsu", half, Box::new(threshold));
    let small = || fill_small_holes(&inputs.above, options.hole_voxels, Connectivity::Faces);
    add("small holes", half, Box::new(move || Output::Mask(small())));
    add("holes", half, Box::new(|| Output::Mask(fill_holes(&inputs.above))));
    add("erosion, ball of 5", half, Box::new(|| Output::Mask(erode(mask, &Footprint::ball(5)))));
    add("opening, ball of 5", half, Box::new(|| Output::Mask(open(mask, &Footprint::ball(5)))));
    let transform = || Output::Image(distance_transform(mask, [1.0; 3]));
    add("distance", half, Box::new(transform));
    add("maxima, ball of 10", half, Box::new(move || Output::Places(ball(10)(distance, mask))));
    add("maxima, ball of 15", half, Box::new(move || Output::Places(ball(15)(distance, mask))));
    let rising = || Output::Mask(h_maxima(distance, 1.0, Connectivity::Corners));
    add("h-maxima", half, Box::new(rising));
    let number = |mask| Output::Labels(components(mask, Connectivity::Corners));
    add("components, seeds", half, Box::new(move || number(&inputs.seeds)));
    add("components, mask", half, Box::new(move || number(mask)));
    let flood = || watershed(&inputs.depth, &inputs.markers, Some(mask), Connectivity::Faces);
    add("watershed", half, Box::new(move || Output::Labels(flood())));
    add("small objects", half, Box::new(|| Output::Labels(remove_small_objects(objects, 500))));
    add("border", half, Box::new(|| Output::Labels(clear_border(objects, [Some(0); 3]))));
    let close = || Output::Labels(fill_small_object_holes(objects, 50));
    add("holes of objects", half, Box::new(close));
    add("cleanup", half, Box::new(|| Output::Labels(cleanup(objects, &options.cleanup))));
    add("whole chain", whole, Box::new(|| Output::Labels(segment(stack, options))));
    steps
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
    let options = Watershed::default();
    let inputs = Inputs::new(&options);
    let steps = steps(&inputs, &options);
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.as_slice() {
        [] => print_table(&steps),
        [worker, folder] if worker == "--worker" => {
            inputs.write(Path::new(folder));
            answer(&steps, Path::new(folder));
        }
        other => panic!("unknown arguments {other:?}"),
    }
}

fn print_table(steps: &[Step<'_>]) {
    println!("{} threads", rayon::current_num_threads());
    println!("{:<20} {:>9} {:>9} {:>14}", "step", "wall, ms", "busy, ms", "bytes a voxel");
    for step in steps {
        let mut costs: Vec<Cost> = (0..5).map(|_| measure(step)).collect();
        costs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
        let Cost { wall_s, busy_s, peak_bytes } = costs[costs.len() / 2];
        let bytes = peak_bytes.map_or(f64::NAN, |bytes| bytes / step.voxels as f64);
        let (wall, busy) = (1e3 * wall_s, 1e3 * busy_s);
        println!("{:<20} {wall:>9.2} {busy:>9.2} {bytes:>14.1}", step.name);
    }
}

/// Writes the results of all steps, then runs the steps that it is asked for.
fn answer(steps: &[Step<'_>], folder: &Path) {
    for step in steps {
        let file = folder.join(format!("result {}.npy", step.name));
        match (step.run)() {
            Output::Numbers(numbers) => write_numbers(&file, &numbers),
            Output::Image(image) => write_image(&file, &image),
            Output::Mask(mask) => write_mask(&file, &mask),
            Output::Labels(labels) => write_labels(&file, &labels),
            Output::Places(places) => {
                write_numbers(
                    &file,
                    &places.iter().flatten().map(|i| *i as f64).collect::<Vec<_>>(),
                );
            }
        }
    }
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    println!("{}", serde_json::json!({ "threads": rayon::current_num_threads(), "steps": names }));
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let step = steps.iter().find(|step| step.name == line).unwrap();
        let Cost { wall_s, busy_s, peak_bytes } = measure(step);
        println!(
            "{}",
            serde_json::json!({
                "wall_s": wall_s,
                "busy_s": busy_s,
                "peak_bytes": peak_bytes,
                "voxels": step.voxels,
            })
        );
    }
}

fn write_numbers(file: &Path, numbers: &[f64]) {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    write_npy(file, "<f8", &format!("({},)", numbers.len()), bytes);
}

fn write_image(file: &Path, image: &Volume<f32>) {
    let bytes = image.voxels.iter().flat_map(|voxel| voxel.to_le_bytes()).collect();
    write_npy(file, "<f4", &shape(image), bytes);
}

fn write_mask(file: &Path, mask: &Volume<bool>) {
    write_npy(
        file,
        "|b1",
        &shape(mask),
        mask.voxels.iter().map(|voxel| u8::from(*voxel)).collect(),
    );
}

fn write_labels(file: &Path, labels: &Volume<u32>) {
    let bytes = labels.voxels.iter().flat_map(|label| label.to_le_bytes()).collect();
    write_npy(file, "<u4", &shape(labels), bytes);
}

fn shape<T>(volume: &Volume<T>) -> String {
    let [z, y, x] = volume.shape;
    format!("({z}, {y}, {x})")
}

fn write_npy(file: &Path, kind: &str, shape: &str, voxels: Vec<u8>) {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    // The data begin at a multiple of 64 bytes, after a line break.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = std::fs::File::create(file).unwrap();
    file.write_all(b"\x93NUMPY\x01\x00").unwrap();
    file.write_all(&(length as u16).to_le_bytes()).unwrap();
    file.write_all(format!("{header:<width$}\n", width = length - 1).as_bytes()).unwrap();
    file.write_all(&voxels).unwrap();
}
