//! Variable expansion and quote removal in Dockerfile words, as Docker's shell lexer does it.
//!
//! `$name`, `${name}`, `${name:-word}`, `${name-word}`, `${name:+word}`, `${name+word}`, `${name:?word}`,
//! `${name?word}`, `${name#pattern}`, `##`, `%`, `%%`, `${name/pattern/text}`, `//`. Single quotes keep everything,
//! double quotes keep blanks, the escape character keeps the next character. An unset name becomes nothing.

/// Deepest nesting of `${a:-${b:-…}}`.
const MAX_DEPTH: usize = 64;
/// Longest result in bytes: `ENV a=$a$a` doubles at every line.
pub const MAX_RESULT: usize = 1 << 20;
/// Longest value that patterns are applied to; replacing takes quadratic time.
const MAX_MATCHED: usize = 8 << 10;

/// Where names get their values.
pub trait Variables {
    /// The value of `name`; `None` if it is not set.
    fn get(&self, name: &str) -> Option<&str>;
}

impl<F: Fn(&str) -> Option<&'static str>> Variables for F {
    fn get(&self, name: &str) -> Option<&str> {
        self(name)
    }
}

/// Why a word can't be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    #[error("unexpected end of statement while looking for matching {0}")]
    Unterminated(&'static str),
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    #[error("{name}: {message}")]
    Required { name: String, message: String },
    #[error("substitutions are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    #[error("the expanded text is longer than {MAX_RESULT} bytes")]
    TooLong,
    #[error("{0} is longer than the {MAX_MATCHED} bytes patterns are applied to")]
    TooLongToMatch(String),
}

/// What stays as it is in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Process,
    /// Heredoc bodies: quotes are ordinary characters.
    Keep,
}

/// Expands one word; blanks in the result don't split it.
pub fn word(text: &str, variables: &dyn Variables, escape: char) -> Result<String, ExpandError> {
    let mut lexer = Lexer::new(text, variables, escape, Quotes::Process);
    Ok(lexer.until(None, false)?.0)
}

/// Expands and splits at blanks that are not quoted (values of variables split too).
pub fn words(text: &str, variables: &dyn Variables, escape: char) -> Result<Vec<String>, ExpandError> {
    let mut lexer = Lexer::new(text, variables, escape, Quotes::Process);
    Ok(lexer.until(None, false)?.1)
}

/// Expands variables in a heredoc body: quotes stay.
pub fn body(text: &str, variables: &dyn Variables, escape: char) -> Result<String, ExpandError> {
    let mut lexer = Lexer::new(text, variables, escape, Quotes::Keep);
    Ok(lexer.until(None, false)?.0)
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    variables: &'a dyn Variables,
    escape: char,
    quotes: Quotes,
    depth: usize,
    produced: usize,
}

/// Collects words next to the joined result.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: Option<String>,
}

impl Words {
    fn splitting(&mut self, text: &str) {
        for char in text.chars() {
            match char.is_whitespace() {
                true => self.done.extend(self.current.take()),
                false => self.current.get_or_insert_default().push(char),
            }
        }
    }

