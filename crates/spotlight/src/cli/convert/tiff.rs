//! Writes an OME-TIFF, plane by plane, reading as many planes at once as the input stores
//! together.

use std::path::Path;

use anyhow::Result;
use spotlight_image::Region;
use spotlight_io::{Layout, OpenStack, Voxels, WriteOptions, write_ome_tiff_planes};

use super::check_memory;
use super::options::{Options, Target};
use super::source::{Slab, Source};

/// Writes a file; `tell` learns how many planes are done, and of how many.
pub(super) fn write(
    source: &Source,
    output: &Path,
    options: &Options,
    target: &Target,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let layout = &source.layout;
    let thickness = thickness(layout, options)?;
    let channels = layout.channel_names.len();
    let write_options = WriteOptions {
        overwrite: options.overwrite,
        compression: target.tiff,
        ..WriteOptions::default()
    };
    let total = (layout.times * layout.shape[0] * channels) as u64;
    let mut done = 0;
    // A slab of every channel: planes come with the channels in turns.
    let mut slabs: Vec<Option<Slab>> = (0..channels).map(|_| None).collect();
    let mut failed = None;
    let mut open: Option<(usize, Vec<OpenStack>)> = None;
    let written = write_ome_tiff_planes(output, layout, &write_options, |at| {
        tell(done, total);
        done += 1;
        let stacks = match &mut open {
            Some((time, stacks)) if *time == at.time => stacks,
            other => {
                slabs.iter_mut().for_each(|slab| *slab = None);
                let stacks = stacks_of(source, at.time, channels)
                    .map_err(|error| set_aside(error, &mut failed, output))?;
                &mut other.insert((at.time, stacks)).1
            }
        };
        let stack = &stacks[at.channel];
        plane(stack, at.z, thickness, &mut slabs[at.channel])
            .map_err(|error| set_aside(error, &mut failed, output))
    });
    match (failed, written) {
        (Some(error), _) => Err(error),
        (None, written) => Ok(written?),
    }
}

/// Keeps the first error; the writer only has to stop.
fn set_aside(
    error: anyhow::Error,
    failed: &mut Option<anyhow::Error>,
    output: &Path,
) -> spotlight_io::Error {
    failed.get_or_insert(error);
    spotlight_io::Error::Format { path: output.to_owned(), what: "a plane is missing".to_owned() }
}

fn stacks_of(source: &Source, time: usize, channels: usize) -> Result<Vec<OpenStack>> {
    (0..channels).map(|channel| source.stack(time, channel)).collect()
}

fn plane(stack: &OpenStack, z: usize, thickness: usize, slab: &mut Option<Slab>) -> Result<Voxels> {
    let [depth, height, width] = stack.shape();
    let wanted = Region { start: [z, 0, 0], shape: [1, height, width] };
    if let Some(voxels) = slab.as_ref().and_then(|slab| slab.part(wanted)) {
        return Ok(voxels);
    }
    // The old slab goes before the new one comes.
    *slab = None;
    let first = z - z % thickness;
    let region =
        Region { start: [first, 0, 0], shape: [thickness.min(depth - first), height, width] };
    let read = Slab::read(stack, region)?;
    let voxels = read.part(wanted);
    *slab = Some(read);
    match voxels {
        Some(voxels) => Ok(voxels),
        None => Ok(stack.read(wanted)?),
    }
}

/// Number of planes of a slab: those that the input decodes together, or as many of them as
/// memory allows.
fn thickness(layout: &Layout, options: &Options) -> Result<usize> {
    let [depth, height, width] = layout.shape;
    let plane = (height as u64)
        .saturating_mul(width as u64)
        .saturating_mul(layout.sample_type.bytes() as u64);
    // A plane that is written is there three times; while a slab is read it is there twice.
    let held = plane.saturating_mul(layout.channel_names.len() as u64 + 1);
    check_memory(held.saturating_add(plane.saturating_mul(4)), options)?;
    let most = options.memory.saturating_sub(4 * plane) / held.max(1);
    let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
    Ok(layout.block[0].clamp(1, depth).min(most))
}
