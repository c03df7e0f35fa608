//! The network's state, its batches and its memory.

use std::path::Path;

use spotlight_engine::{Engine, EngineOptions, Precision, Tensor};
use spotlight_image::Volume;
use spotlight_image::cellpose::{Dynamics, fill_and_remove, masks_of_planes, stitch};

use super::{
    CellposeOptions, Cpnet, Orientation, RunOptions, StackFlows, run_3d, run_planes, segment,
    stack_flows,
};
use crate::error::Error;
use crate::torch_file::NamedTensor;

const WIDTHS: [usize; 5] = [2, 4, 6, 8, 12];

fn engine(threads: usize) -> Engine {
    let (threads, precision) = (Some(threads), Some(Precision::Precise));
    Engine::new(&EngineOptions { threads, precision, ..EngineOptions::default() }).unwrap()
}

fn tensor(name: String, shape: &[usize]) -> NamedTensor {
    let count = shape.iter().product();
    let value = |index: usize| (index % 7) as f32 / 16.0 - 0.1;
    NamedTensor { name, shape: shape.to_vec(), values: (0..count).map(value).collect() }
}

/// The tensors that PyTorch's module of these sizes has, without `diam_mean` and `diam_labels`.
fn state(widths: &[usize]) -> Vec<NamedTensor> {
    let mut state = Vec::new();
    let levels = widths.len() - 1;
    let style = widths[levels];
    let mut pair = |norm: String, convolution: String, from: usize, to: usize, side: usize| {
        for part in ["weight", "bias", "running_mean"] {
            state.push(tensor(format!("{norm}.{part}"), &[from]));
        }
        let values = vec![1.0; from];
        let name = format!("{norm}.running_var");
        state.push(NamedTensor { name, shape: vec![from], values });
        state.push(tensor(format!("{convolution}.weight"), &[to, from, side, side]));
        state.push(tensor(format!("{convolution}.bias"), &[to]));
    };
    let mut full = Vec::new();
    for n in 0..levels {
        let (name, from, to) = (format!("downsample.down.res_down_{n}"), widths[n], widths[n + 1]);
        for t in 0..4 {
            let from = if t == 0 { from } else { to };
            let unit = format!("{name}.conv.conv_{t}");
            pair(format!("{unit}.0"), format!("{unit}.2"), from, to, 3);
        }
        pair(format!("{name}.proj.0"), format!("{name}.proj.1"), from, to, 1);
        let (name, from) = (format!("upsample.up.res_up_{n}"), widths[(n + 2).min(levels)]);
        for t in 0..4 {
            let from = if t == 0 { from } else { to };
            let unit = format!("{name}.conv.conv_{t}{}", if t == 0 { "" } else { ".conv" });
            pair(format!("{unit}.0"), format!("{unit}.2"), from, to, 3);
            if t > 0 {
                full.push(tensor(format!("{name}.conv.conv_{t}.full.weight"), &[to, style]));
                full.push(tensor(format!("{name}.conv.conv_{t}.full.bias"), &[to]));
            }
        }
        pair(format!("{name}.proj.0"), format!("{name}.proj.1"), from, to, 1);
    }
    pair("output.0".into(), "output.2".into(), widths[1], 3, 1);
    state.extend(full);
    state
}

fn load(state: &[NamedTensor]) -> Result<Cpnet, String> {
    Cpnet::from_state(Path::new("weights.pt"), state).map_err(|error| error.to_string())
}

#[test]
fn sizes_are_those_of_the_tensors() {
    let mut tensors = state(&WIDTHS);
    let network = load(&tensors).unwrap();
    assert_eq!((network.widths.as_slice(), network.outputs), (WIDTHS.as_slice(), 3));
    assert_eq!((network.divisor(), network.style_len()), (8, 12));
    assert_eq!(network.diameter, None);
    // What the network does not know is not looked at.
    tensors.push(tensor("output.0.num_batches_tracked".into(), &[]));
    tensors.push(NamedTensor { name: "diam_mean".into(), shape: vec![1], values: vec![17.0] });
    assert_eq!(load(&tensors).unwrap().diameter, Some(17.0));
}