    fn whole(&mut self, text: &str) {
        self.current.get_or_insert_default().push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        self.done.extend(self.current);
        self.done
    }
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, variables: &'a dyn Variables, escape: char, quotes: Quotes) -> Self {
        Lexer {
            chars: text.chars().peekable(),
            variables,
            escape,
            quotes,
            depth: 0,
            produced: 0,
        }
    }

    fn account(&mut self, text: &str) -> Result<(), ExpandError> {
        self.produced += text.len();
        if self.produced > MAX_RESULT {
            Err(ExpandError::TooLong)
        } else {
            Ok(())
        }
    }

    /// Reads up to `stop` (consumed) or the end. With `raw_escapes` the escape character stays in the result, for
    /// patterns.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), ExpandError> {
        let mut result = String::new();
        let mut words = Words::default();
        let quotes = self.quotes == Quotes::Process;
        let mut small = [0u8; 4];
        while let Some(&char) = self.chars.peek() {
            if Some(char) == stop {
                self.chars.next();
                return Ok((result, words.finish()));
            }
            match char {
                '$' => {
                    let value = self.dollar()?;
                    words.splitting(&value);
                    result.push_str(&value);
                }
                '\'' if quotes => {
                    let value = self.single_quoted()?;
                    words.whole(&value);
                    result.push_str(&value);
                }
                '"' if quotes => {
                    let value = self.double_quoted()?;
                    words.whole(&value);
                    result.push_str(&value);
                }
                _ => {
                    self.chars.next();
                    if char == self.escape {
                        if raw_escapes {
                            result.push(char);
                            words.whole(char.encode_utf8(&mut small));
                        }
                        // An escape character at the very end is dropped.
                        let Some(next) = self.chars.next() else { break };
                        words.whole(next.encode_utf8(&mut small));
                        result.push(next);
                    } else {
                        words.splitting(char.encode_utf8(&mut small));
                        result.push(char);
                    }
                }
            }
        }
        match stop {
            Some(_) => Err(ExpandError::MissingBrace),
            None => Ok((result, words.finish())),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        self.chars.next();
        let mut result = String::new();
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::Unterminated("single-quote")),
                Some('\'') => return Ok(result),
                Some(char) => result.push(char),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        self.chars.next();
        let mut result = String::new();
        loop {
            match self.chars.peek().copied() {
                None => return Err(ExpandError::Unterminated("double-quote")),
                Some('"') => {
                    self.chars.next();
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(char) => {
                    self.chars.next();
                    if char == self.escape {
                        match self.chars.peek().copied() {
                            None => continue,
                            Some(next) if next == '"' || next == '$' || next == self.escape => {
                                self.chars.next();
                                result.push(next);
                                continue;
                            }
                            Some(_) => {}
                        }
                    }
                    result.push(char);
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.chars.next();
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            let value = self.variables.get(&name).unwrap_or_default().to_owned();
            self.account(&value)?;
            return Ok(value);
        }
        self.chars.next();
        match self.chars.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        let value = self.braced()?;
        self.depth -= 1;
        self.account(&value)?;
        Ok(value)
    }

    /// After `${`.
    fn braced(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        let variables = self.variables;
        let value = variables.get(&name);
        let Some(first) = self.chars.next() else {
            return Err(ExpandError::MissingBrace);
        };
        let mut operator = first;
        let colon = first == ':';
        if colon {
            operator = self.chars.next().ok_or(ExpandError::MissingBrace)?;
        }
        let unset = value.is_none() || (colon && value == Some(""));
        let value_or_empty = || value.unwrap_or_default().to_owned();
        match operator {
            '}' if !colon => Ok(value_or_empty()),
            '-' => {
                let word = self.until(Some('}'), false)?.0;
                Ok(if unset { word } else { value_or_empty() })
            }
            '+' => {
                let word = self.until(Some('}'), false)?.0;
                Ok(if unset { String::new() } else { word })
            }
            '?' => {
                let word = self.until(Some('}'), false)?.0;
                if !unset {
                    return Ok(value_or_empty());
                }
                let default = if value.is_none() {
                    "is not allowed to be unset"
                } else {
                    "is not allowed to be empty"
                };
                let message = if word.is_empty() { default.to_owned() } else { word };
                Err(ExpandError::Required { name, message })
            }
            '#' | '%' if !colon => {
                let word = self.until(Some('}'), true)?.0;
                let (greedy, pattern) = match word.strip_prefix(operator) {
                    Some(rest) => (true, rest),
                    None => (false, word.as_str()),
                };
                let pattern = Pattern::new(pattern, self.escape);
                let value = matchable(&name, value_or_empty())?;
                Ok(match operator {
                    '#' => pattern.without_prefix(&value, greedy).to_owned(),
                    _ => pattern.without_suffix(&value, greedy).to_owned(),
                })
            }
            '/' if !colon => {
                let all = self.chars.next_if_eq(&'/').is_some();
                let pattern = self.until(Some('/'), true)?.0;
                let replacement = self.until(Some('}'), false)?.0;
                let value = matchable(&name, value_or_empty())?;
                let value = Pattern::new(&pattern, self.escape).replace(&value, &replacement, all);
                if value.len() > MAX_RESULT {
                    Err(ExpandError::TooLong)
                } else {
                    Ok(value)
                }
            }
            other if colon => Err(ExpandError::Modifier(format!(":{other}"))),
            other => Err(ExpandError::Modifier(other.to_string())),
        }
    }

    /// A name: letters, digits and `_`; or only digits; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek().copied() {
            Some(first) if first.is_ascii_digit() => {
                while let Some(digit) = self.chars.next_if(char::is_ascii_digit) {
                    name.push(digit);
                }
            }
            Some(special) if "@*#?-$!".contains(special) => {
                self.chars.next();
                name.push(special);
            }
            _ => {
                while let Some(char) = self.chars.next_if(|char| char.is_alphanumeric() || *char == '_') {
                    name.push(char);
                }
            }
        }
        name
    }
}

