//! The restricted unpickler: a stack machine that builds plain values and nothing else.
//!
//! A pickle is a program of one-byte instructions. Those that make numbers, texts, lists,
//! tuples and dictionaries are carried out; those that name a class or call a function only
//! for the few of [`Callable`], which are code of ours; all others are errors that name them.
//! So no code in or behind a file can run, whatever is in it.
//!
//! ```text
//! loop:  read an instruction
//!        constant      push it
//!        MARK          remember the height of the stack
//!        LIST, ...     pop down to the mark, push one object
//!        PUT, GET      remember the top of the stack by number, push what was remembered
//!        GLOBAL        push a class or function by its name, if it is one of ours
//!        REDUCE        pop arguments and function, push the result
//!        BINPERSID     pop a name, push the storage that has it
//!        STOP          the top of the stack is the result
//! ```
//!
//! Reference: the comments of CPython's `Lib/pickletools.py`.

use std::collections::HashMap;
use std::io::Read;

use super::fault::{Fault, damaged, quoted};
use super::object::{Callable, Heap, Id, MAX_OBJECTS, Object};
use super::source::Source;
use super::tensor::DataType;

/// Latest protocol of pickle that is known.
const MAX_PROTOCOL: u8 = 5;

/// Runs a pickle to its STOP; what it builds is added to the heap.
pub(super) fn unpickle<R: Read>(source: &mut Source<R>, heap: &mut Heap) -> Result<Id, Fault> {
    source.begin_pickle();
    let mut machine =
        Machine { source, heap, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        match machine.source.byte()? {
            b'.' => return machine.pop(),
            instruction => machine.step(instruction)?,
        }
    }
}

