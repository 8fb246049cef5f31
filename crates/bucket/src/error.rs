//! What can go wrong with a service, in the words of the store.

use havre_registry_store::{Result, StoreError};
use object_store::Error;

pub(crate) fn failed(action: &'static str, key: &str) -> impl FnOnce(Error) -> StoreError {
    let key = key.to_owned();
    move |error| StoreError::Storage {
        action,
        key,
        reason: reason(&error),
    }
}

/// [`None`] for what isn't there.
pub(crate) fn there<T>(done: Result<T, Error>, action: &'static str, key: &str) -> Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(action, key)(error)),
    }
}

/// All of what went wrong: outer errors say less than inner ones.
fn reason(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", reason(source)),
        None => error.to_string(),
    }
}
