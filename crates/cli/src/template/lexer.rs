//! A template's text as literal pieces and actions, and an action's text as tokens.

use super::TemplateError;

/// A piece of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// Copied as it is.
    Literal(String),
    /// What stands between braces, with the column it starts at.
    Action { column: usize, text: String },
}

/// A token of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A word: a function, `if`, `true`, …
    Word(String),
    /// `.`
    Dot,
    /// `.Name`, directly behind what it belongs to when `joined`.
    Field { name: String, joined: bool },
    /// `$name`; `$` has an empty name.
    Variable(String),
    /// A quoted string.
    Text(String),
    /// An integer.
    Int(i64),
    /// A decimal number.
    Float(f64),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Cuts a template at its braces; `{{-` and `-}}` trim the literals beside them, comments vanish.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let open = rest.find("{{");
        let literal = &rest[..open.unwrap_or(rest.len())];
        let trim_here = open.is_some_and(|at| starts_trim(&rest[at + 2..]));
        let mut literal = if trim_next { literal.trim_start() } else { literal };
        if trim_here {
            literal = literal.trim_end();
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        let Some(open) = open else { return Ok(pieces) };
        let inside = &rest[open + 2..];
        let inside = if trim_here { &inside[1..] } else { inside };
        let close = find_close(inside).ok_or_else(|| TemplateError::parse("unclosed action"))?;
        let action = &inside[..close];
        trim_next = action.len() >= 2
            && action.ends_with('-')
            && action[..action.len() - 1].ends_with([' ', '\t', '\n', '\r']);
        let action = if trim_next {
            &action[..action.len() - 1]
        } else {
            action
        };
        let comment = action.trim();
        if !(comment.starts_with("/*") && comment.ends_with("*/")) {
            let column = text.len() - inside.len() + (action.len() - action.trim_start().len());
            pieces.push(Piece::Action {
                column,
                text: action.trim().to_owned(),
            });
        }
        rest = &inside[close + 2..];
    }
}

fn starts_trim(inside: &str) -> bool {
    inside.starts_with('-') && inside[1..].starts_with([' ', '\t', '\n', '\r'])
}

/// Where the closing braces are, not looking into strings.
fn find_close(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            quote @ (b'"' | b'`' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' && quote != b'`' { 2 } else { 1 };
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    None
}

/// The tokens of an action.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut joined = false;
    while let Some(first) = rest.chars().next() {
        let word_len = |text: &str| {
            text.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(text.len())
        };
        let (token, used) = match first {
            c if c.is_whitespace() => {
                rest = rest.trim_start();
                joined = false;
                continue;
            }
            '|' => (Token::Pipe, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '=' => (Token::Assign, 1),
            '"' | '\'' => quoted(rest)?,
            '`' => {
                let end = rest[1..]
                    .find('`')
                    .ok_or_else(|| TemplateError::parse("unterminated raw quoted string"))?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            '$' => {
                let len = word_len(&rest[1..]);
                (Token::Variable(rest[1..=len].to_owned()), len + 1)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let len = word_len(&rest[1..]);
                if len == 0 {
                    (Token::Dot, 1)
                } else {
                    (
                        Token::Field {
                            name: rest[1..=len].to_owned(),
                            joined,
                        },
                        len + 1,
                    )
                }
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => number(rest)?,
            c if c.is_alphabetic() || c == '_' => {
                let len = word_len(rest);
                (Token::Word(rest[..len].to_owned()), len)
            }
            c => return Err(TemplateError::parse(format!("unexpected {c:?} in command"))),
        };
        tokens.push(token);
        rest = &rest[used..];
        joined = true;
    }
    Ok(tokens)
}

fn number(text: &str) -> Result<(Token, usize), TemplateError> {
    let len = text[1..]
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .map_or(text.len(), |at| at + 1);
    let digits = &text[..len];
    let bad = || TemplateError::parse(format!("bad number syntax: {digits:?}"));
    if let Ok(int) = digits.parse() {
        return Ok((Token::Int(int), len));
    }
    match digits.strip_prefix("0x").map(|hex| i64::from_str_radix(hex, 16)) {
        Some(int) => Ok((Token::Int(int.map_err(|_| bad())?), len)),
        None => Ok((Token::Float(digits.parse().map_err(|_| bad())?), len)),
    }
}

fn quoted(text: &str) -> Result<(Token, usize), TemplateError> {
    let unterminated = || TemplateError::parse("unterminated quoted string");
    let mut chars = text.char_indices();
    let quote = chars.next().map(|(_, c)| c).unwrap_or('"');
    let mut out = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => {
                let token = match (quote, out.chars().next()) {
                    ('\'', Some(single)) => Token::Int(i64::from(u32::from(single))),
                    _ => Token::Text(out),
                };
                return Ok((token, at + 1));
            }
            '\\' => {
                let (_, escape) = chars.next().ok_or_else(unterminated)?;
                out.push(match escape {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '\\' | '"' | '\'' => escape,
                    'x' | 'u' => {
                        let count = if escape == 'x' { 2 } else { 4 };
                        let hex: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                        u32::from_str_radix(&hex, 16)
                            .ok()
                            .and_then(char::from_u32)
                            .ok_or_else(|| TemplateError::parse("invalid syntax in quoted string"))?
                    }
                    _ => return Err(TemplateError::parse("invalid syntax in quoted string")),
                });
            }
            c => out.push(c),
        }
    }
    Err(unterminated())
}
