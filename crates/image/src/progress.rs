/// One line of progress, in the words and shape of Docker's JSON progress messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressEvent {
    /// What it is about: a short layer ID, a tag; `None` for lines about the whole.
    pub id: Option<String>,
    /// "Downloading", "Pull complete", "Status: Downloaded newer image for …".
    pub status: String,
    /// Bytes done and total (0 when unknown).
    pub detail: Option<(u64, u64)>,
}

impl ProgressEvent {
    /// A line without an object.
    pub fn line(status: impl Into<String>) -> Self {
        ProgressEvent {
            id: None,
            status: status.into(),
            detail: None,
        }
    }

    /// The state of an object.
    pub fn of(id: impl Into<String>, status: impl Into<String>) -> Self {
        ProgressEvent {
            id: Some(id.into()),
            status: status.into(),
            detail: None,
        }
    }

    /// The state of an object with bytes done and total.
    pub fn bytes(id: impl Into<String>, status: impl Into<String>, current: u64, total: u64) -> Self {
        ProgressEvent {
            id: Some(id.into()),
            status: status.into(),
            detail: Some((current, total)),
        }
    }
}

/// Receives progress; called often, from many threads, and must not block for long.
pub trait Progress: Send + Sync {
    fn emit(&self, event: ProgressEvent);
}

impl<F: Fn(ProgressEvent) + Send + Sync> Progress for F {
    fn emit(&self, event: ProgressEvent) {
        self(event);
    }
}

/// Progress nobody reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn emit(&self, _: ProgressEvent) {}
}
