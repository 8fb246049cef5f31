//! Where the API listens: Unix sockets and TCP addresses, these with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use havre_tls::{Identity, IdentityError};

/// A bound socket.
pub enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
    /// TCP with TLS on it.
    Tls(TcpListener, TlsAcceptor),
}

/// Why a socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("another engine answers on {}: stop it, or choose another --socket", path.display())]
    InUse { path: PathBuf },
    #[error("{} exists and is not a socket: remove it, or choose another --socket", path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot listen on {}", path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("cannot listen on tcp://{address}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("cannot listen on a socket that was passed")]
    Adopted { source: io::Error },
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Groups whose members may use the socket: the first that exists.
const GROUPS: [&str; 2] = ["docker", "havre"];

impl Listener {
    /// Binds a Unix socket with mode 0660 that belongs to group `docker` or `havre` if one exists (else to this process's).
    /// A socket nobody answers on is replaced. Needs a Tokio runtime.
    pub fn unix(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Unix {
            path: path.to_owned(),
            source,
        };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ListenError::NotASocket {
                    path: path.to_owned(),
                });
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => {
                    return Err(ListenError::InUse {
                        path: path.to_owned(),
                    });
                }
                Err(_) => fs::remove_file(path).map_err(failed)?,
            },
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        // Bound under another name first: nobody can connect before owner and mode are right.
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}", std::process::id()));
        let aside = PathBuf::from(aside);
        let bind = || {
            let listener = UnixListener::bind(&aside)?;
            fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))?;
            if let Some(gid) = socket_group(&fs::read_to_string("/etc/group").unwrap_or_default()) {
                // Without the right to give files away the socket stays with this process's group.
                if let Err(error) = std::os::unix::fs::chown(&aside, None, Some(gid)) {
                    tracing::warn!(%error, gid, "the socket keeps its group");
                }
            }
            fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o660))?;
            fs::rename(&aside, path)?;
            Ok(listener)
        };
        bind().map(Self::Unix).map_err(|error| {
            let _ = fs::remove_file(&aside);
            failed(error)
        })
    }

    /// Binds a TCP address; port 0 picks a free one. There is no authentication: whoever reaches it rules this machine.
    pub async fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(address).await;
        listener
            .map(Self::Tcp)
            .map_err(|source| ListenError::Tcp { address, source })
    }

    /// Binds a TCP address and speaks TLS on it as `identity` says. The files are read before the address is bound.
    pub async fn tls(address: SocketAddr, identity: &Identity) -> Result<Self, ListenError> {
        let config = identity.server_config()?;
        let listener = TcpListener::bind(address).await;
        listener
            .map(|listener| Self::Tls(listener, TlsAcceptor::from(config)))
            .map_err(|source| ListenError::Tcp { address, source })
    }
}

impl Listener {
    /// Another descriptor of the same socket.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(listener) => listener.as_fd().try_clone_to_owned(),
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// A Unix socket that was opened for this process. Needs a Tokio runtime.
    pub fn adopt_unix(socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket).map(Self::Unix)
    }

    /// A TCP socket that was opened for this process, with TLS if there is an identity. Needs a Tokio runtime.
    pub fn adopt_tcp(
        socket: std::net::TcpListener,
        identity: Option<&Identity>,
    ) -> Result<Self, ListenError> {
        let adopted = || {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        };
        let failed = |source| ListenError::Adopted { source };
        match identity {
            None => adopted().map(Self::Tcp).map_err(failed),
            Some(identity) => {
                let config = identity.server_config()?;
                Ok(Self::Tls(adopted().map_err(failed)?, TlsAcceptor::from(config)))
            }
        }
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// The group's number in the text of `/etc/group`.
fn socket_group(groups: &str) -> Option<u32> {
    GROUPS.iter().find_map(|wanted| {
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == *wanted).then(|| fields.nth(1)?.parse().ok())?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        let text = "root:x:0:\nhavre:x:990:me\ndocker:x:998:\n";
        assert_eq!(socket_group(text), Some(998));
        assert_eq!(socket_group("havre:x:990:me\n"), Some(990));
        assert_eq!(socket_group("dockers:x:1:\ndocker:x:no:\n"), None);
    }

    #[tokio::test]
    async fn unix_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/engine.sock");
        let first = Listener::unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(Listener::unix(&path), Err(ListenError::InUse { .. })));
        drop(first);
        Listener::unix(&path).expect("a stale socket is replaced");
        assert_eq!(
            fs::read_dir(dir.path().join("new")).unwrap().count(),
            1,
            "no litter"
        );
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            Listener::unix(&file),
            Err(ListenError::NotASocket { .. })
        ));
        assert!(file.exists());
    }
}
