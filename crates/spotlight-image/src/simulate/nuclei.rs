//! Nuclei: deformed ellipsoids in a monolayer, and the chromatin within.
//!
//! A nucleus is an ellipsoid whose radius is modulated by a few low-degree
//! spherical harmonics. Neighbours may be thrown so near that their ellipsoids
//! would intersect a little; each point then belongs to the nucleus it lies
//! deepest in, which flattens the contact as in pressed cells.

use super::random::Random;
use super::texture::{Texture, smooth_step};
use super::{Simulation, World};

/// Diameter in µm of the nuclei to which the sizes in this file belong.
pub(super) const REFERENCE_DIAMETER_UM: f64 = 12.0;

/// Streams of random numbers, apart from those of other files.
const PLACEMENT: u64 = 1 << 32;
const CHROMATIN: u64 = 2 << 32;

/// Neighbours keep at least this part of the sum of their radii.
const CLOSEST: f64 = 0.93;

/// Darts thrown for each nucleus wanted before the layer counts as full.
const DARTS: usize = 60;

/// One nucleus.
#[derive(Clone, Debug)]
pub(super) struct Nucleus {
    /// Centre along (z, y, x).
    pub(super) center_um: [f64; 3],
    /// Semi-axes of the undeformed ellipsoid.
    pub(super) radii_um: [f64; 3],
    /// No point further from the centre belongs to the nucleus.
    pub(super) reach_um: f64,
    /// Whether the chromatin is condensed into a metaphase plate.
    pub(super) mitotic: bool,
    /// Rows are the semi-axes' directions.
    axes: [[f64; 3]; 3],
    /// Direction and strengths of Legendre polynomials of degree 2 and 3.
    harmonics: [([f64; 3], [f64; 2]); 4],
    /// Mean density of the dye.
    brightness: f32,
    /// Centre in the nucleus's own axes, and radius.
    nucleoli: Vec<([f64; 3], f64)>,
    coarse: Texture,
    fine: Texture,
}

/// What a nucleus is made of at one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chromatin {
    /// Density of the dye; 1 is the mean of an ordinary nucleus.
    pub(super) density: f32,
    /// Refractive index above that of the medium.
    pub(super) index: f32,
}

impl Nucleus {
    /// Offset of a point from the centre, in µm along the nucleus's own axes.
    fn own(&self, position_um: [f64; 3]) -> [f64; 3] {
        let offset = [0, 1, 2].map(|axis| position_um[axis] - self.center_um[axis]);
        self.axes.map(|axis| axis[0] * offset[0] + axis[1] * offset[1] + axis[2] * offset[2])
    }

    /// 0 at the centre, 1 on the surface; `None` for points out of reach.
    pub(super) fn depth(&self, position_um: [f64; 3]) -> Option<f64> {
        let own = self.own(position_um);
        let square: f64 = own.iter().map(|o| o * o).sum();
        if square > self.reach_um * self.reach_um {
            return None;
        }
        let scaled = [0, 1, 2].map(|axis| own[axis] / self.radii_um[axis]);
        let length = scaled.iter().map(|s| s * s).sum::<f64>().sqrt();
        if length == 0.0 {
            return Some(0.0);
        }
        let mut radius = 1.0;
        for (direction, [second, third]) in &self.harmonics {
            let c = (0..3).map(|axis| direction[axis] * scaled[axis]).sum::<f64>() / length;
            radius += second * (1.5 * c * c - 0.5) + third * (2.5 * c * c - 1.5) * c;
        }
        Some(length / radius)
    }

    /// Radius of the ball with the volume of the undeformed ellipsoid.
    pub(super) fn mean_radius_um(&self) -> f64 {
        self.radii_um.iter().product::<f64>().cbrt()
    }

