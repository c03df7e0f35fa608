//! From light to grey levels: illumination, background, photons, read noise.

use super::optics::Images;
use super::random::Random;
use super::texture::Texture;
use super::{Simulation, World};
use crate::{Shape, Volume};
use rayon::prelude::*;

const TRANSMITTED_NOISE: u64 = 6 << 32;
const FLUORESCENCE_NOISE: u64 = 7 << 32;
const ILLUMINATION: u64 = 8 << 32;
const BACKGROUND: u64 = 9 << 32;

/// Grey level without light.
const OFFSET: f64 = 100.0;
/// Grey levels for each photon of fluorescence.
const FLUORESCENCE_GAIN: f64 = 8.0;
/// Grey levels for each photon of transmitted light.
const TRANSMITTED_GAIN: f64 = 4.0;

/// Photographs the transmitted light.
pub(super) fn transmitted(options: &Simulation, world: &World, images: &Images) -> Volume<u16> {
    let mut random = Random::new(options.seed, ILLUMINATION);
    let center: [f64; 2] = [1, 2].map(|a| world.stack_um[a] * random.between(0.2, 0.8));
    let width_um = random.between(90.0, 160.0);
    let drift = 0.01 * random.normal();
    let uneven = Texture::new(options.seed, ILLUMINATION, [25.0, 18.0, 18.0]);
    let image = &images.transmitted;
    photograph(options, image.shape, TRANSMITTED_NOISE, |random, place, position| {
        let offset = [0, 1].map(|axis| (position[axis + 1] - center[axis]) / width_um);
        let light = 1.0 / (1.0 + offset[0] * offset[0] + offset[1] * offset[1])
            * (1.0 + 0.03 * f64::from(uneven.at(position)))
            * (1.0 + drift * (position[0] / world.stack_um[0] - 0.5));
        let mean = options.transmitted_photons * light * f64::from(image.voxels[place]);
        TRANSMITTED_GAIN * (random.poisson(mean) + options.read_noise * random.normal())
    })
}

/// Photographs the fluorescence, over a background that no cell accounts for.
pub(super) fn fluorescence(options: &Simulation, world: &World, images: &Images) -> Volume<u16> {
    let mut random = Random::new(options.seed, BACKGROUND);
    let slope: [f64; 3] = std::array::from_fn(|_| options.background_gradient * random.normal());
    let clouds = Texture::new(options.seed, BACKGROUND, [9.0, 11.0, 11.0]);
    let wisps = Texture::new(options.seed, BACKGROUND + 1, [4.0, 4.5, 4.5]);
    let image = &images.fluorescence;
    photograph(options, image.shape, FLUORESCENCE_NOISE, |random, place, position| {
        let tilt = (0..3).map(|axis| slope[axis] * (position[axis] / world.stack_um[axis] - 0.5));
        let haze = 0.7 * f64::from(clouds.at(position)) + 0.4 * f64::from(wisps.at(position));
        let level = (1.0 + tilt.sum::<f64>() + options.background_structure * haze).max(0.1);
        let mean = options.background_photons * level
            + options.fluorescence_photons * f64::from(image.voxels[place]);
        FLUORESCENCE_GAIN * (random.poisson(mean) + options.read_noise * random.normal())
    })
}

/// Calls `signal` with the voxel's own position, offset and row's random numbers.
fn photograph(
    options: &Simulation,
    shape: Shape,
    stream: u64,
    signal: impl Fn(&mut Random, usize, [f64; 3]) -> f64 + Sync,
) -> Volume<u16> {
    let [_, rows, columns] = shape;
    let mut picture = Volume::filled(shape, 0_u16);
    picture.voxels.par_chunks_mut(columns).enumerate().for_each(|(row, voxels)| {
        let mut random = Random::new(options.seed, stream + row as u64);
        for (x, voxel) in voxels.iter_mut().enumerate() {
            let index = [row / rows, row % rows, x];
            let position = [0, 1, 2].map(|axis| index[axis] as f64 * options.spacing_um[axis]);
            let level = OFFSET + signal(&mut random, row * columns + x, position);
            *voxel = level.round().clamp(0.0, f64::from(u16::MAX)) as u16;
        }
    });
    picture
}
