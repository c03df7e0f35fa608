//! The tags of a directory that is written: numbers and texts to bytes.

/// A position in the width of the file's kind.
pub(super) fn word(value: u64, big: bool) -> Vec<u8> {
    let width = if big { 8 } else { 4 };
    value.to_le_bytes()[..width].to_vec()
}

/// The tags of a directory: number, type, count, bytes of the values.
pub(super) struct Tags {
    pub(super) big: bool,
    pub(super) entries: Vec<(u16, u16, u64, Vec<u8>)>,
}

impl Tags {
    pub(super) fn short(&mut self, tag: u16, value: u16) {
        self.entries.push((tag, 3, 1, value.to_le_bytes().to_vec()));
    }

    pub(super) fn long(&mut self, tag: u16, value: u64) {
        self.entries.push((tag, 4, 1, value.to_le_bytes()[..4].to_vec()));
    }

    pub(super) fn text(&mut self, tag: u16, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.entries.push((tag, 2, bytes.len() as u64, bytes));
    }

    pub(super) fn positions(&mut self, tag: u16, values: &[u64]) {
        let bytes = values.iter().flat_map(|value| word(*value, self.big)).collect();
        let kind = if self.big { 16 } else { 4 };
        self.entries.push((tag, kind, values.len() as u64, bytes));
    }

    pub(super) fn rational(&mut self, tag: u16, value: f64) {
        let (numerator, denominator) = fraction(value);
        let mut bytes = numerator.to_le_bytes().to_vec();
        bytes.extend(denominator.to_le_bytes());
        self.entries.push((tag, 5, 1, bytes));
    }

    /// The directory and, after it, the longer values.
    pub(super) fn bytes(&self, at: u64, last: bool) -> Vec<u8> {
        let width = if self.big { 8 } else { 4 };
        let count = self.entries.len();
        let count_bytes = if self.big { 8 } else { 2 };
        let length = count_bytes + count * (4 + 2 * width) + width;
        // Values begin after the directory at an even position.
        let values_at = length + length % 2;
        let mut values: Vec<u8> = Vec::new();
        let mut bytes = (count as u64).to_le_bytes()[..count_bytes].to_vec();
        for (tag, kind, count, data) in &self.entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(word(*count, self.big));
            if data.len() <= width {
                let mut inline = data.clone();
                inline.resize(width, 0);
                bytes.extend(inline);
            } else {
                bytes.extend(word(at + (values_at + values.len()) as u64, self.big));
                values.extend(data);
                values.resize(values.len().next_multiple_of(2), 0);
            }
        }
        let next = if last { 0 } else { at + (values_at + values.len()) as u64 };
        bytes.extend(word(next, self.big));
        bytes.resize(values_at, 0);
        bytes.extend(values);
        bytes
    }
}

/// A positive number as a fraction of two 32-bit numbers, with as many digits as fit.
fn fraction(value: f64) -> (u32, u32) {
    let mut denominator = 1_000_000_000_u32;
    while denominator > 1 && value * f64::from(denominator) > f64::from(u32::MAX) {
        denominator /= 10;
    }
    ((value * f64::from(denominator)).round() as u32, denominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_keep_their_digits() {
        assert_eq!(fraction(1.0), (1_000_000_000, 1_000_000_000));
        let (numerator, denominator) = fraction(10_000.0 / 0.29);
        let found = 10_000.0 * f64::from(denominator) / f64::from(numerator);
        assert!((found - 0.29).abs() < 1e-9, "{found}");
    }
}
