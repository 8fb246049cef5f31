//! Docker's ways of writing sizes, times, lists and identifiers.

pub(crate) mod listing;
pub(crate) mod ports;
pub(crate) mod reindent;
pub(crate) mod size;
pub(crate) mod table;
pub(crate) mod time;

/// The first twelve digits of an identifier, without its algorithm.
pub(crate) fn short_id(id: &str) -> String {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.chars().take(12).collect()
}

/// At most `length` characters, the last an ellipsis when something is missing.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(length.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Text in double quotes as Go's `strconv.Quote` writes it.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_quotes() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(ellipsis("/bin/sh -c 'while true'", 20), "/bin/sh -c 'while t…");
        assert_eq!(ellipsis("short", 20), "short");
        assert_eq!(quote("a\"b\n\x1b…"), "\"a\\\"b\\n\\x1b…\"");
    }
}
