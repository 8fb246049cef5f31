//! `health`: how it is looked whether storage and database answer.

use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, HealthCheck, duration, refuse};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Health {
    storagedriver: StorageDriver,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StorageDriver {
    enabled: bool,
    /// `10s`
    interval: Option<Value>,
    threshold: Option<u32>,
}

impl Health {
    pub(super) fn checked(self) -> Result<Option<HealthCheck>, ConfigError> {
        let driver = self.storagedriver;
        if !driver.enabled {
            return Ok(None);
        }
        let mut health = HealthCheck::default();
        health.threshold = driver.threshold.unwrap_or(health.threshold).max(1);
        if let Some(interval) = &driver.interval {
            match duration::read(interval) {
                Some(interval) if !interval.is_zero() => health.interval = interval,
                _ => {
                    let interval = duration::shown(interval);
                    return refuse("health.storagedriver.interval", &interval, "use 10s, 1m or 1h");
                }
            }
        }
        Ok(Some(health))
    }
}
