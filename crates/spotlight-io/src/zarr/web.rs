//! [`Web`]: a folder on an HTTP server, from which files and parts of files are fetched.
//!
//! ```text
//! 200: the whole file, of which the part is cut; 206: the part; 404, 410: there is no such file
//! ```
//!
//! Reference: RFC 9110, section 14 (range requests).

use std::fmt::Write as _;
use std::io::{self, Read};
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Response, StatusCode};
use zarrs::storage::byte_range::ByteRange;

use super::store::{check_limit, inside};
use crate::error::{Fault, malformed};

/// Longest time to find the server, and longest time without a byte.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A folder on a server.
#[derive(Clone, Debug)]
pub(super) struct Web {
    agent: Agent,
    /// The address without a slash at its end.
    folder: String,
    /// What follows the `?` of the address, with it.
    query: String,
}

impl Web {
    /// The folder of an address; nothing is asked of the server yet.
    pub(super) fn new(address: &str, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .user_agent(concat!("spotlight/", env!("CARGO_PKG_VERSION")));
        let address = address.split('#').next().unwrap_or_default();
        let (folder, query) = match address.split_once('?') {
            Some((folder, query)) => (folder, format!("?{query}")),
            None => (address, String::new()),
        };
        let folder = folder.trim_end_matches('/').to_owned();
        Self { agent: Agent::new_with_config(config.build()), folder, query }
    }

    /// The folder of a path below this one.
    pub(super) fn below(&self, path: &str) -> Self {
        Self { folder: format!("{}/{}", self.folder, escaped(path)), ..self.clone() }
    }

    /// The bytes of a file, or a part of them; none where there is no such file.
    pub(super) fn get(
        &self,
        key: &str,
        part: Option<ByteRange>,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(ByteRange::FromStart(_, Some(0)) | ByteRange::Suffix(0)) = part {
            return Ok(Some(Vec::new()));
        }
        let url = self.url(key);
        let mut request = self.agent.get(&url).header("Accept-Encoding", "identity");
        if let Some(range) = part.and_then(range_header) {
            request = request.header("Range", range);
        }
        let response = request.call().map_err(|error| Fault::Io(trouble(&url, &error)))?;
        match response.status() {
            StatusCode::OK => whole(response, part, limit, &url).map(Some),
            StatusCode::PARTIAL_CONTENT => partial(response, part, limit, &url).map(Some),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            StatusCode::RANGE_NOT_SATISFIABLE => malformed("the file is cut off"),
            status => Err(Fault::Io(refused(&url, status))),
        }
    }

    /// Length of a file in bytes, where the server tells it.
    pub(super) fn length(&self, key: &str) -> Result<Option<u64>, Fault> {
        let url = self.url(key);
        let request = self.agent.head(&url).header("Accept-Encoding", "identity");
        let response = request.call().map_err(|error| Fault::Io(trouble(&url, &error)))?;
        match response.status() {
            StatusCode::OK => Ok(content_length(&response)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status => Err(Fault::Io(refused(&url, status))),
        }
    }

    fn url(&self, key: &str) -> String {
        format!("{}/{}{}", self.folder, escaped(key), self.query)
    }
}

/// A path with every byte escaped that may not stand in an address.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn range_header(part: ByteRange) -> Option<String> {
    match part {
        ByteRange::FromStart(0, None) => None,
        ByteRange::FromStart(start, None) => Some(format!("bytes={start}-")),
        ByteRange::FromStart(start, Some(count)) => {
            Some(format!("bytes={start}-{}", start.saturating_add(count - 1)))
        }
        ByteRange::Suffix(count) => Some(format!("bytes=-{count}")),
    }
}

/// The part that was wanted, of an answer with the whole file.
fn whole(
    response: Response<ureq::Body>,
    part: Option<ByteRange>,
    limit: u64,
    url: &str,
) -> Result<Vec<u8>, Fault> {
    let length = content_length(&response);
    let mut body = response.into_body().into_reader();
    let Some(length) = length else {
        let bytes = read(&mut body, limit, url)?;
        let (start, count) = inside(part, bytes.len() as u64)?;
        // Both lie inside a vector.
        return Ok(bytes[start as usize..(start + count) as usize].to_vec());
    };
    let (start, count) = inside(part, length)?;
    check_limit(count, limit)?;
    let skipped = io::copy(&mut body.by_ref().take(start), &mut io::sink());
    skipped.map_err(|error| Fault::Io(broken(url, &error)))?;
    exactly(&mut body, count, url)
}

/// The part that was wanted, of an answer with a part.
fn partial(
    response: Response<ureq::Body>,
    part: Option<ByteRange>,
    limit: u64,
    url: &str,
) -> Result<Vec<u8>, Fault> {
    let start = content_range_start(&response);
    let mut body = response.into_body().into_reader();
    match part {
        Some(ByteRange::FromStart(wanted, _)) if start.is_some_and(|start| start != wanted) => {
            malformed("the server sent another part of the file than it was asked for")
        }
        Some(ByteRange::FromStart(_, Some(count)) | ByteRange::Suffix(count)) => {
            check_limit(count, limit)?;
            exactly(&mut body, count, url)
        }
        _ => read(&mut body, limit, url),
    }
}

/// A number of bytes; fewer are an error.
fn exactly(body: &mut impl Read, count: u64, url: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = body.take(count).read_to_end(&mut bytes);
    read.map_err(|error| Fault::Io(broken(url, &error)))?;
    if bytes.len() as u64 != count {
        return malformed(format!("the file is cut off: {} of {count} bytes came", bytes.len()));
    }
    Ok(bytes)
}

/// All bytes, up to a limit.
fn read(body: &mut impl Read, limit: u64, url: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = body.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Fault::Io(broken(url, &error)))?;
    check_limit(bytes.len() as u64, limit)?;
    Ok(bytes)
}

fn content_length<T>(response: &Response<T>) -> Option<u64> {
    response.headers().get("content-length")?.to_str().ok()?.trim().parse().ok()
}

/// First byte of `Content-Range: bytes 100-199/200`.
fn content_range_start<T>(response: &Response<T>) -> Option<u64> {
    let text = response.headers().get("content-range")?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

fn trouble(url: &str, error: &ureq::Error) -> io::Error {
    use ureq::Error;
    match error {
        Error::HostNotFound => io::Error::other(format!("there is no such host as that of {url}")),
        Error::Timeout(_) => timed_out(url),
        Error::BadUri(_) => io::Error::other(format!("{url} is no address")),
        Error::Io(error) => broken(url, error),
        other => io::Error::other(format!("the server of {url} cannot be reached: {other}")),
    }
}

fn broken(url: &str, error: &io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::TimedOut || error.to_string().contains("timeout") {
        return timed_out(url);
    }
    io::Error::other(format!("the connection for {url} broke: {error}; try again"))
}

fn timed_out(url: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the server sends nothing of {url}; try again later"),
    )
}

fn refused(url: &str, status: StatusCode) -> io::Error {
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; only data that is open to all is read, and some servers say this of a missing file"
        }
        status if status.is_server_error() => "; try again later",
        _ => "; check the address",
    };
    io::Error::other(format!("the server answered {status} to {url}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_query_and_escape_names() {
        let web = Web::new("https://example.org/a.zarr/?token=1", PATIENCE);
        assert_eq!(web.url("0/.zarray"), "https://example.org/a.zarr/0/.zarray?token=1");
        let below = web.below("my label#2");
        assert_eq!(below.url("c/0"), "https://example.org/a.zarr/my%20label%232/c/0?token=1");
    }
}
