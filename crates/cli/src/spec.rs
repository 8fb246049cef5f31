//! What flags describe — ports, mounts, environments, limits — as the API wants it. Pure: text in, JSON out.

pub(crate) mod container;
pub(crate) mod detach_keys;
pub(crate) mod environment;
pub(crate) mod filters;
pub(crate) mod limits;
pub(crate) mod mounts;
pub(crate) mod ports;

/// Why a flag's value cannot be used; worded as Docker's client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SpecError(pub(crate) String);

impl From<SpecError> for crate::error::CliError {
    fn from(error: SpecError) -> Self {
        Self::Invalid(error.0)
    }
}