struct Machine<'a, R> {
    source: &'a mut Source<R>,
    heap: &'a mut Heap,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<R: Read> Machine<'_, R> {
    fn step(&mut self, instruction: u8) -> Result<(), Fault> {
        match instruction {
            0x80 => match self.source.byte()? {
                protocol if protocol <= MAX_PROTOCOL => Ok(()),
                protocol => Err(damaged(format!("its pickle has the protocol {protocol}"))),
            },
            // A frame of protocol 4: only a hint for reading.
            0x95 => self.source.array::<8>().map(drop),
            b'(' => {
                check_number(self.marks.len(), "marks")?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'N' | 0x88 | 0x89 | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G' => {
                self.number(instruction)
            }
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'B' | b'C' | 0x8e => self.text(instruction),
            b']' | b'l' | b')' | b't' | 0x85..=0x87 | b'}' | b'd' => self.collection(instruction),
            b'a' | b'e' | b's' | b'u' => self.fill(instruction),
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(instruction),
            b'c' | 0x93 | b'R' | b'Q' | b'b' => self.call(instruction),
            _ => Err(refused(instruction)),
        }
    }

    fn number(&mut self, instruction: u8) -> Result<(), Fault> {
        let object = match instruction {
            b'N' => Object::None,
            0x88 => Object::Bool(true),
            0x89 => Object::Bool(false),
            b'J' => Object::Integer(i32::from_le_bytes(self.source.array()?).into()),
            b'K' => Object::Integer(self.source.byte()?.into()),
            b'M' => Object::Integer(u16::from_le_bytes(self.source.array()?).into()),
            b'G' => Object::Float(f64::from_be_bytes(self.source.array()?)),
            // 0x8a: the number of bytes is one byte; 0x8b: it is four.
            _ => {
                let length = if instruction == 0x8a {
                    self.source.byte()?.into()
                } else {
                    u32::from_le_bytes(self.source.array()?).into()
                };
                Object::Integer(self.long(length)?)
            }
        };
        self.push(object)
    }

    /// An integer of so many bytes, the last of which has the sign.
    fn long(&mut self, length: u64) -> Result<i128, Fault> {
        const WIDEST: usize = size_of::<i128>();
        if length > WIDEST as u64 {
            return Err(Fault::TooLarge(format!("it has an integer of {length} bytes")));
        }
        let bytes = self.source.bytes(length)?;
        let sign = if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
        let mut word = [sign; WIDEST];
        word[..bytes.len()].copy_from_slice(&bytes);
        Ok(i128::from_le_bytes(word))
    }

    fn text(&mut self, instruction: u8) -> Result<(), Fault> {
        let length = match instruction {
            0x8c | b'U' | b'C' => self.source.byte()?.into(),
            b'X' | b'T' | b'B' => u32::from_le_bytes(self.source.array()?).into(),
            _ => u64::from_le_bytes(self.source.array()?),
        };
        let bytes = self.source.bytes(length)?;
        self.push(match instruction {
            b'B' | b'C' | 0x8e => Object::Bytes(bytes.into()),
            _ => {
                let text = String::from_utf8(bytes);
                Object::Text(text.map_err(|_| damaged("it has a text that is not UTF-8"))?.into())
            }
        })
    }

    fn collection(&mut self, instruction: u8) -> Result<(), Fault> {
        let object = match instruction {
            b']' => Object::List(Vec::new()),
            b'l' => Object::List(self.pop_to_mark()?),
            b')' => Object::Tuple(Vec::new()),
            b't' => Object::Tuple(self.pop_to_mark()?),
            b'}' => Object::Dict { items: Vec::new(), ordered: false },
            b'd' => Object::Dict { items: pairs(&self.pop_to_mark()?)?, ordered: false },
            // TUPLE1, TUPLE2 and TUPLE3.
            _ => {
                let mut items = Vec::new();
                for _ in 0x84..instruction {
                    items.push(self.pop()?);
                }
                items.reverse();
                Object::Tuple(items)
            }
        };
        self.push(object)
    }

    /// Adds to the list or dictionary on the stack.
    fn fill(&mut self, instruction: u8) -> Result<(), Fault> {
        let items = match instruction {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        let into_list = matches!(instruction, b'a' | b'e');
        let target = self.top()?;
        match self.heap.get_mut(target) {
            Object::List(list) if into_list => list.extend(items),
            Object::Dict { items: known, .. } if !into_list => known.extend(pairs(&items)?),
            other => {
                return Err(damaged(format!("it adds items to {}", other.name())));
            }
        }
        Ok(())
    }

    fn remember(&mut self, instruction: u8) -> Result<(), Fault> {
        let number = match instruction {
            b'q' | b'h' => self.source.byte()?.into(),
            b'r' | b'j' => u32::from_le_bytes(self.source.array()?),
            // MEMOIZE: the next number.
            _ => self.memo.len() as u32,
        };
        if matches!(instruction, b'h' | b'j') {
            let known = self.memo.get(&number).copied();
            let id = known.ok_or_else(|| damaged(format!("its memo has no number {number}")))?;
            return self.push_id(id);
        }
        check_number(self.memo.len(), "remembered objects")?;
        let top = self.top()?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn call(&mut self, instruction: u8) -> Result<(), Fault> {
        let object = match instruction {
            b'c' => {
                let module = self.source.line()?;
                callable(&module, &self.source.line()?)?
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                callable(&self.heap.text(module)?, &self.heap.text(name)?)?
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.heap.call(callable, arguments)?
            }
            b'Q' => {
                let name = self.pop()?;
                self.heap.storage(name)?
            }
            _ => return self.drop_attributes(),
        };
        self.push(object)
    }

    /// BUILD, which PyTorch uses to hang version numbers on a state dictionary. Nothing here
    /// needs them.
    fn drop_attributes(&mut self) -> Result<(), Fault> {
        let attributes = self.pop()?;
        let target = self.top()?;
        match (self.heap.get(target), self.heap.get(attributes)) {
            (Object::Dict { ordered: true, .. }, Object::Dict { .. }) => Ok(()),
            (other, _) => {
                let found = format!("the pickle instruction BUILD for {}", other.name());
                Err(Fault::Refused(found))
            }
        }
    }

    fn push(&mut self, object: Object) -> Result<(), Fault> {
        let id = self.heap.add(object)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Fault> {
        check_number(self.stack.len(), "objects on the stack")?;
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn top(&self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.get(floor..).and_then(<[Id]>::last);
        above.copied().ok_or_else(|| {
            damaged(format!("its stack is empty at byte {}", self.source.position()))
        })
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| {
            damaged(format!("its stack has no mark at byte {}", self.source.position()))
        })?;
        Ok(self.stack.split_off(mark))
    }
}

fn check_number(count: usize, of: &str) -> Result<(), Fault> {
    if count < MAX_OBJECTS {
        return Ok(());
    }
    Err(Fault::TooLarge(format!("its pickle has more than {MAX_OBJECTS} {of}")))
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
    let (pairs, rest) = items.as_chunks();
    if !rest.is_empty() {
        return Err(damaged("a key has no value"));
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

/// A class or function by its name, if it is one of the few.
fn callable(module: &str, name: &str) -> Result<Object, Fault> {
    let storage = DataType::of_storage(name).filter(|_| matches!(module, "torch" | "torch.cuda"));
    let callable = match (module, name) {
        ("collections", "OrderedDict") => Callable::OrderedDict,
        ("torch", "Size") => Callable::Size,
        ("_codecs", "encode") => Callable::Encode,
        ("torch._utils", "_rebuild_tensor") => Callable::RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v2") => Callable::RebuildTensorV2,
        ("torch._utils", "_rebuild_parameter") => Callable::RebuildParameter,
        _ => match storage {
            Some(data_type) => Callable::StorageClass(data_type),
            None => {
                let full = quoted(&format!("{module}.{name}"));
                return Err(Fault::Refused(format!("the class or function {full}")));
            }
        },
    };
    Ok(Object::Callable(callable))
}

/// The fault of an instruction that PyTorch does not need for weights.
fn refused(instruction: u8) -> Fault {
    let name = match instruction {
        b'0' => "POP",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        b'F' => "FLOAT",
        b'I' => "INT",
        b'L' => "LONG",
        b'P' => "PERSID",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'g' => "GET",
        b'i' => "INST",
        b'o' => "OBJ",
        b'p' => "PUT",
        0x81 => "NEWOBJ",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x92 => "NEWOBJ_EX",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return damaged(format!("its pickle has the unknown instruction {instruction:#04x}")),
    };
    Fault::Refused(format!("the pickle instruction {name}"))
}
