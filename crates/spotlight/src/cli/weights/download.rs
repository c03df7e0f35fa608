//! A download over HTTP that goes on where it ended.
//!
//! ```text
//! repeat until the file is whole:
//!     ask for the bytes from the length of the unfinished file on, if the server's copy is
//!         still the one it was begun with (If-Range)
//!     206: add them;  200: begin anew;  416: forget the unfinished file
//! ```
//!
//! A broken or stalled connection is tried again while bytes come; three tries in a row that
//! bring none end it, and the unfinished file stays for the next time.
//!
//! Reference: RFC 9110, sections 13.1.5 (If-Range) and 14 (range requests).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::cache::beside;
use super::fetch::cannot_write;
use crate::cli::failure;

/// Tries in a row that bring nothing.
const MAX_IDLE_TRIES: usize = 3;

/// Tries in all.
const MAX_TRIES: usize = 100;

/// No published weights are larger.
const MAX_BYTES: u64 = 4 << 30;

/// Time for finding the server and shaking hands.
const CONNECT: Duration = Duration::from_secs(20);

/// What is downloaded, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Download<'a> {
    /// The address.
    pub(super) url: &'a str,
    /// The unfinished file; it exists.
    pub(super) part: &'a Path,
    /// Where the file is to lie, for messages.
    pub(super) file: &'a Path,
    /// Longest time without a byte.
    pub(super) stall: Duration,
}

/// Why a try ended.
enum Trouble {
    /// Trying again is of no use.
    Final(anyhow::Error),
    /// The server cannot be reached.
    Unreachable(String),
    /// The connection broke.
    Broken(String),
}

/// Fills the unfinished file. `observe` is told how many of how many bytes are there.
pub(super) fn download(
    wanted: &Download<'_>,
    observe: &mut dyn FnMut(u64, Option<u64>),
) -> Result<()> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT.min(wanted.stall)))
        .timeout_resolve(Some(CONNECT))
        .timeout_recv_response(Some(wanted.stall))
        .timeout_per_read(Some(wanted.stall))
        .user_agent(concat!("spotlight/", env!("CARGO_PKG_VERSION")));
    let agent = Agent::new_with_config(config.build());
    let mut idle = 0;
    for number in 1..=MAX_TRIES {
        let before = length(wanted.part)?;
        let reason = match attempt(&agent, wanted, observe) {
            Ok(()) => return Ok(()),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Unreachable(reason)) if number == 1 => {
                return Err(unreachable(wanted, &reason));
            }
            Err(Trouble::Unreachable(reason) | Trouble::Broken(reason)) => reason,
        };
        let after = length(wanted.part)?;
        idle = if after > before { 0 } else { idle + 1 };
        if idle == MAX_IDLE_TRIES || number == MAX_TRIES {
            return Err(failure(
                format!("the download of {} broke off at byte {after}: {reason}", wanted.url),
                "run the same command again to go on, or take another address with --url",
            ));
        }
    }
    Ok(())
}

fn unreachable(wanted: &Download<'_>, reason: &str) -> anyhow::Error {
    failure(
        format!("cannot reach {}: {reason}", wanted.url),
        format!(
            "on a machine with a network, download it and copy it to {}; or name a file of yours \
             with --weights FILE where weights are asked for, or a mirror here with --url",
            wanted.file.display()
        ),
    )
}

