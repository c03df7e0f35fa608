//! [`Stored`]: the type of an array's numbers, and numbers from the bytes of a box.

use serde_json::Value;
use spotlight_image::Volume;
use spotlight_image::grid::Shape;

use crate::error::{Fault, unsupported};
use crate::voxels::{SampleType, Voxels, f32_from_half};

/// The type of the numbers in the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// The type as it is read.
    Plain(SampleType),
    Bool,
    U64,
    I64,
    F16,
}

impl Stored {
    /// The type of Zarr 2: `<u2`, `|u1`, `>f4`.
    pub(super) fn of_version_2(dtype: &Value) -> Result<Self, Fault> {
        let name = dtype.as_str().unwrap_or_default();
        let found = match name.trim_start_matches(['<', '>', '|', '=']) {
            "b1" => Self::Bool,
            "u1" => Self::Plain(SampleType::U8),
            "u2" => Self::Plain(SampleType::U16),
            "u4" => Self::Plain(SampleType::U32),
            "u8" => Self::U64,
            "i1" => Self::Plain(SampleType::I8),
            "i2" => Self::Plain(SampleType::I16),
            "i4" => Self::Plain(SampleType::I32),
            "i8" => Self::I64,
            "f2" => Self::F16,
            "f4" => Self::Plain(SampleType::F32),
            "f8" => Self::Plain(SampleType::F64),
            _ => return refuse(dtype),
        };
        Ok(found)
    }

    /// The type of Zarr 3: `uint16`.
    pub(super) fn of_version_3(data_type: &Value) -> Result<Self, Fault> {
        let found = match data_type.as_str().unwrap_or_default() {
            "bool" => Self::Bool,
            "uint8" => Self::Plain(SampleType::U8),
            "uint16" => Self::Plain(SampleType::U16),
            "uint32" => Self::Plain(SampleType::U32),
            "uint64" => Self::U64,
            "int8" => Self::Plain(SampleType::I8),
            "int16" => Self::Plain(SampleType::I16),
            "int32" => Self::Plain(SampleType::I32),
            "int64" => Self::I64,
            "float16" => Self::F16,
            "float32" => Self::Plain(SampleType::F32),
            "float64" => Self::Plain(SampleType::F64),
            _ => return refuse(data_type),
        };
        Ok(found)
    }

    /// The type of the numbers when they are read.
    pub(super) fn sample_type(self) -> SampleType {
        match self {
            Self::Plain(sample_type) => sample_type,
            Self::Bool => SampleType::U8,
            Self::U64 => SampleType::U32,
            Self::I64 => SampleType::I32,
            Self::F16 => SampleType::F32,
        }
    }

    /// Bytes of one number in a chunk.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Plain(sample_type) => sample_type.bytes() as u64,
            Self::Bool => 1,
            Self::F16 => 2,
            Self::U64 | Self::I64 => 8,
        }
    }

    /// What a user should know of the type.
    pub(super) fn warning(self) -> Option<String> {
        let text = match self {
            Self::Plain(_) => return None,
            Self::Bool => "true and false are read as 1 and 0",
            Self::U64 => "64-bit integers are read as uint32, and refused where one does not fit",
            Self::I64 => "64-bit integers are read as int32, and refused where one does not fit",
            Self::F16 => "16-bit floating-point numbers are read as float32",
        };
        Some(text.to_owned())
    }

    /// The numbers of a box from bytes in the order of this machine.
    ///
    /// `shape` is that of the bytes, `order` the place in it of z, y and x.
    pub(super) fn voxels(
        self,
        bytes: &[u8],
        shape: Shape,
        order: [usize; 3],
    ) -> Result<Voxels, Fault> {
        macro_rules! plain {
            ($type:ty) => {{
                let (numbers, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                let numbers = numbers.iter().map(|number| <$type>::from_ne_bytes(*number));
                ordered(numbers.collect(), shape, order).into()
            }};
        }
        macro_rules! narrow {
            ($wide:ty, $narrow:ty) => {{
                let (numbers, _) = bytes.as_chunks::<8>();
                let narrow = |number: &[u8; 8]| {
                    let number = <$wide>::from_ne_bytes(*number);
                    <$narrow>::try_from(number).map_err(|_| too_wide(&number.to_string()))
                };
                let numbers: Vec<$narrow> =
                    numbers.iter().map(narrow).collect::<Result<_, Fault>>()?;
                ordered(numbers, shape, order).into()
            }};
        }
        Ok(match self {
            Self::Plain(SampleType::U8) => plain!(u8),
            Self::Plain(SampleType::I8) => plain!(i8),
            Self::Plain(SampleType::U16) => plain!(u16),
            Self::Plain(SampleType::I16) => plain!(i16),
            Self::Plain(SampleType::U32) => plain!(u32),
            Self::Plain(SampleType::I32) => plain!(i32),
            Self::Plain(SampleType::F32) => plain!(f32),
            Self::Plain(SampleType::F64) => plain!(f64),
            Self::Bool => {
                let numbers = bytes.iter().map(|byte| u8::from(*byte != 0)).collect();
                ordered(numbers, shape, order).into()
            }
            Self::U64 => narrow!(u64, u32),
            Self::I64 => narrow!(i64, i32),
            Self::F16 => {
                let (numbers, _) = bytes.as_chunks::<2>();
                let half = |number: &[u8; 2]| f32_from_half(u16::from_ne_bytes(*number));
                ordered(numbers.iter().map(half).collect(), shape, order).into()
            }
        })
    }
}

