//! `spotlight info` and `spotlight convert` on stores, addresses and files of microscopes.
//!
//! Real files are not part of the project: their test runs where the folder that the variable
//! `SPOTLIGHT_DATA` names, or `../shared/data` beside the project, is present.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test reports")]

mod program;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use program::{spotlight, succeeds};
use serde_json::Value;
use spotlight::image::Volume;
use spotlight::io::{Channel, Image, Layout, SampleType, Selection, WriteOptions};
use spotlight::io::{read_stack, write_ome_tiff_planes};

/// An OME-TIFF of two time points of a channel, and an OME-Zarr of it.
fn store(folder: &Path, version: &str) -> PathBuf {
    let layout = Layout {
        shape: [3, 20, 300],
        sample_type: SampleType::U8,
        times: 2,
        channel_names: vec![Some("DNA".into())],
        partial_spacing_um: [Some(0.5), Some(0.25), Some(0.25)],
        block: [1, 1, 1],
    };
    let tiff = folder.join("a.ome.tif");
    let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
    write_ome_tiff_planes(&tiff, &layout, &options, |at| {
        let voxel = |[_, y, x]: [usize; 3]| ((90 * at.time + 30 * at.z + y + x) % 256) as u8;
        Ok(Volume::from_fn([1, 20, 300], voxel).into())
    })
    .unwrap();
    let store = folder.join("a.ome.zarr");
    let [from, to] = [&tiff, &store].map(|path| path.display().to_string());
    let words = ["convert", &from, "-o", &to, "--zarr-version", version, "--chunk", "2,16,64"];
    succeeds(&spotlight(&words));
    store
}

#[test]
fn info_tells_what_was_understood_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), "0.5");
    let said = succeeds(&spotlight(&["info", store.to_str().unwrap()]));
    let expected = "
  image       OME-Zarr 0.5, Zarr 3, little-endian, compression zstd, chunks of 1 x 1 x 2 x 16 x 64 \
in shards of 1 x 1 x 4 x 32 x 256
  axes        TCZYX 2 x 1 x 3 x 20 x 300, uint8
  read as     T 2, C 1, Z 3, Y 20, X 300
  channels    DNA
  voxel size  0.5 x 0.25 x 0.25 µm (z, y, x)
  levels      2, the full resolution is read
";
    assert_eq!(said, format!("{}{expected}", store.display()));
    // A level by itself is an array that names its axes, and is no image of its own.
    let level = store.join("1").display().to_string();
    let said = succeeds(&spotlight(&["info", &level, "--json"]));
    let all: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(all[0]["dimensions"][0]["axis"], "T");
    assert_eq!(all[0]["dimensions"][0]["origin"], "metadata");
    assert_eq!(all[0]["chunk"][2], 2);
}

#[test]
fn info_says_what_it_took_an_axis_for() {
    let folder = tempfile::tempdir().unwrap();
    let array = r#"{"zarr_format": 2, "shape": [4, 5, 6], "chunks": [4, 5, 6], "dtype": "|u1",
        "compressor": null, "fill_value": 0, "order": "C", "filters": null}"#;
    std::fs::write(folder.path().join(".zarray"), array).unwrap();
    let said = succeeds(&spotlight(&["info", folder.path().to_str().unwrap()]));
    let axes = "T 1 (none), C 1 (none), Z 4 (assumed), Y 5 (assumed), X 6 (assumed)";
    assert!(said.contains(axes), "{said}");
    assert!(said.contains("note        the array names no axes; they are taken for ZYX"), "{said}");
}

/// Serves the files of a folder over HTTP until the test ends; gives the address.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            // A client that goes away is not the server's concern.
            std::thread::spawn(move || drop(answer(&stream, &folder)));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: &TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head is read, so that the connection can be closed well.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let (status, body) = match std::fs::read(folder.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

#[test]
fn an_address_is_described_and_converted_as_the_folder_it_stands_for() {
    let folder = tempfile::tempdir().unwrap();
    let here = store(folder.path(), "0.4");
    let address = format!("{}/a.ome.zarr", serve(folder.path().to_owned()));
    let of = |path: &str| {
        let said = succeeds(&spotlight(&["info", path]));
        said.split_once('\n').unwrap().1.to_owned()
    };
    assert_eq!(of(&address), of(here.to_str().unwrap()));
    let out = folder.path().join("out");
    let words = ["convert", &address, "-o", out.to_str().unwrap(), "--format", "ome-tiff"];
    succeeds(&spotlight(&words));
    // Named by the last part of the address.
    let written = out.join("a.ome.tif");
    let read = |path: &Path, time: usize| {
        read_stack(path, &Selection { time, ..Selection::default() }).unwrap().voxels
    };
    for time in 0..2 {
        assert!(read(&written, time) == read(&folder.path().join("a.ome.tif"), time), "{time}");
    }
}

/// Inputs below the folder of the data: a CZI of several scenes, NDTiff, a plate.
const REAL: [&str; 3] = [
    "formats/czi_czitools/S3_1Pos_2Mosaic_T2_Z3_CH2_sm.czi",
    "formats/micromanager_ndtiff/v3/ndtiffv3.0_test",
    "formats/omezarr_hcs_v04/hcs.zarr",
];

#[test]
fn files_of_microscopes_keep_every_voxel_through_both_formats() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("SPOTLIGHT_DATA").map_or(beside, PathBuf::from);
    for name in REAL {
        let input = data.join(name);
        if !input.exists() {
            println!("DID NOT RUN: there is no {}", input.display());
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let [zarr, tiff] = ["zarr", "tiff"].map(|name| folder.path().join(name));
        let text = |path: &Path| path.display().to_string();
        let from = text(&input);
        let all = ["convert", &from, "-o", &text(&zarr), "--format", "ome-zarr", "--all-series"];
        let stores = succeeds(&spotlight(&all));
        let stores: Vec<&str> = stores.lines().collect();
        let mut words = vec!["convert"];
        words.extend(&stores);
        let out = text(&tiff);
        words.extend(["-o", &out, "--format", "ome-tiff"]);
        let tiffs = succeeds(&spotlight(&words));
        let image = Image::open(&input).unwrap();
        assert_eq!((stores.len(), tiffs.lines().count()), (image.series_count(), stores.len()));
        for (series, written) in tiffs.lines().enumerate() {
            let layout = image.layout(series).unwrap();
            let found = Image::open(Path::new(written)).unwrap().layout(0).unwrap();
            let facts = |layout: &Layout| (layout.shape, layout.times, layout.sample_type);
            assert_eq!(facts(&found), facts(&layout), "{written}");
            assert_eq!(found.channel_names, layout.channel_names, "{written}");
            assert_eq!(found.spacing_um(), layout.spacing_um(), "{written}");
            for (time, channel) in
                (0..layout.times).flat_map(|t| (0..layout.channel_names.len()).map(move |c| (t, c)))
            {
                let channel = Some(Channel::Index(channel));
                let [a, b] =
                    [(input.as_path(), series), (Path::new(written), 0)].map(|(path, series)| {
                        let selection = Selection { channel: channel.clone(), time, series };
                        read_stack(path, &selection).unwrap().voxels
                    });
                assert!(a == b, "{written}: time {time}, channel {channel:?}");
            }
        }
    }
}
