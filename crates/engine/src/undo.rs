//! Removals that can be undone: for how long, within how much space, and the way back.
//!
//! What is removed is kept in the store's journal ([`havre_store::Removals`]). It goes for good when the window has passed,
//! when everything kept is more than the quota or than what is free, when the disk runs short of space, oldest first, or when it
//! is told to.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use havre_image::Keep;
use havre_store::{Operation, Removal, RemovedItem, Store};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::containers::parse_bytes;
use crate::error::blocking;
use crate::networks::Registry;
use crate::{
    Containers, EngineError, Event, EventType, Events, Result, Volumes, containers, networks, volumes,
};

/// How often windows, quota and free space are looked at.
const TURN: Duration = Duration::from_secs(2);
/// How soon after a removal began.
const SOON: Duration = Duration::from_millis(500);
/// The disk is short of space when less than this is free, or a twentieth of a smaller one.
const SHORT: u64 = 1 << 30;
/// Removals that are kept at most.
const MOST: usize = 1000;
const WINDOW: SignedDuration = SignedDuration::from_hours(24);
const QUOTA: u64 = 10 << 30;

/// `[undo]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct UndoSettings {
    /// How long what was removed can be brought back, `24h` unless set; `0`: not at all.
    pub window: Option<String>,
    /// How many bytes may be kept for it, `10GB` unless set.
    pub quota: Option<String>,
    /// Whether removed images are kept as well. Unless set their space comes back at once, and only those are kept that a command
    /// asks for.
    pub images: bool,
}

impl UndoSettings {
    pub(crate) fn window(&self) -> Result<SignedDuration> {
        let Some(text) = &self.window else {
            return Ok(WINDOW);
        };
        if text == "0" {
            return Ok(SignedDuration::ZERO);
        }
        let window = text.parse::<SignedDuration>().ok();
        window.filter(|window| !window.is_negative()).ok_or_else(|| {
            EngineError::invalid(format!(
                "undo.window: invalid value {text}: expected a span of time such as 24h or 30m, or 0 for none"
            ))
        })
    }

    pub(crate) fn quota(&self) -> Result<u64> {
        match &self.quota {
            None => Ok(QUOTA),
            Some(text) => parse_bytes(text).ok_or_else(|| {
                EngineError::invalid(format!(
                    "undo.quota: invalid value {text}: expected a size such as 10GB"
                ))
            }),
        }
    }
}

/// A removal that can be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoable {
    /// Names it; later ones have higher numbers.
    pub id: u64,
    pub at: Timestamp,
    /// Until when it can be undone, unless space runs short.
    pub expires: Timestamp,
    /// What the user did: `container rm`.
    pub command: String,
    pub items: Vec<UndoableItem>,
}

/// One thing that comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoableItem {
    /// `container`, `volume`, `network`, `image`, `tag` or `digest`
    pub kind: String,
    pub id: String,
    pub name: String,
    /// Bytes it takes up.
    pub size: u64,
}

impl Undoable {
    /// Bytes it takes up.
    pub fn size(&self) -> u64 {
        self.items.iter().map(|item| item.size).sum()
    }
}

/// What an undo did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    pub removal: Undoable,
    /// What is not as it was.
    pub warnings: Vec<String>,
}

/// The undo service.
#[derive(Clone)]
pub struct Undo(Arc<Inner>);

pub(crate) struct Inner {
    pub store: Arc<Store>,
    pub containers: Containers,
    pub volumes: Volumes,
    pub networks: Arc<Registry>,
    pub events: Events,
    /// Zero: nothing is kept.
    pub window: SignedDuration,
    pub quota: u64,
    pub images: bool,
    /// Held while a removal comes back or is given up.
    pub busy: Mutex<()>,
    pub news: Arc<News>,
}

/// Whether something was removed since somebody looked.
#[derive(Debug, Default)]
pub(crate) struct News {
    there: Mutex<bool>,
    changed: Condvar,
}

