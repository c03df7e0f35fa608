//! `spotlight weights` against a server in this file, good and bad. No test uses the network.

#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod program;
mod stacks;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use program::{fails, program, succeeds};
use stacks::folder_of;

/// What a client has asked for.
#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: Vec<(String, String)>,
    /// How many requests came before.
    number: usize,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// First byte of the range that is asked for.
    fn start(&self) -> Option<usize> {
        let text = self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?;
        Some(text.parse().unwrap())
    }
}

/// A server on this machine that answers by a function, for as long as the test runs.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(answer: impl Fn(&Request, &mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let number = seen.lock().unwrap().len();
                if let Some(request) = read_request(&stream, number) {
                    seen.lock().unwrap().push(request.clone());
                    answer(&request, &mut stream);
                }
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("{}/nucleitorch_0", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream, number: usize) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let lines = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    Some(Request { path, headers: headers.collect(), number })
}

/// Sends status, headers and body, and closes. A client that has gone away is no matter.
fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
}

fn send_all(stream: &mut TcpStream, body: &[u8]) {
    send(stream, "200 OK", &format!("Content-Length: {}\r\n", body.len()), body);
}

/// Sends a body of which only the first bytes come.
fn send_begin(stream: &mut TcpStream, body: &[u8], count: usize, headers: &str) {
    let headers = format!("Content-Length: {}\r\n{headers}", body.len());
    send(stream, "200 OK", &headers, &body[..count]);
}

fn send_part(stream: &mut TcpStream, body: &[u8], start: usize) {
    let (length, last) = (body.len(), body.len() - 1);
    let headers = format!(
        "Content-Length: {}\r\nContent-Range: bytes {start}-{last}/{length}\r\n",
        length - start
    );
    send(stream, "206 Partial Content", &headers, &body[start..]);
}

fn testdata(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/torch");
    std::fs::read(folder.join(name)).unwrap()
}

/// A cache folder of its own.
struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("cache").join(name)
    }

    fn names(&self) -> Vec<String> {
        let folder = self.file("");
        if folder.is_dir() { folder_of(&folder) } else { Vec::new() }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = program();
        for variable in
            ["HOME", "XDG_CACHE_HOME", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"]
        {
            command.env_remove(variable);
        }
        command.env("SPOTLIGHT_CACHE", self.file("")).arg("weights").args(words);
        command.output().unwrap()
    }

    fn fetch(&self, server: &Server, more: &[&str]) -> Output {
        let url = server.url();
        self.run(&[&["fetch", "cellpose-nuclei", "--url", &url], more].concat())
    }

    /// Checks that these weights are there, and nothing else.
    #[track_caller]
    fn has(&self, bytes: &[u8]) {
        assert_eq!(std::fs::read(self.file("nucleitorch_0")).unwrap(), bytes);
        assert_eq!(self.names(), ["nucleitorch_0", "nucleitorch_0.sha256"]);
    }
}

#[test]
fn a_good_server_is_asked_once() {
    let (cache, body) = (Cache::new(), testdata("linear.pt"));
    fails(&cache.run(&["path", "cellpose-nuclei"]), 1, &["not been fetched", "weights fetch"]);
    assert!(succeeds(&cache.run(&["list"])).contains("not fetched"));
    let server = Server::start(move |_, stream| send_all(stream, &testdata("linear.pt")));
    let first = cache.fetch(&server, &[]);
    let path = succeeds(&first);
    assert_eq!(Path::new(path.trim_end()), cache.file("nucleitorch_0"));
    assert!(
        String::from_utf8_lossy(&first.stderr)
            .contains("no checksum of nucleitorch_0 is published")
    );
    cache.has(&body);
    assert_eq!(succeeds(&cache.fetch(&server, &["--quiet"])), path);
    assert_eq!(server.requests().len(), 1, "the second time it is there");
    assert_eq!(server.requests()[0].path, "/nucleitorch_0");
    assert_eq!(succeeds(&cache.run(&["path", "cellpose-nuclei"])), path);
    assert!(succeeds(&cache.run(&["list"])).contains(path.trim_end()));
    let json: serde_json::Value =
        serde_json::from_str(&succeeds(&cache.run(&["list", "--json"]))).unwrap();
    assert_eq!(json[0]["path"], path.trim_end());
    assert_eq!(json[0]["url"], "https://www.cellpose.org/models/nucleitorch_0");
    succeeds(&cache.fetch(&server, &["--overwrite"]));
    assert_eq!(server.requests().len(), 2);
    cache.has(&body);
}

