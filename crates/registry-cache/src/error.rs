//! What can go wrong between a registry and its upstream. Cloned, as all who waited for the same learn it.

use std::sync::Arc;
use std::time::Duration;

use havre_registry_client::{ErrorKind, RegistryError};
use havre_registry_store::StoreError;

pub type Result<T, E = CacheError> = std::result::Result<T, E>;

/// How long upstream is left alone if it asks for patience and doesn't say for how long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why something is not to be had through a cache.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CacheError {
    /// Upstream doesn't have it, or doesn't tell us.
    #[error("{upstream} doesn't have it: {reason}")]
    Unknown { upstream: String, reason: String },
    #[error("{upstream} allows no more requests for {} seconds: {reason}", after.as_secs())]
    RateLimited {
        upstream: String,
        reason: String,
        after: Duration,
    },
    #[error("{upstream} cannot be reached: {reason}")]
    Unreachable {
        upstream: String,
        reason: String,
        /// Not even a connection came about.
        way: bool,
    },
    /// It wants to know who asks, or others.
    #[error("{upstream} refuses this registry: {reason}")]
    Refused { upstream: String, reason: String },
    #[error("{upstream} gave a wrong answer: {reason}")]
    Invalid { upstream: String, reason: String },
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// A task that others waited for ended without a word.
    #[error("the request to {upstream} was broken off")]
    BrokenOff { upstream: String },
}

impl From<StoreError> for CacheError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl CacheError {
    pub(crate) fn of(upstream: &str, error: &RegistryError) -> Self {
        let (upstream, reason) = (upstream.to_owned(), error.to_string());
        match error {
            RegistryError::RateLimited {
                message, retry_after, ..
            } => Self::RateLimited {
                upstream,
                reason: message.clone(),
                after: retry_after.unwrap_or(PATIENCE),
            },
            // Without the name that we have for it.
            RegistryError::ManifestUnknown { message, .. }
            | RegistryError::NameUnknown { message, .. }
            | RegistryError::PullDenied { message, .. } => Self::Unknown {
                upstream,
                reason: message.clone(),
            },
            error => match error.kind() {
                ErrorKind::NotFound => Self::Unknown { upstream, reason },
                ErrorKind::Unauthorized | ErrorKind::Denied => Self::Refused { upstream, reason },
                ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::System => Self::Unreachable {
                    way: !matches!(error, RegistryError::Status { .. }),
                    upstream,
                    reason,
                },
                ErrorKind::InvalidAnswer | ErrorKind::InvalidRequest => Self::Invalid { upstream, reason },
            },
        }
    }

    /// Whether what is kept may be shown instead: nothing better is to be had for now.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Unreachable { .. }
                | Self::Invalid { .. }
                | Self::BrokenOff { .. }
        )
    }
}
