//! CZI files built here: what a microscope can write, and damage.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod builder;
mod damage;
mod jpeg_xr;

use std::path::{Path, PathBuf};

use builder::{Tile, czi};
use spotlight_image::grid::Region;
use spotlight_io::{Channel, Error, Image, Selection, Storage, inspect, read_array, read_stack};

const XML: &str = r#"<ImageDocument><Metadata><Information><Image><Dimensions>
    <Channels><Channel Id="Channel:0" Name="DAPI"/><Channel Id="Channel:1" Name="GFP"/></Channels>
    <S><Scenes><Scene Index="0" Name="A1"/><Scene Index="1" Name="B2"/></Scenes></S>
    </Dimensions></Image></Information><Scaling><Items>
    <Distance Id="X"><Value>1.25E-07</Value></Distance>
    <Distance Id="Y"><Value>1.25E-07</Value></Distance>
    <Distance Id="Z"><Value>5e-007</Value></Distance></Items></Scaling>
    </Metadata></ImageDocument>"#;

/// A folder with files.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn add(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("a.czi");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn select(series: usize, channel: usize, time: usize) -> Selection {
    Selection { series, channel: Some(Channel::Index(channel)), time }
}

#[track_caller]
fn voxels(path: &Path, wanted: &Selection) -> (Vec<f64>, [usize; 3]) {
    let stack = read_stack(path, wanted).unwrap_or_else(|error| panic!("{error}"));
    (stack.voxels.to_f64().voxels, stack.voxels.shape())
}

#[track_caller]
fn check_refused(tiles: &[Tile], parts: &[&str]) {
    let path = Folder::new();
    let path = path.add(&czi(tiles, ""));
    let message = read_stack(&path, &select(0, 0, 0)).unwrap_err().to_string();
    let array = read_array(&path, 0).unwrap_err().to_string();
    for part in parts.iter().chain(&["a.czi"]) {
        assert!(message.contains(part) && array.contains(part), "{message:?} lacks {part:?}");
    }
}

/// 16-bit numbers as bytes, and with low and high bytes apart.
fn words(numbers: &[u16]) -> (Vec<u8>, Vec<u8>) {
    let together: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let low = together.iter().step_by(2);
    let high = together[1..].iter().step_by(2);
    (together.clone(), low.chain(high).copied().collect())
}

fn zstd(prefix: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut out = prefix.to_vec();
    out.extend(zstd::bulk::compress(bytes, 3).unwrap());
    out
}

#[test]
fn every_compression_gives_the_same_numbers() {
    let folder = Folder::new();
    let numbers: Vec<u16> = (0..12).map(|n| n * 5003).collect();
    let (together, apart) = words(&numbers);
    let expected: Vec<f64> = numbers.iter().map(|n| f64::from(*n)).collect();
    for (compression, data) in [
        (0, together.clone()),
        (5, zstd(&[], &together)),
        (6, zstd(&[1], &together)),
        (6, zstd(&[3, 1, 0], &together)),
        (6, zstd(&[3, 1, 1], &apart)),
    ] {
        let tile = Tile::grey([0, 0], [3, 4], &[], &[]).pixels(1, compression, data);
        let path = folder.add(&czi(&[tile], XML));
        assert_eq!(voxels(&path, &Selection { channel: None, ..select(0, 0, 0) }).0, expected);
        let stack = Image::open(&path).unwrap().stack(&select(0, 0, 0)).unwrap();
        let part = stack.read(Region { start: [0, 1, 2], shape: [1, 2, 2] }).unwrap();
        let picked = [6, 7, 10, 11].map(|at: usize| expected[at]);
        assert_eq!(part.to_f64().voxels, picked, "compression {compression}");
        assert_eq!((stack.block(), stack.channel_name()), ([1, 3, 4], Some("DAPI")));
    }
}

