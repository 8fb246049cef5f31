//! The builder: one build from request to image.

use std::sync::Arc;

use havre_image::ImageService;
use havre_oci::{Digest, Reference};
use havre_store::Store;
use tokio::sync::mpsc;

use crate::error::BuildError;
use crate::event::BuildEvent;
use crate::executor::Executor;
use crate::fetch::Fetcher;
use crate::request::BuildRequest;

/// A finished build.
#[derive(Debug, Clone)]
pub struct Built {
    /// Image id (config digest).
    pub id: Digest,
    pub tags: Vec<Reference>,
}

/// Builds images from Dockerfiles. Cheap to share; any number of builds at the same time.
pub struct Builder {
    store: Arc<Store>,
    images: Arc<ImageService>,
    executor: Arc<dyn Executor>,
    fetcher: Option<Arc<dyn Fetcher>>,
}

impl Builder {
    pub fn new(store: Arc<Store>, images: Arc<ImageService>, executor: Arc<dyn Executor>) -> Self {
        Builder { store, images, executor, fetcher: None }
    }

    /// Replaces the built-in HTTP client of `ADD url`.
    pub fn with_fetcher(mut self, fetcher: Arc<dyn Fetcher>) -> Self {
        self.fetcher = Some(fetcher);
        self
    }

    /// Carries the request out. Events go to `events` in order; a closed channel does not stop the build.
    pub async fn build(
        &self,
        request: BuildRequest,
        events: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildError> {
        let _ = (&self.store, &self.images, &self.executor, &self.fetcher, request, events);
        todo!()
    }
}
