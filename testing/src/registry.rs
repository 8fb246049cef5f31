//! A registry (distribution API 1.1, in memory) that misbehaves on request.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::json;

use crate::certificate::{Authority, Pair};
use crate::connection::Connection;
use crate::digest_of;
use crate::http::{Request, read_request};
use crate::image::{Compression, Image, host_architecture};
use crate::stored::StoredLayer;

/// What a registry does instead of answering.
#[derive(Clone, Debug)]
pub enum Action {
    /// Another status, with headers and a body.
    Status(u16, Vec<(String, String)>, String),
    /// The honest head, then only so many bytes of the body, then the end of the connection.
    CutAfter(usize),
    /// The honest answer with its last byte changed.
    Corrupt,
    /// Only so many bytes, and a head that says so.
    Truncate(usize),
    /// Other bytes under the same name.
    Replace(Vec<u8>),
    /// The honest body, then the same byte for ever; no length is told.
    Endless,
    /// The head, and nothing more until the client goes.
    Stall,
    /// The head and so many bytes, and the others when something is received, or nothing can be any more.
    HoldAfter(usize, Arc<Mutex<Receiver<()>>>),
}

impl Action {
    /// A status with the registry's error body.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Status(
            status,
            Vec::new(),
            json!({"errors": [{"code": code, "message": message}]}).to_string(),
        )
    }
}

/// Who may come in.
#[derive(Clone, Debug)]
pub enum Auth {
    Basic {
        user: String,
        password: String,
    },
    /// A token from `/token`, given to this user.
    Token {
        user: String,
        password: String,
    },
    /// As on Docker Hub: everybody gets a token to read, this user one to write.
    Hub {
        user: String,
        password: String,
    },
}

struct Fault {
    method: &'static str,
    contains: String,
    /// How many requests it still hits; `None`: all.
    left: Option<usize>,
    action: Action,
}

#[derive(Default)]
struct Content {
    /// `repository/reference` → media type, bytes.
    manifests: HashMap<String, (String, Vec<u8>)>,
    blobs: HashMap<String, Arc<Vec<u8>>>,
    /// Which blobs a repository may show, as `repository@digest`.
    linked: Vec<String>,
    uploads: HashMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    auth: Option<Auth>,
    seen: Vec<Request>,
    next_upload: u64,
    /// Bytes of blobs that were answered with.
    served: u64,
    /// Whole blobs are sent whatever part is asked for.
    no_ranges: bool,
}

/// A registry on a free port of 127.0.0.1, which ends with the test.
#[derive(Clone)]
pub struct Registry {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    content: Arc<Mutex<Content>>,
}

impl Registry {
    pub fn start() -> Self {
        Self::listen(None)
    }

    /// A registry that speaks TLS only, with this certificate.
    pub fn start_tls(pair: &Pair) -> Self {
        Self::listen(Some(pair.server(None)))
    }

    /// The same for clients that have a certificate of this authority, and nobody else.
    pub fn start_tls_for(pair: &Pair, clients: &Authority) -> Self {
        Self::listen(Some(pair.server(Some(clients))))
    }

