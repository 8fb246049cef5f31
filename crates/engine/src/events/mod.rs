//! What happens, as Docker's event stream: published by the services, kept in a bounded history, followed by clients.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::broadcast;

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

/// How many events a late subscriber can still ask for with `since`.
const HISTORY: usize = 1024;

/// How far a slow subscriber may fall behind before it loses events.
const BACKLOG: usize = 4096;

/// The event bus.
#[derive(Clone)]
pub struct Events(Arc<Bus>);

struct Bus {
    history: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

const FILTER_KEYS: &[&str] = &[
    "builder",
    "container",
    "daemon",
    "event",
    "id",
    "image",
    "label",
    "network",
    "scope",
    "type",
    "volume",
];

impl Events {
    pub(crate) fn new() -> Self {
        let (live, _) = broadcast::channel(BACKLOG);
        Events(Arc::new(Bus {
            history: Mutex::new(VecDeque::with_capacity(HISTORY)),
            live,
        }))
    }

    pub(crate) fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut history = lock(&self.0.history);
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(event.clone());
        // Sent under the lock: a subscriber that reads the history and then listens sees every event once.
        let _ = self.0.live.send(event);
    }

    /// Subscribers at this moment.
    pub(crate) fn listeners(&self) -> usize {
        self.0.live.receiver_count()
    }

    /// Events from `since` (as far as the history reaches) on, then live ones until `until`. Without `since` only live
    /// ones. Filters: builder container daemon event id image label network scope type volume.
    pub fn subscribe(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        filters: Filters,
    ) -> Result<EventStream> {
        filters.only(FILTER_KEYS)?;
        if let (Some(since), Some(until)) = (since, until)
            && until < since
        {
            return Err(crate::EngineError::invalid(format!(
                "`since` time ({since}) cannot be after `until` time ({until})"
            )));
        }
        let history = lock(&self.0.history);
        let live = self.0.live.subscribe();
        let past_only = until.is_some_and(|until| until <= Timestamp::now());
        let wanted = |event: &Arc<Event>| {
            (since.is_some() || past_only)
                && since.is_none_or(|since| event.time >= since)
                && until.is_none_or(|until| event.time <= until)
        };
        let past: Vec<_> = history.iter().filter(|event| wanted(event)).cloned().collect();
        drop(history);
        let past = futures_util::stream::iter(past);
        let events: Pin<Box<dyn Stream<Item = Arc<Event>> + Send>> = if past_only {
            Box::pin(past)
        } else {
            Box::pin(past.chain(follow(live, until)))
        };
        Ok(Box::pin(events.filter_map(move |event| {
            let shown = matches(&event, &filters).then(|| Event::clone(&event));
            std::future::ready(shown)
        })))
    }
}

/// Live events until a moment, without those after it.
fn follow(
    live: broadcast::Receiver<Arc<Event>>,
    until: Option<Timestamp>,
) -> impl Stream<Item = Arc<Event>> + Send {
    let end = until.map(|until| {
        let left = until.duration_since(Timestamp::now());
        tokio::time::Instant::now() + std::time::Duration::try_from(left).unwrap_or_default()
    });
    futures_util::stream::unfold(live, move |mut live| async move {
        loop {
            let received = match end {
                Some(end) => tokio::time::timeout_at(end, live.recv()).await.ok()?,
                None => live.recv().await,
            };
            match received {
                Ok(event) => return Some((event, live)),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "an event subscriber is too slow and lost events");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

fn matches(event: &Event, filters: &Filters) -> bool {
    let of = |key: &str, kind: EventType| {
        filters.any(key, |wanted| {
            event.kind == kind
                && (event.actor == wanted
                    || event.attributes.get("name").is_some_and(|name| name == wanted)
                    || (wanted.len() >= 4 && event.actor.starts_with(wanted)))
        })
    };
    let image = filters.any("image", |wanted| match event.kind {
        EventType::Image => {
            event.actor == wanted
                || event
                    .attributes
                    .get("name")
                    .is_some_and(|name| same_image(name, wanted))
        }
        EventType::Container => event
            .attributes
            .get("image")
            .is_some_and(|name| same_image(name, wanted)),
        _ => false,
    });
    filters.any("event", |wanted| {
        event.action == wanted
            || event
                .action
                .split_once(':')
                .is_some_and(|(action, _)| action == wanted)
    }) && filters.exact("type", event.kind.as_str())
        && filters.exact("scope", "local")
        && filters.any("id", |wanted| event.actor.starts_with(wanted))
        && of("container", EventType::Container)
        && of("volume", EventType::Volume)
        && of("network", EventType::Network)
        && of("builder", EventType::Builder)
        && of("daemon", EventType::Daemon)
        && image
        && filters.labels(&event.attributes)
}

/// `debian:12` is meant by `debian:12` and by `debian`.
fn same_image(name: &str, wanted: &str) -> bool {
    name == wanted
        || name
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.starts_with(':') || rest.starts_with('@'))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
