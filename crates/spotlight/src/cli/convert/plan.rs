//! What is converted and where it is written, checked before anything is.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_io::Image;

use super::options::{Options, Target};
use super::source::Source;
use crate::cli::jobs::{self, Job};
use crate::cli::{values, wrong_use};

/// One output.
#[derive(Debug)]
pub(super) struct Conversion {
    pub(super) source: Source,
    pub(super) output: PathBuf,
}

/// All outputs, in the order of the inputs and of the images in each.
pub(super) fn plan(options: &Options, target: &Target) -> Result<Vec<Conversion>> {
    let inputs = values::files(&options.inputs)?;
    let mut conversions = Vec::new();
    for input in &inputs {
        let image = match &options.axes {
            Some(axes) => Image::open_with_axes(input, axes)?,
            None => Image::open(input)?,
        };
        let all = match (options.all_series, options.series) {
            (true, _) => 0..image.series_count(),
            (false, chosen) => {
                let series = chosen.unwrap_or(0);
                series..series + 1
            }
        };
        for series in all {
            let source = Source::new(image.clone(), series, options)?;
            let output = output(input, &source, options, target);
            conversions.push(Conversion { source, output });
        }
    }
    if target.is_image && conversions.len() != 1 {
        return Err(wrong_use(
            format!(
                "{} is the name of one image, and there are {}",
                options.output.display(),
                conversions.len()
            ),
            format!("name a folder and add --format {}", target.format.name()),
        ));
    }
    let job = |conversion: &Conversion| Job {
        input: conversion.source.image.path().to_owned(),
        channel: None,
        output: conversion.output.clone(),
    };
    let jobs: Vec<Job> = conversions.iter().map(job).collect();
    // What exists may be what an earlier run has finished: it is looked at when its turn comes.
    jobs::check(&jobs, options.overwrite || options.resume)?;
    outside_inputs(&conversions)?;
    Ok(conversions)
}

fn output(input: &Path, source: &Source, options: &Options, target: &Target) -> PathBuf {
    if target.is_image {
        return options.output.clone();
    }
    let mut name = jobs::stem(input);
    if source.image.series_count() > 1 {
        let series = safe(&source.series_name);
        let series = if series.is_empty() { source.series.to_string() } else { series };
        name = format!("{name}_{series}");
    }
    options.output.join(format!("{name}{}", target.format.ending()))
}

/// The name of a series as part of a file's name.
fn safe(name: &str) -> String {
    let letter = |c: char| if c.is_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
    name.trim().chars().map(letter).collect::<String>().trim_matches(['_', '.']).to_owned()
}

/// Refuses outputs inside a folder that is read.
fn outside_inputs(conversions: &[Conversion]) -> Result<()> {
    let folders = conversions.iter().flat_map(|conversion| conversion.source.image.parts());
    let folders: Vec<PathBuf> =
        folders.filter(|part| part.is_dir()).filter_map(|part| part.canonicalize().ok()).collect();
    for Conversion { output, .. } in conversions {
        let above = output.ancestors().skip(1);
        let above =
            above.map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
        let above = above.filter_map(|path| path.canonicalize().ok()).next();
        if above.is_some_and(|above| folders.iter().any(|folder| above.starts_with(folder))) {
            return Err(wrong_use(
                format!("{} would lie inside an input", output.display()),
                "choose another folder for the output",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_series_become_names_of_files() {
        assert_eq!(safe("B/3/0"), "B_3_0");
        assert_eq!(safe(" P1: µ-well "), "P1__µ-well");
        assert_eq!(safe("../.."), "");
    }
}
