//! What can go wrong with events.

use havre_database::DatabaseError;

pub type Result<T, E = EventsError> = std::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    #[error("{url:?} is no address of a webhook: {reason}")]
    Url { url: String, reason: &'static str },
    #[error("there is no webhook {0}")]
    WebhookUnknown(String),
    #[error("{0:?} is no name of a webhook: letters, digits, - and _, at most 64 of them")]
    Name(String),
    #[error("there is a webhook {0} already")]
    NameTaken(String),
    #[error("{0:?} is no action: push, pull, mount or delete")]
    Action(String),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}
