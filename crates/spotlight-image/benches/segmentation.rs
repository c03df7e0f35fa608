//! How long the segmentation of a simulated stack takes, step by step.
//!
//! `cargo bench -p spotlight-image --bench segmentation` prints a table;
//! `benches/reference_segmentation.py` measures the steps beside their originals.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark reports")]

mod steps;

use std::path::Path;

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
use steps::{Step, answer, give_memory_back, print_table, worker_folder, write_npy};

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

fn steps<'a>(inputs: &'a Inputs, options: &'a Watershed) -> Vec<Step<'a, Output>> {
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

fn main() {
    give_memory_back();
    let options = Watershed::default();
    let inputs = Inputs::new(&options);
    let steps = steps(&inputs, &options);
    match worker_folder() {
        None => print_table(&steps),
        Some(folder) => {
            inputs.write(&folder);
            answer(&steps, &folder, write_output);
        }
    }
}

fn write_output(file: &Path, output: Output) {
    match output {
        Output::Numbers(numbers) => write_numbers(file, &numbers),
        Output::Image(image) => write_image(file, &image),
        Output::Mask(mask) => write_mask(file, &mask),
        Output::Labels(labels) => write_labels(file, &labels),
        Output::Places(places) => {
            let indices: Vec<f64> = places.iter().flatten().map(|i| *i as f64).collect();
            write_numbers(file, &indices);
        }
    }
}

fn write_numbers(file: &Path, numbers: &[f64]) {
    write_npy(file, "<f8", &[numbers.len()], numbers.iter().flat_map(|v| v.to_le_bytes()));
}

fn write_image(file: &Path, image: &Volume<f32>) {
    write_npy(file, "<f4", &image.shape, image.voxels.iter().flat_map(|v| v.to_le_bytes()));
}

fn write_mask(file: &Path, mask: &Volume<bool>) {
    write_npy(file, "|b1", &mask.shape, mask.voxels.iter().map(|v| u8::from(*v)));
}

fn write_labels(file: &Path, labels: &Volume<u32>) {
    write_npy(file, "<u4", &labels.shape, labels.voxels.iter().flat_map(|v| v.to_le_bytes()));
}
