//! Micro-Manager's `NDTiff`: a folder of TIFFs whose planes an index file puts on axes.
//!
//! The axes `position`, `time`, `channel` and `z` are read, every position as an image of its
//! own; other axes may have one place only. The directories inside the TIFFs are not needed.
//!
//! Reference: the `NDTiff` specification, versions 2 and 3, of the `NDStorage` project.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::directory::{Directories, read_exact_at};
use super::nd_index::{At, Entry, parse};
use super::ome::beside;
use super::page::Page;
use super::series::{Image, PlaneAt, Series};
use crate::error::{Fault, malformed, unsupported};
use crate::metadata::positive;
use crate::{ByteOrder, Error};

/// Name of the index in the folder of a data set.
const INDEX: &str = "NDTiff.index";

/// Numbers at byte 8 of the TIFFs and before their JSON text about the whole.
const MAGIC: u32 = 483_729;
const SUMMARY: u32 = 2_355_492;

/// Most bytes of the JSON text about the whole or about a plane that are looked at.
const MOST_TEXT: u64 = 16 << 20;

/// The index of the data set that a path names by its folder, its index or one of its TIFFs.
pub(crate) fn index_of(path: &Path) -> Option<PathBuf> {
    let named = |name: &str| path.file_name().is_some_and(|own| own == name);
    let beside = path.with_file_name(INDEX);
    let inside = [path.join(INDEX), path.join("Full resolution").join(INDEX)];
    if path.is_dir() {
        inside.into_iter().find(|index| index.is_file())
    } else if named(INDEX) && path.is_file() {
        Some(path.to_owned())
    } else {
        (beside.is_file() && has_magic(path)).then_some(beside)
    }
}

/// Refuses a part whose index is not beside it.
pub(crate) fn without_index<T>() -> Result<T, Fault> {
    unsupported(
        "a Micro-Manager NDTiff stack without its NDTiff.index, which names its axes,",
        "put the NDTiff.index of the data set beside it",
    )
}

/// Whether a file is a part of a data set.
pub(crate) fn has_magic(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(12).read_to_end(&mut start));
    let number = start.get(8..12).and_then(|four| four.try_into().ok());
    read.is_ok()
        && number.is_some_and(|four| {
            u32::from_le_bytes(four) == MAGIC || u32::from_be_bytes(four) == MAGIC
        })
}

/// Opens the data set of an index; `path` is what was asked for.
pub(crate) fn open(path: &Path, index: &Path) -> Result<Image, Error> {
    let at = |fault: Fault| fault.at(index);
    let bytes = std::fs::read(index).map_err(|source| Error::read(index, source))?;
    let mut entries = parse(&bytes).map_err(at)?;
    drop(bytes);
    check_axes(&entries).map_err(at)?;
    let (mut files, mut by_name, mut headers) = (Vec::new(), HashMap::new(), Vec::new());
    let mut places = Vec::with_capacity(entries.len());
    for entry in &mut entries {
        let name = std::mem::take(&mut entry.file_name);
        let file = match by_name.get(&name) {
            Some(file) => *file,
            None => {
                let (file, header) = open_part(index, &name)?;
                files.push(file);
                headers.push(header);
                by_name.insert(name, files.len() - 1);
                files.len() - 1
            }
        };
        let page = page_of(entry, files[file].order).map_err(at)?;
        files[file].pages.push(page);
        places.push(PlaneAt { file, page: files[file].pages.len() - 1 });
    }
    let asked = path.extension().is_some_and(|end| end == "tif");
    if asked && !files.iter().any(|file| file.path.file_name() == path.file_name()) {
        let what = format!("the {INDEX} beside it does not name it; it is of another data set");
        return Err(Error::Format { path: path.to_owned(), what });
    }
    let known = Known { headers: &headers, files: &files };
    let series = all_series(&entries, &places, &known).map_err(at)?;
    Ok(Image { path: path.to_owned(), files, format: "NDTiff", series })
}

