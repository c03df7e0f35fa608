//! [`Voxels`]: the numbers of a file in the type the file stores, and what is read of it.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use spotlight_image::Volume;
use spotlight_image::grid::{Region, Shape};

/// The type of a file's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the types")]
pub enum SampleType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

impl SampleType {
    /// Bytes of one number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Whether the numbers are integers.
    #[must_use]
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::F32 | Self::F64)
    }

    /// `NumPy`'s name of the type, such as `uint16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A z-stack in the type of its file, so that nothing is lost by reading.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are the types")]
pub enum Voxels {
    U8(Volume<u8>),
    I8(Volume<i8>),
    U16(Volume<u16>),
    I16(Volume<i16>),
    U32(Volume<u32>),
    I32(Volume<i32>),
    F32(Volume<f32>),
    F64(Volume<f64>),
}

/// Evaluates an expression on the volume inside, whatever its type.
macro_rules! on_volume {
    ($voxels:expr, $volume:ident => $result:expr) => {
        match $voxels {
            $crate::voxels::Voxels::U8($volume) => $result,
            $crate::voxels::Voxels::I8($volume) => $result,
            $crate::voxels::Voxels::U16($volume) => $result,
            $crate::voxels::Voxels::I16($volume) => $result,
            $crate::voxels::Voxels::U32($volume) => $result,
            $crate::voxels::Voxels::I32($volume) => $result,
            $crate::voxels::Voxels::F32($volume) => $result,
            $crate::voxels::Voxels::F64($volume) => $result,
        }
    };
}
pub(crate) use on_volume;

impl Voxels {
    /// Number of voxels along (z, y, x).
    #[must_use]
    pub fn shape(&self) -> Shape {
        on_volume!(self, volume => volume.shape)
    }

    /// The type of the numbers.
    #[must_use]
    pub fn sample_type(&self) -> SampleType {
        match self {
            Self::U8(_) => SampleType::U8,
            Self::I8(_) => SampleType::I8,
            Self::U16(_) => SampleType::U16,
            Self::I16(_) => SampleType::I16,
            Self::U32(_) => SampleType::U32,
            Self::I32(_) => SampleType::I32,
            Self::F32(_) => SampleType::F32,
            Self::F64(_) => SampleType::F64,
        }
    }

    /// Whether the numbers are integers.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        self.sample_type().is_integer()
    }

    /// The voxels of a box, as a volume of their own.
    ///
    /// # Panics
    ///
    /// If the box does not lie inside.
    ///
    /// ```
    /// use spotlight_image::Volume;
    /// use spotlight_image::grid::Region;
    /// use spotlight_io::Voxels;
    ///
    /// let voxels = Voxels::from(Volume::new([1, 1, 3], vec![3_u16, 4, 5]));
    /// let last = voxels.crop(Region { start: [0, 0, 1], shape: [1, 1, 2] });
    /// assert_eq!(last.to_f32().voxels, [4.0, 5.0]);
    /// ```
    #[must_use]
    pub fn crop(&self, region: Region) -> Self {
        on_volume!(self, volume => volume.crop(region).into())
    }

    /// The voxels as f32, rounded where the type has more digits.
    ///
    /// ```
    /// use spotlight_image::Volume;
    /// use spotlight_io::Voxels;
    ///
    /// let voxels = Voxels::from(Volume::new([1, 1, 2], vec![3_u16, 4]));
    /// assert_eq!(voxels.to_f32().voxels, [3.0, 4.0]);
    /// ```
    #[must_use]
    pub fn to_f32(&self) -> Volume<f32> {
        match self {
            Self::U8(volume) => volume.map(|v| f32::from(*v)),
            Self::I8(volume) => volume.map(|v| f32::from(*v)),
            Self::U16(volume) => volume.map(|v| f32::from(*v)),
            Self::I16(volume) => volume.map(|v| f32::from(*v)),
            Self::U32(volume) => volume.map(|v| *v as f32),
            Self::I32(volume) => volume.map(|v| *v as f32),
            Self::F32(volume) => volume.clone(),
            Self::F64(volume) => volume.map(|v| *v as f32),
        }
    }

    /// The voxels as f64; every type fits.
    #[must_use]
    pub fn to_f64(&self) -> Volume<f64> {
        match self {
            Self::F64(volume) => volume.clone(),
            Self::F32(volume) => volume.map(|v| f64::from(*v)),
            Self::U8(volume) => volume.map(|v| f64::from(*v)),
            Self::I8(volume) => volume.map(|v| f64::from(*v)),
            Self::U16(volume) => volume.map(|v| f64::from(*v)),
            Self::I16(volume) => volume.map(|v| f64::from(*v)),
            Self::U32(volume) => volume.map(|v| f64::from(*v)),
            Self::I32(volume) => volume.map(|v| f64::from(*v)),
        }
    }
}

