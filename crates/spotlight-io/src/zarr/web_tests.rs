//! Reading over HTTP, from a server in this process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::Images;
use super::store::Store;
use super::web::{PATIENCE, Web};
use crate::Error;
use crate::source::{Place, Source};
use crate::voxels::Voxels;
use spotlight_image::grid::Region;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It sends the parts that it is asked for.
    Ranges,
    /// It sends whole files.
    Whole,
    /// It sends whole files and does not tell their length.
    Endless,
    /// It answers 500 to every chunk.
    Broken,
    /// It sends half of every chunk and then nothing.
    Stalling,
    /// It sends half of every chunk and ends the connection.
    Cutting,
}

/// A server of a folder; it ends with the process.
fn serve(folder: PathBuf, manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let folder = Arc::new(folder);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = Arc::clone(&folder);
            thread::spawn(move || answer(stream, &folder, manner));
        }
    });
    address
}

/// Answers one request and closes the connection.
fn answer(mut stream: TcpStream, folder: &Path, manner: Manner) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else { return };
    let mut range = None;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(part) = line.to_lowercase().strip_prefix("range: bytes=") {
            range = Some(part.to_owned());
        }
    }
    let target = request.split(' ').nth(1).unwrap().replace("%20", " ");
    let is_chunk = !target.contains("zarr.json") && !target.contains("/.z");
    let mut send = |head: &str, body: &[u8]| {
        let _ =
            stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
        let _ = stream.write_all(body);
        let _ = stream.flush();
    };
    let Ok(bytes) = fs::read(folder.join(target.trim_start_matches('/'))) else {
        return send("404 Not Found\r\nContent-Length: 0", &[]);
    };
    let length = bytes.len();
    let ok = format!("200 OK\r\nContent-Length: {length}");
    match manner {
        Manner::Broken if is_chunk => send("500 Internal Server Error\r\nContent-Length: 0", &[]),
        Manner::Stalling if is_chunk => {
            send(&ok, &bytes[..length / 2]);
            thread::sleep(Duration::from_secs(20));
        }
        Manner::Cutting if is_chunk => send(&ok, &bytes[..length / 2]),
        Manner::Endless => send("200 OK", &bytes),
        Manner::Ranges if range.is_some() => {
            let range = range.unwrap_or_default();
            let (first, last) = range.split_once('-').unwrap();
            let (start, stop) = match (first.parse::<usize>(), last.parse::<usize>()) {
                (Ok(first), Ok(last)) => (first, (last + 1).min(length)),
                (Ok(first), Err(_)) => (first, length),
                (Err(_), Ok(last)) => (length.saturating_sub(last), length),
                _ => panic!("{range}"),
            };
            let head = format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{length}\r\n\
                 Content-Length: {}",
                stop - 1,
                stop - start
            );
            send(&head, &bytes[start..stop]);
        }
        _ => send(&ok, &bytes),
    }
}

fn open(address: &str, patience: Duration) -> Result<Images, Error> {
    Images::of(Path::new(address), &Store::Web(Web::new(address, patience)))
}

fn read(images: &Images) -> Result<Voxels, Error> {
    let shape = images.layout(0)?.shape;
    images.read(Place { series: 0, channel: 0, time: 0 }, Region::whole(shape))
}

/// The folder of a reference vector.
fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/io").join(case)
}

#[test]
fn stores_read_over_http_as_from_a_folder() {
    let stores = [
        "ngff04_blosc_u16/image.ome.zarr",
        "ngff05_sharded_u16/image.ome.zarr",
        "v2_missing_chunks_u16/array.zarr",
        "v3_missing_chunks_f32/array.zarr",
    ];
    for store in stores {
        let expected = read(&Images::open(&golden(store)).unwrap()).unwrap();
        for manner in [Manner::Ranges, Manner::Whole, Manner::Endless] {
            let address = format!("{}/{store}/?v=1", serve(golden(""), manner));
            // The address as a path, as a user gives it.
            let plain = address.trim_end_matches("?v=1");
            let images = Images::open(Path::new(plain)).unwrap();
            assert_eq!(read(&images).unwrap(), expected, "{store} {manner:?}");
        }
    }
}

#[test]
fn a_missing_store_is_no_store() {
    let address = format!("{}/nothing.zarr", serve(golden(""), Manner::Ranges));
    let error = open(&address, PATIENCE).unwrap_err().to_string();
    assert!(error.contains("without Zarr metadata") && error.contains(&address), "{error}");
}

#[test]
fn trouble_of_a_server_is_told() {
    let store = "ngff05_sharded_u16/image.ome.zarr";
    for (manner, expected) in [
        (Manner::Broken, "500 Internal Server Error"),
        (Manner::Stalling, "sends nothing"),
        (Manner::Cutting, "broke"),
    ] {
        let start = Instant::now();
        let address = format!("{}/{store}", serve(golden(""), manner));
        let error = read(&open(&address, Duration::from_millis(500)).unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Io { .. }), "{text}");
        assert!(text.contains(expected) && !text.contains('\n'), "{manner:?}: {text}");
        assert!(start.elapsed() < Duration::from_secs(10), "{manner:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/a.zarr", listener.local_addr().unwrap());
    drop(listener);
    let error = open(&address, Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let buckets = Images::open(Path::new("s3://bucket/a.zarr")).unwrap_err().to_string();
    assert!(buckets.contains("https://"), "{buckets}");
}
