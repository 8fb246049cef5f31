//! How a container's health is probed.

use serde::{Deserialize, Serialize};

use crate::null;

/// `HEALTHCHECK` as images and containers carry it. Times are nanoseconds; zero means "inherit" or "default".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", args…]` or `["CMD-SHELL", line]`; empty inherits.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub test: Vec<String>,
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null::as_default"
    )]
    pub interval: i64,
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null::as_default"
    )]
    pub timeout: i64,
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null::as_default"
    )]
    pub start_period: i64,
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null::as_default"
    )]
    pub start_interval: i64,
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null::as_default"
    )]
    pub retries: i64,
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}
