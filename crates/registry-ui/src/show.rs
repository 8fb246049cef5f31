//! Values as people read them.

use std::fmt;

use havre_explore::shown;
use jiff::Timestamp;

/// The longest text of an image that a line of a page shows.
const MAX_LINE: usize = 2000;

/// Bytes in decimal units, three significant digits, as the command line shows them: `1.72GB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
        let (mut value, mut unit) = (self.0 as f64, 0);
        while value >= 999.5 && unit < UNITS.len() - 1 {
            value /= 1000.0;
            unit += 1;
        }
        let digits = match (unit, value) {
            (0, _) => 0,
            (_, value) if value < 9.995 => 2,
            (_, value) if value < 99.95 => 1,
            _ => 0,
        };
        let text = format!("{value:.digits$}");
        let text = match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => &text,
        };
        write!(f, "{text}{}", UNITS[unit])
    }
}

/// A number with its thousands apart: `12 345`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                // A narrow space that does not break.
                f.write_str("\u{202f}")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A count with its noun: `1 tag`, `2 tags`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{} {many}", Count(count)),
    }
}

/// A moment: how long ago for the eye, exactly for who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    at: Timestamp,
    now: Timestamp,
}

impl Moment {
    /// Of milliseconds since 1970.
    pub(crate) fn of_millis(millis: i64) -> Self {
        Self::at(Timestamp::from_millisecond(millis).unwrap_or_default())
    }

    /// Of seconds since 1970.
    pub(crate) fn of_seconds(seconds: i64) -> Self {
        Self::at(Timestamp::from_second(seconds).unwrap_or_default())
    }

    pub(crate) fn at(at: Timestamp) -> Self {
        Self {
            at,
            now: Timestamp::now(),
        }
    }

    /// For machines (RFC 3339).
    pub(crate) fn exact(&self) -> String {
        self.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// For people who want to know.
    pub(crate) fn full(&self) -> String {
        self.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }

    /// `3 days ago`
    pub(crate) fn ago(&self) -> String {
        let seconds = self.now.as_second() - self.at.as_second();
        match seconds {
            ..-60 => self.at.strftime("%Y-%m-%d").to_string(),
            -60..60 => "just now".to_owned(),
            seconds => format!("{} ago", span(seconds.unsigned_abs())),
        }
    }
}

/// A span of time in its largest unit: `3 days`.
pub(crate) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (365 * 24 * 3600, "year"),
        (30 * 24 * 3600, "month"),
        (24 * 3600, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length);
    let (length, name) = unit.unwrap_or(&UNITS[5]);
    match seconds / length {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

/// A text of an image on one line: nothing in it moves the line or reorders it, and there is an end to it.
pub(crate) fn line(text: &str) -> String {
    bounded(text.as_bytes(), MAX_LINE)
}

/// The same of bytes that may be no text: names of files.
pub(crate) fn name(bytes: &[u8]) -> String {
    bounded(bytes, MAX_LINE)
}

fn bounded(bytes: &[u8], most: usize) -> String {
    match bytes.len() > most {
        false => shown(bytes),
        true => {
            let cut = std::str::from_utf8(&bytes[..most]).map_or_else(|error| error.valid_up_to(), str::len);
            // What is no text at all is cut anywhere.
            let cut = if cut + 4 < most { most } else { cut };
            format!("{}…", shown(&bytes[..cut]))
        }
    }
}

/// A digest that is short enough to be read: its first twelve digits.
pub(crate) fn short(digest: &havre_oci::Digest) -> &str {
    digest.short()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (12_345, "12.3kB"),
            (123_456, "123kB"),
            (999_499, "999kB"),
            (999_500, "1MB"),
            (1_500_000_000, "1.5GB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text, "{bytes}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(Count(7).to_string(), "7");
        assert_eq!(Count(12_345_678).to_string(), "12\u{202f}345\u{202f}678");
        assert_eq!(counted(1, "tag", "tags"), "1 tag");
        assert_eq!(counted(0, "tag", "tags"), "0 tags");
    }

    #[test]
    fn ages() {
        let now = Timestamp::from_second(1_000_000_000).expect("a time");
        let ago = |seconds: i64| Moment {
            at: Timestamp::from_second(1_000_000_000 - seconds).expect("a time"),
            now,
        };
        for (seconds, text) in [
            (0, "just now"),
            (-5, "just now"),
            (61, "1 minute ago"),
            (7200, "2 hours ago"),
            (3 * 86_400, "3 days ago"),
            (800 * 86_400, "2 years ago"),
            (-86_400, "2001-09-10"),
        ] {
            assert_eq!(ago(seconds).ago(), text);
        }
        assert_eq!(ago(0).exact(), "2001-09-09T01:46:40Z");
    }

    #[test]
    fn texts_stay_on_their_line_and_end() {
        assert_eq!(line("a\nb\u{202e}c"), "a\\nb\\u{202e}c");
        let long = "ä".repeat(5000);
        let cut = line(&long);
        assert!(cut.ends_with('…') && cut.chars().count() == 1001, "{}", cut.len());
        assert!(name(&[0xff; 5000]).starts_with("\\xff\\xff"));
    }
}
