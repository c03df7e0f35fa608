//! One sub-block: bytes of the file to pixels, little-endian, colours as blue, green, red.

use std::io::Read;
use std::ops::Range;

use openreadout_jpegxr as jpeg_xr;

use super::directory::{DIMENSION, ENTRY, Entry, dimension_count, parse_entry};
use super::pixel::{Compression, PixelType, RATIO_SLACK};
use super::segment::{Bytes, SEGMENT_HEADER, i32_at, u64_at};
use crate::error::{Fault, malformed, unsupported};
use crate::voxels::SampleType;

/// Bytes of the three lengths that precede the entry of a sub-block.
const LENGTHS: u64 = 16;

/// The pixels of some rows of a tile.
pub(crate) fn read_rows(
    bytes: &mut Bytes,
    entry: &Entry,
    rows: Range<usize>,
) -> Result<Vec<u8>, Fault> {
    let place = || format!("the sub-block at position {}", entry.position);
    rows_of(bytes, entry, rows).map_err(|fault| fault.within(&place()))
}

fn rows_of(bytes: &mut Bytes, entry: &Entry, rows: Range<usize>) -> Result<Vec<u8>, Fault> {
    let (at, count) = find_data(bytes, entry)?;
    let row = entry.stored[1] as usize * entry.pixel.bytes();
    let size = row * entry.stored[0] as usize;
    let bound = count.saturating_mul(entry.compression.largest_ratio());
    let slack = if entry.compression == Compression::None { 0 } else { RATIO_SLACK };
    if size as u64 > bound.saturating_add(slack) {
        return malformed(format!("{count} bytes cannot hold the {size} that are expected"));
    }
    let wanted = rows.start * row..rows.end * row;
    if entry.compression == Compression::None {
        return bytes.at(at + wanted.start as u64, wanted.len() as u64);
    }
    let data = bytes.at(at, count)?;
    let mut pixels = match entry.compression {
        Compression::JpegXr => jpeg_xr_pixels(&data, entry, size)?,
        Compression::Zstd1 => packed_zstd(&data, entry.pixel, size)?,
        Compression::None | Compression::Zstd0 => zstd(&data, size)?,
    };
    pixels.truncate(wanted.end);
    pixels.drain(..wanted.start);
    Ok(pixels)
}

/// Position and number of the bytes of the pixels.
fn find_data(bytes: &mut Bytes, entry: &Entry) -> Result<(u64, u64), Fault> {
    bytes.check_segment(entry.position, "ZISRAWSUBBLOCK")?;
    let start = entry.position + SEGMENT_HEADER;
    let fixed = bytes.at(start, LENGTHS + ENTRY as u64)?;
    let (metadata, data) = (i32_at(&fixed, 0), u64_at(&fixed, 8));
    let size = ENTRY + DIMENSION * dimension_count(&fixed[LENGTHS as usize..])?;
    let own = parse_entry(&bytes.at(start + LENGTHS, size as u64)?, bytes.length)?;
    let same = own.pixel == entry.pixel
        && own.compression == entry.compression
        && own.stored == entry.stored;
    if !same {
        return malformed("it is not what the directory says; the file is damaged");
    }
    let Ok(metadata) = u64::try_from(metadata) else {
        return malformed(format!("its metadata has {metadata} bytes; the file is damaged"));
    };
    let at = start + (LENGTHS + size as u64).max(256) + metadata;
    if at.checked_add(data).is_none_or(|end| end > bytes.length) {
        let length = bytes.length;
        return malformed(format!(
            "its {data} bytes at position {at} lie beyond the end of the file ({length} bytes); \
             the file is cut off or damaged"
        ));
    }
    Ok((at, data))
}

/// Decompresses to exactly `size` bytes; memory grows with what there is, not with the claim.
fn zstd(data: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    let mut pixels = Vec::new();
    let mut stream = zstd::stream::read::Decoder::with_buffer(data)?.take(size as u64);
    if let Err(error) = stream.read_to_end(&mut pixels) {
        return malformed(format!("the zstd stream is damaged ({error})"));
    }
    if pixels.len() < size {
        let found = pixels.len();
        return malformed(format!("it holds {found} bytes, expected {size}; the file is damaged"));
    }
    Ok(pixels)
}

/// zstd after a header: its length, then at most one chunk, which says how bytes are packed.
/// The low bytes of all numbers of a tile precede the high bytes, whatever the colours; libCZI's
/// writer does so, too, while its reader (6.1.0 of pylibCZIrw) then loses parts of 16-bit colours.
fn packed_zstd(data: &[u8], pixel: PixelType, size: usize) -> Result<Vec<u8>, Fault> {
    let (apart, stream) = match data {
        [1, stream @ ..] => (false, stream),
        [3, 1, packing, stream @ ..] => (packing & 1 == 1, stream),
        [length, ..] => {
            return malformed(format!("a zstd header of {length} bytes that is not known"));
        }
        [] => return malformed("it is empty; the file is damaged"),
    };
    let pixels = zstd(stream, size)?;
    if !apart {
        return Ok(pixels);
    }
    if pixel.sample_type.bytes() != 2 {
        return malformed("low and high bytes lie apart, but the numbers do not have two bytes");
    }
    let (low, high) = pixels.split_at(size / 2);
    Ok(low.iter().zip(high).flat_map(|(low, high)| [*low, *high]).collect())
}

fn jpeg_xr_pixels(data: &[u8], entry: &Entry, size: usize) -> Result<Vec<u8>, Fault> {
    let refuse = |error: jpeg_xr::Error| match error {
        jpeg_xr::Error::Unsupported(what) => Fault::Unsupported {
            what: format!("JPEG XR with {what}"),
            way_out: "open it in ZEN and save it uncompressed".to_owned(),
        },
        other => Fault::Format(format!("the JPEG XR stream is damaged ({other})")),
    };
    let info = jpeg_xr::probe(data).map_err(refuse)?;
    let expected = match entry.pixel.sample_type {
        SampleType::U8 => jpeg_xr::SampleType::U8,
        SampleType::U16 => jpeg_xr::SampleType::U16,
        SampleType::F32 => jpeg_xr::SampleType::F32,
        other => return unsupported(format!("JPEG XR of {other}"), "save it uncompressed"),
    };
    let found = ([info.height, info.width], info.channels as usize, info.sample);
    if found != (entry.stored, entry.pixel.samples, expected) {
        return malformed(format!(
            "its JPEG XR image ({} x {} x {} {:?}) is not what the directory says; the file is \
             damaged",
            info.height, info.width, info.channels, info.sample
        ));
    }
    let image = jpeg_xr::decode(data, size).map_err(refuse)?;
    let mut pixels = image.data;
    if pixels.len() != size {
        return malformed(format!("it holds {} bytes, expected {size}", pixels.len()));
    }
    if entry.pixel.samples == 3 && !image.bgr {
        let width = entry.pixel.sample_type.bytes();
        for pixel in pixels.chunks_exact_mut(3 * width) {
            let (red, rest) = pixel.split_at_mut(width);
            red.swap_with_slice(&mut rest[width..]);
        }
    }
    Ok(pixels)
}
