//! How light makes images of the scene.
//!
//! Transmitted light is brightfield with a partly open condenser. The cells change
//! the light little, so the image is linear in their refractive index (the weak
//! object approximation): a convolution whose transfer function has a closed
//! sum over the points of the condenser. For a source point ν and a structure of
//! lateral frequency f, the scattered wave runs ahead of the direct one by
//! w(ν + f) - w(ν) cycles for each µm of defocus, with w(ν) = √((n/λ)² - |ν|²).
//! Interference turns this into contrast that is odd in the defocus for phase
//! and even for absorption: nothing in focus, opposite signs above and below.
//!
//! Fluorescence is a convolution with a narrow Gaussian, longer in z, plus a
//! wide one: the haze of light from out of focus.
//!
//! References:
//! - N. Streibl (1985), "Three-dimensional imaging by a microscope".
//! - M. H. Jenkins and T. K. Gaylord (2015), "Three-dimensional quantitative phase
//!   imaging via tomographic deconvolution phase microscopy", section 2.
//! - B. Zhang, J. Zerubia and J.-C. Olivo-Marin (2007), "Gaussian approximations
//!   of fluorescence microscope point-spread function models".

use super::fourier::{convolve_parts, frequency};
use super::scene::Scene;
use super::{Simulation, World};
use crate::{Region, Volume};
use rustfft::num_complex::Complex;
use std::f64::consts::{PI, TAU};

/// Wavelength of the transmitted light.
const WAVELENGTH_UM: f64 = 0.55;
/// Refractive index of the medium.
const MEDIUM: f64 = 1.337;
/// Points across the condenser's aperture.
const SOURCE_POINTS: i32 = 61;
/// Steps of the lateral frequency in the table of the transfer function.
const LATERAL_STEPS: usize = 384;
/// Light lost out of the aperture, as a part of the phase delay.
const ABSORPTION: f64 = 0.08;

/// Images without noise, on the grid of the stack.
#[derive(Clone, Debug)]
pub(super) struct Images {
    /// Transmitted light; 1 where there is no object.
    pub(super) transmitted: Volume<f32>,
    /// Fluorescence; 1 is the density of dye in an ordinary nucleus.
    pub(super) fluorescence: Volume<f32>,
}

/// Images the scene.
pub(super) fn image(options: &Simulation, world: &World, scene: Scene) -> Images {
    let bright = Brightfield::new(options, world);
    let sharp = Gaussian::new(world, options.spacing_um, options.blur_um);
    let wide = Gaussian::new(world, options.spacing_um, options.haze_um);
    let haze = options.haze as f32;
    let images = convolve_parts(scene.matter, |y, x, z| {
        let blur = (1.0 - haze) * sharp.at(y, x, z) + haze * wide.at(y, x, z);
        (bright.at(y, x, z), Complex::new(blur, 0.0))
    });
    let images = images.crop(Region { start: world.margin, shape: options.shape });
    Images {
        // Far from weak, a dense speck would turn the light negative.
        transmitted: images.map(|value| (1.0 + value.re).max(0.03)),
        fluorescence: images.map(|value| value.im.max(0.0)),
    }
}

/// Transform of a Gaussian, the product of three factors.
struct Gaussian {
    factors: [Vec<f32>; 3],
}

impl Gaussian {
    fn new(world: &World, spacing_um: [f64; 3], sigma_um: [f64; 3]) -> Self {
        let factors = [0, 1, 2].map(|axis| {
            let length = world.shape[axis];
            let factor = |k: usize| {
                let cycles = sigma_um[axis] * frequency(k, length, spacing_um[axis]);
                (-2.0 * PI * PI * cycles * cycles).exp() as f32
            };
            (0..length).map(factor).collect()
        });
        Self { factors }
    }

    fn at(&self, y: usize, x: usize, z: usize) -> f32 {
        self.factors[0][z] * self.factors[1][y] * self.factors[2][x]
    }
}

/// Transfer function from refractive index to the contrast of brightfield.
struct Brightfield {
    /// By lateral frequency, then by coefficient along z.
    table: Vec<Complex<f32>>,
    depth: usize,
    steps_per_cycle: f64,
    /// Frequencies along y and x.
    lateral: [Vec<f64>; 2],
}

