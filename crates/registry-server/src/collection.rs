//! What nobody needs is taken away from time to time.

use std::sync::Arc;
use std::time::Duration;

use crate::Server;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(3600);

/// Goes on until it is dropped.
pub(crate) async fn collect(server: Arc<Server>) {
    let mut turns = tokio::time::interval(EVERY);
    loop {
        turns.tick().await;
        let (store, patience) = (server.store.clone(), server.patience);
        match tokio::task::spawn_blocking(move || store.collect(patience)).await {
            Ok(Ok(collected)) if collected != Default::default() => tracing::info!(
                blobs = collected.blobs.len(),
                uploads = collected.uploads.len(),
                bytes = collected.bytes(),
                "took away what nobody needed"
            ),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "what nobody needs was not taken away"),
            Err(error) => tracing::error!(%error, "what nobody needs was not taken away"),
        }
    }
}
