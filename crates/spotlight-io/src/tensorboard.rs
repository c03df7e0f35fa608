//! Writes scalars as `TensorBoard` event files.
//!
//! An event file is a row of records: length, its masked CRC-32C, a protocol buffer
//! message, its masked CRC-32C. Reference: `tensorflow/core/lib/io/record_writer.cc` and
//! `tensorflow/core/util/event.proto`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::Error;

/// An event file that grows while a training runs.
///
/// # Examples
///
/// ```
/// use spotlight_io::tensorboard::EventWriter;
///
/// let folder = tempfile::tempdir()?;
/// let mut events = EventWriter::create(folder.path(), 1_700_000_000.0)?;
/// events.scalar("loss/train", 1, 0.75, 1_700_000_001.0)?;
/// events.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl EventWriter {
    /// Begins an event file in a folder that exists. `wall_time_s` is seconds since 1970.
    ///
    /// Each call makes a file of its own; `TensorBoard` shows the files of a folder as one
    /// run, so that a resumed training continues its curves.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses.
    pub fn create(folder: &Path, wall_time_s: f64) -> Result<Self, Error> {
        let seconds = wall_time_s.max(0.0) as u64;
        let mut attempt = 0;
        let (path, file) = loop {
            let path =
                folder.join(format!("events.out.tfevents.{seconds:010}.spotlight.{attempt}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(Error::write(&path, error)),
            }
        };
        let mut events = Self { path, writer: BufWriter::new(file) };
        events.record(&Event {
            wall_time: wall_time_s,
            step: 0,
            file_version: Some("brain.Event:2".to_owned()),
            summary: None,
        })?;
        events.flush()?;
        Ok(events)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a value of the curve `tag` at a step. `wall_time_s` is seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses.
    pub fn scalar(
        &mut self,
        tag: &str,
        step: u64,
        value: f32,
        wall_time_s: f64,
    ) -> Result<(), Error> {
        let value = Value { tag: tag.to_owned(), simple_value: Some(value) };
        self.record(&Event {
            wall_time: wall_time_s,
            step: i64::try_from(step).unwrap_or(i64::MAX),
            file_version: None,
            summary: Some(Summary { value: vec![value] }),
        })
    }

    /// Hands everything to the system, so that `TensorBoard` shows it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().map_err(|source| Error::write(&self.path, source))
    }

    fn record(&mut self, event: &Event) -> Result<(), Error> {
        let record = framed(&event.encode_to_vec());
        self.writer.write_all(&record).map_err(|source| Error::write(&self.path, source))
    }
}

/// A message with its length and checksums.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_crc(message).to_le_bytes());
    record
}

/// CRC-32C, rotated and shifted so that a checksum of data with checksums stays good.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads records back, checking lengths and checksums.
    fn events(mut bytes: &[u8]) -> Vec<Event> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            let checked = u32::from_le_bytes(head[8..].try_into().unwrap());
            assert_eq!(checked, masked_crc(&head[..8]));
            let (message, rest) = rest.split_at(length);
            let (checked, rest) = rest.split_at(4);
            assert_eq!(checked, masked_crc(message).to_le_bytes());
            found.push(Event::decode(message).unwrap());
            bytes = rest;
        }
        found
    }

    #[test]
    fn scalars_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 10.5).unwrap();
        writer.scalar("loss/train", 1, 0.5, 11.0).unwrap();
        writer.scalar("loss/validate", 300, -2.0, 12.0).unwrap();
        writer.flush().unwrap();
        let found = events(&std::fs::read(writer.path()).unwrap());
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].file_version.as_deref(), Some("brain.Event:2"));
        let value = &found[2].summary.as_ref().unwrap().value[0];
        assert_eq!((found[2].step, found[2].wall_time), (300, 12.0));
        assert_eq!((value.tag.as_str(), value.simple_value), ("loss/validate", Some(-2.0)));
    }

    #[test]
    fn a_second_file_of_the_same_second_has_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let one = EventWriter::create(folder.path(), 10.0).unwrap();
        let two = EventWriter::create(folder.path(), 10.0).unwrap();
        assert_ne!(one.path(), two.path());
    }

    #[test]
    fn checksum_of_the_check_string() {
        // CRC-32C of "123456789" is E3069283.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
        let masked = 0xE306_9283_u32.rotate_right(15).wrapping_add(0xA282_EAD8);
        assert_eq!(masked_crc(b"123456789"), masked);
    }
}