#[test]
fn a_body_may_come_without_a_length() {
    let cache = Cache::new();
    let server = Server::start(|_, stream| send(stream, "200 OK", "", &testdata("linear.pt")));
    succeeds(&cache.fetch(&server, &[]));
    cache.has(&testdata("linear.pt"));
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let cache = Cache::new();
    let server = Server::start(|request, stream| match request.path.as_str() {
        "/there" => send_all(stream, &testdata("linear.pt")),
        _ => send(stream, "302 Found", "Location: /there\r\nContent-Length: 0\r\n", b""),
    });
    succeeds(&cache.fetch(&server, &[]));
    cache.has(&testdata("linear.pt"));
    let cache = Cache::new();
    let server = Server::start(|_, stream| {
        send(stream, "302 Found", "Location: /round\r\nContent-Length: 0\r\n", b"");
    });
    fails(&cache.fetch(&server, &[]), 1, &["redirects"]);
    assert!(cache.names().is_empty());
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let cache = Cache::new();
    let server = Server::start(|request, stream| {
        let body = testdata("linear.pt");
        match request.start() {
            None => send_begin(stream, &body, 700, "ETag: \"one\"\r\n"),
            Some(start) => send_part(stream, &body, start),
        }
    });
    succeeds(&cache.fetch(&server, &[]));
    cache.has(&testdata("linear.pt"));
    let requests = server.requests();
    assert_eq!((requests.len(), requests[1].start()), (2, Some(700)));
    assert_eq!(requests[1].header("if-range"), Some("\"one\""));
}

#[test]
fn a_later_run_goes_on_with_an_earlier_one() {
    let cache = Cache::new();
    let server = Server::start(|request, stream| {
        let body = testdata("linear.pt");
        match (request.number, request.start()) {
            (0, _) => {
                send_begin(stream, &body, 500, "Last-Modified: Tue, 01 Mar 2022 00:00:00 GMT\r\n")
            }
            // Closes without a word.
            (1..=3, _) => {}
            (_, start) => send_part(stream, &body, start.unwrap()),
        }
    });
    fails(&cache.fetch(&server, &[]), 1, &["broke off at byte 500", "run the same command again"]);
    assert_eq!(cache.names(), ["nucleitorch_0.part", "nucleitorch_0.part.from"]);
    fails(&cache.run(&["path", "cellpose-nuclei"]), 1, &["not been fetched"]);
    succeeds(&cache.fetch(&server, &[]));
    cache.has(&testdata("linear.pt"));
    assert_eq!(server.requests().len(), 5);
    assert!(server.requests()[4].header("if-range").unwrap().starts_with("Tue, 01 Mar 2022"));
}

#[test]
fn what_another_address_began_is_not_gone_on_with() {
    let cache = Cache::new();
    let broken = Server::start(|request, stream| {
        if request.number == 0 {
            send_begin(stream, &testdata("parallel.pt"), 900, "");
        }
    });
    fails(&cache.fetch(&broken, &[]), 1, &["broke off at byte 900"]);
    let server = Server::start(|_, stream| send_all(stream, &testdata("linear.pt")));
    succeeds(&cache.fetch(&server, &[]));
    assert_eq!(server.requests()[0].start(), None);
    cache.has(&testdata("linear.pt"));
}

#[test]
fn a_server_may_ignore_the_range_or_have_another_version() {
    let cache = Cache::new();
    let server = Server::start(|request, stream| match request.number {
        0 => send_begin(stream, &testdata("parallel.pt"), 700, "ETag: \"old\"\r\n"),
        _ => send_all(stream, &testdata("linear.pt")),
    });
    succeeds(&cache.fetch(&server, &[]));
    cache.has(&testdata("linear.pt"));
    assert_eq!(server.requests()[1].start(), Some(700));
}

