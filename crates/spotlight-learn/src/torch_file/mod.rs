//! Reading the weight files of PyTorch (`.pt`, `.pth`, `.p`) without running what is in them.
//!
//! Such a file is a pickle, a small program that may name and call anything on the machine that
//! opens it. The reader here is a machine of its own that can build tensors, dictionaries, lists,
//! tuples, numbers, texts, bytes, None and truth values, and nothing else; whatever else a file
//! asks for is an error that names it. Sizes are checked before anything is allocated: a file may
//! have 16 times its own size in tensors, and a mebibyte.
//!
//! Both forms are read: the zip archive of today and the older row of pickles and storages.
//!
//! Reference: PyTorch, `torch/serialization.py` and `torch/_utils.py`.

mod container;
mod fault;
mod object;
mod pickle;
mod source;
mod tensor;

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use fault::{Fault, damaged};

pub(crate) use fault::quoted;
pub use tensor::{DataType, TorchTensor};

/// What a file of that many bytes may hold in numbers.
fn allowed_bytes(length: u64) -> u64 {
    const MOST_TIMES: u64 = 16;
    const ALWAYS: u64 = 1 << 20;
    length.saturating_mul(MOST_TIMES).saturating_add(ALWAYS)
}

/// What a file of PyTorch holds.
#[derive(Clone, Debug)]
pub struct TorchFile {
    /// The file, for messages.
    pub path: PathBuf,
    /// Its content, most often a dictionary.
    pub value: Value,
    allowed_bytes: u64,
}

/// A value in a file of PyTorch.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// None.
    None,
    /// True or False.
    Bool(bool),
    /// An integer.
    Integer(i128),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A dictionary, in its order.
    Dict(Vec<(Value, Value)>),
    /// A tensor.
    Tensor(TorchTensor),
}

impl Value {
    /// The value of a text key in a dictionary; none for anything else. The last one counts.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Dict(items) = self else { return None };
        let is_key = |item: &&(Self, Self)| matches!(&item.0, Self::Text(text) if **text == *key);
        items.iter().rev().find(is_key).map(|(_, value)| value)
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is an integer that is not negative.
    #[must_use]
    pub fn as_count(&self) -> Option<u64> {
        if let Self::Integer(value) = self { u64::try_from(*value).ok() } else { None }
    }
}

/// A tensor of a state dictionary.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name, such as `conv_out.weight`.
    pub name: String,
    /// Lengths of its axes; none for a single number.
    pub shape: Vec<usize>,
    /// Its numbers, the last axis fastest.
    pub values: Vec<f32>,
}

/// Reads a file.
///
/// # Errors
///
/// If there is none, it is something else, truncated or damaged, asks for more than tensors and
/// plain values, or is larger inside than its size allows.
///
/// # Examples
///
/// ```
/// let here = env!("CARGO_MANIFEST_DIR");
/// let path = format!("{here}/../../testdata/torch/linear.pt");
/// let file = spotlight_learn::torch_file::read(path.as_ref())?;
/// let state = file.state_dict(&[])?;
/// assert_eq!(state[0].name, "weight");
/// assert_eq!(state[0].shape, [2, 3]);
/// # Ok::<(), spotlight_learn::Error>(())
/// ```
pub fn read(path: &Path) -> Result<TorchFile, Error> {
    let failed = |source| Fault::Io(source).of(path);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let allowed_bytes = allowed_bytes(length);
    let value = container::read(file, length, allowed_bytes).map_err(|fault| fault.of(path))?;
    Ok(TorchFile { path: path.to_owned(), value, allowed_bytes })
}

impl TorchFile {
    /// The tensors of the dictionary that the text keys `nested` lead to, in its order, as f32.
    ///
    /// Where every name begins with `module.`, which `DataParallel` puts there, it is left out.
    ///
    /// # Errors
    ///
    /// If there is no such dictionary, it holds something other than tensors under names, or a
    /// name twice, or its numbers would take more memory than a file of this size may.
    pub fn state_dict(&self, nested: &[&str]) -> Result<Vec<NamedTensor>, Error> {
        self.state(nested).map_err(|fault| fault.of(&self.path))
    }

    fn state(&self, nested: &[&str]) -> Result<Vec<NamedTensor>, Fault> {
        let mut value = &self.value;
        for key in nested {
            let below = value.get(key);
            value = below.ok_or_else(|| Fault::NotTorch(format!("it has no {key}")))?;
        }
        let Value::Dict(items) = value else {
            return Err(Fault::NotTorch("it holds no dictionary of tensors".to_owned()));
        };
        let tensors = items.iter().map(named_tensor).collect::<Result<Vec<_>, _>>()?;
        let counts = tensors.iter().map(|(_, tensor)| tensor.count() as u64);
        let bytes = counts.fold(0, u64::saturating_add).saturating_mul(size_of::<f32>() as u64);
        if bytes > self.allowed_bytes {
            return Err(Fault::TooLarge(format!(
                "its weights would take {bytes} bytes, and a file of its size may have {}",
                self.allowed_bytes
            )));
        }
        let mut seen = HashSet::new();
        if let Some((name, _)) = tensors.iter().find(|(name, _)| !seen.insert(*name)) {
            return Err(damaged(format!("it has {name} twice")));
        }
        let prefix = "module.";
        let strip = tensors.iter().all(|(name, _)| name.starts_with(prefix));
        let named = tensors.into_iter().map(|(name, tensor)| NamedTensor {
            name: name[if strip { prefix.len() } else { 0 }..].to_owned(),
            shape: tensor.shape().to_vec(),
            values: tensor.values(),
        });
        Ok(named.collect())
    }
}

fn named_tensor((name, value): &(Value, Value)) -> Result<(&str, &TorchTensor), Fault> {
    match (name, value) {
        (Value::Text(name), Value::Tensor(tensor)) => Ok((name, tensor)),
        (Value::Text(name), _) => Err(Fault::NotTorch(format!(
            "{} is not a tensor, so this is a file of PyTorch with more than weights in it",
            quoted(name)
        ))),
        _ => Err(Fault::NotTorch("its weights have numbers in place of names".to_owned())),
    }
}