macro_rules! from_volume {
    ($($type:ty => $variant:ident),*) => {$(
        impl From<Volume<$type>> for Voxels {
            fn from(volume: Volume<$type>) -> Self {
                Self::$variant(volume)
            }
        }
    )*};
}
from_volume!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, f64 => F64);

/// One z-stack of one channel at one time point.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// The voxels in the file's type.
    pub voxels: Voxels,
    /// Voxel size along (z, y, x) in µm, where the file gives all three.
    pub spacing_um: Option<[f64; 3]>,
    /// Name of the channel, where the file gives one.
    pub channel_name: Option<String>,
    /// The file.
    pub path: PathBuf,
}

impl Stack {
    /// The voxels as f32.
    #[must_use]
    pub fn to_f32(&self) -> Volume<f32> {
        self.voxels.to_f32()
    }

    /// Whether the file stores integers.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        self.voxels.is_integer()
    }

    /// Number of voxels along (z, y, x).
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.voxels.shape()
    }
}

/// A whole array of a file, all its axes.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayData {
    /// One letter an axis, slowest first: `T`ime, `C`hannel, `Z`, `Y`, `X`, `S`ample of a
    /// colour, `Q` or `I` where the file names none.
    pub axes: String,
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// The numbers; all axes before the last two are folded into the first of the volume.
    pub voxels: Voxels,
}

/// Which channel of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// By position, the first being 0.
    Index(usize),
    /// By name.
    Name(String),
}

impl FromStr for Channel {
    type Err = Infallible;

    /// A whole number is a position, anything else a name.
    ///
    /// ```
    /// use spotlight_io::Channel;
    ///
    /// assert_eq!("1".parse(), Ok(Channel::Index(1)));
    /// assert_eq!("DAPI".parse(), Ok(Channel::Name("DAPI".into())));
    /// ```
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.trim().parse() {
            Ok(index) => Self::Index(index),
            Err(_) => Self::Name(text.trim().to_owned()),
        })
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Which z-stack of a file; the default is the first, and the only channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The channel; needed where the file has several.
    pub channel: Option<Channel>,
    /// The time point, the first being 0.
    pub time: usize,
    /// The image of a file that holds several, the first being 0.
    pub series: usize,
}

/// The value of a 16-bit floating-point number (IEEE 754 binary16).
pub(crate) fn f32_from_half(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10 & 31);
    let fraction = u32::from(half & 1023);
    match (exponent, fraction) {
        (0, _) => {
            // Zero or a subnormal number: fraction * 2^-24, exact in f32.
            let magnitude = fraction as f32 * f32::from_bits(0x3380_0000);
            f32::from_bits(sign | magnitude.to_bits())
        }
        (31, _) => f32::from_bits(sign | 0x7F80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers() {
        let pairs = [
            (0x0000, 0.0),
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x7C00, f32::INFINITY),
        ];
        for (half, expected) in pairs {
            assert_eq!(f32_from_half(half), expected, "{half:#x}");
        }
        assert!(f32_from_half(0x7E00).is_nan());
    }
}
