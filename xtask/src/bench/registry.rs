//! Registries: ours beside Debian's docker-registry (in Docker's column), each on a fresh file system, asked the same by the same
//! client over connections that stay.

mod mixed;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use havre_oci::{Digest, Digester};
use serde_json::{json, value::RawValue};

use super::{
    engines::proportional_set,
    images::Registry,
    table::Results,
    volume::{Volume, settle_memory},
};
use crate::Outcome;

/// Connections at once.
const CLIENTS: usize = 4;
/// Requests of a row, all connections together.
const REQUESTS: usize = 8000;
/// Who looks for new tags asks for all of them, over and over.
const LISTED: usize = 20;
const LARGE: u64 = 1 << 30;
const PIECE: usize = 1 << 20;
const OCTETS: &str = "Content-Type: application/octet-stream\r\n";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry that is measured.
enum Server {
    Ours { process: Child, port: u16 },
    Theirs(Registry),
}

impl Server {
    fn start(name: &str, havre: &Path, folder: &Path) -> Outcome<Self> {
        if name != "havre" {
            return Ok(Self::Theirs(Registry::start(folder)?));
        }
        let mut process = Command::new(havre)
            .args(["registry", "--listen", "127.0.0.1:0", "--root"])
            .arg(folder.join("registry"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        match port {
            Some(port) => Ok(Self::Ours { process, port }),
            None => Err(format!("havre registry does not say where it listens: {line:?}").into()),
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Ours { port, .. } => *port,
            Self::Theirs(registry) => registry.port(),
        }
    }

    fn id(&self) -> u32 {
        match self {
            Self::Ours { process, .. } => process.id(),
            Self::Theirs(registry) => registry.id(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Ours { process, .. } = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// One connection.
struct Wire(BufReader<TcpStream>);

struct Answer {
    /// What was asked for.
    path: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Wire {
    fn open(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(256 << 10, stream)))
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Outcome<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {MANIFEST}\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.0.get_mut().write_all(&request)?;
        let answer = self.answer(method, true)?;
        Ok(Answer {
            path: format!("{method} {path}"),
            ..answer
        })
    }

    /// With the body, or only its length.
    fn answer(&mut self, method: &str, keep: bool) -> Outcome<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut answer = Answer {
            path: method.to_owned(),
            status: status.ok_or_else(|| format!("not HTTP: {line:?}"))?,
            headers: BTreeMap::new(),
            body: Vec::new(),
        };
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            answer.headers.insert(name.to_lowercase(), value.to_owned());
        }
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            return Ok(answer);
        }
        if answer.headers.contains_key("transfer-encoding") {
            loop {
                line.clear();
                self.0.read_line(&mut line)?;
                let length = u64::from_str_radix(line.trim(), 16)?;
                self.take(length, &mut answer.body, keep)?;
                line.clear();
                self.0.read_line(&mut line)?;
                if length == 0 {
                    return Ok(answer);
                }
            }
        }
        let length = answer.headers.get("content-length").map_or("0", String::as_str);
        self.take(length.parse()?, &mut answer.body, keep)?;
        Ok(answer)
    }

    fn take(&mut self, length: u64, body: &mut Vec<u8>, keep: bool) -> Outcome {
        let mut left = length;
        while left > 0 {
            let bytes = self.0.fill_buf()?;
            let count = bytes.len().min(usize::try_from(left)?);
            if count == 0 {
                return Err("the connection ended within an answer".into());
            }
            if keep {
                body.extend_from_slice(&bytes[..count]);
            }
            self.0.consume(count);
            left -= count as u64;
        }
        Ok(())
    }
}

impl Answer {
    fn is(self, status: u16) -> Outcome<Self> {
        match self.status == status {
            true => Ok(self),
            false => Err(format!(
                "{}: {} {}",
                self.path,
                self.status,
                String::from_utf8_lossy(&self.body)
            )
            .into()),
        }
    }
}

/// The path of an upload that was begun.
fn begin(wire: &mut Wire, name: &str) -> Outcome<String> {
    let begun = wire
        .ask("POST", &format!("/v2/{name}/blobs/uploads/"), "", b"")?
        .is(202)?;
    let location = begun.headers.get("location").ok_or("no location")?;
    // The reference registry says it with its name.
    let path = location.split_once("://").map_or(location.as_str(), |(_, rest)| {
        &rest[rest.find('/').unwrap_or(0)..]
    });
    Ok(path.to_owned())
}

fn with_digest(path: &str, digest: &Digest) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}digest={digest}")
}

