//! What programs write into TIFF files, each in a small file built here.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod builder;

use std::path::{Path, PathBuf};

use builder::{Plane, tiff};
use spotlight_io::{Channel, Error, Selection, Voxels, inspect, read_array, read_stack};

/// A folder with files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn add(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn channel(index: usize) -> Selection {
    Selection { channel: Some(Channel::Index(index)), ..Selection::default() }
}

#[track_caller]
fn voxels(path: &Path, wanted: &Selection) -> Vec<f64> {
    read_stack(path, wanted).unwrap_or_else(|error| panic!("{error}")).voxels.to_f64().voxels
}

#[track_caller]
fn check_refused(result: Result<impl Sized, Error>, parts: &[&str]) {
    let message = result.err().expect("an error").to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

/// Planes of 1 x 2 pixels with the numbers n, n + 1.
fn small(numbers: &[u8]) -> Vec<Plane> {
    numbers.iter().map(|n| Plane::grey(1, 2, &[*n, *n + 1])).collect()
}

#[test]
fn imagej_stack_with_one_directory() {
    let folder = Folder::new();
    let text = "ImageJ=1.54f\nimages=6\nchannels=2\nslices=3\nhyperstack=true\nunit=micron\n";
    let mut plane = Plane::grey(1, 2, &[0, 1]).described(text.as_bytes());
    plane.after = (2..12).collect();
    let path = folder.add("big.tif", &tiff(true, &[plane.clone()]));
    assert_eq!(voxels(&path, &channel(1)), [2.0, 3.0, 6.0, 7.0, 10.0, 11.0]);
    assert_eq!(read_array(&path, 0).unwrap().axes, "ZCYX");
    plane.after.clear();
    plane.at_end = true;
    let path = folder.add("cut.tif", &tiff(true, &[plane]));
    check_refused(read_array(&path, 0), &["cut.tif", "6 planes are announced", "cut off"]);
}

#[test]
fn imagej_units() {
    let folder = Folder::new();
    let check = |name: &str, text: &[u8], resolution: (u32, u32), expected: [Option<f64>; 3]| {
        let mut planes = small(&[1, 2]);
        planes[0] = planes[0].clone().described(text).resolution(resolution, 1);
        let path = folder.add(name, &tiff(true, &planes));
        let found = inspect(&path).unwrap();
        assert_eq!(found.partial_spacing_um, expected, "{name}");
        assert_eq!(found.spacing_um.is_some(), expected.iter().all(Option::is_some));
    };
    let all = [Some(0.5), Some(0.25), Some(0.25)];
    check("a", b"ImageJ=1.5\nimages=2\nslices=2\nunit=\xB5m\nspacing=0.5\n", (4, 1), all);
    check("b", b"ImageJ=1.5\nimages=2\nslices=2\nunit=\\u00B5m\nspacing=-0.5\n", (4, 1), all);
    check("c", b"ImageJ=1.5\nslices=2\nunit=nm\nspacing=500\n", (4_000_000, 1_000_000_000), all);
    // No step along z, no unit, and and tifffile's empty 1/1: nothing is guessed.
    let plane = [None, Some(0.25), Some(0.25)];
    check("d", b"ImageJ=1.5\nslices=2\nunit=micron\n", (4, 1), plane);
    check("e", b"ImageJ=1.5\nslices=2\nspacing=0.5\n", (4, 1), [None; 3]);
    check("f", b"ImageJ=1.5\nslices=2\nspacing=2\nunit=pixel\n", (4, 1), [None; 3]);
    let step = [Some(0.5), None, None];
    check("g", b"ImageJ=1.5\nslices=2\nspacing=0.5\nunit=um\n", (1, 1), step);
}

#[test]
fn resolution_of_plain_files_counts_where_a_microscope_can_have_it() {
    let folder = Folder::new();
    let check = |resolution: (u32, u32), unit: u16, expected: Option<f64>| {
        let plane = Plane::grey(1, 2, &[1, 2]).resolution(resolution, unit);
        let found = inspect(&folder.add("a.tif", &tiff(false, &[plane]))).unwrap();
        assert_eq!(found.partial_spacing_um, [None, expected, expected]);
    };
    check((100_000, 1), 3, Some(0.1));
    check((254_000, 1), 2, Some(0.1));
    check((72, 1), 2, None);
    check((300, 1), 2, None);
    check((5, 1), 1, None);
    check((0, 0), 3, None);
}

const PIXELS: &str = "SizeX=\"2\" SizeY=\"1\" SizeT=\"1\" Type=\"uint8\"";

fn ome(pixels: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?><OME UUID=\"urn:uuid:1\"><Image>{pixels}</Image></OME>").into()
}

