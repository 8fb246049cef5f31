//! What is known of a container's health, and how one more probe changes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::check::Check;

/// Probes that are remembered.
const REMEMBERED: usize = 5;

/// `State.Health`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub status: HealthStatus,
    /// Failures in a row; those of the start period don't count.
    pub failing_streak: u64,
    /// The last five probes, the latest at the end.
    pub log: Vec<HealthProbe>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No probe has succeeded since the start, and not too many have failed.
    Starting,
    Healthy,
    /// Also while nothing probes: paused or not running.
    Unhealthy,
}

/// One probe that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthProbe {
    pub start: Timestamp,
    pub end: Timestamp,
    /// 0 is healthy; -1: it could not be started or took too long.
    pub exit_code: i64,
    /// The first 4096 bytes, with `...` behind them when there was more.
    pub output: String,
}

impl HealthStatus {
    /// As Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

impl Health {
    pub(super) fn new() -> Self {
        Health {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: Vec::new(),
        }
    }

    /// The container starts: what earlier probes said stays to be read, but counts no more.
    pub(super) fn restart(&mut self) {
        self.status = HealthStatus::Starting;
        self.failing_streak = 0;
    }

    /// Takes a probe into account; true if that changes the status.
    pub(super) fn note(&mut self, check: &Check, started: Option<Timestamp>, probe: HealthProbe) -> bool {
        let before = self.status;
        if probe.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || !within_start_period(check, started, &probe) {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() >= REMEMBERED {
            self.log.drain(..=self.log.len() - REMEMBERED);
        }
        self.log.push(probe);
        self.status != before
    }
}

fn within_start_period(check: &Check, started: Option<Timestamp>, probe: &HealthProbe) -> bool {
    let since = started.map(|started| probe.start.duration_since(started));
    since.is_some_and(|since| {
        // A clock that was set back: it has just started.
        std::time::Duration::try_from(since).unwrap_or_default() < check.start_period
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn check(retries: u64, start_period: u64) -> Check {
        Check {
            args: vec!["true".to_owned()],
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            start_period: Duration::from_secs(start_period),
            start_interval: Duration::from_secs(1),
            retries,
        }
    }

    fn probe(second: i64, exit_code: i64) -> HealthProbe {
        let at = Timestamp::from_second(second).unwrap();
        HealthProbe {
            start: at,
            end: at,
            exit_code,
            output: second.to_string(),
        }
    }

    /// The status after each probe of a container that started at second 0; one probe a second.
    fn course(check: &Check, codes: &[i64]) -> String {
        let mut health = Health::new();
        let steps = codes.iter().enumerate().map(|(at, code)| {
            health.note(check, Some(Timestamp::UNIX_EPOCH), probe(at as i64 + 1, *code));
            let letter = &health.status.as_str()[..1];
            format!("{letter}{}", health.failing_streak)
        });
        steps.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy() {
        assert_eq!(course(&check(3, 0), &[1, 1, 1, 1, 0]), "s1 s2 u3 u4 h0");
        assert_eq!(course(&check(2, 0), &[0, 1, 0, -1, 127, 0]), "h0 h1 h0 h1 u2 h0");
        assert_eq!(course(&check(1, 0), &[1]), "u1");
    }

    #[test]
    fn failures_within_the_start_period_do_not_count() {
        assert_eq!(course(&check(2, 4), &[1, 1, 1, 1, 1]), "s0 s0 s0 s1 u2");
        // One success ends the patience.
        assert_eq!(course(&check(2, 100), &[1, 0, 1, 1]), "s0 h0 h1 u2");
    }

    #[test]
    fn a_restart_begins_anew_and_forgets_nothing() {
        let mut health = Health::new();
        for second in 0..7 {
            health.note(&check(3, 0), None, probe(second, 1));
        }
        let kept: Vec<_> = health.log.iter().map(|probe| probe.output.as_str()).collect();
        assert_eq!(kept, ["2", "3", "4", "5", "6"]);
        health.restart();
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Starting, 0)
        );
        assert_eq!(health.log.len(), 5);
    }

    proptest! {
        /// Whatever probes say: the log is bounded, and the status is what the last of them mean.
        #[test]
        fn the_last_probes_decide(codes in proptest::collection::vec(0i64..3, 1..40), retries in 1u64..5) {
            let check = check(retries, 0);
            let mut health = Health::new();
            let mut changes = 0;
            let mut statuses = vec![health.status];
            for (at, code) in codes.iter().enumerate() {
                changes += usize::from(health.note(&check, None, probe(at as i64, *code)));
                statuses.push(health.status);
            }
            let streak = codes.iter().rev().take_while(|code| **code != 0).count() as u64;
            prop_assert_eq!(health.failing_streak, streak);
            prop_assert!(health.log.len() <= REMEMBERED);
            prop_assert_eq!(changes, statuses.windows(2).filter(|pair| pair[0] != pair[1]).count());
            let expected = match streak {
                0 => HealthStatus::Healthy,
                _ if streak >= retries => HealthStatus::Unhealthy,
                _ if codes.contains(&0) && health.status == HealthStatus::Healthy => HealthStatus::Healthy,
                // After a first success it is never `starting` again; before, a few failures leave it so.
                _ if codes.contains(&0) => HealthStatus::Unhealthy,
                _ => HealthStatus::Starting,
            };
            prop_assert_eq!(health.status, expected);
        }
    }
}
