//! What a pickle may build: a heap of plain values and of descriptions of tensors, and the
//! few functions that a pickle may call.
//!
//! Objects are numbered, as a pickle puts a dictionary into its memo before it fills it. The
//! finished heap is turned into a tree of [`Value`] whose size and depth are limited: a pickle
//! of a hundred bytes can describe a list of lists with more leaves than there are atoms.

use std::collections::HashMap;
use std::sync::Arc;

use super::Value;
use super::fault::{Fault, damaged};
use super::source::MAX_PICKLE_BYTES;
use super::tensor::{DataType, Layout, MAX_AXES, TorchTensor};

/// Most objects that a pickle may build, and values of the tree made of them.
pub(super) const MAX_OBJECTS: usize = 1 << 20;

/// Deepest nesting of the tree.
const MAX_DEPTH: usize = 64;

/// Most arguments of a call, and words that name a storage.
const MAX_WORDS: usize = 8;

/// Longest name of a storage: PyTorch has numbers here.
const MAX_KEY_BYTES: usize = 64;

/// Number of an object in the heap.
pub(super) type Id = usize;

/// Something that a pickle has built.
#[derive(Clone, Debug)]
pub(super) enum Object {
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict {
        items: Vec<(Id, Id)>,
        /// Only an OrderedDict may be given attributes, which are dropped.
        ordered: bool,
    },
    Callable(Callable),
    /// Number of a storage in the table.
    Storage(usize),
    Tensor {
        storage: usize,
        layout: Layout,
    },
}

/// The classes and functions that a pickle may name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Callable {
    OrderedDict,
    Size,
    Encode,
    RebuildTensor,
    RebuildTensorV2,
    RebuildParameter,
    /// Part of the name of a storage; never called.
    StorageClass(DataType),
}

/// A block of numbers that tensors are views of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) data_type: DataType,
    /// How many numbers.
    pub(super) length: usize,
}

impl Storage {
    /// How many bytes; checked when the storage was named.
    pub(super) fn bytes(&self) -> u64 {
        self.length as u64 * self.data_type.bytes() as u64
    }
}

/// All that a pickle has built.
#[derive(Debug, Default)]
pub(super) struct Heap {
    objects: Vec<Object>,
    pub(super) storages: Vec<Storage>,
    by_key: HashMap<String, usize>,
    /// Pairs and bytes that calls have copied, as a call may be repeated at no cost.
    copied: usize,
}

impl Heap {
    pub(super) fn add(&mut self, object: Object) -> Result<Id, Fault> {
        if self.objects.len() == MAX_OBJECTS {
            return Err(Fault::TooLarge(format!("it builds more than {MAX_OBJECTS} objects")));
        }
        self.objects.push(object);
        Ok(self.objects.len() - 1)
    }

