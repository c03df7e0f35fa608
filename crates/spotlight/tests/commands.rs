//! The program end to end on tiny stacks: simulate, train, predict, evaluate, info.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod program;
mod stacks;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use program::{ends, spotlight, succeeds};
use serde_json::Value;
use spotlight::image::Volume;
use spotlight::io::{OutputChannel, Selection, Voxels, WriteOptions, read_stack, write_ome_tiff};
use stacks::folder_of;

/// A folder with three simulated pairs and a model trained on them, made once.
struct Field {
    folder: tempfile::TempDir,
}

impl Field {
    fn get() -> &'static Self {
        static FIELD: OnceLock<Field> = OnceLock::new();
        FIELD.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name).display().to_string();
            let (stacks, run) = (at("stacks"), at("run"));
            succeed(&["simulate", "-o", &stacks, "--pairs", "3", "--shape", "16,32,32"]);
            let manifest = format!("{stacks}/manifest.csv");
            let small = "--width 2 --depth 1 --batch 1 --patch 8,16,16 --iterations 3";
            let mut train = vec!["train", &manifest, "-o", &run];
            train.extend(small.split(' '));
            succeed(&train);
            Self { folder }
        })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// Standard output of a command that must succeed.
#[track_caller]
fn succeed(arguments: &[&str]) -> String {
    succeeds(&spotlight(arguments))
}

/// Checks the exit status and that standard error has all these parts, and no panic.
#[track_caller]
fn refuse(arguments: &[&str], status: i32, parts: &[&str]) {
    let complaint = ends(&spotlight(arguments), status, parts);
    assert!(!complaint.contains("panicked"), "{complaint}");
}

fn write(path: &Path, volume: Volume<f32>, spacing_um: Option<[f64; 3]>) {
    let voxels = Voxels::F32(volume);
    let channel = OutputChannel { name: "light", voxels: &voxels };
    write_ome_tiff(path, &[channel], spacing_um, &WriteOptions::default()).unwrap();
}

fn ramp(shape: [usize; 3]) -> Volume<f32> {
    Volume::from_fn(shape, |[z, y, x]| ((7 * z + 3 * y + 5 * x) % 41) as f32)
}

fn names(folder: &str) -> Vec<String> {
    folder_of(Path::new(folder))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn every_help_shows_an_example() {
    for command in ["simulate", "train", "predict", "evaluate", "info", "demo"] {
        let help = succeed(&[command, "--help"]);
        let example = format!("  spotlight {command}");
        assert!(help.contains("Examples:") && help.contains(&example), "{help}");
    }
}

#[test]
fn simulate_writes_the_same_bytes_for_the_same_seed() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, seed: &str| {
        let out = text(&folder.path().join(name));
        let options = ["--pairs", "2", "--shape", "8,24,20", "--spacing", "0.5,0.3,0.3"];
        let start = ["simulate", "-o", &out, "--seed", seed];
        succeed(&[&start[..], &options].concat());
        out
    };
    let (a, b, c) = (run("a", "5"), run("b", "5"), run("c", "6"));
    assert_eq!(
        names(&a),
        [
            "manifest.csv",
            "pair_000_mask.ome.tif",
            "pair_000_signal.ome.tif",
            "pair_000_target.ome.tif",
            "pair_001_mask.ome.tif",
            "pair_001_signal.ome.tif",
            "pair_001_target.ome.tif",
        ]
    );
    let bytes = |folder: &str, name: &str| std::fs::read(Path::new(folder).join(name)).unwrap();
    for name in names(&a) {
        assert!(bytes(&a, &name) == bytes(&b, &name), "{name} differs for one seed");
        let same = bytes(&a, &name) == bytes(&c, &name);
        assert_eq!(same, name == "manifest.csv", "{name} for two seeds");
    }
    let first = Path::new(&a).join("pair_000_target.ome.tif");
    let stack = read_stack(&first, &Selection::default()).unwrap();
    assert_eq!(stack.shape(), [8, 24, 20]);
    assert_eq!(stack.spacing_um, Some([0.5, 0.3, 0.3]));
    assert_eq!(stack.channel_name.as_deref(), Some("Fluorescence"));
    let manifest = std::fs::read_to_string(Path::new(&a).join("manifest.csv")).unwrap();
    assert!(manifest.contains("pair_001_signal.ome.tif,,pair_001_target.ome.tif,"), "{manifest}");
    assert!(manifest.lines().nth(2).unwrap().ends_with(",test"), "{manifest}");
}

