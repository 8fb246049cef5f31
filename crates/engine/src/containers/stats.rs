//! `stats`: what a container uses, once or every second.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::Stream;
use havre_runtime::{HostCpu, InterfaceStats, Stats};

use super::table::Container;
use super::{Containers, Inner};
use crate::Result;
use crate::error::blocking;

/// How far two readings of a stream lie apart.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often `stats` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsMode {
    /// Every second, until the container is removed.
    Stream,
    /// Once, with a reading of a second before to compare with.
    Pair,
    /// Once and at once, with nothing to compare with.
    OneShot,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct StatsView {
    pub id: String,
    /// With its leading slash.
    pub name: String,
    /// `None`: it does not run.
    pub now: Option<Reading>,
    /// The reading before, if there was one.
    pub before: Option<Reading>,
}

/// The counters of a container and its machine at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    pub container: Stats,
    pub host: HostCpu,
    /// Bytes the container may use at most: its limit, or the machine's memory.
    pub memory_limit: u64,
    pub networks: BTreeMap<String, InterfaceStats>,
}

/// Answers as they come.
pub type StatsStream = Pin<Box<dyn Stream<Item = Result<StatsView>> + Send>>;

impl Containers {
    /// The stream ends after the first answer unless it was asked for.
    pub async fn stats(&self, name: &str, mode: StatsMode) -> Result<StatsStream> {
        let container = self.find(name)?;
        let inner = self.0.clone();
        let begin = State {
            inner,
            container,
            before: None,
            next: None,
            ended: false,
        };
        Ok(Box::pin(futures_util::stream::unfold(begin, move |state| {
            state.step(mode)
        })))
    }
}

struct State {
    inner: Arc<Inner>,
    container: Arc<Container>,
    before: Option<Reading>,
    /// When to read next.
    next: Option<tokio::time::Instant>,
    ended: bool,
}

impl State {
    async fn step(mut self, mode: StatsMode) -> Option<(Result<StatsView>, Self)> {
        if self.ended {
            return None;
        }
        if mode == StatsMode::Pair && self.container.status().is_live() {
            match self.read().await {
                Ok(reading) => self.before = reading,
                Err(error) => return Some(self.fail(error)),
            }
            tokio::time::sleep(INTERVAL).await;
        }
        if let Some(next) = self.next {
            tokio::time::sleep_until(next).await;
            // A stream ends with its container.
            self.inner.table.get(&self.container.id)?;
        }
        let now = match self.read().await {
            Ok(now) => now,
            Err(error) => return Some(self.fail(error)),
        };
        self.ended = mode != StatsMode::Stream;
        // Readings that fell behind are not made up for.
        self.next = Some(tokio::time::Instant::now() + INTERVAL);
        let view = StatsView {
            id: self.container.id.clone(),
            name: format!("/{}", self.container.read().name),
            before: now.as_ref().and(self.before.take()),
            now: now.clone(),
        };
        self.before = now;
        Some((Ok(view), self))
    }

    fn fail(mut self, error: crate::EngineError) -> (Result<StatsView>, Self) {
        self.ended = true;
        (Err(error), self)
    }

    async fn read(&self) -> Result<Option<Reading>> {
        let (inner, container) = (self.inner.clone(), self.container.clone());
        blocking(move || read(&inner, &container)).await
    }
}

/// `None` if the container does not run, also when it ended meanwhile.
fn read(inner: &Inner, container: &Container) -> Result<Option<Reading>> {
    let pid = {
        let record = container.read();
        if !record.state.status.is_live() {
            return Ok(None);
        }
        record.state.pid
    };
    let host_network = container.read().host_config.network_mode == "host";
    let stats = inner.runtime.shim(&container.id).stats()?;
    let reading = Reading {
        memory_limit: stats.memory_limit.min(machine_memory()),
        host: HostCpu::now(),
        // The interfaces of the machine are not the container's.
        networks: match host_network {
            true => BTreeMap::new(),
            false => havre_runtime::interfaces(pid),
        },
        container: stats,
    };
    Ok(container.status().is_live().then_some(reading))
}

/// Bytes of memory of the machine.
fn machine_memory() -> u64 {
    static TOTAL: OnceLock<u64> = OnceLock::new();
    *TOTAL.get_or_init(|| {
        let text = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map_or(u64::MAX, |kib| kib << 10)
    })
}