#[test]
fn jpeg_xr() {
    let folder = Folder::new();
    let at = Tile::grey([0, 0], [6, 9], &[], &[]);
    let tile = at.clone().pixels(1, 4, jpeg_xr::bytes(jpeg_xr::GREY));
    let path = folder.add(&czi(&[tile], XML));
    let grey: Vec<f64> = (0..54).map(|n| f64::from(n * 1201 % 65521)).collect();
    assert_eq!(voxels(&path, &select(0, 0, 0)).0, grey);
    assert_eq!(inspect(&path).unwrap().compression, "JPEG XR");
    let picture = jpeg_xr::bytes(jpeg_xr::COLOUR);
    let tile = at.clone().pixels(3, 4, picture.clone());
    let path = folder.add(&czi(&[tile], XML));
    let formulas: [fn(i32) -> i32; 3] = [|n| 4 * n, |n| n + 100, |n| 255 - n];
    for (channel, formula) in formulas.iter().enumerate() {
        let expected: Vec<f64> = (0..54).map(|n| f64::from(formula(n))).collect();
        assert_eq!(voxels(&path, &select(0, channel, 0)).0, expected, "channel {channel}");
    }
    // The last byte of the identifier of the pixel format, which then is the one of microscopes:
    // the colours stay, but the decoder gives them as blue, green, red.
    let format = picture.windows(3).position(|three| three == [0x76, 0x8D, 0xC9]);
    let mut reversed = picture.clone();
    reversed[format.unwrap() + 3] = 0x0C;
    let path = folder.add(&czi(&[at.pixels(3, 4, reversed)], XML));
    let expected: Vec<f64> = (0..54).map(|n| f64::from(4 * n)).collect();
    assert_eq!(voxels(&path, &select(0, 0, 0)).0, expected);
}

#[test]
fn colours_are_channels_in_the_order_red_green_blue() {
    let folder = Folder::new();
    let tile = |c: i32, data: &[u8]| {
        Tile::grey([0, 0], [1, 2], &[('C', c)], &[]).pixels(3, 0, data.to_vec())
    };
    let path =
        folder.add(&czi(&[tile(0, &[3, 2, 1, 6, 5, 4]), tile(1, &[9, 8, 7, 12, 11, 10])], XML));
    for channel in 0..6 {
        let first = f64::from([1, 2, 3, 7, 8, 9][channel]);
        assert_eq!(voxels(&path, &select(0, channel, 0)).0, [first, first + 3.0]);
    }
    let names = inspect(&path).unwrap().channel_names;
    assert_eq!(names[..3], ["DAPI red", "DAPI green", "DAPI blue"]);
    let array = read_array(&path, 0).unwrap();
    assert_eq!((array.axes.as_str(), array.shape), ("CYX", vec![6, 1, 2]));
    let (data, _) = words(&[300, 200, 100]);
    let tile = Tile::grey([0, 0], [1, 1], &[], &[]).pixels(4, 0, data);
    let path = folder.add(&czi(&[tile], ""));
    assert_eq!(read_array(&path, 0).unwrap().voxels.to_f64().voxels, [100.0, 200.0, 300.0]);
    assert_eq!(inspect(&path).unwrap().channel_names, ["red", "green", "blue"]);
    let (_, apart) = words(&[600, 500, 400, 3, 2, 1]);
    let tile = Tile::grey([0, 0], [1, 2], &[], &[]).pixels(4, 6, zstd(&[3, 1, 1], &apart));
    let array = read_array(&folder.add(&czi(&[tile], "")), 0).unwrap();
    assert_eq!(array.voxels.to_f64().voxels, [400.0, 1.0, 500.0, 2.0, 600.0, 3.0]);
    let data = [1.5_f32, -2.0].iter().flat_map(|n| n.to_le_bytes()).collect();
    let tile = Tile::grey([0, 0], [1, 2], &[], &[]).pixels(2, 0, data);
    assert_eq!(voxels(&folder.add(&czi(&[tile], "")), &select(0, 0, 0)).0, [1.5, -2.0]);
}

/// Three tiles that overlap, and one in a corner that leaves a gap; the order of the directory
/// is not that of the mosaic.
fn mosaic() -> Vec<Tile> {
    let tile = |m: i32, start: [i32; 2], value: u8| {
        Tile::grey(start, [2, 3], &[('M', m), ('S', 0)], &[value; 6])
    };
    vec![tile(2, [-5, 102], 3), tile(0, [-5, 100], 1), tile(1, [-4, 101], 2), tile(3, [-2, 104], 4)]
}