    /// Dye and refractive index at a point so far below the surface.
    pub(super) fn chromatin(&self, position_um: [f64; 3], below_surface_um: f32) -> Chromatin {
        let own = self.own(position_um);
        let (coarse, fine) = (self.coarse.at(own), self.fine.at(own));
        if self.mitotic {
            let density = self.brightness * (1.0 + 0.35 * fine);
            return Chromatin { density, index: 0.024 + 0.004 * fine };
        }
        let rim = 1.0 - smooth_step(0.2, 0.9, below_surface_um);
        let clumps = smooth_step(0.15, 0.7, 0.7 * coarse + 0.6 * fine + 0.25 * rim);
        let mut density = 0.62 + 0.22 * coarse + 0.18 * fine + 1.3 * clumps + 0.3 * rim;
        // Inside, nucleoplasm is thinner than cytoplasm and smoother.
        let mut index = 0.0115 + 0.002 * clumps + 0.001 * fine;
        for (center, radius) in &self.nucleoli {
            let distance = [0, 1, 2].map(|a| own[a] - center[a]).map(|d| d * d).iter().sum::<f64>();
            let part = (distance.sqrt() / radius) as f32 + 0.12 * fine;
            let inside = 1.0 - smooth_step(0.85, 1.1, part);
            let ring = smooth_step(0.9, 1.1, part) * (1.0 - smooth_step(1.15, 1.45, part));
            density = density * (1.0 - 0.8 * inside) + 0.5 * ring;
            index += 0.011 * inside;
        }
        // The envelope: a thin dense shell.
        index += 0.005 * (1.0 - smooth_step(0.15, 0.45, below_surface_um));
        Chromatin { density: self.brightness * density.max(0.05), index }
    }

    /// Reach of the lateral outline along a direction (y, x) of length 1.
    fn outline_um(&self, [y, x]: [f64; 2]) -> f64 {
        let scaled = [0, 1, 2]
            .map(|axis| (self.axes[axis][1] * y + self.axes[axis][2] * x) / self.radii_um[axis]);
        1.0 / scaled.iter().map(|s| s * s).sum::<f64>().sqrt()
    }
}

/// The nucleus a point lies deepest in, and how deep.
pub(super) fn deepest(nuclei: &[Nucleus], position_um: [f64; 3]) -> Option<(usize, f64)> {
    let mut best = None;
    let mut best_depth = 1.0;
    for (number, nucleus) in nuclei.iter().enumerate() {
        if let Some(depth) = nucleus.depth(position_um)
            && depth < best_depth
        {
            (best, best_depth) = (Some((number, depth)), depth);
        }
    }
    best
}

/// Fills the layer with nuclei: the first near the middle of the stack, then
/// half of them against a neighbour and half anywhere.
pub(super) fn place(options: &Simulation, world: &World) -> Vec<Nucleus> {
    let mut random = Random::new(options.seed, PLACEMENT);
    let radius = options.nucleus_diameter_um / 2.0;
    let low = [1, 2].map(|axis| world.low_um[axis] - radius);
    let high = [1, 2].map(|axis| world.high_um()[axis] + radius);
    let area = (high[0] - low[0]) * (high[1] - low[1]);
    let wanted = (options.coverage * area / (std::f64::consts::PI * radius * radius)).ceil();
    let wanted = (wanted as usize).clamp(1, usize::from(u16::MAX));

    let first = [1, 2].map(|axis| {
        let size = world.stack_um[axis];
        // In a stack hardly wider than a nucleus, off the middle: it keeps a background.
        let part = if size < 4.0 * radius { 0.3 } else { random.between(0.3, 0.7) };
        part * size
    });
    let mut nuclei = vec![nucleus(options, world, &mut random, 0, first)];
    for _ in 0..DARTS * wanted {
        if nuclei.len() >= wanted {
            break;
        }
        let anywhere = [0, 1].map(|axis| random.between(low[axis], high[axis]));
        let mut candidate = nucleus(options, world, &mut random, nuclei.len(), anywhere);
        if random.unit() < 0.5 {
            let neighbour = &nuclei[random.below(nuclei.len())];
            let side = random.direction();
            let length = (side[1] * side[1] + side[2] * side[2]).sqrt().max(1e-3);
            let side = [side[1] / length, side[2] / length];
            let near = neighbour.outline_um(side) + candidate.outline_um(side);
            let distance = near * random.between(CLOSEST, 1.08);
            candidate.center_um[1] = neighbour.center_um[1] + side[0] * distance;
            candidate.center_um[2] = neighbour.center_um[2] + side[1] * distance;
        }
        let inside =
            (0..2).all(|axis| (low[axis]..high[axis]).contains(&candidate.center_um[axis + 1]));
        if inside && nuclei.iter().all(|other| apart(&candidate, other)) {
            nuclei.push(candidate);
        }
    }
    nuclei
}

fn apart(one: &Nucleus, other: &Nucleus) -> bool {
    let offset = [1, 2].map(|axis| one.center_um[axis] - other.center_um[axis]);
    let distance = (offset[0] * offset[0] + offset[1] * offset[1]).sqrt();
    if distance > one.reach_um + other.reach_um {
        return true;
    }
    let side = offset.map(|o| o / distance.max(1e-6));
    distance >= CLOSEST * (one.outline_um(side) + other.outline_um(side))
}