#[test]
fn ome_planes_lie_where_tiff_data_says() {
    let folder = Folder::new();
    let xml = ome(&format!(
        "<Pixels {PIXELS} BigEndian=\"true\" DimensionOrder=\"XYCZT\" SizeC=\"2\" SizeZ=\"2\">\
         <Channel Name=\"BF\"/><Channel Name=\"DNA\"/>\
         <TiffData FirstC=\"1\" FirstZ=\"0\" IFD=\"0\" PlaneCount=\"1\"/>\
         <TiffData FirstC=\"0\" FirstZ=\"1\" IFD=\"2\" PlaneCount=\"2\"/>\
         <TiffData IFD=\"1\"/></Pixels>"
    ));
    let mut planes = small(&[10, 20, 30, 40]);
    planes[0] = planes[0].clone().described(&xml);
    let path = folder.add("a.ome.tif", &tiff(false, &planes));
    assert_eq!(voxels(&path, &channel(0)), [20.0, 21.0, 30.0, 31.0]);
    let dna = Selection { channel: Some(Channel::Name("dna".into())), ..Selection::default() };
    assert_eq!(voxels(&path, &dna), [10.0, 11.0, 40.0, 41.0]);
    check_refused(read_stack(&path, &Selection::default()), &["2 channels", "0 (BF), 1 (DNA)"]);
    let none = Selection { channel: Some(Channel::Name("GFP".into())), ..Selection::default() };
    check_refused(read_stack(&path, &none), &["no channel named GFP", "0 (BF), 1 (DNA)"]);
    check_refused(read_stack(&path, &channel(2)), &["no channel 2"]);
    let late = Selection { time: 3, ..channel(0) };
    check_refused(read_stack(&path, &late), &["no time point 3", "from 0 to 0"]);
    let other = Selection { series: 1, ..channel(0) };
    check_refused(read_stack(&path, &other), &["no image 1"]);
}

#[test]
fn ome_planes_that_are_missing_are_errors() {
    let folder = Folder::new();
    let pixels = |data: &str| {
        let xml = ome(&format!("<Pixels {PIXELS} SizeC=\"1\" SizeZ=\"2\">{data}</Pixels>"));
        let mut planes = small(&[10, 20]);
        planes[0] = planes[0].clone().described(&xml);
        folder.add("a.ome.tif", &tiff(false, &planes))
    };
    let path = pixels("<TiffData IFD=\"0\"/>");
    check_refused(read_stack(&path, &Selection::default()), &["plane 1", "not in the file"]);
    check_refused(read_array(&path, 0), &["not in the file"]);
    let path = pixels("<TiffData IFD=\"1\" PlaneCount=\"2\"/>");
    check_refused(read_array(&path, 0), &["plane 2 is announced, but 2 are in the file"]);
}

