//! `spotlight convert`: what goes in comes out, voxel by voxel, with voxel size and names.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod program;
mod stacks;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use program::{fails, program, spotlight, succeeds};
use serde_json::Value;
use spotlight::image::Volume;
use spotlight::io::{
    Channel, Image, Layout, SampleType, Selection, Voxels, WriteOptions, inspect, read_stack,
    write_ome_tiff_planes,
};
use stacks::folder_of;

/// A folder that vanishes with this.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

fn layout(shape: [usize; 3]) -> Layout {
    Layout {
        shape,
        sample_type: SampleType::U16,
        times: 2,
        channel_names: vec![Some("light".into()), Some("DNA µ".into())],
        partial_spacing_um: [Some(0.5), Some(0.25), Some(0.25)],
        block: [1, 1, 1],
    }
}

fn value(time: usize, channel: usize, [z, y, x]: [usize; 3]) -> u16 {
    ((20_011 * time + 7013 * channel + 1009 * z + 31 * y + x) % 65_521) as u16
}

/// Two time points of two channels.
fn write_image(path: &Path, layout: &Layout) {
    let [_, height, width] = layout.shape;
    write_ome_tiff_planes(path, layout, &WriteOptions::default(), |at| {
        let voxel = |[_, y, x]: [usize; 3]| value(at.time, at.channel, [at.z, y, x]);
        Ok(Volume::from_fn([1, height, width], voxel).into())
    })
    .unwrap();
}

fn stack_at(path: &Path, series: usize, time: usize, channel: usize) -> Voxels {
    let channel = Some(Channel::Index(channel));
    read_stack(path, &Selection { channel, time, series }).unwrap().voxels
}

/// All stacks of the first image of one are those of an image of the other.
#[track_caller]
fn same(one: &Path, (other, series): (&Path, usize)) {
    let [a, b] =
        [(one, 0), (other, series)].map(|(path, n)| Image::open(path).unwrap().layout(n).unwrap());
    let b = Layout { block: a.block, ..b };
    assert_eq!(a, b);
    for time in 0..a.times {
        for channel in 0..a.channel_names.len() {
            let [a, b] = [(one, 0), (other, series)]
                .map(|(path, series)| stack_at(path, series, time, channel));
            assert!(a == b, "time {time}, channel {channel} of {} differ", one.display());
        }
    }
}

#[test]
fn a_tiff_comes_back_from_zarr_as_it_was() {
    let folder = Folder::new();
    let [tiff, back] = ["a.ome.tif", "back.ome.tif"].map(|name| folder.path(name));
    write_image(&tiff, &layout([5, 70, 90]));
    for (version, codec) in [("0.5", "zstd"), ("0.4", "blosc"), ("0.5", "none")] {
        let zarr = folder.path(&format!("a-{version}-{codec}.ome.zarr"));
        let words = ["--zarr-version", version, "--compression", codec, "--chunk", "2,32,32"];
        let from = [tiff.to_str().unwrap(), "-o", zarr.to_str().unwrap()];
        let said = succeeds(&spotlight(&[&["convert"][..], &from, &words].concat()));
        assert_eq!(said.trim(), zarr.display().to_string());
        same(&zarr, (&tiff, 0));
        assert!(inspect(&zarr).unwrap().format.ends_with(version));
        let from = [zarr.to_str().unwrap(), "-o", back.to_str().unwrap(), "--overwrite"];
        succeeds(&spotlight(&[&["convert"][..], &from].concat()));
        same(&back, (&tiff, 0));
    }
    // The same file, whatever it has been in between: planes in one order, one compression.
    assert_eq!(inspect(&back).unwrap().axes, "TZCYX");
    let record: Value =
        serde_json::from_slice(&fs::read(folder.path("back.ome.json")).unwrap()).unwrap();
    assert_eq!(record["details"]["channel_names"][1], "DNA µ");
    assert_eq!(record["outputs"][0], "back.ome.tif");
}

