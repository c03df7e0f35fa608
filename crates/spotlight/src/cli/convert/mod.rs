//! `spotlight convert`: turns anything that is read into OME-Zarr or OME-TIFF.

mod fingerprint;
mod options;
mod plan;
mod source;
mod tiff;
mod zarr;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::jobs::make_folder;
use crate::cli::{Context, failure, wrong_use};
use crate::progress::Progress;
use crate::record::{Started, input_files, peak_memory_bytes, record_path, recorded_digest};

pub use options::Options;
use options::{Format, Target};
use plan::{Conversion, plan};
use source::Source;

/// Runs `spotlight convert`.
///
/// # Errors
///
/// When an input cannot be read, a choice is not in it, or an output is in the way or cannot be
/// written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let target = Target::of(options)?;
    let conversions = plan(options, &target)?;
    let mut written = String::new();
    for conversion in &conversions {
        convert(conversion, options, &target, context)?;
        written.push_str(&format!("{}\n", conversion.output.display()));
    }
    context.print(&written)
}

/// Writes one output with its record.
fn convert(
    conversion: &Conversion,
    options: &Options,
    target: &Target,
    context: &Context,
) -> Result<()> {
    let started = Started::now();
    let (source, output) = (&conversion.source, &conversion.output);
    let digest = fingerprint::digest(source, options, target)?;
    if is_done(output, &digest, options)? {
        context.say(&format!("{} is done already", output.display()));
        return Ok(());
    }
    tell_notes(source, target, context);
    if let Some(folder) = output.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    let name = format!("convert {}", source.name());
    let mut bar: Option<Progress<'_>> = None;
    let mut tell = |done: u64, total: u64| {
        let started = || Progress::starting_at(context, name.clone(), done, total);
        bar.get_or_insert_with(started).set(done, "");
    };
    match target.format {
        Format::OmeZarr => zarr::write(source, output, options, target, &digest, &mut tell)?,
        Format::OmeTiff => tiff::write(source, output, options, target, &mut tell)?,
    }
    drop(bar);

    let files: Vec<_> = source.image.parts().into_iter().filter(|part| part.is_file()).collect();
    let mut record = started.record(&context.engine()?);
    record.inputs = input_files(files.iter().map(|file| file.as_path()))?;
    record.outputs = output.file_name().map(Into::into).into_iter().collect();
    record.details = details(source, options, target, &digest);
    record.write(&record_path(output), true)
}

/// Whether an earlier run has finished this output, by its record.
fn is_done(output: &Path, digest: &str, options: &Options) -> Result<bool> {
    if !options.resume || options.overwrite || !output.exists() {
        return Ok(false);
    }
    if recorded_digest(output).as_deref() == Some(digest) {
        return Ok(true);
    }
    // A kill after the last step of a store, before its work folder is gone: the writer tidies up.
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    if output.with_file_name(format!(".{name}.part")).exists() {
        return Ok(false);
    }
    Err(wrong_use(
        format!("{} exists already, and no record says that it is this one", output.display()),
        "choose another output, or add --overwrite to replace it",
    ))
}

/// Tells what a user should know of the input, and of what the output cannot keep.
fn tell_notes(source: &Source, target: &Target, context: &Context) {
    let name = source.name();
    for note in source.notes() {
        context.say(&format!("note: {name}: {note}"));
    }
    let known = source.layout.partial_spacing_um.iter().flatten().count();
    if target.format == Format::OmeZarr && (1..3).contains(&known) {
        let lost = "OME-Zarr has a voxel size along all axes or none, so none is written; give it \
                    with --spacing";
        context.say(&format!("note: {name}: {lost}"));
    }
}

fn details(source: &Source, options: &Options, target: &Target, digest: &str) -> Value {
    json!({
        "input": source.image.path(),
        "series": source.series,
        "series_name": source.series_name,
        "times": [source.times.start, source.times.end - 1],
        "channels": source.channels,
        "channel_names": source.layout.channel_names,
        "shape_zyx": source.layout.shape,
        "type": source.layout.sample_type.name(),
        "spacing_um": source.layout.spacing_um(),
        "axes": options.axes.as_ref().map(ToString::to_string),
        "format": target.format.name(),
        "digest": digest,
        "notes": source.notes(),
        "peak_memory_bytes": peak_memory_bytes(),
    })
}

/// Refuses to begin what would need more memory than is allowed.
fn check_memory(needed: u64, options: &Options) -> Result<()> {
    if needed <= options.memory {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(failure(
        format!("this takes {} MiB, and --memory allows {}", mib(needed), mib(options.memory)),
        format!("allow more with --memory {}MiB", mib(needed)),
    ))
}
