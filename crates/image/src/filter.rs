//! Filters of lists and prunes, in Docker's language.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// Filters of list and prune, as the API gives them: key → values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    pub(crate) values: BTreeMap<String, Vec<String>>,
}

/// A filter that does not exist or has a value that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    #[error("invalid filter '{0}'")]
    Unknown(String),
    #[error("invalid filter '{key}={value}'")]
    Value { key: String, value: String },
    #[error("invalid filter '{key}={value}': {hint}")]
    Hint {
        key: String,
        value: String,
        hint: &'static str,
    },
    #[error("invalid filter 'reference={0}': syntax error in pattern")]
    Pattern(String),
}

impl Filters {
    /// Keys are checked where the filters are used.
    pub fn new(values: BTreeMap<String, Vec<String>>) -> Self {
        Filters { values }
    }

    /// Refuses keys that aren't among `known`.
    pub(crate) fn check(&self, known: &[&str]) -> Result<(), FilterError> {
        match self.values.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(FilterError::Unknown(key.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn get(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// A truth value; `None` when it isn't given. Contradictions are an error.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, FilterError> {
        let mut found = None;
        for value in self.get(key) {
            let value = match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                _ => {
                    return Err(FilterError::Value {
                        key: key.to_owned(),
                        value: value.clone(),
                    });
                }
            };
            if found.is_some_and(|found| found != value) {
                return Err(FilterError::Value {
                    key: key.to_owned(),
                    value: value.to_string(),
                });
            }
            found = Some(value);
        }
        Ok(found)
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.values.values().all(Vec::is_empty)
    }

    /// The same without a key.
    pub(crate) fn without(&self, key: &str) -> Self {
        let mut values = self.values.clone();
        values.remove(key);
        Self { values }
    }

    /// The earliest of the moments given for a key: a moment, seconds since 1970, or a span of time before now.
    pub(crate) fn time(&self, key: &str) -> Result<Option<Timestamp>, FilterError> {
        let mut earliest = None;
        for value in self.get(key) {
            let moment = moment(value).ok_or_else(|| FilterError::Value {
                key: key.to_owned(),
                value: value.clone(),
            })?;
            earliest = Some(earliest.map_or(moment, |earliest: Timestamp| earliest.min(moment)));
        }
        Ok(earliest)
    }

    /// Whether the labels satisfy every `label` (`KEY` or `KEY=VALUE`) and no `label!`.
    pub(crate) fn labels_match(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.get("label").iter().all(has) && !self.get("label!").iter().any(has)
    }
}

/// RFC 3339 (parts from the right may be missing, then local means UTC), seconds since 1970, or a span of time before now.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if let Ok(seconds) = seconds.parse::<i64>()
        && fraction.len() <= 9
        && fraction.bytes().all(|b| b.is_ascii_digit())
    {
        let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
        return Timestamp::new(seconds, nanos).ok();
    }
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        return civil
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp());
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp());
    }
    Timestamp::now().checked_sub(span(text)?).ok()
}

/// Go's durations, before which weeks and days may stand: `2w`, `30d`, `1d12h`.
pub(crate) fn span(text: &str) -> Option<SignedDuration> {
    let (mut days, mut rest) = (0_i64, text);
    for (unit, length) in [('w', 7), ('d', 1)] {
        if let Some((number, after)) = rest.split_once(unit)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            days = days.checked_add(number.parse::<i64>().ok()?.checked_mul(length)?)?;
            rest = after;
        }
    }
    let days = SignedDuration::try_from_hours(days.checked_mul(24)?)?;
    match rest {
        "" if !text.is_empty() => Some(days),
        // Nothing but digits may follow days: a sign belongs before the whole.
        rest if rest.len() < text.len() && !rest.starts_with(|c: char| c.is_ascii_digit()) => None,
        rest => days.checked_add(go_duration(rest)?),
    }
}

/// `1h30m`, `1.5h`, `300ms`.
pub(crate) fn go_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[unit_end..];
        total += number * unit;
    }
    let duration = SignedDuration::try_from_secs_f64(total).ok()?;
    Some(if negative { -duration } else { duration })
}

