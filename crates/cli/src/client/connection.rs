//! Connections to an engine: opening (with a start of the engine when none answers), keeping one, hijacking.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::autostart::Autostart;
use crate::endpoint::Endpoint;
use crate::error::CliError;

/// A request's body.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;
/// A connection requests are sent over.
pub(super) type Sender = SendRequest<RequestBody>;
/// A connection that has left HTTP behind: bytes both ways, with half-close.
pub(crate) type Hijacked = TokioIo<hyper::upgrade::Upgraded>;

/// An engine behind an endpoint.
#[derive(Debug)]
pub(crate) struct Client {
    endpoint: Endpoint,
    autostart: Option<Autostart>,
    idle: RefCell<Option<Sender>>,
}

impl Client {
    /// Nothing is opened before the first request.
    pub(crate) fn new(endpoint: Endpoint, autostart: Option<Autostart>) -> Self {
        Self {
            endpoint,
            autostart,
            idle: RefCell::new(None),
        }
    }

    /// Whether the engine is behind a Unix socket: on this machine, unless somebody forwards it.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.endpoint, Endpoint::Unix(_))
    }

    /// The kept connection, or a new one.
    pub(super) async fn sender(&self) -> Result<Sender, CliError> {
        let idle = self.idle.borrow_mut().take();
        if let Some(mut sender) = idle
            && !sender.is_closed()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        match self.open().await {
            Ok(sender) => Ok(sender),
            Err(source) => match &self.autostart {
                Some(autostart) if nobody_listens(&source) => {
                    autostart.start()?;
                    self.open().await.map_err(|source| self.unreachable(source))
                }
                _ => Err(self.unreachable(source)),
            },
        }
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) fn keep(&self, sender: Sender) {
        if !sender.is_closed() {
            *self.idle.borrow_mut() = Some(sender);
        }
    }

    fn unreachable(&self, source: io::Error) -> CliError {
        if source.kind() == io::ErrorKind::PermissionDenied {
            return CliError::Invalid(format!(
                "permission denied while trying to connect to the engine at {}: run as root, or as a member of the socket's group",
                self.endpoint
            ));
        }
        CliError::Unreachable {
            endpoint: self.endpoint.to_string(),
            source,
        }
    }

    async fn open(&self) -> io::Result<Sender> {
        match &self.endpoint {
            Endpoint::Unix(path) => handshake(UnixStream::connect(path).await?).await,
            Endpoint::Tcp(address) => {
                let connect = TcpStream::connect(address.as_str());
                let stream = tokio::time::timeout(Duration::from_secs(30), connect)
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                stream.set_nodelay(true)?;
                handshake(stream).await
            }
        }
    }
}

async fn handshake<S>(stream: S) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to the engine ended");
        }
    });
    Ok(sender)
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
