//! One plane of a file to numbers.

use std::fs::File;
use std::ops::Range;

use spotlight_image::grid::Region;

use super::directory::read_exact_at;
use super::page::{Page, Stored};
use super::{codec, packed, predictor};
use crate::error::{Fault, malformed, unsupported};
use crate::voxels::f32_from_half;

/// Rows and columns of a plane that are read.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl Window {
    /// The part of a plane that lies in a box.
    pub(crate) fn of(region: Region) -> Self {
        let ([_, top, left], [_, bottom, right]) = (region.start, region.stop());
        Self { rows: top..bottom, columns: left..right }
    }
}

/// Reads a window of a plane: its numbers as little-endian bytes, samples side by side (y, x, s)
/// or, for planar files, in planes (s, y, x). Strips and tiles outside are not read.
pub(crate) fn read_plane(
    file: &mut File,
    length: u64,
    page: &Page,
    window: &Window,
) -> Result<Vec<u8>, Fault> {
    check_readable(page)?;
    let stored = page.stored()?;
    let width = stored.bytes();
    let grid = Grid::of(page, width)?;
    page.numbers()?;
    let mut plane = vec![0; window.rows.len() * window.columns.len() * page.samples * width];
    for segment in (0..grid.count()).filter(|segment| grid.meets(*segment, window)) {
        let place = || format!("{} {segment}", if page.tile.is_some() { "tile" } else { "strip" });
        let rows = grid.rows_stored(segment, page);
        let size = rows * grid.stored_row_bytes(stored);
        let (Some(offset), Some(count)) = (page.offsets.get(segment), page.counts.get(segment))
        else {
            return malformed(format!("{} is missing", place()));
        };
        if *offset == 0 && *count == 0 {
            // A sparse file: strips that hold only zeros are left out.
            continue;
        }
        let bytes = read_segment(file, length, page, *offset, *count, size);
        let mut bytes = bytes.map_err(|fault| fault.within(&place()))?;
        let (row, samples) = (grid.row_bytes(), grid.samples);
        if let Stored::Packed(bits) = stored {
            let bits = usize::from(bits);
            bytes = packed::unpack(&bytes, grid.segment[1] * samples, bits, width);
            if page.predictor == 2 {
                packed::undo_differences(&mut bytes, row, bits, width, samples);
            }
        } else {
            predictor::undo(page.predictor, &mut bytes, row, width, samples, page.order);
        }
        grid.paste(segment, &bytes, &mut plane, window);
    }
    Ok(plane)
}

/// Fails where the plane is stored in a way that is not read.
pub(crate) fn check_readable(page: &Page) -> Result<Stored, Fault> {
    codec::check(page.compression)?;
    let stored = page.stored()?;
    if page.subsampled {
        return unsupported("a YCbCr image with subsampled colours", "save it as RGB or grey");
    }
    if page.depth > 1 {
        return unsupported("a volume in one directory (SGI)", "save it as a z-stack of planes");
    }
    match page.predictor {
        1 | 2 => {}
        3 if page.format == 3 => {}
        3 => return malformed("the floating-point predictor on integers"),
        other => return unsupported(format!("TIFF predictor {other}"), "save it without one"),
    }
    Ok(stored)
}

fn read_segment(
    file: &mut File,
    length: u64,
    page: &Page,
    offset: u64,
    count: u64,
    size: usize,
) -> Result<Vec<u8>, Fault> {
    // Of uncompressed data only the image is read, however long the strip claims to be.
    // Compressed data is hardly larger than what it stands for; what claims to be is cut.
    let most = if page.compression == 1 { size as u64 } else { 2 * size as u64 + 4096 };
    let count = count.min(most);
    if offset.checked_add(count).is_none_or(|end| end > length) {
        return malformed(format!(
            "its {count} bytes at position {offset} lie beyond the end of the file ({length} \
             bytes); the file is cut off or damaged"
        ));
    }
    let ratio = codec::largest_ratio(page.compression);
    if size as u64 > count.saturating_mul(ratio).saturating_add(1 << 20) {
        return malformed(format!("{count} bytes cannot hold the {size} that are expected"));
    }
    let mut data = read_exact_at(file, offset, count)?;
    if page.bits_reversed {
        data.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
    }
    let bytes = codec::decompress(page.compression, data, size)?;
    if bytes.len() < size {
        let found = bytes.len();
        return malformed(format!("it holds {found} bytes, expected {size}; the file is damaged"));
    }
    Ok(bytes)
}

/// How strips or tiles cover a plane.
struct Grid {
    /// Rows and columns of a strip or tile.
    segment: [usize; 2],
    /// Strips or tiles along (y, x).
    across: [usize; 2],
    /// Planes of samples that are stored one after another.
    planes: usize,
    /// Samples side by side.
    samples: usize,
    /// Bytes of a pixel in a strip or tile.
    pixel: usize,
}