impl Brightfield {
    fn new(options: &Simulation, world: &World) -> Self {
        let depth = world.shape[0];
        let lateral = [1, 2].map(|axis| {
            let length = world.shape[axis];
            (0..length).map(|k| frequency(k, length, options.spacing_um[axis])).collect::<Vec<_>>()
        });
        let largest =
            lateral.each_ref().map(|values| values.iter().fold(0.0, |m: f64, v| m.max(v.abs())));
        let largest = (largest[0] * largest[0] + largest[1] * largest[1]).sqrt();
        // Above this no light passes, so a finer table of the rest is better.
        let cutoff = (options.objective_aperture + options.condenser_aperture) / WAVELENGTH_UM;
        let steps_per_cycle = (LATERAL_STEPS - 1) as f64 / largest.min(cutoff).max(1e-6);
        // Delay in radians of one voxel for each unit of refractive index.
        let delay = TAU / WAVELENGTH_UM * options.spacing_um[0];
        let mut table = Vec::with_capacity(LATERAL_STEPS * depth);
        for step in 0..LATERAL_STEPS {
            let line = interference(options, step as f64 / steps_per_cycle, depth);
            for z in 0..depth {
                let (here, mirror) = (line[z], line[(depth - z) % depth]);
                let phase = here - mirror;
                let absorption = -ABSORPTION * (here + mirror);
                let value = Complex::new(absorption * delay, phase * delay);
                table.push(Complex::new(value.re as f32, value.im as f32));
            }
        }
        Self { table, depth, steps_per_cycle, lateral }
    }

    fn at(&self, y: usize, x: usize, z: usize) -> Complex<f32> {
        let (fy, fx) = (self.lateral[0][y], self.lateral[1][x]);
        let place = (fy * fy + fx * fx).sqrt() * self.steps_per_cycle;
        let step = place as usize;
        let entry = |step: usize| {
            if step < LATERAL_STEPS {
                self.table[step * self.depth + z]
            } else {
                Complex::new(0.0, 0.0)
            }
        };
        let (low, high) = (entry(step), entry(step + 1));
        low + (high - low) * (place - step as f64) as f32
    }
}

/// Strength of the interference by axial frequency, for one lateral frequency.
///
/// Each source point contributes at one axial frequency; it is shared between
/// the two nearest coefficients, which lets the kernel fade out towards the ends
/// of the stack instead of wrapping around.
fn interference(options: &Simulation, lateral: f64, depth: usize) -> Vec<f64> {
    let wave = MEDIUM / WAVELENGTH_UM;
    let condenser = options.condenser_aperture.min(0.98 * MEDIUM) / WAVELENGTH_UM;
    let objective = options.objective_aperture.min(0.98 * MEDIUM) / WAVELENGTH_UM;
    let axial = |square: f64| (wave * wave - square).max(0.0).sqrt();
    let length_um = depth as f64 * options.spacing_um[0];
    let half = (SOURCE_POINTS - 1) / 2;
    let mut line = vec![0.0; depth];
    let mut points = 0.0;
    for row in -half..=half {
        for column in -half..=half {
            let [y, x] = [row, column].map(|p| condenser * f64::from(p) / (f64::from(half) + 0.5));
            if y * y + x * x > condenser * condenser {
                continue;
            }
            points += 1.0;
            let scattered = y * y + (x + lateral) * (x + lateral);
            if scattered > objective * objective {
                continue;
            }
            let place = (axial(scattered) - axial(y * y + x * x)) * length_um;
            if place.abs() >= depth as f64 / 2.0 {
                continue;
            }
            let low = place.floor();
            for (coefficient, weight) in [(low, low + 1.0 - place), (low + 1.0, place - low)] {
                line[(coefficient as i64).rem_euclid(depth as i64).cast_unsigned() as usize] +=
                    weight;
            }
        }
    }
    // A coefficient of the discrete transform holds the sum over the planes.
    line.iter().map(|value| value * depth as f64 / points).collect()
}
