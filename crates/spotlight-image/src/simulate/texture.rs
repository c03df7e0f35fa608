//! Smooth random fields: values on a lattice, joined by smooth interpolation.
//!
//! A field is a function of the position, computed where it is asked for, so it
//! needs no memory and is the same for every order of evaluation.
//!
//! Reference: K. Perlin (1985), "An image synthesizer".

use super::random::mix;

/// A smooth random function of the position with mean 0 and values in (-1, 1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Texture {
    seed: u64,
    /// Cells of the lattice per µm along (z, y, x).
    frequency: [f64; 3],
}

impl Texture {
    /// A field whose features are `size_um` large along (z, y, x).
    pub(super) fn new(seed: u64, stream: u64, size_um: [f64; 3]) -> Self {
        Self { seed: mix(seed ^ mix(stream)), frequency: size_um.map(|size| 1.0 / size) }
    }

    /// A field with features of the same size along all axes.
    pub(super) fn isotropic(seed: u64, stream: u64, size_um: f64) -> Self {
        Self::new(seed, stream, [size_um; 3])
    }

    /// Value at a position in µm.
    pub(super) fn at(&self, position_um: [f64; 3]) -> f32 {
        let mut low = [0_i64; 3];
        let mut weight = [0_f32; 3];
        for axis in 0..3 {
            let place = position_um[axis] * self.frequency[axis];
            let floor = place.floor();
            let part = (place - floor) as f32;
            low[axis] = floor as i64;
            weight[axis] = part * part * (3.0 - 2.0 * part);
        }
        let plane = |z: i64| {
            let row = |y: i64| {
                let key = self.row_key(z, y);
                let (left, right) = (corner(key, low[2]), corner(key, low[2] + 1));
                left + (right - left) * weight[2]
            };
            let (near, far) = (row(low[1]), row(low[1] + 1));
            near + (far - near) * weight[1]
        };
        let (bottom, top) = (plane(low[0]), plane(low[0] + 1));
        bottom + (top - bottom) * weight[0]
    }

    fn row_key(&self, z: i64, y: i64) -> u64 {
        let [z, y] = [z, y].map(i64::cast_unsigned);
        self.seed
            ^ z.wrapping_mul(0x8CB9_2BA7_2F3D_8DD7)
            ^ y.wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(23)
    }
}

/// Value of a lattice point, uniform in [-1, 1).
fn corner(row_key: u64, x: i64) -> f32 {
    let bits = mix(row_key ^ x.cast_unsigned().wrapping_mul(0xA076_1D64_78BD_642F));
    // 24 bits fill the mantissa exactly: no rounding, the same on every machine.
    (bits >> 40) as f32 * (2.0 / (1_u32 << 24) as f32) - 1.0
}

/// 0 below `low`, 1 above `high`, a smooth rise between.
pub(super) fn smooth_step(low: f32, high: f32, value: f32) -> f32 {
    let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
    part * part * (3.0 - 2.0 * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texture_is_smooth_centred_and_seeded() {
        let texture = Texture::isotropic(5, 0, 2.0);
        let values: Vec<f32> = (0..4000).map(|i| texture.at([0.3, 1.7, 0.05 * i as f64])).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.15, "{mean}");
        assert!(values.iter().all(|value| value.abs() <= 1.0));
        let jump = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        // The steepest rise is 1.5 times the largest difference over one cell.
        assert!(jump <= 1.5 * 2.0 * 0.025 + 1e-6, "{jump}");
        assert_ne!(texture.at([1.0; 3]), Texture::isotropic(6, 0, 2.0).at([1.0; 3]));
    }

    #[test]
    fn smooth_step_ends() {
        assert_eq!(smooth_step(1.0, 2.0, 0.5), 0.0);
        assert_eq!(smooth_step(1.0, 2.0, 1.5), 0.5);
        assert_eq!(smooth_step(1.0, 2.0, 3.0), 1.0);
    }
}
