//! Events.

use std::collections::BTreeMap;

use havre_engine::{Event, EventType};
use serde::Serialize;

use crate::version::ApiVersion;

#[derive(Debug, Serialize)]
pub(crate) struct EventView {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    scope: &'static str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Debug, Serialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

impl EventView {
    /// Before API 1.52 the action and the actor of containers and images were said a second time.
    pub(crate) fn new(event: Event, version: ApiVersion) -> Self {
        let twice =
            version < ApiVersion::new(52) && matches!(event.kind, EventType::Container | EventType::Image);
        let of_container = twice && event.kind == EventType::Container;
        Self {
            status: twice.then(|| event.action.clone()),
            id: twice.then(|| event.actor.clone()),
            from: of_container
                .then(|| event.attributes.get("image").cloned())
                .flatten(),
            kind: event.kind.as_str(),
            action: event.action,
            actor: Actor {
                id: event.actor,
                attributes: event.attributes,
            },
            scope: "local",
            time: event.time.as_second(),
            time_nano: i64::try_from(event.time.as_nanosecond()).unwrap_or(i64::MAX),
        }
    }
}
