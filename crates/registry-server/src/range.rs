//! Parts of blobs that are asked for (RFC 9110, "Range"), and those that come (distribution specification, "Pushing a blob in
//! chunks").

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All: there is no such header, or one that may be ignored.
    All,
    /// These bytes, which are there.
    Part(Range<u64>),
    /// Nothing that is there.
    Nothing,
}

/// Reads a `Range` header for something of `size` bytes. Several ranges at once are not served apart: all is sent.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(text) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((first, last)) = text.trim().split_once('-') else {
        return Wanted::All;
    };
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large is larger than anything that is there.
        true => Some(text.parse::<u64>().unwrap_or(u64::MAX)),
        false => None,
    };
    let range = match (first.trim(), last.trim()) {
        ("", "") => return Wanted::All,
        ("", suffix) => match number(suffix) {
            Some(length) => size - length.min(size)..size,
            None => return Wanted::All,
        },
        (first, "") => match number(first) {
            Some(first) => first..size,
            None => return Wanted::All,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
            _ => return Wanted::All,
        },
    };
    match range.start < range.end {
        true => Wanted::Part(range),
        false => Wanted::Nothing,
    }
}

/// Reads the `Content-Range` of a chunk, `<first>-<last>`.
pub fn chunk(header: &str) -> Option<Range<u64>> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, str::trim_start);
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let (first, last) = (number(first)?, number(last)?);
    let end = last.checked_add(1)?;
    (first < end).then_some(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, expected) in [
            (None, Wanted::All),
            (Some("bytes=0-"), Wanted::Part(0..100)),
            (Some("bytes=0-0"), Wanted::Part(0..1)),
            (Some("bytes=5-9"), Wanted::Part(5..10)),
            (Some("bytes=90-1000"), Wanted::Part(90..100)),
            (Some("bytes=-7"), Wanted::Part(93..100)),
            (Some("bytes=-1000"), Wanted::Part(0..100)),
            (Some("bytes=99-99999999999999999999999"), Wanted::Part(99..100)),
            (Some("bytes=100-"), Wanted::Nothing),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=99999999999999999999999-"), Wanted::Nothing),
            (Some("bytes=9-5"), Wanted::All),
            (Some("bytes=0-1,5-6"), Wanted::All),
            (Some("bytes=-"), Wanted::All),
            (Some("bytes=a-b"), Wanted::All),
            (Some("lines=0-1"), Wanted::All),
        ] {
            assert_eq!(wanted(header, 100), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    #[test]
    fn chunks() {
        for (header, expected) in [
            ("0-9", Some(0..10)),
            ("10-10", Some(10..11)),
            ("bytes 0-9/20", Some(0..10)),
            ("9-0", None),
            ("-9", None),
            ("0-", None),
            ("0-+9", None),
            ("a-b", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(chunk(header), expected, "{header}");
        }
    }
}
