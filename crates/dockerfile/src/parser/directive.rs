//! Parser directives: `# name=value` comments at the very top.

use super::{ParseError, SyntaxError};

/// What the directives ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The escape character, `\` or `` ` ``.
    pub escape: char,
    /// `# syntax=`. Frontends named `docker/dockerfile` are what is built in; the tag is not looked at.
    pub syntax: Option<String>,
    /// `# check=`: what linters leave out, and whether their warnings fail. Nothing is built differently for it.
    pub check: Option<String>,
}

impl Directives {
    pub(super) fn read(text: &str) -> Result<Directives, ParseError> {
        let mut found = Directives {
            escape: '\\',
            syntax: None,
            check: None,
        };
        let mut seen: Vec<String> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let Some((name, value)) = directive(line) else {
                break;
            };
            let name = name.to_ascii_lowercase();
            let fail = |source| Err(ParseError::at(index + 1, source));
            match name.as_str() {
                "escape" => match value {
                    "\\" => found.escape = '\\',
                    "`" => found.escape = '`',
                    _ => return fail(SyntaxError::InvalidEscape(value.to_owned())),
                },
                "syntax" if is_dockerfile_frontend(value) => found.syntax = Some(value.to_owned()),
                "syntax" => return fail(SyntaxError::ForeignSyntax(value.to_owned())),
                "check" => found.check = Some(value.to_owned()),
                // Not a directive: an ordinary comment, which ends the block.
                _ => break,
            }
            if seen.contains(&name) {
                return fail(SyntaxError::DuplicateDirective(name));
            }
            seen.push(name);
        }
        Ok(found)
    }
}

/// `# name = value`: a letter, then letters and digits.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_end().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let valid = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|char| char.is_ascii_alphanumeric())
        && !value.is_empty();
    valid.then_some((name, value))
}

fn is_dockerfile_frontend(value: &str) -> bool {
    let name = value.split('@').next().unwrap_or(value);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.split(':').next().unwrap_or(name);
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_the_top() {
        let read = |text| Directives::read(text);
        assert_eq!(
            read("# syntax=docker/dockerfile:1\n# escape = `\nFROM a")
                .expect("valid")
                .escape,
            '`'
        );
        assert_eq!(read("# remark\n# escape=`\nFROM a").expect("valid").escape, '\\');
        assert_eq!(read("\n# escape=`\nFROM a").expect("valid").escape, '\\');
        assert_eq!(read("#eScApE=`\nFROM a").expect("valid").escape, '`');
        assert_eq!(read("# unknown=1\n# escape=`\n").expect("valid").escape, '\\');
        assert_eq!(
            read("# escape=x").expect_err("refused").source,
            SyntaxError::InvalidEscape("x".to_owned())
        );
        let twice = read("# escape=`\n# escape=`\n").expect_err("refused");
        assert_eq!(
            (twice.lines, twice.source),
            (2..=2, SyntaxError::DuplicateDirective("escape".to_owned()))
        );
        assert!(matches!(
            read("# syntax=example/other:1").expect_err("refused").source,
            SyntaxError::ForeignSyntax(_)
        ));
        read("# syntax=docker.io/docker/dockerfile:1.7-labs@sha256:00\n").expect("valid");
    }
}
