//! Paired stacks with known truth, from a seed.
//!
//! A layer of cells is laid out in µm, drawn on a grid, imaged by a brightfield
//! and by a fluorescence microscope, and photographed with noise. The transmitted
//! light shows all that bends light: nuclei, but also cytoplasm, organelles,
//! cell borders and debris. The fluorescence shows the dye in the chromatin, its
//! haze, and a background that has no counterpart in the transmitted light. So
//! the one can be learnt from the other, but not perfectly.
//!
//! The same options give the same bytes, whatever the number of threads.

mod camera;
mod cytoplasm;
mod fourier;
mod nuclei;
mod optics;
pub(crate) mod random;
mod scene;
mod texture;

use crate::{Shape, Volume};

/// What to simulate. Lengths are in µm, axes are (z, y, x).
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// Voxels along (z, y, x).
    pub shape: Shape,
    /// Distance between voxels along (z, y, x).
    pub spacing_um: [f64; 3],
    /// Chooses the cells, their positions and the noise.
    pub seed: u64,
    /// Mean lateral diameter of a nucleus. All that a cell consists of scales with it.
    pub nucleus_diameter_um: f64,
    /// Mean extent of a nucleus along z.
    pub nucleus_height_um: f64,
    /// Part of the layer's area that nuclei cover, up to about 0.6.
    pub coverage: f64,
    /// Part of the nuclei that are condensed into a bright metaphase plate.
    pub mitotic_fraction: f64,
    /// Clumps of debris for each 100 µm² of layer; debris does not fluoresce.
    pub debris_per_100_um2: f64,
    /// Numerical aperture of the objective for transmitted light.
    pub objective_aperture: f64,
    /// Numerical aperture of the condenser: the smaller, the more coherent the light.
    pub condenser_aperture: f64,
    /// Photons of transmitted light per voxel where there is no object. The camera
    /// saturates at 16,000.
    pub transmitted_photons: f64,
    /// Standard deviations of the fluorescence microscope's sharp blur.
    pub blur_um: [f64; 3],
    /// Standard deviations of the haze from out of focus.
    pub haze_um: [f64; 3],
    /// Part of the fluorescence that goes into the haze.
    pub haze: f64,
    /// Fluorescence of cytoplasm, as a part of that of a nucleus.
    pub autofluorescence: f64,
    /// Photons per voxel from the dye of an ordinary nucleus. The camera saturates at
    /// 8,000.
    pub fluorescence_photons: f64,
    /// Photons per voxel of background in the fluorescence.
    pub background_photons: f64,
    /// Typical rise of the background across the stack, as a part of its mean.
    pub background_gradient: f64,
    /// Strength of clouds in the background, as a part of its mean.
    pub background_structure: f64,
    /// Standard deviation of the camera's read noise, in photons.
    pub read_noise: f64,
}

impl Default for Simulation {
    fn default() -> Self {
        Self {
            shape: [64, 256, 256],
            spacing_um: [0.29; 3],
            seed: 0,
            nucleus_diameter_um: 11.5,
            nucleus_height_um: 8.0,
            coverage: 0.48,
            mitotic_fraction: 0.03,
            debris_per_100_um2: 0.5,
            objective_aperture: 1.2,
            condenser_aperture: 0.35,
            transmitted_photons: 1500.0,
            blur_um: [0.6, 0.17, 0.17],
            haze_um: [2.6, 1.7, 1.7],
            haze: 0.4,
            autofluorescence: 0.05,
            fluorescence_photons: 14.0,
            background_photons: 6.0,
            background_gradient: 0.3,
            background_structure: 0.5,
            read_noise: 1.2,
        }
    }
}

/// A pair of stacks of one scene, with its truth.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedPair {
    /// Brightfield, in grey levels.
    pub transmitted: Volume<u16>,
    /// Fluorescence of the stained chromatin, in grey levels.
    pub fluorescence: Volume<u16>,
    /// Nucleus each voxel belongs to, numbered 1, 2, 3 …; 0 is none.
    pub labels: Volume<u16>,
    /// Distance between voxels along (z, y, x).
    pub spacing_um: [f64; 3],
}

