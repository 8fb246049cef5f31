//! Wildcards of `.dockerignore` and of `COPY` sources, compiled once and matched in linear time (the set of
//! reachable pattern positions is followed, nothing is tried twice), so no pattern can stall a build.

use std::iter::Peekable;
use std::str::Chars;

/// A pattern with a malformed bracket or a dangling escape (Go's `filepath.ErrBadPattern`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// One compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exact(String),
    /// `dir/**`: everything that begins so.
    Prefix(String),
    /// `**/name` and `**name`: everything that ends so. A leading slash may be missing.
    Suffix(String),
    Items(Vec<Item>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Char(char),
    /// `?`: one character but `/`.
    One,
    /// `*`: any number of characters but `/`.
    Many,
    /// `**` at the end: anything.
    All,
    /// `**/` elsewhere: nothing, or (through [`Item::DirectoriesLoop`], which follows) anything that ends with `/`.
    Directories,
    DirectoriesLoop,
    /// In ignore files a negated class matches `/` too, as in the regular expressions Docker makes of them.
    Class {
        negated: bool,
        slash: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Go's `filepath.Match`: `*`, `?`, `[…]`, `\`; no `**`.
    pub(crate) fn glob(text: &str) -> Result<Pattern, BadPattern> {
        let items = compile(text, false)?;
        Ok(plain(&items).map_or(Pattern::Items(items), Pattern::Exact))
    }

    /// Docker's ignore patterns: the same plus `**`.
    pub(crate) fn ignore(text: &str) -> Result<Pattern, BadPattern> {
        let items = compile(text, true)?;
        if let Some(exact) = plain(&items) {
            return Ok(Pattern::Exact(exact));
        }
        Ok(match items.as_slice() {
            [Item::All] => Pattern::Prefix(String::new()),
            [front @ .., Item::All] if plain(front).is_some() => {
                Pattern::Prefix(plain(front).unwrap_or_default())
            }
            // Written without the slash it still means any ending: `**.go`, `**foo`.
            [Item::Directories, Item::DirectoriesLoop, back @ ..] if plain(back).is_some() => {
                let slash = if text.starts_with("**/") { "/" } else { "" };
                Pattern::Suffix(format!("{slash}{}", plain(back).unwrap_or_default()))
            }
            _ => Pattern::Items(items),
        })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Exact(exact) => text == exact,
            Pattern::Prefix(prefix) => text.starts_with(prefix),
            Pattern::Suffix(suffix) => {
                text.ends_with(suffix) || suffix.strip_prefix('/').is_some_and(|bare| bare == text)
            }
            Pattern::Items(items) => states_after(items, text)[items.len()],
        }
    }

    /// Whether something that begins with `text` may match.
    pub(crate) fn may_continue(&self, text: &str) -> bool {
        match self {
            Pattern::Exact(exact) => exact.starts_with(text),
            Pattern::Prefix(prefix) => prefix.starts_with(text) || text.starts_with(prefix),
            Pattern::Suffix(_) => true,
            Pattern::Items(items) => states_after(items, text).contains(&true),
        }
    }
}

/// The text of a pattern without wildcards.
fn plain(items: &[Item]) -> Option<String> {
    items
        .iter()
        .map(|item| {
            if let Item::Char(char) = item {
                Some(*char)
            } else {
                None
            }
        })
        .collect()
}