    /// The same registry on another port, or, called on a thread in another network namespace, there.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::serving(self.tls.clone(), Arc::clone(&self.content))
    }

    fn listen(tls: Option<Arc<ServerConfig>>) -> Self {
        Self::serving(tls, Arc::default())
    }

    fn serving(tls: Option<Arc<ServerConfig>>, content: Arc<Mutex<Content>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("address");
        let registry = Self {
            address,
            tls,
            content,
        };
        let serving = registry.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let registry = serving.clone();
                // A client that goes away mid-answer is part of the game.
                thread::spawn(move || registry.serve(stream));
            }
        });
        registry
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A reference on this registry.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    pub fn require(&self, auth: Auth) {
        self.lock().auth = Some(auth);
    }

    /// Misbehaves at requests of this method whose path contains the text, `times` times or always.
    pub fn fail(&self, method: &'static str, contains: &str, times: Option<usize>, action: Action) {
        self.lock().faults.push(Fault {
            method,
            contains: contains.to_owned(),
            left: times,
            action,
        });
    }

    /// Sends whole blobs whatever part is asked for, as simple servers do.
    pub fn serve_no_ranges(&self) {
        self.lock().no_ranges = true;
    }

    /// How many bytes of blobs it answered with, since this was asked last.
    pub fn served(&self) -> u64 {
        std::mem::take(&mut self.lock().served)
    }

    pub fn behave(&self) {
        self.lock().faults.clear();
    }

    /// The requests of this method whose path contains the text.
    pub fn seen(&self, method: &str, contains: &str) -> Vec<Request> {
        let content = self.lock();
        content
            .seen
            .iter()
            .filter(|one| one.method == method && one.path().contains(contains))
            .cloned()
            .collect()
    }

    /// Publishes an image as OCI manifest; returns the manifest's digest.
    pub fn publish(&self, repository: &str, tag: &str, image: &Image, compression: Compression) -> String {
        let (manifest, blobs) = image.oci_manifest(compression);
        self.put_blobs(repository, blobs);
        self.put_manifest(
            repository,
            tag,
            "application/vnd.oci.image.manifest.v1+json",
            manifest,
        )
    }

    /// Publishes an image whose layers are stored like this; returns the manifest's digest.
    pub fn publish_stored(
        &self,
        repository: &str,
        tag: &str,
        image: &Image,
        layers: &[StoredLayer],
    ) -> String {
        let config = image.config_json();
        let config_of = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(&config), "size": config.len()});
        let described: Vec<_> = layers.iter().map(StoredLayer::descriptor).collect();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({"schemaVersion": 2, "mediaType": kind, "config": config_of, "layers": described});
        self.put_blobs(
            repository,
            layers.iter().map(|layer| layer.bytes.clone()).chain([config]),
        );
        self.put_manifest(repository, tag, kind, manifest.to_string().into_bytes())
    }

    /// Publishes an image as Docker v2 schema 2 manifest; returns the manifest's digest.
    pub fn publish_docker(&self, repository: &str, tag: &str, image: &Image) -> String {
        let (manifest, blobs) = image.docker_manifest();
        self.put_blobs(repository, blobs);
        self.put_manifest(
            repository,
            tag,
            "application/vnd.docker.distribution.manifest.v2+json",
            manifest,
        )
    }

    /// Publishes an index of images by architecture; returns the index's digest.
    pub fn publish_index(&self, repository: &str, tag: &str, images: &[Image]) -> String {
        let mut manifests = Vec::new();
        for image in images {
            let (manifest, blobs) = image.oci_manifest(Compression::Gzip);
            self.put_blobs(repository, blobs);
            let size = manifest.len();
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let digest = self.put_manifest(repository, &digest_of(&manifest), kind, manifest);
            let mut platform = json!({"os": "linux", "architecture": image.architecture});
            if let Some(variant) = &image.variant {
                platform["variant"] = json!(variant);
            }
            manifests.push(json!({"mediaType": kind, "digest": digest, "size": size, "platform": platform}));
        }
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
        self.put_manifest(repository, tag, kind, index.to_string().into_bytes())
    }

    /// Publishes busybox and returns its reference.
    pub fn busybox(&self) -> String {
        self.publish("busybox", "latest", &Image::busybox(), Compression::Gzip);
        self.name("busybox:latest")
    }

    pub fn put_blobs(&self, repository: &str, blobs: impl IntoIterator<Item = Vec<u8>>) {
        let mut content = self.lock();
        for blob in blobs {
            let digest = digest_of(&blob);
            content.linked.push(format!("{repository}@{digest}"));
            content.blobs.insert(digest, Arc::new(blob));
        }
    }

    pub fn put_manifest(&self, repository: &str, reference: &str, kind: &str, bytes: Vec<u8>) -> String {
        let digest = digest_of(&bytes);
        let mut content = self.lock();
        content
            .manifests
            .insert(format!("{repository}/{digest}"), (kind.to_owned(), bytes.clone()));
        content
            .manifests
            .insert(format!("{repository}/{reference}"), (kind.to_owned(), bytes));
        digest
    }

    /// The bytes of a manifest somebody pushed.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        self.lock()
            .manifests
            .get(&format!("{repository}/{reference}"))
            .map(|(_, bytes)| bytes.clone())
    }

    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.lock().blobs.get(digest).map(|bytes| bytes.to_vec())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, socket: TcpStream) -> io::Result<()> {
        let connection = Connection::accept(socket, self.tls.as_ref())?;
        let mut reader = BufReader::new(connection);
        loop {
            let request = match read_request(&mut reader) {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(error) => {
                    // What is no HTTP (TLS, say) gets the answer other servers give.
                    let refusal = Answer::new(400, b"Client sent no HTTP request".to_vec());
                    let _ = refusal.write(reader.get_mut(), false);
                    return Err(error);
                }
            };
            let fault = self.fault(&request);
            let answer = match self.refuse_stranger(&request) {
                Some(refusal) => refusal,
                None => self.answer(&request),
            };
            let stream = reader.get_mut();
            let keep = match fault {
                Some(action) => misbehave(stream, &request, answer, action)?,
                None => {
                    answer.write(stream, request.method == "HEAD")?;
                    true
                }
            };
            if !keep {
                return stream.socket().shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Notes the request and finds what to do instead of answering it.
    fn fault(&self, request: &Request) -> Option<Action> {
        let mut content = self.lock();
        content.seen.push(request.clone());
        let fault = content.faults.iter_mut().find(|fault| {
            fault.method == request.method
                && request.path().contains(&fault.contains)
                && fault.left != Some(0)
        })?;
        fault.left = fault.left.map(|left| left - 1);
        Some(fault.action.clone())
    }

    fn refuse_stranger(&self, request: &Request) -> Option<Answer> {
        let auth = self.lock().auth.clone()?;
        let given = request.header("authorization").unwrap_or_default();
        let (welcome, challenge) = match &auth {
            Auth::Basic { user, password } => (basic(user, password), "Basic realm=\"test\"".to_owned()),
            Auth::Token { .. } | Auth::Hub { .. } => {
                let repository = request
                    .path()
                    .trim_start_matches("/v2/")
                    .split("/manifests/")
                    .next()
                    .unwrap_or("");
                let repository = repository.split("/blobs/").next().unwrap_or("");
                let scope = if repository.is_empty() {
                    String::new()
                } else {
                    format!(",scope=\"repository:{repository}:pull\"")
                };
                // Beside the registry, as the client calls it.
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let host = request.header("host").unwrap_or_default();
                let challenge = format!("Bearer realm=\"{scheme}://{host}/token\",service=\"test\"{scope}");
                ("Bearer good-token".to_owned(), challenge)
            }
        };
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        let guest = matches!(auth, Auth::Hub { .. }) && reads && given == "Bearer guest-token";
        if given == welcome || guest || ["/token", "/v1/search"].contains(&request.path()) {
            return None;
        }
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Some(Answer::new(401, body.into()).with("WWW-Authenticate", &challenge))
    }

    fn answer(&self, request: &Request) -> Answer {
        let path = request.path().to_owned();
        if path == "/v2/" || path == "/v2" {
            return Answer::new(200, b"{}".to_vec());
        }
        if path == "/token" {
            return self.token(request);
        }
        if path == "/v1/search" {
            return self.search(&request.query("q").unwrap_or_default());
        }
        let Some(rest) = path.strip_prefix("/v2/") else {
            return not_found("NAME_UNKNOWN");
        };
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return self.tags(repository);
        }
        if let Some((repository, reference)) = rest.split_once("/manifests/") {
            return self.manifests(request, repository, reference);
        }
        if let Some((repository, upload)) = rest.split_once("/blobs/uploads/") {
            return self.upload(request, repository, upload);
        }
        if let Some((repository, digest)) = rest.split_once("/blobs/") {
            return self.blobs(request, repository, digest);
        }
        not_found("NAME_UNKNOWN")
    }

    fn token(&self, request: &Request) -> Answer {
        let (welcome, guests) = match &self.lock().auth {
            Some(Auth::Token { user, password }) => (basic(user, password), false),
            Some(Auth::Hub { user, password }) => (basic(user, password), true),
            _ => return not_found("UNSUPPORTED"),
        };
        let given =
            |token: &str| Answer::new(200, json!({"token": token, "expires_in": 300}).to_string().into());
        let authorization = request.header("authorization");
        if authorization == Some(welcome.as_str()) {
            given("good-token")
        } else if guests && authorization.is_none() {
            given("guest-token")
        } else {
            Answer::new(
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#.into(),
            )
        }
    }

    /// Docker Hub's search, over the repositories there are.
    fn search(&self, words: &str) -> Answer {
        let content = self.lock();
        let mut names: Vec<&str> = content
            .manifests
            .keys()
            .filter_map(|key| key.rsplit_once('/'))
            .map(|(repository, _)| repository)
            .filter(|repository| repository.contains(words))
            .collect();
        names.sort_unstable();
        names.dedup();
        let results: Vec<_> = names
            .into_iter()
            .map(|name| {
                json!({
                    "name": name.strip_prefix("library/").unwrap_or(name),
                    "description": format!("What {name} is"),
                    "star_count": 7,
                    "is_official": name.starts_with("library/"),
                    "is_automated": false,
                })
            })
            .collect();
        let answer = json!({"num_results": results.len(), "results": results});
        Answer::new(200, answer.to_string().into())
    }

    fn tags(&self, repository: &str) -> Answer {
        let content = self.lock();
        let prefix = format!("{repository}/");
        let mut tags: Vec<_> = content
            .manifests
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter(|reference| !reference.contains(':') && !reference.contains('/'))
            .collect();
        if tags.is_empty() {
            return not_found("NAME_UNKNOWN");
        }
        tags.sort_unstable();
        Answer::new(200, json!({"name": repository, "tags": tags}).to_string().into())
    }

    fn manifests(&self, request: &Request, repository: &str, reference: &str) -> Answer {
        if request.method == "PUT" {
            let kind = request.header("content-type").unwrap_or_default().to_owned();
            let digest = self.put_manifest(repository, reference, &kind, request.body.clone());
            return Answer::new(201, Vec::new()).with("Docker-Content-Digest", &digest);
        }
        match self.lock().manifests.get(&format!("{repository}/{reference}")) {
            Some((kind, bytes)) => Answer::new(200, bytes.clone())
                .with("Content-Type", kind)
                .with("Docker-Content-Digest", &digest_of(bytes)),
            None => not_found("MANIFEST_UNKNOWN"),
        }
    }

    fn blobs(&self, request: &Request, repository: &str, digest: &str) -> Answer {
        let content = self.lock();
        let linked = content.linked.contains(&format!("{repository}@{digest}"));
        let Some(bytes) = content.blobs.get(digest).filter(|_| linked).cloned() else {
            return not_found("BLOB_UNKNOWN");
        };
        let ranges = !content.no_ranges;
        drop(content);
        let asked = request.header("range").filter(|_| ranges).and_then(|range| {
            let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
            let start = start.parse::<usize>().ok().filter(|start| *start < bytes.len())?;
            let last = end
                .parse()
                .map_or(bytes.len() - 1, |end: usize| end.min(bytes.len() - 1));
            (start <= last).then_some(start..last + 1)
        });
        let answer = match asked {
            Some(range) => Answer::new(206, bytes[range.clone()].to_vec()).with(
                "Content-Range",
                &format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len()),
            ),
            None => Answer::new(200, bytes.to_vec()),
        };
        if request.method == "GET" {
            self.lock().served += answer.body.len() as u64;
        }
        answer
            .with("Content-Type", "application/octet-stream")
            .with("Docker-Content-Digest", digest)
    }

    fn upload(&self, request: &Request, repository: &str, upload: &str) -> Answer {
        let mut content = self.lock();
        let finish = |content: &mut Content, bytes: Vec<u8>, digest: &str| {
            if digest_of(&bytes) != digest {
                return Answer::new(
                    400,
                    r#"{"errors":[{"code":"DIGEST_INVALID","message":"digest"}]}"#.into(),
                );
            }
            content.linked.push(format!("{repository}@{digest}"));
            content.blobs.insert(digest.to_owned(), Arc::new(bytes));
            Answer::new(201, Vec::new())
                .with("Location", &format!("/v2/{repository}/blobs/{digest}"))
                .with("Docker-Content-Digest", digest)
        };
        match request.method.as_str() {
            "POST" => {
                if let (Some(mount), Some(from)) = (request.query("mount"), request.query("from"))
                    && content.linked.contains(&format!("{from}@{mount}"))
                {
                    content.linked.push(format!("{repository}@{mount}"));
                    return Answer::new(201, Vec::new())
                        .with("Location", &format!("/v2/{repository}/blobs/{mount}"))
                        .with("Docker-Content-Digest", &mount);
                }
                if let Some(digest) = request.query("digest") {
                    return finish(&mut content, request.body.clone(), &digest);
                }
                content.next_upload += 1;
                let id = content.next_upload.to_string();
                content.uploads.insert(id.clone(), Vec::new());
                accepted(repository, &id, 0)
            }
            "PATCH" => {
                let Some(bytes) = content.uploads.get_mut(upload) else {
                    return not_found("BLOB_UPLOAD_UNKNOWN");
                };
                bytes.extend(&request.body);
                let length = bytes.len();
                accepted(repository, upload, length)
            }
            "PUT" => {
                let Some(mut bytes) = content.uploads.remove(upload) else {
                    return not_found("BLOB_UPLOAD_UNKNOWN");
                };
                bytes.extend(&request.body);
                finish(&mut content, bytes, &request.query("digest").unwrap_or_default())
            }
            "DELETE" => {
                content.uploads.remove(upload);
                Answer::new(204, Vec::new())
            }
            _ => not_found("UNSUPPORTED"),
        }
    }
}