/// Simulates a pair of stacks and the nuclei in them.
///
/// The layer of cells lies in the middle of the stack along z and goes on beyond
/// its sides. At least one nucleus has its centre in the stack. A stack smaller
/// than a nucleus shows a part of one: whole sections if it is only thin, and in
/// the extreme nothing but the inside of a nucleus.
///
/// # Panics
///
/// If an axis has no voxel, or a spacing or the size of a nucleus is not a
/// positive number.
///
/// # Examples
///
/// ```
/// use spotlight_image::simulate::{Simulation, simulate};
///
/// let options = Simulation { shape: [16, 32, 32], seed: 1, ..Simulation::default() };
/// let pair = simulate(&options);
/// assert_eq!(pair.transmitted.shape, [16, 32, 32]);
/// assert!(pair.labels.voxels.contains(&1));
/// assert_eq!(pair, simulate(&options));
/// ```
#[must_use]
pub fn simulate(options: &Simulation) -> SimulatedPair {
    let lengths = [options.nucleus_diameter_um, options.nucleus_height_um];
    let positive = |length: &f64| length.is_finite() && *length > 0.0;
    assert!(options.shape.iter().all(|size| *size > 0), "no voxels in {:?}", options.shape);
    assert!(options.spacing_um.iter().all(positive), "spacing {:?}", options.spacing_um);
    assert!(lengths.iter().all(positive), "nuclei of {lengths:?} µm");

    let world = World::new(options);
    let scene = scene::build(options, &world);
    let labels = scene.labels.clone();
    let images = optics::image(options, &world, scene);
    SimulatedPair {
        transmitted: camera::transmitted(options, &world, &images),
        fluorescence: camera::fluorescence(options, &world, &images),
        labels,
        spacing_um: options.spacing_um,
    }
}

/// The grid of the scene: the stack and a margin, for what lies beyond its sides
/// shapes its images.
#[derive(Clone, Debug)]
struct World {
    /// Voxels along (z, y, x), lengths that transform fast.
    shape: Shape,
    /// First voxel of the stack.
    margin: [usize; 3],
    spacing_um: [f64; 3],
    /// Position of the first voxel; the stack's first voxel is at 0.
    low_um: [f64; 3],
    /// Size of the stack.
    stack_um: [f64; 3],
    /// Half the thickness of the layer of cells.
    layer_half_um: f64,
}

impl World {
    fn new(options: &Simulation) -> Self {
        let scale = options.nucleus_diameter_um / nuclei::REFERENCE_DIAMETER_UM;
        let stack_um = [0, 1, 2].map(|a| options.shape[a] as f64 * options.spacing_um[a]);
        let layer_half_um = 0.5 * options.nucleus_height_um + 1.3 * scale;
        // Along z the whole layer must fit in, with debris and room for the kernels.
        let beyond = 1.8 * layer_half_um + 1.5 - stack_um[0] / 2.0;
        let margin_um = [beyond.max(3.0), 3.0, 3.0];
        let margin = [0, 1, 2].map(|a| (margin_um[a] / options.spacing_um[a]).ceil() as usize);
        Self {
            shape: [0, 1, 2].map(|a| fourier::fast_length(options.shape[a] + 2 * margin[a])),
            margin,
            spacing_um: options.spacing_um,
            low_um: [0, 1, 2].map(|a| -(margin[a] as f64) * options.spacing_um[a]),
            stack_um,
            layer_half_um,
        }
    }

    fn position_um(&self, voxel: [usize; 3]) -> [f64; 3] {
        [0, 1, 2].map(|axis| self.low_um[axis] + voxel[axis] as f64 * self.spacing_um[axis])
    }

    fn high_um(&self) -> [f64; 3] {
        self.position_um(self.shape)
    }

    /// Height of the middle of the layer.
    fn middle_um(&self) -> f64 {
        self.stack_um[0] / 2.0
    }
}

#[cfg(test)]
mod tests;