#[test]
fn a_wrong_part_is_not_added() {
    for wrong in ["another start", "another length", "no range"] {
        let cache = Cache::new();
        let server = Server::start(move |request, stream| {
            let body = testdata("linear.pt");
            match (request.number, request.start(), wrong) {
                (0, ..) => send_begin(stream, &body, 700, ""),
                (1, _, "another start") => send_part(stream, &body, 600),
                (1, _, "another length") => send_part(stream, &testdata("parallel.pt"), 700),
                (1, ..) => send(stream, "206 Partial Content", "", &body[700..]),
                (_, start, _) => {
                    assert_eq!(start, None);
                    send_all(stream, &body);
                }
            }
        });
        succeeds(&cache.fetch(&server, &[]));
        cache.has(&testdata("linear.pt"));
    }
    let cache = Cache::new();
    let server = Server::start(|request, stream| match request.number {
        0 => send_begin(stream, &testdata("linear.pt"), 700, ""),
        1 => send(stream, "416 Range Not Satisfiable", "Content-Length: 0\r\n", b""),
        _ => send_all(stream, &testdata("linear.pt")),
    });
    succeeds(&cache.fetch(&server, &[]));
    cache.has(&testdata("linear.pt"));
}

#[test]
fn a_silent_server_is_not_waited_for() {
    let cache = Cache::new();
    let server = Server::start(|request, stream| {
        if request.number == 0 {
            send_begin(stream, &testdata("linear.pt"), 100, "");
        }
        std::thread::sleep(Duration::from_millis(600));
    });
    // Held open and silent after 100 bytes, then without an answer at all.
    let output = cache.fetch(&server, &["--stall", "0.2"]);
    fails(&output, 1, &["broke off at byte 100", "run the same command again"]);
    assert_eq!(cache.names(), ["nucleitorch_0.part", "nucleitorch_0.part.from"]);
    let cache = Cache::new();
    let server = Server::start(|_, _| std::thread::sleep(Duration::from_millis(600)));
    fails(&cache.fetch(&server, &["--stall", "0.2"]), 1, &["cannot reach", "does not answer"]);
    assert!(cache.names().is_empty());
}

#[test]
fn a_length_that_is_no_truth_ends_in_an_error() {
    let cache = Cache::new();
    let server = Server::start(|_, stream| {
        let body = testdata("linear.pt");
        send(stream, "200 OK", "Content-Length: 100000\r\n", &body);
    });
    fails(
        &cache.fetch(&server, &[]),
        1,
        &["broke off at byte 1885", "1885 of 100000 bytes came and the connection ended"],
    );
    assert!(!cache.file("nucleitorch_0").exists());
    let cache = Cache::new();
    let server = Server::start(|_, stream| {
        let body = testdata("linear.pt");
        send(stream, "200 OK", "Content-Length: 1000\r\n", &body);
    });
    fails(&cache.fetch(&server, &[]), 1, &["no weight file of PyTorch", "zip archive"]);
    assert!(cache.names().is_empty());
}

#[test]
fn what_was_fetched_first_is_what_must_come_later() {
    let cache = Cache::new();
    let server = Server::start(|request, stream| {
        let name = if request.number == 0 { "linear.pt" } else { "parallel.pt" };
        send_all(stream, &testdata(name));
    });
    succeeds(&cache.fetch(&server, &[]));
    let again = cache.fetch(&server, &["--overwrite"]);
    fails(&again, 1, &["was fetched before", "delete", "nucleitorch_0.sha256"]);
    cache.has(&testdata("linear.pt"));
    // Also where the file itself has gone.
    std::fs::remove_file(cache.file("nucleitorch_0")).unwrap();
    fails(&cache.fetch(&server, &[]), 1, &["was fetched before"]);
    std::fs::remove_file(cache.file("nucleitorch_0.sha256")).unwrap();
    succeeds(&cache.fetch(&server, &[]));
    cache.has(&testdata("parallel.pt"));
    // And where somebody has changed it.
    std::fs::write(cache.file("nucleitorch_0"), testdata("linear.pt")).unwrap();
    fails(&cache.fetch(&server, &[]), 1, &["and should have", "delete it and fetch it again"]);
}

#[test]
fn a_checksum_may_be_given() {
    const LINEAR: &str = "1a59f2a7688d3dd251579c4bc551ff5c1870b9fd08abfda1da0695c88df9ec2f";
    let cache = Cache::new();
    let server = Server::start(|_, stream| send_all(stream, &testdata("linear.pt")));
    let wrong = "0".repeat(64);
    fails(&cache.fetch(&server, &["--sha256", &wrong]), 1, &["has the SHA-256", &wrong]);
    assert!(cache.names().is_empty());
    succeeds(&cache.fetch(&server, &["--sha256", &LINEAR.to_uppercase()]));
    cache.has(&testdata("linear.pt"));
    let line = std::fs::read_to_string(cache.file("nucleitorch_0.sha256")).unwrap();
    assert_eq!(line, format!("{LINEAR}  nucleitorch_0\n"));
    fails(&cache.fetch(&server, &["--sha256", &wrong]), 1, &["and should have"]);
    assert_eq!(cache.fetch(&server, &["--sha256", "12"]).status.code(), Some(2));
}