impl News {
    fn tell(&self) {
        *self.there.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for news, as long as `patience` if that is given; whether there were any.
    fn wait(&self, patience: Option<Duration>) -> bool {
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        if !*there {
            there = match patience {
                Some(patience) => {
                    let waited = self.changed.wait_timeout(there, patience);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(there).unwrap_or_else(PoisonError::into_inner),
            };
        }
        std::mem::take(&mut there)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // So that who watches ends too.
        self.news.tell();
    }
}

impl Undo {
    pub(crate) fn new(inner: Inner) -> Result<Self> {
        let inner = Arc::new(inner);
        let (watched, news) = (Arc::downgrade(&inner), inner.news.clone());
        std::thread::Builder::new()
            .name("undo".to_owned())
            .stack_size(512 << 10)
            .spawn(move || watch(&watched, &news))?;
        Ok(Self(inner))
    }

    /// What a removal that begins now is part of; `None` if it is for good. `token` is the same for all requests of one
    /// command; requests without one are commands of their own.
    pub fn operation(&self, token: Option<&str>, command: &str) -> Option<Operation> {
        if self.0.window.is_zero() || self.0.is_short() {
            return None;
        }
        self.0.news.tell();
        let token = token.filter(|token| {
            (1..=128).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
        });
        Some(Operation {
            token: token.map_or_else(crate::containers::new_id, str::to_owned),
            command: command.to_owned(),
        })
    }

    /// As [`operation`](Self::operation), for what removes images too. `images`: those are to be kept, whatever the configuration
    /// says; which fails if nothing can be.
    pub fn keep(&self, token: Option<&str>, command: &str, images: bool) -> Result<Option<Keep>> {
        let keep = self.operation(token, command).map(|operation| Keep {
            operation,
            images: images || self.0.images,
        });
        match keep {
            None if images && self.0.window.is_zero() => Err(EngineError::invalid(
                "images cannot be kept: undo.window of the engine's configuration is 0",
            )),
            None if images => Err(EngineError::conflict(
                "images cannot be kept: the disk is short of space; without --keep they are removed for good",
            )),
            keep => Ok(keep),
        }
    }

    /// Whether removed images are kept without being asked to.
    pub fn keeps_images(&self) -> bool {
        self.0.images && !self.0.window.is_zero()
    }

    /// How long what is removed can be brought back; zero: not at all.
    pub fn window(&self) -> SignedDuration {
        self.0.window
    }

    /// What can be undone, newest first.
    pub async fn list(&self) -> Result<Vec<Undoable>> {
        let inner = self.0.clone();
        blocking(move || inner.list()).await
    }

    /// Number and bytes of what is kept.
    pub(crate) fn held(&self) -> Result<(u64, u64)> {
        let removals = self.0.list()?;
        let items = removals.iter().flat_map(|removal| &removal.items);
        Ok(items.fold((0, 0), |(count, size), item| (count + 1, size + item.size)))
    }

    /// Brings back what a removal took, or the newest: all of it or nothing.
    pub async fn undo(&self, id: Option<u64>) -> Result<Undone> {
        let inner = self.0.clone();
        blocking(move || {
            let _busy = inner.busy();
            let removals = inner.store.removals().list()?;
            let found = match id {
                None => removals.into_iter().next(),
                Some(id) => removals.into_iter().find(|removal| removal.id == id),
            };
            let mut removal = found.ok_or_else(|| none(id))?;
            inner.store.removals().measure(&mut removal)?;
            let warnings = inner.restore(&mut removal)?;
            Ok(Undone {
                removal: inner.view(removal),
                warnings,
            })
        })
        .await
    }

    /// Gives up what one removal keeps, or all. What was given up.
    pub async fn forget(&self, id: Option<u64>) -> Result<Vec<Undoable>> {
        let inner = self.0.clone();
        blocking(move || {
            let _busy = inner.busy();
            let mut removals = inner.store.removals().list()?;
            if let Some(id) = id {
                removals.retain(|removal| removal.id == id);
                if removals.is_empty() {
                    return Err(none(Some(id)));
                }
            }
            let mut forgotten = Vec::new();
            for mut removal in removals {
                inner.store.removals().measure(&mut removal)?;
                inner.store.removals().forget(&removal)?;
                forgotten.push(inner.view(removal));
            }
            Ok(forgotten)
        })
        .await
    }
}

fn none(id: Option<u64>) -> EngineError {
    EngineError::not_found(match id {
        Some(id) => format!("no removal {id} that can be undone: undo --list shows those there are"),
        None => "there is nothing to undo".to_owned(),
    })
}

impl Inner {
    fn busy(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Result<Vec<Undoable>> {
        let mut removals = self.store.removals().list()?;
        for removal in &mut removals {
            self.store.removals().measure(removal)?;
        }
        Ok(removals.into_iter().map(|removal| self.view(removal)).collect())
    }

    fn view(&self, removal: Removal) -> Undoable {
        let items = removal.items.into_iter().map(|item| UndoableItem {
            size: item.bytes(),
            name: item.name.unwrap_or_else(|| item.id.clone()),
            kind: item.kind,
            id: item.id,
        });
        Undoable {
            id: removal.id,
            at: removal.at,
            expires: removal.at.checked_add(self.window).unwrap_or(Timestamp::MAX),
            command: removal.command,
            items: items.collect(),
        }
    }

    /// Everything comes back or nothing does: obstacles are looked for first, and the journal moves all documents at once.
    fn restore(&self, removal: &mut Removal) -> Result<Vec<String>> {
        self.check(removal)?;
        let removal = &*removal;
        let of = |kind: &'static str| {
            let items = removal.items.iter();
            items.filter(move |item| item.kind == kind)
        };
        let mut made = Vec::new();
        let mut restored = Ok(());
        for item in of(networks::KIND) {
            match self.networks.prepare(&item.body) {
                Ok(record) => made.push(record),
                Err(error) => {
                    restored = Err(error);
                    break;
                }
            }
        }
        let mut reserved = Vec::new();
        let restored = restored.and_then(|()| {
            for item in of(containers::KIND) {
                let name = item.name.as_deref().unwrap_or(&item.id);
                self.containers.reserve(name, &item.id)?;
                reserved.push((name, item.id.as_str()));
            }
            let volumes = of(volumes::KIND).map(|item| item.body.as_str());
            let commit = || Ok(self.store.removals().restore(removal)?);
            self.volumes.restore(volumes, removal.id, commit)
        });
        if let Err(error) = restored {
            made.iter().for_each(|record| self.networks.abandon(record));
            for (name, id) in reserved {
                self.containers.release(name, id);
            }
            return Err(error);
        }
        for record in made {
            self.networks.adopt(record, removal.id);
        }
        for item in of(havre_store::IMAGE).chain(of(havre_store::TAG)) {
            let name = item.name.as_deref().unwrap_or(&item.id);
            let event = Event::new(EventType::Image, "tag", &item.id);
            let event = event.with("name", name).with("undo", removal.id);
            self.events.publish(event);
        }
        let mut warnings = Vec::new();
        for item in of(containers::KIND) {
            warnings.extend(self.containers.restored(&item.body, removal.id)?);
        }
        Ok(warnings)
    }

    /// Looks for what stands in the way, and puts documents into the form in which they come back.
    fn check(&self, removal: &mut Removal) -> Result<()> {
        let mut obstacles = Vec::new();
        for item in &mut removal.items {
            let name = item.name.as_deref().unwrap_or(&item.id);
            match item.kind.as_str() {
                containers::KIND => {
                    obstacles.extend(self.containers.obstacle(name));
                    item.body = Containers::body_to_restore(&item.body)?;
                }
                volumes::KIND => {
                    let taken = self.volumes.find(name).is_some();
                    obstacles.extend(
                        taken.then(|| {
                            format!("volume {name}: another volume has its name: remove that first")
                        }),
                    );
                }
                networks::KIND => obstacles.extend(self.networks.obstacle(&item.body)),
                havre_store::TAG => obstacles.extend(self.tag_taken(item)?),
                havre_store::IMAGE | havre_store::DIGEST => {}
                kind => obstacles.push(format!("{kind} {name}: this version cannot bring it back")),
            }
        }
        if !obstacles.is_empty() {
            return Err(EngineError::conflict(format!(
                "removal {} cannot be undone now: {}",
                removal.id,
                obstacles.join("; ")
            )));
        }
        Ok(())
    }

    /// The name of an image that another has by now.
    fn tag_taken(&self, item: &RemovedItem) -> Result<Option<String>> {
        let name = item.name.as_deref().unwrap_or(&item.id);
        let holder = self.store.meta().reference(&item.id)?;
        let other = holder.filter(|holder| havre_store::is_taken(item, holder));
        Ok(other.map(|other| {
            let other = other.image.short().to_owned();
            format!(
                "tag {name}: image {other} is called so: remove that tag, or tag that image otherwise, first"
            )
        }))
    }

    fn is_short(&self) -> bool {
        let space = self.store.removals().space();
        space.is_some_and(|(free, size)| free < SHORT.min(size / 20))
    }

    /// Gives up what may not be kept any longer. Until when the rest may, if there is any.
    fn settle(&self) -> Result<Option<Timestamp>> {
        let _busy = self.busy();
        let mut removals = self.store.removals().list()?;
        let mut kept = 0;
        for removal in &mut removals {
            self.store.removals().measure(removal)?;
            kept += removal.items.iter().map(RemovedItem::bytes).sum::<u64>();
        }
        let now = Timestamp::now();
        let mut count = removals.len();
        let mut free = self.store.removals().space().map_or(u64::MAX, |(free, _)| free);
        for removal in removals.iter().rev() {
            let age = now.duration_since(removal.at);
            let short = self.is_short();
            // A clock that was set back must not keep it for years.
            let old = age >= self.window || age < -self.window;
            // What is kept leaves at least as much free for what is new.
            if !(old || kept > self.quota.min(free) || short || count > MOST) {
                return Ok(Some(
                    removal.at.checked_add(self.window).unwrap_or(Timestamp::MAX),
                ));
            }
            tracing::debug!(removal = removal.id, old, short, "gives up a removal");
            self.store.removals().forget(removal)?;
            let size = removal.items.iter().map(RemovedItem::bytes).sum::<u64>();
            kept -= size;
            free = free.saturating_add(size);
            count -= 1;
            if short {
                // Deleting goes on in the background; whether it was enough shows when it is done.
                self.store.wait_for_trash();
            }
        }
        Ok(None)
    }
}

fn watch(inner: &Weak<Inner>, news: &News) {
    // What an earlier engine left is looked at first.
    let mut next = Some(Timestamp::MIN);
    loop {
        let told = news.wait(next.map(|_| TURN));
        let Some(inner) = inner.upgrade() else { return };
        let due = next.is_some_and(|next| Timestamp::now() >= next || inner.is_short());
        if !told && !due {
            continue;
        }
        // What was told is about to happen.
        std::thread::sleep(SOON);
        next = match inner.settle() {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "cannot give up what was removed");
                Some(Timestamp::now())
            }
        };
    }
}