#[test]
fn ome_sets_of_files() {
    let folder = Folder::new();
    let data = |z: usize, name: &str| {
        format!(
            "<TiffData FirstZ=\"{z}\" IFD=\"0\" PlaneCount=\"1\">\
             <UUID FileName=\"{name}\">urn:uuid:{}</UUID></TiffData>",
            z + 1
        )
    };
    let set = |second: &str| {
        let both = data(0, "one.ome.tif") + &data(1, second);
        ome(&format!("<Pixels {PIXELS} SizeC=\"1\" SizeZ=\"2\">{both}</Pixels>"))
    };
    let first = |second: &str| {
        let plane = Plane::grey(1, 2, &[1, 2]).described(&set(second));
        folder.add("one.ome.tif", &tiff(false, &[plane]))
    };
    let path = first("two.ome.tif");
    check_refused(read_array(&path, 0), &["two.ome.tif", "not beside it"]);
    folder.add("two.ome.tif", &tiff(true, &[Plane::grey(1, 2, &[3, 4])]));
    assert_eq!(voxels(&path, &Selection::default()), [1.0, 2.0, 3.0, 4.0]);
    let path = first("../two.ome.tif");
    check_refused(read_array(&path, 0), &["outside its folder"]);
    // A part that only points to the metadata of the set.
    folder.add("set.companion.ome", &set("two.ome.tif"));
    let xml = b"<OME UUID=\"urn:uuid:1\"><BinaryOnly MetadataFile=\"set.companion.ome\"/></OME>";
    let plane = Plane::grey(1, 2, &[1, 2]).described(xml);
    let path = folder.add("one.ome.tif", &tiff(false, &[plane]));
    assert_eq!(voxels(&path, &Selection::default()), [1.0, 2.0, 3.0, 4.0]);
    std::fs::remove_file(folder.0.path().join("set.companion.ome")).unwrap();
    check_refused(read_array(&path, 0), &["set.companion.ome", "put it there"]);
}

#[test]
fn a_renamed_ome_file_is_read() {
    let folder = Folder::new();
    let xml = ome(&format!(
        "<Pixels {PIXELS} SizeC=\"1\" SizeZ=\"2\"><TiffData IFD=\"0\" PlaneCount=\"2\">\
         <UUID FileName=\"old name.ome.tif\">urn:uuid:7</UUID></TiffData></Pixels>"
    ));
    let mut planes = small(&[10, 20]);
    planes[0] = planes[0].clone().described(&xml);
    let path = folder.add("new name.tif", &tiff(false, &planes));
    assert_eq!(voxels(&path, &Selection::default()), [10.0, 11.0, 20.0, 21.0]);
}

#[test]
fn ome_that_disagrees_with_its_planes() {
    let folder = Folder::new();
    let xml = ome(
        "<Pixels SizeX=\"3\" SizeY=\"1\" SizeT=\"1\" SizeC=\"1\" SizeZ=\"1\"><TiffData/></Pixels>",
    );
    let path = folder.add("a.tif", &tiff(false, &[Plane::grey(1, 2, &[1, 2]).described(&xml)]));
    check_refused(read_array(&path, 0), &["1 x 3 pixels", "1 x 2"]);
    let broken = b"<OME><Image></OME>";
    let path = folder.add("b.tif", &tiff(false, &[Plane::grey(1, 2, &[1, 2]).described(broken)]));
    check_refused(read_array(&path, 0), &["OME-XML is damaged"]);
}

#[test]
fn colours_are_channels() {
    let folder = Folder::new();
    for planar in [false, true] {
        let mut plane = Plane::grey(1, 2, &[0; 6]);
        plane.samples = 3;
        plane.photometric = 2;
        plane.planar = planar;
        plane.data = if planar { vec![1, 4, 2, 5, 3, 6] } else { (1..7).collect() };
        let path = folder.add("a.tif", &tiff(false, &[plane]));
        let green = Channel::Name("green".into());
        let green = Selection { channel: Some(green), ..Selection::default() };
        assert_eq!(voxels(&path, &green), [2.0, 5.0]);
        check_refused(read_stack(&path, &Selection::default()), &["0 (red), 1 (green), 2 (blue)"]);
    }
}

#[test]
fn shaped_files_need_an_axis_for_z() {
    let folder = Folder::new();
    let check = |json: &str| {
        let mut planes = small(&[10, 20, 30, 40]);
        planes[0] = planes[0].clone().described(json.as_bytes());
        folder.add("a.tif", &tiff(false, &planes))
    };
    let path = check("{\"shape\": [4, 1, 2]}");
    assert_eq!(read_stack(&path, &Selection::default()).unwrap().shape(), [4, 1, 2]);
    let path = check("{\"shape\": [2, 2, 1, 2]}");
    check_refused(read_stack(&path, &Selection::default()), &["axes QQ", "named axes"]);
    assert_eq!(read_array(&path, 0).unwrap().axes, "QQYX");
    let path = check("{\"shape\": [2, 2, 1, 2], \"axes\": \"CZYX\"}");
    assert_eq!(voxels(&path, &channel(1)), [30.0, 31.0, 40.0, 41.0]);
    let path = check("{\"shape\": [5, 1, 2]}");
    check_refused(read_array(&path, 0), &["5 planes", "4 are in the file"]);
    let path = check("{\"shape\": [3, 1]}");
    check_refused(read_array(&path, 0), &["does not fit"]);
}

