//! The two containers: since version 1.6, PyTorch writes a zip archive, and before, pickles and
//! storages one after the other.
//!
//! ```text
//! zip:     <name>/data.pkl, the object
//!          <name>/data/<key> for each storage, its bytes
//!          <name>/byteorder, "little" or "big" (since 2.0)
//! legacy:  pickle of the magic number, of the protocol number, of facts about the machine,
//!          of the object, of the list of keys
//!          for each key: the number of elements as int64, the bytes
//! ```
//!
//! Reference: PyTorch, `torch/serialization.py`.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use zip::ZipArchive;
use zip::result::ZipError;

use super::Value;
use super::fault::{Fault, damaged};
use super::object::{Heap, Object};
use super::pickle::unpickle;
use super::source::{MAX_PICKLE_BYTES, Source};

/// First bytes of a zip archive.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// The number of the legacy form, "moo cow..." in PyTorch's words.
const LEGACY_MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// The protocol of the legacy form.
const LEGACY_PROTOCOL: i128 = 1001;

/// Reads the object of a file of `length` bytes, at most `allowed` bytes of storages with it.
pub(super) fn read(mut file: File, length: u64, allowed: u64) -> Result<Value, Fault> {
    let mut start = [0; 4];
    let known = (&mut file).take(4).read(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    match &start[..known] {
        ZIP_MAGIC => read_zip(file, allowed),
        // A pickle of protocol 2, its first instruction LONG1.
        [0x80, 0x02, 0x8a, _] => read_legacy(BufReader::new(file), length, allowed),
        [] => Err(Fault::NotTorch("it is empty".to_owned())),
        [b'<', ..] => {
            let reason = "it begins as a web page does: fetch the file itself";
            Err(Fault::NotTorch(reason.to_owned()))
        }
        _ => {
            let reason = "it begins neither as a zip archive nor as the older form of torch.save";
            Err(Fault::NotTorch(reason.to_owned()))
        }
    }
}

fn read_zip(file: File, allowed: u64) -> Result<Value, Fault> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(of_zip)?;
    let is_pickle = |name: &String| {
        name.split_once('/').is_some_and(|(folder, file)| !folder.is_empty() && file == "data.pkl")
    };
    let mut names = archive.file_names().filter_map(Result::ok).map(Cow::into_owned);
    let pickle = names.find(is_pickle).ok_or_else(|| {
        Fault::NotTorch("it is a zip archive without a data.pkl in a folder".to_owned())
    })?;
    drop(names);
    let folder = pickle.trim_end_matches("data.pkl");
    let order = format!("{folder}byteorder");
    if archive.index_for_name(&order).is_some() && entry(&mut archive, &order, 16)? != b"little" {
        return Err(big_endian());
    }
    let bytes = entry(&mut archive, &pickle, MAX_PICKLE_BYTES)?;
    let mut heap = Heap::default();
    let length = bytes.len() as u64;
    let root = unpickle(&mut Source::new(&bytes[..], length), &mut heap)?;
    check_total(&heap, allowed)?;
    let mut data = Vec::with_capacity(heap.storages.len());
    for storage in &heap.storages {
        let name = format!("{folder}data/{}", storage.key);
        let bytes = entry(&mut archive, &name, storage.bytes())?;
        if bytes.len() as u64 != storage.bytes() {
            let (found, expected) = (bytes.len(), storage.bytes());
            return Err(damaged(format!("{name} has {found} bytes and should have {expected}")));
        }
        data.push(Arc::new(bytes));
    }
    heap.tree(root, &data)
}

