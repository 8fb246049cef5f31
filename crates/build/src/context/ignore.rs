//! `.dockerignore`: which files of a context a build sees.
//!
//! Lines are patterns in Docker's meaning: relative to the context's root, `*` within a name, `**` over directories,
//! `!` takes back, the last match wins, a match of a directory covers what is in it. Reading and matching are pure.

use super::pattern::{BadPattern, Pattern};

/// Why an ignore file can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    #[error("illegal exclusion pattern: \"!\"")]
    EmptyException,
    #[error("{pattern:?}: {source}")]
    Pattern { pattern: String, source: BadPattern },
    #[error("the ignore file is not valid UTF-8")]
    NotUtf8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    exception: bool,
    pattern: Pattern,
}

/// A compiled ignore file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
    exceptions: bool,
}

/// The patterns of an ignore file, cleaned, comments and empty lines left out: what clients of the Engine API send
/// nothing of but use themselves to choose what they send.
pub fn read_patterns(text: &[u8]) -> Result<Vec<String>, IgnoreError> {
    let text = std::str::from_utf8(text).map_err(|_| IgnoreError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut patterns = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            continue;
        }
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (mark, pattern) = match line.strip_prefix('!') {
            Some(rest) => ("!", rest.trim()),
            None => ("", line),
        };
        if pattern.is_empty() {
            patterns.push(mark.to_owned());
            continue;
        }
        let clean = clean(pattern);
        let relative = if clean.len() > 1 {
            clean.strip_prefix('/').unwrap_or(&clean)
        } else {
            &clean
        };
        patterns.push(format!("{mark}{relative}"));
    }
    Ok(patterns)
}

impl IgnoreRules {
    /// Reads and compiles an ignore file.
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        Self::new(&read_patterns(text)?)
    }

    /// Compiles patterns.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim();
            if pattern.is_empty() {
                continue;
            }
            let cleaned = clean(pattern);
            let (exception, text) = match cleaned.strip_prefix('!') {
                Some("") => return Err(IgnoreError::EmptyException),
                Some(rest) => (true, rest.to_owned()),
                None => (false, cleaned),
            };
            let compiled = Pattern::ignore(&text).map_err(|source| IgnoreError::Pattern {
                pattern: pattern.to_owned(),
                source,
            })?;
            rules.push(Rule {
                exception,
                pattern: compiled,
            });
        }
        let exceptions = rules.iter().any(|rule| rule.exception);
        Ok(IgnoreRules { rules, exceptions })
    }

    /// Leaves out one path, whatever the rules so far say of it.
    pub(crate) fn exclude(&mut self, path: &str) {
        self.rules.push(Rule {
            exception: false,
            pattern: Pattern::Exact(path.to_owned()),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the build doesn't see `path` (relative, `/` between names, nothing before the first name).
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // A rule that would change nothing needs no look.
            if rule.exception == excluded && rule.matches_with_parents(path) {
                excluded = !rule.exception;
            }
        }
        excluded
    }

    /// Whether something below the excluded directory `directory` may be taken back by an exception, so that a walk
    /// must go into it.
    pub fn may_include_below(&self, directory: &str) -> bool {
        self.exceptions
            && self
                .rules
                .iter()
                .any(|rule| rule.exception && rule.may_match_below(directory))
    }
}

impl Rule {
    fn matches_with_parents(&self, path: &str) -> bool {
        self.pattern.matches(path)
            || path
                .match_indices('/')
                .any(|(at, _)| at > 0 && self.pattern.matches(&path[..at]))
    }

    /// Whether something below the directory may match; what matches the directory or a parent of it covers all below.
    fn may_match_below(&self, directory: &str) -> bool {
        self.matches_with_parents(directory) || self.pattern.may_continue(&format!("{directory}/"))
    }
}

