use std::sync::Arc;

use havre_registry_client::Client;
use havre_store::Store;

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
}

impl ImageService {
    pub fn new(store: Arc<Store>, client: Client) -> Self {
        Self::with_limits(store, client, Limits::default())
    }

    pub fn with_limits(store: Arc<Store>, client: Client, limits: Limits) -> Self {
        ImageService {
            store,
            client,
            limits,
        }
    }

    /// The registry client (login, search).
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
