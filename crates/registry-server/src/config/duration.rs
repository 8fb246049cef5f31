//! Spans of time, of which a registry's configuration has one unit each.

use std::time::Duration;

use serde_json::Value;

/// `168h`, `5m`, `30s`, or 0.
pub(super) fn read(value: &Value) -> Option<Duration> {
    let text = shown(value);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let unit = text.chars().last()?;
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    Some(Duration::from_secs(u64::from(number) * seconds))
}

/// As it was written.
pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
