//! What people may be told.

use havre_database::DatabaseError;
use havre_registry_store::{NameError, RepositoryName, StoreError, Tag};

pub type Result<T, E = HubError> = std::result::Result<T, E>;

/// Why something was not done. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Nobody, or not who they say.
    #[error("wrong name, password or token")]
    Credentials,
    #[error("too many failed attempts: try again in {} s", .seconds)]
    Locked { seconds: u64 },
    #[error("sign in first")]
    SignInFirst,
    /// Somebody who may see it and not do it.
    #[error("{0}")]
    Denied(String),
    /// It is not there, or not for who asks.
    #[error("{what} {name:?} does not exist")]
    Unknown { what: &'static str, name: String },
    #[error("{what} {name:?} exists already: choose another name")]
    Exists { what: &'static str, name: String },
    /// What was typed cannot be taken.
    #[error("{field}: {hint}")]
    Invalid { field: &'static str, hint: String },
    #[error("{0}")]
    Conflict(String),
    #[error("the tag {tag} of {repository} is immutable (rule {rule:?} of {scope}): push another tag")]
    Immutable {
        repository: RepositoryName,
        tag: Tag,
        rule: String,
        scope: String,
    },
    #[error("the tag {tag:?} is not allowed: by the rules of {scope} it must match {}", .patterns.join(" or "))]
    Naming {
        tag: String,
        scope: String,
        patterns: Vec<String>,
    },
    #[error(
        "the quota of {namespace} is {limit} {unit}, and {used} are used: delete something or ask an administrator for more"
    )]
    Quota {
        namespace: String,
        limit: u64,
        used: u64,
        unit: &'static str,
    },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Cryptography that should not fail.
    #[error("cannot {0}")]
    Failed(&'static str),
}

impl HubError {
    /// What the store said, or what it was told to say by this crate's own rules.
    pub fn of_store(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refused) => match refused.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Store(StoreError::Refused(other)),
            },
            error => Self::Store(error),
        }
    }

    pub(crate) fn unknown(what: &'static str, name: impl Into<String>) -> Self {
        let name = name.into();
        Self::Unknown { what, name }
    }

    pub(crate) fn exists(what: &'static str, name: impl Into<String>) -> Self {
        let name = name.into();
        Self::Exists { what, name }
    }

    pub(crate) fn invalid(field: &'static str, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        Self::Invalid { field, hint }
    }

    pub(crate) fn denied(reason: impl Into<String>) -> Self {
        Self::Denied(reason.into())
    }
}
