//! Why there is no page.

use havre_hub::HubError;
use havre_registry_store::{NameError, StoreError};
use http::StatusCode;

use crate::layers::LayersError;

/// Why there is no page. The messages are for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("there is nothing at this address")]
    NotFound,
    /// Something is not there that has a name.
    #[error("{0}")]
    Missing(String),
    /// What was sent cannot be used.
    #[error("{0}")]
    Bad(String),
    /// A form that no page of ours sent, or one that is too old.
    #[error("this form did not come from a page of this registry, or the page was open for too long")]
    Foreign,
    /// It was true when the page was made, and is no more.
    #[error("{0}")]
    Changed(String),
    #[error("the registry does not allow this")]
    Forbidden(String),
    /// Somebody unknown, who may be somebody who may.
    #[error("sign in to see this")]
    SignIn,
    /// Wrong passwords, or too many of them.
    #[error("{0}")]
    Refused(String),
    #[error("this address takes no such request")]
    Method,
    #[error(transparent)]
    Layers(#[from] LayersError),
    #[error("the registry failed; its log says why")]
    Internal,
}

impl PageError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Foreign | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::SignIn | Self::Refused(_) => StatusCode::UNAUTHORIZED,
            Self::Changed(_) => StatusCode::CONFLICT,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Layers(error) => error.status(),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to do about it.
    pub(crate) fn way_out(&self) -> String {
        match self {
            Self::NotFound | Self::Missing(_) => {
                "It may have been deleted or renamed, or the address has a typing error.".to_owned()
            }
            Self::Foreign => {
                "Nothing was changed. Go back, load the page again, and send the form from there.".to_owned()
            }
            Self::Changed(_) => "Nothing was changed. Go back and load the page again.".to_owned(),
            Self::Forbidden(why) => why.clone(),
            Self::SignIn => "You come back here afterwards.".to_owned(),
            Self::Bad(_) | Self::Method | Self::Refused(_) => "Nothing was changed.".to_owned(),
            Self::Layers(error) => error.way_out().to_owned(),
            Self::Internal => {
                "Try again in a while; if it stays so, ask whoever runs the registry.".to_owned()
            }
        }
    }
}

impl From<NameError> for PageError {
    fn from(_: NameError) -> Self {
        Self::NotFound
    }
}

impl From<HubError> for PageError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::SignInFirst => Self::SignIn,
            HubError::Credentials | HubError::Locked { .. } => Self::Refused(error.to_string()),
            HubError::Denied(why) => Self::Forbidden(format!("{why}.")),
            HubError::Unknown { .. } => Self::Missing(error.to_string()),
            HubError::Exists { .. }
            | HubError::Conflict(_)
            | HubError::Immutable { .. }
            | HubError::Naming { .. }
            | HubError::Quota { .. } => Self::Changed(error.to_string()),
            HubError::Invalid { .. } | HubError::Name(_) => Self::Bad(error.to_string()),
            HubError::Store(error) => error.into(),
            error => {
                tracing::error!(%error, "a page failed");
                Self::Internal
            }
        }
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NameUnknown(_)
            | StoreError::BlobUnknown(_)
            | StoreError::ManifestUnknown(_)
            | StoreError::Name(_) => Self::Missing(error.to_string()),
            StoreError::TagMoved(_)
            | StoreError::TagTaken { .. }
            | StoreError::NotDeleted(_)
            | StoreError::InUse { .. } => Self::Changed(error.to_string()),
            error => {
                tracing::error!(%error, "a page failed");
                Self::Internal
            }
        }
    }
}
