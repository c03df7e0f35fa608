//! Time and memory of Cellpose's dynamics: flows of a simulated stack of 32 x 112 x 168 voxels,
//! with noise, become masks.
//!
//! `cargo bench -p spotlight-image --bench dynamics` prints a table;
//! `benches/reference_dynamics.py` measures the steps beside Cellpose's own.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark reports")]

mod steps;

use std::path::Path;

use spotlight_image::Volume;
use spotlight_image::cellpose::{
    Dynamics, fill_and_remove, flows_of_stack, joint_flows_of_stack, masks_of_planes,
    masks_of_stack, objects_of_stack,
};
use spotlight_image::simulate::{Simulation, simulate};
use steps::{Step, answer, give_memory_back, print_table, worker_folder, write_npy};

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

/// The steps; what comes out of one are volumes of numbers.
fn steps<'a>(inputs: &'a Inputs) -> Vec<Step<'a, Vec<Volume<f32>>>> {
    let Inputs { labels, flow: [z, y, x], logit } = inputs;
    let options = Dynamics::default();
    let mut steps = Vec::new();
    let mut add = |name, run: Box<dyn Fn() -> Vec<Volume<f32>> + 'a>| {
        steps.push(Step { name, voxels: labels.voxels.len(), run });
    };
    let image = |labels: Volume<u32>| vec![labels.map(|label| *label as f32)];
    let masks = move || image(masks_of_stack([z, y, x], logit, logit.shape, &options));
    add("masks of the stack", Box::new(masks));
    let objects = move || image(objects_of_stack([z, y, x], logit, &options));
    add("objects of the stack", Box::new(objects));
    let planes = move || image(masks_of_planes([y, x], logit, logit.shape, &options));
    add("masks of the planes", Box::new(planes));
    add("fill and remove", Box::new(move || image(fill_and_remove(labels, 15))));
    add("flows of planes, summed", Box::new(|| flows_of_stack(labels).into()));
    add("joint flows", Box::new(|| joint_flows_of_stack(labels).into()));
    steps
}

fn main() {
    give_memory_back();
    let inputs = Inputs::new();
    let steps = steps(&inputs);
    match worker_folder() {
        None => print_table(&steps),
        Some(folder) => {
            let Inputs { labels, flow, logit } = &inputs;
            write(&folder.join("flow.npy"), flow);
            write(&folder.join("logit.npy"), std::slice::from_ref(logit));
            write(&folder.join("labels.npy"), &[labels.map(|label| *label as f32)]);
            answer(&steps, &folder, |file, volumes| write(file, &volumes));
        }
    }
}

/// Writes volumes of one shape as an array (volume, z, y, x).
fn write(file: &Path, volumes: &[Volume<f32>]) {
    let [z, y, x] = volumes[0].shape;
    let voxels = volumes.iter().flat_map(|volume| &volume.voxels);
    write_npy(file, "<f4", &[volumes.len(), z, y, x], voxels.flat_map(|v| v.to_le_bytes()));
}
