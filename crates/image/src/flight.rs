//! One maker per layer: whoever needs a layer that is being made waits for it, and shows its progress.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use havre_oci::Digest;
use tokio::sync::{OwnedMutexGuard, watch};

/// What happens to the layer at the moment: status, and bytes done and total.
pub(crate) type Stage = (&'static str, Option<(u64, u64)>);

/// Layers being made.
#[derive(Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<Digest, Arc<Flight>>>,
}

struct Flight {
    turn: Arc<tokio::sync::Mutex<()>>,
    stage: watch::Sender<Stage>,
}

/// The right to make a layer; others wait until it is dropped.
pub(crate) struct Turn {
    flights: Arc<Flights>,
    digest: Digest,
    flight: Option<Arc<Flight>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Waits for the right to make `digest`; `watching` is told what the present maker does.
    pub(crate) async fn enter(self: &Arc<Self>, digest: &Digest, mut watching: impl FnMut(Stage)) -> Turn {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            let flight = flights.entry(digest.clone()).or_insert_with(|| {
                Arc::new(Flight {
                    turn: Arc::default(),
                    stage: watch::Sender::new(("Waiting", None)),
                })
            });
            Arc::clone(flight)
        };
        // From here on dropping (also by cancellation) takes the entry out again when nobody else is left.
        let mut stages = flight.stage.subscribe();
        let lock = Arc::clone(&flight.turn).lock_owned();
        let mut turn = Turn {
            flights: Arc::clone(self),
            digest: digest.clone(),
            flight: Some(flight),
            guard: None,
        };
        tokio::pin!(lock);
        let guard = loop {
            tokio::select! {
                biased;
                guard = &mut lock => break guard,
                changed = stages.changed() => if changed.is_ok() {
                    let stage = *stages.borrow_and_update();
                    watching(stage);
                },
            }
        };
        turn.guard = Some(guard);
        turn
    }
}

impl Turn {
    /// Tells those who wait.
    pub(crate) fn show(&self, stage: Stage) {
        if let Some(flight) = &self.flight {
            flight.stage.send_replace(stage);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut flights = self
            .flights
            .flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.flight = None;
        if flights
            .get(&self.digest)
            .is_some_and(|flight| Arc::strong_count(flight) == 1)
        {
            flights.remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_others_watch() {
        let flights = Arc::new(Flights::default());
        let digest = Digest::sha256_of(b"layer");
        let first = flights.enter(&digest, |_| panic!("nobody to watch")).await;
        let waiter = {
            let (flights, digest) = (Arc::clone(&flights), digest.clone());
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let turn = flights.enter(&digest, |stage| seen.push(stage)).await;
                drop(turn);
                seen
            })
        };
        tokio::task::yield_now().await;
        first.show(("Downloading", Some((1, 2))));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(!waiter.is_finished());
        drop(first);
        assert_eq!(waiter.await.unwrap(), [("Downloading", Some((1, 2)))]);
        assert!(flights.flights.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn cancelled_waiters_leave_nothing() {
        let flights = Arc::new(Flights::default());
        let digest = Digest::sha256_of(b"layer");
        let first = flights.enter(&digest, |_| {}).await;
        let waiting = flights.enter(&digest, |_| {});
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(10), waiting)
                .await
                .is_err()
        );
        drop(first);
        assert!(flights.flights.lock().unwrap().is_empty());
    }
}
