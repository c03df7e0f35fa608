//! `spotlight segment --method cellpose` as a user runs it, with a narrow network of the reference
//! vectors: it knows nothing about nuclei, so the tests choose a threshold at which it finds some.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Instant;

use program::{fails, program, succeeds};
use spotlight::cli::labels::read_labels;
use spotlight::engine::{Engine, EngineOptions};
use spotlight::image::filter::median_cube;
use spotlight::image::label::voxel_counts;
use spotlight::image::resample::{Order, Resize, resize};
use spotlight::image::segment::{Cleanup, Watershed, cleanup, prepare};
use spotlight::image::{Region, Volume};
use spotlight::learn::cpnet::{self, CellposeOptions, Cpnet};
use stacks::{SPACING, Stacks, folder_of};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn weights() -> PathBuf {
    testdata("golden/cellpose/network_small/model.pt")
}

/// A stack of 12 × 48 × 52 voxels with bright places.
fn image() -> Volume<u16> {
    Volume::from_fn([12, 48, 52], |[z, y, x]| {
        let wave = |n: usize, period: f64| (n as f64 / period).sin();
        let noise = (z * 7919 + y * 104_729 + x * 1_299_709) % 37;
        let bright = wave(z + 3, 3.0) + wave(y, 4.0) + wave(x, 3.5) > 0.8;
        noise as u16 + if bright { 900 } else { 100 }
    })
}

/// A folder with that stack, `dna.tif`, and one plane of it, `plane.tif`.
fn folder() -> Stacks {
    let stacks = Stacks::simulated(0);
    stacks.write("dna.tif", &image().into(), SPACING);
    let plane = image().crop(Region { start: [1, 0, 0], shape: [1, 48, 52] });
    stacks.write("plane.tif", &plane.into(), SPACING);
    stacks
}

/// Nothing is removed, and the grid is `scale` times that of the stack.
fn settings(scale: [f64; 3], more: &[&str]) -> Vec<String> {
    let [z, y, x] = scale;
    let scale = format!("grid.scale=[{z}, {y}, {x}]");
    let keep = ["min_object_voxels=0", "max_object_voxels=0", "clear_border=false"];
    let keep = keep.iter().map(|setting| format!("cleanup.{setting}"));
    let all = ["grid.rule=scale".to_owned(), scale].into_iter().chain(keep);
    all.chain(more.iter().map(ToString::to_string)).flat_map(|set| ["--set".into(), set]).collect()
}

/// Cellpose with these weights on a stack; `more` are further words.
fn segment(image: &Path, weights: Option<&Path>, out: &Path, more: &[String]) -> Output {
    let mut command = program();
    command.args(["segment", "--method", "cellpose"]).arg(image).arg("-o").arg(out).args(more);
    if let Some(weights) = weights {
        command.arg("--weights").arg(weights);
    }
    command.output().unwrap()
}

/// The chain of [`settings`].
fn chain(scale: [f64; 3]) -> Watershed {
    let cleanup = Cleanup {
        min_object_voxels: 0,
        max_object_voxels: 0,
        clear_border: false,
        ..Cleanup::default()
    };
    Watershed { scale, cleanup, ..Watershed::default() }
}

/// The library on a prepared stack, with the threshold that half of its logits are above.
fn library(
    weights: &Path,
    prepared: &Volume<f32>,
    options: &CellposeOptions,
) -> (CellposeOptions, Volume<u32>) {
    let network = Cpnet::read(weights).unwrap();
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let quiet = &mut |_, _| {};
    let flows =
        cpnet::stack_flows(&network, &engine, prepared.clone(), "stack", options, quiet).unwrap();
    let mut logits = flows.logits.voxels;
    logits.sort_by(f32::total_cmp);
    let cellprob_threshold = f64::from(logits[logits.len() / 2]);
    let options = CellposeOptions { cellprob_threshold, ..options.clone() };
    let found =
        cpnet::segment(&network, &engine, prepared.clone(), "stack", &options, quiet).unwrap();
    (options, found)
}

fn as_f32(image: &Volume<u16>) -> Volume<f32> {
    image.map(|voxel| f32::from(*voxel))
}