fn push_blob(wire: &mut Wire, name: &str, bytes: &[u8]) -> Outcome<Digest> {
    let digest = Digest::sha256_of(bytes);
    let path = with_digest(&begin(wire, name)?, &digest);
    wire.ask("PUT", &path, OCTETS, bytes)?.is(201)?;
    Ok(digest)
}

/// An image without layers, and its manifest.
fn manifest(wire: &mut Wire, name: &str) -> Outcome<Vec<u8>> {
    let config = push_blob(wire, name, b"{}")?;
    let config =
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2});
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    Ok(manifest.to_string().into_bytes())
}

fn tag(wire: &mut Wire, name: &str, tag: &str, manifest: &[u8]) -> Outcome {
    let kind = format!("Content-Type: {MANIFEST}\r\n");
    wire.ask("PUT", &format!("/v2/{name}/manifests/{tag}"), &kind, manifest)?
        .is(201)
        .map(drop)
}

/// The manifest in another repository, with the one blob that it has.
fn mount(wire: &mut Wire, name: &str, manifest: &[u8]) -> Outcome {
    let config = Digest::sha256_of(b"{}");
    let path = format!("/v2/{name}/blobs/uploads/?mount={config}&from=app");
    wire.ask("POST", &path, "", b"")?.is(201)?;
    tag(wire, name, "1", manifest)
}

/// The same request over and over, on several connections.
fn storm(port: u16, method: &str, path: &str) -> Outcome<Duration> {
    let mut wires = Vec::new();
    for _ in 0..CLIENTS {
        wires.push(Wire::open(port)?);
    }
    let started = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = wires
            .into_iter()
            .map(|mut wire| {
                scope.spawn(move || -> Result<(), String> {
                    for _ in 0..REQUESTS / CLIENTS {
                        let asked = wire.ask(method, path, "", b"").and_then(|answer| answer.is(200));
                        asked.map_err(|error| error.to_string())?;
                    }
                    Ok(())
                })
            })
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| "a client panicked".to_owned())?)
    })?;
    Ok(started.elapsed())
}

/// Bytes that do not repeat, and are the same in each run.
fn noise(state: &mut u64, piece: &mut [u8]) {
    for word in piece.chunks_exact_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
}

fn large_digest() -> Digest {
    let (mut state, mut piece, mut digester) = (7, vec![0; PIECE], Digester::sha256());
    for _ in 0..LARGE / PIECE as u64 {
        noise(&mut state, &mut piece);
        digester.update(&piece);
    }
    digester.finish()
}

