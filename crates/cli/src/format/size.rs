//! Sizes in decimal units.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// `1.72GB`: three significant digits.
pub(crate) fn short(bytes: i64) -> String {
    human(bytes as f64, 3)
}

/// `1.716GB`: four significant digits.
pub(crate) fn long(bytes: i64) -> String {
    human(bytes as f64, 4)
}

/// A size with so many significant digits.
fn human(mut value: f64, digits: usize) -> String {
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let mut text = significant(value, digits);
    // 999.9 of a unit rounds to one of the next.
    if text == "1000" && digits < 4 && unit < UNITS.len() - 1 {
        text = "1".to_owned();
        unit += 1;
    }
    format!("{text}{}", UNITS[unit])
}

/// As C's `%.{digits}g` for numbers from 0 to 1000.
fn significant(value: f64, digits: usize) -> String {
    let before = if value < 1.0 {
        1
    } else {
        value.log10().floor() as usize + 1
    };
    let text = format!("{value:.*}", digits.saturating_sub(before));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A size in binary units as `docker info` writes memory: `23.43GiB`.
pub(crate) fn binary(bytes: i64) -> String {
    const BINARY: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < BINARY.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", significant(value, 4), BINARY[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_significant_digits() {
        for (bytes, expected) in [
            (0, "0B"),
            (5, "5B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.02kB"),
            (12_345, "12.3kB"),
            (170_400_000, "170MB"),
            (1_716_000_000, "1.72GB"),
            (999_999, "1MB"),
        ] {
            assert_eq!(short(bytes), expected);
        }
        assert_eq!(long(1_716_400_000), "1.716GB");
        assert_eq!(long(170_449_999), "170.4MB");
        assert_eq!(binary(25_159_000_000), "23.43GiB");
    }
}
