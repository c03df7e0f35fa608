//! [`TorchTensor`]: a view of a storage by offset, shape and strides, and its numbers.
//!
//! ```text
//! element (i, j, ...) of the tensor = storage[offset + i stride_0 + j stride_1 + ...]
//! ```

use std::sync::Arc;

use super::fault::{Fault, damaged};

/// Most axes of a tensor.
pub(super) const MAX_AXES: usize = 8;

/// How the numbers of a storage are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// 64-bit floating point, `DoubleStorage`.
    Float64,
    /// 32-bit floating point, `FloatStorage`.
    Float32,
    /// 16-bit floating point, `HalfStorage`.
    Float16,
    /// The upper half of 32-bit floating point, `BFloat16Storage`.
    BFloat16,
    /// 64-bit integers, `LongStorage`.
    Int64,
    /// 32-bit integers, `IntStorage`.
    Int32,
    /// 16-bit integers, `ShortStorage`.
    Int16,
    /// 8-bit integers with a sign, `CharStorage`.
    Int8,
    /// 8-bit integers without a sign, `ByteStorage`.
    UInt8,
    /// Bytes 0 and 1, `BoolStorage`.
    Bool,
}

impl DataType {
    /// By the name of PyTorch's storage class.
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "DoubleStorage" => Self::Float64,
            "FloatStorage" => Self::Float32,
            "HalfStorage" => Self::Float16,
            "BFloat16Storage" => Self::BFloat16,
            "LongStorage" => Self::Int64,
            "IntStorage" => Self::Int32,
            "ShortStorage" => Self::Int16,
            "CharStorage" => Self::Int8,
            "ByteStorage" => Self::UInt8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of a number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Float64 | Self::Int64 => 8,
            Self::Float32 | Self::Int32 => 4,
            Self::Float16 | Self::BFloat16 | Self::Int16 => 2,
            Self::Int8 | Self::UInt8 | Self::Bool => 1,
        }
    }

    /// The number in little-endian bytes, rounded to f32 where it does not fit.
    fn to_f32(self, bytes: &[u8]) -> f32 {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(word);
        match self {
            Self::Float64 => f64::from_bits(bits) as f32,
            Self::Float32 => f32::from_bits(bits as u32),
            Self::Float16 => half_to_f32(bits as u16),
            Self::BFloat16 => f32::from_bits((bits as u32) << 16),
            Self::Int64 => bits as i64 as f32,
            Self::Int32 => bits as i32 as f32,
            Self::Int16 => f32::from(bits as i16),
            Self::Int8 => f32::from(bits as i8),
            Self::UInt8 => f32::from(bits as u8),
            Self::Bool => f32::from(u8::from(bits != 0)),
        }
    }
}

/// The value of a 16-bit floating-point number: sign, 5 bits of exponent, 10 of fraction.
fn half_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits & 0x3ff);
    let magnitude = match exponent {
        // Without an implied one; 2^-24 is the smallest step.
        0 => (fraction as f32 * 2.0_f32.powi(-24)).to_bits(),
        0x1f => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 127 - 15) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

/// Where the numbers of a tensor lie in its storage; every one of them lies inside.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl Layout {
    /// Checks a view of a storage of `length` numbers.
    pub(super) fn new(
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        length: usize,
    ) -> Result<Self, Fault> {
        let strange = |what: &str| {
            let view = format!("shape {shape:?}, strides {strides:?}, offset {offset}");
            damaged(format!("a tensor of {view} in a storage of {length} numbers {what}"))
        };
        if shape.len() != strides.len() || shape.len() > MAX_AXES {
            return Err(strange("has no sensible axes"));
        }
        let count = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        let count = count.ok_or_else(|| strange("has too many elements"))?;
        if count > length {
            return Err(strange("has more elements than its storage"));
        }
        let last = shape.iter().zip(&strides).try_fold(offset, |last, (side, stride)| {
            side.saturating_sub(1).checked_mul(*stride)?.checked_add(last)
        });
        if count > 0 && last.is_none_or(|last| last >= length) {
            return Err(strange("reaches beyond it"));
        }
        Ok(Self { shape, strides, offset })
    }

    /// Number of elements.
    pub(super) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Calls with the place of each element, the last axis fastest.
    fn for_each(&self, mut visit: impl FnMut(usize)) {
        let mut index = vec![0; self.shape.len()];
        let mut place = self.offset;
        for _ in 0..self.count() {
            visit(place);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                place += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                place -= index[axis] * self.strides[axis];
                index[axis] = 0;
            }
        }
    }
}

/// A tensor of a file; tensors may share one storage.
#[derive(Clone, Debug, PartialEq)]
pub struct TorchTensor {
    /// How its numbers are kept.
    pub data_type: DataType,
    layout: Layout,
    storage: Arc<Vec<u8>>,
}

impl TorchTensor {
    /// The storage has the length that the layout was checked against.
    pub(super) fn new(data_type: DataType, layout: Layout, storage: Arc<Vec<u8>>) -> Self {
        Self { data_type, layout, storage }
    }

    /// Lengths of its axes; none for a single number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// How many numbers it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.layout.count()
    }

    /// Its numbers, the last axis fastest, rounded to f32 where they do not fit.
    #[must_use]
    pub fn values(&self) -> Vec<f32> {
        let size = self.data_type.bytes();
        let mut values = Vec::with_capacity(self.layout.count());
        self.layout.for_each(|place| {
            let start = place * size;
            values.push(self.data_type.to_f32(&self.storage[start..start + size]));
        });
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_their_values() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half_to_f32(bits), value, "{bits:#x}");
        }
        assert!(half_to_f32(0x7e00).is_nan());
        assert!(half_to_f32(0x8000).is_sign_negative());
    }

    #[test]
    fn strides_are_followed() {
        let bytes: Vec<u8> = (0..12).collect();
        let view = |shape: &[usize], strides: &[usize], offset| {
            let layout = Layout::new(shape.to_vec(), strides.to_vec(), offset, 12).unwrap();
            TorchTensor::new(DataType::UInt8, layout, Arc::new(bytes.clone())).values()
        };
        assert_eq!(view(&[3, 2], &[1, 3], 0), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(view(&[2, 2, 2], &[6, 0, 1], 4), [4.0, 5.0, 4.0, 5.0, 10.0, 11.0, 10.0, 11.0]);
        assert_eq!(view(&[], &[], 11), [11.0]);
        assert!(view(&[0, 5], &[5, 1], 99).is_empty());
    }

    #[test]
    fn views_beyond_the_storage_are_refused() {
        let view = |shape: &[usize], strides: &[usize], offset| {
            Layout::new(shape.to_vec(), strides.to_vec(), offset, 12)
        };
        assert!(view(&[12], &[1], 0).is_ok());
        assert!(view(&[12], &[1], 1).is_err());
        assert!(view(&[2], &[12], 0).is_err());
        assert!(view(&[2], &[usize::MAX], 1).is_err());
        assert!(view(&[usize::MAX, usize::MAX], &[0, 0], 0).is_err());
        assert!(view(&[13], &[0], 0).is_err());
        assert!(view(&[2], &[1, 1], 0).is_err());
    }
}
