//! Dockerfile text → instructions, still as words, with the lines they came from.
//!
//! Pure: no file, no environment, no expansion. The grammar is the one of Docker's own parser: an instruction
//! ends at the end of its line unless the line ends with the escape character; comment lines and empty lines
//! inside a continued instruction are dropped; heredocs follow `RUN`, `COPY`, `ADD` and `ONBUILD` of these.
//! Reference: <https://docs.docker.com/reference/dockerfile/>.

mod directive;
mod heredoc;
mod words;

use std::ops::RangeInclusive;

pub use directive::Directives;
pub use heredoc::{Heredoc, heredoc_word};
pub use words::{NotStrings, WordsError, json_strings, key_values, split_words, whitespace_delimited};

/// Longest Dockerfile read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// Lines of the file an instruction covers, from 1.
pub type Span = RangeInclusive<usize>;

/// One instruction as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// First word, as written.
    pub keyword: String,
    /// Leading `--name=value` words.
    pub flags: Vec<String>,
    /// Everything after keyword and flags, trimmed, continuation lines joined.
    pub rest: String,
    /// The whole instruction, continuation lines joined, without heredoc bodies: what progress output shows.
    pub original: String,
    pub heredocs: Vec<Heredoc>,
    pub lines: Span,
}

/// A parsed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub directives: Directives,
    pub nodes: Vec<Node>,
    /// Remarks about accepted but doubtful text.
    pub warnings: Vec<String>,
}

/// What is wrong with the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    #[error("file with no instructions")]
    Empty,
    #[error("the Dockerfile is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the line is not valid UTF-8")]
    NotUtf8,
    #[error("the line contains a NUL byte")]
    Nul,
    #[error("only one {0} parser directive can be used")]
    DuplicateDirective(String),
    #[error("invalid ESCAPE '{0}' does not match ` or \\")]
    InvalidEscape(String),
    #[error("the syntax directive asks for the frontend {0}; only docker/dockerfile's language is built in")]
    ForeignSyntax(String),
    #[error("unterminated heredoc: no line consists of {0}")]
    UnterminatedHeredoc(String),
    #[error(transparent)]
    Words(#[from] WordsError),
}

/// A syntax error and where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dockerfile parse error on line {}: {source}", lines.start())]
pub struct ParseError {
    pub lines: Span,
    pub source: SyntaxError,
}

impl ParseError {
    fn at(line: usize, source: impl Into<SyntaxError>) -> Self {
        ParseError {
            lines: line..=line,
            source: source.into(),
        }
    }
}

/// Parses a whole file.
pub fn parse(text: &[u8]) -> Result<Document, ParseError> {
    let text = decode(text)?;
    let mut lines = Lines {
        rest: text,
        number: 0,
    };
    let directives = Directives::read(text)?;
    let escape = directives.escape;
    let mut nodes = Vec::new();
    let mut warnings = Vec::new();
    while let Some(first) = lines.next() {
        let start = lines.number;
        if is_comment(first) {
            continue;
        }
        let (head, mut complete) = strip_continuation(first.trim(), escape);
        if complete && head.is_empty() {
            continue;
        }
        let mut line = head.to_owned();
        let mut empty_inside = false;
        let mut end = start;
        while !complete {
            let Some(next) = lines.next() else { break };
            end = lines.number;
            if is_comment(next) {
                continue;
            }
            let next = next.trim_end_matches(['\r', '\n']);
            if next.trim().is_empty() {
                empty_inside = true;
                continue;
            }
            let (part, ended) = strip_continuation(next, escape);
            line.push_str(part);
            complete = ended;
        }
        if empty_inside {
            warnings.push(format!(
                "Empty continuation line found in: {line} (line {start}); a later version may refuse it"
            ));
        }
        let mut node = node(&line, escape).map_err(|source| ParseError {
            lines: start..=end,
            source,
        })?;
        node.heredocs = heredoc::read_bodies(
            &node,
            escape,
            || lines.next().map(|text| (text, lines.number)),
            &mut end,
        )
        .map_err(|source| ParseError {
            lines: start..=start,
            source,
        })?;
        node.lines = start..=end;
        nodes.push(node);
    }
    if nodes.is_empty() {
        return Err(ParseError::at(1, SyntaxError::Empty));
    }
    Ok(Document {
        directives,
        nodes,
        warnings,
    })
}

/// Parses one instruction given as a string: an `ONBUILD` trigger or a `--change`.
pub fn parse_line(text: &str) -> Result<Node, SyntaxError> {
    let mut document = parse(text.as_bytes()).map_err(|error| error.source)?;
    Ok(document.nodes.swap_remove(0))
}

fn decode(bytes: &[u8]) -> Result<&str, ParseError> {
    if bytes.len() > MAX_BYTES {
        return Err(ParseError::at(1, SyntaxError::TooLarge));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let line_of = |offset: usize| 1 + bytes[..offset].iter().filter(|byte| **byte == b'\n').count();
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ParseError::at(line_of(error.valid_up_to()), SyntaxError::NotUtf8))?;
    match text.find('\0') {
        Some(offset) => Err(ParseError::at(line_of(offset), SyntaxError::Nul)),
        None => Ok(text),
    }
}

