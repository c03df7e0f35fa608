//! Images in several files: patterns of names, companions of OME-TIFF, and `NDTiff`.
//!
//! Where the folder of real files is present (see `real_files.rs`) they are read, too; the
//! means and single values are those of tifffile 2026.3.3 and ndstorage 0.1.18.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

use std::path::{Path, PathBuf};

use spotlight_image::Volume;
use spotlight_io::{
    Channel, Error, Image, OutputChannel, Selection, Voxels, WriteOptions, inspect, read_array,
    read_stack,
};

/// Writes a z-stack whose voxels are `value`, then one more for each.
fn write(path: &Path, shape: [usize; 3], value: u16, spacing_um: Option<[f64; 3]>) {
    let [_, height, width] = shape;
    let count = |[z, y, x]: [usize; 3]| value + ((z * height + y) * width + x) as u16;
    let voxels = Voxels::from(Volume::from_fn(shape, count));
    let channel = OutputChannel { name: "", voxels: &voxels };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
    spotlight_io::write_ome_tiff(path, &[channel], spacing_um, &options).unwrap();
}

fn choice(channel: usize, time: usize) -> Selection {
    Selection { channel: Some(Channel::Index(channel)), time, series: 0 }
}

fn fault(path: &Path) -> String {
    Image::open(path).unwrap_err().to_string()
}

fn values(path: &Path, channel: usize, time: usize) -> Vec<f32> {
    read_stack(path, &choice(channel, time)).unwrap().to_f32().voxels
}

#[test]
fn a_file_for_every_plane() {
    let folder = tempfile::tempdir().unwrap();
    for (t, c, z) in (0..12).map(|n| (n / 6, n / 3 % 2, n % 3)) {
        let name = format!("t{t}/img_z{:03}_c{}.tif", z + 9, ["FITC", "DAPI"][c]);
        let value = (100 * t + 50 * c + 10 * z) as u16;
        write(&folder.path().join(name), [1, 2, 2], value, Some([1.0, 0.5, 0.25]));
    }
    write(&folder.path().join("t0/other.tif"), [1, 1, 1], 0, None);
    let path = folder.path().join("t{t}/img_z{z}_c{c}.tif");
    let info = inspect(&path).unwrap();
    assert_eq!((info.axes.as_str(), info.shape.as_slice()), ("TCZYX", [2, 2, 3, 2, 2].as_slice()));
    assert_eq!(info.channel_names, ["DAPI", "FITC"]);
    assert_eq!((info.path, info.format.as_str()), (path.clone(), "TIFF series"));
    assert_eq!(
        values(&path, 0, 0),
        [50, 51, 52, 53, 60, 61, 62, 63, 70, 71, 72, 73].map(|n| n as f32)
    );
    assert_eq!(values(&path, 1, 1)[..4], [100.0, 101.0, 102.0, 103.0]);
    assert_eq!(read_array(&path, 0).unwrap().shape, [2, 2, 3, 2, 2]);
    // A list gives the order, and leaves out what it does not name.
    let listed = folder.path().join("t{t}/img_z{z:011,009}_c{c:FITC}.tif");
    assert_eq!(values(&listed, 0, 0), [20, 21, 22, 23, 0, 1, 2, 3].map(|n| n as f32));
    let stack = Image::open(&listed).unwrap().stack(&choice(0, 1)).unwrap();
    assert_eq!((stack.channel_name(), stack.times()), (Some("FITC"), 2));
}

#[test]
fn a_file_for_every_stack() {
    let folder = tempfile::tempdir().unwrap();
    for c in 1..3 {
        write(&folder.path().join(format!("c{c}.tif")), [3, 1, 2], 10 * c, Some([2.0, 0.5, 0.5]));
    }
    let path = folder.path().join("c{c}.tif");
    let stack = read_stack(&path, &choice(1, 0)).unwrap();
    assert_eq!(stack.to_f32().voxels, [20.0, 21.0, 22.0, 23.0, 24.0, 25.0]);
    assert_eq!(
        (stack.spacing_um, stack.channel_name.as_deref()),
        (Some([2.0, 0.5, 0.5]), Some("c2"))
    );
    let with_z = folder.path().join("c{z}.tif");
    assert!(fault(&with_z).contains("it holds 3 planes"), "{}", fault(&with_z));
}

