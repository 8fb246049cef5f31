//! The distribution API (OCI distribution specification 1.1, and what Docker's registry has beside it) over a
//! [`RegistryStore`].
//!
//! Requests are read and answered here, asynchronously; everything that touches the store runs on threads that may block.

mod access;
mod config;
mod error;
mod htpasswd;
mod path;
mod query;
mod range;
mod routes;
mod serve;

use havre_registry_store::RegistryStore;
use http::{HeaderName, HeaderValue};

pub use config::{Config, ConfigError, HtpasswdFile};
pub use htpasswd::HtpasswdError;
pub use serve::serve;

use crate::access::Access;

/// A registry that is ready to answer.
#[derive(Debug)]
pub struct Server {
    store: RegistryStore,
    access: Access,
    /// Whether manifests, tags and blobs may be deleted.
    deletes: bool,
    /// Sent with every answer.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Server {
    /// Over what a registry holds, as it is configured. Reads the file of users.
    pub fn new(store: RegistryStore, config: &Config) -> Result<Self, HtpasswdError> {
        Ok(Self {
            store,
            access: Access::new(config.htpasswd.clone())?,
            deletes: config.deletes,
            headers: config.headers.clone(),
        })
    }
}
