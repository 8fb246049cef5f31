//! The same request of many, made once.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

/// Nothing, if it ended without a value.
type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;

/// Requests under way, by what they ask for.
#[derive(Debug)]
pub(crate) struct Flights<K, V: Clone>(Arc<Mutex<HashMap<K, Flight<V>>>>);

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// What comes of the request that is under way, or of this one. It goes on when those who wait leave. Nothing, if it ended without
    /// a value: it panicked.
    pub(crate) async fn join<F>(&self, key: K, begin: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = {
            let mut flights = lock(&self.0);
            match flights.get(&key) {
                Some(flight) => flight.clone(),
                None => {
                    let landing = Landing {
                        flights: Arc::clone(&self.0),
                        key: key.clone(),
                    };
                    let request = begin();
                    let task = tokio::spawn(async move {
                        let _landing = landing;
                        request.await
                    });
                    let flight = task.map(Result::ok).boxed().shared();
                    flights.insert(key, flight.clone());
                    flight
                }
            }
        };
        flight.await
    }
}

fn lock<K, V: Clone>(flights: &Mutex<HashMap<K, Flight<V>>>) -> MutexGuard<'_, HashMap<K, Flight<V>>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From its end on a request is made anew.
struct Landing<K: Eq + Hash, V: Clone> {
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_for_the_same_ask_once() {
        let (flights, asked, go) = (
            Flights::default(),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Notify::new()),
        );
        let ask = || {
            let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
            flights.join("key", move || async move {
                go.notified().await;
                asked.fetch_add(1, Ordering::Relaxed) + 1
            })
        };
        // The one who began leaves.
        assert!(ask().now_or_never().is_none());
        let (first, second, ()) = tokio::join!(ask(), ask(), async { go.notify_one() });
        assert_eq!((first, second), (Some(1), Some(1)));
        go.notify_one();
        assert_eq!(ask().await, Some(2), "what ended is asked for again");
    }

    #[tokio::test]
    async fn a_request_that_panics_is_over() {
        let flights: Flights<u8, u8> = Flights::default();
        assert_eq!(
            flights
                .join(1, || async { panic!("as this test wants it") })
                .await,
            None
        );
        assert_eq!(flights.join(1, || async { 7 }).await, Some(7));
    }
}
