//! Errors on their way to clients: the only place where they become codes and statuses (distribution specification, "Error
//! Codes"; the statuses are the reference registry's).

use axum::Json;
use axum::response::{IntoResponse, Response};
use havre_hub::HubError;
use havre_registry_cache::CacheError;
use havre_registry_store::{NameError, StoreError};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// An error as a client sees it.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            detail: Value::Null,
            headers: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        self.headers
            .extend(HeaderValue::from_str(value.as_ref()).map(|value| (name, value)));
        self
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "UNSUPPORTED",
            "there is nothing at this path",
        )
    }

    pub(crate) fn method(allowed: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "the operation is unsupported",
        )
        .with(header::ALLOW, allowed)
    }

    pub(crate) fn digest(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(crate) fn size(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message)
    }

    pub(crate) fn range(message: impl Into<String>) -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", message)
    }

    pub(crate) fn upload(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "the registry failed; its log says why",
        )
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        let code = match &error {
            NameError::Repository | NameError::TooLong => "NAME_INVALID",
            NameError::Tag => "TAG_INVALID",
            NameError::Digest(_) => "DIGEST_INVALID",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let error = match error {
            StoreError::Refused(_) => match HubError::of_store(error) {
                HubError::Store(error) => error,
                refused => return refused.into(),
            },
            error => error,
        };
        Self::of_store(&error)
    }
}

impl ApiError {
    /// Of what the store itself says.
    fn of_store(error: &StoreError) -> Self {
        use StatusCode as Status;
        let (status, code) = match error {
            StoreError::Name(_) => (Status::BAD_REQUEST, "NAME_INVALID"),
            StoreError::NameUnknown(_) => (Status::NOT_FOUND, "NAME_UNKNOWN"),
            StoreError::BlobUnknown(_) => (Status::NOT_FOUND, "BLOB_UNKNOWN"),
            StoreError::ManifestUnknown(_) => (Status::NOT_FOUND, "MANIFEST_UNKNOWN"),
            StoreError::UploadUnknown => (Status::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            StoreError::UploadBusy => (Status::CONFLICT, "BLOB_UPLOAD_INVALID"),
            StoreError::UploadOffset { .. } => (Status::RANGE_NOT_SATISFIABLE, "RANGE_INVALID"),
            StoreError::DigestMismatch { .. } => (Status::BAD_REQUEST, "DIGEST_INVALID"),
            StoreError::ManifestInvalid(_) => (Status::BAD_REQUEST, "MANIFEST_INVALID"),
            StoreError::PartUnknown(_) => (Status::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"),
            StoreError::ManifestTooLarge { .. } => (Status::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID"),
            StoreError::InUse { .. } => (Status::CONFLICT, "DENIED"),
            full if full.is_full() => {
                tracing::error!(error = %Chain(error), "there is no room");
                let message = "the registry's disk is full: its administrator must make room";
                return Self::new(Status::INSUFFICIENT_STORAGE, "UNKNOWN", message);
            }
            _ => {
                // Paths of the server are nobody's business.
                tracing::error!(error = %Chain(error), "a request failed");
                return Self::internal();
            }
        };
        let detail = match error {
            StoreError::PartUnknown(digest) | StoreError::BlobUnknown(digest) => json!({ "digest": digest }),
            StoreError::NameUnknown(name) => json!({ "name": name }),
            _ => Value::Null,
        };
        Self {
            detail,
            ..Self::new(status, code, error.to_string())
        }
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        use StatusCode as Status;
        let (status, code) = match &error {
            HubError::Credentials | HubError::SignInFirst => (Status::UNAUTHORIZED, "UNAUTHORIZED"),
            HubError::Locked { .. } => (Status::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            HubError::Denied(_) | HubError::Quota { .. } => (Status::FORBIDDEN, "DENIED"),
            HubError::Unknown { .. } => (Status::NOT_FOUND, "NAME_UNKNOWN"),
            HubError::Immutable { .. } => (Status::CONFLICT, "DENIED"),
            HubError::Exists { .. } | HubError::Conflict(_) => (Status::CONFLICT, "DENIED"),
            HubError::Naming { .. } => (Status::BAD_REQUEST, "TAG_INVALID"),
            HubError::Invalid { .. } => (Status::BAD_REQUEST, "UNSUPPORTED"),
            _ => {
                return match error {
                    HubError::Name(error) => error.into(),
                    HubError::Store(error) => error.into(),
                    error => {
                        tracing::error!(error = %Chain(&error), "a request failed");
                        Self::internal()
                    }
                };
            }
        };
        let answer = Self::new(status, code, error.to_string());
        match error {
            HubError::Locked { seconds } => answer.with(header::RETRY_AFTER, seconds.to_string()),
            _ => answer,
        }
    }
}

impl From<CacheError> for ApiError {
    fn from(error: CacheError) -> Self {
        use StatusCode as Status;
        let (status, code) = match &error {
            CacheError::Store(error) => return Self::of_store(error),
            CacheError::Unknown { .. } => (Status::NOT_FOUND, "MANIFEST_UNKNOWN"),
            CacheError::RateLimited { .. } => (Status::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            CacheError::Unreachable { .. } | CacheError::BrokenOff { .. } => {
                (Status::SERVICE_UNAVAILABLE, "UNAVAILABLE")
            }
            CacheError::Refused { .. } | CacheError::Invalid { .. } => (Status::BAD_GATEWAY, "UNAVAILABLE"),
        };
        tracing::warn!(%error, "upstream did not help");
        let answer = Self::new(status, code, error.to_string());
        match error {
            CacheError::RateLimited { after, .. } => {
                answer.with(header::RETRY_AFTER, (after.as_secs() + 1).to_string())
            }
            _ => answer,
        }
    }
}

/// An error with what caused it.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if !self.detail.is_null() {
            error["detail"] = self.detail;
        }
        let mut response = (self.status, Json(json!({ "errors": [error] }))).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}
