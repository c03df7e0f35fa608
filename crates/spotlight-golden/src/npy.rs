//! `.npy` files of format 1.0 and 2.0: little-endian, C order.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// An array as the file holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of the axes, slowest first.
    pub shape: Vec<usize>,
    /// The elements in C order.
    pub elements: Elements,
}

/// The elements of an [`Array`], one variant for each type that occurs.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are the types")]
pub enum Elements {
    Bool(Vec<bool>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Array {
    /// Reads a file.
    ///
    /// # Panics
    ///
    /// If the file is missing or not such a file.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(&bytes[..6], b"\x93NUMPY", "{}", path.display());
        let (header_at, header_len) = if bytes[6] == 1 {
            (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]])))
        } else {
            (12, u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize)
        };
        let header = std::str::from_utf8(&bytes[header_at..header_at + header_len]).unwrap();
        assert!(header.contains("'fortran_order': False"), "{}", path.display());
        let shape = between(header, "'shape': (", ")");
        let shape = shape.split(',').map(str::trim).filter(|n| !n.is_empty());
        let shape: Vec<usize> = shape.map(|n| n.parse().unwrap()).collect();
        let elements = decode(between(header, "'descr': '", "'"), &bytes[header_at + header_len..]);
        Self { shape, elements }
    }

    /// The elements as f64.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.elements {
            Elements::Bool(v) => v.iter().map(|x| f64::from(u8::from(*x))).collect(),
            Elements::U8(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Elements::I8(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Elements::U16(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Elements::I16(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Elements::U32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Elements::I32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Elements::U64(v) => v.iter().map(|x| *x as f64).collect(),
            Elements::I64(v) => v.iter().map(|x| *x as f64).collect(),
            Elements::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Elements::F64(v) => v.clone(),
        }
    }

    /// The elements as f32.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        self.to_f64().into_iter().map(|x| x as f32).collect()
    }

    /// Whether the elements are integers.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        !matches!(self.elements, Elements::F32(_) | Elements::F64(_))
    }

    /// NumPy's name of the element type, such as `uint16`.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        match &self.elements {
            Elements::Bool(_) => "bool",
            Elements::U8(_) => "uint8",
            Elements::I8(_) => "int8",
            Elements::U16(_) => "uint16",
            Elements::I16(_) => "int16",
            Elements::U32(_) => "uint32",
            Elements::I32(_) => "int32",
            Elements::U64(_) => "uint64",
            Elements::I64(_) => "int64",
            Elements::F32(_) => "float32",
            Elements::F64(_) => "float64",
        }
    }
}

/// The values of a safetensors tensor as f64.
pub(crate) fn decode_safetensor(view: &TensorView<'_>) -> Vec<f64> {
    let descr = match view.dtype() {
        Dtype::F32 => "<f4",
        Dtype::F64 => "<f8",
        Dtype::I64 => "<i8",
        Dtype::I32 => "<i4",
        other => panic!("{other:?} in a reference file"),
    };
    Array { shape: view.shape().to_vec(), elements: decode(descr, view.data()) }.to_f64()
}

fn decode(descr: &str, data: &[u8]) -> Elements {
    macro_rules! numbers {
        ($t:ty) => {
            data.chunks_exact(size_of::<$t>())
                .map(|b| <$t>::from_le_bytes(b.try_into().unwrap()))
                .collect()
        };
    }
    match &descr[1..] {
        "b1" => Elements::Bool(data.iter().map(|b| *b != 0).collect()),
        "u1" => Elements::U8(data.to_vec()),
        "i1" => Elements::I8(numbers!(i8)),
        "u2" => Elements::U16(numbers!(u16)),
        "i2" => Elements::I16(numbers!(i16)),
        "u4" => Elements::U32(numbers!(u32)),
        "i4" => Elements::I32(numbers!(i32)),
        "u8" => Elements::U64(numbers!(u64)),
        "i8" => Elements::I64(numbers!(i64)),
        "f4" => Elements::F32(numbers!(f32)),
        "f8" => Elements::F64(numbers!(f64)),
        _ => panic!("element type {descr} in a reference file"),
    }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let from = text.find(open).unwrap() + open.len();
    let length = text[from..].find(close).unwrap();
    &text[from..from + length]
}
