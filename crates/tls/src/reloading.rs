//! An identity whose files may change while a server runs: renewed certificates count from the next connection on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fs_err as fs;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::{Identity, IdentityError};

/// The files are looked at again after this time at the earliest.
const OFTEN: Duration = Duration::from_secs(1);

/// When each file was changed, and how long it is.
type Stamp = Vec<Option<(SystemTime, u64)>>;

/// An [`Identity`] that is read again when its files change.
#[derive(Debug)]
pub struct Reloading {
    identity: Identity,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    looked: Instant,
    stamp: Stamp,
    config: Arc<ServerConfig>,
}

impl Reloading {
    pub fn open(identity: Identity) -> Result<Self, IdentityError> {
        let stamp = stamp(&identity);
        let config = identity.server_config()?;
        Ok(Self {
            identity,
            current: Mutex::new(Current {
                looked: Instant::now(),
                stamp,
                config,
            }),
        })
    }

    /// For the next connection. Files that cannot be used, which may be half written, leave it as it was, and the log says so.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= OFTEN {
            current.looked = Instant::now();
            let stamp = stamp(&self.identity);
            if stamp != current.stamp {
                match self.identity.server_config() {
                    Ok(config) => {
                        tracing::info!(certificate = %self.identity.certificate.display(), "the certificate was read again");
                        current.config = config;
                    }
                    Err(error) => tracing::error!(%error, "the certificate stays as it was"),
                }
                current.stamp = stamp;
            }
        }
        TlsAcceptor::from(Arc::clone(&current.config))
    }
}

fn stamp(identity: &Identity) -> Stamp {
    let files = [&identity.certificate, &identity.key].into_iter();
    files
        .chain(&identity.clients)
        .map(|path| {
            let status = fs::metadata(path).ok()?;
            Some((status.modified().ok()?, status.len()))
        })
        .collect()
}