    pub(super) fn get(&self, id: Id) -> &Object {
        &self.objects[id]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Object {
        &mut self.objects[id]
    }

    pub(super) fn text(&self, id: Id) -> Result<Arc<str>, Fault> {
        match self.get(id) {
            Object::Text(text) => Ok(text.clone()),
            other => Err(damaged(format!("it has {} where a text belongs", other.name()))),
        }
    }

    /// A count: an integer that is not negative.
    fn count(&self, id: Id) -> Result<usize, Fault> {
        match self.get(id) {
            Object::Integer(value) => usize::try_from(*value)
                .map_err(|_| damaged(format!("it has {value} where a number of things belongs"))),
            other => Err(damaged(format!("it has {} where a number belongs", other.name()))),
        }
    }

    /// The parts of a list or tuple.
    pub(super) fn sequence(&self, id: Id) -> Result<&[Id], Fault> {
        match self.get(id) {
            Object::List(items) | Object::Tuple(items) => Ok(items),
            other => Err(damaged(format!("it has {} where a list belongs", other.name()))),
        }
    }

    /// The parts of a list or tuple that is short in every file of PyTorch.
    fn words(&self, id: Id) -> Result<Vec<Id>, Fault> {
        let words = self.sequence(id)?;
        if words.len() > MAX_WORDS {
            return Err(damaged(format!("it has {} words where a few belong", words.len())));
        }
        Ok(words.to_vec())
    }

    /// Counts copies, so that a short pickle cannot ask for many of them.
    fn copy(&mut self, count: usize) -> Result<(), Fault> {
        self.copied += count;
        if self.copied as u64 > MAX_PICKLE_BYTES {
            return Err(Fault::TooLarge("it makes copies of copies".to_owned()));
        }
        Ok(())
    }

    fn counts(&self, id: Id) -> Result<Vec<usize>, Fault> {
        let axes = self.sequence(id)?;
        if axes.len() > MAX_AXES {
            return Err(damaged(format!("a tensor has {} axes", axes.len())));
        }
        axes.iter().map(|id| self.count(*id)).collect()
    }

    /// The storage of a persistent id: `("storage", class, key, device, length)`, with a
    /// sixth None in the old form.
    pub(super) fn storage(&mut self, id: Id) -> Result<Object, Fault> {
        let parts = self.words(id)?;
        let known = match parts[..] {
            [kind, class, key, _, length] => Some((kind, class, key, length)),
            [kind, class, key, _, length, view] => {
                if !matches!(self.get(view), Object::None) {
                    let what = "a storage that is a view of another, as early versions of \
                                PyTorch wrote them";
                    return Err(Fault::Refused(what.to_owned()));
                }
                Some((kind, class, key, length))
            }
            _ => None,
        };
        let (kind, class, key, length) =
            known.ok_or_else(|| damaged("a storage is named by too many or too few words"))?;
        if &*self.text(kind)? != "storage" {
            return Err(damaged("something other than a storage lies outside of the pickle"));
        }
        let Object::Callable(Callable::StorageClass(data_type)) = *self.get(class) else {
            let name = self.get(class).name();
            return Err(damaged(format!("a storage is of the class {name}")));
        };
        let (key, length) = (self.text(key)?, self.count(length)?);
        if key.len() > MAX_KEY_BYTES {
            return Err(damaged("the name of a storage is too long"));
        }
        if length.checked_mul(data_type.bytes()).is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(Fault::TooLarge(format!("the storage {key} has {length} numbers")));
        }
        let storage = Storage { key: key.to_string(), data_type, length };
        let known = *self.by_key.entry(storage.key.clone()).or_insert(self.storages.len());
        if known == self.storages.len() {
            self.storages.push(storage);
        } else if self.storages[known] != storage {
            return Err(damaged(format!("the storage {key} is described in two ways")));
        }
        Ok(Object::Storage(known))
    }

