//! What happens, as Docker's event stream: published by the services, kept in a bounded history, followed by clients.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use jiff::Timestamp;

use crate::{Filters, Result};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    Container,
    Image,
    Volume,
    Network,
    Builder,
    Daemon,
}

impl EventType {
    /// As Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Container => "container",
            EventType::Image => "image",
            EventType::Volume => "volume",
            EventType::Network => "network",
            EventType::Builder => "builder",
            EventType::Daemon => "daemon",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: EventType,
    /// `create`, `start`, `die`, `exec_start: sh`, …
    pub action: String,
    /// Container id, image reference or id, volume name, network id.
    pub actor: String,
    pub attributes: BTreeMap<String, String>,
    pub time: Timestamp,
}

impl Event {
    pub(crate) fn new(kind: EventType, action: impl Into<String>, actor: impl Into<String>) -> Self {
        Event {
            kind,
            action: action.into(),
            actor: actor.into(),
            attributes: BTreeMap::new(),
            time: Timestamp::now(),
        }
    }

    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.attributes.insert(key.to_owned(), value.to_string());
        self
    }
}

/// Ends at `until`, or never.
pub type EventStream = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// The event bus.
#[derive(Clone)]
pub struct Events(Arc<()>);

#[allow(clippy::todo, unused_variables)]
impl Events {
    pub(crate) fn publish(&self, event: Event) {
        todo!()
    }
    /// Events from `since` (from the history) on, then live ones until `until`. Filters: container daemon event image
    /// label network type volume scope.
    pub fn subscribe(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        filters: Filters,
    ) -> Result<EventStream> {
        todo!()
    }
}
