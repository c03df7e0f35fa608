//! `spotlight import` as a user runs it: from a checkpoint of pytorch_fnet to a stain, and what
//! is said of files that are none.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::path::{Path, PathBuf};
use std::process::Output;

use program::{fails, program, succeeds};
use spotlight::learn::model_file::Model;
use stacks::{Stacks, folder_of};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn checkpoint() -> PathBuf {
    testdata("golden/fnet/depth1_mult3/model_initial.p")
}

fn spotlight(words: &[&str], paths: &[&Path]) -> Output {
    program().args(words).args(paths).output().unwrap()
}

#[test]
fn a_checkpoint_becomes_a_model_that_stains() {
    let stacks = Stacks::simulated(1);
    for name in ["model_initial.p", "model_initial_legacy.p"] {
        let model = stacks.path(&format!("{name}.safetensors"));
        let input = testdata("golden/fnet/depth1_mult3").join(name);
        let text =
            succeeds(&spotlight(&["import", "--target-channel", "DNA", "-o"], &[&model, &input]));
        assert!(text.ends_with("width 3, depth 1, 2899 parameters, 0 iterations\n"), "{text}");

        let text = succeeds(&spotlight(&["info"], &[&model]));
        for words in [
            "F-net of width 3, depth 1: 2899 parameters",
            "unnamed to DNA",
            "0.29 x 0.29 x 0.29",
            "mean squared error (F-net)",
            "0 iterations, seed unknown",
            "standard deviations from the mean of the target, no clip",
            "intensities  of the training unknown",
            "inputs       unknown",
            "made by      pytorch_fnet, imported by spotlight",
        ] {
            assert!(text.contains(words), "no {words:?} in: {text}");
        }

        let stain = stacks.path(&format!("{name}.ome.tif"));
        let signal = stacks.path("0_bf.ome.tif");
        succeeds(&spotlight(&["predict", "-o"], &[&stain, &model, &signal]));
        assert!(stain.is_file());
    }
    let bytes = |name: &str| Model::read(&stacks.path(name)).unwrap().network.parameters;
    assert_eq!(bytes("model_initial.p.safetensors"), bytes("model_initial_legacy.p.safetensors"));
}

#[test]
fn ranges_that_nobody_gave_are_not_made_up() {
    let stacks = Stacks::simulated(1);
    let (model, stain) = (stacks.path("model.safetensors"), stacks.path("stain.ome.tif"));
    let (signal, target) = (stacks.path("0_bf.ome.tif"), stacks.path("0_dna.ome.tif"));
    succeeds(&spotlight(&["import", "-o"], &[&model, &checkpoint()]));
    assert_eq!(Model::read(&model).unwrap().manifest.ranges, None);
    succeeds(&spotlight(&["predict", "-o"], &[&stain, &model, &signal]));

    let evaluate = || {
        let mut command = program();
        command.arg("evaluate").arg("--prediction").arg(&stain).arg("--target").arg(&target);
        command.arg("--model").arg(&model).output().unwrap()
    };
    fails(&evaluate(), 1, &["does not know the intensities", "--raw-range", "leave --model out"]);

    let ranges = ["--raw-range", "90,4095", "--standardised-range", "-1.5,24"];
    let words = [&["import", "--overwrite"], &ranges[..], &["-o"]].concat();
    succeeds(&spotlight(&words, &[&model, &checkpoint()]));
    let ranges = Model::read(&model).unwrap().manifest.ranges.unwrap();
    assert_eq!((ranges.raw_max, ranges.standardised_min), (4095.0, -1.5));
    assert!(succeeds(&evaluate()).contains("data range 4005"));
    let alone = spotlight(&["import", "--raw-range", "1,2", "-o"], &[&model, &checkpoint()]);
    assert_eq!(alone.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("--standardised-range"));
}

#[test]
fn files_that_hold_no_f_net_are_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.safetensors");
    let import = |input: &Path| spotlight(&["import", "-o"], &[&output, input]);
    fails(&import(&testdata("torch/linear.pt")), 1, &["linear.pt does not hold an F-net"]);
    fails(
        &import(&testdata("torch/module.pt")),
        1,
        &["torch.nn.modules.linear.Linear", "state_dict()"],
    );
    fails(&import(&testdata("torch/README.md")), 1, &["not a PyTorch weight file"]);
    fails(&import(Path::new("no/such/model.p")), 1, &["cannot read no/such/model.p"]);
    let cut = folder.path().join("cut.p");
    let bytes = std::fs::read(testdata("golden/fnet/depth1_mult3/model_initial_legacy.p")).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 7]).unwrap();
    fails(&import(&cut), 1, &["cut.p is truncated: it needs"]);
    assert_eq!(folder_of(folder.path()), ["cut.p"], "nothing is left behind");
}

#[test]
fn nothing_is_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("new/model.safetensors");
    succeeds(&spotlight(&["import", "-o"], &[&output, &checkpoint()]));
    let before = std::fs::read(&output).unwrap();
    fails(
        &spotlight(&["import", "-o"], &[&output, &checkpoint()]),
        2,
        &["exists already", "--overwrite"],
    );
    succeeds(&spotlight(&["import", "--overwrite", "-o"], &[&output, &checkpoint()]));
    assert_eq!(std::fs::read(&output).unwrap(), before, "the same checkpoint has the same bytes");
    let wrong = folder.path().join("model.p");
    fails(
        &spotlight(&["import", "-o"], &[&wrong, &checkpoint()]),
        2,
        &[".safetensors", "model.safetensors"],
    );
}
