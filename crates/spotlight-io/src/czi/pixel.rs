//! What a pixel is, and how pixels are compressed, by the format's numbers.

use crate::error::{Fault, malformed, unsupported};
use crate::voxels::SampleType;

const WAY_OUT: &str = "open it in ZEN or Fiji and save it as OME-TIFF";

/// What a pixel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PixelType {
    pub(crate) sample_type: SampleType,
    /// Numbers a pixel: 1, or 3 for blue, green and red.
    pub(crate) samples: usize,
}

impl PixelType {
    /// The type of a number of the format.
    pub(crate) fn of(number: i32) -> Result<Self, Fault> {
        let pixel = |sample_type, samples| Ok(Self { sample_type, samples });
        let name = match number {
            0 => return pixel(SampleType::U8, 1),
            1 => return pixel(SampleType::U16, 1),
            2 => return pixel(SampleType::F32, 1),
            3 => return pixel(SampleType::U8, 3),
            4 => return pixel(SampleType::U16, 3),
            8 => "Bgr96Float",
            9 => "Bgra32",
            10 => "Gray64ComplexFloat",
            11 => "Bgr192ComplexFloat",
            12 => "Gray32",
            13 => "Gray64Float",
            _ => return malformed(format!("there is no pixel type {number}; the file is damaged")),
        };
        unsupported(format!("the CZI pixel type {name}"), WAY_OUT)
    }

    pub(crate) fn bytes(self) -> usize {
        self.samples * self.sample_type.bytes()
    }
}

/// How the pixels of a sub-block are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    JpegXr,
    /// zstd alone.
    Zstd0,
    /// zstd after a header that may say that low and high bytes lie apart.
    Zstd1,
}

impl Compression {
    /// The compression of a number of the format.
    pub(crate) fn of(number: i32) -> Result<Self, Fault> {
        let name = match number {
            0 => return Ok(Self::None),
            4 => return Ok(Self::JpegXr),
            5 => return Ok(Self::Zstd0),
            6 => return Ok(Self::Zstd1),
            1 => "JPEG (1)".to_owned(),
            2 => "LZW (2)".to_owned(),
            other => format!("number {other}"),
        };
        unsupported(format!("CZI compression {name}"), WAY_OUT)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::JpegXr => "JPEG XR",
            Self::Zstd0 | Self::Zstd1 => "zstd",
        }
    }

    /// How many bytes a byte of the file can stand for at most: in zstd, four bytes are a block
    /// of 128 KiB of one value; JPEG XR spends some bits on each 16 x 16 pixels.
    pub(crate) fn largest_ratio(self) -> u64 {
        match self {
            Self::None => 1,
            Self::JpegXr => 8192,
            Self::Zstd0 | Self::Zstd1 => 32_768,
        }
    }
}

/// Bytes that compressed pixels may have beyond the ratio, for small tiles.
pub(crate) const RATIO_SLACK: u64 = 1 << 20;
