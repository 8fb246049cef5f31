//! Whether storage and database answer.

use std::sync::Mutex;
use std::sync::PoisonError;

use havre_registry_store::RegistryStore;

use crate::config::HealthCheck;

/// What was found lately.
#[derive(Debug)]
pub(crate) struct Health {
    check: Option<HealthCheck>,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// Failures in a row.
    failures: u32,
    /// The last one.
    reason: String,
}

impl Health {
    pub(crate) fn new(check: Option<HealthCheck>) -> Self {
        Self {
            check,
            found: Mutex::default(),
        }
    }

    /// What is wrong, if something is.
    pub(crate) fn problem(&self) -> Option<String> {
        let check = self.check?;
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        (found.failures >= check.threshold).then(|| found.reason.clone())
    }

    fn note(&self, failure: Option<String>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => *found = Found::default(),
            Some(reason) => {
                tracing::warn!(reason, "storage or database do not answer");
                found.failures = found.failures.saturating_add(1);
                found.reason = reason;
            }
        }
    }

    /// Looks from time to time, until it is dropped.
    pub(crate) async fn watch(&self, store: &RegistryStore) {
        let Some(check) = self.check else {
            return std::future::pending().await;
        };
        let mut turns = tokio::time::interval(check.interval);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let store = store.clone();
            let asked = tokio::task::spawn_blocking(move || store.ping()).await;
            self.note(match asked {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            });
        }
    }
}