#[test]
fn later_tiles_of_a_mosaic_lie_above_and_gaps_are_zero() {
    let folder = Folder::new();
    let path = folder.add(&czi(&mosaic(), XML));
    #[rustfmt::skip]
    let expected = [
        1, 1, 3, 3, 3, 0, 0,
        1, 2, 3, 3, 3, 0, 0,
        0, 2, 2, 2, 0, 0, 0,
        0, 0, 0, 0, 4, 4, 4,
        0, 0, 0, 0, 4, 4, 4,
    ]
    .map(f64::from);
    let (found, shape) = voxels(&path, &select(0, 0, 0));
    assert_eq!((found.as_slice(), shape), (&expected[..], [1, 5, 7]));
    let stack = Image::open(&path).unwrap().stack(&select(0, 0, 0)).unwrap();
    assert_eq!(stack.block(), [1, 2, 3]);
    for top in 0..5 {
        for left in 0..7 {
            let region = Region { start: [0, top, left], shape: [1, 5 - top, 7 - left] };
            let part = stack.read(region).unwrap().to_f64().voxels;
            let rows = expected.chunks(7).skip(top).flat_map(|row| &row[left..]);
            assert_eq!(part, rows.copied().collect::<Vec<f64>>(), "{region:?}");
        }
    }
}

#[test]
fn scenes_are_images_of_their_own_shapes() {
    let folder = Folder::new();
    let path = folder.add(&czi(
        &[
            Tile::grey([0, 50], [1, 1], &[('S', 1), ('Z', 0)], &[7]),
            Tile::grey([0, 0], [1, 2], &[('S', 0), ('Z', 0)], &[1, 2]),
            Tile::grey([0, 0], [1, 2], &[('S', 0), ('Z', 1)], &[3, 4]),
        ],
        XML,
    ));
    assert_eq!(voxels(&path, &select(0, 0, 0)), (vec![1.0, 2.0, 3.0, 4.0], [2, 1, 2]));
    assert_eq!(voxels(&path, &select(1, 0, 0)), (vec![7.0], [1, 1, 1]));
    let info = inspect(&path).unwrap();
    assert_eq!(info.series, ["A1", "B2"]);
    assert_eq!((info.axes.as_str(), info.shape), ("ZYX", vec![2, 1, 2]));
    assert_eq!(info.storage, Storage::Czi { sub_blocks: 3 });
    let spacing_um = info.spacing_um.unwrap();
    assert!(spacing_um.iter().zip([0.5, 0.125, 0.125]).all(|(a, b)| (a - b).abs() < 1e-12));
    let error = read_stack(&path, &select(2, 0, 0)).unwrap_err();
    assert!(matches!(error, Error::Choice { .. }), "{error}");
    let error = read_array(&path, 2).unwrap_err().to_string();
    assert!(error.contains("from 0 to 1"), "{error}");
}

#[test]
fn axes_begin_where_the_file_begins_and_missing_planes_are_zero() {
    let folder = Folder::new();
    let tile = |t: i32, c: i32, z: i32, value: u8| {
        Tile::grey([0, 0], [1, 1], &[('T', t), ('C', c), ('Z', z), ('H', 4), ('B', 0)], &[value])
    };
    let tiles = [tile(1, 1, 7, 1), tile(2, 0, 5, 2), tile(1, 0, 5, 3), tile(2, 1, 6, 4)];
    let path = folder.add(&czi(&tiles, XML));
    let array = read_array(&path, 0).unwrap();
    assert_eq!((array.axes.as_str(), array.shape), ("TCZYX", vec![2, 2, 3, 1, 1]));
    let expected = [3, 0, 0, 0, 0, 1, 2, 0, 0, 0, 4, 0].map(f64::from);
    assert_eq!(array.voxels.to_f64().voxels, expected);
    assert_eq!(voxels(&path, &select(0, 1, 1)).0, [0.0, 4.0, 0.0]);
    let warnings = inspect(&path).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("8 planes")), "{warnings:?}");
}

#[test]
fn a_deep_stack() {
    let folder = Folder::new();
    let tile = |z: i32| Tile::grey([0, 0], [1, 2], &[('Z', z)], &[(z % 251) as u8, 1]);
    let path = folder.add(&czi(&(0..3000).rev().map(tile).collect::<Vec<_>>(), XML));
    let (found, shape) = voxels(&path, &select(0, 0, 0));
    assert_eq!(shape, [3000, 1, 2]);
    let expected = (0..3000).flat_map(|z| [f64::from(z % 251), 1.0]);
    assert_eq!(found, expected.collect::<Vec<f64>>());
}