#[test]
fn pages_of_other_sizes_are_other_images() {
    let folder = Folder::new();
    let mut planes = small(&[10, 20]);
    planes.insert(1, Plane::grey(1, 1, &[7]));
    let mut reduced = Plane::grey(1, 1, &[9]);
    reduced.reduced = true;
    planes.push(reduced);
    let path = folder.add("a.tif", &tiff(false, &planes));
    assert_eq!(inspect(&path).unwrap().series.len(), 2);
    assert_eq!(voxels(&path, &Selection::default()), [10.0, 11.0, 20.0, 21.0]);
    assert_eq!(voxels(&path, &Selection { series: 1, ..Selection::default() }), [7.0]);
}

#[test]
fn unusual_storage() {
    let folder = Folder::new();
    let mut reversed = Plane::grey(1, 2, &[0b0000_0001, 0b1100_0000]);
    reversed.bits_reversed = true;
    let path = folder.add("a.tif", &tiff(false, &[reversed]));
    assert_eq!(voxels(&path, &Selection::default()), [128.0, 3.0]);
    let mut mask = Plane::grey(2, 3, &[0b1010_0000, 0b0110_0000]);
    mask.bits = 1;
    let path = folder.add("b.tif", &tiff(false, &[mask]));
    let found = read_stack(&path, &Selection::default()).unwrap().voxels;
    let Voxels::U8(found) = found else { panic!("{found:?}") };
    assert_eq!(found.voxels, [1, 0, 1, 0, 1, 1]);
    let mut sparse = Plane::grey(1, 2, &[]);
    sparse.sparse = true;
    let path = folder.add("c.tif", &tiff(false, &[sparse]));
    assert_eq!(voxels(&path, &Selection::default()), [0.0, 0.0]);
}

#[test]
fn what_is_not_read_is_refused_with_advice() {
    let folder = Folder::new();
    let refused = |change: fn(&mut Plane), parts: &[&str]| {
        let mut plane = Plane::grey(1, 2, &[1, 2]);
        change(&mut plane);
        let path = folder.add("a.tif", &tiff(false, &[plane]));
        let found = read_array(&path, 0);
        assert!(matches!(found, Err(Error::Unsupported { .. })), "{found:?}");
        check_refused(found, parts);
        check_refused(read_stack(&path, &Selection::default()), parts);
    };
    refused(|plane| plane.compression = 7, &["JPEG", "LZW or deflate"]);
    refused(|plane| plane.compression = 9999, &["9999"]);
    refused(|plane| plane.bits = 64, &["64-bit", "convert"]);
    refused(|plane| plane.maker = Some(34_412), &["LSM", "Fiji"]);
    refused(|plane| plane.predictor = 9, &["predictor 9"]);
    let read = |name: &str, bytes: &[u8]| read_array(&folder.add(name, bytes), 0);
    check_refused(read("a.czi", b"ZISRAWFILE\0\0\0\0\0\0"), &["a.czi", "cut off"]);
    check_refused(read("a.png", b"\x89PNG\r\n\x1a\n"), &["PNG"]);
    check_refused(read("empty.tif", b""), &["empty"]);
    check_refused(read("text.tif", b"hello"), &["neither a TIFF nor a CZI"]);
    check_refused(read_array(folder.0.path(), 0), &["folder"]);
    check_refused(read_array(Path::new("/no/such.tif"), 0), &["/no/such.tif", "check"]);
}

#[test]
fn a_circle_of_directories_ends() {
    let folder = Folder::new();
    let mut bytes = tiff(false, &small(&[1, 2]));
    let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
    // The last four bytes of the last directory are the position of the next.
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&first.to_le_bytes());
    let path = folder.add("a.tif", &bytes);
    check_refused(read_array(&path, 0), &["circle"]);
}
