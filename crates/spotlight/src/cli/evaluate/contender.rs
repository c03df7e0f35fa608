//! Who is compared: folders of predictions and of label images under one name, with the model.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_image::foreground::OtsuRecipe;
use spotlight_learn::model_file::{Model, ModelManifest};

use super::Options;
use super::comparison::Space;
use crate::cli::{failure, values, wrong_use};

/// One model, or one other origin of predictions or labels such as the measured fluorescence.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    /// What it is called in all tables.
    pub(super) name: String,
    /// The folder of its predictions.
    pub(super) predictions: Option<PathBuf>,
    /// The file of the model, and what it says.
    pub(super) model: Option<(PathBuf, ModelManifest)>,
    /// The folder of its label images.
    pub(super) labels: Option<PathBuf>,
}

impl Contender {
    /// Where its predictions are compared.
    pub(super) fn space(&self, otsu: OtsuRecipe) -> Space<'_> {
        self.model.as_ref().map_or(Space::Raw(otsu), |(_, model)| Space::Model(model))
    }
}

/// A path with the name that was given to it, `NAME=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: Option<String>,
    path: PathBuf,
}

/// All that `--predictions`, `--model` and `--labels` name.
pub(super) fn contenders(options: &Options) -> Result<Vec<Contender>> {
    let mut all = Vec::new();
    for folder in options.predictions.iter().map(|text| named(text)) {
        let predictions = Some(existing_folder(&folder.path)?);
        add(&mut all, Contender { name: called(&folder), predictions, model: None, labels: None })?;
    }
    let predicting = all.len();
    let models: Vec<Named> = options.model.iter().map(|text| named(text)).collect();
    for (place, model) in match_up("--model", &models, &all)?.into_iter().zip(models) {
        let Some(place) = place else {
            let name = called(&model);
            return Err(wrong_use(
                format!("--model {name}=… has no predictions"),
                format!("give them by --predictions {name}=DIR"),
            ));
        };
        let path = values::model_path(&model.path);
        let manifest = Model::read(&path)?.manifest;
        if all[place].model.replace((path, manifest)).is_some() {
            return Err(twice("--model", &all[place].name));
        }
    }
    let labels: Vec<Named> = options.labels.iter().map(|text| named(text)).collect();
    for (place, folder) in
        match_up("--labels", &labels, &all[..predicting])?.into_iter().zip(labels)
    {
        let labels = Some(existing_folder(&folder.path)?);
        match place {
            None => {
                let name = called(&folder);
                add(&mut all, Contender { name, predictions: None, model: None, labels })?;
            }
            Some(place) if all[place].labels.is_some() => {
                return Err(twice("--labels", &all[place].name));
            }
            Some(place) => all[place].labels = labels,
        }
    }
    if all.is_empty() {
        return Err(wrong_use(
            "nothing to evaluate",
            "give folders by --predictions DIR, --labels DIR or both",
        ));
    }
    Ok(all)
}

fn named(text: &str) -> Named {
    let (name, path) = values::name_and_path(text);
    Named { name: name.map(str::to_owned), path: path.into() }
}

/// The name, or else the last part of the path.
fn called(named: &Named) -> String {
    let whole = || named.path.canonicalize().unwrap_or_else(|_| named.path.clone());
    let last = || whole().file_name().unwrap_or_default().to_string_lossy().into_owned();
    named.name.clone().unwrap_or_else(last)
}

/// To which contender each path belongs: by name, or in order where none has a name.
fn match_up(option: &str, paths: &[Named], all: &[Contender]) -> Result<Vec<Option<usize>>> {
    let with_name = paths.iter().filter(|path| path.name.is_some()).count();
    if with_name == paths.len() || all.is_empty() {
        let place = |path: &Named| {
            let name = called(path);
            all.iter().position(|contender| contender.name == name)
        };
        return Ok(paths.iter().map(place).collect());
    }
    if with_name > 0 || paths.len() != all.len() {
        return Err(wrong_use(
            format!("it is not clear to which --predictions each {option} belongs"),
            format!("name all, {option} NAME=PATH, or give one for each folder, in their order"),
        ));
    }
    Ok((0..paths.len()).map(Some).collect())
}

fn add(all: &mut Vec<Contender>, contender: Contender) -> Result<()> {
    if all.iter().any(|other| other.name == contender.name) {
        return Err(wrong_use(
            format!("two folders are called {}", contender.name),
            "give each its own name: NAME=DIR",
        ));
    }
    all.push(contender);
    Ok(())
}

fn twice(option: &str, name: &str) -> anyhow::Error {
    wrong_use(format!("{option} {name} is given twice"), "give it once")
}

fn existing_folder(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    let (what, shown) =
        (if path.exists() { "not a folder" } else { "no such folder" }, path.display());
    Err(failure(format!("{shown}: {what}"), "name the folder that predict or segment wrote to"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(name: &str) -> Contender {
        Contender { name: name.to_owned(), predictions: None, model: None, labels: None }
    }

    #[test]
    fn names_come_before_the_first_equals_sign() {
        let check = |text: &str, name: Option<&str>, path: &str| {
            assert_eq!(named(text), Named { name: name.map(str::to_owned), path: path.into() });
        };
        check("F-net=out/fnet", Some("F-net"), "out/fnet");
        check("out/fnet", None, "out/fnet");
        check("runs/rate=0.1/out", None, "runs/rate=0.1/out");
        check("a=b=c", Some("a"), "b=c");
        check("=b", None, "=b");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b");
        std::fs::create_dir(&path).unwrap();
        let text = path.display().to_string();
        check(&text, None, &text);
        assert_eq!(called(&named(&text)), "a=b");
        assert_eq!(called(&named("x=y/z")), "x");
    }

    #[test]
    fn paths_belong_by_name_or_by_order() {
        let all = [contender("a"), contender("b")];
        let places = |texts: &[&str]| {
            let paths: Vec<Named> = texts.iter().map(|text| named(text)).collect();
            match_up("--labels", &paths, &all)
        };
        assert_eq!(places(&["x", "y"]).unwrap(), [Some(0), Some(1)]);
        assert_eq!(places(&["b=x", "c=y"]).unwrap(), [Some(1), None]);
        for wrong in [&["x"][..], &["a=x", "y"], &["x", "y", "z"]] {
            let error = places(wrong).unwrap_err();
            assert_eq!(crate::cli::Outcome::of(&error).status, 2, "{error}");
        }
        assert!(add(&mut all.to_vec(), contender("a")).is_err());
    }
}