#[test]
fn levels_of_a_pyramid_are_counted_and_not_read() {
    let folder = Folder::new();
    let level = |stored: [i32; 2], value: u8| Tile {
        stored,
        ..Tile::grey([0, 0], [4, 8], &[], &vec![value; (stored[0] * stored[1]) as usize])
    };
    let path = folder.add(&czi(&[level([1, 2], 9), level([4, 8], 1), level([2, 4], 9)], XML));
    assert_eq!(voxels(&path, &select(0, 0, 0)), (vec![1.0; 32], [1, 4, 8]));
    let info = inspect(&path).unwrap();
    assert_eq!((info.levels, info.storage), (3, Storage::Czi { sub_blocks: 1 }));
}

#[test]
fn what_is_not_read_is_refused_with_advice() {
    let one = |at: &[(char, i32)]| Tile::grey([0, 0], [1, 1], at, &[1]);
    for (letter, word) in [
        ('H', "phases"),
        ('V', "views"),
        ('R', "rotations"),
        ('I', "illuminations"),
        ('B', "blocks"),
    ] {
        check_refused(&[one(&[(letter, 0)]), one(&[(letter, 1)])], &[word, "2", "ZEN"]);
    }
    check_refused(&[one(&[]), one(&[('C', 1)]).pixels(1, 0, vec![1, 0])], &["partly"]);
    for (pixel, name) in [(10, "Gray64ComplexFloat"), (12, "Gray32"), (9, "Bgra32")] {
        check_refused(&[one(&[]).pixels(pixel, 0, vec![0; 8])], &[name, "OME-TIFF"]);
    }
    for (compression, name) in [(1, "JPEG"), (2, "LZW"), (1000, "1000")] {
        check_refused(&[one(&[]).pixels(0, compression, vec![0; 8])], &[name, "OME-TIFF"]);
    }
    check_refused(&[Tile { schema: *b"DE", ..one(&[]) }], &["DE", "ZEN"]);
    check_refused(&[Tile { file_part: 2, ..one(&[]) }], &["several files", "part 2"]);
    check_refused(&[one(&[]), Tile { start: [0, i32::MAX - 1], ..one(&[]) }], &["too far apart"]);
    check_refused(&[one(&[('Z', 0)]), one(&[('Z', i32::MAX)])], &["too far apart"]);
    check_refused(&[], &["no sub-block"]);
    let huge = Tile::grey([0, 0], [1 << 20, 1 << 20], &[], &[1]);
    check_refused(std::slice::from_ref(&huge), &["cannot hold"]);
    check_refused(&[huge.pixels(0, 6, zstd(&[1], &[1]))], &["cannot hold"]);
    let short = Tile::grey([0, 0], [4, 4], &[], &[]);
    check_refused(&[short.clone().pixels(0, 5, zstd(&[], &[1; 15]))], &["15 bytes", "expected 16"]);
    check_refused(&[short.clone().pixels(0, 6, zstd(&[3, 1, 1], &[1; 16]))], &["two bytes"]);
    check_refused(&[short.clone().pixels(0, 6, zstd(&[2], &[1; 16]))], &["header of 2"]);
    let picture = jpeg_xr::bytes(jpeg_xr::GREY);
    check_refused(&[short.pixels(0, 4, picture)], &["JPEG XR", "6 x 9"]);
}

#[test]
fn a_part_of_a_set_of_files_is_refused() {
    let folder = Folder::new();
    let sound = czi(&mosaic(), XML);
    // A number of the file in the set, and identifiers that differ; one alone says nothing.
    for places in [vec![80], vec![48, 65]] {
        let mut bytes = sound.clone();
        places.iter().for_each(|place| bytes[*place] = 1);
        let error = inspect(&folder.add(&bytes)).unwrap_err().to_string();
        assert!(error.contains("several files") && error.contains("ZEN"), "{error}");
    }
    let mut bytes = sound;
    bytes[48] = 1;
    assert!(inspect(&folder.add(&bytes)).is_ok());
}