/// The bytes of an entry of an archive, whose size must not exceed `most`.
fn entry(
    archive: &mut ZipArchive<BufReader<File>>,
    name: &str,
    most: u64,
) -> Result<Vec<u8>, Fault> {
    let entry = archive.by_name(name).map_err(|error| match error {
        ZipError::FileNotFound => damaged(format!("it has no {name}")),
        other => of_zip(other),
    })?;
    let size = entry.size();
    if size > most {
        return Err(Fault::TooLarge(format!("{name} has {size} bytes and may have {most}")));
    }
    // `most` may be larger than the file, which a truthful stored entry is not.
    let mut bytes = Vec::new();
    let mut reader = entry.take(most.saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(|error| match error.raw_os_error() {
        Some(_) => Fault::Io(error),
        None => damaged(format!("{name} cannot be unpacked: {error}")),
    })?;
    if bytes.len() as u64 != size {
        return Err(damaged(format!("{name} has another size than the archive says")));
    }
    Ok(bytes)
}

fn of_zip(error: ZipError) -> Fault {
    match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => Fault::Io(error),
        other => damaged(format!("its zip archive cannot be read ({other})")),
    }
}

fn read_legacy(reader: impl Read, length: u64, allowed: u64) -> Result<Value, Fault> {
    let mut source = Source::new(reader, length);
    let mut heap = Heap::default();
    check_legacy_header(&mut source, &mut heap)?;
    let root = unpickle(&mut source, &mut heap)?;
    check_total(&heap, allowed)?;
    let keys = unpickle(&mut source, &mut heap)?;
    let keys = heap.sequence(keys)?.to_vec();
    source.begin_data();
    let mut data: Vec<Option<Arc<Vec<u8>>>> = vec![None; heap.storages.len()];
    for key in keys {
        let key = heap.text(key)?;
        let Some(place) = heap.storage_of(&key) else {
            return Err(damaged("it has a storage that no tensor is in"));
        };
        let storage = &heap.storages[place];
        let count = i64::from_le_bytes(source.array()?);
        if usize::try_from(count) != Ok(storage.length) || data[place].is_some() {
            let expected = storage.length;
            return Err(damaged(format!(
                "the storage {key} has {count} numbers and should have {expected}, once"
            )));
        }
        data[place] = Some(Arc::new(source.bytes(storage.bytes())?));
    }
    if source.left() > 0 {
        return Err(damaged(format!("it has {} bytes too many", source.left())));
    }
    let data: Option<Vec<_>> = data.into_iter().collect();
    heap.tree(root, &data.ok_or_else(|| damaged("the numbers of a tensor are missing"))?)
}

fn check_legacy_header(source: &mut Source<impl Read>, heap: &mut Heap) -> Result<(), Fault> {
    let magic = unpickle(source, heap)?;
    if !matches!(heap.get(magic), Object::Integer(LEGACY_MAGIC)) {
        return Err(Fault::NotTorch("it is a pickle, but not one of torch.save".to_owned()));
    }
    let protocol = unpickle(source, heap)?;
    if !matches!(heap.get(protocol), Object::Integer(LEGACY_PROTOCOL)) {
        let reason = format!("its protocol is not {LEGACY_PROTOCOL}, the only one there is");
        return Err(damaged(reason));
    }
    let system = unpickle(source, heap)?;
    let Object::Dict { items, .. } = heap.get(system) else {
        return Err(damaged("its facts about the machine are no dictionary"));
    };
    for (key, value) in items {
        let is_order = heap.text(*key).is_ok_and(|key| &*key == "little_endian");
        if is_order && !matches!(heap.get(*value), Object::Bool(true)) {
            return Err(big_endian());
        }
    }
    Ok(())
}

fn big_endian() -> Fault {
    Fault::Refused("numbers in big-endian order".to_owned())
}

/// Checks, before anything is read, that all storages together are as large as the file allows.
fn check_total(heap: &Heap, allowed: u64) -> Result<(), Fault> {
    let sizes = heap.storages.iter().map(|storage| u128::from(storage.bytes()));
    let total: u128 = sizes.sum();
    if total > u128::from(allowed) {
        return Err(Fault::TooLarge(format!(
            "its tensors would take {total} bytes, and a file of its size may have {allowed}"
        )));
    }
    Ok(())
}
