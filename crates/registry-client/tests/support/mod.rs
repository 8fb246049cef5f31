//! A registry in memory that misbehaves on request.
#![allow(dead_code, reason = "every test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use havre_oci::Digest;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What happens to the next requests whose path contains a text.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Status(u16, Vec<(&'static str, String)>, String),
    /// The connection breaks after so many bytes of the body.
    Cut(u64),
    /// The body stops coming after so many bytes, the connection stays.
    Stall(u64),
    /// Other bytes of the same length.
    Wrong,
    /// A shorter blob, honestly announced.
    Short,
    /// A body without length and end.
    Endless,
    /// Ranges are ignored.
    NoRange,
    Redirect(String),
}

#[derive(Clone, Default)]
pub(crate) enum Auth {
    #[default]
    None,
    Basic(&'static str, &'static str),
    /// Tokens from the realm (this server's /token by default); a password makes them good for pushing.
    Bearer {
        realm: Option<String>,
        user: &'static str,
        password: &'static str,
        anonymous_pull: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) length: Option<u64>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) blobs: HashMap<(String, Digest), Bytes>,
    pub(crate) manifests: BTreeMap<(String, String), (String, Bytes)>,
    pub(crate) faults: Vec<(String, usize, Fault)>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) auth: Auth,
    pub(crate) uploads: HashMap<u64, Vec<u8>>,
    pub(crate) next_upload: u64,
    /// Requests with larger bodies are refused.
    pub(crate) max_body: Option<u64>,
    /// Absolute locations of uploads.
    pub(crate) absolute: bool,
}

