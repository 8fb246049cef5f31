//! Connections in, requests to the routes, a graceful end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use havre_tls::Reloading;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Server, collection, debug, routes};

/// How long a client may take for the head of a request, or for the next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest head of a request in bytes.
const MAX_HEAD: usize = 64 << 10;
/// How long requests under way may take after the order to end.
const GRACE: Duration = Duration::from_secs(10);

/// Serves a registry until `shutdown` resolves, then lets requests end. Administrators and monitors are answered at `debug`.
pub async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    debug: Option<TcpListener>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (graceful, stop) = (GracefulShutdown::new(), CancellationToken::new());
    tokio::pin!(shutdown);
    let mut aside = JoinSet::new();
    aside.spawn(collection::collect(Arc::clone(&server)));
    if let Some(listener) = debug {
        aside.spawn(debug::serve(Arc::clone(&server), listener));
    }
    aside.spawn({
        let server = Arc::clone(&server);
        async move { server.health.watch(&server.store).await }
    });
    aside.spawn(Arc::clone(&server.notifications).send());
    let hub = server.hub().cloned();
    if let Some(hub) = hub.clone() {
        aside.spawn(collection::keep_hub(hub));
    }
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of one connection, or no file descriptor is free: the next may do better.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let _ = stream.set_nodelay(true);
        let acceptor = server.identity.as_ref().map(Reloading::acceptor);
        let server = Arc::clone(&server);
        let service = service_fn(move |request: Request<Incoming>| {
            let answered = routes::answer(Arc::clone(&server), peer.ip(), request.map(Body::new));
            async { Ok::<_, Infallible>(answered.await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD);
        let watcher = graceful.watcher();
        let stop = stop.clone();
        tokio::spawn(async move {
            let ended = match acceptor {
                None => {
                    watcher
                        .watch(http.serve_connection(TokioIo::new(stream), service))
                        .await
                }
                Some(acceptor) => {
                    let Some(stream) = havre_tls::accept(stream, &acceptor, &stop).await else {
                        return;
                    };
                    watcher
                        .watch(http.serve_connection(TokioIo::new(stream), service))
                        .await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    aside.abort_all();
    stop.cancel();
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were cut");
    }
    server.caches.stop().await;
    if let Some(hub) = hub
        && let Ok(Err(error)) = tokio::task::spawn_blocking(move || hub.write_pulls()).await
    {
        tracing::error!(%error, "pulls were not written down");
    }
    Ok(())
}