/// Which positions of the pattern can be reached with all of the text; the last is a match.
fn states_after(items: &[Item], text: &str) -> Vec<bool> {
    let mut states = vec![false; items.len() + 1];
    let mut next = states.clone();
    states[0] = true;
    skip_empty(items, &mut states);
    for char in text.chars() {
        next.fill(false);
        for (at, item) in items.iter().enumerate().filter(|(at, _)| states[*at]) {
            match item {
                Item::Char(expected) => next[at + 1] |= *expected == char,
                Item::One => next[at + 1] |= char != '/',
                Item::Many => next[at] |= char != '/',
                Item::All => next[at] = true,
                Item::Directories => {}
                Item::DirectoriesLoop => {
                    next[at] = true;
                    next[at + 1] |= char == '/';
                }
                Item::Class {
                    negated,
                    slash,
                    ranges,
                } => {
                    let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&char));
                    next[at + 1] |= inside != *negated && (char != '/' || *slash);
                }
            }
        }
        skip_empty(items, &mut next);
        std::mem::swap(&mut states, &mut next);
    }
    states
}

/// Adds the positions reachable without a character; all lead forward, so one pass does.
fn skip_empty(items: &[Item], states: &mut [bool]) {
    for (at, item) in items.iter().enumerate() {
        if !states[at] {
            continue;
        }
        match item {
            Item::Many | Item::All => states[at + 1] = true,
            Item::Directories => {
                states[at + 1] = true;
                states[at + 2] = true;
            }
            _ => {}
        }
    }
}

fn compile(text: &str, double_star: bool) -> Result<Vec<Item>, BadPattern> {
    let mut items = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let item = match char {
            '*' if double_star && chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_none() {
                    Item::All
                } else {
                    items.push(Item::Directories);
                    Item::DirectoriesLoop
                }
            }
            '*' => Item::Many,
            '?' => Item::One,
            '[' => class(&mut chars, double_star)?,
            '\\' => Item::Char(chars.next().ok_or(BadPattern)?),
            other => Item::Char(other),
        };
        items.push(item);
    }
    Ok(items)
}

fn class(chars: &mut Peekable<Chars<'_>>, slash: bool) -> Result<Item, BadPattern> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Item::Class {
                negated,
                slash,
                ranges,
            });
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() {
            class_char(chars)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut Peekable<Chars<'_>>) -> Result<char, BadPattern> {
    match chars.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => chars.next().ok_or(BadPattern),
        Some(char) => Ok(char),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_as_go() {
        let rows = [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "a/b", false),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a[^x]b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[x\\-]", "-", true),
            ("*x", "xxx", true),
            ("**", "a", true),
            ("**", "a/b", false),
            ("", "", true),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(
                Pattern::glob(pattern).map(|glob| glob.matches(text)),
                Ok(expected),
                "{pattern} {text}"
            );
        }
        for bad in [
            "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "[\\",
        ] {
            assert_eq!(Pattern::glob(bad), Err(BadPattern), "{bad}");
        }
    }

    #[test]
    fn ignore_patterns_as_docker() {
        let rows = [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("dir/**", "dir", false),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir3/file", false),
            ("**/file", "file", true),
            ("**/file", "dir/file", true),
            ("**/file", "dir/dir/file", true),
            ("**/file", "dir/xfile", false),
            ("**file", "dir/dir/xfile", true),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/file*.txt*", "dir/dir/file.txt.x", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("a**/b", "ax/b", true),
            ("a**/b", "ab", true),
            ("**.go", "x/y.go", true),
            ("*.go", "x/y.go", false),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            ("a.b", "axb", false),
            ("[a-c]x", "bx", true),
            ("a[^b]c", "a/c", true),
            ("file\\", "x", false),
        ];
        for (pattern, text, expected) in rows {
            let Ok(compiled) = Pattern::ignore(pattern) else {
                assert!(pattern.ends_with('\\'), "{pattern}");
                continue;
            };
            assert_eq!(compiled.matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_are_quick() {
        let pattern = Pattern::ignore(&"*a".repeat(200)).expect("compiles");
        assert!(!pattern.matches(&"a".repeat(5_000).replace("aa", "ab").replace('b', "c")));
        let pattern = Pattern::ignore(&"**/a/".repeat(100)).expect("compiles");
        assert!(!pattern.matches(&"a/".repeat(2_000)[..3_999].replace("a/a", "a/b")));
    }
}