fn refuse(found: &Value) -> Result<Stored, Fault> {
    let name = match found {
        Value::String(name) => format!("numbers of type {name}"),
        Value::Object(object) => match object.get("name").and_then(Value::as_str) {
            Some(name) => format!("numbers of type {name}"),
            None => "numbers of a type without a name".to_owned(),
        },
        _ => "an array of structured numbers".to_owned(),
    };
    unsupported(name, "save it as an array of integers or floating-point numbers")
}

fn too_wide(number: &str) -> Fault {
    Fault::Unsupported {
        what: format!("the 64-bit number {number}, which does not fit into 32 bits,"),
        way_out: "save the array as uint32, int32 or float64".to_owned(),
    }
}

/// The volume of axes (z, y, x) whose numbers lie in another order of axes.
fn ordered<T: Copy>(numbers: Vec<T>, shape: Shape, order: [usize; 3]) -> Volume<T> {
    if order == [0, 1, 2] {
        return Volume::new(shape, numbers);
    }
    let steps = [shape[1] * shape[2], shape[2], 1];
    let [z, y, x] = order.map(|axis| steps[axis]);
    let shape = order.map(|axis| shape[axis]);
    Volume::from_fn(shape, |at| numbers[at[0] * z + at[1] * y + at[2] * x])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_by_their_names() {
        assert_eq!(Stored::of_version_2(&json!("<u2")).unwrap(), Stored::Plain(SampleType::U16));
        assert_eq!(Stored::of_version_2(&json!("|b1")).unwrap(), Stored::Bool);
        assert_eq!(Stored::of_version_3(&json!("float16")).unwrap(), Stored::F16);
        for bad in [json!("<M8[ns]"), json!("|S7"), json!([["a", "<u2"]]), json!(null)] {
            assert!(Stored::of_version_2(&bad).is_err(), "{bad}");
        }
        let refused = Stored::of_version_3(&json!({"name": "numpy.datetime64"}));
        let Err(Fault::Unsupported { what, .. }) = refused else { panic!() };
        assert_eq!(what, "numbers of type numpy.datetime64");
    }

    #[test]
    fn wide_integers_must_fit() {
        let bytes = |numbers: &[u64]| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
        };
        let read =
            |numbers: &[u64]| Stored::U64.voxels(&bytes(numbers), [1, 1, numbers.len()], [0, 1, 2]);
        assert_eq!(read(&[7, 4_294_967_295]).unwrap().to_f64().voxels, [7.0, 4_294_967_295.0]);
        let Err(Fault::Unsupported { what, .. }) = read(&[7, 4_294_967_296]) else { panic!() };
        assert!(what.contains("4294967296"), "{what}");
        let negative = (-3_i64).to_ne_bytes();
        let found = Stored::I64.voxels(&negative, [1, 1, 1], [0, 1, 2]).unwrap();
        assert_eq!(found.to_f64().voxels, [-3.0]);
    }

    #[test]
    fn axes_come_in_the_order_z_y_x() {
        // Stored as (x, z, y), lengths 2, 1, 3.
        let found = Stored::Bool.voxels(&[1, 0, 0, 0, 2, 0], [2, 1, 3], [1, 2, 0]).unwrap();
        assert_eq!(found.shape(), [1, 3, 2]);
        assert_eq!(found.to_f64().voxels, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    }
}
