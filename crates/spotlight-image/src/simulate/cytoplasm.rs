//! All that surrounds the nuclei: cytoplasm, cell borders, organelles, debris.
//!
//! Each nucleus has a cell. Cells share the layer as a Voronoi diagram with wavy,
//! slanted borders; the layer is thinner at the borders. Organelles are small
//! Gaussian blobs of another refractive index. Except for the faint glow of
//! cytoplasm none of it fluoresces, but all of it shapes the transmitted light.

use super::nuclei::{Nucleus, REFERENCE_DIAMETER_UM, deepest};
use super::random::Random;
use super::texture::{Texture, smooth_step};
use super::{Simulation, World};

const CELLS: u64 = 3 << 32;
const ORGANELLES: u64 = 4 << 32;
const DEBRIS: u64 = 5 << 32;

/// Refractive index of cytoplasm above that of the medium.
const CYTOPLASM_INDEX: f32 = 0.018;

/// A point sees the borders between this many cells nearest to it.
const NEIGHBOURS: usize = 10;

/// The layer of cells without nuclei and organelles.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    cells: Vec<Cell>,
    middle_um: f64,
    half_um: f64,
    scale: f64,
    wobble: [Texture; 2],
    surface: [Texture; 2],
    rough: [Texture; 2],
}

#[derive(Clone, Debug)]
struct Cell {
    center_um: [f64; 2],
    /// µm that the cell leans along (y, x) for each µm of z.
    slant: [f64; 2],
    index: f32,
    glow: f32,
}

/// What the layer is made of at one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cytoplasm {
    /// Brightness of its own fluorescence; 1 is the mean over cells.
    pub(super) glow: f32,
    /// Refractive index above that of the medium.
    pub(super) index: f32,
}

/// A small round body with a Gaussian profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    /// Centre along (z, y, x).
    pub(super) center_um: [f64; 3],
    /// Standard deviation of the profile.
    pub(super) sigma_um: f64,
    /// Refractive index at the centre above that of the surroundings.
    pub(super) index: f64,
}

impl Layer {
    pub(super) fn new(options: &Simulation, world: &World, nuclei: &[Nucleus]) -> Self {
        let scale = options.nucleus_diameter_um / REFERENCE_DIAMETER_UM;
        let mut random = Random::new(options.seed, CELLS);
        let cells = nuclei.iter().map(|nucleus| Cell {
            // A nucleus seldom sits in the middle of its cell.
            center_um: [1, 2].map(|a| nucleus.center_um[a] + scale * random.normal()),
            slant: [0.35 * random.normal(), 0.35 * random.normal()],
            index: 1.0 + 0.08 * random.normal() as f32,
            glow: (1.0 + 0.35 * random.normal() as f32).max(0.3),
        });
        let cells = cells.collect();
        let texture = |stream: u64, size_um: f64| {
            Texture::isotropic(options.seed, CELLS + 1 + stream, size_um * scale)
        };
        Self {
            cells,
            middle_um: world.middle_um(),
            half_um: world.layer_half_um,
            scale,
            wobble: [texture(0, 3.0), texture(1, 3.0)],
            surface: [texture(2, 7.0), texture(3, 9.0)],
            rough: [texture(4, 0.75), texture(5, 2.4)],
        }
    }

    /// The cells nearest to a point (y, x), nearest first.
    pub(super) fn nearest(&self, position_um: [f64; 2]) -> Vec<usize> {
        let mut order: Vec<(f64, usize)> = self
            .cells
            .iter()
            .map(|cell| distance_squared(cell.center_um, position_um))
            .zip(0..)
            .collect();
        let count = NEIGHBOURS.min(order.len());
        if count < order.len() {
            order.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            order.truncate(count);
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        order.into_iter().map(|(_, number)| number).collect()
    }

    /// Cytoplasm at a point, given the cells near to it.
    pub(super) fn at(&self, position_um: [f64; 3], near: &[usize]) -> Option<Cytoplasm> {
        let height = position_um[0] - self.middle_um;
        if height.abs() > 1.5 * self.half_um {
            return None;
        }
        let wavy = [0, 1].map(|axis| {
            position_um[axis + 1] + 1.1 * self.scale * f64::from(self.wobble[axis].at(position_um))
        });
        let (owner, border_um) = self.owner(height, wavy, near);
        let edge = 1.0 - smooth_step(0.0, 2.5, border_um);
        let flat = [0.0, position_um[1], position_um[2]];
        let half = self.half_um as f32;
        let bottom = -half * (0.95 + 0.1 * self.surface[0].at(flat));
        let top = half * (0.95 + 0.2 * self.surface[1].at(flat) - 0.25 * edge);
        let height = height as f32;
        let inside = smooth_step(bottom - 0.25, bottom + 0.25, height)
            * (1.0 - smooth_step(top - 0.35, top + 0.35, height));
        if inside <= 0.0 {
            return None;
        }
        let cell = &self.cells[owner];
        let (fine, coarse) = (self.rough[0].at(position_um), self.rough[1].at(position_um));
        let membrane = 1.0 - smooth_step(0.15, 0.5, border_um);
        let index =
            CYTOPLASM_INDEX * cell.index + 0.005 * fine + 0.002 * coarse + 0.0035 * membrane;
        let glow = cell.glow * (1.0 + 0.35 * coarse + 0.2 * fine);
        Some(Cytoplasm { glow: glow * inside, index: index * inside })
    }

    /// The cell a point belongs to and its distance in µm to the border.
    fn owner(&self, height_um: f64, lateral_um: [f64; 2], near: &[usize]) -> (usize, f32) {
        let leaning = |number: usize| {
            let cell = &self.cells[number];
            [0, 1].map(|axis| cell.center_um[axis] + cell.slant[axis] * height_um)
        };
        let (mut first, mut second) = ((f64::MAX, 0), (f64::MAX, 0));
        for &number in near {
            let candidate = (distance_squared(leaning(number), lateral_um), number);
            if candidate.0 < first.0 {
                (first, second) = (candidate, first);
            } else if candidate.0 < second.0 {
                second = candidate;
            }
        }
        if second.0 == f64::MAX {
            return (first.1, f32::MAX);
        }
        let apart = distance_squared(leaning(first.1), leaning(second.1)).sqrt().max(1e-6);
        (first.1, ((second.0 - first.0) / (2.0 * apart)) as f32)
    }
}

fn distance_squared(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1])
}

