//! Checkpoints of pytorch_fnet as model files: what the network predicts is what the original
//! predicts.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

use std::path::Path;

use spotlight_engine::{Engine, EngineOptions, Tensor};
use spotlight_golden::{Case, run_selected};
use spotlight_learn::model_file::{Model, ModelManifest, import_fnet};

fn checkpoints(case: &Case) -> Vec<String> {
    case.files().into_iter().filter(|name| name.ends_with(".p")).collect()
}

#[test]
fn golden_fnet_import() {
    run_selected(
        "fnet",
        |case| !checkpoints(case).is_empty(),
        |case| {
            for name in checkpoints(case) {
                let imported = import_fnet(&case.folder.join(&name)).unwrap();
                let options = imported.network.options;
                assert_eq!(case.param("mult_chan"), options.width, "{name}");
                assert_eq!(case.param("depth"), options.depth, "{name}");
                assert_eq!(case.param("n_parameters"), imported.network.parameters.len());
                let manifest = ModelManifest { network: options, ..ModelManifest::default() };
                let model = Model { manifest, network: imported.network };
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("model.safetensors");
                model.write(&path).unwrap();
                let after = name.contains("after_adam");
                let output = if after { "eval_output_after_adam" } else { "eval_output" };
                check_prediction(case, output, &Model::read(&path).unwrap());
            }
        },
    );
}

fn check_prediction(case: &Case, output: &str, model: &Model) {
    let x = case.input("x");
    let [items, channels, z, y, x_side] = x.shape[..] else { panic!("{:?}", x.shape) };
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let image = Tensor::from_planar(items, channels, [z, y, x_side], &x.to_f32());
    let found = model.network.forward_eval(&engine, &image).to_planar();
    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
    case.check_array(output, &x.shape, &found);
}

#[test]
fn other_files_are_refused_in_a_sentence() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/torch");
    for (name, words) in [
        ("linear.pt", "does not hold an F-net of pytorch_fnet: it has no nn_state"),
        ("kinds.pt", "it has no nn_state, but \"state_dict\""),
        ("module.pt", "torch.nn.modules.linear.Linear"),
    ] {
        let message = import_fnet(&folder.join(name)).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(words), "{message}");
    }
}