#[test]
fn channels_times_names_and_spacing_are_chosen() {
    let folder = Folder::new();
    let tiff = folder.path("a.ome.tif");
    write_image(&tiff, &layout([2, 8, 9]));
    let [input, output] = ["a.ome.tif", "dna.ome.zarr"].map(|name| folder.text(name));
    let words = "--channel DNA\u{a0}µ --time 1 --spacing 1,2,3 --channel-names nuclei --levels 1";
    let words: Vec<String> = words.split(' ').map(|word| word.replace('\u{a0}', " ")).collect();
    let mut all = vec!["convert", &input, "-o", &output];
    all.extend(words.iter().map(String::as_str));
    succeeds(&spotlight(&all));
    let written = Image::open(Path::new(&output)).unwrap().layout(0).unwrap();
    assert_eq!((written.times, written.names()), (1, vec!["nuclei".to_owned()]));
    assert_eq!(written.spacing_um(), Some([1.0, 2.0, 3.0]));
    assert_eq!(stack_at(Path::new(&output), 0, 0, 0), stack_at(&tiff, 0, 1, 1));
    let refused = |more: &[&str], words: &[&str], status: i32| {
        let all = [&["convert", &input, "-o", &output, "--overwrite"], more].concat();
        fails(&spotlight(&all), status, words);
    };
    refused(&["--channel", "RFP"], &["no channel named RFP", "0 (light), 1 (DNA µ)"], 1);
    refused(&["--time", "1-2"], &["there is no time point 2", "from 0 to 1"], 1);
    refused(&["--series", "1"], &["there is no image 1"], 1);
    refused(&["--channel-names", "one"], &["--channel-names has 1 names, and 2 channels"], 2);
    refused(&["--format", "ome-tiff"], &["is not a name of ome-tiff"], 2);
    refused(&["--compression", "deflate"], &["not compressed by deflate"], 2);
    refused(&["--labels"], &["labels are whole numbers of one channel"], 2);
    refused(&["--axes", "c=2,z"], &["a file that names them itself"], 1);
    refused(&["--memory", "1kB"], &["--memory allows"], 1);
    let exists = spotlight(&["convert", &input, "-o", &output]);
    fails(&exists, 2, &["dna.ome.zarr exists already", "--overwrite"]);
    let unknown = spotlight(&["convert", &input, "-o", &folder.text("somewhere")]);
    fails(&unknown, 2, &["does not say which format", "--format"]);
    let inside = folder.text("dna.ome.zarr/labels/copy.ome.zarr");
    fails(&spotlight(&["convert", &output, "-o", &inside]), 2, &["would lie inside an input"]);
}

