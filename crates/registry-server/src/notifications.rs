//! Tells whoever wants to know what happened here.

mod happened;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use havre_registry_events::{Action, Actor, Event, EventsError, Origin, Outbox, Request, Sending};
use http::header;
use tokio::sync::Notify;

pub(crate) use happened::Happened;

use crate::outside::Outside;

/// How often what could not be sent is looked for, and what other processes left.
const EVERY: Duration = Duration::from_secs(2);
/// How often the log's oldest entries are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Sent at once.
const AT_ONCE: usize = 8;
/// The most of an answer that is read, in bytes.
const MOST_ANSWER: usize = 4096;

/// Events on their way.
#[derive(Debug)]
pub(crate) struct Notifications {
    outbox: Outbox,
    outside: Outside,
    /// There is something new.
    new: Notify,
    /// Somebody wants to know something, as far as was lately seen.
    wanted: AtomicBool,
    origin: Origin,
}

impl Notifications {
    pub(crate) fn new(outbox: Outbox, outside: Outside) -> Self {
        Self {
            outbox,
            outside,
            new: Notify::new(),
            // Until it is known.
            wanted: AtomicBool::new(true),
            origin: Origin {
                addr: rustix::system::uname().nodename().to_string_lossy().into_owned(),
                instance: new_instance(),
            },
        }
    }

    /// Whether anybody wants to know anything.
    pub(crate) fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Keeps what a request did for those who want to know: it is kept when this returns, but for pulls, which nobody waits for.
    pub(crate) async fn note(self: &Arc<Self>, request: &Happened<'_>, name: String, address: IpAddr) {
        let Some((action, subject)) = happened::happened(request) else {
            return;
        };
        let text = |name| Some(request.headers.get(name)?.to_str().ok()?.to_owned());
        let made = Request {
            id: String::new(),
            addr: address.to_string(),
            host: text(header::HOST).unwrap_or_default(),
            method: request.method.to_string(),
            useragent: text(header::USER_AGENT).unwrap_or_default(),
        };
        let event = Event::new(action, subject, made, Actor { name }, self.origin.clone());
        match action {
            Action::Pull => {
                let notifications = Arc::clone(self);
                tokio::spawn(async move { notifications.put(event).await });
            }
            _ => self.put(event).await,
        }
    }

    async fn put(&self, event: Event) {
        match self.blocking(move |outbox| outbox.put(&event)).await {
            Ok(0) => {}
            Ok(_) => self.new.notify_one(),
            Err(error) => tracing::error!(%error, "nobody is told of an event"),
        }
    }

    /// Sends what there is to send, until it is dropped.
    pub(crate) async fn send(self: Arc<Self>) {
        let mut turns = tokio::time::interval(EVERY);
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                () = self.new.notified() => {}
                _ = turns.tick() => {
                    match self.blocking(|outbox| outbox.is_wanted()).await {
                        Ok(wanted) => self.wanted.store(wanted, Ordering::Relaxed),
                        Err(error) => tracing::error!(%error, "who wants to know is not known"),
                    }
                }
                _ = sweeps.tick() => {
                    if let Err(error) = self.blocking(|outbox| outbox.sweep()).await {
                        tracing::error!(%error, "old deliveries are still there");
                    }
                }
            }
            loop {
                match self.blocking(|outbox| outbox.due(AT_ONCE)).await {
                    Ok(due) if due.is_empty() => break,
                    Ok(due) => {
                        let sent = stream::iter(due).map(|sending| self.deliver(sending));
                        sent.buffer_unordered(AT_ONCE).collect::<()>().await;
                    }
                    Err(error) => {
                        tracing::error!(%error, "what is to be sent is not known");
                        break;
                    }
                }
            }
        }
    }

    async fn deliver(&self, sending: Sending) {
        let answer = self.post(&sending).await;
        if let Err(error) = &answer {
            tracing::warn!(
                target = sending.target.name,
                error,
                "a notification was not taken"
            );
        }
        if let Err(error) = self.blocking(move |outbox| outbox.told(&sending, answer)).await {
            tracing::error!(%error, "what became of a notification is not noted");
        }
    }

    async fn post(&self, sending: &Sending) -> Result<(u16, String), String> {
        let target = &sending.target;
        let client = self.outside.client(target.url.address(), target.private);
        let client = client.ok_or("its address is not outside this network")?;
        let mut request = client.post(target.url.as_str()).body(sending.body.clone());
        for (name, value) in sending.headers() {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| reason(&error))?;
        let mut text = Vec::new();
        while text.len() < MOST_ANSWER
            && let Ok(Some(piece)) = response.chunk().await
        {
            text.extend_from_slice(&piece[..piece.len().min(MOST_ANSWER - text.len())]);
        }
        Ok((
            response.status().as_u16(),
            String::from_utf8_lossy(&text).into_owned(),
        ))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Outbox) -> Result<T, EventsError> + Send + 'static,
    ) -> Result<T, String> {
        let outbox = self.outbox.clone();
        match tokio::task::spawn_blocking(move || work(outbox)).await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Tells this process from others.
fn new_instance() -> String {
    rand::random::<[u8; 8]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// All of what went wrong: outer errors say less than inner ones.
fn reason(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", reason(source)),
        None => error.to_string(),
    }
}
