//! `spotlight evaluate --manifest` on small stacks: its numbers against the library and by hand,
//! and what it says to bad input.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod program;
mod stacks;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use program::{ends, fails, spotlight, succeeds};
use serde_json::Value;
use spotlight::image::evaluate::{
    Bootstrap, Fill, MsSsim, RingCorrelation, ShellCorrelation, Ssim, bootstrap_mean, dice,
    fill_below, lateral_and_axial, masked_product, mean_of_defined, micro_fit, micro_ms3im,
    micro_ssim, ms_ssim, nrmse, nrmse_in_mask, pearson, pearson_in_mask, psnr, psnr_in_mask,
    ring_correlation, shell_correlation, ssim, ssim_in_mask, wilcoxon,
};
use spotlight::image::filter::gaussian;
use spotlight::image::foreground::{OtsuRecipe, mask, threshold};
use spotlight::image::{Border, Volume};
use spotlight::io::{OutputChannel, Selection, Voxels, WriteOptions, read_stack, write_ome_tiff};
use stacks::{SPACING, folder_of};

/// Standard output of a command that must succeed.
#[track_caller]
fn succeed(arguments: &[&str]) -> String {
    succeeds(&spotlight(arguments))
}

/// Checks the exit status, one sentence with all these parts, and that nothing is left behind.
#[track_caller]
fn refuse(arguments: &[&str], status: i32, parts: &[&str]) {
    fails(&spotlight(&[arguments, &["--quiet"]].concat()), status, parts);
    let out = arguments.iter().position(|word| *word == "-o").map(|place| arguments[place + 1]);
    let left = out.map(Path::new).filter(|out| out.is_dir()).map(folder_of).unwrap_or_default();
    assert!(left.is_empty(), "{arguments:?} left {left:?}");
}

/// The rows of a table, each by column.
fn rows(path: &Path) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

fn number(row: &HashMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} in {row:?}"))
}

/// Equal to the last bit, or both not a number.
#[track_caller]
fn same(found: f64, expected: f64, what: &str) {
    let equal = found == expected || (found.is_nan() && expected.is_nan());
    assert!(equal, "{what}: {found}, expected {expected}");
}

fn write(path: &Path, voxels: impl Into<Voxels>, spacing_um: Option<[f64; 3]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let voxels = voxels.into();
    let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
    let channel = OutputChannel { name: "only", voxels: &voxels };
    write_ome_tiff(path, &[channel], spacing_um, &options).unwrap();
}

fn read(path: &Path) -> Volume<f32> {
    read_stack(path, &Selection::default()).unwrap().to_f32()
}