/// Go's `path.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => match names.last() {
                Some(last) if *last != ".." => {
                    names.pop();
                }
                _ if rooted => {}
                _ => names.push(".."),
            },
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cleaned() {
        let text = "\u{feff}# comment\n /a/b/ \n\n  \n!  /c \n ./d/../e\r\n # no comment\nx y\n/\n.\n";
        assert_eq!(
            read_patterns(text.as_bytes()).expect("reads"),
            ["a/b", "!c", "e", "# no comment", "x y", "/", "."]
        );
        assert_eq!(IgnoreRules::parse(b"!\n"), Err(IgnoreError::EmptyException));
        assert!(matches!(
            IgnoreRules::parse(b"a[\n"),
            Err(IgnoreError::Pattern { .. })
        ));
        assert_eq!(IgnoreRules::parse(b"\xff"), Err(IgnoreError::NotUtf8));
    }

    #[test]
    fn paths_are_cleaned_as_in_go() {
        let rows = [
            ("", "."),
            ("a//b/./c", "a/b/c"),
            ("/..", "/"),
            ("../../a", "../../a"),
            ("a/..", "."),
            ("/a/../b/", "/b"),
            ("a/b/../../..", ".."),
        ];
        for (path, expected) in rows {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn table() {
        // (patterns, path, excluded)
        let rows: &[(&[&str], &str, bool)] = &[
            (&["*"], "a", true),
            (&["*"], "a/b", true),
            (&["*.txt"], "a.txt", true),
            (&["*.txt"], "a/a.txt", false),
            (&["**/*.txt"], "a/a.txt", true),
            (&["a"], "a/b/c", true),
            (&["a"], "ab", false),
            (&["a/b"], "a", false),
            (&["*", "!a"], "a", false),
            (&["*", "!a"], "a/b", false),
            (&["*", "!a", "a/b"], "a/b", true),
            (&["*", "!a/b"], "a", true),
            (&["*", "!a/b"], "a/b", false),
            (&["*", "!a/b"], "a/c", true),
            (&["!a", "*"], "a", true),
            (&["docs", "!docs/README.md"], "docs/README.md", false),
            (&["docs", "!docs/README.md"], "docs/x", true),
            (&["*.md", "!README*.md", "README-secret.md"], "README.md", false),
            (
                &["*.md", "!README*.md", "README-secret.md"],
                "README-secret.md",
                true,
            ),
            (
                &["*.md", "README-secret.md", "!README*.md"],
                "README-secret.md",
                false,
            ),
            (&["**", "!**/*.go"], "x/y/z.go", false),
            (&["**", "!**/*.go"], "x/y/z.c", true),
            (&["*/temp*"], "somedir/temporary.txt", true),
            (&["*/temp*"], "temporary.txt", false),
            (&["*/*/temp*"], "a/b/temp", true),
            (&["temp?"], "tempa", true),
            (&["temp?"], "temp", false),
            (&["node_modules"], "node_modules/x/y", true),
            (&["node_modules"], "a/node_modules/x", false),
            (&["**/node_modules"], "a/node_modules/x", true),
            (&["."], "a", false),
            (&["a/**", "!a/**/keep"], "a/b/c/keep", false),
            (&["a/**"], "a", false),
            (&["../x"], "x", false),
        ];
        for (patterns, path, expected) in rows {
            let rules = IgnoreRules::new(patterns).expect("compiles");
            assert_eq!(rules.excludes(path), *expected, "{patterns:?} {path}");
        }
    }

    #[test]
    fn walks_go_where_exceptions_may_be() {
        let rules = IgnoreRules::new(&["*", "!a/b/c", "!x*/y"]).expect("compiles");
        for (directory, expected) in [
            ("a", true),
            ("a/b", true),
            ("a/d", false),
            ("b", false),
            ("xx", true),
            ("a/b/c/d", true),
        ] {
            assert_eq!(rules.may_include_below(directory), expected, "{directory}");
        }
        let rules = IgnoreRules::new(&["*", "!**/x"]).expect("compiles");
        assert!(rules.may_include_below("any/where"));
        // An escaped slash and one that a class takes in separate names like any other.
        let rules = IgnoreRules::new(&["*", r"!a\/b", "!c[^d]e/f", "!g/**"]).expect("compiles");
        for (directory, expected) in [
            ("a", true),
            ("c", true),
            ("c/e", true),
            ("c/d", false),
            ("g", true),
            ("g/h", true),
            ("h", false),
        ] {
            assert_eq!(rules.may_include_below(directory), expected, "{directory}");
        }
        let rules = IgnoreRules::new(&["*"]).expect("compiles");
        assert!(!rules.may_include_below("a"));
    }
}