pub(crate) struct FakeRegistry {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn content(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(next).collect::<Vec<u8>>().into()
}

impl FakeRegistry {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(respond(&state, address, request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        FakeRegistry {
            address,
            state,
            server,
        }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn blob(&self, repository: &str, bytes: Bytes) -> Digest {
        let digest = Digest::sha256_of(&bytes);
        self.state
            .lock()
            .unwrap()
            .blobs
            .insert((repository.to_owned(), digest.clone()), bytes);
        digest
    }

    pub(crate) fn manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256_of(&bytes);
        let mut state = self.state.lock().unwrap();
        for name in [tag, digest.as_str()] {
            let key = (repository.to_owned(), name.to_owned());
            state
                .manifests
                .insert(key, (media_type.to_owned(), bytes.clone()));
        }
        digest
    }

    pub(crate) fn fault(&self, path: &str, times: usize, fault: Fault) {
        self.state
            .lock()
            .unwrap()
            .faults
            .push((path.to_owned(), times, fault));
    }

    pub(crate) fn status(&self, path: &str, times: usize, status: u16) {
        self.fault(path, times, Fault::Status(status, Vec::new(), String::new()));
    }

    pub(crate) fn seen(&self, method: &str, path: &str) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        state
            .seen
            .iter()
            .filter(|seen| seen.method == method && seen.path.contains(path))
            .cloned()
            .collect()
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(full(body))
        .unwrap()
}

fn empty(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(full("")).unwrap()
}

async fn respond(state: &Mutex<State>, address: SocketAddr, request: Request<Incoming>) -> Response<Body> {
    let method = request.method().clone();
    let path = request.uri().path_and_query().unwrap().to_string();
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let (authorization, range) = (header(AUTHORIZATION), header(RANGE));
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let content_range = header(CONTENT_RANGE);
    let length = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let (fault, max_body) = {
        let mut state = state.lock().unwrap();
        let seen = Seen {
            method: method.to_string(),
            path: path.clone(),
            authorization: authorization.clone(),
            range: range.clone(),
            length,
        };
        state.seen.push(seen);
        let refused = (!path.starts_with("/token"))
            .then(|| refuse(&state.auth, address, &path, &method, authorization.as_deref()))
            .flatten();
        if let Some(response) = refused {
            return response;
        }
        let position = state
            .faults
            .iter()
            .position(|(part, times, _)| *times > 0 && path.contains(part.as_str()));
        let fault = position.map(|index| {
            state.faults[index].1 -= 1;
            state.faults[index].2.clone()
        });
        (fault, state.max_body)
    };
    match &fault {
        Some(Fault::Status(status, headers, body)) => {
            let mut response = Response::builder().status(*status);
            for (name, value) in headers {
                response = response.header(*name, value);
            }
            return response.body(full(body.clone())).unwrap();
        }
        Some(Fault::Redirect(to)) => {
            return Response::builder()
                .status(307)
                .header(LOCATION, to)
                .body(full(""))
                .unwrap();
        }
        _ => {}
    }
    if path.starts_with("/token") {
        return token(&state.lock().unwrap().auth, &path, authorization.as_deref());
    }
    if max_body.is_some_and(|max| length.is_some_and(|length: u64| length > max)) {
        return empty(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let body = read_body(request.into_body(), fault.as_ref()).await;
    let Ok(body) = body else {
        // What came before the break is kept, as by registries that can resume.
        let kept = body.unwrap_err();
        if let Some(id) = upload_id(&path) {
            state.lock().unwrap().uploads.entry(id).or_default().extend(kept);
        }
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut state = state.lock().unwrap();
    route(
        &mut state,
        address,
        &method,
        &path,
        body,
        range.as_deref(),
        content_range.as_deref(),
        &content_type,
        fault,
    )
}

/// The body, or what came of it before a fault of the kind `Cut`.
async fn read_body(mut body: Incoming, fault: Option<&Fault>) -> Result<Vec<u8>, Vec<u8>> {
    let limit = match fault {
        Some(Fault::Cut(limit)) => *limit,
        _ => u64::MAX,
    };
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(bytes) };
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        if bytes.len() as u64 > limit {
            bytes.truncate(limit as usize);
            return Err(bytes);
        }
    }
    Ok(bytes)
}

fn refuse(
    auth: &Auth,
    address: SocketAddr,
    path: &str,
    method: &Method,
    authorization: Option<&str>,
) -> Option<Response<Body>> {
    let challenge = match auth {
        Auth::None => return None,
        Auth::Basic(user, password) => {
            if authorization == Some(&basic(user, password)) {
                return None;
            }
            "Basic realm=\"test\"".to_owned()
        }
        Auth::Bearer { realm, .. } => {
            let writes = !matches!(*method, Method::GET | Method::HEAD);
            let accepted = match authorization {
                Some("Bearer write") => true,
                Some("Bearer read") => !writes,
                _ => false,
            };
            if accepted {
                return None;
            }
            let realm = realm.clone().unwrap_or_else(|| format!("http://{address}/token"));
            let error = if authorization.is_some() {
                ",error=\"insufficient_scope\""
            } else {
                ""
            };
            let name = path
                .trim_start_matches("/v2/")
                .split("/manifests")
                .next()
                .unwrap();
            format!("Bearer realm=\"{realm}\",service=\"test\",scope=\"repository:{name}:pull\"{error}")
        }
    };
    let mut response = error(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        "authentication required",
    );
    response
        .headers_mut()
        .insert("www-authenticate", challenge.parse().unwrap());
    Some(response)
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
    )
}

fn token(auth: &Auth, path: &str, authorization: Option<&str>) -> Response<Body> {
    let Auth::Bearer {
        user,
        password,
        anonymous_pull,
        ..
    } = auth
    else {
        return empty(StatusCode::NOT_FOUND);
    };
    let json = |text: &str| {
        Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .body(full(text.to_owned()))
            .unwrap()
    };
    match authorization {
        Some(header) if header == basic(user, password) => {
            let refresh = if path.contains("offline_token=true") {
                r#","refresh_token":"refresh-me""#
            } else {
                ""
            };
            json(&format!(r#"{{"token":"write","expires_in":300{refresh}}}"#))
        }
        Some(_) => {
            let body = r#"{"details":"incorrect username or password"}"#;
            Response::builder().status(401).body(full(body)).unwrap()
        }
        None if *anonymous_pull => json(r#"{"access_token":"read"}"#),
        None => json(r#"{"access_token":"nothing"}"#),
    }
}

fn upload_id(path: &str) -> Option<u64> {
    path.split("/blobs/uploads/")
        .nth(1)?
        .split('?')
        .next()?
        .parse()
        .ok()
}

#[allow(clippy::too_many_arguments)]
fn route(
    state: &mut State,
    address: SocketAddr,
    method: &Method,
    path: &str,
    body: Vec<u8>,
    range: Option<&str>,
    content_range: Option<&str>,
    content_type: &str,
    fault: Option<Fault>,
) -> Response<Body> {
    let (plain, query) = path.split_once('?').unwrap_or((path, ""));
    let Some(rest) = plain.strip_prefix("/v2/") else {
        return empty(StatusCode::NOT_FOUND);
    };
    if rest.is_empty() {
        return empty(StatusCode::OK);
    }
    if rest == "_catalog" {
        let mut names: Vec<&String> = state.manifests.keys().map(|(repository, _)| repository).collect();
        names.dedup();
        let body = format!(r#"{{"repositories":{names:?}}}"#);
        return Response::new(full(body));
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return tags(state, name, query);
    }
    if let Some((name, id)) = rest.split_once("/blobs/uploads/") {
        return upload(state, address, method, name, id, query, body, content_range);
    }
    if let Some((name, reference)) = rest.split_once("/manifests/") {
        let key = (name.to_owned(), reference.to_owned());
        if *method == Method::PUT {
            let digest = Digest::sha256_of(&body);
            let entry = (content_type.to_owned(), Bytes::from(body));
            state
                .manifests
                .insert((name.to_owned(), digest.to_string()), entry.clone());
            state.manifests.insert(key, entry);
            return Response::builder()
                .status(201)
                .header("docker-content-digest", digest.as_str())
                .body(full(""))
                .unwrap();
        }
        let Some((media_type, bytes)) = state.manifests.get(&key).cloned() else {
            return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown");
        };
        let digest = Digest::sha256_of(&bytes);
        let mut response = serve(bytes, None, fault);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, media_type.parse().unwrap());
        response
            .headers_mut()
            .insert("docker-content-digest", digest.as_str().parse().unwrap());
        return response;
    }
    if let Some((name, digest)) = rest.split_once("/blobs/") {
        let key = digest.parse().ok().map(|digest| (name.to_owned(), digest));
        let Some(bytes) = key.and_then(|key| state.blobs.get(&key)).cloned() else {
            return error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        return serve(bytes, range, fault);
    }
    empty(StatusCode::NOT_FOUND)
}

fn tags(state: &State, name: &str, query: &str) -> Response<Body> {
    let last = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("last="))
        .unwrap_or("");
    let all: Vec<&String> = state
        .manifests
        .keys()
        .filter(|(repository, tag)| repository == name && !tag.contains(':') && tag.as_str() > last)
        .map(|(_, tag)| tag)
        .collect();
    if all.is_empty() && last.is_empty() {
        return error(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            "repository name not known to registry",
        );
    }
    // Pages of two, whatever is asked for.
    let page: Vec<_> = all.iter().take(2).collect();
    let mut response = Response::builder();
    if all.len() > 2 {
        response = response.header(
            "link",
            format!("</v2/{name}/tags/list?n=2&last={}>; rel=\"next\"", page[1]),
        );
    }
    response
        .body(full(format!(r#"{{"name":"{name}","tags":{page:?}}}"#)))
        .unwrap()
}

#[allow(clippy::too_many_arguments)]
fn upload(
    state: &mut State,
    address: SocketAddr,
    method: &Method,
    name: &str,
    id: &str,
    query: &str,
    body: Vec<u8>,
    content_range: Option<&str>,
) -> Response<Body> {
    let parameter = |key: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.replace("%3A", ":").replace("%2F", "/"))
    };
    let location = |state: &State, id: u64| {
        let base = if state.absolute {
            format!("http://{address}")
        } else {
            String::new()
        };
        format!("{base}/v2/{name}/blobs/uploads/{id}?state=x")
    };
    if *method == Method::POST {
        if let (Some(digest), Some(from)) = (parameter("mount"), parameter("from"))
            && let Some(bytes) = state.blobs.get(&(from, digest.parse().unwrap())).cloned()
        {
            state
                .blobs
                .insert((name.to_owned(), digest.parse().unwrap()), bytes);
            return empty(StatusCode::CREATED);
        }
        state.next_upload += 1;
        let id = state.next_upload;
        state.uploads.insert(id, Vec::new());
        return Response::builder()
            .status(202)
            .header(LOCATION, location(state, id))
            .body(full(""))
            .unwrap();
    }
    let id: u64 = id.parse().unwrap_or(0);
    let at = location(state, id);
    let Some(bytes) = state.uploads.get_mut(&id) else {
        return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
    };
    if let Some(start) = content_range.and_then(|range| range.split('-').next()?.parse::<usize>().ok())
        && start != bytes.len()
    {
        return empty(StatusCode::RANGE_NOT_SATISFIABLE);
    }
    bytes.extend_from_slice(&body);
    let status = match *method {
        Method::PUT => {
            let bytes = Bytes::from(state.uploads.remove(&id).unwrap());
            let digest: Digest = parameter("digest").unwrap().parse().unwrap();
            if Digest::sha256_of(&bytes) != digest {
                return error(
                    StatusCode::BAD_REQUEST,
                    "DIGEST_INVALID",
                    "provided digest did not match uploaded content",
                );
            }
            state.blobs.insert((name.to_owned(), digest), bytes);
            return empty(StatusCode::CREATED);
        }
        Method::GET => 204,
        _ => 202,
    };
    let end = bytes.len().saturating_sub(1);
    Response::builder()
        .status(status)
        .header(LOCATION, at)
        .header("range", format!("0-{end}"))
        .body(full(""))
        .unwrap()
}

fn serve(bytes: Bytes, range: Option<&str>, fault: Option<Fault>) -> Response<Body> {
    let total = bytes.len();
    let range = range.filter(|_| !matches!(fault, Some(Fault::NoRange)));
    let start: usize = range
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .unwrap_or(0);
    let bytes = bytes.slice(start.min(total)..);
    let mut response = Response::builder();
    if range.is_some() {
        response = response
            .status(206)
            .header(CONTENT_RANGE, format!("bytes {start}-{}/{total}", total - 1));
    }
    let length = bytes.len();
    let pieces =
        |bytes: Bytes| -> Vec<Bytes> { bytes.chunks(16 << 10).map(Bytes::copy_from_slice).collect() };
    let streamed = |bytes: Bytes, tail: Option<io::Error>| -> Body {
        let good = pieces(bytes).into_iter().map(|piece| Ok(Frame::data(piece)));
        let stream = futures_util::stream::iter(good).then(|item| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            item
        });
        StreamBody::new(stream.chain(futures_util::stream::iter(tail.map(Err)))).boxed_unsync()
    };
    match fault {
        Some(Fault::Cut(at)) => {
            let bytes = bytes.slice(..length.min(at as usize));
            response
                .header(CONTENT_LENGTH, length)
                .body(streamed(bytes, Some(io::ErrorKind::BrokenPipe.into())))
                .unwrap()
        }
        Some(Fault::Stall(at)) => {
            let good = futures_util::stream::iter([Ok(Frame::data(bytes.slice(..length.min(at as usize))))]);
            let body = StreamBody::new(good.chain(futures_util::stream::pending())).boxed_unsync();
            response.header(CONTENT_LENGTH, length).body(body).unwrap()
        }
        Some(Fault::Wrong) => {
            let mut wrong = bytes.to_vec();
            let middle = wrong.len() / 2;
            wrong[middle] ^= 0x55;
            response.body(full(wrong)).unwrap()
        }
        Some(Fault::Short) => response.body(full(bytes.slice(..length / 2))).unwrap(),
        Some(Fault::Endless) => {
            let piece = Bytes::from(vec![b' '; 64 << 10]);
            let first = futures_util::stream::iter([Ok(Frame::data(bytes))]);
            let endless = futures_util::stream::repeat_with(move || Ok(Frame::data(piece.clone())));
            response
                .body(StreamBody::new(first.chain(endless)).boxed_unsync())
                .unwrap()
        }
        _ => response.body(full(bytes)).unwrap(),
    }
}