#[test]
fn answers_that_are_no_weights_leave_nothing() {
    let answer = |status: &'static str, body: &'static [u8]| {
        Server::start(move |_, stream| {
            send(stream, status, &format!("Content-Length: {}\r\n", body.len()), body);
        })
    };
    let cache = Cache::new();
    let check = |server: Server, words: &[&str]| {
        fails(&cache.fetch(&server, &[]), 1, words);
        assert!(cache.names().is_empty(), "{:?}", cache.names());
    };
    check(answer("404 Not Found", b"gone"), &["answered 404 Not Found", "check the address"]);
    check(answer("500 Internal Server Error", b""), &["answered 500", "try again later"]);
    check(answer("200 OK", b"<!DOCTYPE html><title>Sign in</title>"), &["web page", "--url"]);
    check(answer("200 OK", b""), &["no weight file of PyTorch", "empty"]);
    let module = Server::start(|_, stream| send_all(stream, &testdata("module.pt")));
    check(module, &["no weight file of PyTorch", "torch.nn.modules.linear.Linear"]);
    let garbage = Server::start(|_, stream| drop(stream.write_all(b"what?\r\n\r\n")));
    check(garbage, &["cannot reach"]);
}

#[test]
fn without_a_network_the_way_out_is_told() {
    let cache = Cache::new();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/nucleitorch_0");
    let output = cache.run(&["fetch", "cellpose-nuclei", "--url", &url]);
    let file = cache.file("nucleitorch_0");
    let words = ["cannot reach", &url, "--weights FILE", file.to_str().unwrap()];
    fails(&output, 1, &words);
    assert!(cache.names().is_empty());
    // A server that does not speak TLS is no server for https.
    let server = Server::start(|_, stream| send_all(stream, &testdata("linear.pt")));
    let secure = server.url().replace("http:", "https:");
    fails(
        &cache.run(&["fetch", "cellpose-nuclei", "--url", &secure]),
        1,
        &["cannot reach", &secure],
    );
    let nowhere = "http://no-such-host.invalid/nucleitorch_0";
    fails(
        &cache.run(&["fetch", "cellpose-nuclei", "--url", nowhere]),
        1,
        &["cannot reach", "--url"],
    );
}

#[test]
fn folders_that_cannot_be_used_are_named() {
    let cache = Cache::new();
    std::fs::write(cache.0.path().join("cache"), "a file, not a folder").unwrap();
    let server = Server::start(|_, stream| send_all(stream, &testdata("linear.pt")));
    fails(&cache.fetch(&server, &[]), 1, &["cannot write", "cache", "SPOTLIGHT_CACHE"]);
    assert!(server.requests().is_empty());
    let mut command = program();
    let output = command.env_clear().args(["weights", "path", "cellpose-nuclei"]).output().unwrap();
    fails(&output, 2, &["SPOTLIGHT_CACHE", "HOME"]);
    let output = cache.run(&["fetch", "no-such-weights"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cellpose-nuclei"));
    let output = cache.run(&["fetch", "cellpose-nuclei", "--url", "ftp://example.org/x"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn two_programs_do_not_write_to_one_file() {
    let cache = Cache::new();
    std::fs::create_dir(cache.file("")).unwrap();
    let part = std::fs::File::create(cache.file("nucleitorch_0.part")).unwrap();
    part.lock().unwrap();
    let server = Server::start(|_, stream| send_all(stream, &testdata("linear.pt")));
    fails(&cache.fetch(&server, &[]), 1, &["is being written by another program"]);
    assert!(server.requests().is_empty());
    drop(part);
    succeeds(&cache.fetch(&server, &[]));
    cache.has(&testdata("linear.pt"));
}

#[test]
fn a_file_put_there_by_hand_is_taken_and_recorded() {
    let cache = Cache::new();
    std::fs::create_dir(cache.file("")).unwrap();
    std::fs::write(cache.file("nucleitorch_0"), testdata("linear.pt")).unwrap();
    let server = Server::start(|_, stream| send_all(stream, &testdata("linear.pt")));
    succeeds(&cache.fetch(&server, &[]));
    assert!(server.requests().is_empty());
    cache.has(&testdata("linear.pt"));
}
