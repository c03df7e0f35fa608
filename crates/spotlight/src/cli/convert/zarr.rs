//! Writes an OME-Zarr, unit by unit; a store that was stopped goes on where it was.

use std::path::Path;

use anyhow::Result;
use spotlight_image::{Region, Shape};
use spotlight_io::{OpenStack, Voxels, ZarrChannel, ZarrLayout, ZarrOptions, ZarrWriter};

use super::check_memory;
use super::options::{Options, Target};
use super::source::{Slab, Source};
use crate::cli::wrong_use;

/// A unit takes so many times its bytes while it is read and written.
const UNIT_COPIES: u64 = 6;

/// Writes a store; `tell` learns how many units are done, and of how many.
pub(super) fn write(
    source: &Source,
    output: &Path,
    options: &Options,
    target: &Target,
    digest: &str,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let layout = layout(source);
    if options.labels && (layout.channels.len() != 1 || !layout.sample_type.is_integer()) {
        return Err(wrong_use(
            format!(
                "{} has {} channels of {}, and labels are whole numbers of one channel",
                source.name(),
                layout.channels.len(),
                layout.sample_type
            ),
            "leave --labels out, or choose the channel with --channel",
        ));
    }
    let zarr = zarr_options(options, target);
    let unit = voxel_bytes(zarr.unit_shape(layout.shape, layout.sample_type), source);
    check_memory(unit.saturating_mul(UNIT_COPIES), options)?;
    let resumed = match options.resume {
        true => ZarrWriter::resume(output, &layout, &zarr, digest)?,
        false => None,
    };
    let writer = match resumed {
        Some(writer) => writer,
        None => ZarrWriter::create(output, &layout, &zarr, digest)?,
    };
    let units = writer.units();
    let total = (units.len() * layout.times * layout.channels.len()) as u64;
    let mut done = 0;
    for time in 0..layout.times {
        for channel in 0..layout.channels.len() {
            let stack = source.stack(time, channel)?;
            let mut slab = None;
            for unit in &units {
                tell(done, total);
                done += 1;
                if !writer.is_done(time, channel, *unit) {
                    let voxels = read_unit(&stack, *unit, &mut slab, source, options)?;
                    writer.write_unit(time, channel, *unit, &voxels)?;
                }
            }
        }
    }
    tell(done, total);
    Ok(writer.finish()?)
}

fn zarr_options(options: &Options, target: &Target) -> ZarrOptions {
    let standard = ZarrOptions::default();
    ZarrOptions {
        version: options.zarr_version.into(),
        chunk: options.chunk.unwrap_or(standard.chunk),
        levels: options.levels,
        compression: target.zarr,
        overwrite: options.overwrite,
        labels: options.labels,
        ..standard
    }
}

fn layout(source: &Source) -> ZarrLayout {
    let layout = &source.layout;
    let channel = |name: &Option<String>| ZarrChannel {
        name: name.clone().unwrap_or_default(),
        ..ZarrChannel::default()
    };
    ZarrLayout {
        shape: layout.shape,
        times: layout.times,
        channels: layout.channel_names.iter().map(channel).collect(),
        sample_type: layout.sample_type,
        spacing_um: layout.spacing_um(),
        origin_um: None,
        time_step_s: None,
    }
}

/// The voxels of a unit. Rows as wide as the image are read once for all units along them where
/// memory allows: a strip of a TIFF or a row of tiles is decoded for all of them together.
fn read_unit(
    stack: &OpenStack,
    unit: Region,
    slab: &mut Option<Slab>,
    source: &Source,
    options: &Options,
) -> Result<Voxels> {
    if let Some(voxels) = slab.as_ref().and_then(|slab| slab.part(unit)) {
        return Ok(voxels);
    }
    let width = stack.shape()[2];
    let mut wide = unit;
    (wide.start[2], wide.shape[2]) = (0, width);
    let [one, row] = [unit, wide].map(|region| voxel_bytes(region.shape, source));
    let block = stack.block();
    let shared = block[2] > unit.shape[2];
    if !shared || 2 * row + UNIT_COPIES * one > options.memory {
        return Ok(stack.read(unit)?);
    }
    // The old slab goes before the new one comes.
    *slab = None;
    let read = Slab::read(stack, wide)?;
    let voxels = read.part(unit);
    *slab = Some(read);
    match voxels {
        Some(voxels) => Ok(voxels),
        None => Ok(stack.read(unit)?),
    }
}

fn voxel_bytes(shape: Shape, source: &Source) -> u64 {
    let voxels = shape.iter().fold(1_u64, |all, length| all.saturating_mul(*length as u64));
    voxels.saturating_mul(source.layout.sample_type.bytes() as u64)
}
