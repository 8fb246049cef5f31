//! The service: what it is made of, and the ways onto blocking threads.

use std::sync::Arc;
use std::time::Duration;

use havre_oci::compression::Pool;
use havre_oci::{Algorithm, Digest};
use havre_registry_client::Client;
use havre_store::{Lease, Store, StoreError};
use tokio::sync::Semaphore;

use crate::ImageError;
use crate::flight::Flights;
use crate::labels::LabelCache;
use crate::options::{KeepCompressed, Limits, Options, Packing};

/// Images of one store; cheap to clone.
#[derive(Clone)]
pub struct ImageService {
    pub(crate) store: Arc<Store>,
    pub(crate) client: Client,
    pub(crate) limits: Limits,
    pub(crate) keep: KeepCompressed,
    pub(crate) packing: Packing,
    /// Layers being made, so that two calls don't make the same one.
    pub(crate) flights: Arc<Flights>,
    /// Permits of unpackers.
    pub(crate) workers: Arc<Semaphore>,
    /// Threads that compress.
    pub(crate) packers: Pool,
    pub(crate) labels: Arc<LabelCache>,
}

impl std::fmt::Debug for ImageService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageService")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl ImageService {
    /// With as many workers as cores, Docker's numbers of transfers, and no compressed layers kept.
    pub fn new(store: Arc<Store>, client: Client) -> Self {
        Self::with_options(store, client, Options::default())
    }

    /// As configured. Compressed layers beyond what is to be kept are dropped.
    pub fn with_options(store: Arc<Store>, client: Client, options: Options) -> Self {
        let Options {
            limits,
            keep,
            packing,
        } = options;
        let workers = limits.workers.max(1);
        let service = ImageService {
            store,
            client,
            limits,
            keep,
            packing,
            flights: Arc::default(),
            workers: Arc::new(Semaphore::new(workers)),
            packers: Pool::new(workers),
            labels: Arc::default(),
        };
        if let Err(error) = service.settle_compressed() {
            tracing::warn!(%error, "cannot drop compressed layers");
        }
        service
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

    /// Whether a layer's blob can be had: kept, or the uncompressed archive of a layer that is here.
    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.store.content().contains(digest)
            || self
                .store
                .layers()
                .find(digest)
                .is_ok_and(|layer| layer.is_some())
    }

    /// Stores a small document under the digest it is known by. Several calls may do so at once.
    pub(crate) fn put_named(&self, digest: &Digest, bytes: &[u8], lease: &Lease) -> Result<(), ImageError> {
        let content = self.store.content();
        lease.hold(digest);
        if content.contains(digest) {
            return Ok(());
        }
        if digest.algorithm() == Algorithm::Sha256 {
            let actual = content.put(bytes, lease)?;
            let expected = digest.clone();
            return if actual == expected {
                Ok(())
            } else {
                Err(StoreError::DigestMismatch { expected, actual }.into())
            };
        }
        loop {
            match content.ingest(digest, Some(bytes.len() as u64), lease) {
                Ok(mut ingest) => {
                    ingest.restart()?;
                    ingest.write_all(bytes)?;
                    return Ok(ingest.commit()?);
                }
                Err(StoreError::IngestBusy { .. }) if !content.contains(digest) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(StoreError::IngestBusy { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