/// One request, from the length of the unfinished file to the end of what comes.
fn attempt(
    agent: &Agent,
    wanted: &Download<'_>,
    observe: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Trouble> {
    let have = length(wanted.part).map_err(Trouble::Final)?;
    let origin = Origin::read(wanted.part).filter(|origin| have > 0 && origin.url == wanted.url);
    if origin.as_ref().is_some_and(|origin| origin.total == Some(have)) {
        return Ok(()); // an earlier run was stopped at the very end
    }
    let mut request = agent.get(wanted.url).header("Accept-Encoding", "identity");
    if let Some(origin) = &origin {
        request = request.header("Range", format!("bytes={have}-"));
        if !origin.version.is_empty() {
            request = request.header("If-Range", &origin.version);
        }
    }
    let response = request.call().map_err(|error| of_call(wanted, error))?;
    let (start, total) = match (response.status(), origin) {
        (StatusCode::PARTIAL_CONTENT, Some(origin)) => {
            let (start, total) = content_range(&response).unwrap_or((u64::MAX, None));
            if start != have || (total.is_some() && origin.total.is_some_and(|t| Some(t) != total))
            {
                empty(wanted.part)?;
                return Err(Trouble::Broken("the server sent another part than asked for".into()));
            }
            (have, total.or(origin.total))
        }
        (StatusCode::OK, _) => {
            empty(wanted.part)?;
            let total = response.body().content_length();
            Origin::of(wanted.url, total, &response).write(wanted.part).map_err(Trouble::Final)?;
            (0, total)
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
            empty(wanted.part)?;
            return Err(Trouble::Broken("the server has another file than before".into()));
        }
        (status, _) => return Err(Trouble::Final(refused(wanted, status))),
    };
    receive(response, wanted, start, total, observe)
}

/// Adds the body of an answer to the unfinished file.
fn receive(
    response: Response<ureq::Body>,
    wanted: &Download<'_>,
    start: u64,
    total: Option<u64>,
    observe: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Trouble> {
    let part = wanted.part;
    let opened = OpenOptions::new().append(true).open(part);
    let mut file = opened.map_err(|error| Trouble::Final(cannot_write(part, &error)))?;
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; 64 << 10];
    let mut done = start;
    observe(done, total);
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(Trouble::Broken(broken(done, total, &error.to_string()))),
        };
        done += count as u64;
        if done > MAX_BYTES || total.is_some_and(|total| done > total) {
            empty(part)?;
            let error = format!("{} sends more than it should", wanted.url);
            return Err(Trouble::Final(failure(error, "take another address with --url")));
        }
        let written = file.write_all(&buffer[..count]);
        written.map_err(|error| Trouble::Final(cannot_write(part, &error)))?;
        observe(done, total);
    }
    match total {
        Some(total) if done < total => {
            Err(Trouble::Broken(broken(done, Some(total), "the connection ended")))
        }
        _ => Ok(()),
    }
}

fn broken(done: u64, total: Option<u64>, reason: &str) -> String {
    let total = total.map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string());
    // The words of the HTTP client, in the style of our own.
    let reason = match reason {
        "Peer disconnected" => "the connection ended",
        other if other.contains("timeout") => "nothing more came",
        other => other,
    };
    format!("{done} of {total} bytes came and {reason}")
}

fn of_call(wanted: &Download<'_>, error: ureq::Error) -> Trouble {
    use ureq::Error;
    match error {
        Error::HostNotFound => Trouble::Unreachable("there is no such host".to_owned()),
        Error::Timeout(_) => Trouble::Unreachable("it does not answer".to_owned()),
        Error::BadUri(_) | Error::TooManyRedirects | Error::Http(_) => Trouble::Final(failure(
            format!("cannot fetch {}: {error}", wanted.url),
            "check the address, or take another one with --url",
        )),
        other => {
            let text = other.to_string();
            Trouble::Unreachable(text.strip_prefix("io: ").unwrap_or(&text).to_owned())
        }
    }
}

fn refused(wanted: &Download<'_>, status: StatusCode) -> anyhow::Error {
    let hint = if status.is_server_error() {
        "try again later, or take another address with --url"
    } else {
        "check the address, or take another one with --url"
    };
    failure(format!("{} answered {status}", wanted.url), hint)
}

/// First byte and length of the whole of `Content-Range: bytes 100-199/200`.
fn content_range<T>(response: &Response<T>) -> Option<(u64, Option<u64>)> {
    let text = response.headers().get("content-range")?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

/// Where an unfinished file comes from: kept beside it, so that two versions are never mixed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    url: String,
    /// Length of the whole, where the server told it.
    total: Option<u64>,
    /// The server's name for this version of the file: a strong ETag, or a date.
    version: String,
}

impl Origin {
    fn of<T>(url: &str, total: Option<u64>, response: &Response<T>) -> Self {
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        // A weak ETag promises no equal bytes.
        let tag = header("etag").filter(|tag| !tag.starts_with("W/"));
        let version = tag.or_else(|| header("last-modified")).unwrap_or_default();
        Self { url: url.to_owned(), total, version }
    }

    fn read(part: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(beside(part, ".from")).ok()?;
        let mut lines = text.lines();
        let (url, total) = (lines.next()?.to_owned(), lines.next()?.parse().ok());
        Some(Self { url, total, version: lines.next().unwrap_or_default().to_owned() })
    }

    fn write(&self, part: &Path) -> Result<()> {
        let total = self.total.map_or("unknown".to_owned(), |total| total.to_string());
        let text = format!("{}\n{total}\n{}\n", self.url, self.version);
        Ok(spotlight_io::atomic::write_bytes(&beside(part, ".from"), text.as_bytes(), true)?)
    }
}

fn length(part: &Path) -> Result<u64> {
    let about = std::fs::metadata(part);
    Ok(about.map_err(|error| cannot_write(part, &error))?.len())
}

fn empty(part: &Path) -> Result<(), Trouble> {
    let emptied = File::options().write(true).open(part).and_then(|file| file.set_len(0));
    emptied.map_err(|error| Trouble::Final(cannot_write(part, &error)))
}