/// A pattern as Go's `path.Match` reads it: `*` and `?` stop at slashes, `[a-z]`, `[^a]`, backslash escapes. `None`: the
/// pattern is malformed.
pub(crate) fn path_match(pattern: &str, text: &str) -> Option<bool> {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let tokens = tokens(&pattern)?;
    let (mut at, mut token) = (0, 0);
    // Where the last star stands, and how far it has eaten.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let matched = match tokens.get(token) {
            Some(Token::Star) => {
                star = Some((token, at));
                token += 1;
                continue;
            }
            Some(one) => text.get(at).is_some_and(|c| one.matches(*c)),
            None if at == text.len() => return Some(true),
            None => false,
        };
        if matched {
            (token, at) = (token + 1, at + 1);
            continue;
        }
        match star {
            Some((star_token, eaten)) if text.get(eaten).is_some_and(|c| *c != '/') => {
                star = Some((star_token, eaten + 1));
                (token, at) = (star_token + 1, eaten + 1);
            }
            _ => return Some(false),
        }
    }
}

enum Token {
    Star,
    Any,
    One(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => c != '/',
            Self::One(one) => *one == c,
            Self::Class { negated, ranges } => {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn tokens(pattern: &[char]) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = pattern.iter().copied().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::One(chars.next()?),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    let literal = |chars: &mut std::iter::Peekable<_>| match Iterator::next(chars)? {
                        '\\' => chars.next(),
                        c => Some(c),
                    };
                    if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                        break;
                    }
                    if matches!(chars.peek()?, ']' | '-') {
                        return None;
                    }
                    let low = literal(&mut chars)?;
                    let high = if chars.next_if_eq(&'-').is_some() {
                        if chars.peek() == Some(&']') {
                            return None;
                        }
                        literal(&mut chars)?
                    } else {
                        low
                    };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            c => Token::One(c),
        });
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in pairs {
            values.entry((*key).into()).or_default().push((*value).into());
        }
        Filters::new(values)
    }

    #[test]
    fn patterns_as_in_go() {
        for (pattern, text, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*", "a/b", Some(false)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("debian:*", "debian:bookworm", Some(true)),
            ("[a-c]?[^x]", "bzy", Some(true)),
            ("[a-c]?[^x]", "bzx", Some(false)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "axb", Some(false)),
            ("", "", Some(true)),
            ("[", "a", None),
            ("[a", "a", None),
            ("[]a]", "a", None),
            ("[a-]", "a", None),
            ("a\\", "a", None),
        ] {
            assert_eq!(path_match(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn moments() {
        let at = |text: &str| filters(&[("until", text)]).time("until").unwrap().unwrap();
        assert_eq!(at("1700000000").as_second(), 1_700_000_000);
        assert_eq!(at("1700000000.5").as_millisecond(), 1_700_000_000_500);
        assert_eq!(at("2024-01-02T03:04:05Z").to_string(), "2024-01-02T03:04:05Z");
        assert_eq!(at("2024-01-02").to_string(), "2024-01-02T00:00:00Z");
        assert_eq!(at("2024-01-02T03:04").to_string(), "2024-01-02T03:04:00Z");
        let hour = Timestamp::now().as_second() - at("1h").as_second();
        assert!((3599..=3601).contains(&hour), "{hour}");
        assert!(filters(&[("until", "soon")]).time("until").is_err());
        assert_eq!(go_duration("1h30m1.5s").unwrap().as_millis(), 5_401_500);
        assert_eq!(go_duration("-2m").unwrap().as_secs(), -120);
        for bad in ["", "5", "h", "5x", "1h5"] {
            assert_eq!(go_duration(bad), None, "{bad}");
            assert_eq!(span(bad), None, "{bad}");
        }
        for (text, hours) in [
            ("30d", 720),
            ("2w", 336),
            ("1w1d", 192),
            ("1d12h", 36),
            ("5h", 5),
            ("-2h", -2),
        ] {
            assert_eq!(span(text), Some(SignedDuration::from_hours(hours)), "{text}");
        }
        for bad in [
            "d",
            "-1d",
            "1d-2h",
            "1d1w",
            "1.5d",
            "99999999999999999999d",
            "9223372036854775807w",
        ] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }

    #[test]
    fn labels_and_booleans() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert!(filters(&[("label", "a"), ("label", "b=2")]).labels_match(&labels));
        assert!(!filters(&[("label", "a=2")]).labels_match(&labels));
        assert!(!filters(&[("label!", "a")]).labels_match(&labels));
        assert_eq!(
            filters(&[("dangling", "true")]).boolean("dangling"),
            Ok(Some(true))
        );
        assert!(
            filters(&[("dangling", "true"), ("dangling", "false")])
                .boolean("dangling")
                .is_err()
        );
        let error = filters(&[("dangling", "maybe")]).boolean("dangling").unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'dangling=maybe'");
        assert_eq!(
            filters(&[("x", "y")]).check(&["label"]).unwrap_err().to_string(),
            "invalid filter 'x'"
        );
    }
}
