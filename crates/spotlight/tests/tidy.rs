//! Keeps the shape of the repository true to ARCHITECTURE.md.
//!
//! Every rule about layout that the compiler cannot check is checked here, so that
//! `cargo test` is the only gate. Change a table below in the same commit that changes
//! the architecture, and say why.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which crate may depend on which: the arrows of ARCHITECTURE.md.
const CRATES: &[(&str, &[&str])] = &[
    ("spotlight-image", &[]),
    ("spotlight-io", &["spotlight-image"]),
    ("spotlight-engine", &[]),
    ("spotlight-learn", &["spotlight-image", "spotlight-engine"]),
    ("spotlight", &["spotlight-image", "spotlight-io", "spotlight-engine", "spotlight-learn"]),
    ("spotlight-golden", &[]),
];

/// Modules in reading order: a module uses only modules named before it.
const MODULES: &[(&str, &[&str])] = &[
    (
        "spotlight-image",
        &[
            "grid",
            "voxel",
            "volume",
            "border",
            "reduce",
            "lines",
            "tile",
            "filter",
            "resample",
            "label",
            "foreground",
            "standardise",
            "simulate",
            "segment",
            "cellpose",
            "measure",
            "evaluate",
        ],
    ),
    (
        "spotlight-io",
        &[
            "error",
            "atomic",
            "voxels",
            "metadata",
            "source",
            "ome_xml",
            "tiff",
            "planes",
            "czi",
            "zarr",
            "image",
            "table",
            "manifest",
            "tensorboard",
        ],
    ),
    (
        "spotlight-engine",
        &[
            "instruction_set",
            "precision",
            "memory",
            "tensor",
            "kernel",
            "plan",
            "engine",
            "adam",
            "layer",
        ],
    ),
    (
        "spotlight-learn",
        &[
            "error",
            "footprint",
            "torch_file",
            "prepare",
            "fnet",
            "cpnet",
            "loss",
            "sample",
            "model_file",
            "train",
            "predict",
        ],
    ),
];

/// Dependencies that only these crates may name: one each, but for `ureq`. Fetching chunks of a
/// Zarr store and fetching weights share nothing but the client; the one is part of a format, the
/// other of a command.
const WRAPPED: &[(&str, &[&str])] = &[
    ("clap", &["spotlight"]),
    ("indicatif", &["spotlight"]),
    ("openreadout-jpegxr", &["spotlight-io"]),
    ("parquet", &["spotlight-io"]),
    ("png", &["spotlight"]),
    ("prost", &["spotlight-io"]),
    ("roxmltree", &["spotlight-io"]),
    ("rustfft", &["spotlight-image"]),
    ("ureq", &["spotlight", "spotlight-io"]),
    ("weezl", &["spotlight-io"]),
    ("zarrs", &["spotlight-io"]),
    ("zip", &["spotlight-learn"]),
    ("zstd", &["spotlight-io"]),
];

/// One name everywhere: a command is a file and a chapter.
const COMMANDS: &[&str] = &[
    "demo", "simulate", "train", "predict", "segment", "tune", "measure", "evaluate", "import",
    "weights", "convert", "info",
];

const VAGUE_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager"];
const MAX_FILE_LINES: usize = 400;

#[test]
fn crates_depend_along_the_arrows() {
    for (name, allowed) in CRATES {
        let dependencies = dependencies_of(name);
        for dependency in dependencies.iter().filter(|d| d.starts_with("spotlight")) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not use {dependency}");
        }
        for (wrapped, owners) in WRAPPED.iter().filter(|(_, owners)| !owners.contains(name)) {
            assert!(
                !dependencies.contains(*wrapped),
                "{wrapped} belongs in {owners:?}, not {name}"
            );
        }
    }
    let listed: BTreeSet<String> = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders(&root().join("crates")), listed, "crates/ and CRATES differ");
}

#[test]
fn modules_use_only_what_comes_before_them() {
    for (name, order) in MODULES {
        let source = root().join("crates").join(name).join("src");
        for (path, text) in rust_files(&source) {
            let module = first_component(path.strip_prefix(&source).unwrap());
            if module == "lib" || is_test_module(&path) {
                continue;
            }
            let rank = order.iter().position(|m| *m == module);
            let rank = rank.unwrap_or_else(|| panic!("{name}: add {module} to MODULES"));
            for used in crate_modules_used(without_tests(&text)) {
                let later = order[rank + 1..].contains(&used.as_str());
                assert!(!later, "{}: {module} must not use {used}", path.display());
            }
        }
    }
}

