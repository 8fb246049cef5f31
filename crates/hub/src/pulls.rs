//! How often what is pulled, and how often somebody may. Counted in memory; [`Hub::write_pulls`] adds it to the database in one
//! transaction, so a pull waits for nothing. A crash loses what was counted since.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use havre_database::now;
use havre_oci::Digest;
use havre_registry_store::RepositoryName;

use crate::repositories::ensure;
use crate::{Actor, Hub, Result};

/// What limits are counted over.
const WINDOW: Duration = Duration::from_secs(3600);
/// Callers that are counted at once; those whose hour is over go first.
const MOST: usize = 100_000;

/// Counted since it was last written.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    waiting: Mutex<HashMap<(RepositoryName, Digest), (i64, i64)>>,
    callers: Mutex<HashMap<String, (Instant, u32)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a caller stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Pulls in the window.
    pub limit: u32,
    pub remaining: u32,
    /// Until there are more.
    pub wait: Duration,
    /// Whether this one is too many.
    pub exceeded: bool,
    pub window: Duration,
}

impl Hub {
    /// Counts a pull towards the limit of who pulls, by account or else by address; nothing where there is no limit.
    pub fn allowance(&self, actor: &Actor) -> Option<Allowance> {
        let settings = self.settings();
        let (who, limit) = match actor.name() {
            Some(name) => (format!("account {name}"), settings.account_pulls?),
            None => (network(actor.address?), settings.anonymous_pulls?),
        };
        let mut callers = lock(&self.0.pulls.callers);
        if callers.len() >= MOST && !callers.contains_key(&who) {
            callers.retain(|_, (since, _)| since.elapsed() < WINDOW);
            if callers.len() >= MOST {
                callers.clear();
            }
        }
        let (since, count) = callers.entry(who).or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        let exceeded = *count >= limit;
        if !exceeded {
            *count += 1;
        }
        Some(Allowance {
            limit,
            remaining: limit - *count,
            wait: WINDOW.saturating_sub(since.elapsed()),
            exceeded,
            window: WINDOW,
        })
    }

    /// Notes that a manifest was pulled.
    pub fn pulled(&self, name: &RepositoryName, digest: &Digest) {
        let mut waiting = lock(&self.0.pulls.waiting);
        let (count, last) = waiting.entry((name.clone(), digest.clone())).or_default();
        *count += 1;
        *last = now();
    }

    /// Adds what was counted to the database. Called every few seconds and at the end.
    pub fn write_pulls(&self) -> Result<()> {
        let counted = std::mem::take(&mut *lock(&self.0.pulls.waiting));
        if counted.is_empty() {
            return Ok(());
        }
        // In one order everywhere, so that two processes never wait for each other.
        let mut sorted: Vec<_> = counted.iter().collect();
        sorted.sort_by_key(|((name, digest), _)| (name, digest.as_str()));
        let written = self.writing(|connection| {
            for &((name, digest), (count, last)) in &sorted {
                ensure(connection, name, false)?;
                connection.execute(
                    "INSERT INTO pulls (repository, digest, count, pulled) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (repository, digest) DO UPDATE
                     SET count = pulls.count + excluded.count, pulled = excluded.pulled",
                    &[
                        name.as_str().into(),
                        digest.into(),
                        (*count).into(),
                        (*last).into(),
                    ],
                )?;
                connection.execute(
                    "UPDATE repository_settings SET pulls = pulls + $1, pulled = $2 WHERE repository = $3",
                    &[(*count).into(), (*last).into(), name.as_str().into()],
                )?;
            }
            Ok(())
        });
        if written.is_err() {
            // They count the next time.
            let mut waiting = lock(&self.0.pulls.waiting);
            for (key, (count, last)) in counted {
                let entry = waiting.entry(key).or_default();
                entry.0 += count;
                entry.1 = entry.1.max(last);
            }
        }
        written
    }
}

/// What an address is counted by: who has one of IPv6 has 2^64 of them.
pub(crate) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("address {address}"),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("address {a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}
