//! The index file of Micro-Manager's `NDTiff`: where every plane lies and its place on the axes.
//!
//! An entry is the length of a JSON text and the text (`{"time":0,"channel":"DAPI"}`), the
//! length of a file name and the name, then eight numbers: position of the pixels, width,
//! height, pixel type, compression, and position, length and compression of the metadata. All
//! numbers have 32 bits, least significant byte first.
//!
//! Reference: the `NDTiff` specification, versions 2 and 3, of the `NDStorage` project.

use serde_json::Value;

use crate::error::{Fault, malformed, unsupported};

/// One plane.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Names of the axes and the place on each.
    pub(crate) axes: Vec<(String, At)>,
    pub(crate) file_name: String,
    /// Where the pixels begin in that file.
    pub(crate) offset: u64,
    /// Height and width.
    pub(crate) size: [usize; 2],
    /// Numbers a pixel: 1 for grey, 3 for RGB.
    pub(crate) samples: usize,
    pub(crate) bits: u16,
    /// Where the JSON text about the plane begins, and its bytes.
    pub(crate) metadata: (u64, u64),
}

/// A place on an axis: numbers come before names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum At {
    Number(i64),
    Name(String),
}

impl Entry {
    /// The place on an axis; 0 where the entry does not name the axis.
    pub(crate) fn at(&self, axis: &str) -> At {
        let found = self.axes.iter().find(|(name, _)| name == axis);
        found.map_or(At::Number(0), |(_, at)| at.clone())
    }
}

/// Reads all entries of an index.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let mut rest = Rest { bytes };
    let mut entries = Vec::new();
    // An acquisition that was stopped leaves zeros at the end.
    while !rest.bytes.is_empty() && rest.bytes.iter().take(4).any(|byte| *byte != 0) {
        let place = format!("entry {}", entries.len());
        entries.push(entry(&mut rest).map_err(|fault| fault.within(&place))?);
    }
    if entries.is_empty() {
        return malformed("the index names no planes");
    }
    Ok(entries)
}

fn entry(rest: &mut Rest<'_>) -> Result<Entry, Fault> {
    let axes = axes(rest.text()?)?;
    let file_name = rest.text()?.to_owned();
    let mut numbers = [0_u32; 8];
    for number in &mut numbers {
        *number = rest.number()?;
    }
    let [offset, width, height, kind, compression, at, length, _] = numbers;
    if width == 0 || height == 0 {
        return malformed(format!("a plane of {height} x {width} pixels"));
    }
    if compression != 0 {
        return unsupported(
            format!("compression {compression} of NDTiff"),
            "save it without compression in Micro-Manager",
        );
    }
    let (bits, samples) = match kind {
        0 => (8, 1),
        // 16 bits, and 10, 12, 14 or 11 of them in use.
        1 | 3..=6 => (16, 1),
        2 => (8, 3),
        other => {
            return unsupported(
                format!("pixel type {other} of NDTiff"),
                "save it as 8-bit or 16-bit grey or RGB in Micro-Manager",
            );
        }
    };
    Ok(Entry {
        axes,
        file_name,
        offset: u64::from(offset),
        size: [height as usize, width as usize],
        samples,
        bits,
        metadata: (u64::from(at), u64::from(length)),
    })
}

fn axes(text: &str) -> Result<Vec<(String, At)>, Fault> {
    let Ok(Value::Object(map)) = serde_json::from_str(text) else {
        return malformed(format!("its axes are no JSON object: {:.200}", text));
    };
    let place = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, At::Name(text))),
        Value::Number(number) if number.is_i64() => {
            Ok((name, At::Number(number.as_i64().unwrap_or(0))))
        }
        other => malformed(format!("the place on the axis {name} is {other}")),
    };
    map.into_iter().map(place).collect()
}

/// What of the index is still to be read.
struct Rest<'a> {
    bytes: &'a [u8],
}

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => {
                let left = self.bytes.len();
                malformed(format!(
                    "{count} bytes are announced, but {left} are left; the index is cut off or \
                     damaged"
                ))
            }
        }
    }

    fn number(&mut self) -> Result<u32, Fault> {
        Ok(self.take(4)?.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn text(&mut self) -> Result<&'a str, Fault> {
        let length = self.number()? as usize;
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(text),
            Err(_) => malformed("its text is not UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(axes: &str, numbers: [u32; 8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in [axes, "a.tif"] {
            bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes
    }

    #[test]
    fn an_entry_and_the_zeros_after_it() {
        let mut bytes = bytes_of("{\"channel\":\"DAPI\",\"z\":-2}", [7, 4, 3, 5, 0, 31, 9, 0]);
        bytes.extend([0; 10]);
        let entries = parse(&bytes).unwrap();
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!((entry.at("channel"), entry.at("z")), (At::Name("DAPI".into()), At::Number(-2)));
        assert_eq!(entry.at("time"), At::Number(0));
        assert_eq!((entry.file_name.as_str(), entry.offset, entry.size), ("a.tif", 7, [3, 4]));
        assert_eq!((entry.samples, entry.bits, entry.metadata), (1, 16, (31, 9)));
    }

    #[test]
    fn damaged_indices_are_errors() {
        let sound = bytes_of("{\"z\":0}", [0, 1, 1, 0, 0, 0, 0, 0]);
        assert!(parse(&sound).is_ok() && parse(&[]).is_err() && parse(&[0; 8]).is_err());
        for cut in 1..sound.len() {
            assert!(parse(&sound[..cut]).is_err(), "{cut}");
        }
        for axes in ["", "[]", "{\"z\":1.5}", "{\"z\":null}", "{\"z\":99999999999999999999}"] {
            assert!(parse(&bytes_of(axes, [0, 1, 1, 0, 0, 0, 0, 0])).is_err(), "{axes}");
        }
        for numbers in [[0; 8], [0, 1, 1, 7, 0, 0, 0, 0], [0, 1, 1, 0, 1, 0, 0, 0]] {
            assert!(parse(&bytes_of("{}", numbers)).is_err(), "{numbers:?}");
        }
    }
}