/// One blob of 1 GiB up and down.
fn large(port: u16, digest: &Digest) -> Outcome<(Duration, Duration)> {
    let mut wire = Wire::open(port)?;
    // Made before: the client shall not be what is measured.
    let mut bytes = vec![0; usize::try_from(LARGE)?];
    let mut state = 7;
    bytes.chunks_mut(PIECE).for_each(|piece| noise(&mut state, piece));
    let started = Instant::now();
    let path = with_digest(&begin(&mut wire, "large")?, digest);
    let head = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\n{OCTETS}Content-Length: {LARGE}\r\n\r\n");
    wire.0.get_mut().write_all(head.as_bytes())?;
    for piece in bytes.chunks(PIECE) {
        wire.0.get_mut().write_all(piece)?;
    }
    wire.answer("PUT", true)?.is(201)?;
    let up = started.elapsed();
    drop(bytes);
    let started = Instant::now();
    let head = format!("GET /v2/large/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.0.get_mut().write_all(head.as_bytes())?;
    wire.answer("GET", false)?.is(200)?;
    Ok((up, started.elapsed()))
}

/// How many texts the list of that name has in it.
fn items(body: &[u8], key: &str) -> Outcome<usize> {
    // What they are is not looked at: the client shall not be what is measured.
    let lists: BTreeMap<&str, &RawValue> = serde_json::from_slice::<BTreeMap<_, _>>(body)?;
    let list = lists.get(key).ok_or("no list")?;
    Ok(list.get().bytes().filter(|byte| *byte == b'"').count() / 2)
}

/// All pages of a list; how many items there were.
fn list(wire: &mut Wire, first: &str, key: &str) -> Outcome<usize> {
    let (mut path, mut count) = (first.to_owned(), 0);
    loop {
        let page = wire.ask("GET", &path, "", b"")?.is(200)?;
        count += items(&page.body, key)?;
        match page
            .headers
            .get("link")
            .and_then(|link| link.strip_prefix('<')?.split_once('>'))
        {
            Some((next, _)) => path = next.to_owned(),
            None => return Ok(count),
        }
    }
}

pub(super) fn rows(havre: &Path, scratch: &Path, many: usize, results: &mut Results) -> Outcome {
    let digest = large_digest();
    for name in ["havre", "docker"] {
        eprintln!("registry: {name}");
        let volume = Volume::create(scratch, name)?;
        let server = Server::start(name, havre, volume.path())?;
        let port = server.port();
        let mut wire = Wire::open(port)?;
        let bytes = manifest(&mut wire, "app")?;
        tag(&mut wire, "app", "1", &bytes)?;
        let mut small = vec![0; 64 << 10];
        noise(&mut 9, &mut small);
        let blob = push_blob(&mut wire, "app", &small)?;
        for (row, method, path) in [
            ("manifests by tag", "GET", "/v2/app/manifests/1".to_owned()),
            ("HEADs of a manifest", "HEAD", "/v2/app/manifests/1".to_owned()),
            ("blobs of 64 KiB", "GET", format!("/v2/app/blobs/{blob}")),
        ] {
            let row = format!("registry: {REQUESTS} {row}");
            results.time(&row, name, storm(port, method, &path)?);
        }
        settle_memory()?;
        let (up, down) = large(port, &digest)?;
        results.time("registry: a blob of 1 GiB up", name, up);
        results.time("registry: the same down", name, down);
        settle_memory()?;
        let started = Instant::now();
        for number in 0..500_u64 {
            push_blob(&mut wire, "small", &number.to_le_bytes())?;
        }
        results.time("registry: 500 small blobs up", name, started.elapsed());
        let started = Instant::now();
        for number in 0..many {
            tag(&mut wire, "app", &format!("tag-{number:05}"), &bytes)?;
        }
        results.time(&format!("registry: {many} tags up"), name, started.elapsed());
        let (started, mut count) = (Instant::now(), 0);
        for _ in 0..LISTED {
            count = list(&mut wire, "/v2/app/tags/list", "tags")?;
        }
        results.time(
            &format!("registry: a list of {many} tags, {LISTED} times"),
            name,
            started.elapsed(),
        );
        if count != many + 1 {
            return Err(format!("{name} lists {count} tags").into());
        }
        let started = Instant::now();
        wire.ask("GET", "/v2/app/tags/list?n=100&last=tag-00500", "", b"")?
            .is(200)?;
        results.time("registry: 100 of them", name, started.elapsed());
        for number in 0..many {
            mount(&mut wire, &format!("repositories/r-{number:05}"), &bytes)?;
        }
        let started = Instant::now();
        let count = list(&mut wire, "/v2/_catalog?n=1000", "repositories")?;
        results.time(
            &format!("registry: a catalog of {many} repositories"),
            name,
            started.elapsed(),
        );
        if count < many {
            return Err(format!("{name} lists {count} repositories").into());
        }
        let started = Instant::now();
        wire.ask("GET", "/v2/_catalog?n=100&last=repositories/r-00500", "", b"")?
            .is(200)?;
        results.time("registry: 100 of them, by name", name, started.elapsed());
        let latencies = mixed::load(port, &format!("/v2/app/blobs/{blob}"), &bytes)?;
        results.time("registry: mixed load", name, latencies.all);
        for (row, latency) in [
            ("registry: … a request of it, median", latencies.median),
            ("registry: … the slowest of a hundred", latencies.p99),
            ("registry: … the slowest of a thousand", latencies.p999),
        ] {
            results.time(row, name, latency);
        }
        let process = format!("/proc/{}", server.id());
        let memory = proportional_set(Path::new(&process));
        results.bytes("registry: its memory, PSS", name, memory);
    }
    Ok(())
}
