//! Times and durations in words.

use std::time::Duration;

use havre_engine::duration::human;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// `5 minutes ago` for seconds since 1970; `N/A` for no time.
pub(crate) fn ago(unix: i64) -> String {
    if unix <= 0 {
        return "N/A".to_owned();
    }
    let seconds = Timestamp::now().as_second().saturating_sub(unix);
    let span = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    format!("{} ago", human(span))
}

/// `2026-11-22 00:31:41 +0000 UTC` in local time.
pub(crate) fn local(unix: i64) -> String {
    zoned(unix).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// A time of the API in the form Go prints times: `2026-11-22 01:31:34.530815295 +0000 UTC`.
pub(crate) fn go_form(rfc3339: &str) -> String {
    let Ok(time) = rfc3339.parse::<Timestamp>() else {
        return rfc3339.to_owned();
    };
    let zoned = time.to_zoned(TimeZone::UTC);
    let fraction = format!("{:09}", time.subsec_nanosecond());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!(
        "{}{point}{fraction} +0000 UTC",
        zoned.strftime("%Y-%m-%d %H:%M:%S")
    )
}

/// RFC 3339 in local time.
pub(crate) fn rfc3339(unix: i64) -> String {
    let zoned = zoned(unix);
    if zoned.offset().seconds() == 0 {
        zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

fn zoned(unix: i64) -> Zoned {
    Timestamp::from_second(unix)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(TimeZone::system())
}

/// A point in time as `--since` and `--until` take it, in the API's form `seconds.nanoseconds`.
///
/// Understood: seconds since 1970, a duration back from now (`10m`, `1h30m`), RFC 3339, and local dates and times.
pub(crate) fn point(text: &str) -> Result<String, String> {
    let invalid =
        || format!("invalid time {text:?}: use RFC 3339, a duration such as 10m, or seconds since 1970");
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text
            .parse::<f64>()
            .map(|_| text.to_owned())
            .map_err(|_| invalid());
    }
    let shown = |time: Timestamp| format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
    if let Some(nanoseconds) = go_duration(text) {
        let past = Timestamp::now().as_nanosecond() - i128::from(nanoseconds);
        return Timestamp::from_nanosecond(past).map(shown).map_err(|_| invalid());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(shown(time));
    }
    let text = text.replace(' ', "T");
    text.parse::<jiff::civil::DateTime>()
        .or_else(|_| text.parse::<jiff::civil::Date>().map(|date| date.at(0, 0, 0, 0)))
        .or_else(|_| jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M", &text))
        .ok()
        .and_then(|local| local.to_zoned(TimeZone::system()).ok())
        .map(|zoned| shown(zoned.timestamp()))
        .ok_or_else(invalid)
}

/// A duration in Go's form (`1h15m30.5s`) in nanoseconds.
pub(crate) fn go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    if total >= i64::MAX as f64 {
        return None;
    }
    Some(if negative { -(total as i64) } else { total as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_past_and_times_as_go_prints_them() {
        let now = Timestamp::now().as_second();
        assert_eq!(ago(0), "N/A");
        assert_eq!(ago(now - 90), "About a minute ago");
        assert_eq!(ago(now + 90), "Less than a second ago", "a clock that is behind");
        assert_eq!(ago(i64::MAX), "Less than a second ago");
        assert_eq!(
            go_form("2026-11-22T01:31:34.5308Z"),
            "2026-11-22 01:31:34.5308 +0000 UTC"
        );
    }

    #[test]
    fn points_in_time() {
        assert_eq!(point("1700000000.5").unwrap(), "1700000000.5");
        assert_eq!(point("2023-11-14T22:13:20Z").unwrap(), "1700000000.000000000");
        assert_eq!(
            point("2023-11-14T23:13:20.25+01:00").unwrap(),
            "1700000000.250000000"
        );
        let now = Timestamp::now().as_second();
        let back: f64 = point("1m30s").unwrap().parse().unwrap();
        assert!((now as f64 - 90.0 - back).abs() < 5.0);
        assert!(point("2023-11-14").is_ok() && point("2023-11-14T10:00").is_ok());
        assert!(point("yesterday").is_err() && point("").is_err());
    }

    #[test]
    fn go_durations() {
        assert_eq!(go_duration("1h15m30.5s"), Some(4_530_500_000_000));
        assert_eq!(go_duration("300ms"), Some(300_000_000));
        assert_eq!(go_duration("5"), None);
        assert_eq!(go_duration("x"), None);
    }
}
