//! Connections to an engine: opening (with a start of the engine when none answers), keeping one, hijacking.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::ssh::{Ssh, SshEnded};
use super::tls;
use crate::autostart::Autostart;
use crate::endpoint::Endpoint;
use crate::error::CliError;

/// How long opening a connection over a network may take.
const CONNECT: Duration = Duration::from_secs(30);

/// A request's body.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;
/// A connection requests are sent over.
pub(super) type Sender = SendRequest<RequestBody>;
/// A connection that has left HTTP behind: bytes both ways, with half-close.
pub(crate) type Hijacked = TokioIo<hyper::upgrade::Upgraded>;

/// Bytes both ways, whatever carries them.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// An engine behind an endpoint.
#[derive(Debug)]
pub(crate) struct Client {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    autostart: Option<Autostart>,
    idle: RefCell<Option<Sender>>,
}

impl Client {
    /// Nothing is opened before the first request.
    pub(crate) fn new(
        endpoint: Endpoint,
        tls: Option<Arc<ClientConfig>>,
        autostart: Option<Autostart>,
    ) -> Self {
        Self {
            endpoint,
            tls,
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
        let wire = self.wire().await?;
        handshake(wire).await.map_err(|source| self.unreachable(source))
    }

    /// A connection on which nothing has been said; an engine is started if none answers and one may be.
    pub(crate) async fn wire(&self) -> Result<Box<dyn Wire>, CliError> {
        match self.open().await {
            Ok(wire) => Ok(wire),
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
        if let Some(reason) = tls::reason(&source) {
            return CliError::Invalid(format!("error during connect to {}: {reason}", self.endpoint));
        }
        if let Endpoint::Ssh(_) = self.endpoint {
            return CliError::Invalid(format!("error during connect to {}: {source}", self.endpoint));
        }
        CliError::Unreachable {
            endpoint: self.endpoint.to_string(),
            source,
        }
    }

    async fn open(&self) -> io::Result<Box<dyn Wire>> {
        match &self.endpoint {
            Endpoint::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Endpoint::Tcp(address) => match timeout(CONNECT, self.open_tcp(address)).await {
                Ok(opened) => opened,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            },
            Endpoint::Ssh(host) => Ok(Box::new(Ssh::start(host)?)),
        }
    }

    async fn open_tcp(&self, address: &str) -> io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(config) => Ok(Box::new(tls::connect(config, address, stream).await?)),
            None => Ok(Box::new(stream)),
        }
    }
}

async fn handshake(stream: Box<dyn Wire>) -> io::Result<Sender> {
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

/// The reason of TLS or ssh in a failure of HTTP, if it is one of theirs.
pub(super) fn transport_reason(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(reason) = tls::reason(error) {
        return Some(reason);
    }
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(ended) = error.downcast_ref::<SshEnded>() {
            return Some(ended.to_string());
        }
        current = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