fn accepted(repository: &str, upload: &str, length: usize) -> Answer {
    Answer::new(202, Vec::new())
        .with("Location", &format!("/v2/{repository}/blobs/uploads/{upload}"))
        .with("Docker-Upload-UUID", upload)
        .with("Range", &format!("0-{}", length.saturating_sub(1)))
}

fn not_found(code: &str) -> Answer {
    let message = code.to_lowercase().replace('_', " ");
    Answer::new(
        404,
        json!({"errors": [{"code": code, "message": message}]})
            .to_string()
            .into(),
    )
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: Vec<u8>) -> Self {
        let kind = ("Content-Type".to_owned(), "application/json".to_owned());
        Self {
            status,
            headers: vec![kind],
            body,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self, length: Option<usize>) -> String {
        let mut head = format!(
            "HTTP/1.1 {} status\r\nDocker-Distribution-Api-Version: registry/2.0\r\n",
            self.status
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match length {
            Some(length) => head.push_str(&format!("Content-Length: {length}\r\n\r\n")),
            None => head.push_str("Connection: close\r\n\r\n"),
        }
        head
    }

    fn write(&self, stream: &mut impl Write, only_head: bool) -> io::Result<()> {
        stream.write_all(self.head(Some(self.body.len())).as_bytes())?;
        if !only_head {
            stream.write_all(&self.body)?;
        }
        stream.flush()
    }
}

/// Does something else. Returns whether the connection goes on.
fn misbehave(
    stream: &mut Connection,
    request: &Request,
    mut honest: Answer,
    action: Action,
) -> io::Result<bool> {
    let only_head = request.method == "HEAD";
    match action {
        Action::Status(status, headers, body) => {
            let mut answer = Answer::new(status, body.into());
            for (name, value) in headers {
                answer = answer.with(&name, &value);
            }
            answer.write(stream, only_head)?;
            Ok(true)
        }
        Action::CutAfter(length) => {
            stream.write_all(honest.head(Some(honest.body.len())).as_bytes())?;
            stream.write_all(&honest.body[..length.min(honest.body.len())])?;
            stream.flush()?;
            Ok(false)
        }
        Action::Corrupt => {
            if let Some(last) = honest.body.last_mut() {
                *last ^= 0xff;
            }
            honest.write(stream, only_head)?;
            Ok(true)
        }
        Action::Truncate(length) => {
            honest.body.truncate(length);
            honest.write(stream, only_head)?;
            Ok(true)
        }
        Action::Replace(body) => {
            honest.body = body;
            honest.write(stream, only_head)?;
            Ok(true)
        }
        Action::Endless => {
            stream.write_all(honest.head(None).as_bytes())?;
            stream.write_all(&honest.body)?;
            let more = [b'x'; 64 * 1024];
            // Ends when the client has had enough.
            while stream.write_all(&more).is_ok() {}
            Ok(false)
        }
        Action::HoldAfter(length, go) => {
            stream.write_all(honest.head(Some(honest.body.len())).as_bytes())?;
            let (now, later) = honest.body.split_at(length.min(honest.body.len()));
            stream.write_all(now)?;
            stream.flush()?;
            let _ = go.lock().unwrap_or_else(PoisonError::into_inner).recv();
            stream.write_all(later)?;
            stream.flush()?;
            Ok(true)
        }
        Action::Stall => {
            stream.write_all(honest.head(Some(honest.body.len().max(1))).as_bytes())?;
            stream.flush()?;
            stream.socket().set_read_timeout(Some(Duration::from_secs(120)))?;
            let _ = stream.read(&mut [0; 1]);
            Ok(false)
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            if at <= chunk.len() {
                text.push(DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char);
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Images of two architectures under one name: this machine's, and another.
pub fn two_architectures() -> [Image; 2] {
    let other = if host_architecture() == "arm64" {
        "amd64"
    } else {
        "arm64"
    };
    [Image::busybox(), Image::busybox().with_architecture(other)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        assert_eq!(base64(b"user:pass"), "dXNlcjpwYXNz");
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
    }

    #[test]
    fn a_fault_hits_as_often_as_it_should() {
        let registry = Registry::start();
        let digest = registry.publish("a/b", "t", &Image::from_layers([]), Compression::Gzip);
        registry.fail("GET", "/manifests/", Some(1), Action::error(500, "UNKNOWN", "no"));
        let get = || {
            crate::http::over_tcp(
                &registry.host(),
                "GET",
                "/v2/a/b/manifests/t",
                Duration::from_secs(5),
            )
            .expect("answer")
        };
        assert_eq!(get().status, 500);
        let answer = get();
        assert_eq!(
            (answer.status, answer.header("docker-content-digest")),
            (200, Some(digest.as_str()))
        );
        assert_eq!(registry.seen("GET", "/manifests/").len(), 2);
    }
}
