//! Here-documents: `<<NAME`, `<<-NAME`, `<<"NAME"`, each with an optional file descriptor in front.

use super::words::split_words;
use super::{Node, SyntaxError};

/// One here-document of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, and the file name when a `COPY` makes a file of it.
    pub name: String,
    /// Lines as written, line ends included.
    pub body: String,
    /// The terminator was not quoted: variables in the body are expanded (by `COPY`; in `RUN` the shell does it).
    pub expand: bool,
    /// `<<-`: leading tabs of every line are dropped.
    pub chomp: bool,
    /// Number in front of `<<`.
    pub descriptor: Option<u32>,
}

impl Heredoc {
    /// The body as a file's content, tabs dropped if asked for.
    pub fn content(&self) -> String {
        if self.chomp {
            chomp(&self.body)
        } else {
            self.body.clone()
        }
    }
}

/// Removes the leading tabs of every line.
fn chomp(body: &str) -> String {
    body.split_inclusive('\n')
        .map(|line| line.trim_start_matches('\t'))
        .collect()
}

/// Reads `word` as the head of a heredoc; the body stays empty.
pub fn heredoc_word(word: &str) -> Option<Heredoc> {
    let digits = word.len() - word.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (descriptor, rest) = word.split_at(digits);
    let rest = rest.strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let (name, quoted) = unquote(rest)?;
    Some(Heredoc {
        name,
        body: String::new(),
        expand: !quoted,
        chomp,
        descriptor: descriptor.parse().ok(),
    })
}

/// Removes shell quoting; the flag tells whether there was any. `None`: quotes don't match.
fn unquote(word: &str) -> Option<(String, bool)> {
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = word.chars();
    while let Some(char) = chars.next() {
        match char {
            '\'' | '"' => {
                quoted = true;
                loop {
                    match chars.next()? {
                        end if end == char => break,
                        inner => name.push(inner),
                    }
                }
            }
            '\\' => {
                quoted = true;
                name.extend(chars.next());
            }
            other => name.push(other),
        }
    }
    (!name.is_empty()).then_some((name, quoted))
}

/// Reads the bodies of every heredoc the instruction names. `next` gives raw lines and their numbers; `end` is
/// moved to the last line read.
pub(super) fn read_bodies<'a>(
    node: &Node,
    escape: char,
    mut next: impl FnMut() -> Option<(&'a str, usize)>,
    end: &mut usize,
) -> Result<Vec<Heredoc>, SyntaxError> {
    if !may_have_heredocs(node) {
        return Ok(Vec::new());
    }
    let mut heredocs: Vec<Heredoc> = split_words(&node.rest, escape)
        .iter()
        .filter_map(|word| heredoc_word(word))
        .collect();
    for heredoc in &mut heredocs {
        loop {
            let Some((line, number)) = next() else {
                return Err(SyntaxError::UnterminatedHeredoc(heredoc.name.clone()));
            };
            *end = number;
            let bare = line.trim_end_matches(['\r', '\n']);
            let bare = if heredoc.chomp {
                bare.trim_start_matches('\t')
            } else {
                bare
            };
            if bare == heredoc.name {
                break;
            }
            heredoc.body.push_str(line);
        }
    }
    Ok(heredocs)
}

fn may_have_heredocs(node: &Node) -> bool {
    let takes = |word: &str| {
        ["RUN", "COPY", "ADD"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
    };
    if !node.rest.contains("<<") {
        return false;
    }
    if node.keyword.eq_ignore_ascii_case("ONBUILD") {
        let mut words = node.rest.split_whitespace();
        return words.next().is_some_and(takes) && !words.next().is_some_and(|word| word.starts_with('['));
    }
    takes(&node.keyword) && super::json_strings(&node.rest).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head = |word: &str| {
            heredoc_word(word).map(|found| (found.name, found.expand, found.chomp, found.descriptor))
        };
        assert_eq!(head("<<EOF"), Some(("EOF".to_owned(), true, false, None)));
        assert_eq!(head("3<<-EOF"), Some(("EOF".to_owned(), true, true, Some(3))));
        assert_eq!(head("<<'E O'"), Some(("E O".to_owned(), false, false, None)));
        assert_eq!(head("<<\"E\"F"), Some(("EF".to_owned(), false, false, None)));
        assert_eq!(head("<<\\EOF"), Some(("EOF".to_owned(), false, false, None)));
        for other in ["<<", "<<<word", "a<<b", "<EOF", "<<'EOF", "<<-"] {
            assert_eq!(head(other), None, "{other}");
        }
    }

    #[test]
    fn chomp_drops_tabs_only() {
        assert_eq!(chomp("\t\tx\n y\n\t\n"), "x\n y\n\n");
    }
}