impl Grid {
    fn of(page: &Page, width: usize) -> Result<Self, Fault> {
        let segment = page.tile.unwrap_or([page.rows_per_strip, page.width]);
        let across = [page.height.div_ceil(segment[0]), page.width.div_ceil(segment[1])];
        let (planes, samples) = if page.planar { (page.samples, 1) } else { (1, page.samples) };
        let grid = Self { segment, across, planes, samples, pixel: samples * width };
        let bytes = grid.row_bytes().checked_mul(segment[0]);
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize / 4) {
            return Err(Fault::Limit(format!("strips or tiles of {segment:?} pixels")));
        }
        Ok(grid)
    }

    fn count(&self) -> usize {
        self.across[0] * self.across[1] * self.planes
    }

    fn row_bytes(&self) -> usize {
        self.segment[1] * self.pixel
    }

    /// Bytes of a row in the file.
    fn stored_row_bytes(&self, stored: Stored) -> usize {
        match stored {
            Stored::Packed(bits) => {
                (self.segment[1] * self.samples * usize::from(bits)).div_ceil(8)
            }
            _ => self.row_bytes(),
        }
    }

    /// First row and column of a strip or tile, and its plane.
    fn start(&self, segment: usize) -> ([usize; 2], usize) {
        let a_plane = self.across[0] * self.across[1];
        let (plane, within) = (segment / a_plane, segment % a_plane);
        let (row, column) = (within / self.across[1], within % self.across[1]);
        ([row * self.segment[0], column * self.segment[1]], plane)
    }

    /// Rows in the file: tiles are always whole, the last strip ends with the image.
    fn rows_stored(&self, segment: usize, page: &Page) -> usize {
        let ([row, _], _) = self.start(segment);
        let left = page.height - row;
        if page.tile.is_some() { self.segment[0] } else { self.segment[0].min(left) }
    }

    /// Rows and columns of a strip or tile that lie in a window, and its plane.
    fn part(&self, segment: usize, window: &Window) -> (Window, usize) {
        let ([row, column], sample_plane) = self.start(segment);
        let cut = |from: usize, length: usize, within: &Range<usize>| {
            from.max(within.start)..(from + length).min(within.end)
        };
        let rows = cut(row, self.segment[0], &window.rows);
        let columns = cut(column, self.segment[1], &window.columns);
        (Window { rows, columns }, sample_plane)
    }

    /// Whether any of a strip or tile lies in a window.
    fn meets(&self, segment: usize, window: &Window) -> bool {
        let (part, _) = self.part(segment, window);
        !part.rows.is_empty() && !part.columns.is_empty()
    }

    /// Copies the part of a strip or tile that lies in the window; `plane` is the window's.
    fn paste(&self, segment: usize, bytes: &[u8], plane: &mut [u8], window: &Window) {
        let ([top, left], _) = self.start(segment);
        let (part, sample_plane) = self.part(segment, window);
        let count = part.columns.len() * self.pixel;
        for row in part.rows.clone() {
            let from = (row - top) * self.row_bytes() + (part.columns.start - left) * self.pixel;
            let line = sample_plane * window.rows.len() + row - window.rows.start;
            let column = part.columns.start - window.columns.start;
            let to = (line * window.columns.len() + column) * self.pixel;
            plane[to..to + count].copy_from_slice(&bytes[from..from + count]);
        }
    }
}

/// Numbers that little-endian bytes are read as.
pub(crate) trait Number: Copy + Default + Send + Sync {
    /// Fills `numbers` with every `step`-th number of the bytes from `first`.
    fn fill(numbers: &mut [Self], bytes: &[u8], stored: Stored, first: usize, step: usize);
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn fill(out: &mut [Self], bytes: &[u8], _: Stored, first: usize, step: usize) {
                const WIDTH: usize = size_of::<$type>();
                let (numbers, _) = bytes.as_chunks::<WIDTH>();
                let picked = numbers[first.min(numbers.len())..].iter().step_by(step);
                for (target, number) in out.iter_mut().zip(picked) {
                    *target = <$type>::from_le_bytes(*number);
                }
            }
        }
    )*};
}
number!(u8, i8, u16, i16, u32, i32, f64);

impl Number for f32 {
    fn fill(out: &mut [Self], bytes: &[u8], stored: Stored, first: usize, step: usize) {
        if stored == Stored::F16 {
            let (numbers, _) = bytes.as_chunks::<2>();
            let picked = numbers[first.min(numbers.len())..].iter().step_by(step);
            for (target, number) in out.iter_mut().zip(picked) {
                *target = f32_from_half(u16::from_le_bytes(*number));
            }
            return;
        }
        let (numbers, _) = bytes.as_chunks::<4>();
        let picked = numbers[first.min(numbers.len())..].iter().step_by(step);
        for (target, number) in out.iter_mut().zip(picked) {
            *target = Self::from_le_bytes(*number);
        }
    }
}
