//! One line of an image's history.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::null;

/// What one step of a build did. Steps without [`empty_layer`](Self::empty_layer) correspond, in order, to the layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub author: String,
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub created_by: String,
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub comment: String,
    #[serde(
        default,
        skip_serializing_if = "is_false",
        deserialize_with = "null::as_default"
    )]
    pub empty_layer: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}
