//! The service: what it is made of, and the ways onto blocking threads.

use std::sync::Arc;

use havre_registry_client::Client;
use havre_store::{Lease, Store};
use tokio::sync::Semaphore;

use crate::ImageError;
use crate::flight::Flights;

/// How much runs at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Blobs downloaded at once per pull (Docker's max-concurrent-downloads).
    pub downloads: usize,
    /// Blobs uploaded at once per push (Docker's max-concurrent-uploads).
    pub uploads: usize,
    /// Layers unpacked or compressed at once, over all calls.
    pub workers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Limits {
            downloads: 3,
            uploads: 5,
            workers: cores,
        }
    }
}

/// Images of one store; cheap to clone.
#[derive(Clone)]
pub struct ImageService {
    pub(crate) store: Arc<Store>,
    pub(crate) client: Client,
    pub(crate) limits: Limits,
    /// Layers being made, so that two calls don't make the same one.
    pub(crate) flights: Arc<Flights>,
    /// Permits of unpackers and compressors.
    pub(crate) workers: Arc<Semaphore>,
}

impl std::fmt::Debug for ImageService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageService")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl ImageService {
    /// With as many workers as cores, and Docker's numbers of transfers.
    pub fn new(store: Arc<Store>, client: Client) -> Self {
        Self::with_limits(store, client, Limits::default())
    }

    pub fn with_limits(store: Arc<Store>, client: Client, limits: Limits) -> Self {
        let workers = Arc::new(Semaphore::new(limits.workers.max(1)));
        ImageService {
            store,
            client,
            limits,
            flights: Arc::default(),
            workers,
        }
    }

    /// The registry client (login, search).
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Runs on a blocking thread.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T, ImageError>
    where
        T: Send + 'static,
        F: FnOnce(&ImageService) -> Result<T, ImageError> + Send + 'static,
    {
        let service = self.clone();
        tokio::task::spawn_blocking(move || work(&service))
            .await
            .map_err(|_| ImageError::Interrupted)?
    }

    /// Runs on a blocking thread as one of the few workers.
    pub(crate) async fn work<T, F>(&self, work: F) -> Result<T, ImageError>
    where
        T: Send + 'static,
        F: FnOnce(&ImageService) -> Result<T, ImageError> + Send + 'static,
    {
        let permit = Arc::clone(&self.workers)
            .acquire_owned()
            .await
            .map_err(|_| ImageError::Interrupted)?;
        self.blocking(move |service| {
            let _permit = permit;
            work(service)
        })
        .await
    }

    pub(crate) fn lease(&self) -> Lease {
        self.store.lease()
    }
}
