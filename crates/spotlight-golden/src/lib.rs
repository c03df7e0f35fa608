//! Reads the reference vectors that the tests compare against, and compares.
//!
//! A case is a folder `<topic>/<case>` with `case.json` and arrays as `.npy`; its
//! format is described in `testdata/golden/README.md`. Used by tests only, so what is
//! malformed panics.
//!
//! [`run_topic`] is the whole of a golden test: it finds the cases in
//! `testdata/golden` and, where the variable `SPOTLIGHT_GOLDEN` names a folder, there
//! too; calls the check on each; prints one line; fails on any case that failed.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

mod npy;
mod tolerance;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

pub use npy::{Array, Elements};
pub use tolerance::number;

use serde_json::Value;

/// One reference case.
#[derive(Clone, Debug)]
pub struct Case {
    /// The folder of the case.
    pub folder: PathBuf,
    /// The content of `case.json`.
    pub json: Value,
}

impl Case {
    fn open(folder: PathBuf) -> Self {
        let text = std::fs::read_to_string(folder.join("case.json")).unwrap();
        let json = serde_json::from_str(&text).unwrap();
        Self { folder, json }
    }

    /// `<topic>/<case>`, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        let name = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        format!("{}/{}", name(&self.json["topic"]), name(&self.json["case"]))
    }

    /// The fully qualified names of the reference functions, as `case.json` gives them.
    ///
    /// # Panics
    ///
    /// If it gives none.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        let references = self.json["reference"].as_array().unwrap();
        references.iter().map(|r| r["function"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether any reference function contains this text.
    #[must_use]
    pub fn is_by(&self, function: &str) -> bool {
        self.functions().iter().any(|f| f.contains(function))
    }

    /// A parameter of the reference call; `Null` where it is absent.
    #[must_use]
    pub fn param(&self, name: &str) -> &Value {
        &self.json["params"][name]
    }

    /// Checks that the reference call has no parameters but these.
    ///
    /// # Panics
    ///
    /// If it has another, which the test would leave out of account.
    pub fn only_params(&self, known: &[&str]) {
        for name in self.json["params"].as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()), "{}: unknown parameter {name}", self.name());
        }
    }

    /// An input array.
    ///
    /// # Panics
    ///
    /// If the case has no such input.
    #[must_use]
    pub fn input(&self, name: &str) -> Array {
        self.array("inputs", &self.json["inputs"][name], name)
    }

    /// An expected array.
    ///
    /// # Panics
    ///
    /// If the case expects no such array.
    #[must_use]
    pub fn expected(&self, name: &str) -> Array {
        self.array("expected arrays", &self.json["expected"]["arrays"][name], name)
    }

    /// Names of all expected arrays.
    #[must_use]
    pub fn expected_arrays(&self) -> Vec<String> {
        let arrays = self.json["expected"]["arrays"].as_object();
        arrays.map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }

    /// Names of all expected scalars.
    #[must_use]
    pub fn expected_scalars(&self) -> Vec<String> {
        let scalars = self.json["expected"]["scalars"].as_object();
        scalars.map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }

    /// An expected scalar; `Null` where it is absent.
    #[must_use]
    pub fn scalar(&self, name: &str) -> &Value {
        &self.json["expected"]["scalars"][name]
    }

    /// The tolerance entry of a name: the entry itself or the most specific pattern.
    ///
    /// # Panics
    ///
    /// If no entry fits.
    #[must_use]
    pub fn tolerance(&self, name: &str) -> &Value {
        tolerance::entry(&self.json["tolerance"], name)
            .unwrap_or_else(|| panic!("{}: no tolerance for {name}", self.name()))
    }

    /// Checks an array of ours against the expected one of that name.
    ///
    /// # Panics
    ///
    /// If shape or values differ by more than the tolerance of the case.
    pub fn check_array(&self, name: &str, shape: &[usize], found: &[f64]) {
        let expected = self.expected(name);
        assert_eq!(shape, expected.shape, "{}: shape of {name}", self.name());
        self.check_values(name, found, &expected.to_f64());
    }

    /// Checks a scalar (number, list of numbers or boolean) against the expected one.
    ///
    /// # Panics
    ///
    /// If it differs by more than the tolerance of the case.
    pub fn check_scalar(&self, name: &str, found: f64) {
        self.check_values(name, &[found], &[number(self.scalar(name))]);
    }

    /// Checks values against given expected ones with the tolerance entry of a name.
    ///
    /// # Panics
    ///
    /// If they differ by more.
    pub fn check_values(&self, name: &str, found: &[f64], expected: &[f64]) {
        if let Err(message) = tolerance::check(self.tolerance(name), found, expected) {
            panic!("{}: {name}: {message}", self.name());
        }
    }

    /// Names of the files beside the arrays that the case speaks of and that are there; large ones
    /// are not everywhere.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let files = self.json["files"].as_object();
        let names = files.into_iter().flatten().map(|(name, _)| name);
        names.filter(|name| self.folder.join(name).exists()).cloned().collect()
    }

    /// The tensors of a `.safetensors` file of the case: name, shape, values.
    ///
    /// # Panics
    ///
    /// If the case has no such file.
    #[must_use]
    pub fn tensors(&self, file: &str) -> Vec<(String, Vec<usize>, Vec<f64>)> {
        let bytes = std::fs::read(self.folder.join(file)).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let values = npy::decode_safetensor(&view);
            (name, view.shape().to_vec(), values)
        };
        tensors.tensors().into_iter().map(read).collect()
    }

    fn array(&self, kind: &str, entry: &Value, name: &str) -> Array {
        let file = entry["file"].as_str();
        let file = file.unwrap_or_else(|| panic!("{}: no {name} in {kind}", self.name()));
        Array::read(&self.folder.join(file))
    }
}

/// Runs a check on every case of a topic and reports.
///
/// A case fails when the check panics. The check must panic on a case it does not know.
///
/// # Panics
///
/// If there is no case, or any case failed.
pub fn run_topic(topic: &str, check: impl Fn(&Case)) {
    run_selected(topic, |_| true, check);
}

/// Like [`run_topic`], on the cases of a topic that belong to this test.
///
/// # Panics
///
/// If there is no case, or any case failed.
pub fn run_selected(topic: &str, belongs: impl Fn(&Case) -> bool, check: impl Fn(&Case)) {
    let cases: Vec<Case> = cases(topic).into_iter().filter(belongs).collect();
    assert!(!cases.is_empty(), "no cases of topic {topic}");
    let mut failed = Vec::new();
    for case in &cases {
        if catch_unwind(AssertUnwindSafe(|| check(case))).is_err() {
            failed.push(case.name());
        }
    }
    println!("golden {topic}: {} passed of {}", cases.len() - failed.len(), cases.len());
    assert!(failed.is_empty(), "golden {topic}: failed: {}", failed.join(", "));
}

/// All cases of a topic: those of the project, then those of `SPOTLIGHT_GOLDEN`.
///
/// # Panics
///
/// If `SPOTLIGHT_GOLDEN` is set and names no folder.
#[must_use]
pub fn cases(topic: &str) -> Vec<Case> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let mut folders = subfolders(&own.join(topic));
    if let Some(other) = std::env::var_os("SPOTLIGHT_GOLDEN") {
        let other = PathBuf::from(other);
        assert!(other.is_dir(), "SPOTLIGHT_GOLDEN is not a folder: {}", other.display());
        folders.extend(subfolders(&other.join(topic)));
    }
    folders.into_iter().map(Case::open).collect()
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let found: BTreeSet<_> = paths.filter(|path| path.join("case.json").is_file()).collect();
    found.into_iter().collect()
}
