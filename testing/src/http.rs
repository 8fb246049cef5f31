//! As much HTTP/1.1 as tests need, in the raw: bodies are whole byte strings, and nothing is repaired.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Head and body of a request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path with query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A query parameter, percent-decoded.
    pub fn query(&self, key: &str) -> Option<String> {
        self.queries(key).next()
    }

    /// The same of one that is there several times.
    pub fn queries(&self, key: &str) -> impl Iterator<Item = String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').filter_map(move |pair| {
            let (name, value) = pair.split_once('=')?;
            (name == key).then(|| percent_decode(value))
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// Head and body of a response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// One request on a connection of its own to a Unix socket.
pub fn over_unix(socket: &Path, method: &str, target: &str, kind: &str, body: &[u8]) -> io::Result<Response> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    exchange(stream, method, target, kind, body)
}

/// One request on a connection of its own to a TCP address; what answers within `patience` counts.
pub fn over_tcp(address: &str, method: &str, target: &str, patience: Duration) -> io::Result<Response> {
    let address = address.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    exchange(stream, method, target, "", b"")
}

/// One request with a body on a connection of its own to a TCP address.
pub fn to_tcp(address: &str, method: &str, target: &str, kind: &str, body: &[u8]) -> io::Result<Response> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    exchange(stream, method, target, kind, body)
}

/// One request without a body, with these headers, on a connection of its own to a TCP address.
pub fn with_headers(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    send(stream, method, target, headers, b"")
}

fn exchange(
    stream: impl Read + Write,
    method: &str,
    target: &str,
    kind: &str,
    body: &[u8],
) -> io::Result<Response> {
    let headers = [("Content-Type", kind)];
    let headers = if kind.is_empty() { &[][..] } else { &headers };
    send(stream, method, target, headers, body)
}

fn send(
    mut stream: impl Read + Write,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    read_response(&mut BufReader::new(stream), method == "HEAD")
}

pub fn read_response(reader: &mut impl BufRead, without_body: bool) -> io::Result<Response> {
    let (start, headers) = read_head(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = start
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    let empty = without_body || status == 204 || status == 304 || status < 200;
    if !empty {
        match read_body(reader, &response.headers)? {
            Some(body) => response.body = body,
            None => {
                reader.read_to_end(&mut response.body)?;
            }
        }
    }
    Ok(response)
}

/// The next request of a connection; `None` when it was closed in between.
pub fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some((start, headers)) = read_head(reader)? else {
        return Ok(None);
    };
    let mut words = start.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let body = read_body(reader, &headers)?.unwrap_or_default();
    Ok(Some(Request {
        method,
        target,
        headers,
        body,
    }))
}

type Head = (String, Vec<(String, String)>);

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut start = String::new();
    if reader.read_line(&mut start)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Some((start.trim_end().to_owned(), headers)))
}

/// `None` when the head says nothing of a length.
fn read_body(reader: &mut impl BufRead, headers: &[(String, String)]) -> io::Result<Option<Vec<u8>>> {
    if find(headers, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
            let start = body.len();
            body.resize(start + size, 0);
            reader.read_exact(&mut body[start..])?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                return Ok(Some(body));
            }
        }
    }
    let Some(length) = find(headers, "content-length").and_then(|length| length.parse().ok()) else {
        return Ok(None);
    };
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