/// A folder that vanishes, with stacks, predictions and labels in it.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    /// Rows of a manifest with a signal that is not read and a target, with masks as given.
    fn of_masks(masks: &[Option<Volume<u16>>]) -> Self {
        let data = Self { folder: tempfile::tempdir().unwrap() };
        let mut manifest = "path_signal,path_target,path_mask\n".to_owned();
        for (i, mask) in masks.iter().enumerate() {
            let shape = mask.as_ref().map_or([4, 12, 12], |mask| mask.shape);
            let texture = move |[z, y, x]: [usize; 3]| ((7 * z + y * x + i) % 23) as u16;
            write(&data.path(&format!("{i}_dna.tif")), Volume::from_fn(shape, texture), SPACING);
            let name = mask.as_ref().map_or(String::new(), |mask| {
                write(&data.path(&format!("{i}_mask.tif")), mask.clone(), SPACING);
                format!("{i}_mask.tif")
            });
            manifest.push_str(&format!("{i}_bf.tif,{i}_dna.tif,{name}\n"));
        }
        fs::write(data.path("manifest.csv"), manifest).unwrap();
        data
    }

    /// Simulated pairs, and the targets blurred a little and much as predictions.
    fn simulated(pairs: usize, shape: &str) -> Self {
        let data = Self { folder: tempfile::tempdir().unwrap() };
        let (out, pairs_text) = (data.text("."), pairs.to_string());
        succeed(&["simulate", "-o", &out, "--pairs", &pairs_text, "--shape", shape]);
        for i in 0..pairs {
            let target = read(&data.path(&format!("pair_{i:03}_target.ome.tif")));
            for (name, sigma) in [("sharp", 0.7), ("soft", 2.0)] {
                let blurred = gaussian(&target, [sigma; 3], 4.0, Border::Nearest);
                write(&data.path(&format!("{name}/pair_{i:03}_signal.ome.tif")), blurred, SPACING);
            }
        }
        data
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Evaluates into a folder of this name, with these options; names beginning with @ are
    /// of this folder.
    fn evaluate(&self, out: &str, options: &[&str]) -> String {
        succeed(&self.command(out, options).iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    fn refuses(&self, options: &[&str], status: i32, parts: &[&str]) {
        let command = self.command("refused", options);
        refuse(&command.iter().map(String::as_str).collect::<Vec<_>>(), status, parts);
    }

    fn command(&self, out: &str, options: &[&str]) -> Vec<String> {
        let start = ["evaluate", "--manifest", "@manifest.csv", "-o", &format!("@{out}")]
            .map(str::to_owned);
        let options = options.iter().map(|option| (*option).to_owned());
        let folder = format!("{}/", self.folder.path().display());
        start.into_iter().chain(options).map(|word| word.replace('@', &folder)).collect()
    }

    fn rows(&self, table: &str) -> Vec<HashMap<String, String>> {
        rows(&self.path(table))
    }
}

/// Two pairs of planes large enough for MicroMS3IM, evaluated once without models.
fn large() -> &'static Data {
    static DATA: OnceLock<Data> = OnceLock::new();
    DATA.get_or_init(|| {
        let data = Data::simulated(2, "8,176,180");
        data.evaluate("scores", &["--predictions", "@sharp", "Blur=@soft"]);
        data
    })
}

/// Target and prediction of an image of [`large`].
fn large_pair(image: usize, folder: &str) -> [Volume<f32>; 2] {
    [format!("pair_{image:03}_target.ome.tif"), format!("{folder}/pair_{image:03}_signal.ome.tif")]
        .map(|name| read(&large().path(&name)))
}

fn foreground_of(target: &Volume<f32>) -> (f64, Volume<bool>) {
    let threshold = threshold(target, true, OtsuRecipe::Smooth);
    (threshold, mask(target, threshold))
}

fn span(volume: &Volume<f32>) -> f64 {
    let ends = |(low, high): (f32, f32), v: &f32| (low.min(*v), high.max(*v));
    let (low, high) = volume.voxels.iter().fold((f32::INFINITY, f32::NEG_INFINITY), ends);
    f64::from(high) - f64::from(low)
}

#[test]
fn scores_of_voxels_are_those_of_the_library() {
    let table = large().rows("scores/images.csv");
    assert_eq!(table.len(), 2 * 2 * 3);
    let [target, prediction] = large_pair(1, "soft");
    let (threshold, inside) = foreground_of(&target);
    let range = span(&target);
    let products = [&target, &prediction].map(|volume| masked_product(volume, &inside));
    for (region, [t, p]) in [("whole", [&target, &prediction]), ("foreground", products.each_ref())]
    {
        let of_row = |row: &&HashMap<String, String>| {
            row["model"] == "Blur" && row["image"] == "pair_001_signal" && row["region"] == region
        };
        let row = table.iter().find(of_row).unwrap();
        let check = |column: &str, expected: f64| same(number(row, column), expected, column);
        check("psnr", psnr(t, p, range));
        check("nrmse", nrmse(t, p, range));
        check("ssim", ssim(t, p, range, &Ssim::default()));
        check("pearson", pearson(t, p));
        check("data_range", range);
        let planes = ring_correlation(p, 0.29, &RingCorrelation::default());
        let found: Vec<f64> =
            planes.iter().map(|plane| plane.resolution_um).filter(|um| um.is_finite()).collect();
        check("frc_um", found.iter().sum::<f64>() / found.len() as f64);
        let [lateral, axial] =
            lateral_and_axial(&shell_correlation(p, [0.29; 3], &ShellCorrelation::default()));
        check("fsc_xy_um", lateral);
        check("fsc_z_um", axial);
        let plane = |volume: &Volume<f32>, z: usize| {
            Volume::new([1, volume.shape[1], volume.shape[2]], volume.plane(z).to_vec())
        };
        let scales = (0..8).map(|z| ms_ssim(&plane(t, z), &plane(p, z), range, &MsSsim::default()));
        check("ms_ssim", scales.sum::<f64>() / 8.0);
        let truth = read(&large().path("pair_001_mask.ome.tif")).map(|label| *label > 0.0);
        let predicted = prediction.map(|value| f64::from(*value) > threshold);
        check("dice", if region == "whole" { f64::NAN } else { dice(&truth, &predicted) });
    }
    let last = table.last().unwrap();
    assert_eq!((&*last["region"], &*last["model"]), ("foreground_voxels", "Blur"));
    let check = |column: &str, expected: f64| same(number(last, column), expected, column);
    check("psnr", psnr_in_mask(&target, &prediction, &inside, range));
    check("nrmse", nrmse_in_mask(&target, &prediction, &inside, range));
    check("pearson", pearson_in_mask(&target, &prediction, &inside));
    let similarity = ssim_in_mask(&target, &prediction, &inside, range, &Ssim::default());
    check("ssim", similarity.mean);
    check("micro_ms3im", f64::NAN);
}

#[test]
fn one_fit_of_micro_ms3im_serves_all_images_of_a_model() {
    let table = large().rows("scores/images.csv");
    for (folder, model) in [("sharp", "sharp"), ("soft", "Blur")] {
        let pairs = [0, 1].map(|image| large_pair(image, folder));
        let products = pairs.each_ref().map(|[target, prediction]| {
            let (_, inside) = foreground_of(target);
            [target, prediction].map(|volume| masked_product(volume, &inside))
        });
        for (region, pairs) in [("whole", &pairs), ("foreground", &products)] {
            let borrowed: Vec<(&Volume<f32>, &Volume<f32>)> =
                pairs.iter().map(|[target, prediction]| (target, prediction)).collect();
            let fit = micro_fit(&borrowed, 3.0);
            let of_model =
                |row: &&HashMap<String, String>| row["model"] == model && row["region"] == region;
            for ([target, prediction], row) in pairs.iter().zip(table.iter().filter(of_model)) {
                let planes = micro_ms3im(target, prediction, &fit, &MsSsim::default());
                let (score, constant) = mean_of_defined(&planes);
                assert!(score > 0.3 && score < 1.0, "{score}");
                same(number(row, "micro_ms3im"), score, region);
                same(number(row, "constant_planes"), constant as f64, region);
                let planes = micro_ssim(target, prediction, &fit);
                same(number(row, "micro_ssim"), mean_of_defined(&planes).0, region);
            }
        }
    }
}

#[test]
fn a_summary_has_means_intervals_and_tests() {
    let images = large().rows("scores/images.csv");
    let scores = |model: &str| -> Vec<f64> {
        let of_model =
            |row: &&HashMap<String, String>| row["model"] == model && row["region"] == "foreground";
        images.iter().filter(of_model).map(|row| number(row, "psnr")).collect()
    };
    let summary = large().rows("scores/summary.csv");
    let is_psnr = |row: &&HashMap<String, String>| {
        row["metric"] == "psnr" && row["region"] == "foreground" && row["model"] == "Blur"
    };
    let row = summary.iter().find(is_psnr).unwrap();
    let expected = bootstrap_mean(&scores("Blur"), &Bootstrap::default());
    same(number(row, "mean"), expected.estimate, "mean");
    same(number(row, "low"), expected.low, "low");
    same(number(row, "high"), expected.high, "high");
    same(number(row, "median"), expected.estimate, "median of two");
    assert_eq!((&*row["level"], &*row["images"], &*row["undefined"]), ("pixels", "2", "0"));
    assert_eq!(row["iou"], "NaN");

    let tests = large().rows("scores/tests.csv");
    let is_psnr =
        |row: &&HashMap<String, String>| row["metric"] == "psnr" && row["region"] == "foreground";
    let row = tests.iter().find(is_psnr).unwrap();
    assert_eq!((&*row["model_a"], &*row["model_b"]), ("sharp", "Blur"));
    let (a, b) = (scores("sharp"), scores("Blur"));
    same(number(row, "p_value"), wilcoxon(&a, &b).p_value, "p");
    same(number(row, "least_p_value"), 0.5, "least p of two pairs");
    let middle = 0.5 * ((a[0] - b[0]) + (a[1] - b[1]));
    assert!((number(row, "median_difference") - middle).abs() < 1e-12);
    // Only some are defined among the voxels of the foreground.
    let voxels = summary.iter().filter(|row| row["region"] == "foreground_voxels").count();
    assert_eq!(voxels, 2 * 4);
}

#[test]
fn results_do_not_depend_on_threads_and_formats_agree() {
    let data = Data::simulated(2, "8,40,44");
    let run = |out: &str, more: &[&str]| {
        let options = ["--predictions", "a=@sharp", "b=@soft", "--no-fsc", "--json"];
        data.evaluate(out, &[&options[..], more].concat())
    };
    let one = run("one", &["--threads", "1"]);
    let printed = run("three", &["--threads", "3"]);
    assert_eq!(one, printed);
    let files = folder_of(&data.path("one"));
    assert_eq!(files, ["images.csv", "record.json", "summary.csv", "tests.csv"]);
    for name in files.iter().filter(|name| name.ends_with(".csv")) {
        let bytes = ["one", "three"].map(|out| fs::read(data.path(out).join(name)).unwrap());
        assert!(bytes[0] == bytes[1], "{name}");
    }
    let parsed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(parsed["images"].as_array().unwrap().len(), 2 * 2 * 3);
    assert!(parsed["images"][0]["micro_ms3im"].is_null());
    let psnr = parsed["images"][0]["psnr"].as_f64().unwrap();
    same(psnr, number(&data.rows("one/images.csv")[0], "psnr"), "JSON and CSV");

    // Replaced only when told; what the new run does not have goes.
    let again = data.command("one", &["--predictions", "@sharp", "--format", "parquet"]);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    fails(&spotlight(&again), 2, &["images.csv exists already"]);
    assert_eq!(folder_of(&data.path("one")), files);
    let printed = succeed(&[&again[..], &["--overwrite"]].concat());
    let files = ["images.parquet", "record.json", "summary.parquet"];
    assert_eq!(folder_of(&data.path("one")), files);
    assert!(printed.contains("176 x 176 pixels: - in 2 of 2"), "{printed}");
    let record = fs::read(data.path("one/record.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["details"]["contenders"][0]["space"], "raw");
    // Manifest, two targets, two masks, two predictions.
    assert_eq!(record["inputs"].as_array().unwrap().len(), 7);
}

/// Boxes of labels in a stack of 4 × 12 × 12: (label, first column, columns).
fn boxes(boxes: &[(u16, usize, usize)]) -> Volume<u16> {
    Volume::from_fn([4, 12, 12], |[_, y, x]| {
        let is_in = |(_, start, columns): &&(u16, usize, usize)| {
            (2..10).contains(&y) && (*start..start + columns).contains(&x)
        };
        boxes.iter().find(is_in).map_or(0, |(label, ..)| *label)
    })
}

/// Three images of boxes, segmented by hand and evaluated once.
fn boxed() -> &'static Data {
    static DATA: OnceLock<Data> = OnceLock::new();
    DATA.get_or_init(evaluated_boxes)
}

fn evaluated_boxes() -> Data {
    let truth = boxes(&[(3, 0, 4), (700, 6, 4)]);
    let none = boxes(&[]);
    // Objects of other sizes, so that features have ranges.
    let other = boxes(&[(3, 0, 5), (4, 6, 2)]);
    let data = Data::of_masks(&[Some(truth.clone()), Some(none.clone()), Some(other)]);
    // In the first image one object is 3 of 4 columns, the other is there and one too many.
    write(&data.path("cells/0_bf.ome.tif"), boxes(&[(9, 0, 3), (2, 6, 4), (5, 11, 1)]), SPACING);
    write(&data.path("cells/1_bf.ome.tif"), none.clone(), SPACING);
    write(&data.path("cells/2_bf.ome.tif"), none, SPACING);
    // The measured fluorescence, named as the target; half as large in two axes.
    let half = |v: &Volume<u16>| Volume::from_fn([4, 6, 6], |[z, y, x]| v.at([z, 2 * y, 2 * x]));
    for i in 0..3 {
        let stack = if i == 1 { boxes(&[(1, 0, 4)]) } else { truth.clone() };
        write(&data.path(&format!("flt/{i}_dna.ome.tif")), half(&stack), None);
    }
    let printed = data.evaluate("out", &["--labels", "FLT=@flt", "Ours=@cells"]);
    assert!(printed.contains("Objects:") && printed.contains("Features:"), "{printed}");
    assert!(!printed.contains("Pixels:"), "{printed}");
    let out = folder_of(&data.path("out"));
    assert_eq!(
        out,
        ["objects.csv", "record.json", "segmentations.csv", "summary.csv", "tests.csv"]
    );
    data
}

#[test]
fn objects_by_hand() {
    let table = boxed().rows("out/objects.csv");
    assert_eq!(table.len(), 2 * 3 * 10);
    let at = |image: &str, model: &str, iou: &str| {
        let is = |row: &&HashMap<String, String>| {
            row["image"] == image && row["model"] == model && row["iou"] == iou
        };
        table.iter().find(is).unwrap()
    };
    let counts = |row: &HashMap<String, String>| {
        ["true_positives", "false_positives", "false_negatives"].map(|c| number(row, c) as u32)
    };
    let row = at("0_bf", "Ours", "0.75");
    assert_eq!(counts(row), [2, 1, 0]);
    same(number(row, "average_precision"), 2.0 / 3.0, "AP at 0.75");
    same(number(row, "matched_iou"), 0.875, "IoU of both");
    assert!((number(row, "matched_dice") - 0.5 * (1.5 / 1.75 + 1.0)).abs() < 1e-15);
    let row = at("0_bf", "Ours", "0.8");
    assert_eq!(counts(row), [1, 2, 1]);
    same(number(row, "average_precision"), 0.25, "AP at 0.80");
    // The one match is the object itself.
    assert!(number(row, "feature_distance").abs() < 1e-12, "{row:?}");
    assert!(number(at("0_bf", "Ours", "0.5"), "feature_distance") > 1e-6);
    same(number(at("0_bf", "Ours", "0.85"), "feature_distance"), f64::NAN, "above 0.80");
    same(number(at("1_bf", "Ours", "0.5"), "average_precision"), f64::NAN, "both empty");
    same(number(at("1_bf", "FLT", "0.5"), "average_precision"), 0.0, "only predicted");
    same(number(at("2_bf", "Ours", "0.5"), "average_precision"), 0.0, "only true");
    same(number(at("2_bf", "Ours", "0.5"), "matched_iou"), f64::NAN, "no match");
    same(number(at("0_bf", "FLT", "0.95"), "average_precision"), 1.0, "half the grid");
}

#[test]
fn segmentations_by_hand() {
    let totals = boxed().rows("out/segmentations.csv");
    let row = totals.iter().find(|row| row["model"] == "Ours" && row["image"] == "0_bf").unwrap();
    let mean = |low: usize| (6.0 * 2.0 / 3.0 + low as f64 * 0.25) / (6 + low) as f64;
    assert!((number(row, "mean_ap_50_90") - mean(3)).abs() < 1e-12);
    assert!((number(row, "mean_ap_50_95") - mean(4)).abs() < 1e-12);
    for (column, expected) in
        [("true_objects", 2.0), ("predicted_objects", 3.0), ("missed", 0.0), ("spurious", 1.0)]
    {
        same(number(row, column), expected, column);
    }
    let summary = boxed().rows("out/summary.csv");
    let is = |row: &&HashMap<String, String>| {
        row["metric"] == "average_precision" && row["model"] == "Ours" && row["iou"] == "0.5"
    };
    let row = summary.iter().find(is).unwrap();
    assert_eq!((&*row["images"], &*row["undefined"]), ("2", "1"));
    assert!((number(row, "mean") - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn masks_of_one_value_need_a_word() {
    let mask = boxes(&[(255, 0, 4), (255, 6, 4)]);
    let data = Data::of_masks(&[Some(mask), None, Some(boxes(&[(255, 2, 5)]))]);
    for i in 0..3 {
        write(
            &data.path(&format!("cells/{i}_bf.ome.tif")),
            boxes(&[(1, 0, 4), (2, 6, 4)]),
            SPACING,
        );
    }
    let labels = ["--labels", "@cells"];
    let parts = ["0_mask.tif", "255", "2 pieces", "--truth-components"];
    data.refuses(&labels, 1, &parts);
    let printed = data.evaluate("out", &[&labels[..], &["--truth-components"]].concat());
    assert!(printed.contains("1 of 3 images have no true labels"), "{printed}");
    let totals = data.rows("out/segmentations.csv");
    let found: Vec<f64> = totals.iter().map(|row| number(row, "true_objects")).collect();
    assert_eq!(found, [2.0, 1.0]);
    assert_eq!((&*totals[0]["model"], &*totals[0]["mean_ap_50_95"]), ("cells", "1.0"));
}

/// A model after three steps, which has ranges and a space.
fn trained(data: &Data) -> String {
    let (manifest, run) = (data.text("manifest.csv"), data.text("run"));
    let small = "--width 2 --depth 1 --batch 1 --patch 8,16,16 --iterations 3 --loss mse";
    let mut train = vec!["train", &manifest, "-o", &run];
    train.extend(small.split(' '));
    succeed(&train);
    run
}

#[test]
fn models_and_thresholds() {
    let data = Data::simulated(3, "16,48,48");
    let run = trained(&data);
    let manifest = data.text("manifest.csv");
    succeed(&["predict", &run, "--manifest", &manifest, "-o", &data.text("stained")]);
    let options = ["--predictions", "@stained", "--model", "@run", "--split", "test", "--no-fsc"];
    data.evaluate("out", &[&options[..], &["--thresholds"]].concat());

    // As the single pair is scored.
    let stain = data.path("stained/pair_002_signal.ome.tif");
    let target = data.text("pair_002_target.ome.tif");
    let alone = |prediction: &Path| -> Value {
        let prediction = prediction.display().to_string();
        let pair = ["evaluate", "--prediction", &prediction, "--target", &target];
        let printed = succeed(&[&pair[..], &["--model", &run, "--json"]].concat());
        serde_json::from_str::<Value>(&printed).unwrap()["scores"][0].clone()
    };
    let images = data.rows("out/images.csv");
    assert_eq!(images.len(), 3);
    let scores = alone(&stain);
    for (row, name) in [(0, "psnr"), (1, "psnr_fg"), (2, "psnr_fg_voxels")] {
        same(number(&images[row], "psnr"), scores[name].as_f64().unwrap(), name);
    }
    let series = data.rows("out/threshold_images.csv");
    assert_eq!(series.len(), 11);
    same(number(&series[0], "threshold"), f64::NAN, "as it is");
    same(number(&series[0], "psnr"), number(&images[1], "psnr"), "as it is");
    same(number(&series[0], "frc_um"), number(&images[1], "frc_um"), "as it is");
    for (row, filled) in [(6, -0.0_f64), (9, 0.75)] {
        let cut = fill_below(&read(&stain), filled, Fill::Zero);
        let path = data.path("cut.tif");
        write(&path, cut, SPACING);
        same(number(&series[row], "threshold"), filled, "threshold");
        same(number(&series[row], "psnr"), alone(&path)["psnr_fg"].as_f64().unwrap(), "psnr");
    }
    let pooled = data.rows("out/threshold_series.csv");
    assert_eq!(pooled.len(), 11);
    same(number(&pooled[3], "psnr"), number(&series[3], "psnr"), "one image");
    same(number(&pooled[3], "psnr_low"), number(&series[3], "psnr"), "one image");
    let precision = number(&pooled[0], "average_precision");
    assert!((0.0..=1.0).contains(&precision), "{precision}");

    data.refuses(&["--predictions", "@stained", "--thresholds"], 2, &["stained", "--model"]);
    let two = ["--predictions", "a=@stained", "b=@sharp", "--model", "@run"];
    data.refuses(&two, 2, &["--model", "NAME="]);
    data.refuses(&["--predictions", "@stained", "--model", "b=@run"], 2, &["b", "no predictions"]);
}

#[test]
fn bad_input_is_told_in_one_sentence() {
    let data = Data::of_masks(&[Some(boxes(&[(1, 0, 4), (2, 6, 4)])), None]);
    let texture = Volume::from_fn([4, 12, 12], |[z, y, x]| ((z + 3 * y + x * y) % 11) as f32);
    let prediction = |i: usize| data.path(&format!("good/{i}_bf.ome.tif"));
    write(&prediction(0), texture.clone(), SPACING);
    data.refuses(&["--predictions", "@good"], 1, &["good", "1_bf.ome.tif", "predict"]);
    write(&prediction(1), texture.clone(), SPACING);
    data.evaluate("good_scores", &["--predictions", "@good"]);

    let bad = |wrong: Volume<f32>, parts: &[&str]| {
        write(&prediction(1), wrong, SPACING);
        data.refuses(&["--predictions", "@good"], 1, parts);
        write(&prediction(1), texture.clone(), SPACING);
    };
    bad(texture.crop(spotlight::image::Region::whole([4, 12, 10])), &["1_bf", "4 x 12 x 10"]);
    let mut holed = texture.clone();
    holed.voxels[300] = f32::NAN;
    bad(holed.clone(), &["1_bf.ome.tif", "[2, 1, 0]", "NaN"]);

    data.refuses(&[], 2, &["nothing to evaluate", "--predictions"]);
    data.refuses(&["--predictions", "@gone"], 1, &["gone", "no such folder"]);
    data.refuses(&["--predictions", "@good", "@good"], 2, &["two folders are called good"]);
    data.refuses(&["--predictions", "a=@good", "a=@good"], 2, &["two folders are called a"]);
    data.refuses(&["--prediction", "@good"], 2, &["--prediction ", "--predictions DIR"]);
    data.refuses(&["--predictions", "@good", "--split", "test"], 1, &["no row has the split test"]);
    data.refuses(&["--predictions", "@good", "--thresholds"], 2, &["good", "--model"]);
    let manifest = data.text("manifest.csv");
    let good = data.text("good");
    refuse(&["evaluate", "--manifest", &manifest, "--predictions", &good], 2, &["-o DIR"]);
    let file = data.text("a.txt");
    fs::write(&file, "").unwrap();
    let command = ["evaluate", "--manifest", &manifest, "--predictions", &good, "-o", &file];
    refuse(&command, 2, &["a.txt", "folder"]);
    let below = format!("{file}/scores");
    let command = ["evaluate", "--manifest", &manifest, "--predictions", &good, "-o", &below];
    refuse(&command, 1, &["cannot write into", "a.txt", "choose another"]);

    // Labels.
    for i in 0..2 {
        write(&data.path(&format!("cells/{i}_bf.ome.tif")), boxes(&[(1, 0, 4)]), SPACING);
    }
    let one = data.path("cells/0_bf.ome.tif");
    write(&one, Volume::filled([4, 5, 6], 1_u16), None);
    data.refuses(&["--labels", "@cells"], 1, &["0_mask", "0_bf", "4 x 5 x 6", "not one field"]);
    write(&one, texture.map(|v| v + 0.5), SPACING);
    data.refuses(&["--labels", "@cells"], 1, &["0_bf.ome.tif", "no label"]);
    write(&one, holed, SPACING);
    data.refuses(&["--labels", "@cells"], 1, &["0_bf.ome.tif", "NaN, no label"]);
    fs::remove_file(data.path("0_mask.tif")).unwrap();
    data.refuses(&["--labels", "@cells"], 1, &["manifest.csv", "0_mask.tif"]);
    let data = Data::of_masks(&[None]);
    write(&data.path("cells/0_bf.ome.tif"), boxes(&[]), SPACING);
    data.refuses(&["--labels", "@cells"], 1, &["no row has true labels", "path_mask"]);
}

#[test]
fn options_of_data_sets_are_refused_where_they_would_do_nothing() {
    let data = Data::of_masks(&[None]);
    let target = data.text("0_dna.tif");
    let single = ["evaluate", "--prediction", &target, "--target", &target];
    succeed(&single);
    for option in [
        &["--split", "test"][..],
        &["--predictions", "a"],
        &["--labels", "a"],
        &["--truth-components"],
        &["--thresholds"],
        &["--fill", "min"],
        &["--set", "cleanup.clear_border=false"],
        &["-c", "a.toml"],
        &["--no-fsc"],
        &["--format", "parquet"],
    ] {
        ends(&spotlight(&[&single[..], option].concat()), 2, &["cannot be used with", "--target"]);
    }
    for option in [["--fill", "min"], ["--set", "cleanup.clear_border=false"], ["-c", "a.toml"]] {
        let command = data.command("refused", &["--predictions", "@good"]);
        let command = command.iter().map(String::as_str).chain(option).collect::<Vec<_>>();
        ends(&spotlight(&command), 2, &["--thresholds"]);
    }
}
