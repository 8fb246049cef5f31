//! The HTTP server: connections in, requests to the routes, a graceful end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use havre_engine::Engine;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::leftover::Leftover;
use crate::listener::Listener;
use crate::{routes, version};

/// How long requests in flight may go on after the order to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long, after the order to stop, a client that has connected may take to ask for something.
const FIRST_REQUEST: Duration = Duration::from_millis(300);
/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request; registry credentials of many hosts travel in one.
const MAX_HEAD: usize = 1 << 20;

/// Serves the API on all listeners until `shutdown` resolves, then lets requests end (at most 10 s) and returns. Streams
/// that have no end of their own (events, followed logs, attached containers) are cut.
pub async fn serve(
    engine: Engine,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    serve_router(routes::router(engine), listeners, shutdown).await
}

pub(crate) async fn serve_router(
    router: Router,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (connected, stop) = (TaskTracker::new(), CancellationToken::new());
    let enough = CancellationToken::new();
    let (connections, mut accepted) = tokio::sync::mpsc::channel::<Connection>(64);
    for listener in listeners {
        tokio::spawn(accept(listener, connections.clone(), enough.clone()));
    }
    drop(connections);
    tokio::pin!(shutdown);
    let serve = |connection| match connection {
        Connection::Unix(stream) => {
            let peer = Peer::of(&stream);
            connected.spawn(converse(stream, peer, router.clone(), stop.clone()));
        }
        Connection::Tcp(stream) => {
            let _ = stream.set_nodelay(true);
            connected.spawn(converse(stream, None, router.clone(), stop.clone()));
        }
        Connection::Tls(stream, acceptor) => {
            let _ = stream.set_nodelay(true);
            let (router, stop) = (router.clone(), stop.clone());
            connected.spawn(async move {
                let Some(stream) = havre_tls::accept(stream, &acceptor, &stop).await else {
                    return;
                };
                converse(stream, None, router, stop).await;
            });
        }
    };
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            connection = accepted.recv() => match connection {
                None => return Err(io::Error::other("no listener is left")),
                Some(connection) => serve(connection),
            },
        }
    }
    // Who was accepted is served: nobody is told why his connection ends.
    enough.cancel();
    while let Some(connection) = accepted.recv().await {
        serve(connection);
    }
    stop.cancel();
    connected.close();
    if tokio::time::timeout(GRACE, connected.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}

enum Connection {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
    Tls(tokio::net::TcpStream, TlsAcceptor),
}

async fn accept(
    listener: Listener,
    connections: tokio::sync::mpsc::Sender<Connection>,
    enough: CancellationToken,
) {
    loop {
        let next = async {
            match &listener {
                Listener::Unix(listener) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| Connection::Unix(stream)),
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Connection::Tcp(stream)),
                Listener::Tls(listener, acceptor) => {
                    let accepted = listener.accept().await;
                    accepted.map(|(stream, _)| Connection::Tls(stream, acceptor.clone()))
                }
            }
        };
        let accepted = tokio::select! {
            biased;
            () = enough.cancelled() => return,
            accepted = next => accepted,
        };
        match accepted {
            Ok(connection) => {
                if connections.send(connection).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, or a client that left already: neither ends the service.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The process at the other end of a Unix socket; requests carry it among their extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) pid: i32,
}

impl Peer {
    /// `None` if the process is not visible from this one's namespace.
    fn of(stream: &tokio::net::UnixStream) -> Option<Self> {
        let pid = stream.peer_cred().ok()?.pid()?;
        (pid > 0).then_some(Self { pid })
    }
}

/// Serves the requests of one connection, until it ends or `stop` says so.
async fn converse<I>(io: I, peer: Option<Peer>, router: Router, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let endless = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&endless);
    let first = CancellationToken::new();
    let asked = first.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        asked.cancel();
        noted.store(is_endless(request.uri().path()), Ordering::Relaxed);
        dispatch(router.clone(), request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            // A client that has just connected is about to ask.
            let ended = tokio::select! {
                biased;
                () = first.cancelled() => None,
                ended = connection.as_mut() => Some(ended),
                () = tokio::time::sleep(FIRST_REQUEST) => None,
            };
            if ended.is_some() {
                return;
            }
            // Nobody knows when such an answer would end: it is cut.
            if endless.load(Ordering::Relaxed) {
                return;
            }
            // The request in flight goes on; there is no next one.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Whether an answer may last as long as a container, or for ever.
fn is_endless(path: &str) -> bool {
    ["/events", "/wait", "/logs", "/stats", "/attach"]
        .iter()
        .any(|end| path.ends_with(end))
}

/// Takes the version off the path, routes, and puts on the headers every answer has.
async fn dispatch(router: Router, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(answer(router, request.map(Body::new)).await)
}

pub(crate) async fn answer(mut router: Router, mut request: Request<Body>) -> Response<Body> {
    let split = version::split(request.uri().path()).map(|(version, rest)| {
        let query = request
            .uri()
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        (version, format!("{rest}{query}").parse::<Uri>())
    });
    let mut response = match split {
        Ok((version, Ok(uri))) => {
            // Without the query: build arguments may be secrets.
            tracing::debug!(method = %request.method(), path = uri.path(), %version, "request");
            *request.uri_mut() = uri;
            request.extensions_mut().insert(version);
            let (parts, body) = request.into_parts();
            let (body, leftover) = Leftover::split(body);
            let response = match router.call(Request::from_parts(parts, body)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if response.status().is_client_error() || response.status().is_server_error() {
                leftover.drain().await;
            }
            response
        }
        Ok((_, Err(_))) => crate::error::ApiError::page_not_found().into_response(),
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert("api-version", HeaderValue::from_static("1.53"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert(
        "server",
        HeaderValue::from_static(concat!("Havre/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn the_version_header_is_the_newest_version() {
        assert_eq!(version::MAX.to_string(), "1.53");
    }

    fn router() -> Router {
        Router::new()
            .route(
                "/hello",
                get(|version: version::ApiVersion| async move { version.to_string() }),
            )
            .fallback(|| async { crate::error::ApiError::page_not_found() })
    }

    async fn ask(path: &str) -> (u16, http::HeaderMap, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = answer(router(), request).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (
            parts.status.as_u16(),
            parts.headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn versions_and_headers() {
        let (status, headers, body) = ask("/v1.30/hello?x=1").await;
        assert_eq!((status, body.as_str()), (200, "1.30"));
        assert_eq!(headers["api-version"], "1.53");
        assert_eq!(headers["ostype"], "linux");
        assert!(headers["server"].to_str().unwrap().starts_with("Havre/"));
        assert_eq!(ask("/hello").await.2, "1.53");
        let (status, headers, body) = ask("/v1.99/hello").await;
        assert_eq!(status, 400);
        assert_eq!(headers["api-version"], "1.53");
        assert!(body.contains("too new"), "{body}");
        assert_eq!(ask("/v1.40/nowhere").await.0, 404);
    }

    #[tokio::test]
    async fn serves_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listeners = vec![Listener::unix(&path).unwrap()];
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve_router(router(), listeners, async {
            let _ = stopped.await;
        }));
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client
            .write_all(b"GET /v1.44/hello HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = vec![0; 4096];
        let n = client.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..n]).into_owned();
        assert!(
            text.starts_with("HTTP/1.1 200 OK") && text.ends_with("1.44"),
            "{text}"
        );
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert_eq!(
            client.read(&mut answer).await.unwrap(),
            0,
            "the idle connection was closed"
        );
    }
}
