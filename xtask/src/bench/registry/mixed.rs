//! What a registry sees on a working day: many pulls, a push now and then, all at once.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Wire, push_blob, tag};
use crate::Outcome;

/// Connections at once.
const CLIENTS: u64 = 8;
/// Requests of each.
const EACH: u64 = 1500;

/// How long requests took.
pub(super) struct Latencies {
    /// Until all were answered.
    pub(super) all: Duration,
    pub(super) median: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
}

/// Of a hundred requests three push a blob and a tag, ten ask whether a manifest is there, thirty get a blob of 64 KiB, the
/// others get a manifest.
pub(super) fn load(port: u16, blob: &str, manifest: &[u8]) -> Outcome<Latencies> {
    let started = Instant::now();
    let took: Vec<Vec<Duration>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || requests(client, port, blob, manifest).map_err(|error| error.to_string()))
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().map_err(|_| "a client panicked".to_owned())?)
            .collect::<Result<_, String>>()
    })?;
    let all = started.elapsed();
    let mut took: Vec<Duration> = took.into_iter().flatten().collect();
    took.sort_unstable();
    let part = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    Ok(Latencies {
        all,
        median: part(0.5),
        p99: part(0.99),
        p999: part(0.999),
    })
}

fn requests(client: u64, port: u16, blob: &str, manifest: &[u8]) -> Outcome<Vec<Duration>> {
    let mut wire = Wire::open(port)?;
    let mut took = Vec::new();
    for number in 0..EACH {
        let started = Instant::now();
        match (number * 37 + client * 11) % 100 {
            0..3 => {
                push_blob(&mut wire, "app", &(client << 32 | number).to_le_bytes())?;
                // One of its own: of a manifest that is pushed again docker-registry writes the link anew, and answers those who
                // read it in that moment with 500.
                let name = format!("mixed-{client}-{number}");
                let mut manifest: serde_json::Value = serde_json::from_slice(manifest)?;
                manifest["annotations"] = serde_json::json!({ "for": name });
                tag(&mut wire, "app", &name, manifest.to_string().as_bytes())?;
            }
            3..13 => drop(wire.ask("HEAD", "/v2/app/manifests/1", "", b"")?.is(200)?),
            13..43 => drop(wire.ask("GET", blob, "", b"")?.is(200)?),
            _ => drop(wire.ask("GET", "/v2/app/manifests/1", "", b"")?.is(200)?),
        }
        took.push(started.elapsed());
    }
    Ok(took)
}
