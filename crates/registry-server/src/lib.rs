//! The distribution API (OCI distribution specification 1.1, and what Docker's registry has beside it) over a
//! [`RegistryStore`]; and beside it, at all paths that are not the API's, the [pages](havre_registry_ui) for people.
//!
//! Requests are read and answered here, asynchronously; everything that touches the store runs on threads that may block.

mod access;
mod aside;
mod collection;
mod config;
mod contents;
mod debug;
mod error;
mod health;
mod metrics;
mod notifications;
mod outside;
mod path;
mod query;
pub mod range;
mod routes;
mod serve;

use std::path::Path;
use std::sync::Arc;

use havre_hub::{Hub, HubError};
use havre_registry_cache::Caches;
use havre_registry_client::RegistryError;
use havre_registry_events::{EventsError, Outbox};
use havre_registry_store::{Patience, RegistryStore};
use havre_registry_ui::{Pages, Settings};
use havre_tls::{IdentityError, Reloading};
use http::{HeaderName, HeaderValue};

pub use access::{HtpasswdError, TokenServerError};
pub use config::{Config, ConfigError, DatabaseServer, Debug, HealthCheck, HtpasswdFile, TokenServer};
pub use havre_registry_cache::Settings as CacheSettings;
pub use serve::serve;

use crate::access::Access;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::notifications::Notifications;
use crate::outside::Outside;
use crate::routes::Rendered;

/// A registry that is ready to answer.
#[derive(Debug)]
pub struct Server {
    store: RegistryStore,
    /// What browsers get.
    pages: Pages,
    access: Access,
    /// Whether manifests, tags and blobs may be deleted.
    deletes: bool,
    /// Sent with every answer.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// How long what nobody needs is left alone.
    patience: Patience,
    /// Who it says it is.
    identity: Option<Reloading>,
    metrics: Metrics,
    /// Where metrics are served, if they are.
    metrics_path: Option<String>,
    health: Health,
    notifications: Arc<Notifications>,
    caches: Caches,
    rendered: Rendered,
}

/// Why a registry cannot be what its configuration wants.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Htpasswd(#[from] HtpasswdError),
    #[error(transparent)]
    TokenServer(#[from] TokenServerError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Events(#[from] EventsError),
    #[error("cannot speak to others: {0}")]
    Outside(#[from] reqwest::Error),
    #[error("cannot be a cache: {0}")]
    Cache(#[from] RegistryError),
}

impl Server {
    /// Over what a registry holds, as it is configured. Reads the files of users and of TLS. `root`: the folder of what is served, for
    /// what doesn't lie in a bucket.
    pub fn new(store: RegistryStore, config: &Config, root: &Path) -> Result<Self, SetupError> {
        let settings = Settings {
            deletes: config.deletes,
            patience: config.patience,
            secure: config.identity.is_some(),
        };
        let hub = config.accounts.clone();
        let hub = hub.map(|settings| Hub::open(&store, settings)).transpose()?;
        let outbox = Outbox::open(store.database(), config.notifications.clone())?;
        let caches = Caches::new(&config.caches, &store, root)?;
        Ok(Self {
            pages: Pages::new(store.clone(), settings, hub.clone(), caches.clone()),
            caches,
            rendered: Rendered::default(),
            store,
            access: Access::new(config, hub)?,
            deletes: config.deletes,
            headers: config.headers.clone(),
            patience: config.patience,
            identity: config.identity.clone().map(Reloading::open).transpose()?,
            metrics: Metrics::default(),
            metrics_path: config.debug.as_ref().and_then(|debug| debug.metrics.clone()),
            health: Health::new(config.health),
            notifications: Arc::new(Notifications::new(outbox, Outside::new()?)),
        })
    }

    /// The people of it, where accounts are switched on.
    pub fn hub(&self) -> Option<&Hub> {
        self.access.accounts().map(access::Accounts::hub)
    }
}
