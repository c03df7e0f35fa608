//! Bytes of a file in order, each count checked against what is left before anything is
//! allocated.

use std::io::Read;

use super::fault::{Fault, damaged};

/// Longest pickle that is read: the names and shapes of some hundred thousand tensors.
pub(super) const MAX_PICKLE_BYTES: u64 = 16 << 20;

/// Longest name of a module or class.
const MAX_LINE_BYTES: usize = 256;

/// A reader that knows where it is and where it must stop.
#[derive(Debug)]
pub(super) struct Source<R> {
    reader: R,
    position: u64,
    /// Where the file ends.
    end: u64,
    /// Where the pickle must have ended.
    limit: u64,
}

impl<R: Read> Source<R> {
    /// Reads `length` bytes, the first of them a pickle.
    pub(super) fn new(reader: R, length: u64) -> Self {
        let mut source = Self { reader, position: 0, end: length, limit: 0 };
        source.begin_pickle();
        source
    }

    /// From here on, [`MAX_PICKLE_BYTES`] may be read.
    pub(super) fn begin_pickle(&mut self) {
        self.limit = self.position + MAX_PICKLE_BYTES;
    }

    /// From here on, only the end of the file is a limit.
    pub(super) fn begin_data(&mut self) {
        self.limit = u64::MAX;
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.end - self.position
    }

    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, Fault> {
        self.check(count)?;
        let length = usize::try_from(count)
            .map_err(|_| Fault::TooLarge(format!("{count} bytes do not fit in memory")))?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.check(N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A line of text without its end.
    pub(super) fn line(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                _ if line.len() == MAX_LINE_BYTES => {
                    return Err(damaged("the name of a class does not end"));
                }
                byte => line.push(byte),
            }
        }
        String::from_utf8(line).map_err(|_| damaged("the name of a class is not text"))
    }

    fn check(&self, count: u64) -> Result<(), Fault> {
        let expected = self.position.saturating_add(count);
        if expected > self.end {
            return Err(Fault::Truncated { expected, found: self.end });
        }
        if expected > self.limit {
            return Err(Fault::TooLarge(format!(
                "its pickle has more than {MAX_PICKLE_BYTES} bytes, which no list of weights needs"
            )));
        }
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        self.reader.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}
