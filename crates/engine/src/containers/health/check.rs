//! What is to be probed, how and when: a container's `HEALTHCHECK` with its defaults filled in.

use std::time::Duration;

use super::HealthStatus;
use crate::containers::{Config, Healthcheck};
use crate::{EngineError, Result};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u64 = 3;

/// The shortest time that may be given.
const SHORTEST: Duration = Duration::from_millis(1);

/// What runs the line of a `CMD-SHELL` when the image names no shell.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A health check that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// The command line; empty for a `CMD` without words, which cannot be started.
    pub args: Vec<String>,
    /// From the end of one probe to the beginning of the next.
    pub interval: Duration,
    pub timeout: Duration,
    /// Failures so long after the start don't count, until a probe succeeds.
    pub start_period: Duration,
    /// Instead of `interval` within the start period, until a probe succeeds.
    pub start_interval: Duration,
    pub retries: u64,
}

impl Check {
    /// `None`: the container's health is nobody's business.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let asked = config.healthcheck.as_ref()?;
        let (kind, words) = asked.test.split_first()?;
        let args = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => {
                let shell = config.shell.clone().filter(|shell| !shell.is_empty());
                let mut args = shell.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
                args.extend_from_slice(words);
                args
            }
            "NONE" => return None,
            other => {
                tracing::debug!("unknown kind of health check {other:?}: CMD, CMD-SHELL and NONE are known");
                return None;
            }
        };
        Some(Check {
            args,
            interval: span(asked.interval, INTERVAL),
            timeout: span(asked.timeout, TIMEOUT),
            start_period: span(asked.start_period, Duration::ZERO),
            start_interval: span(asked.start_interval, START_INTERVAL),
            retries: u64::try_from(asked.retries)
                .ok()
                .filter(|retries| *retries > 0)
                .unwrap_or(RETRIES),
        })
    }

    /// How long the next probe waits, so long after the start.
    pub(super) fn pause(&self, since_start: Duration, status: HealthStatus) -> Duration {
        match status {
            HealthStatus::Starting if since_start < self.start_period => self.start_interval,
            _ => self.interval,
        }
    }
}

/// Users are refused times that are no times; those of an image are read as well as they can be.
fn span(nanoseconds: i64, default: Duration) -> Duration {
    match u64::try_from(nanoseconds) {
        Ok(0) | Err(_) => default,
        Ok(nanoseconds) => Duration::from_nanos(nanoseconds).max(SHORTEST),
    }
}

/// Refuses what a user cannot mean, in Docker's words.
pub(in crate::containers) fn validate(asked: Option<&Healthcheck>) -> Result<()> {
    let Some(asked) = asked else { return Ok(()) };
    for (name, nanoseconds) in [
        ("Interval", asked.interval),
        ("Timeout", asked.timeout),
        ("StartPeriod", asked.start_period),
        ("StartInterval", asked.start_interval),
    ] {
        if nanoseconds != 0 && i128::from(nanoseconds) < SHORTEST.as_nanos() as i128 {
            return Err(EngineError::invalid(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if asked.retries < 0 {
        return Err(EngineError::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(test: &[&str]) -> Config {
        Config {
            healthcheck: Some(Healthcheck {
                test: test.iter().map(|word| (*word).to_owned()).collect(),
                ..Healthcheck::default()
            }),
            ..Config::default()
        }
    }

    #[test]
    fn commands_and_shells() {
        let line = |config: &Config| Check::of(config).map(|check| check.args.join("|"));
        assert_eq!(line(&Config::default()), None);
        for none in [&[][..], &["NONE"], &["CURL", "x"]] {
            assert_eq!(line(&config(none)), None, "{none:?}");
        }
        assert_eq!(line(&config(&["CMD", "a", "b c"])).as_deref(), Some("a|b c"));
        let mut shell = config(&["CMD-SHELL", "a || b"]);
        assert_eq!(line(&shell).as_deref(), Some("/bin/sh|-c|a || b"));
        shell.shell = Some(vec!["/bin/bash".to_owned(), "-ec".to_owned()]);
        assert_eq!(line(&shell).as_deref(), Some("/bin/bash|-ec|a || b"));
    }

    #[test]
    fn defaults_are_dockers_and_an_image_may_say_nonsense() {
        let mut config = config(&["CMD", "true"]);
        let check = Check::of(&config).unwrap();
        let seconds = [
            check.interval,
            check.timeout,
            check.start_period,
            check.start_interval,
        ]
        .map(|span| span.as_secs());
        assert_eq!((seconds, check.retries), ([30, 30, 0, 5], 3));
        let asked = config.healthcheck.as_mut().unwrap();
        (asked.interval, asked.timeout, asked.retries) = (-5, 1, i64::MIN);
        let check = Check::of(&config).unwrap();
        assert_eq!(
            (check.interval, check.timeout, check.retries),
            (INTERVAL, SHORTEST, 3)
        );
    }

    #[test]
    fn the_start_interval_counts_until_the_first_success_or_the_end_of_the_period() {
        let mut config = config(&["CMD", "true"]);
        let asked = config.healthcheck.as_mut().unwrap();
        asked.start_period = 10_000_000_000;
        let check = Check::of(&config).unwrap();
        let pause = |second, status| check.pause(Duration::from_secs(second), status).as_secs();
        assert_eq!(pause(0, HealthStatus::Starting), 5);
        assert_eq!(pause(9, HealthStatus::Starting), 5);
        assert_eq!(pause(10, HealthStatus::Starting), 30);
        assert_eq!(pause(1, HealthStatus::Healthy), 30);
    }

    #[test]
    fn nonsense_of_users_is_refused() {
        let refused = |change: fn(&mut Healthcheck)| {
            let mut asked = Healthcheck::default();
            change(&mut asked);
            validate(Some(&asked)).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
        };
        assert_eq!(refused(|_| ()), "fine");
        assert_eq!(refused(|asked| asked.interval = 1_000_000), "fine");
        assert_eq!(
            refused(|asked| asked.interval = 999_999),
            "Interval in Healthcheck cannot be less than 1ms"
        );
        assert_eq!(
            refused(|asked| asked.timeout = -1),
            "Timeout in Healthcheck cannot be less than 1ms"
        );
        assert_eq!(
            refused(|asked| asked.start_period = 1),
            "StartPeriod in Healthcheck cannot be less than 1ms"
        );
        assert_eq!(
            refused(|asked| asked.start_interval = i64::MIN),
            "StartInterval in Healthcheck cannot be less than 1ms"
        );
        assert_eq!(
            refused(|asked| asked.retries = -1),
            "Retries in Healthcheck cannot be negative"
        );
    }
}