/// Fails where an axis that has no meaning here has several places.
fn check_axes(entries: &[Entry]) -> Result<(), Fault> {
    let odd = |name: &str| !matches!(name, "position" | "time" | "channel" | "z");
    let mut first: HashMap<&str, &At> = HashMap::new();
    for (name, at) in entries.iter().flat_map(|entry| &entry.axes).filter(|axis| odd(&axis.0)) {
        if first.entry(name).or_insert(at) != &at {
            return unsupported(
                format!("an NDTiff data set with several places on the axis {name}"),
                "save the places of that axis as data sets of their own; the axes position, \
                 time, channel and z are read",
            );
        }
    }
    Ok(())
}

/// What the header of a part says.
#[derive(Debug)]
struct Header {
    version: (u32, u32),
    summary: Value,
}

/// Opens a TIFF of the set for its header; the pages come from the index.
fn open_part(index: &Path, name: &str) -> Result<(Directories, Header), Error> {
    let path = beside(index, name).map_err(|fault| fault.at(index))?;
    if !path.is_file() {
        let what = format!("planes of it are in {name}, which is not beside it; put it there");
        return Err(Error::Format { path: index.to_owned(), what });
    }
    let mut file = File::open(&path).map_err(|source| Error::read(&path, source))?;
    let length = file.metadata().map_err(|source| Error::read(&path, source))?.len();
    let (order, header) = header(&mut file, length).map_err(|fault| fault.at(&path))?;
    let file = Directories { path, length, order, big: false, pages: Vec::new() };
    Ok((file, header))
}

fn header(file: &mut File, length: u64) -> Result<(ByteOrder, Header), Fault> {
    if length < 28 {
        return malformed("not an NDTiff: shorter than a header");
    }
    let start = read_exact_at(file, 0, 28)?;
    let order = match start[..2] {
        [b'I', b'I'] => ByteOrder::Little,
        [b'M', b'M'] => ByteOrder::Big,
        _ => return malformed("not an NDTiff: it does not begin with II or MM"),
    };
    let number = |at: usize| {
        let push = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        match order {
            ByteOrder::Big => start[at..at + 4].iter().fold(0, push),
            ByteOrder::Little => start[at..at + 4].iter().rev().fold(0, push),
        }
    };
    if number(8) != MAGIC {
        return malformed("not an NDTiff: its mark at byte 8 is missing");
    }
    let major = number(12);
    if !(2..=3).contains(&major) {
        return unsupported(
            format!("version {major} of NDTiff"),
            "open it in Micro-Manager and save it as OME-TIFF",
        );
    }
    // The mark of the text tells whether a minor version stands before it.
    let (minor, text_at) = match (number(16), number(20)) {
        (SUMMARY, _) => (0, 24),
        (minor, SUMMARY) => (minor, 28),
        _ => return malformed("the mark of the summary is missing; the file is damaged"),
    };
    let summary = json_at(file, length, text_at, u64::from(number(text_at as usize - 4)));
    Ok((order, Header { version: (major, minor), summary }))
}

/// JSON text in a file; null where there is none that can be read, for nothing but names and
/// sizes hangs on it.
fn json_at(file: &mut File, length: u64, at: u64, count: u64) -> Value {
    if count > MOST_TEXT || at + count > length {
        return Value::Null;
    }
    let bytes = read_exact_at(file, at, count).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

fn page_of(entry: &Entry, order: ByteOrder) -> Result<Page, Fault> {
    let mut page = Page::raw(entry.size, entry.samples, entry.bits, order);
    page.numbers()?;
    page.offsets = vec![entry.offset];
    page.counts = page.plane_bytes_raw().into_iter().collect();
    Ok(page)
}

/// What is known beside the index.
struct Known<'a> {
    headers: &'a [Header],
    files: &'a [Directories],
}

/// One series a position.
fn all_series(
    entries: &[Entry],
    places: &[PlaneAt],
    known: &Known<'_>,
) -> Result<Vec<Series>, Fault> {
    let mut of_position: HashMap<At, Vec<usize>> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        of_position.entry(entry.at("position")).or_default().push(index);
    }
    let positions = Axis::of("position", entries.iter())?;
    let mut all = Vec::new();
    for position in &positions.places {
        let members = of_position.remove(position).unwrap_or_default();
        let mut series = one_series(entries, &members, places, known)?;
        series.name = match position {
            At::Name(name) => name.clone(),
            At::Number(number) if positions.places.len() > 1 => format!("position {number}"),
            At::Number(_) => String::new(),
        };
        all.push(series);
    }
    Ok(all)
}

