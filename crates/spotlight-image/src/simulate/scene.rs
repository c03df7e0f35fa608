//! The scene on the grid: refractive index, dye and labels, plane by plane.

use super::cytoplasm::{Blob, Layer, debris, organelles};
use super::nuclei::{self, Nucleus};
use super::texture::smooth_step;
use super::{Simulation, World};
use crate::{Region, Volume};
use rayon::prelude::*;
use rustfft::num_complex::Complex;

/// Cells near a point are looked up once for squares of this many voxels.
const SQUARE: usize = 12;

/// Half the thickness in µm over which nucleus and cytoplasm blend.
const SOFT_UM: f32 = 0.3;

/// A blob is drawn out to this many standard deviations.
const BLOB_REACH: f64 = 3.0;

/// Everything there is, on the grid of the [`World`].
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// Real part: refractive index above the medium's. Imaginary part: dye.
    pub(super) matter: Volume<Complex<f32>>,
    /// Nucleus each voxel of the stack belongs to, from 1; 0 is none.
    pub(super) labels: Volume<u16>,
}

/// Puts the scene together.
pub(super) fn build(options: &Simulation, world: &World) -> Scene {
    let nuclei = nuclei::place(options, world);
    let layer = Layer::new(options, world, &nuclei);
    let mut blobs = organelles(options, world, &nuclei);
    blobs.extend(debris(options, world));
    let draw = Draw { options, world, nuclei: &nuclei, layer: &layer, blobs: &blobs };
    let near = draw.near();

    let plane = world.shape[1] * world.shape[2];
    let mut matter = Volume::filled(world.shape, Complex::new(0.0, 0.0));
    let mut owners = Volume::filled(world.shape, 0_u16);
    let planes = matter.voxels.par_chunks_mut(plane).zip(owners.voxels.par_chunks_mut(plane));
    planes.enumerate().for_each(|(z, (matter, owners))| draw.plane(z, &near, matter, owners));

    let labels = owners.crop(Region { start: world.margin, shape: options.shape });
    Scene { matter, labels: compact(labels) }
}

/// Numbers the labels that occur 1, 2, 3 … in the order of the old numbers.
fn compact(mut labels: Volume<u16>) -> Volume<u16> {
    let mut new = vec![0_u16; 1 + usize::from(u16::MAX)];
    for label in &labels.voxels {
        new[usize::from(*label)] = 1;
    }
    let mut count = 0;
    for entry in &mut new[1..] {
        count += *entry;
        *entry *= count;
    }
    new[0] = 0;
    for label in &mut labels.voxels {
        *label = new[usize::from(*label)];
    }
    labels
}

struct Draw<'a> {
    options: &'a Simulation,
    world: &'a World,
    nuclei: &'a [Nucleus],
    layer: &'a Layer,
    blobs: &'a [Blob],
}