fn matchable(name: &str, value: String) -> Result<String, ExpandError> {
    if value.len() > MAX_MATCHED {
        Err(ExpandError::TooLongToMatch(name.to_owned()))
    } else {
        Ok(value)
    }
}

/// A shell pattern: `*`, `?`, escapes.
struct Pattern {
    items: Vec<Item>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Char(char),
    One,
    Many,
}

impl Pattern {
    fn new(text: &str, escape: char) -> Self {
        let mut items = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            items.push(match char {
                '*' => Item::Many,
                '?' => Item::One,
                _ if char == escape => Item::Char(chars.next().unwrap_or(char)),
                _ => Item::Char(char),
            });
        }
        Pattern { items }
    }

    /// Lengths (in bytes) of the beginnings of `text` that match, shortest first.
    fn prefixes(&self, text: &str) -> Vec<usize> {
        // Positions in the pattern reachable after each character: linear in pattern × text.
        let close = |states: &mut [bool]| {
            for (at, item) in self.items.iter().enumerate() {
                if states[at] && *item == Item::Many {
                    states[at + 1] = true;
                }
            }
        };
        let end = self.items.len();
        let mut states = vec![false; end + 1];
        let mut next = vec![false; end + 1];
        let mut found = Vec::new();
        states[0] = true;
        close(&mut states);
        if states[end] {
            found.push(0);
        }
        for (at, char) in text.char_indices() {
            next.fill(false);
            for (state, item) in self.items.iter().enumerate().filter(|(state, _)| states[*state]) {
                match item {
                    Item::Many => next[state] = true,
                    Item::One => next[state + 1] = true,
                    Item::Char(expected) => next[state + 1] |= *expected == char,
                }
            }
            close(&mut next);
            std::mem::swap(&mut states, &mut next);
            if states[end] {
                found.push(at + char.len_utf8());
            }
            if !states.contains(&true) {
                break;
            }
        }
        found
    }

    fn reversed(&self) -> Pattern {
        Pattern {
            items: self.items.iter().rev().copied().collect(),
        }
    }

    fn without_prefix<'t>(&self, text: &'t str, greedy: bool) -> &'t str {
        let found = self.prefixes(text);
        let cut = if greedy { found.last() } else { found.first() };
        &text[cut.copied().unwrap_or(0)..]
    }

    fn without_suffix<'t>(&self, text: &'t str, greedy: bool) -> &'t str {
        let backwards: String = text.chars().rev().collect();
        let found = self.reversed().prefixes(&backwards);
        let cut = if greedy { found.last() } else { found.first() };
        &text[..text.len() - cut.copied().unwrap_or(0)]
    }

    /// Replaces the first or every longest match.
    fn replace(&self, text: &str, replacement: &str, all: bool) -> String {
        let mut result = String::new();
        let mut at = 0;
        while at < text.len() {
            match self
                .prefixes(&text[at..])
                .last()
                .copied()
                .filter(|length| *length > 0)
            {
                Some(length) => {
                    result.push_str(replacement);
                    at += length;
                    if !all || result.len() > MAX_RESULT {
                        break;
                    }
                }
                None => {
                    let length = text[at..].chars().next().map_or(1, char::len_utf8);
                    result.push_str(&text[at..at + length]);
                    at += length;
                }
            }
        }
        result.push_str(&text[at..]);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<&'static str> {
        match name {
            "v" => Some("value"),
            "empty" => Some(""),
            "two" => Some("a b"),
            "path" => Some("/usr/local/lib/libx.so.1.2"),
            "1" => Some("one"),
            _ => None,
        }
    }

    #[test]
    fn table() {
        let rows = [
            ("plain", "plain"),
            ("$v", "value"),
            ("${v}", "value"),
            ("x$v-y", "xvalue-y"),
            ("$v_x|", "|"),
            ("${v}_x", "value_x"),
            ("$unset", ""),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("\\$v", "$v"),
            ("'$v'", "$v"),
            ("\"$v\"", "value"),
            ("\"\\$v\"", "$v"),
            ("\"a\\b\"", "a\\b"),
            ("a\\b", "ab"),
            ("\"a\\\"b\"", "a\"b"),
            ("${v:-x}", "value"),
            ("${unset:-x}", "x"),
            ("${empty:-x}", "x"),
            ("${empty-x}", ""),
            ("${unset-x}", "x"),
            ("${unset:-$v}", "value"),
            ("${unset:-${other:-deep}}", "deep"),
            ("${unset:-'a b'}", "a b"),
            ("${v:+x}", "x"),
            ("${v+x}", "x"),
            ("${empty:+x}", ""),
            ("${empty+x}", "x"),
            ("${unset:+x}", ""),
            ("${v:?no}", "value"),
            ("${empty?no}", ""),
            ("${path##*/}", "libx.so.1.2"),
            ("${path#*/}", "usr/local/lib/libx.so.1.2"),
            ("${path%.*}", "/usr/local/lib/libx.so.1"),
            ("${path%%.*}", "/usr/local/lib/libx"),
            ("${v#x}", "value"),
            ("${v%u?}", "val"),
            ("${v/a/A}", "vAlue"),
            ("${path//l/L}", "/usr/LocaL/Lib/Libx.so.1.2"),
            ("${v/nothing/A}", "value"),
            ("${path//\\//_}", "_usr_local_lib_libx.so.1.2"),
            ("$1", "one"),
            ("$12", ""),
            ("$1x", "onex"),
            ("a\\", "a"),
            ("é$v", "évalue"),
        ];
        for (text, expected) in rows {
            assert_eq!(word(text, &variables, '\\').as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(word("`$v \\$v", &variables, '`').as_deref(), Ok("$v \\value"));
    }

    #[test]
    fn splitting() {
        let rows: [(&str, &[&str]); 6] = [
            ("a b", &["a", "b"]),
            ("$two", &["a", "b"]),
            ("\"$two\" c", &["a b", "c"]),
            ("x$two", &["xa", "b"]),
            ("'' a", &["", "a"]),
            ("  ", &[]),
        ];
        for (text, expected) in rows {
            assert_eq!(
                words(text, &variables, '\\').expect("expands"),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn bodies_keep_quotes() {
        assert_eq!(
            body("it's \"$v\" \\$v\n", &variables, '\\').as_deref(),
            Ok("it's \"value\" $v\n")
        );
    }

    #[test]
    fn errors() {
        let rows = [
            (
                "'a",
                "unexpected end of statement while looking for matching single-quote",
            ),
            (
                "\"a",
                "unexpected end of statement while looking for matching double-quote",
            ),
            ("${v", "syntax error: missing '}'"),
            ("${", "syntax error: missing '}'"),
            ("${v:-x", "syntax error: missing '}'"),
            ("${}", "syntax error: bad substitution"),
            ("${:x}", "syntax error: bad substitution"),
            ("${{v}}", "syntax error: bad substitution"),
            ("${v:x}", "unsupported modifier (:x) in substitution"),
            ("${v^}", "unsupported modifier (^) in substitution"),
            ("${unset:?}", "unset: is not allowed to be unset"),
            ("${empty:?}", "empty: is not allowed to be empty"),
            ("${unset?say why}", "unset: say why"),
        ];
        for (text, expected) in rows {
            assert_eq!(
                word(text, &variables, '\\').expect_err(text).to_string(),
                expected,
                "{text}"
            );
        }
        let deep = "${u:-".repeat(100_000);
        assert_eq!(word(&deep, &variables, '\\'), Err(ExpandError::TooDeep));
    }

    #[test]
    fn length_is_bounded() {
        struct Long(String);
        impl Variables for Long {
            fn get(&self, _: &str) -> Option<&str> {
                Some(&self.0)
            }
        }
        let long = Long("x".repeat(600_000));
        assert!(word("$a", &long, '\\').is_ok());
        assert_eq!(word("$a$a", &long, '\\'), Err(ExpandError::TooLong));
        assert_eq!(
            word("${a//x/yy}", &Long("x".repeat(200)), '\\').map(|text| text.len()),
            Ok(400)
        );
        assert!(matches!(
            word("${a//x/yy}", &long, '\\'),
            Err(ExpandError::TooLongToMatch(_))
        ));
    }
}