#[test]
fn every_tensor_is_needed_in_its_shape() {
    let tensors = state(&[2, 3, 4]);
    for index in 0..tensors.len() {
        let name = &tensors[index].name;
        let mut without = tensors.clone();
        without.remove(index);
        let error = load(&without).map(|_| ()).unwrap_err();
        let named = error.contains(name.as_str()) || error.contains("res_down_0");
        // Without the first convolution of a level, there is no such level for those above it.
        let shallower = name == "downsample.down.res_down_1.conv.conv_0.2.weight";
        assert!(named || shallower, "without {name}: {error}");
        assert!(error.starts_with("weights.pt is not a Cellpose network: "), "{error}");
        let mut other = tensors.clone();
        other[index].shape.push(2);
        let values = other[index].values.clone();
        other[index].values.extend(values);
        let error = load(&other).map(|_| ()).unwrap_err();
        assert!(error.contains("has shape") && error.contains("expected"), "{name}: {error}");
    }
}

#[test]
fn other_architectures_are_told_apart() {
    let sam = [tensor("encoder.patch_embed.proj.weight".into(), &[4, 3, 8, 8])];
    let error = load(&sam).map(|_| ()).unwrap_err();
    assert!(error.contains("Cellpose-SAM") && error.contains("nucleitorch_0"), "{error}");
    let error = load(&[tensor("fc.weight".into(), &[2, 2])]).map(|_| ()).unwrap_err();
    assert!(error.contains("found 1 tensors such as fc.weight"), "{error}");
    let error = load(&[]).map(|_| ()).unwrap_err();
    assert!(error.contains("found no tensor"), "{error}");
    let flat = [tensor("downsample.down.res_down_0.conv.conv_0.2.weight".into(), &[4])];
    let error = load(&flat).map(|_| ()).unwrap_err();
    assert!(error.contains("fewer than two axes"), "{error}");
    assert!(load(&state(&[1; 6])).is_ok());
    let error = load(&state(&[1; 7])).map(|_| ()).unwrap_err();
    assert!(error.contains("it has 6 levels"), "{error}");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let checkpoint = golden.join("fnet/depth1_mult3/model_initial.p");
    let error = Cpnet::read(&checkpoint).map(|_| ()).unwrap_err().to_string();
    let words = "a file of PyTorch with more than weights in it: a checkpoint of another network";
    assert!(error.contains(words), "{error}");
}