fn one_series(
    entries: &[Entry],
    members: &[usize],
    places: &[PlaneAt],
    known: &Known<'_>,
) -> Result<Series, Fault> {
    let of = |name| Axis::of(name, members.iter().map(|index| &entries[*index]));
    let axes = [of("time")?, of("channel")?, of("z")?];
    let lengths = [0, 1, 2].map(|axis| axes[axis].places.len());
    let total = lengths.iter().try_fold(1_usize, |total, length| total.checked_mul(*length));
    let Some(total) = total.filter(|total| *total <= 1024 + 64 * members.len()) else {
        return Err(Fault::Limit(format!(
            "the index has {} planes on axes of {lengths:?} places",
            members.len()
        )));
    };
    let mut planes = vec![None; total];
    for index in members {
        let position = axes.iter().fold(0, |position, axis| {
            position * axis.places.len() + axis.number_of(&entries[*index])
        });
        planes[position] = Some(places[*index]);
    }
    let page = |index: usize| &known.files[places[index].file].pages[places[index].page];
    let first = members[0];
    if let Some(odd) = members.iter().find(|index| !page(**index).matches(page(first))) {
        return malformed(format!("entry {odd} differs in size or type from the first"));
    }
    let summary = &known.headers[places[first].file].summary;
    let own = metadata_of(&entries[first], places[first], known);
    let size = |json: &Value, name: &str| json[name].as_f64().and_then(positive);
    let pixel = size(&own, "PixelSizeUm").or_else(|| size(summary, "PixelSize_um"));
    Ok(Series {
        leading: ['T', 'C', 'Z'].into_iter().zip(lengths).collect(),
        planes,
        spacing_um: [size(summary, "z-step_um"), pixel, pixel],
        channel_names: channel_names(&axes[1], entries, members, places, known),
        ..Series::default()
    })
}

/// Names of the channels: their places where those are names. Before version 3.2 they are
/// numbers, and the names stand in the summary or with the planes.
fn channel_names(
    channels: &Axis,
    entries: &[Entry],
    members: &[usize],
    places: &[PlaneAt],
    known: &Known<'_>,
) -> Vec<Option<String>> {
    let header = &known.headers[places[members[0]].file];
    let listed = header.summary["ChNames"].as_array();
    let name = |channel: &At| match channel {
        At::Name(name) => Some(name.clone()),
        At::Number(_) if header.version >= (3, 2) => None,
        At::Number(number) => match listed {
            Some(list) => list.get(usize::try_from(*number).ok()?)?.as_str().map(str::to_owned),
            None => {
                let of_it = |index: &&usize| entries[**index].at("channel") == *channel;
                let index = *members.iter().find(of_it)?;
                let own = metadata_of(&entries[index], places[index], known);
                own["Channel"].as_str().filter(|name| !name.is_empty()).map(str::to_owned)
            }
        },
    };
    // Asking a file about every one of thousands of places would take long.
    channels.places.iter().take(64).map(name).collect()
}

/// What the file says about a plane.
fn metadata_of(entry: &Entry, place: PlaneAt, known: &Known<'_>) -> Value {
    let part = &known.files[place.file];
    let (at, count) = entry.metadata;
    match File::open(&part.path) {
        Ok(mut file) => json_at(&mut file, part.length, at, count),
        Err(_) => Value::Null,
    }
}

/// The places on one axis: numbers in their order, names as they first appear.
struct Axis {
    name: &'static str,
    places: Vec<At>,
    number: HashMap<At, usize>,
}

impl Axis {
    fn of<'a>(name: &'static str, entries: impl Iterator<Item = &'a Entry>) -> Result<Self, Fault> {
        let mut places: Vec<At> = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in entries {
            let at = entry.at(name);
            if seen.insert(at.clone()) {
                places.push(at);
            }
        }
        let numbers = places.iter().filter(|at| matches!(at, At::Number(_))).count();
        if numbers == places.len() {
            places.sort();
        } else if numbers > 0 {
            return malformed(format!("the places on the axis {name} are numbers and names"));
        }
        let number = places.iter().cloned().enumerate().map(|(index, at)| (at, index)).collect();
        Ok(Self { name, places, number })
    }

    fn number_of(&self, entry: &Entry) -> usize {
        self.number[&entry.at(self.name)]
    }
}
