//! Numbers whose bits do not fill bytes: masks of 1 bit, cameras of 10, 12 or 14 bits.

/// Unpacks rows of numbers of `bits` bits into little-endian numbers of `width` bytes.
///
/// The first number lies in the highest bits, whatever the byte order of the file; every row
/// begins with a new byte. `bits` is below 16.
pub(crate) fn unpack(bytes: &[u8], row_numbers: usize, bits: usize, width: usize) -> Vec<u8> {
    let row_bytes = (row_numbers * bits).div_ceil(8);
    let rows = bytes.chunks_exact(row_bytes);
    let mut numbers = Vec::with_capacity(rows.len() * row_numbers * width);
    for row in rows {
        let (mut held, mut count) = (0_u64, 0);
        let mut source = row.iter();
        for _ in 0..row_numbers {
            while count < bits {
                held = held << 8 | u64::from(source.next().copied().unwrap_or(0));
                count += 8;
            }
            count -= bits;
            let number = held >> count & ((1 << bits) - 1);
            numbers.extend_from_slice(&number.to_le_bytes()[..width]);
        }
    }
    numbers
}

/// Undoes horizontal differencing of unpacked numbers, which wrap at their own width.
pub(crate) fn undo_differences(
    numbers: &mut [u8],
    row: usize,
    bits: usize,
    width: usize,
    samples: usize,
) {
    let mask = (1_u64 << bits) - 1;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |n, b| n << 8 | u64::from(*b));
    for line in numbers.chunks_exact_mut(row) {
        for at in (samples * width..line.len()).step_by(width) {
            let before = number(&line[at - samples * width..][..width]);
            let sum = (before + number(&line[at..][..width])) & mask;
            line[at..at + width].copy_from_slice(&sum.to_le_bytes()[..width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_from_the_highest() {
        let found = unpack(&[0b1010_0000, 0b0100_0000], 3, 1, 1);
        assert_eq!(found, [1, 0, 1, 0, 1, 0]);
        let found = unpack(&[0x12, 0x3A, 0xBC], 2, 12, 2);
        assert_eq!(found, [0x23, 0x01, 0xBC, 0x0A]);
    }

    #[test]
    fn differences_wrap_at_the_width() {
        let mut numbers = [15, 3, 1];
        undo_differences(&mut numbers, 3, 4, 1, 1);
        assert_eq!(numbers, [15, 2, 3]);
    }
}