    /// Number of the storage of that name in the table.
    pub(super) fn storage_of(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// Calls one of the few functions with a tuple of arguments.
    pub(super) fn call(&mut self, callable: Id, arguments: Id) -> Result<Object, Fault> {
        let Object::Callable(callable) = *self.get(callable) else {
            return Err(damaged(format!("it calls {}", self.get(callable).name())));
        };
        if !matches!(self.get(arguments), Object::Tuple(_)) {
            return Err(damaged(format!("it calls {callable:?} without a tuple")));
        }
        let arguments = self.words(arguments)?;
        match (callable, &arguments[..]) {
            (Callable::OrderedDict, []) => Ok(Object::Dict { items: Vec::new(), ordered: true }),
            (Callable::OrderedDict, [pairs]) => self.dict_of_pairs(*pairs),
            (Callable::Size, [sides]) => Ok(Object::Tuple(self.words(*sides)?)),
            (Callable::Encode, [text, encoding]) => self.encode(*text, *encoding),
            (Callable::RebuildTensor, [storage, offset, shape, strides])
            | (Callable::RebuildTensorV2, [storage, offset, shape, strides, _, _])
            | (Callable::RebuildTensorV2, [storage, offset, shape, strides, _, _, _]) => {
                self.tensor(*storage, *offset, *shape, *strides)
            }
            (Callable::RebuildParameter, [tensor, _, _]) => match self.get(*tensor) {
                tensor @ Object::Tensor { .. } => Ok(tensor.clone()),
                other => Err(damaged(format!("a parameter is {}", other.name()))),
            },
            (Callable::StorageClass(_), _) => {
                Err(Fault::Refused("a storage within its pickle".to_owned()))
            }
            _ => Err(damaged(format!("it calls {callable:?} with {} values", arguments.len()))),
        }
    }

    fn dict_of_pairs(&mut self, pairs: Id) -> Result<Object, Fault> {
        self.copy(self.sequence(pairs)?.len())?;
        let pair = |id: &Id| match self.sequence(*id)? {
            [key, value] => Ok((*key, *value)),
            other => Err(damaged(format!("a pair has {} parts", other.len()))),
        };
        let items = self.sequence(pairs)?.iter().map(pair).collect::<Result<_, _>>()?;
        Ok(Object::Dict { items, ordered: true })
    }

    /// How bytes are written in pickles that have no bytes: as text in Latin-1.
    fn encode(&mut self, text: Id, encoding: Id) -> Result<Object, Fault> {
        let (text, encoding) = (self.text(text)?, self.text(encoding)?);
        if &*encoding != "latin1" {
            return Err(damaged("it has bytes in an encoding other than latin1"));
        }
        self.copy(text.len())?;
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        let bytes = bytes.ok_or_else(|| damaged("it has bytes that are none"))?;
        Ok(Object::Bytes(bytes.into()))
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Object, Fault> {
        let Object::Storage(storage) = *self.get(storage) else {
            let name = self.get(storage).name();
            return Err(damaged(format!("a tensor is a view of {name}, not of a storage")));
        };
        let (shape, strides) = (self.counts(shape)?, self.counts(strides)?);
        let length = self.storages[storage].length;
        let layout = Layout::new(shape, strides, self.count(offset)?, length)?;
        Ok(Object::Tensor { storage, layout })
    }

    /// The tree below `root`, its tensors views of `data`, which has the bytes of each storage
    /// in the order of the table.
    pub(super) fn tree(&self, root: Id, data: &[Arc<Vec<u8>>]) -> Result<Value, Fault> {
        self.value(root, data, 0, &mut 0)
    }

    fn value(
        &self,
        id: Id,
        data: &[Arc<Vec<u8>>],
        depth: usize,
        count: &mut usize,
    ) -> Result<Value, Fault> {
        *count += 1;
        if *count > MAX_OBJECTS {
            return Err(Fault::TooLarge(format!("it holds more than {MAX_OBJECTS} values")));
        }
        if depth == MAX_DEPTH {
            let reason = format!("its values are nested deeper than {MAX_DEPTH} levels");
            return Err(Fault::TooLarge(reason));
        }
        let mut below = |id: &Id| self.value(*id, data, depth + 1, count);
        Ok(match self.get(id) {
            Object::None => Value::None,
            Object::Bool(value) => Value::Bool(*value),
            Object::Integer(value) => Value::Integer(*value),
            Object::Float(value) => Value::Float(*value),
            Object::Text(text) => Value::Text(text.clone()),
            Object::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Object::List(items) => Value::List(items.iter().map(below).collect::<Result<_, _>>()?),
            Object::Tuple(items) => {
                Value::Tuple(items.iter().map(below).collect::<Result<_, _>>()?)
            }
            Object::Dict { items, .. } => {
                let pair = |(key, value): &(Id, Id)| Ok((below(key)?, below(value)?));
                Value::Dict(items.iter().map(pair).collect::<Result<_, Fault>>()?)
            }
            Object::Tensor { storage, layout } => {
                let data_type = self.storages[*storage].data_type;
                Value::Tensor(TorchTensor::new(data_type, layout.clone(), data[*storage].clone()))
            }
            other @ (Object::Callable(_) | Object::Storage(_)) => {
                return Err(damaged(format!("it holds {} among its values", other.name())));
            }
        })
    }
}

impl Object {
    /// What it is, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a floating-point number",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict { .. } => "a dictionary",
            Self::Callable(_) => "a class",
            Self::Storage(_) => "a storage",
            Self::Tensor { .. } => "a tensor",
        }
    }
}
