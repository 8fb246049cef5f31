//! Platforms as people write them, for requests that take them as JSON.

use havre_oci::Platform;

use crate::error::CliError;

/// `linux/arm64/v8` → `{"architecture":"arm64",…}`.
pub(crate) fn json(text: &str) -> Result<String, CliError> {
    let platform = parse(text)?;
    serde_json::to_string(&platform).map_err(|error| CliError::Invalid(error.to_string()))
}

/// The same of a flag that may not be given.
pub(crate) fn json_of(flag: Option<&str>) -> Result<Option<String>, CliError> {
    flag.filter(|text| !text.is_empty()).map(json).transpose()
}

/// Reads one platform.
pub(crate) fn parse(text: &str) -> Result<Platform, CliError> {
    Platform::parse(text).map_err(|error| CliError::Invalid(error.to_string()))
}
