//! [`Voxel`]: the number types that voxels may have.

/// A number type that an image may be stored in.
///
/// All arithmetic is done in f64; this is the way there and back.
pub trait Voxel: Copy + PartialOrd + Send + Sync + 'static {
    /// Whether the type holds whole numbers only.
    const WHOLE: bool;

    /// The voxel as f64, without loss.
    fn to_f64(self) -> f64;

    /// The nearest value of the type: whole numbers are rounded half away from zero and
    /// clipped to the range of the type, as SciPy does; NaN becomes 0 in them.
    fn from_f64(value: f64) -> Self;
}

macro_rules! whole {
    ($($t:ty),*) => {$(
        impl Voxel for $t {
            const WHOLE: bool = true;
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn from_f64(value: f64) -> Self {
                value.round() as Self
            }
        }
    )*};
}

macro_rules! real {
    ($($t:ty),*) => {$(
        impl Voxel for $t {
            const WHOLE: bool = false;
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn from_f64(value: f64) -> Self {
                value as Self
            }
        }
    )*};
}

whole!(u8, i8, u16, i16, u32, i32);
real!(f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_round_half_away_and_clip() {
        assert_eq!([0.5, 1.4, 255.6, -3.0].map(u8::from_f64), [1, 1, 255, 0]);
        assert_eq!([-0.5, -1.4, 1e9, -1e9].map(i16::from_f64), [-1, -1, i16::MAX, i16::MIN]);
    }
}
