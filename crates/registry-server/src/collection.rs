//! What nobody needs is taken away from time to time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use havre_hub::{Hub, HubError};

use crate::Server;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(3600);
/// How often pulls are written down.
const WRITTEN: Duration = Duration::from_secs(5);
/// How often policies may be due.
const DUE: Duration = Duration::from_secs(60);

/// Goes on until it is dropped.
pub(crate) async fn collect(server: Arc<Server>) {
    let mut turns = tokio::time::interval(EVERY);
    loop {
        turns.tick().await;
        let (store, caches, patience) = (server.store.clone(), server.caches.clone(), server.patience);
        let collect = move || {
            let expired = caches.expire()?;
            if !expired.is_empty() {
                tracing::info!(manifests = expired.len(), "let go what nobody pulled from caches");
            }
            store.collect(patience)
        };
        match tokio::task::spawn_blocking(collect).await {
            Ok(Ok(collected)) if collected != Default::default() => tracing::info!(
                manifests = collected.manifests.len(),
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

/// Writes pulls down, runs what policies are due, removes what has ended. Goes on until it is dropped.
pub(crate) async fn keep_hub(hub: Hub) {
    let mut turns = tokio::time::interval(WRITTEN);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looked: Option<Instant> = None;
    loop {
        turns.tick().await;
        let due = looked.is_none_or(|at| at.elapsed() >= DUE);
        if due {
            looked = Some(Instant::now());
        }
        let hub = hub.clone();
        let kept = tokio::task::spawn_blocking(move || {
            hub.write_pulls()?;
            if due {
                hub.tidy()?;
                for plan in hub.run_due_policies()? {
                    if !plan.tags.is_empty() {
                        tracing::info!(repository = %plan.repository, tags = plan.tags.len(), "retention took tags away");
                    }
                }
            }
            Ok::<_, HubError>(())
        });
        match kept.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what people said and did was not written down"),
            Err(error) => tracing::error!(%error, "what people said and did was not written down"),
        }
    }
}
