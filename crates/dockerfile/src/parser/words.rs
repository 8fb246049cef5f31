//! Splitting the rest of a line: flags, words, `name=value` lists, JSON arrays.

/// A rest that has not the form its instruction needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    #[error("Syntax error - can't find = in {0:?}. Must be of the form: name=value")]
    MissingEquals(String),
}

/// Splits leading `--flag` words off. Quotes and the escape character protect blanks inside a flag's value; a lone
/// `--` ends the flags and is dropped.
pub(super) fn split_flags(text: &str, escape: char) -> Result<(Vec<String>, &str), WordsError> {
    let mut flags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return Ok((flags, rest));
        }
        let (word, after) = flag_word(rest, escape);
        rest = after;
        if word == "--" {
            return Ok((flags, rest.trim_start()));
        }
        flags.push(word);
    }
}

/// One flag, its quotes removed.
fn flag_word(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match quote {
            None if char.is_whitespace() => return (word, &text[at..]),
            None if char == '\'' || char == '"' => quote = Some(char),
            Some(open) if char == open => quote = None,
            _ if char == escape && quote != Some('\'') => word.extend(chars.next().map(|(_, next)| next)),
            _ => word.push(char),
        }
    }
    (word, "")
}

/// Splits at blanks outside of quotes. Quotes and escapes stay in the words; expansion removes them.
pub fn split_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if quote.is_none() && char.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let current = word.get_or_insert_default();
        if char == escape && quote != Some('\'') {
            // An escape character at the very end is dropped.
            if let Some(next) = chars.next() {
                current.push(char);
                current.push(next);
            }
            continue;
        }
        current.push(char);
        match quote {
            None if char == '\'' || char == '"' => quote = Some(char),
            Some(open) if char == open => quote = None,
            _ => {}
        }
    }
    words.extend(word.filter(|word| !word.is_empty()));
    words
}

/// Splits at any run of blanks.
pub fn whitespace_delimited(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `ENV` and `LABEL`: `name value` (everything after the first blank is the value) or `name=value …`.
pub fn key_values(
    instruction: &'static str,
    text: &str,
    escape: char,
) -> Result<Vec<(String, String)>, WordsError> {
    let words = split_words(text, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or(WordsError::TwoArguments(instruction))?;
        return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(WordsError::MissingEquals(word)),
        })
        .collect()
}

/// The exec form: a JSON array. `None` when the text is not JSON (the shell form), `Some(Err)` when it is an array
/// of something else than strings.
pub fn json_strings(text: &str) -> Option<Result<Vec<String>, NotStrings>> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    let values: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(NotStrings),
    });
    Some(strings.collect())
}

/// A JSON array with elements that are no strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotStrings;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_at_the_first_other_word() {
        let split = |text| split_flags(text, '\\').expect("splits");
        assert_eq!(
            split("--from=x --link a b"),
            (vec!["--from=x".to_owned(), "--link".to_owned()], "a b")
        );
        assert_eq!(split("-- --x"), (vec![], "--x"));
        assert_eq!(split("--chown=\"a b\" c"), (vec!["--chown=a b".to_owned()], "c"));
        assert_eq!(split("--a=x\\ y"), (vec!["--a=x y".to_owned()], ""));
        assert_eq!(split("a --b"), (vec![], "a --b"));
    }

    #[test]
    fn words_keep_quotes() {
        assert_eq!(
            split_words("a  'b c' d\"e f\"g h\\ i", '\\'),
            ["a", "'b c'", "d\"e f\"g", "h\\ i"]
        );
        assert_eq!(split_words("x \"\" \\", '\\'), ["x", "\"\""]);
        assert_eq!(split_words("'a\\' b", '\\'), ["'a\\'", "b"]);
    }

    #[test]
    fn both_forms_of_env() {
        let read = |text| key_values("ENV", text, '\\');
        assert_eq!(
            read("a b  c=d").expect("old form"),
            [("a".to_owned(), "b  c=d".to_owned())]
        );
        assert_eq!(
            read("a=1 b='x y'").expect("new form"),
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "'x y'".to_owned())
            ]
        );
        assert_eq!(read("a"), Err(WordsError::TwoArguments("ENV")));
        assert_eq!(read("a=1 b"), Err(WordsError::MissingEquals("b".to_owned())));
    }

    #[test]
    fn exec_form() {
        assert_eq!(
            json_strings("[\"a\", \"b\"]"),
            Some(Ok(vec!["a".to_owned(), "b".to_owned()]))
        );
        assert_eq!(json_strings("['a']"), None);
        assert_eq!(json_strings("[ -f x ] && y"), None);
        assert_eq!(json_strings("[1]"), Some(Err(NotStrings)));
        assert_eq!(json_strings("[]"), Some(Ok(vec![])));
    }
}