fn stack(shape: [usize; 3]) -> Volume<f32> {
    Volume::from_fn(shape, |[z, y, x]| ((z * 31 + y * 17 + x * 5) % 23) as f32 / 23.0)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

// Direct sums are the same in any batch, so batches can be told apart from errors to the bit.
#[test]
fn batches_and_threads_do_not_change_a_bit() {
    let network = load(&state(&WIDTHS)).unwrap();
    let stack = stack([5, 33, 40]);
    let of = |threads: usize, batch_size: usize| {
        let options = RunOptions { tile_size: 32, batch_size, ..RunOptions::default() };
        let channels = [&stack];
        let quiet = &mut |_, _| {};
        let sums = run_3d(&network, &engine(threads), &channels, "stack", &options, quiet).unwrap();
        let [z, y, x] = &sums.flows;
        [&z.voxels, &y.voxels, &x.voxels, &sums.logits.voxels, &sums.styles]
            .map(|values| bits(values))
    };
    let alone = of(1, 1);
    for (threads, batch_size) in [(2, 1), (2, 3), (3, 8), (1, 1000)] {
        let same = of(threads, batch_size) == alone;
        assert!(same, "{threads} threads, {batch_size} tiles");
    }
}

// A channel that is left out is one of zeros.
#[test]
fn missing_channels_are_zeros() {
    let network = load(&state(&WIDTHS)).unwrap();
    let (stack, zeros) = (stack([2, 20, 24]), Volume::filled([2, 20, 24], 0.0));
    let (engine, options) = (engine(1), RunOptions::default());
    let of = |channels: &[&Volume<f32>]| {
        let orientation = Orientation::Yx;
        let quiet = &mut |_, _| {};
        let outputs =
            run_planes(&network, &engine, channels, orientation, "stack", &options, quiet);
        bits(&outputs.unwrap().logits.voxels)
    };
    assert_eq!(of(&[&stack]), of(&[&stack, &zeros]));
    assert_ne!(of(&[&stack]), of(&[&stack, &stack]));
}

// Just enough memory for one tile at a time, and one byte less.
#[test]
fn memory_bounds_the_batch() {
    let network = load(&state(&WIDTHS)).unwrap();
    let (stack, engine) = (stack([3, 40, 50]), engine(2));
    let run = |memory_bytes: u64| {
        let options = RunOptions { tile_size: 32, memory_bytes, ..RunOptions::default() };
        let mut steps = 0;
        let progress = &mut |_, _| steps += 1;
        let sums = run_3d(&network, &engine, &[&stack], "cells.tif", &options, progress);
        sums.map(|sums| (steps, bits(&sums.logits.voxels)))
    };
    let Err(Error::CellposeMemory { sums, needed, allowed, .. }) = run(0) else {
        panic!("nothing fits no memory")
    };
    assert_eq!((sums, allowed), (4 * 4 * 3 * 40 * 50, 0));
    // The orientation that needs most comes last or first; the error names the first that fails.
    let mut least = needed;
    while let Err(Error::CellposeMemory { needed, .. }) = run(least) {
        assert!(needed > least);
        least = needed;
    }
    let message = run(least - 1).map(|_| ()).unwrap_err().to_string();
    assert!(message.starts_with("cells.tif: ") && message.contains("allow more"), "{message}");
    let ((few, narrow), (many, wide)) = (run(least).unwrap(), run(4 << 30).unwrap());
    assert!(few > many, "{few} and {many} batches");
    assert_eq!(narrow, wide);
}

#[test]
fn options_are_checked() {
    let message = |options: RunOptions| options.check().unwrap_err().to_string();
    let odd = message(RunOptions { tile_size: 100, ..RunOptions::default() });
    assert_eq!(odd, "tile_size is 100, it must be a multiple of 16");
    let none = message(RunOptions { batch_size: 0, ..RunOptions::default() });
    assert!(none.contains("batch_size"), "{none}");
    let wide = message(RunOptions { tile_overlap: f64::NAN, ..RunOptions::default() });
    assert!(wide.contains("tile_overlap"), "{wide}");
    assert!(RunOptions::default().check().is_ok());
}

#[test]
#[should_panic(expected = "multiples of 8")]
fn tiles_of_other_sides_are_refused() {
    let network = Cpnet::seeded(&WIDTHS, 3, 0);
    let _ = network.forward(&engine(1), Tensor::zeros(1, 2, [1, 20, 16]));
}

fn segmented(
    threads: usize,
    stack: Volume<f32>,
    options: &CellposeOptions,
) -> Result<Volume<u32>, String> {
    let network = load(&state(&WIDTHS)).unwrap();
    let quiet = &mut |_, _| {};
    let found = segment(&network, &engine(threads), stack, "cells.tif", options, quiet);
    found.map_err(|error| error.to_string())
}

/// Options with which a network that knows nothing finds objects: half of its logits are above the
/// threshold.
fn options_that_find(stack: &Volume<f32>, options: CellposeOptions) -> CellposeOptions {
    let network = load(&state(&WIDTHS)).unwrap();
    let quiet = &mut |_, _| {};
    let found =
        stack_flows(&network, &engine(2), stack.clone(), "cells.tif", &options, quiet).unwrap();
    let mut logits = found.logits.voxels;
    logits.sort_by(f32::total_cmp);
    let cellprob_threshold = f64::from(logits[logits.len() / 2]);
    CellposeOptions { cellprob_threshold, flow_threshold: 0.0, ..options }
}

#[test]
fn objects_are_on_the_grid_of_the_stack_for_any_number_of_threads() {
    let stack = stack([6, 33, 40]);
    let planes = CellposeOptions { do_3d: false, ..CellposeOptions::default() };
    for options in [
        CellposeOptions { diameter: Some(25.0), anisotropy: 1.5, ..CellposeOptions::default() },
        planes.clone(),
        CellposeOptions { stitch_threshold: 0.1, ..planes },
    ] {
        let options = options_that_find(&stack, CellposeOptions { min_size: 3, ..options });
        let found = segmented(1, stack.clone(), &options).unwrap();
        assert_eq!(found.shape, stack.shape);
        assert!(found.voxels.iter().any(|label| *label > 0), "{options:?} finds objects");
        assert!(found == segmented(3, stack.clone(), &options).unwrap(), "{options:?}");
    }
}

// What is below the least size in a plane may be part of an object that is not.
#[test]
fn planes_are_stitched_before_small_objects_are_removed() {
    let stack = stack([4, 33, 40]);
    let planes = CellposeOptions { do_3d: false, stitch_threshold: 0.1, ..Default::default() };
    let options = options_that_find(&stack, planes);
    let network = load(&state(&WIDTHS)).unwrap();
    let quiet = &mut |_, _| {};
    let StackFlows { flows, logits } =
        stack_flows(&network, &engine(2), stack.clone(), "cells.tif", &options, quiet).unwrap();
    let dynamics = Dynamics {
        cell_threshold: options.cellprob_threshold,
        flow_threshold: 0.0,
        min_voxels: 0,
        ..Dynamics::default()
    };
    let planes = masks_of_planes([&flows[0], &flows[1]], &logits, stack.shape, &dynamics);
    let wanted = fill_and_remove(&stitch(&planes, 0.1), options.min_size);
    assert!(segmented(2, stack, &options).unwrap() == wanted);
}

#[test]
fn stacks_that_cannot_be_segmented_are_named() {
    let default = CellposeOptions::default;
    let mut holed = stack([2, 20, 20]);
    holed.voxels[7] = f32::NAN;
    let error = segmented(1, holed, &default()).unwrap_err();
    assert!(error.starts_with("cells.tif: it holds a voxel that is not finite"), "{error}");
    let error = segmented(1, Volume::filled([0, 4, 4], 0.0), &default()).unwrap_err();
    assert_eq!(error, "cells.tif: it has no voxel");
    let large = CellposeOptions { diameter: Some(1000.0), ..default() };
    let error = segmented(1, stack([2, 20, 20]), &large).unwrap_err();
    assert!(error.contains("become [0, 0, 0]") && error.contains("smaller diameter"), "{error}");
    for diameter in [1e-3, 1e-300] {
        let small = CellposeOptions { diameter: Some(diameter), ..default() };
        let error = segmented(1, stack([2, 20, 20]), &small).unwrap_err();
        assert!(error.contains("Cellpose may use") && error.contains("larger diameter"), "{error}");
    }
    for options in [
        CellposeOptions { diameter: Some(0.0), ..default() },
        CellposeOptions { anisotropy: f64::INFINITY, ..default() },
        CellposeOptions { percentiles: [99.0, 1.0], ..default() },
        CellposeOptions { cellprob_threshold: f64::NAN, ..default() },
        CellposeOptions { stitch_threshold: 2.0, ..default() },
        CellposeOptions { run: RunOptions { tile_size: 8, ..RunOptions::default() }, ..default() },
    ] {
        let error = segmented(1, stack([2, 20, 20]), &options).unwrap_err();
        assert!(error.contains(", it must be "), "{error}");
    }
}
