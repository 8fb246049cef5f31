//! Builds, with containers as the executor of RUN.

use havre_build::{BuildError, BuildEvent, BuildRequest, Builder, Built};
use tokio::sync::mpsc;

use crate::{Event, EventType, Events, Filters, Result};

/// The build service.
#[derive(Clone)]
pub struct Builds {
    builder: std::sync::Arc<Builder>,
    events: Events,
    scratch: std::path::PathBuf,
}

/// What pruning the build cache removed.
#[derive(Debug, Clone, Default)]
pub struct CachePruned {
    pub ids: Vec<String>,
    pub reclaimed: u64,
}

#[allow(clippy::todo, unused_variables)]
impl Builds {
    /// Where build contexts are unpacked: on the store's file system, emptied when an engine starts.
    pub fn scratch(&self) -> &std::path::Path {
        &self.scratch
    }

    /// Carries a build out; see [`Builder::build`]. The error knows its kind, exit code and excerpt.
    pub async fn build(
        &self,
        request: BuildRequest,
        events: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildError> {
        let built = self.builder.build(request, events).await?;
        self.events
            .publish(Event::new(EventType::Builder, "build", built.id.to_string()));
        Ok(built)
    }

    /// Forgets build cache records and frees what only they held. Filters: `until`, `id`, `unused-for`.
    pub async fn prune_cache(&self, all: bool, keep_storage: u64, filters: Filters) -> Result<CachePruned> {
        todo!()
    }
}
