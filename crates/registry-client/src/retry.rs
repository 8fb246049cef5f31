//! How often and how patiently a request is repeated.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How often and how patiently a request is repeated.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Attempts in a row without progress before giving up; progress of a blob resets the count.
    pub attempts: u32,
    /// First pause; doubles with every attempt, with jitter of ±50 %.
    pub base: Duration,
    /// Longest pause, also for what `Retry-After` asks; a registry that asks for more is not asked again.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The same patience with fewer attempts.
    pub(crate) fn at_most(&self, attempts: u32) -> Self {
        RetryPolicy {
            attempts: self.attempts.min(attempts).max(1),
            ..self.clone()
        }
    }

    /// The pause after failed attempt number `failed` (from 1); `None` when it was the last one, or when the registry
    /// wants a longer pause than is reasonable.
    pub(crate) fn pause(&self, failed: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        if let Some(asked) = retry_after {
            return (asked <= self.cap).then_some(asked);
        }
        let doubled = self.base.saturating_mul(1 << (failed - 1).min(16)).min(self.cap);
        Some(doubled.mul_f64(rand::random_range(0.5..1.5)).min(self.cap))
    }
}

/// Whether the same request may succeed in a moment.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After`: seconds or an HTTP date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // A wrong weekday doesn't make the date wrong.
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let at = parser.parse_zoned(value).ok()?.timestamp();
    let seconds = at.as_second().saturating_sub(Timestamp::now().as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn retry_after_forms() {
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(after("Sun, 06 Nov 2094 08:49:37 GMT").unwrap() > Duration::from_secs(1_000_000));
        assert_eq!(after("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn pauses_grow_and_end() {
        let policy = RetryPolicy {
            attempts: 4,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(3),
        };
        for (failed, low, high) in [(1, 0.5, 1.5), (2, 1.0, 3.0), (3, 1.5, 3.0)] {
            let pause = policy.pause(failed, None).unwrap().as_secs_f64();
            assert!((low..=high).contains(&pause), "{failed}: {pause}");
        }
        assert_eq!(policy.pause(4, None), None);
        assert_eq!(
            policy.pause(1, Some(Duration::from_secs(2))),
            Some(Duration::from_secs(2))
        );
        assert_eq!(policy.pause(1, Some(Duration::from_secs(3600))), None);
    }
}
