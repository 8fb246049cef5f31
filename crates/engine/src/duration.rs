//! Spans of time as Docker tells them to people: roughly, in the status of a container and in the columns of a list, and
//! precisely, in messages.

use std::time::Duration;

/// `Less than a second`, `5 seconds`, `About a minute`, `3 hours`, `2 weeks`…: the rule of `HumanDuration` in
/// docker/go-units.
///
/// Hours are rounded to the nearest up to two years and cut from there on, so that the last half hour before two years
/// is "1 years", there as here.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = seconds.saturating_add(1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `1h0m30s`, `1.5s`, `300ms`, `0s`: Go's `Duration.String`.
pub fn precise(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let decimal = |unit: u128, name: &str| {
        let number = format!(
            "{}.{:0width$}",
            nanos / unit,
            nanos % unit,
            width = unit.ilog10() as usize
        );
        format!("{}{name}", number.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        _ => {
            let minutes = duration.as_secs() / 60;
            let rest = u128::from(minutes) * 60_000_000_000;
            let seconds = format!("{}.{:09}", (nanos - rest) / 1_000_000_000, nanos % 1_000_000_000);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match minutes {
                0 => format!("{seconds}s"),
                1..60 => format!("{minutes}m{seconds}s"),
                _ => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precise_as_go() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_000_001, "1.000001ms"),
            (999_999_999, "999.999999ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (10_000_000_000, "10s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_001, "1m30.000000001s"),
            (3_600_000_000_000, "1h0m0s"),
            (360_000_000_000_000, "100h0m0s"),
        ] {
            assert_eq!(precise(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn words() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (MINUTE, "About a minute"),
            (2 * MINUTE - 1, "About a minute"),
            (2 * MINUTE, "2 minutes"),
            (35 * MINUTE + 40, "35 minutes"),
            (HOUR - 1, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 29 * MINUTE, "About an hour"),
            (HOUR + 30 * MINUTE, "2 hours"),
            (3 * HOUR + 29 * MINUTE, "3 hours"),
            (3 * HOUR + 59 * MINUTE, "4 hours"),
            (36 * HOUR, "36 hours"),
            (47 * HOUR + 29 * MINUTE, "47 hours"),
            (2 * DAY - 30 * MINUTE, "2 days"),
            (13 * DAY + 5 * HOUR, "13 days"),
            (14 * DAY, "2 weeks"),
            (18 * DAY, "2 weeks"),
            (44 * DAY, "6 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (13 * 30 * DAY, "13 months"),
            (729 * DAY, "24 months"),
            (730 * DAY - 30 * MINUTE, "1 years"),
            (730 * DAY, "2 years"),
            (734 * DAY, "2 years"),
            (3 * 365 * DAY + 60 * DAY, "3 years"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text, "{seconds}");
        }
        assert_eq!(human(Duration::from_millis(999)), "Less than a second");
        assert!(human(Duration::MAX).ends_with(" years"));
    }
}
