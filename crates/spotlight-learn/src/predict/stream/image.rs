//! The stack as the network sees it, box by box.

use spotlight_image::resample::{Order, zoom_part, zoom_source};
use spotlight_image::standardise::{Moments, RunningDeviations, RunningMoments, standardise};
use spotlight_image::{Region, Shape, Volume};

use super::SignalSource;
use crate::error::Error;
use crate::predict::fit::Fit;
use crate::predict::levels::Planes;
use crate::predict::stream_plan::Scene;
use crate::prepare::{constant_stack, not_finite};

/// Planes of the fitted grid that are read together.
pub(in crate::predict) const SLAB: usize = 32;

/// Mean and standard deviation of every channel, some planes at a time: those of the whole, to the
/// last bit.
pub(super) fn moments(
    source: &dyn SignalSource,
    channels: usize,
    bytes: u64,
) -> Result<Vec<Moments>, Error> {
    let step = slab(source.shape(), source.block(), bytes / 4, channels);
    let mut sums = vec![RunningMoments::default(); channels];
    let mut first = Vec::new();
    each_slab(source, step, |start, volumes| {
        assert_eq!(volumes.len(), channels, "channels of the source");
        for (sum, volume) in sums.iter_mut().zip(volumes) {
            if let Some(offset) = volume.voxels.iter().position(|voxel| !voxel.is_finite()) {
                return Err(not_finite(volume, offset, start, "signal", source.name()));
            }
            if start == 0 {
                first.push(volume.voxels[0]);
            }
            sum.add(&volume.voxels);
        }
        Ok(())
    })?;
    let mut deviations: Vec<_> = sums.into_iter().filter_map(RunningMoments::mean).collect();
    each_slab(source, step, |_, volumes| {
        for (sum, volume) in deviations.iter_mut().zip(volumes) {
            sum.add(&volume.voxels);
        }
        Ok(())
    })?;
    let finish = |(sum, first): (RunningDeviations, f32)| match sum.finish() {
        moments if moments.std > 0.0 => Ok(moments),
        _ => Err(constant_stack(first, "signal", source.name())),
    };
    deviations.into_iter().zip(first).map(finish).collect()
}

/// Reads so many planes at a time, and shows them with the number of the first.
fn each_slab(
    source: &dyn SignalSource,
    step: usize,
    mut see: impl FnMut(usize, &[Volume<f32>]) -> Result<(), Error>,
) -> Result<(), Error> {
    let [depth, height, width] = source.shape();
    for start in (0..depth).step_by(step) {
        let shape = [step.min(depth - start), height, width];
        see(start, &source.read(Region { start: [start, 0, 0], shape })?)?;
    }
    Ok(())
}

/// Planes that are read together: as many as fit, in whole blocks where one does.
fn slab([depth, height, width]: Shape, block: Shape, bytes: u64, channels: usize) -> usize {
    let plane = (2 * size_of::<f32>() * channels * height * width) as u64;
    let most = usize::try_from(bytes / plane.max(1)).unwrap_or(usize::MAX).clamp(1, depth);
    if most > block[0] { most / block[0] * block[0] } else { most }
}

/// The stack as the network sees it: standardised, on the grid of the model, fitted.
pub(super) struct Image<'a> {
    pub(super) source: &'a dyn SignalSource,
    pub(super) scene: Scene,
    pub(super) moments: Vec<Moments>,
    pub(super) fit: Fit,
}

impl Image<'_> {
    /// A box of the fitted grid, a few planes after the other: what is made on the way to it takes
    /// more memory than itself.
    pub(super) fn read(&self, region: Region) -> Result<Planes, Error> {
        let mut whole = Planes::zeros(self.moments.len(), region.shape);
        let [depth, height, width] = region.shape;
        for first in (0..depth).step_by(SLAB) {
            let slab = SLAB.min(depth - first);
            let [z, y, x] = region.start;
            let part = Region { start: [z + first, y, x], shape: [slab, height, width] };
            if let Some(part) = self.read_slab(part)? {
                let to = Region { start: [first, 0, 0], shape: part.shape };
                whole.paste_part(&part, [0; 3], &to);
            }
        }
        Ok(whole)
    }

    /// Some planes of a box; none where all of them are zeros around the stack.
    fn read_slab(&self, region: Region) -> Result<Option<Planes>, Error> {
        let Scene { input, model, fitted, .. } = self.scene;
        let places: [Vec<Option<usize>>; 3] = std::array::from_fn(|axis| {
            self.fit.places(model[axis], fitted[axis], region.start[axis], region.shape[axis])
        });
        // The box of the grid of the model in which all of these lie.
        let span = |axis: usize| {
            let known = || places[axis].iter().flatten().copied();
            let start = known().min().unwrap_or(0);
            [start, known().max().map_or(0, |last| last + 1 - start)]
        };
        let spans = [span(0), span(1), span(2)];
        let wanted = Region { start: spans.map(|s| s[0]), shape: spans.map(|s| s[1]) };
        if wanted.shape.contains(&0) {
            return Ok(None);
        }
        let box_of_input =
            if input == model { wanted } else { zoom_source(input, model, wanted, Order::Cubic) };
        let raw = self.source.read(box_of_input)?;
        let volumes = raw.into_iter().zip(&self.moments).map(|(raw, moments)| {
            let mut part = standardise(&raw, moments.mean, moments.std);
            drop(raw);
            if input != model {
                part = zoom_part(&part, input, model, wanted, Order::Cubic);
            }
            if wanted == region {
                return part;
            }
            let [z0, y0, x0] = wanted.start;
            Volume::from_fn(region.shape, |[z, y, x]| {
                match (places[0][z], places[1][y], places[2][x]) {
                    (Some(z), Some(y), Some(x)) => part.at([z - z0, y - y0, x - x0]),
                    _ => 0.0,
                }
            })
        });
        Ok(Some(Planes::join(volumes.collect())))
    }
}
