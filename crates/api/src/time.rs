//! Moments in requests and answers, as Go writes them.

use jiff::{SignedDuration, Timestamp};

use crate::error::ApiError;

/// Go's zero time: "never".
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 with as many digits of the second as needed.
pub(crate) fn or_never(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

/// Reads `seconds[.fraction]` since 1970, RFC 3339, or a span such as `1h30m` that lies in the past. Empty and `0` mean
/// none was given.
pub(crate) fn parse(key: &str, text: &str) -> Result<Option<Timestamp>, ApiError> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let time = unix(text)
        .or_else(|| text.parse().ok())
        .or_else(|| Timestamp::now().checked_sub(span(text)?).ok());
    match time {
        Some(time) => Ok(Some(time)),
        None => Err(ApiError::bad_request(format!(
            "invalid value for \"{key}\": failed to parse value as time or duration: {text:?}"
        ))),
    }
}

fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds.strip_prefix('-').unwrap_or(seconds)) || !digits(fraction) {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let seconds: i64 = seconds.parse().ok()?;
    Timestamp::new(seconds, if seconds < 0 { -nanos } else { nanos }).ok()
}

/// Go's form of a span: `1h`, `15m30.5s`, `250ms`.
pub(crate) fn span(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut total = SignedDuration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_len);
        let unit_len = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let seconds = number.parse::<f64>().ok()? * scale;
        total = total.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let at = |text| parse("since", text).unwrap().unwrap();
        assert_eq!(at("1700000000"), Timestamp::new(1_700_000_000, 0).unwrap());
        assert_eq!(
            at("1700000000.000000001"),
            Timestamp::new(1_700_000_000, 1).unwrap()
        );
        assert_eq!(
            at("1700000000.5"),
            Timestamp::new(1_700_000_000, 500_000_000).unwrap()
        );
        assert_eq!(
            at("2023-11-14T22:13:20Z"),
            Timestamp::new(1_700_000_000, 0).unwrap()
        );
        assert_eq!(
            at("2023-11-14T23:13:20+01:00"),
            Timestamp::new(1_700_000_000, 0).unwrap()
        );
        let ago = Timestamp::now().duration_since(at("1h30m"));
        assert!((ago.as_secs() - 5400).abs() < 5, "{ago:?}");
        assert_eq!(parse("since", "").unwrap(), None);
        assert_eq!(parse("since", "0").unwrap(), None);
        for bad in ["yesterday", "1x", "-", ".", "1..2", "99999999999999999999", "é"] {
            assert!(parse("since", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zero() {
        assert_eq!(or_never(None), "0001-01-01T00:00:00Z");
        assert_eq!(
            or_never(Timestamp::new(0, 120_000_000).ok()),
            "1970-01-01T00:00:00.12Z"
        );
    }
}