#[test]
fn files_are_short_named_and_introduced() {
    for (path, text) in rust_files(&root().join("crates")) {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_source = path.components().any(|part| part.as_os_str() == "src");
        let is_source = is_source && !is_test_module(&path);
        let path = path.display();
        let lines = without_tests(&text).lines().count();
        assert!(
            !is_source || lines <= MAX_FILE_LINES,
            "{path}: {lines} lines, at most {MAX_FILE_LINES}"
        );
        assert!(!VAGUE_NAMES.contains(&stem.as_str()), "{path}: name the file after what it holds");
        assert!(text.starts_with("//!"), "{path}: open with `//!` and one sentence of purpose");
    }
}

#[test]
fn unsafe_code_is_banned_outside_the_engine() {
    for (name, _) in CRATES.iter().filter(|(name, _)| *name != "spotlight-engine") {
        let manifest = read(&root().join("crates").join(name).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} must inherit the lints");
    }
    assert!(read(&root().join("Cargo.toml")).contains("unsafe_code = \"forbid\""));
}

#[test]
fn every_command_has_a_file_and_a_chapter() {
    let readme = read(&root().join("README.md"));
    for command in COMMANDS {
        let folder = root().join("crates/spotlight/src/cli");
        let file = [format!("{command}.rs"), format!("{command}/mod.rs")];
        let file = file.iter().map(|file| folder.join(file)).find(|file| file.exists());
        let chapter = root().join(format!("docs/{command}.md"));
        assert!(file.is_some(), "no file of {command} in {}", folder.display());
        assert!(chapter.exists(), "missing {}", chapter.display());
        assert!(readme.contains(&format!("docs/{command}.md")), "README does not link {command}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents: Vec<PathBuf> = Vec::new();
    for folder in [root(), root().join("docs"), root().join("testdata")] {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        documents.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    for document in documents {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{}: broken link to {target}", document.display());
        }
    }
}

#[test]
fn the_library_reads_no_clock_and_prints_nothing() {
    for name in ["spotlight-image", "spotlight-engine"] {
        let source = root().join("crates").join(name).join("src");
        for (path, text) in rust_files(&source) {
            for banned in ["std::fs", "std::time", "println!", "SystemTime", "Instant"] {
                let found = without_tests(&text)
                    .lines()
                    .any(|line| !line.trim_start().starts_with("//") && line.contains(banned));
                assert!(!found, "{}: {banned} does not belong here", path.display());
            }
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Whether a whole file is the test module of its neighbours.
fn is_test_module(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem == "tests" || stem.ends_with("_tests")
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap()
}

/// The names under `[dependencies]` in the manifest of a crate.
fn dependencies_of(name: &str) -> BTreeSet<String> {
    let text = read(&root().join("crates").join(name).join("Cargo.toml"));
    let section = text.split("[dependencies]").nth(1).unwrap_or("");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split(['=', '.', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(String::from)
        .collect()
}

/// The modules named right after `crate::` in code: `a` of `crate::a::B`, and both `a`
/// and `d` of `crate::{a::{B, C}, d}`.
fn crate_modules_used(text: &str) -> BTreeSet<String> {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let code = text.lines().filter(code).collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        match path.strip_prefix('{') {
            None => used.extend([identifier(path)]),
            Some(group) => used.extend(top_level_items(group).map(identifier)),
        }
    }
    used
}

/// Splits at the commas of a brace group that are not inside a nested group.
fn top_level_items(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 1;
    let mut items = Vec::new();
    let mut start = 0;
    for (index, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => (),
        }
        if depth == 0 || (depth == 1 && letter == ',') {
            items.push(&group[start..index]);
            start = index + 1;
        }
        if depth == 0 {
            break;
        }
    }
    items.into_iter()
}

fn identifier(text: &str) -> String {
    let part_of_name = |c: &char| c.is_alphanumeric() || *c == '_';
    text.trim().chars().take_while(part_of_name).collect()
}

/// All Rust sources under a folder, with their text.
fn rust_files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = read(&path);
            found.push((path, text));
        }
    }
    found.sort();
    found
}

fn folders(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn first_component(path: &Path) -> String {
    let first = path.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}
