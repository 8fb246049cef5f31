//! Events.

use std::collections::BTreeMap;

use havre_engine::{Event, EventType};
use serde::Serialize;

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
    /// The action and the actor of containers and images are said a second time, as Docker did before API 1.52: clients that
    /// take the newest version there is, Compose 1.29 among them, still read them.
    pub(crate) fn new(event: Event) -> Self {
        let twice = matches!(event.kind, EventType::Container | EventType::Image);
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