#[test]
fn a_run_equals_the_library_for_any_number_of_threads() {
    let stacks = folder();
    let scale = [1.0, 0.5, 0.5];
    let chain = chain(scale);
    // Half the pixels of the planes: voxels half as long along z as along y and x.
    let options = CellposeOptions {
        diameter: Some(14.0),
        anisotropy: 0.5,
        min_size: 4,
        ..CellposeOptions::default()
    };
    let prepared = median_cube(&prepare(&as_f32(&image()), &chain), 3);
    let (options, found) = library(&weights(), &prepared, &options);
    let found = cleanup(&found, &chain.cleanup);
    assert!(voxel_counts(&found).len() > 1, "the network finds objects");

    let threshold = format!("cellpose.cellprob_threshold={}", options.cellprob_threshold);
    let more = ["cellpose.diameter=14", "cellpose.min_size=4", "cellpose.median_size=3"];
    let more = settings(scale, &[&more[..], &[&threshold]].concat());
    let bytes = ["1", "2"].map(|threads| {
        fs::create_dir(stacks.path(threads)).unwrap();
        let out = stacks.path(threads).join("labels.tif");
        let more = [&more[..], &["--threads".into(), threads.into()]].concat();
        succeeds(&segment(&stacks.path("dna.tif"), Some(&weights()), &out, &more));
        fs::read(out).unwrap()
    });
    assert!(bytes[0] == bytes[1], "threads change the labels");
    let written = read_labels(&stacks.path("1/labels.tif")).unwrap();
    let nearest = Resize { order: Order::Nearest, anti_aliasing: false, ..Resize::default() };
    assert_eq!(written.spacing_um, SPACING);
    assert!(written.volume == resize(&found, [12, 48, 52], &nearest));

    let out = stacks.path("reduced.tif");
    let more = [&more[..], &["--keep-grid".to_owned()]].concat();
    succeeds(&segment(&stacks.path("dna.tif"), Some(&weights()), &out, &more));
    assert!(read_labels(&out).unwrap().volume == found);

    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(stacks.path("reduced.json")).unwrap()).unwrap();
    let details = &record["details"];
    assert_eq!(details["method"], "cellpose");
    assert_eq!(details["cellpose"]["options"], serde_json::to_value(&options).unwrap());
    assert_eq!(details["recipe"]["cellpose"]["median_size"], 3);
    assert!(details["segmentation_seconds"].as_f64().unwrap() > 0.0);
    let inputs = record["inputs"].as_array().unwrap();
    let file = inputs.iter().find(|input| input["path"] == weights().to_str().unwrap()).unwrap();
    assert_eq!(file["bytes"], fs::metadata(weights()).unwrap().len());
    assert_eq!(file["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn planes_are_segmented_as_images() {
    let stacks = folder();
    let plane = image().crop(Region { start: [1, 0, 0], shape: [1, 48, 52] });
    let chain = chain([1.0; 3]);
    let options =
        CellposeOptions { do_3d: false, flow_threshold: 0.0, ..CellposeOptions::default() };
    let options = CellposeOptions { diameter: Some(17.0), ..options };
    let (options, found) = library(&weights(), &prepare(&as_f32(&plane), &chain), &options);
    let found = cleanup(&found, &chain.cleanup);
    assert!(voxel_counts(&found).len() > 1, "the network finds objects");
    let threshold = format!("cellpose.cellprob_threshold={}", options.cellprob_threshold);
    let more = ["cellpose.flow_threshold=0", &threshold];

    // do_3d stays as it is: there is nothing to see from the sides.
    let out = stacks.path("plane_labels.tif");
    let words = settings([1.0; 3], &more);
    succeeds(&segment(&stacks.path("plane.tif"), Some(&weights()), &out, &words));
    assert!(read_labels(&out).unwrap().volume == found);

    // Each plane by itself: no number is in two of them, unless planes are stitched.
    let numbers_shared = |stitch: &str| {
        let out = stacks.path(&format!("stitch{stitch}.tif"));
        let stitch = format!("cellpose.stitch_threshold={stitch}");
        let more = [&more[..], &["cellpose.do_3d=false", &stitch]].concat();
        let words = settings([1.0; 3], &more);
        succeeds(&segment(&stacks.path("dna.tif"), Some(&weights()), &out, &words));
        let labels = read_labels(&out).unwrap().volume;
        let planes = labels
            .voxels
            .chunks_exact(48 * 52)
            .map(|plane| voxel_counts(&Volume::new([1, 48, 52], plane.to_vec())).len());
        planes.sum::<usize>() - voxel_counts(&labels).len()
    };
    assert_eq!(numbers_shared("0"), 0);
    assert!(numbers_shared("0.1") > 0);
}

#[test]
fn a_stack_read_box_by_box_has_the_same_nuclei() {
    let stacks = folder();
    let small = image();
    let fine = Volume::from_fn(small.shape.map(|length| 5 * length), |place| {
        small.at(place.map(|index| index / 5))
    });
    stacks.write("fine.tif", &fine.into(), SPACING);
    let bytes = ["1GB", "115MB"].map(|memory| {
        let out = stacks.path(memory).join("labels.tif");
        fs::create_dir(stacks.path(memory)).unwrap();
        let more = [settings([0.2; 3], &[]), vec!["--memory".into(), memory.into()]].concat();
        succeeds(&segment(&stacks.path("fine.tif"), Some(&weights()), &out, &more));
        let record = fs::read(out.with_extension("json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(record["details"]["read_box_by_box"], memory == "115MB");
        assert!(record["details"]["nuclei"].as_u64().unwrap() > 0);
        fs::read(out).unwrap()
    });
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn a_stack_of_one_value_has_no_nuclei() {
    let stacks = folder();
    stacks.write("flat.tif", &image().map(|_| 7_u16).into(), SPACING);
    let out = stacks.path("labels.tif");
    let words = settings([1.0; 3], &["cellpose.cellprob_threshold=-1000"]);
    succeeds(&segment(&stacks.path("flat.tif"), Some(&weights()), &out, &words));
    assert!(read_labels(&out).unwrap().volume.voxels.iter().all(|label| *label == 0));
    // The equalisation, which the watershed has too, makes something of a stack of this shape.
    let prepared = prepare(&Volume::filled([12, 48, 52], 7.0), &chain([1.0; 3]));
    assert!(prepared.voxels.iter().all(|voxel| *voxel == 0.0));
}

#[test]
fn diameters_that_are_too_small_or_too_large_are_told() {
    let stacks = folder();
    let out = stacks.path("labels.tif");
    let with = |diameter: &str| {
        let words = settings([1.0; 3], &[&format!("cellpose.diameter={diameter}")]);
        segment(&stacks.path("dna.tif"), Some(&weights()), &out, &words)
    };
    fails(&with("-1"), 2, &["cellpose.diameter must be a number above 0; 0 is that of the model"]);
    fails(&with("1e9"), 1, &["dna.tif: resized for the network", "give a smaller diameter"]);
    fails(&with("1e-9"), 1, &["dna.tif: resized for the network", "give a larger diameter"]);
    assert!(!out.exists());
    succeeds(&with("0"));
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(stacks.path("labels.json")).unwrap()).unwrap();
    assert!(record["details"]["cellpose"]["options"]["diameter"].is_null());
}

#[test]
fn fetched_weights_are_used_where_none_are_given() {
    let stacks = folder();
    let cache = stacks.path("cache");
    fs::create_dir(&cache).unwrap();
    let run = |words: &[&str]| {
        let mut command = program();
        command.args(["segment", "--method", "cellpose", "--overwrite"]);
        command.arg(stacks.path("dna.tif")).arg("-o").arg(stacks.path("labels.tif")).args(words);
        command.env("SPOTLIGHT_CACHE", &cache).output().unwrap()
    };
    let hints = ["spotlight weights fetch cellpose-nuclei", "--weights FILE"];
    fails(&run(&[]), 1, &hints);
    fails(&run(&["--weights", "cellpose-nuclei"]), 1, &hints);
    fs::copy(weights(), cache.join("nucleitorch_0")).unwrap();
    succeeds(&run(&[]));
    succeeds(&run(&["--weights", "cellpose-nuclei"]));
}

#[test]
fn files_that_are_no_such_network_are_told_in_a_sentence() {
    let stacks = folder();
    let legacy = fs::read(testdata("golden/cellpose/network_small/model_legacy.pt")).unwrap();
    fs::write(stacks.path("cut.pt"), &legacy[..legacy.len() / 2]).unwrap();
    let whole = fs::read(weights()).unwrap();
    fs::write(stacks.path("cut_zip.pt"), &whole[..whole.len() / 2]).unwrap();
    // The names of the encoder, as Cellpose-SAM has them; they are as long as those before.
    let (name, other) = (b"downsample.down.res_down_", b"encoder.patch_embed.proj_");
    let mut sam = legacy.clone();
    for at in 0..sam.len() - name.len() {
        if sam[at..].starts_with(name) {
            sam[at..at + name.len()].copy_from_slice(other);
        }
    }
    fs::write(stacks.path("sam.pt"), &sam).unwrap();
    let before = folder_of(&stacks.path(""));
    let out = stacks.path("new/labels.tif");
    let with = |weights: &Path| segment(&stacks.path("dna.tif"), Some(weights), &out, &[]);
    let model = testdata("golden/fnet/depth1_mult3/model_initial.p");
    for (weights, words) in [
        (
            testdata("torch/README.md"),
            ["README.md is not a PyTorch weight file", "Cellpose 1 to 3"],
        ),
        (testdata("torch/linear.pt"), ["linear.pt is not a Cellpose network", "nucleitorch_0"]),
        (testdata("torch/module.pt"), ["module.pt holds", "state_dict()"]),
        (stacks.path("dna.tif"), ["dna.tif is not a PyTorch weight file", ""]),
        (stacks.path("cut.pt"), ["cut.pt is truncated", ""]),
        (stacks.path("cut_zip.pt"), ["cut_zip.pt", ""]),
        (model, ["model_initial.p is not a PyTorch weight file: \"fnet", "Cellpose 1 to 3"]),
        (stacks.path("sam.pt"), ["a transformer such as Cellpose-SAM", "nucleitorch_0"]),
        (PathBuf::from("no/such/file"), ["cannot read no/such/file", ""]),
        (stacks.path(""), ["cannot read", ""]),
    ] {
        fails(&with(&weights), 1, &words);
    }
    assert_eq!(folder_of(&stacks.path("")), before, "nothing is left behind");
}

#[test]
fn wrong_use_is_told_in_a_sentence() {
    let stacks = folder();
    let out = stacks.path("labels.tif");
    let with = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        segment(&stacks.path("dna.tif"), Some(&weights()), &out, &words)
    };
    fails(&with(&["--memory", "1MB"]), 1, &["dna.tif", "Cellpose may use 1000000"]);
    fails(
        &with(&["--set", "watershed.ball_radius=3"]),
        2,
        &["--set watershed.ball_radius=3 has no meaning with --method cellpose"],
    );
    fails(&with(&["--set", "cellpose.tile_overlap=0.9"]), 2, &["between 0.05 and 0.5"]);
    fails(&with(&["--set", "watershed.clahe_bins=9"]), 2, &["prepare.clahe_bins"]);
    let watershed = |words: &[&str]| {
        let mut command = program();
        command.arg("segment").arg(stacks.path("dna.tif")).arg("-o").arg(&out).args(words);
        command.output().unwrap()
    };
    let model = weights();
    fails(&watershed(&["--weights", model.to_str().unwrap()]), 2, &["add --method cellpose"]);
    fails(
        &watershed(&["--set", "cellpose.diameter=20"]),
        2,
        &["--set cellpose.diameter=20 has no meaning with --method watershed"],
    );
    stacks.write("bare.tif", &image().into(), None);
    let bare = segment(&stacks.path("bare.tif"), Some(&weights()), &out, &[]);
    fails(&bare, 1, &["bare.tif gives no voxel size", "--spacing"]);
    assert!(!out.exists());
}

#[test]
fn a_stack_stained_first_is_segmented_as_its_stain() {
    let stacks = Stacks::simulated(1);
    let (signal, model) = (stacks.path("0_bf.ome.tif"), stacks.path("model.safetensors"));
    let run = |words: &[&str], paths: &[&Path]| {
        let output = program().args(words).args(paths).output();
        succeeds(&output.unwrap())
    };
    let checkpoint = testdata("golden/fnet/depth1_mult3/model_initial.p");
    run(&["import", "-o"], &[&model, &checkpoint]);
    let stain = stacks.path("stain.ome.tif");
    run(&["predict", "-o"], &[&stain, &model, &signal]);
    let words = settings([1.0; 3], &["cellpose.cellprob_threshold=-1"]);
    let with_model = [&words[..], &["--model".into(), model.display().to_string()]].concat();
    let [one, two] = ["one.tif", "two.tif"].map(|name| stacks.path(name));
    succeeds(&segment(&signal, Some(&weights()), &one, &with_model));
    succeeds(&segment(&stain, Some(&weights()), &two, &words));
    let labels = read_labels(&one).unwrap().volume;
    assert!(labels.voxels.iter().any(|label| *label > 0), "the network finds objects");
    assert!(labels == read_labels(&two).unwrap().volume);
}

/// The full network is too large for the repository, and its weights here are random.
#[test]
#[allow(clippy::print_stdout, reason = "says what was not tested")]
fn the_full_network_segments_a_stack() {
    let Some(golden) = std::env::var_os("SPOTLIGHT_GOLDEN") else {
        println!("skipped: SPOTLIGHT_GOLDEN names no folder with the full network");
        return;
    };
    let weights = Path::new(&golden).join("cellpose/network_full/model.pt");
    let stacks = folder();
    let chain = chain([1.0; 3]);
    let options = CellposeOptions { diameter: Some(17.0), ..CellposeOptions::default() };
    let (options, found) = library(&weights, &prepare(&as_f32(&image()), &chain), &options);
    let threshold = format!("cellpose.cellprob_threshold={}", options.cellprob_threshold);
    let before = Instant::now();
    let out = stacks.path("labels.tif");
    let words = settings([1.0; 3], &[&threshold]);
    succeeds(&segment(&stacks.path("dna.tif"), Some(&weights), &out, &words));
    println!("full network, 12 x 48 x 52 voxels: {:.1} s", before.elapsed().as_secs_f64());
    assert!(read_labels(&out).unwrap().volume == cleanup(&found, &chain.cleanup));
}
