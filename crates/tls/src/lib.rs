//! TLS of servers: who a server says it is, and whose clients it takes. As dockerd: TLS 1.2 and newer, and with an
//! authority of clients nobody gets in without a certificate it issued.

mod reloading;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use reloading::Reloading;

use fs_err as fs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long one that was told off may take to read it.
const LINGER: Duration = Duration::from_secs(2);
/// No file of certificates is larger.
const MAX_FILE: u64 = 8 << 20;
/// The first byte of every TLS connection (RFC 8446, 5.1: a handshake record).
const HANDSHAKE_RECORD: u8 = 22;

/// The files, in PEM, by which a server shows who it is and knows its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The server's certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// Authorities of which one must have issued a client's certificate. Without, every client gets in.
    pub clients: Option<PathBuf>,
}

/// Why an [`Identity`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot use {} for TLS: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("cannot use {} with {} for TLS: {source}", certificate.display(), key.display())]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
}

impl Identity {
    /// What a server needs; reads the files.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|error| unusable(&self.key, &format!("no private key in PEM form ({error})")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mismatch = |source| IdentityError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(mismatch)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots
                        .add(authority)
                        .map_err(|error| unusable(path, &error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| unusable(path, &error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        builder
            .with_single_cert(chain, key)
            .map(Arc::new)
            .map_err(mismatch)
    }
}

fn unusable(path: &Path, reason: &str) -> IdentityError {
    IdentityError::File {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mut bytes = Vec::new();
    let mut read = || fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes);
    match read() {
        Ok(_) => Ok(bytes),
        Err(error) => {
            // The path is in the sentence already.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Err(unusable(path, &cause.unwrap_or_else(|| error.to_string())))
        }
    }
}

/// All certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem = read(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &error.to_string()))?;
    if found.is_empty() {
        return Err(unusable(path, "no certificate in PEM form"));
    }
    Ok(found)
}

/// Agrees with a client. `None` if it cannot be, which the log tells; who speaks plain HTTP is told so in HTTP, as Go's
/// server does.
pub async fn accept(
    mut stream: TcpStream,
    acceptor: &TlsAcceptor,
    stop: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    let agree = async {
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 0 {
            return None;
        }
        if first[0] != HANDSHAKE_RECORD {
            const ANSWER: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n\
                Client sent an HTTP request to an HTTPS server.\n";
            let _ = stream.write_all(ANSWER).await;
            let _ = stream.shutdown().await;
            // Closed before all is read, the connection would be reset and the answer lost.
            let mut rest = [0; 4 << 10];
            let drain = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
            let _ = tokio::time::timeout(LINGER, drain).await;
            return None;
        }
        let peer = stream.peer_addr().ok();
        match acceptor.accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::warn!(%error, ?peer, "a client was turned away");
                None
            }
        }
    };
    tokio::select! {
        agreed = tokio::time::timeout(HANDSHAKE, agree) => agreed.ok().flatten(),
        () = stop.cancelled() => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key_file) = (
            directory.join(format!("{name}.pem")),
            directory.join(format!("{name}-key.pem")),
        );
        fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (certificate, key_file)
    }

    #[test]
    fn files_are_read_and_named_when_they_are_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = pair(dir.path(), "one");
        let (other, other_key) = pair(dir.path(), "other");
        let identity = |certificate: &Path, key: &Path, clients: Option<&Path>| {
            let identity = Identity {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                clients: clients.map(Path::to_owned),
            };
            identity
                .server_config()
                .map(drop)
                .map_err(|error| error.to_string())
        };
        assert_eq!(identity(&certificate, &key, None), Ok(()));
        assert_eq!(identity(&certificate, &key, Some(&other)), Ok(()));
        let starts = |found: Result<(), String>, words: &str| {
            let error = found.unwrap_err();
            assert!(error.starts_with(words), "{error}");
        };
        let missing = dir.path().join("missing.pem");
        starts(
            identity(&missing, &key, None),
            &format!("cannot use {} for TLS: ", missing.display()),
        );
        starts(
            identity(&certificate, &key, Some(&missing)),
            &format!("cannot use {} for TLS: ", missing.display()),
        );
        starts(
            identity(&key, &key, None),
            &format!("cannot use {} for TLS: no certificate in PEM form", key.display()),
        );
        starts(
            identity(&certificate, &certificate, None),
            &format!(
                "cannot use {} for TLS: no private key in PEM form",
                certificate.display()
            ),
        );
        starts(
            identity(&certificate, &other_key, None),
            &format!(
                "cannot use {} with {} for TLS: ",
                certificate.display(),
                other_key.display()
            ),
        );
    }
}