impl Draw<'_> {
    /// The cells near each square of the (y, x) plane, row by row.
    fn near(&self) -> Vec<Vec<usize>> {
        let squares = [1, 2].map(|axis| self.world.shape[axis].div_ceil(SQUARE));
        let nearest = |square: usize| {
            let corner =
                [square / squares[1], square % squares[1]].map(|s| s * SQUARE + SQUARE / 2);
            let [_, y, x] = self.world.position_um([0, corner[0], corner[1]]);
            self.layer.nearest([y, x])
        };
        (0..squares[0] * squares[1]).into_par_iter().map(nearest).collect()
    }

    fn plane(
        &self,
        z: usize,
        near: &[Vec<usize>],
        matter: &mut [Complex<f32>],
        owners: &mut [u16],
    ) {
        let [_, rows, columns] = self.world.shape;
        let nearest = self.nearest(z);
        let squares = columns.div_ceil(SQUARE);
        for y in 0..rows {
            for x in 0..columns {
                let place = y * columns + x;
                let position = self.world.position_um([z, y, x]);
                let surroundings = || {
                    let near = &near[(y / SQUARE) * squares + x / SQUARE];
                    let cytoplasm = self.layer.at(position, near);
                    cytoplasm.map_or(Complex::new(0.0, 0.0), |cytoplasm| {
                        let glow = cytoplasm.glow * self.options.autofluorescence as f32;
                        Complex::new(cytoplasm.index, glow)
                    })
                };
                let (number, depth) = nearest[place];
                let Some(nucleus) = number.checked_sub(1).map(|n| &self.nuclei[usize::from(n)])
                else {
                    matter[place] = surroundings();
                    continue;
                };
                if depth < 1.0 {
                    owners[place] = number;
                }
                // A soft surface: hard voxel edges would show as steps in defocus.
                let below_surface_um = (1.0 - depth) * nucleus.mean_radius_um() as f32;
                let inside = smooth_step(-SOFT_UM, SOFT_UM, below_surface_um);
                let chromatin = nucleus.chromatin(position, below_surface_um);
                matter[place] = Complex::new(chromatin.index, chromatin.density) * inside;
                if inside < 1.0 {
                    matter[place] += surroundings() * (1.0 - inside);
                }
            }
        }
        self.blobs(z, matter);
    }

    /// The nucleus each voxel lies deepest in, from 1, and how deep; voxels a little
    /// outside count too.
    fn nearest(&self, z: usize) -> Vec<(u16, f32)> {
        let [_, rows, columns] = self.world.shape;
        let mut nearest = vec![(0, f32::MAX); rows * columns];
        for (nucleus, label) in self.nuclei.iter().zip(1..) {
            let Some([rows, across]) = self.footprint(z, nucleus.center_um, nucleus.reach_um)
            else {
                continue;
            };
            let outermost = 1.0 + SOFT_UM / nucleus.mean_radius_um() as f32;
            for y in rows {
                for x in across.clone() {
                    let place = &mut nearest[y * columns + x];
                    if let Some(depth) = nucleus.depth(self.world.position_um([z, y, x])) {
                        let depth = depth as f32;
                        if depth < outermost.min(place.1) {
                            *place = (label, depth);
                        }
                    }
                }
            }
        }
        nearest
    }

    /// Adds the refractive index of organelles and debris.
    fn blobs(&self, z: usize, matter: &mut [Complex<f32>]) {
        let spacing = self.options.spacing_um;
        for blob in self.blobs {
            // On a coarse grid a small blob is widened to be seen at all, and thinned as much.
            let sigma = spacing.map(|step| blob.sigma_um.max(0.6 * step));
            let thinned = sigma.iter().map(|s| blob.sigma_um / s).product::<f64>() * blob.index;
            let reach = sigma.into_iter().fold(0.0, f64::max) * BLOB_REACH;
            let Some([rows, across]) = self.footprint(z, blob.center_um, reach) else {
                continue;
            };
            let bell = |axis: usize, voxel: usize| {
                let place = (voxel as f64 - self.world.margin[axis] as f64) * spacing[axis];
                let part = (place - blob.center_um[axis]) / sigma[axis];
                (-0.5 * part * part).exp()
            };
            let across_bells: Vec<f64> = across.clone().map(|x| bell(2, x)).collect();
            let along = thinned * bell(0, z);
            for y in rows {
                let strength = along * bell(1, y);
                let row = y * self.world.shape[2];
                for (x, bell) in across.clone().zip(&across_bells) {
                    matter[row + x].re += (strength * bell) as f32;
                }
            }
        }
    }

    /// Rows and columns of plane `z` that a ball reaches.
    fn footprint(
        &self,
        z: usize,
        center_um: [f64; 3],
        reach_um: f64,
    ) -> Option<[std::ops::Range<usize>; 2]> {
        let height = self.world.position_um([z, 0, 0])[0] - center_um[0];
        if height.abs() > reach_um {
            return None;
        }
        let ranges = [1, 2].map(|axis| {
            let step = self.options.spacing_um[axis];
            let voxel = center_um[axis] / step + self.world.margin[axis] as f64;
            let size = self.world.shape[axis];
            // Negative numbers become 0 in the conversion.
            let start = ((voxel - reach_um / step).ceil() as usize).min(size);
            let stop = ((voxel + reach_um / step).floor() + 1.0) as usize;
            start..stop.min(size)
        });
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_keeps_order_and_background() {
        let labels = Volume::new([1, 1, 6], vec![0, 9, 4, 4, 0, 65_535]);
        assert_eq!(compact(labels).voxels, [0, 2, 1, 1, 0, 3]);
    }
}