#[test]
fn simulate_replaces_files_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("stacks"));
    let command = ["simulate", "-o", &out, "--pairs", "1", "--shape", "8,16,16"];
    succeed(&command);
    refuse(&command, 2, &["exists already", "--overwrite"]);
    succeed(&[&command[..], &["--overwrite"]].concat());
    refuse(&["simulate", "-o", &out, "--shape", "8,16"], 2, &["64,256,256"]);
    refuse(&["simulate", "-o", &out, "--pairs", "0"], 2, &["--pairs"]);
}

#[test]
fn predict_stains_one_stack_or_many() {
    let field = Field::get();
    let folder = tempfile::tempdir().unwrap();
    let (model, stacks) = (field.path("run/model.safetensors"), field.path("stacks"));
    let one = text(&folder.path().join("one.ome.tif"));
    let input = format!("{stacks}/pair_000_signal.ome.tif");
    let printed = succeed(&["predict", &model, &input, "-o", &one]);
    assert_eq!(printed.trim(), one);
    let stain = read_stack(Path::new(&one), &Selection::default()).unwrap();
    assert_eq!(stain.shape(), [16, 32, 32]);
    assert_eq!(stain.spacing_um, Some([0.29; 3]));
    assert!(matches!(&stain.voxels, Voxels::F32(v) if v.voxels.iter().all(|v| *v >= 0.0)));
    let record = std::fs::read(folder.path().join("one.ome.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["inputs"].as_array().unwrap().len(), 2);
    assert_eq!(record["outputs"][0], "one.ome.tif");

    // A run folder stands for its model, a pattern for its files.
    let many = text(&folder.path().join("many"));
    let pattern = format!("{stacks}/*_signal.ome.tif");
    succeed(&["predict", &field.path("run"), &pattern, "-o", &many]);
    let tiffs: Vec<String> =
        names(&many).into_iter().filter(|name| name.ends_with(".tif")).collect();
    assert_eq!(tiffs.len(), 3);
    let same = Path::new(&many).join("pair_000_signal.ome.tif");
    let same = read_stack(&same, &Selection::default()).unwrap();
    assert!(same.voxels == stain.voxels, "the same input gives the same stain");

    // The rows of a manifest.
    let test = text(&folder.path().join("test"));
    let manifest = format!("{stacks}/manifest.csv");
    let command = ["predict", &model, "--manifest", &manifest, "--split", "test", "-o", &test];
    succeed(&command);
    assert_eq!(names(&test), ["pair_002_signal.ome.json", "pair_002_signal.ome.tif"]);
    refuse(&command, 2, &["exists already", "--overwrite"]);
    succeed(&[&command[..], &["--overwrite"]].concat());
}

#[test]
fn predict_keeps_to_the_grid_that_is_asked_for() {
    let field = Field::get();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("fine.tif");
    write(&input, ramp([9, 30, 41]), Some([0.58, 0.145, 0.145]));
    let (model, input) = (field.path("run"), text(&input));
    let shape = |name: &str, options: &[&str]| {
        let out = text(&folder.path().join(name));
        succeed(&[&["predict", &model, &input, "-o", &out], options].concat());
        let stack = read_stack(Path::new(&out), &Selection::default()).unwrap();
        (stack.shape(), stack.spacing_um.unwrap())
    };
    assert_eq!(shape("a.tif", &[]), ([9, 30, 41], [0.58, 0.145, 0.145]));
    let (model_grid, spacing) = shape("b.tif", &["--keep-model-spacing"]);
    assert_eq!(model_grid, [18, 15, 20]);
    assert!(spacing.iter().all(|um| (um - 0.29).abs() < 0.02), "{spacing:?}");
    let other = shape("c.tif", &["--spacing", "0.29", "--keep-model-spacing"]);
    assert_eq!(other, ([9, 30, 41], [0.29; 3]));
}

#[test]
fn predict_refuses_what_it_cannot_stain() {
    let field = Field::get();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, out) = (field.path("run"), text(&at("out/")));
    let predict = |input: &Path, status: i32, parts: &[&str]| {
        refuse(&["predict", &model, &text(input), "-o", &out], status, parts);
    };
    write(&at("bare.tif"), ramp([8, 16, 16]), None);
    predict(&at("bare.tif"), 1, &["bare.tif", "voxel size", "--spacing z,y,x"]);
    let mut holed = ramp([8, 16, 16]);
    holed.voxels[5] = f32::NAN;
    write(&at("holed.tif"), holed, Some([0.29; 3]));
    predict(&at("holed.tif"), 1, &["holed.tif", "NaN"]);
    write(&at("flat.tif"), Volume::filled([8, 16, 16], 3.0), Some([0.29; 3]));
    predict(&at("flat.tif"), 1, &["flat.tif", "constant"]);
    predict(&at("missing.tif"), 1, &["missing.tif", "no such file"]);
    predict(&at("*.czi"), 1, &["*.czi", "no file fits"]);
    std::fs::write(at("text.tif"), "not an image").unwrap();
    predict(&at("text.tif"), 1, &["text.tif"]);
    let foreign = text(&at("text.tif"));
    let input = text(&at("flat.tif"));
    refuse(&["predict", &foreign, &input, "-o", &out], 1, &["text.tif", "model"]);
    refuse(&["predict", &model, &input, "-o", &input, "--overwrite"], 2, &["replace an input"]);
    refuse(&["predict", &model, &input, "-o", &out, "--memory", "lots"], 2, &["4GiB"]);
    let few = ["--memory", "1kB", "--spacing", "0.29"];
    write(&at("good.tif"), ramp([8, 16, 16]), Some([0.29; 3]));
    let good = text(&at("good.tif"));
    refuse(&[&["predict", &model, &good, "-o", &out], &few[..]].concat(), 1, &["memory"]);
    let left: Vec<String> = names(&out).into_iter().filter(|name| !name.is_empty()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_channel_that_is_not_there_names_those_that_are() {
    let field = Field::get();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.ome.tif");
    let (a, b) = (Voxels::F32(ramp([8, 16, 16])), Voxels::F32(ramp([8, 16, 16])));
    let channels =
        [("Bright", &a), ("DNA", &b)].map(|(name, voxels)| OutputChannel { name, voxels });
    write_ome_tiff(&path, &channels, Some([0.29; 3]), &WriteOptions::default()).unwrap();
    let (model, input, out) =
        (field.path("run"), text(&path), text(&folder.path().join("stain.tif")));
    let command = ["predict", &model, &input, "-o", &out];
    refuse(&command, 1, &["two.ome.tif", "Bright", "DNA"]);
    refuse(&[&command[..], &["--channel", "GFP"]].concat(), 1, &["GFP", "Bright", "DNA"]);
    succeed(&[&command[..], &["--channel", "Bright"]].concat());
    succeed(&[&command[..], &["--channel", "1", "--overwrite"]].concat());
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let field = Field::get();
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(locked.join("probe"), "").is_ok() {
        // The administrator may write everywhere. A file in place of a folder stops all.
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::remove_dir_all(&locked).unwrap();
        std::fs::write(&locked, "").unwrap();
    }
    let input = field.path("stacks/pair_000_signal.ome.tif");
    let out = text(&locked.join("stain.tif"));
    refuse(&["predict", &field.path("run"), &input, "-o", &out], 1, &["locked"]);
    let out = text(&locked.join("sub"));
    refuse(&["simulate", "-o", &out, "--pairs", "1", "--shape", "8,16,16"], 1, &["locked"]);
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn evaluate_compares_in_the_space_of_the_model() {
    let field = Field::get();
    let folder = tempfile::tempdir().unwrap();
    let stain = text(&folder.path().join("stain.tif"));
    let input = field.path("stacks/pair_002_signal.ome.tif");
    succeed(&["predict", &field.path("run"), &input, "-o", &stain]);
    let (target, mask) =
        (field.path("stacks/pair_002_target.ome.tif"), field.path("stacks/pair_002_mask.ome.tif"));
    let csv = text(&folder.path().join("scores.csv"));
    let command = ["evaluate", "--prediction", &stain, "--target", &target, "--mask", &mask];
    let run = field.path("run");
    let by_model = [&command[..], &["--model", &run, "-o", &csv, "--json"]].concat();
    let found: Value = serde_json::from_str(&succeed(&by_model)).unwrap();
    assert_eq!(found["space"], "model");
    let scores = &found["scores"][0];
    for name in ["psnr", "psnr_fg", "psnr_fg_voxels", "pearson", "dice_fg", "data_range"] {
        assert!(number(&scores[name]).is_finite(), "{name}");
    }
    assert!(number(&scores["psnr_fg"]) > number(&scores["psnr_fg_voxels"]));
    let table = std::fs::read_to_string(&csv).unwrap();
    assert!(table.starts_with("prediction,psnr,psnr_fg,psnr_fg_voxels,pearson,"), "{table}");
    let psnr: f64 = table.lines().nth(1).unwrap().split(',').nth(1).unwrap().parse().unwrap();
    assert!((psnr - number(&scores["psnr"])).abs() < 1e-9);
    refuse(&by_model, 1, &["scores.csv exists already"]);
}

#[test]
fn evaluate_without_a_model_says_so() {
    let field = Field::get();
    let (signal, target) = (
        field.path("stacks/pair_000_signal.ome.tif"),
        field.path("stacks/pair_000_target.ome.tif"),
    );
    let printed = succeed(&["evaluate", "--prediction", &signal, "--target", &target]);
    assert!(printed.contains("PSNR fg") && printed.contains("as they are"), "{printed}");
}

#[test]
fn a_perfect_prediction_has_perfect_scores() {
    let field = Field::get();
    let target = field.path("stacks/pair_000_target.ome.tif");
    let command = ["evaluate", "--prediction", &target, "--target", &target, "--json"];
    let found: Value = serde_json::from_str(&succeed(&command)).unwrap();
    assert_eq!(found["space"], "raw");
    assert!(found["scores"][0]["psnr"].is_null(), "infinite: {found}");
    assert!((number(&found["scores"][0]["pearson"]) - 1.0).abs() < 1e-12);
    assert!(number(&found["scores"][0]["dice_fg"]) > 0.99);
}

#[test]
fn evaluate_refuses_what_does_not_fit() {
    let field = Field::get();
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small.tif");
    write(&small, ramp([8, 16, 16]), Some([0.29; 3]));
    let (small, target) = (text(&small), field.path("stacks/pair_000_target.ome.tif"));
    let shapes = ["small.tif", "8 x 16 x 16", "pair_000_target", "16 x 32 x 32"];
    refuse(&["evaluate", "--prediction", &small, "--target", &target], 1, &shapes);
    let same = ["evaluate", "--prediction", &small, "--target", &small];
    refuse(&[&same[..], &["--mask", &target]].concat(), 1, &shapes);
    refuse(&["evaluate", "--prediction", &small, &target, "--target", &small], 2, &["pair up"]);
    let mut holed = ramp([8, 16, 16]);
    holed.voxels[300] = f32::INFINITY;
    let path = folder.path().join("holed.tif");
    write(&path, holed, None);
    let path = text(&path);
    refuse(&["evaluate", "--prediction", &path, "--target", &small], 1, &["holed.tif", "inf"]);
    refuse(&["evaluate", "--target", &small], 2, &["--prediction"]);
}

#[test]
fn info_describes_images_models_and_manifests() {
    let field = Field::get();
    let paths = ["stacks/pair_000_signal.ome.tif", "run", "stacks/manifest.csv"];
    let paths = paths.map(|name| field.path(name));
    let printed = succeed(&["info", &paths[0], &paths[1], &paths[2]]);
    for part in
        ["OME-TIFF", "16 x 32 x 32", "uint16", "0.29 x 0.29 x 0.29 µm", "width 2", "3 pairs"]
    {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
    let json = succeed(&["info", &paths[0], &paths[1], &paths[2], "--json"]);
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found[0]["shape"], serde_json::json!([16, 32, 32]));
    assert_eq!(found[0]["channels"], serde_json::json!(["Transmitted light"]));
    assert_eq!(found[1]["kind"], "model");
    assert_eq!(found[1]["manifest"]["network"]["width"], 2);
    assert_eq!(found[2]["splits"]["test"], 1);
    assert_eq!(found[2]["missing"], serde_json::json!([]));
}

#[test]
fn info_goes_on_after_a_bad_file_and_fails_at_the_end() {
    let field = Field::get();
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.tif");
    std::fs::write(&bad, "II*\0 cut off").unwrap();
    let (bad, good) = (text(&bad), field.path("stacks/pair_000_signal.ome.tif"));
    let output = spotlight(&["info", &bad, &good, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["kind"], "error");
    assert_eq!(found[1]["kind"], "image");
    refuse(&["info", &bad], 1, &["bad.tif"]);
    refuse(&["info", &text(folder.path())], 1, &["folder"]);
    let rows = "path_signal,path_target\ngone.tif,gone2.tif\n";
    let manifest: PathBuf = folder.path().join("m.csv");
    std::fs::write(&manifest, rows).unwrap();
    let printed = succeed(&["info", &text(&manifest)]);
    assert!(printed.contains("missing") && printed.contains("gone2.tif"), "{printed}");
}
