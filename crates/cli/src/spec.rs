//! What flags describe — ports, mounts, environments, limits — as the API wants it. Pure: text in, JSON out.

pub(crate) mod container;
pub(crate) mod detach_keys;
pub(crate) mod environment;
pub(crate) mod filters;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod limits;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod platform;
pub(crate) mod ports;
pub(crate) mod trust;

/// Why a flag's value cannot be used; worded as Docker's client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// The flag itself is malformed: Docker answers with usage.
    #[error("invalid argument \"{value}\" for \"{flag}\" flag: {reason}")]
    Flag {
        /// `-e, --env`.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The value makes no sense where it is used.
    #[error("{0}")]
    Value(String),
}

impl SpecError {
    fn value(text: impl Into<String>) -> Self {
        Self::Value(text.into())
    }

    fn flag(flag: &'static str, value: &str, reason: impl Into<String>) -> Self {
        Self::Flag {
            flag,
            value: value.to_owned(),
            reason: reason.into(),
        }
    }
}

impl From<SpecError> for crate::error::CliError {
    fn from(error: SpecError) -> Self {
        match error {
            SpecError::Flag { .. } => Self::Flag(error.to_string()),
            SpecError::Value(text) => Self::Invalid(text),
        }
    }
}
