//! Decompression of one strip or tile, and its compression.
//!
//! Every decoder stops at the number of bytes that the tags promise, so that no stream can
//! grow beyond it.

use std::io::{self, Read, Write};

use flate2::read::{DeflateDecoder, ZlibDecoder};
use flate2::write::ZlibEncoder;
use weezl::{BitOrder, LzwStatus};

use super::write::Compression;
use crate::error::{Fault, malformed, unsupported};

/// Name of a compression by TIFF's number.
pub(crate) fn name(compression: u16) -> String {
    let name = match compression {
        1 => "none",
        2..=4 | 32_771 => "CCITT fax",
        5 => "LZW",
        6 | 7 => "JPEG",
        8 | 32_946 => "deflate",
        32_773 => "PackBits",
        32_809 => "ThunderScan",
        33_003 | 33_004 | 33_005 | 34_712 => "JPEG 2000",
        34_676 | 34_677 => "SGI LogLuv",
        34_887 => "LERC",
        34_892 => "lossy DNG",
        34_925 => "LZMA",
        34_927 | 50_001 => "WebP",
        34_933 => "PNG",
        34_934 => "JPEG XR",
        50_000 | 34_926 => "zstd",
        50_002 | 52_546 => "JPEG XL",
        other => return format!("number {other}"),
    };
    name.to_owned()
}

/// How many bytes a byte of the file can stand for at most, generously.
pub(crate) fn largest_ratio(compression: u16) -> u64 {
    match compression {
        1 => 1,
        5 => 2800,
        32_773 => 64,
        50_000 | 34_926 => 8192,
        _ => 1100,
    }
}

/// Fails where the compression is not one of [`decompress`].
pub(crate) fn check(compression: u16) -> Result<(), Fault> {
    match compression {
        1 | 5 | 8 | 32_946 | 32_773 | 50_000 | 34_926 => Ok(()),
        other => unsupported(
            format!("TIFF compression {} ({other})", name(other)),
            "save it uncompressed or with LZW or deflate, for instance in Fiji",
        ),
    }
}

/// Decompresses to at most `size` bytes.
pub(crate) fn decompress(compression: u16, data: Vec<u8>, size: usize) -> Result<Vec<u8>, Fault> {
    match compression {
        1 => Ok(data),
        5 => lzw(&data, size),
        8 | 32_946 => deflate(&data, size),
        32_773 => pack_bits(&data, size),
        50_000 | 34_926 => zstandard(&data, size),
        other => check(other).map(|()| data),
    }
}

fn deflate(data: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(size);
    // A few writers leave out the two bytes of the zlib header.
    let zlib = matches!(data, [first, second, ..]
        if first & 15 == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0);
    let limit = size as u64;
    let read = if zlib {
        ZlibDecoder::new(data).take(limit).read_to_end(&mut bytes)
    } else {
        DeflateDecoder::new(data).take(limit).read_to_end(&mut bytes)
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => malformed(format!("the deflate stream is damaged ({error})")),
    }
}

fn zstandard(data: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    match zstd::bulk::decompress(data, size) {
        Ok(bytes) => Ok(bytes),
        Err(error) => malformed(format!("the zstd stream is damaged ({error})")),
    }
}

fn lzw(data: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    // Files written before TIFF 6.0 pack the codes from the low bit and widen them later;
    // they begin with the clear code, 256, in that packing.
    let old = matches!(data, [0, second, ..] if second & 1 == 1);
    let mut decoder = if old {
        weezl::decode::Decoder::new(BitOrder::Lsb, 8)
    } else {
        weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8)
    };
    let mut bytes = vec![0; size];
    let (mut read, mut written) = (0, 0);
    while written < size {
        let step = decoder.decode_bytes(&data[read..], &mut bytes[written..]);
        read += step.consumed_in;
        written += step.consumed_out;
        match step.status {
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(error) => return malformed(format!("the LZW stream is damaged ({error})")),
        }
    }
    bytes.truncate(written);
    Ok(bytes)
}

fn pack_bits(data: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(size);
    let mut rest = data;
    while let [control, tail @ ..] = rest {
        if bytes.len() >= size {
            break;
        }
        let control = *control as i8;
        match control {
            0.. => {
                let count = usize::from(control.unsigned_abs()) + 1;
                let Some((literal, after)) = tail.split_at_checked(count) else {
                    return malformed("the PackBits stream is cut off");
                };
                bytes.extend_from_slice(literal);
                rest = after;
            }
            -128 => rest = tail,
            _ => {
                let [value, after @ ..] = tail else {
                    return malformed("the PackBits stream is cut off");
                };
                bytes.resize(bytes.len() + usize::from(control.unsigned_abs()) + 1, *value);
                rest = after;
            }
        }
    }
    bytes.truncate(size);
    Ok(bytes)
}

/// Compresses a strip.
pub(crate) fn compress(compression: Compression, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(bytes),
        Compression::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(&bytes)?;
            encoder.finish()
        }
        Compression::Zstd => zstd::bulk::compress(&bytes, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_bits_of_the_specification() {
        // The example of TIFF 6.0, section 9, as Apple's note TN1023 gives it.
        let packed = [
            0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7,
            0xAA,
        ];
        let mut expected = vec![0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA];
        expected.extend([0x80, 0x00, 0x2A, 0x22]);
        expected.extend([0xAA; 10]);
        assert_eq!(pack_bits(&packed, 24).unwrap(), expected);
        assert_eq!(pack_bits(&packed, 5).unwrap(), expected[..5]);
        assert!(pack_bits(&[5, 1], 6).is_err());
        assert!(pack_bits(&[0x81], 6).is_err());
    }

    #[test]
    fn streams_stop_at_the_promised_size() {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[7; 10_000]).unwrap();
        let stream = encoder.finish().unwrap();
        assert_eq!(decompress(8, stream, 100).unwrap(), [7; 100]);
        let stream = zstd::bulk::compress(&[7; 100], 1).unwrap();
        assert_eq!(decompress(50_000, stream.clone(), 100).unwrap(), [7; 100]);
        assert!(decompress(50_000, stream, 99).is_err());
    }

    #[test]
    fn damaged_streams_are_errors() {
        for compression in [5, 8, 32_946, 50_000] {
            let found = decompress(compression, vec![0xFF; 40], 1000);
            let short = found.as_ref().is_ok_and(|bytes| bytes.len() < 1000);
            assert!(found.is_err() || short, "{compression}: {found:?}");
        }
    }
}