#[test]
fn what_is_wrong_with_the_files_of_a_pattern() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["z08_c1.tif", "z09_c1.tif", "z11_c1.tif", "z08_c2.tif"] {
        write(&at(name), [1, 2, 2], 0, None);
    }
    let pattern = at("z{z:02}_c{c:02}.tif");
    assert!(fault(&pattern).contains("no file fits"), "{}", fault(&pattern));
    let pattern = at("z{z:02}_c{c}.tif");
    let gap = fault(&pattern);
    assert!(gap.contains("z10_c{c}.tif is missing") && gap.contains("{z:8,11}"), "{gap}");
    write(&at("z10_c1.tif"), [1, 2, 2], 0, None);
    assert!(fault(&pattern).contains("z09_c2.tif is missing (c runs from 1 to 2; z runs from"));
    assert!(fault(&at("z{z}_c{c:2,1}.tif")).contains("z09_c2.tif is missing"));
    assert!(fault(&at("z{z}_*.tif")).contains("are the same plane"));
    let pattern = at("z{z}_c1.tif");
    assert!(Image::open(&pattern).is_ok());
    write(&at("z10_c1.tif"), [1, 2, 3], 0, None);
    let unlike = fault(&pattern);
    assert!(unlike.contains("z10_c1.tif: it holds 1 x 2 x 3 pixels"), "{unlike}");
    write(&at("z10_c1.tif"), [2, 2, 2], 0, None);
    assert!(fault(&pattern).contains("z10_c1.tif: it holds 2 planes"));
    std::fs::write(at("z10_c1.tif"), b"II*\0").unwrap();
    assert!(fault(&pattern).contains("z10_c1.tif: not a TIFF"));
    assert!(matches!(Image::open(&at("none/z{z}.tif")), Err(Error::Io { .. })));
    // A file whose own name has braces is that file.
    write(&at("{z}.tif"), [1, 2, 2], 7, None);
    assert_eq!(values(&at("{z}.tif"), 0, 0)[0], 7.0);
}

/// Writes the parts and the companion of a set; gives the companion.
fn companion(folder: &Path, names: [&str; 2]) -> PathBuf {
    let parts = [0, 1].map(|z: u16| {
        write(&folder.join(format!("p{z}.ome.tif")), [1, 1, 2], 10 * z, None);
        let name = names[usize::from(z)];
        format!(
            "<TiffData FirstZ=\"{z}\" IFD=\"0\"><UUID FileName=\"{name}\">u{z}</UUID></TiffData>"
        )
    });
    let text = format!(
        "<OME><Image><Pixels DimensionOrder=\"XYZCT\" SizeX=\"2\" SizeY=\"1\" SizeZ=\"2\" \
         SizeC=\"1\" SizeT=\"1\" PhysicalSizeZ=\"3\"><Channel Name=\"BF\"/>{}</Pixels></Image></OME>",
        parts.concat()
    );
    let path = folder.join("set.companion.ome");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_companion_opens_its_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = companion(folder.path(), ["p0.ome.tif", "p1.ome.tif"]);
    let stack = read_stack(&path, &Selection::default()).unwrap();
    assert_eq!(stack.to_f32().voxels, [0.0, 1.0, 10.0, 11.0]);
    assert_eq!(stack.channel_name.as_deref(), Some("BF"));
    assert_eq!(inspect(&path).unwrap().partial_spacing_um, [Some(3.0), None, None]);
    let path = companion(folder.path(), ["p0.ome.tif", "gone.tif"]);
    assert!(fault(&path).contains("set.companion.ome: planes of it are in gone.tif"));
    for name in ["../p1.ome.tif", "/etc/passwd", ".."] {
        let path = companion(folder.path(), ["p0.ome.tif", name]);
        assert!(fault(&path).contains("outside its folder"), "{name}: {}", fault(&path));
    }
    std::fs::write(&path, "<OME><BinaryOnly MetadataFile=\"x.ome\"/></OME>").unwrap();
    assert!(fault(&path).contains("open x.ome"));
    std::fs::write(&path, "<OME>").unwrap();
    assert!(fault(&path).contains("damaged"));
}

/// One plane of an `NDTiff` of our own: JSON of its axes, pixel type, bytes of the pixels.
struct Plane<'a>(&'a str, u32, &'a [u8]);

