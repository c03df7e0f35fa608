//! Undoes the prediction that makes numbers compress better.
//!
//! Both kinds work row by row on a strip or tile and leave little-endian numbers.
//! References: TIFF 6.0, section 14 (horizontal differencing); Adobe Photoshop TIFF
//! Technical Note 3 (floating point).

use crate::ByteOrder;

/// Turns the bytes of decompressed rows into little-endian numbers.
///
/// `row` is the bytes of a row, `width` the bytes of a number, `samples` the numbers a
/// pixel in this strip or tile; `predictor` is 1, 2 or 3.
pub(crate) fn undo(
    predictor: u16,
    bytes: &mut [u8],
    row: usize,
    width: usize,
    samples: usize,
    order: ByteOrder,
) {
    if predictor == 3 {
        let mut planes = vec![0; row];
        for line in bytes.chunks_exact_mut(row) {
            undo_floating_point(line, &mut planes, width, samples);
        }
        return;
    }
    if order == ByteOrder::Big && width > 1 {
        bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    if predictor == 2 {
        for line in bytes.chunks_exact_mut(row) {
            match width {
                1 => sum::<1>(line, samples),
                2 => sum::<2>(line, samples),
                4 => sum::<4>(line, samples),
                _ => sum::<8>(line, samples),
            }
        }
    }
}

/// Adds to every number of a row the one of the pixel before.
fn sum<const WIDTH: usize>(line: &mut [u8], samples: usize) {
    let number = |bytes: &[u8]| {
        let mut wide = [0; 8];
        wide[..WIDTH].copy_from_slice(bytes);
        u64::from_le_bytes(wide)
    };
    for at in (samples * WIDTH..line.len()).step_by(WIDTH) {
        let before = number(&line[at - samples * WIDTH..][..WIDTH]);
        let sum = before.wrapping_add(number(&line[at..][..WIDTH]));
        line[at..at + WIDTH].copy_from_slice(&sum.to_le_bytes()[..WIDTH]);
    }
}

/// A row holds the most significant bytes of all numbers, then the next, each byte as the
/// difference to the one a pixel before.
fn undo_floating_point(line: &mut [u8], planes: &mut [u8], width: usize, samples: usize) {
    for at in samples..line.len() {
        line[at] = line[at].wrapping_add(line[at - samples]);
    }
    planes.copy_from_slice(line);
    let numbers = line.len() / width;
    for (index, number) in line.chunks_exact_mut(width).enumerate() {
        for (byte, target) in number.iter_mut().rev().enumerate() {
            *target = planes[byte * numbers + index];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizontal_differences_wrap() {
        let mut bytes = [250, 10, 20, 1, 1, 1];
        undo(2, &mut bytes, 3, 1, 1, ByteOrder::Little);
        assert_eq!(bytes, [250, 4, 24, 1, 2, 3]);
        let mut bytes = [0x01, 0x00, 0x00, 0xFF];
        undo(2, &mut bytes, 4, 2, 1, ByteOrder::Big);
        assert_eq!(bytes, [0x00, 0x01, 0xFF, 0x01]);
        let mut colours = [1, 2, 3, 1, 1, 1];
        undo(2, &mut colours, 6, 1, 3, ByteOrder::Little);
        assert_eq!(colours, [1, 2, 3, 2, 3, 4]);
    }

    #[test]
    fn floating_point_planes_are_joined() {
        // 1.0 and 2.0: bytes 3F 80 00 00 and 40 00 00 00, in planes 3F 40 80 00 00 00 00 00,
        // each as the difference to the byte before.
        let mut bytes = [0x3F, 0x01, 0x40, 0x80, 0, 0, 0, 0];
        undo(3, &mut bytes, 8, 4, 1, ByteOrder::Big);
        assert_eq!(bytes[..4], 1.0_f32.to_le_bytes());
        assert_eq!(bytes[4..], 2.0_f32.to_le_bytes());
    }
}
