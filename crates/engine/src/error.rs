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

    /// The same as a wrong parameter: to a client that creates a container, `NotFound` means the image.
    pub(crate) fn into_invalid(mut self) -> Self {
        self.kind = ErrorKind::InvalidParameter;
        self
    }

    /// Puts words before the message, keeping kind and source.
    pub(crate) fn context(mut self, before: impl std::fmt::Display) -> Self {
        self.message = format!("{before}: {}", self.message);
        self
    }
}

/// The message with those of its causes, as a user can act on it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        EngineError::system(error.to_string()).with_source(error)
    }
}

impl From<havre_store::StoreError> for EngineError {
    fn from(error: havre_store::StoreError) -> Self {
        use havre_store::StoreError as E;
        let kind = match &error {
            E::Locked { .. } => ErrorKind::Unavailable,
            E::LayerInUse { .. } | E::LayerMounted { .. } | E::NameTaken { .. } => ErrorKind::Conflict,
            E::InvalidId { .. } | E::TooManyLayers { .. } => ErrorKind::InvalidParameter,
            E::ImageNotFound { .. } => ErrorKind::NotFound,
            _ => ErrorKind::System,
        };
        EngineError::new(kind, chain(&error)).with_source(error)
    }
}

impl From<havre_image::ImageError> for EngineError {
    fn from(error: havre_image::ImageError) -> Self {
        use havre_image::ErrorKind as K;
        let kind = match error.kind() {
            K::NotFound => ErrorKind::NotFound,
            K::Conflict => ErrorKind::Conflict,
            K::Invalid => ErrorKind::InvalidParameter,
            K::Unauthorized => ErrorKind::Unauthorized,
            K::Denied => ErrorKind::Forbidden,
            K::Unavailable => ErrorKind::Unavailable,
            _ => ErrorKind::System,
        };
        EngineError::new(kind, chain(&error)).with_source(error)
    }
}

impl From<havre_registry_client::RegistryError> for EngineError {
    fn from(error: havre_registry_client::RegistryError) -> Self {
        use havre_registry_client::ErrorKind as K;
        let kind = match error.kind() {
            K::NotFound => ErrorKind::NotFound,
            K::Unauthorized => ErrorKind::Unauthorized,
            K::Denied => ErrorKind::Forbidden,
            K::InvalidRequest => ErrorKind::InvalidParameter,
            _ => ErrorKind::System,
        };
        EngineError::new(kind, chain(&error)).with_source(error)
    }
}

impl From<havre_network::NetworkError> for EngineError {
    fn from(error: havre_network::NetworkError) -> Self {
        use havre_network::NetworkError as E;
        let kind = match &error {
            E::AddressInUse { .. }
            | E::AddressOutside { .. }
            | E::NoAddresses { .. }
            | E::InvalidInterfaceName { .. }
            | E::InterfaceTaken { .. }
            | E::ParentMissing { .. }
            | E::VlanOutside { .. }
            | E::VlanLinkMissing { .. } => ErrorKind::InvalidParameter,
            E::InterfaceExists { .. } => ErrorKind::Forbidden,
            _ => ErrorKind::System,
        };
        EngineError::new(kind, chain(&error)).with_source(error)
    }
}

impl From<havre_runtime::RuntimeError> for EngineError {
    fn from(error: havre_runtime::RuntimeError) -> Self {
        use havre_runtime::RuntimeError as E;
        let kind = match &error {
            E::NotRunning { .. } => ErrorKind::Conflict,
            E::Spec(_) => ErrorKind::InvalidParameter,
            E::NoSuchExec { .. } => ErrorKind::NotFound,
            _ => ErrorKind::System,
        };
        EngineError::new(kind, chain(&error)).with_source(error)
    }
}

impl From<havre_image::ChangeError> for EngineError {
    fn from(error: havre_image::ChangeError) -> Self {
        EngineError::invalid(error.to_string()).with_source(error)
    }
}

impl From<havre_oci::ReferenceError> for EngineError {
    fn from(error: havre_oci::ReferenceError) -> Self {
        EngineError::invalid(error.to_string()).with_source(error)
    }
}

/// What kept a program from running, with the words before it that runc uses.
pub(crate) fn process_failure(error: &havre_runtime::StartError) -> String {
    let message = error.to_string();
    match message.starts_with("unable to start container process") {
        true => message,
        false => format!("unable to start container process: {message}"),
    }
}

/// A container that did not start, in the words Docker's clients look for to choose 125, 126 or 127.
pub(crate) fn start_failure(error: havre_runtime::StartError) -> EngineError {
    use havre_runtime::StartError as E;
    let kind = match &error {
        E::NotFound { .. } | E::NotExecutable { .. } | E::WorkingDirectory { .. } => {
            ErrorKind::InvalidParameter
        }
        E::Runtime(havre_runtime::RuntimeError::Spec(_)) => ErrorKind::InvalidParameter,
        _ => ErrorKind::System,
    };
    let message = match &error {
        E::Runtime(inner) => chain(inner),
        // Docker finds the user before it calls its runtime, and says it plainly.
        E::Setup { message } if message.starts_with("unable to find ") => message.clone(),
        other => {
            let message = other.to_string();
            // A runtime of the host names itself.
            let message = match message.contains(" create failed: ") {
                true => message,
                false => format!("runc create failed: {}", process_failure(other)),
            };
            format!(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: {message}: \
                 unknown"
            )
        }
    };
    EngineError::new(kind, message).with_source(error)
}

impl From<crate::containers::IllegalTransition> for EngineError {
    fn from(error: crate::containers::IllegalTransition) -> Self {
        EngineError::conflict(error.to_string())
    }
}

/// Runs blocking work off the async workers. Once begun it goes on to its end, also when the caller went away.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> crate::Result<T> + Send + 'static,
) -> crate::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(EngineError::new(
            ErrorKind::Unavailable,
            "the engine is shutting down",
        )),
    }
}