/// Writes a data set of planes of 1 x 2 pixels in one file.
fn nd_tiff(folder: &Path, planes: &[Plane<'_>]) {
    let summary = br#"{"PixelSize_um":0.5,"z-step_um":2,"ChNames":["BF","GFP"]}"#;
    let mut tiff = b"II*\0\0\0\0\0".to_vec();
    for number in [483_729, 3, 0, 2_355_492, summary.len() as u32] {
        tiff.extend(u32::to_le_bytes(number));
    }
    tiff.extend(summary);
    let mut index = Vec::new();
    for Plane(axes, kind, pixels) in planes {
        for text in [axes, "a_NDTiffStack.tif"] {
            index.extend((text.len() as u32).to_le_bytes());
            index.extend(text.as_bytes());
        }
        for number in [tiff.len() as u32, 2, 1, *kind, 0, 0, 0, 0] {
            index.extend(number.to_le_bytes());
        }
        tiff.extend(*pixels);
    }
    std::fs::write(folder.join("a_NDTiffStack.tif"), tiff).unwrap();
    std::fs::write(folder.join("NDTiff.index"), index).unwrap();
}

#[test]
fn nd_tiff_of_positions_channels_and_depths() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    nd_tiff(
        folder.path(),
        &[
            Plane(r#"{"position":"B","channel":1,"z":1}"#, 4, &[1, 1, 2, 0]),
            Plane(r#"{"position":"B","channel":1,"z":-1}"#, 4, &[3, 0, 4, 0]),
            Plane(r#"{"position":"B","channel":1,"z":0}"#, 4, &[5, 0, 6, 0]),
            Plane(r#"{"position":"A","channel":0,"camera":"x"}"#, 2, &[1, 2, 3, 4, 5, 6]),
        ],
    );
    for path in [folder.path().to_owned(), at("NDTiff.index"), at("a_NDTiffStack.tif")] {
        let stack = read_stack(&path, &Selection::default()).unwrap();
        assert_eq!(stack.to_f32().voxels, [3.0, 4.0, 5.0, 6.0, 257.0, 2.0], "{path:?}");
        assert_eq!(stack.channel_name.as_deref(), Some("GFP"));
        assert_eq!(stack.spacing_um, Some([2.0, 0.5, 0.5]));
        let info = inspect(&path).unwrap();
        assert_eq!((info.series, info.format.as_str()), (vec!["B".into(), "A".into()], "NDTiff"));
    }
    let green = Selection { channel: Some(Channel::Name("BF green".into())), time: 0, series: 1 };
    assert_eq!(read_stack(folder.path(), &green).unwrap().to_f32().voxels, [2.0, 5.0]);
}

#[test]
fn nd_tiff_that_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let gray = |axes| Plane(axes, 0, &[1, 2]);
    nd_tiff(folder.path(), &[gray(r#"{"l":0}"#), gray(r#"{"l":1}"#)]);
    assert!(fault(folder.path()).contains("several places on the axis l is not supported"));
    nd_tiff(folder.path(), &[gray(r#"{"z":0}"#), gray(r#"{"z":"a"}"#)]);
    assert!(fault(folder.path()).contains("numbers and names"));
    nd_tiff(folder.path(), &[gray(r#"{"z":0}"#), Plane(r#"{"z":1}"#, 1, &[0; 4])]);
    assert!(fault(folder.path()).contains("differs in size or type"));
    let far: Vec<String> =
        (0..60).map(|n| format!("{{\"z\":{n},\"time\":{n},\"channel\":{n}}}")).collect();
    nd_tiff(folder.path(), &far.iter().map(|axes| gray(axes)).collect::<Vec<_>>());
    assert!(matches!(Image::open(folder.path()), Err(Error::Limit { .. })));
    nd_tiff(folder.path(), &[gray(r#"{"z":0,"time":0}"#), gray(r#"{"z":1,"time":1}"#)]);
    let stack = Image::open(folder.path()).unwrap().stack(&choice(0, 1)).unwrap();
    assert!(stack.read_whole().unwrap_err().to_string().contains("is not in the file"));
    nd_tiff(folder.path(), &[gray(r#"{"z":0}"#), gray(r#"{"z":1}"#)]);
    let whole = std::fs::read(at("a_NDTiffStack.tif")).unwrap();
    std::fs::write(at("a_NDTiffStack.tif"), &whole[..whole.len() - 1]).unwrap();
    let cut = read_stack(folder.path(), &Selection::default()).unwrap_err().to_string();
    assert!(cut.contains("a_NDTiffStack.tif: plane 1"), "{cut}");
    std::fs::copy(at("a_NDTiffStack.tif"), at("b_NDTiffStack.tif")).unwrap();
    assert!(fault(&at("b_NDTiffStack.tif")).contains("does not name it"));
    std::fs::remove_file(at("NDTiff.index")).unwrap();
    assert!(fault(&at("a_NDTiffStack.tif")).contains("without its NDTiff.index"));
}

/// The folder of the real files, where it is present.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("SPOTLIGHT_DATA").map_or(beside, PathBuf::from).join("formats");
    if !root.is_dir() {
        println!("DID NOT RUN: there is no folder {}", root.display());
        return None;
    }
    Some(root)
}