/// One kind of organelle.
struct Kind {
    /// Number for each µm² of layer, at the reference size of nuclei.
    per_um2: f64,
    /// Smallest and largest standard deviation.
    sigma_um: [f64; 2],
    /// Smallest and largest refractive index above the cytoplasm's.
    index: [f64; 2],
    /// Most blobs in a row; more than one makes threads.
    links: usize,
    /// Size of the patches in which they gather.
    patches_um: f64,
}

const KINDS: [Kind; 4] = [
    // Granules and small vesicles.
    Kind { per_um2: 3.5, sigma_um: [0.11, 0.28], index: [0.007, 0.028], links: 1, patches_um: 3.5 },
    // Mitochondria.
    Kind { per_um2: 0.7, sigma_um: [0.16, 0.22], index: [0.01, 0.02], links: 12, patches_um: 6.0 },
    // Vacuoles, thinner than cytoplasm.
    Kind { per_um2: 0.06, sigma_um: [0.25, 0.7], index: [-0.02, -0.01], links: 1, patches_um: 8.0 },
    // Droplets of fat.
    Kind { per_um2: 0.05, sigma_um: [0.18, 0.42], index: [0.04, 0.08], links: 3, patches_um: 12.0 },
];

/// Organelles of the layer, outside all nuclei.
pub(super) fn organelles(options: &Simulation, world: &World, nuclei: &[Nucleus]) -> Vec<Blob> {
    let scale = options.nucleus_diameter_um / REFERENCE_DIAMETER_UM;
    let (low, high) = (world.low_um, world.high_um());
    let area = (high[1] - low[1]) * (high[2] - low[2]) / (scale * scale);
    let mut blobs = Vec::new();
    for (kind, stream) in KINDS.iter().zip(0..) {
        let mut random = Random::new(options.seed, ORGANELLES + stream);
        let patches =
            Texture::isotropic(options.seed, ORGANELLES + 100 + stream, kind.patches_um * scale);
        for _ in 0..(kind.per_um2 * area).round() as usize {
            let mut center = [
                world.middle_um() + world.layer_half_um * random.between(-0.85, 0.8),
                random.between(low[1], high[1]),
                random.between(low[2], high[2]),
            ];
            let crowding = smooth_step(-0.5, 0.5, patches.at(center));
            let sigma_um = random.between(kind.sigma_um[0], kind.sigma_um[1]) * scale;
            let index = random.between(kind.index[0], kind.index[1]);
            let links = 1 + random.below(kind.links);
            let mut heading = random.direction();
            let kept = random.unit() < f64::from(crowding);
            for _ in 0..links {
                if kept && deepest(nuclei, center).is_none() {
                    blobs.push(Blob { center_um: center, sigma_um, index });
                }
                let turn = random.direction();
                let flat = [0.5, 1.0, 1.0];
                heading = [0, 1, 2].map(|a| 0.8 * heading[a] + 0.5 * turn[a]);
                center = [0, 1, 2].map(|a| center[a] + 1.7 * sigma_um * flat[a] * heading[a]);
            }
        }
    }
    blobs
}

/// Clumps of debris that float above the layer or lie below it.
pub(super) fn debris(options: &Simulation, world: &World) -> Vec<Blob> {
    let scale = options.nucleus_diameter_um / REFERENCE_DIAMETER_UM;
    let (low, high) = (world.low_um, world.high_um());
    let area = (high[1] - low[1]) * (high[2] - low[2]) / (scale * scale);
    let mut random = Random::new(options.seed, DEBRIS);
    let mut blobs = Vec::new();
    for _ in 0..(options.debris_per_100_um2 * area / 100.0).round() as usize {
        let away = world.layer_half_um * random.between(1.05, 1.7);
        let above = random.unit() < 0.75;
        let center = [
            world.middle_um() + if above { away } else { -away },
            random.between(low[1], high[1]),
            random.between(low[2], high[2]),
        ];
        let size = random.between(0.4, 1.3) * scale;
        for _ in 0..2 + random.below(7) {
            let offset = random.direction().map(|o| o * size * random.unit());
            blobs.push(Blob {
                center_um: [0, 1, 2].map(|axis| center[axis] + offset[axis]),
                sigma_um: size * random.between(0.25, 0.6),
                index: random.between(0.01, 0.04),
            });
        }
    }
    blobs
}