#[test]
fn pages_without_axes_are_named_by_the_option_alone() {
    let folder = Folder::new();
    let bytes = plain_tiff(6);
    fs::write(folder.path("plain.tif"), bytes).unwrap();
    let [input, silent, named] =
        ["plain.tif", "z.ome.tif", "tz.ome.tif"].map(|name| folder.text(name));
    let output = spotlight(&["convert", &input, "-o", &silent]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    succeeds(&output);
    assert!(said.contains("names no axes; its 6 pages are taken for z"), "{said}");
    let output = spotlight(&["convert", &input, "-o", &named, "--axes", "t=3,z"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("names no axes"));
    succeeds(&output);
    let written = Image::open(Path::new(&named)).unwrap().layout(0).unwrap();
    assert_eq!((written.times, written.shape), (3, [2, 1, 2]));
    for page in 0..6 {
        let voxels = stack_at(Path::new(&named), 0, page / 2, 0).to_f32();
        assert_eq!(voxels.plane(page % 2), [10.0 * page as f32, 10.0 * page as f32 + 1.0]);
    }
    let wrong = spotlight(&["convert", &input, "-o", &named, "--axes", "c=4,z", "--overwrite"]);
    fails(&wrong, 1, &["it has 6 pages, which the axes c=4,z do not fit"]);
}

/// A TIFF of pages of 1 x 2 pixels with the fewest tags: page p holds 10 p and 10 p + 1.
fn plain_tiff(pages: u32) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    for page in 0..pages {
        let at = u32::try_from(bytes.len()).unwrap();
        let (pixels, end) = (at + 2 + 60 + 4, at + 2 + 60 + 4 + 2);
        bytes.extend(5_u16.to_le_bytes());
        for (tag, value) in [(256_u16, 2_u32), (257, 1), (258, 8), (273, pixels), (279, 2)] {
            bytes.extend(tag.to_le_bytes());
            bytes.extend([4, 0, 1, 0, 0, 0]);
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(if page + 1 == pages { 0 } else { end }.to_le_bytes());
        bytes.extend([10 * page as u8, 10 * page as u8 + 1]);
    }
    bytes
}

#[test]
fn planes_of_a_pattern_and_fields_of_a_plate_are_converted() {
    let folder = Folder::new();
    for page in 0..4 {
        let name = format!("img_z{}_c{}.tif", page / 2, ["DAPI", "GFP"][page % 2]);
        fs::write(folder.path(&name), plain_tiff(page as u32 + 1)).unwrap();
    }
    // Files of several pages do not fit a pattern with z.
    let output = folder.text("img.ome.zarr");
    let pattern = folder.text("img_z{z}_c{c}.tif");
    fails(&spotlight(&["convert", &pattern, "-o", &output]), 1, &["a file holds one"]);
    for page in 0..4 {
        let name = format!("img_z{}_c{}.tif", page / 2, ["DAPI", "GFP"][page % 2]);
        fs::write(folder.path(&name), plain_tiff(1)).unwrap();
    }
    let out = folder.text("out");
    let said = succeeds(&spotlight(&["convert", &pattern, "-o", &out, "--format", "ome-zarr"]));
    assert!(said.trim().ends_with("img.ome.zarr"), "{said}");
    same(&folder.path("out/img.ome.zarr"), (Path::new(&pattern), 0));

    // A plate of two fields.
    let plate = folder.path("plate.zarr");
    for field in ["B/3/1", "B/3/0"] {
        fs::create_dir_all(plate.join(field).parent().unwrap()).unwrap();
        let field = plate.join(field).display().to_string();
        succeeds(&spotlight(&["convert", &pattern, "-o", &field, "--format", "ome-zarr"]));
        // A folder for outputs: the store lies one deeper, and is the field.
        let inner = Path::new(&field).join("img.ome.zarr");
        let aside = folder.path("aside");
        fs::rename(inner, &aside).unwrap();
        fs::remove_dir_all(&field).unwrap();
        fs::rename(aside, &field).unwrap();
    }
    let group = |attributes: &str| {
        format!(
            r#"{{"zarr_format": 3, "node_type": "group", "attributes": {{"ome": {attributes}}}}}"#
        )
    };
    let wells = r#"{"version": "0.5", "plate": {"wells": [{"path": "B/3"}]}}"#;
    let fields = r#"{"version": "0.5", "well": {"images": [{"path": "0"}, {"path": "1"}]}}"#;
    fs::write(plate.join("zarr.json"), group(wells)).unwrap();
    fs::write(plate.join("B/3/zarr.json"), group(fields)).unwrap();
    let name = plate.display().to_string();
    let said = succeeds(&spotlight(&["info", &name]));
    assert!(said.contains("images      2 in this file: B/3/0, B/3/1"), "{said}");
    let out = folder.text("tiffs");
    let all = ["convert", &name, "-o", &out, "--format", "ome-tiff", "--all-series"];
    succeeds(&spotlight(&all));
    let names = ["plate_B_3_0.ome.json", "plate_B_3_0.ome.tif"];
    let more = ["plate_B_3_1.ome.json", "plate_B_3_1.ome.tif"];
    assert_eq!(folder_of(Path::new(&out)), [names, more].concat());
    same(&Path::new(&out).join("plate_B_3_1.ome.tif"), (&plate, 1));
    // The same by a pattern of names: the files of Zarr beside the fields are left out.
    let fields = folder.text("plate.zarr/*/*/*");
    let out = folder.text("again");
    let said = succeeds(&spotlight(&["convert", &fields, "-o", &out, "--format", "ome-tiff"]));
    assert_eq!(said.lines().count(), 2, "{said}");
    for name in ["plate_B_3_0.ome.tif", "plate_B_3_1.ome.tif"] {
        let [one, two] =
            ["tiffs", "again"].map(|parent| fs::read(folder.path(parent).join(name)).unwrap());
        assert!(one == two, "{name}");
    }
}

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                all.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    all
}

#[cfg(unix)]
#[test]
fn a_killed_conversion_goes_on_and_ends_with_the_same_bytes() {
    let folder = Folder::new();
    write_image(&folder.path("a.ome.tif"), &layout([40, 200, 300]));
    let [input, whole, cut] =
        ["a.ome.tif", "whole.ome.zarr", "x/whole.ome.zarr"].map(|name| folder.text(name));
    let small = ["--chunk", "2,16,16"];
    let words = |output: &str, more: &[&str]| -> Vec<String> {
        let start = ["convert", input.as_str(), "-o", output];
        [&start[..], &small, more].concat().into_iter().map(str::to_owned).collect()
    };
    succeeds(&program().args(words(&whole, &[])).output().unwrap());
    let progress = folder.path("x/.whole.ome.zarr.part/progress");
    let mut killed = 0;
    for enough in [4, 12, 30] {
        let mut child = program();
        child.args(words(&cut, &["--resume"])).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        let began = Instant::now();
        // Killed (SIGKILL) when so many units are on the disk.
        let lines = || fs::read_to_string(&progress).map_or(0, |text| text.lines().count());
        while lines() < enough && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(120), "it does not come on");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "every run was done before it could be killed");
    if progress.exists() {
        // Without --resume nothing is taken up, and other settings never are.
        fails(&program().args(words(&cut, &[])).output().unwrap(), 1, &["unfinished", "resum"]);
        let other = words(&cut, &["--resume", "--time", "0"]);
        fails(&program().args(other).output().unwrap(), 1, &["unfinished store of other inputs"]);
    }
    succeeds(&program().args(words(&cut, &["--resume"])).output().unwrap());
    assert!(!progress.exists());
    let [a, b] = [&whole, &cut].map(|store| contents(Path::new(store)));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    assert!(a == b, "the bytes differ");
    // What is done stays as it is, and is known by its record.
    let again = program().args(words(&cut, &["--resume"])).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("is done already"));
    succeeds(&again);
    let other = program().args(words(&cut, &["--resume", "--time", "0"])).output().unwrap();
    fails(&other, 2, &["exists already", "--overwrite"]);
}