fn nucleus(
    options: &Simulation,
    world: &World,
    random: &mut Random,
    number: usize,
    lateral_um: [f64; 2],
) -> Nucleus {
    let scale = options.nucleus_diameter_um / REFERENCE_DIAMETER_UM;
    let mitotic = random.unit() < options.mitotic_fraction && number > 0;
    let half = options.nucleus_diameter_um / 2.0;
    let size = (1.0 + 0.09 * random.normal()).clamp(0.82, 1.2);
    let elongation = random.between(0.98, 1.16);
    let height = options.nucleus_height_um / 2.0 * (1.0 + 0.1 * random.normal()).clamp(0.8, 1.2);
    let mut radii_um = [height, half * size / elongation, half * size * elongation];
    if mitotic {
        radii_um = [0.6 * half, 0.29 * half, 0.78 * half].map(|r| r * size);
    }
    let (roughness, tilt) = if mitotic { (0.4, 0.5) } else { (1.0, 0.2) };
    let axes = axes(random.between(0.0, std::f64::consts::TAU), tilt * random.normal());
    let harmonics = std::array::from_fn(|_| {
        let strength = [0.036, 0.042].map(|s| roughness * s * random.normal());
        (random.direction(), strength.map(|s| s.clamp(-0.07, 0.07)))
    });
    let nucleoli = (0..1 + random.below(4)).map(|_| {
        let direction = random.direction();
        let out = random.between(0.1, 0.6);
        let center = [0, 1, 2].map(|axis| direction[axis] * out * radii_um[axis]);
        (center, random.between(0.8, 1.7) * scale)
    });
    let nucleoli = nucleoli.collect();
    let cycle = if random.unit() < 0.25 { 1.55 } else { 1.0 };
    let brightness = cycle * (1.0 + 0.2 * random.normal()).clamp(0.6, 1.5);
    let jitter = (0.1 * random.normal()).clamp(-0.22, 0.22) * options.nucleus_height_um;
    let texture = |stream: u64, size_um: f64| {
        Texture::isotropic(options.seed, CHROMATIN + 2 * number as u64 + stream, size_um * scale)
    };
    let largest = radii_um.into_iter().fold(0.0, f64::max);
    Nucleus {
        center_um: [world.middle_um() + jitter, lateral_um[0], lateral_um[1]],
        radii_um,
        // Four harmonics of each degree, each at most 0.07.
        reach_um: largest * 1.56,
        mitotic,
        axes,
        harmonics,
        brightness: (brightness * if mitotic { 2.6 } else { 1.0 }) as f32,
        nucleoli,
        coarse: texture(0, 1.9),
        fine: texture(1, 0.8),
    }
}

/// Axes turned by `turn` in the plane, then the third tilted out of it by `tilt`.
fn axes(turn: f64, tilt: f64) -> [[f64; 3]; 3] {
    let tilt = tilt.clamp(-0.5, 0.5);
    let (sin, cos) = turn.sin_cos();
    let (tilt_sin, tilt_cos) = tilt.sin_cos();
    [
        [tilt_cos, -tilt_sin * sin, -tilt_sin * cos],
        [0.0, cos, -sin],
        [tilt_sin, tilt_cos * sin, tilt_cos * cos],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_orthonormal() {
        for (turn, tilt) in [(0.0, 0.0), (1.0, 0.3), (4.0, -0.4)] {
            let axes = axes(turn, tilt);
            for i in 0..3 {
                for j in 0..3 {
                    let product: f64 = (0..3).map(|k| axes[i][k] * axes[j][k]).sum();
                    let want = f64::from(u8::from(i == j));
                    assert!((product - want).abs() < 1e-12, "{i} {j} {product}");
                }
            }
        }
    }

    #[test]
    fn first_nucleus_lies_in_the_stack_and_none_intersect_far() {
        for seed in 0..5 {
            let options = Simulation { seed, ..Simulation::default() };
            let world = World::new(&options);
            let nuclei = place(&options, &world);
            assert!(nuclei.len() > 20, "{}", nuclei.len());
            for axis in 0..3 {
                assert!((0.0..world.stack_um[axis]).contains(&nuclei[0].center_um[axis]));
            }
            for (number, one) in nuclei.iter().enumerate() {
                // Every centre belongs to its own nucleus.
                let (owner, depth) = deepest(&nuclei, one.center_um).unwrap();
                assert_eq!((owner, depth), (number, 0.0));
            }
        }
    }
}
