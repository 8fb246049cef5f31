//! Builds, with containers as the executor of RUN.

mod executor;
mod idle;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use havre_build::context::{self, Context};
use havre_build::{BuildError, BuildEvent, BuildRequest, Builder, Built, ContextError};
use havre_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use executor::RunExecutor;

use crate::error::blocking;
use crate::{EngineError, Event, EventType, Events, Filters, Result};

/// The build service.
#[derive(Clone)]
pub struct Builds {
    builder: Arc<Builder>,
    store: Arc<Store>,
    events: Events,
    scratch: PathBuf,
    activity: Arc<idle::Activity>,
    ending: CancellationToken,
}

/// What pruning the build cache removed.
#[derive(Debug, Clone, Default)]
pub struct CachePruned {
    pub ids: Vec<String>,
    pub reclaimed: u64,
}

impl Builds {
    pub(crate) fn new(
        builder: Builder,
        store: Arc<Store>,
        events: Events,
        scratch: PathBuf,
        handle: tokio::runtime::Handle,
    ) -> Self {
        Builds {
            activity: idle::Activity::new(&store, handle),
            ending: CancellationToken::new(),
            builder: Arc::new(builder),
            store,
            events,
            scratch,
        }
    }

    /// Takes the tar of a build context from a client. Blocking.
    pub fn receive(&self, tar: impl Read + Send) -> Result<Context, ContextError> {
        context::receive(tar, &self.store, &self.scratch, &context::Limits::default())
    }

    /// Ends all builds, as if their clients had gone: nobody takes them over.
    pub fn cancel_all(&self) {
        self.ending.cancel();
    }

    /// Carries a build out; see [`Builder::build`]. The error knows its kind, exit code and excerpt.
    pub async fn build(
        &self,
        request: BuildRequest,
        events: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildError> {
        let busy = self.activity.enter();
        let (ending, cancel) = (self.ending.clone(), request.cancel.clone());
        let _ended = request.cancel.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! {
                () = ending.cancelled() => cancel.cancel(),
                () = cancel.cancelled() => {}
            }
        });
        let built = self.builder.build(request, events).await?;
        drop(busy);
        self.events
            .publish(Event::new(EventType::Builder, "build", built.id.to_string()));
        for tag in &built.tags {
            let tagged = Event::new(EventType::Image, "tag", built.id.to_string());
            self.events.publish(tagged.with("name", tag.familiar()));
        }
        Ok(built)
    }

    /// Forgets build cache records and frees what only they held, least recently used first, until no more than
    /// `keep_storage` bytes are left. Without `all`, records of steps that images consist of stay. Builds in progress hold
    /// what they use. Filters: `until`, `unused-for`, `id`.
    pub async fn prune_cache(&self, all: bool, keep_storage: u64, filters: Filters) -> Result<CachePruned> {
        let chosen = prunable(self.store.clone(), all, keep_storage, filters).await?;
        let (store, events) = (self.store.clone(), self.events.clone());
        blocking(move || {
            let mut pruned = CachePruned::default();
            for key in chosen {
                if store.meta().cache_delete(&key)? {
                    pruned.ids.push(key);
                }
            }
            pruned.reclaimed = store.collect()?.bytes;
            events.publish(Event::new(EventType::Builder, "prune", "").with("reclaimed", pruned.reclaimed));
            Ok::<_, EngineError>(pruned)
        })
        .await
    }
}

/// The keys of the records that [`Builds::prune_cache`] forgets.
pub(crate) async fn prunable(
    store: Arc<Store>,
    all: bool,
    keep_storage: u64,
    filters: Filters,
) -> Result<Vec<String>> {
    filters.only(&["until", "unused-for", "id"])?;
    let before = ["until", "unused-for"]
        .into_iter()
        .find_map(|key| filters.values(key).next());
    let before = before.map(crate::containers::point_in_time).transpose()?;
    blocking(move || {
        let records = store.meta().cache_list()?;
        let in_images = layers_of_images(&store)?;
        let mut left: u64 = records.iter().map(|entry| entry.record.size).sum();
        let mut chosen = Vec::new();
        for entry in records {
            let made = entry.record.layers.last();
            let fits = before.is_none_or(|before| entry.last_used < before)
                && filters.any("id", |prefix| entry.key.starts_with(prefix))
                && (all || made.is_none_or(|layer| !in_images.contains(layer)));
            if !fits || left <= keep_storage && keep_storage > 0 {
                continue;
            }
            left -= entry.record.size;
            chosen.push(entry.key);
        }
        Ok(chosen)
    })
    .await
}

/// Every layer that an image consists of.
pub(crate) fn layers_of_images(store: &Store) -> Result<std::collections::BTreeSet<havre_oci::Digest>> {
    Ok(store
        .meta()
        .images()?
        .into_iter()
        .flat_map(|image| image.layers)
        .collect())
}
