use std::time::Duration;

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
