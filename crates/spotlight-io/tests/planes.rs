//! Images in several files: patterns of names, companions of OME-TIFF, and `NDTiff`.
//!
//! Where the folder of real files is present (see `real_files.rs`) they are read, too; the
//! means and single values are those of tifffile 2026.3.3 and ndstorage 0.1.18.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

mod data;

use std::path::{Path, PathBuf};

use data::data;
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
    let huge = "<Image><Pixels SizeX=\"2\" SizeY=\"1\" SizeZ=\"900000\" SizeC=\"1\" SizeT=\"1\">\
                <TiffData IFD=\"0\"><UUID FileName=\"p0.ome.tif\"/></TiffData></Pixels></Image>";
    std::fs::write(&path, format!("<OME>{}</OME>", huge.repeat(2))).unwrap();
    assert!(matches!(Image::open(&path), Err(Error::Limit { .. })));
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
    assert!(fault(&at("{c}_NDTiffStack.tif")).contains("an NDTiff stack in a pattern"));
    std::fs::remove_file(at("NDTiff.index")).unwrap();
    assert!(fault(&at("a_NDTiffStack.tif")).contains("without its NDTiff.index"));
}

/// A voxel of every plane of a stack, and the mean of all.
fn probe(path: &Path, selection: &Selection, [y, x]: [usize; 2]) -> (Vec<f64>, f64) {
    let volume = read_stack(path, selection).unwrap().voxels.to_f64();
    let [depth, height, width] = volume.shape;
    let at = |z: usize| volume.voxels[(z * height + y) * width + x];
    let mean = volume.voxels.iter().sum::<f64>() / volume.voxels.len() as f64;
    ((0..depth).map(at).collect(), mean)
}

#[test]
fn real_series_of_planes() {
    let Some(root) = data("formats") else { return };
    let plate = root.join("hcs_planes_faim/ImageXpress/Projection-Mix/2023-02-21/1334");
    // The small pictures beside the planes have "_thumb" where the planes have eight letters.
    let path = plate.join("ZStep_{z}/Projection-Mix_E07_s1_w{c:1,2}????????-*.tif");
    let info = inspect(&path).unwrap();
    assert_eq!((info.axes.as_str(), info.shape.as_slice()), ("CZYX", [2, 10, 512, 512].as_slice()));
    assert_eq!(info.channel_names, ["c1", "c2"]);
    let (voxels, mean) = probe(&path, &choice(1, 0), [100, 200]);
    assert_eq!(voxels, [148, 123, 127, 155, 140, 154, 128, 143, 137, 155].map(f64::from));
    assert!((mean - 233.222215271).abs() < 1e-6, "{mean}");
    let (voxels, _) = probe(&path, &choice(0, 0), [100, 200]);
    assert_eq!(voxels, [151, 146, 158, 135, 147, 136, 141, 145, 170, 161].map(f64::from));

    let name = "CV8000-Minimal-DataSet-2C-3W-4S-FP2-stack";
    let plate =
        root.join("hcs_planes_faim/CV8000").join(format!("{name}_20230918_135839")).join(name);
    let path = plate.join(format!("{name}_D08_T{{t:04}}F001L01A{{c:02}}Z{{z:02}}C{{c:02}}.tif"));
    let info = inspect(&path).unwrap();
    assert_eq!((info.axes.as_str(), &info.shape[..2]), ("CZYX", [2, 4].as_slice()));
    assert_eq!((info.channel_names, info.times), (vec!["c01".to_owned(), "c02".to_owned()], 1));
    let well = format!("{name}_{{t}}_T0001F001L01A{{c:02}}Z{{z:02}}C{{c:02}}.tif");
    assert!(fault(&plate.join(well)).contains("no file fits"));

    let path = root.join("viv/packages/loaders/tests/fixtures/multi-tiff/Channel_{c}.tif");
    for (channel, expected) in
        [56.653_622_140, 56.664_575_177, 56.670_031_235].into_iter().enumerate()
    {
        let (_, mean) = probe(&path, &choice(channel, 0), [0, 0]);
        assert!((mean - expected).abs() < 1e-6, "{mean}");
    }
    let path = root.join("aicsimageio/s_1_t_{t}_c_{c}_z_{z}.ome.tiff");
    assert_eq!(inspect(&path).unwrap().shape, [325, 475]);
    println!("real series of planes: 4 read");
}

#[test]
fn real_companions() {
    let Some(root) = data("formats") else { return };
    let folder = root.join("viv/sites/avivator/data");
    let names = ["multifile.companion.ome", "multifile-Z1.ome.tiff", "multifile-Z4.ome.tiff"];
    for path in names.into_iter().chain(["multifile-Z{z}.ome.tiff"]).map(|name| folder.join(name)) {
        let (voxels, mean) = probe(&path, &Selection::default(), [3, 4]);
        assert_eq!(voxels, [255.0, 0.0, 255.0, 0.0, 255.0], "{path:?}");
        assert!((mean - 145.586_111_111).abs() < 1e-6, "{mean}");
    }
    let companions = root.join("hcs_planes_faim/ome-tiff");
    for entry in std::fs::read_dir(companions).unwrap() {
        let path = entry.unwrap().path();
        assert!(fault(&path).contains(".ome.tif, which is not beside it"), "{}", fault(&path));
    }
    println!("real companions: 4 ways read, 2 without their parts refused");
}

#[test]
fn real_nd_tiff() {
    let Some(root) = data("formats").map(|root| root.join("micromanager_ndtiff")) else { return };
    // Of ndstorage: the lengths along t and c, the mean, the voxels [1, 3] of every plane.
    let waves = [5696, 5599, 4142, 2177, 856, 953, 2410, 4375, 5696, 5599];
    let v2 = ("v2/ndtiffv2.0_test", [5, 2], 3276.1875, waves.as_slice());
    let v3 = ("v3/ndtiffv3.0_test", [5, 2], 3276.1875, waves.as_slice());
    let bits = [167, 116, 56, 23, 36, 88, 148, 181, 167, 116];
    let bits = ("v3/ndtiff3.2_11bit_1", [10, 1], 101.828_125, bits.as_slice());
    let named = [297, 362, 335, 232, 112, 46, 73, 177];
    let named = ("v3/12_bit_pycromanager_mda", [4, 2], 204.214_843_75, named.as_slice());
    for (folder, [times, channels], mean, expected) in [v2, v3, bits, named] {
        let path = root.join(folder);
        let info = inspect(&path).unwrap();
        assert_eq!((info.times, info.channel_names.len()), (times, channels), "{path:?}");
        let names = if channels == 2 { vec!["DAPI", "FITC"] } else { vec!["0"] };
        assert_eq!(info.channel_names, names);
        assert_eq!(info.partial_spacing_um, [None, Some(1.0), Some(1.0)]);
        for (index, voxel) in expected.iter().enumerate() {
            let selection = choice(index % channels, index / channels);
            let (voxels, _) = probe(&path, &selection, [1, 3]);
            assert_eq!(voxels, [f64::from(*voxel)], "{path:?} {index}");
        }
        let all = read_array(&path, 0).unwrap().voxels.to_f64().voxels;
        assert_eq!(all.iter().sum::<f64>() / all.len() as f64, mean, "{path:?}");
    }
    let without = root.join("v3/Nonstandard_axis_names");
    assert!(fault(&without).contains("several places on the axis l"), "{}", fault(&without));
    println!("real NDTiff: 4 read, 1 refused");
}
