//! One error for every service, with a kind the edges map to an HTTP status or an exit code.

/// What sort of failure it is; the API turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// 404
    NotFound,
    /// 409
    Conflict,
    /// 400
    InvalidParameter,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 304: nothing to do (starting a running container).
    NotModified,
    /// 501
    NotImplemented,
    /// 503
    Unavailable,
    /// 500
    System,
}

/// A failure of the engine. `Display` is worded as Docker words it and meant for the user; details sit in `source`.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl EngineError {
    /// An error of this kind, worded for the user.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        EngineError {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Keeps what caused it for the log.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParameter, message)
    }

    pub(crate) fn system(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::System, message)
    }

    /// Puts words before the message, keeping kind and source.
    pub(crate) fn context(mut self, before: impl std::fmt::Display) -> Self {
        self.message = format!("{before}: {}", self.message);
        self
    }
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        let kind = ErrorKind::System;
        EngineError {
            kind,
            message: error.to_string(),
            source: Some(Box::new(error)),
        }
    }
}
