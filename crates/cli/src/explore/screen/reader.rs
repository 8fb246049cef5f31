//! A file on the screen: its text, what is other than in the layer below, or its bytes.

use std::time::Duration;

use havre_explore::shown;
use similar::{ChangeTag, TextDiff};

/// A file that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) path: Vec<u8>,
    pub(super) layer: usize,
    /// The layer with the version before it.
    pub(super) below: Option<usize>,
    pub(super) size: u64,
}

/// What was read: the first bytes.
pub(super) struct Contents {
    pub(super) bytes: Vec<u8>,
    pub(super) below: Option<Vec<u8>>,
    pub(super) size: u64,
}

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Added,
    Removed,
    /// Not of the file.
    Note,
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) title: String,
    text: Vec<(Tone, String)>,
    /// Differences to the version below, if there is one.
    differences: Option<Vec<(Tone, String)>>,
    pub(super) compares: bool,
    pub(super) top: usize,
    pub(super) left: usize,
}

/// Bytes of a file that is no text are shown up to here.
const HEX: usize = 64 << 10;
/// What is not found out by then is shown as removed and added.
const PATIENCE: Duration = Duration::from_secs(1);

impl Reader {
    pub(super) fn new(wanted: &Wanted, contents: &Contents) -> Self {
        let mut text = lines(&contents.bytes);
        if contents.size > contents.bytes.len() as u64 {
            let rest = contents.size - contents.bytes.len() as u64;
            text.push((
                Tone::Note,
                format!("… {rest} more bytes: havre image cat prints all"),
            ));
        }
        let differences = contents
            .below
            .as_ref()
            .map(|below| differences(below, &contents.bytes));
        Self {
            title: format!("/{} in layer {}", shown(&wanted.path), wanted.layer),
            text,
            differences,
            compares: false,
            top: 0,
            left: 0,
        }
    }

    pub(super) fn lines(&self) -> &[(Tone, String)] {
        match &self.differences {
            Some(differences) if self.compares => differences,
            _ => &self.text,
        }
    }

    /// Whether there is a version below to compare with.
    pub(super) fn can_compare(&self) -> bool {
        self.differences.is_some()
    }

    pub(super) fn compare(&mut self, compares: bool) {
        self.compares = compares && self.can_compare();
        self.top = 0;
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(8 << 10)];
    // A letter may be cut at the end.
    !head.contains(&0) && std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// A line as it may stand on a terminal.
fn clean(line: &[u8]) -> String {
    let mut wide = Vec::with_capacity(line.len());
    for byte in line {
        match byte {
            b'\t' => wide.resize(wide.len().next_multiple_of(4).max(wide.len() + 1), b' '),
            byte => wide.push(*byte),
        }
    }
    shown(wide.strip_suffix(b"\r").unwrap_or(&wide))
}

fn lines(bytes: &[u8]) -> Vec<(Tone, String)> {
    if bytes.is_empty() {
        return vec![(Tone::Note, "(empty)".to_owned())];
    }
    if !is_text(bytes) {
        let head = &bytes[..bytes.len().min(HEX)];
        let mut rows: Vec<_> = head
            .chunks(16)
            .enumerate()
            .map(|(at, row)| (Tone::Plain, hex(at * 16, row)))
            .collect();
        if bytes.len() > HEX {
            rows.push((
                Tone::Note,
                format!("… the first {HEX} bytes of a file that is no text"),
            ));
        }
        return rows;
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    text.split(|byte| *byte == b'\n')
        .map(|line| (Tone::Plain, clean(line)))
        .collect()
}

fn hex(at: usize, row: &[u8]) -> String {
    let mut text = format!("{at:08x}  ");
    for place in 0..16 {
        match row.get(place) {
            Some(byte) => text.push_str(&format!("{byte:02x} ")),
            None => text.push_str("   "),
        }
        if place == 7 {
            text.push(' ');
        }
    }
    text.push(' ');
    text.extend(row.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    }));
    text
}

fn differences(old: &[u8], new: &[u8]) -> Vec<(Tone, String)> {
    let note = |text: &str| vec![(Tone::Note, text.to_owned())];
    if old == new {
        return note("The contents are the same as below: only what stands beside them was changed.");
    }
    if !is_text(old) || !is_text(new) {
        return note("The files differ; at least one of them is no text.");
    }
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(&*old, &*new);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(3) {
        let start = group
            .first()
            .map_or((0, 0), |op| (op.old_range().start + 1, op.new_range().start + 1));
        lines.push((Tone::Note, format!("@@ line {} below, {} here", start.0, start.1)));
        for op in group {
            for change in diff.iter_changes(&op) {
                let (tone, sign) = match change.tag() {
                    ChangeTag::Equal => (Tone::Plain, ' '),
                    ChangeTag::Insert => (Tone::Added, '+'),
                    ChangeTag::Delete => (Tone::Removed, '-'),
                };
                let line = change.value().strip_suffix('\n').unwrap_or(change.value());
                lines.push((tone, format!("{sign}{}", clean(line.as_bytes()))));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8], below: Option<&[u8]>) -> Reader {
        let wanted = Wanted {
            path: b"etc/a".to_vec(),
            layer: 2,
            below: below.map(|_| 1),
            size: bytes.len() as u64,
        };
        let contents = Contents {
            bytes: bytes.to_vec(),
            below: below.map(<[u8]>::to_vec),
            size: bytes.len() as u64,
        };
        Reader::new(&wanted, &contents)
    }

    fn texts(reader: &Reader) -> Vec<&str> {
        reader.lines().iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn text_is_shown_without_what_a_terminal_obeys() {
        let reader = reader(b"a\tb\r\n\x1b[2Jc\n", None);
        assert_eq!(texts(&reader), ["a   b", "\\x1b[2Jc"]);
        assert_eq!(reader.title, "/etc/a in layer 2");
        assert!(!reader.can_compare());
    }

    #[test]
    fn bytes_are_shown_in_rows() {
        let reader = reader(b"\x7fELF\0abc", None);
        assert_eq!(
            texts(&reader),
            ["00000000  7f 45 4c 46 00 61 62 63                           .ELF.abc"]
        );
    }

    #[test]
    fn differences_to_the_layer_below() {
        let mut reader = reader(b"one\ntwo\nthree\n", Some(b"one\n2\nthree\n"));
        reader.compare(true);
        assert_eq!(
            texts(&reader),
            ["@@ line 1 below, 1 here", " one", "-2", "+two", " three"]
        );
        assert_eq!(reader.lines()[2].0, Tone::Removed);
        reader.compare(false);
        assert_eq!(texts(&reader), ["one", "two", "three"]);
    }
}