/// Lines with their line ends, counted.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.number += 1;
        Some(line)
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Splits a line into its text and whether the instruction ends here. A doubled escape character at the end does
/// not continue.
fn strip_continuation(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t', '\r', '\n']);
    match trimmed.strip_suffix(escape) {
        Some(text) if !text.ends_with(escape) => (text, false),
        _ => (line.trim_end_matches(['\r', '\n']), true),
    }
}

fn node(line: &str, escape: char) -> Result<Node, SyntaxError> {
    let original = line.trim().to_owned();
    let (keyword, rest) = match original.split_once(char::is_whitespace) {
        Some((keyword, rest)) => (keyword, rest.trim_start()),
        None => (original.as_str(), ""),
    };
    // A trigger's flags stand behind its own keyword and are read when the trigger is.
    let (flags, rest) = match keyword.eq_ignore_ascii_case("ONBUILD") {
        true => (Vec::new(), rest),
        false => words::split_flags(rest, escape)?,
    };
    Ok(Node {
        keyword: keyword.to_owned(),
        flags,
        rest: rest.trim().to_owned(),
        original: original.clone(),
        heredocs: Vec::new(),
        lines: 1..=1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn originals(text: &str) -> Vec<(String, Span)> {
        let document = parse(text.as_bytes()).expect("parses");
        document
            .nodes
            .into_iter()
            .map(|node| (node.original, node.lines))
            .collect()
    }

    #[test]
    fn continuation_drops_comments_and_empty_lines() {
        let text = "FROM a\nRUN one \\\n  # remark\n\n  two \\\n  three\nCMD x\n";
        assert_eq!(
            originals(text),
            [
                ("FROM a".to_owned(), 1..=1),
                ("RUN one   two   three".to_owned(), 2..=6),
                ("CMD x".to_owned(), 7..=7)
            ]
        );
        assert_eq!(parse(text.as_bytes()).expect("parses").warnings.len(), 1);
    }

    #[test]
    fn a_doubled_escape_does_not_continue() {
        assert_eq!(originals("FROM a\nRUN x \\\\\nCMD y").len(), 3);
    }

    #[test]
    fn carriage_returns_and_bom_are_no_text() {
        let text = "\u{feff}FROM a\r\nRUN x \\\r\n y\r\n";
        assert_eq!(
            originals(text),
            [("FROM a".to_owned(), 1..=1), ("RUN x  y".to_owned(), 2..=3)]
        );
    }

    #[test]
    fn continuation_at_the_end_of_the_file_ends_the_instruction() {
        assert_eq!(originals("FROM a \\"), [("FROM a".to_owned(), 1..=1)]);
    }

    #[test]
    fn escape_directive_changes_the_continuation() {
        let text = "# escape=`\nFROM a\nRUN dir c:\\\nRUN x `\n y\n";
        assert_eq!(
            originals(text),
            [
                ("FROM a".to_owned(), 2..=2),
                ("RUN dir c:\\".to_owned(), 3..=3),
                ("RUN x  y".to_owned(), 4..=5)
            ]
        );
    }

    #[test]
    fn bad_text_names_its_line() {
        let error = parse(b"FROM a\nRUN \xff\n").expect_err("refused");
        assert_eq!((error.lines, error.source), (2..=2, SyntaxError::NotUtf8));
        let error = parse(b"FROM a\n\nRUN \0\n").expect_err("refused");
        assert_eq!((error.lines, error.source), (3..=3, SyntaxError::Nul));
        let error = parse(b"# only\n\n").expect_err("refused");
        assert_eq!(error.source, SyntaxError::Empty);
        let error = parse(b"FROM a\nRUN <<EOF\nx\n").expect_err("refused");
        assert_eq!(
            error.to_string(),
            "dockerfile parse error on line 2: unterminated heredoc: no line consists of EOF"
        );
    }

    #[test]
    fn heredocs_are_read_whole() {
        let text = "FROM a\nRUN <<EOF\n# not a comment\necho \\\n\nEOF\nCOPY <<-\"A\" <<B /dest/\n\tx\n\tA\ny\nB\nCMD z";
        let document = parse(text.as_bytes()).expect("parses");
        let run = &document.nodes[1];
        assert_eq!(run.heredocs[0].body, "# not a comment\necho \\\n\n");
        assert!(run.heredocs[0].expand);
        assert_eq!(run.lines, 2..=6);
        let copy = &document.nodes[2];
        assert_eq!(copy.heredocs.len(), 2);
        assert_eq!(
            (
                copy.heredocs[0].name.as_str(),
                copy.heredocs[0].expand,
                copy.heredocs[0].chomp
            ),
            ("A", false, true)
        );
        assert_eq!(copy.heredocs[0].body, "\tx\n");
        assert_eq!(copy.heredocs[1].body, "y\n");
        assert_eq!(copy.lines, 7..=11);
        assert_eq!(document.nodes[3].keyword, "CMD");
    }

    #[test]
    fn onbuild_keeps_the_flags_of_its_trigger() {
        let document = parse(b"FROM a\nONBUILD COPY --from=x a b\nONBUILD RUN <<E\nq\nE\n").expect("parses");
        assert_eq!(document.nodes[1].rest, "COPY --from=x a b");
        assert_eq!(document.nodes[2].heredocs[0].body, "q\n");
    }
}
