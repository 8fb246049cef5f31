//! The functions of templates: Go's own and Docker's.

use std::cmp::Ordering;

use super::printf::printf;
use super::value::Value;

const NAMES: [&str; 25] = [
    "and", "eq", "ge", "gt", "html", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or",
    "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery",
];

/// Whether there is such a function.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls one.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let wrong = |wanted: &str| {
        Err(format!(
            "wrong number of args for {name}: want {wanted} got {}",
            arguments.len()
        ))
    };
    let failed = |error: String| format!("error calling {name}: {error}");
    match (name, arguments) {
        ("and", [first, rest @ ..]) => Ok(rest
            .iter()
            .fold(first, |last, next| if last.truth() { next } else { last })
            .clone()),
        ("or", [first, rest @ ..]) => Ok(rest
            .iter()
            .fold(first, |last, next| if last.truth() { last } else { next })
            .clone()),
        ("not", [value]) => Ok(Value::Bool(!value.truth())),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            for other in others {
                if compare(first, other).map_err(failed)? == Some(Ordering::Equal) {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        ("ne", [a, b]) => Ok(Value::Bool(
            compare(a, b).map_err(failed)? != Some(Ordering::Equal),
        )),
        ("lt", [a, b]) => ordered(a, b, Ordering::is_lt).map_err(failed),
        ("le", [a, b]) => ordered(a, b, Ordering::is_le).map_err(failed),
        ("gt", [a, b]) => ordered(a, b, Ordering::is_gt).map_err(failed),
        ("ge", [a, b]) => ordered(a, b, Ordering::is_ge).map_err(failed),
        ("index", [value, keys @ ..]) => {
            let mut value = value.clone();
            for key in keys {
                value = index(&value, key).map_err(failed)?;
            }
            Ok(value)
        }
        ("slice", [value, bounds @ ..]) if bounds.len() <= 2 => slice(value, bounds).map_err(failed),
        ("len", [value]) => match value {
            Value::Text(text) => Ok(Value::Int(text.len() as i64)),
            Value::List(items) => Ok(Value::Int(items.len() as i64)),
            Value::Map(entries) => Ok(Value::Int(entries.len() as i64)),
            Value::Null => Ok(Value::Int(0)),
            other => Err(failed(format!("len of type {}", other.kind()))),
        },
        ("print", values) => Ok(Value::Text(print(values))),
        ("println", values) => {
            let words: Vec<String> = values.iter().map(ToString::to_string).collect();
            Ok(Value::Text(format!("{}\n", words.join(" "))))
        }
        ("printf", [Value::Text(format), values @ ..]) => Ok(Value::Text(printf(format, values))),
        ("json", [value]) => serde_json::to_string(value)
            .map(|text| Value::Text(escape_html(&text)))
            .map_err(|error| failed(error.to_string())),
        ("join", [list, Value::Text(separator)]) => match list {
            Value::List(items) => {
                let words: Vec<String> = items.iter().map(ToString::to_string).collect();
                Ok(Value::Text(words.join(separator)))
            }
            Value::Null => Ok(Value::from("")),
            other => Err(failed(format!(
                "wrong type for value; expected []string; got {}",
                other.kind()
            ))),
        },
        ("split", [Value::Text(text), Value::Text(separator)]) => Ok(Value::List(if separator.is_empty() {
            text.chars().map(|c| Value::Text(c.to_string())).collect()
        } else {
            text.split(separator.as_str()).map(Value::from).collect()
        })),
        ("lower", [Value::Text(text)]) => Ok(Value::Text(text.to_lowercase())),
        ("upper", [Value::Text(text)]) => Ok(Value::Text(text.to_uppercase())),
        ("title", [Value::Text(text)]) => Ok(Value::Text(title(text))),
        ("truncate", [Value::Text(text), Value::Int(length)]) => {
            let length = usize::try_from(*length).unwrap_or(0);
            Ok(Value::Text(text.chars().take(length).collect()))
        }
        ("pad", [Value::Text(text), Value::Int(before), Value::Int(after)]) => {
            let blanks = |count: i64| " ".repeat(usize::try_from(count).unwrap_or(0).min(4096));
            Ok(Value::Text(if text.is_empty() {
                String::new()
            } else {
                format!("{}{text}{}", blanks(*before), blanks(*after))
            }))
        }
        ("html", values) => Ok(Value::Text(
            print(values)
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&#34;")
                .replace('\'', "&#39;"),
        )),
        ("urlquery", values) => Ok(Value::Text(
            crate::client::escape(&print(values))
                .replace("%20", "+")
                .replace('/', "%2F")
                .replace(':', "%3A"),
        )),
        ("lower" | "upper" | "title", [other]) => Err(failed(format!(
            "wrong type for value; expected string; got {}",
            other.kind()
        ))),
        ("truncate" | "split" | "join" | "ne" | "lt" | "le" | "gt" | "ge", _) => wrong("2"),
        ("pad", _) => wrong("3"),
        _ => wrong("at least 1"),
    }
}

/// Go's JSON encoder writes these three as escapes; outside strings they do not occur.
pub(crate) fn escape_html(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// Go's `Sprint`: a blank between operands when neither is text.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        let text = |value: &Value| matches!(value, Value::Text(_));
        if at > 0 && !text(value) && !text(&values[at - 1]) {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    out
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let shown = if start {
                c.to_uppercase().next().unwrap_or(c)
            } else {
                c
            };
            start = !c.is_alphanumeric() && c != '_' && c != '\'';
            shown
        })
        .collect()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(int) => Some(*int as f64),
        Value::Uint(int) => Some(*int as f64),
        Value::Float(float) => Some(*float),
        _ => None,
    }
}

fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
        (Value::Null, Value::Null) => Ok(Some(Ordering::Equal)),
        (Value::Null, _) | (_, Value::Null) => Ok(None),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => Ok(a.partial_cmp(&b)),
            _ => Err("incompatible types for comparison".to_owned()),
        },
    }
}

fn ordered(a: &Value, b: &Value, holds: fn(Ordering) -> bool) -> Result<Value, String> {
    match compare(a, b)? {
        Some(ordering) => Ok(Value::Bool(holds(ordering))),
        None => Err("invalid type for comparison".to_owned()),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::List(items), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| items.get(at))
            .cloned()
            .ok_or_else(|| format!("index out of range: {at}")),
        (Value::Map(entries), Value::Text(key)) => Ok(entries
            .iter()
            .find(|(name, _)| name == key)
            .map_or(Value::Text(String::new()), |(_, v)| v.clone())),
        (Value::Text(text), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| text.as_bytes().get(at))
            .map(|byte| Value::Int(i64::from(*byte)))
            .ok_or_else(|| format!("index out of range: {at}")),
        (Value::Null, _) => Err("index of untyped nil".to_owned()),
        (Value::List(_) | Value::Text(_), key) => {
            Err(format!("cannot index slice/array with type {}", key.kind()))
        }
        (value, _) => Err(format!("can't index item of type {}", value.kind())),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", other.kind())),
    };
    let mut ends = [0, length];
    for (end, bound) in ends.iter_mut().zip(bounds) {
        *end = match bound {
            Value::Int(at) => usize::try_from(*at)
                .ok()
                .filter(|at| *at <= length)
                .ok_or_else(|| format!("index out of range: {at}"))?,
            other => return Err(format!("cannot index slice/array with type {}", other.kind())),
        };
    }
    let [from, to] = ends;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match value {
        Value::Text(text) => Value::Text(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()),
        Value::List(items) => Value::List(items[from..to].to_vec()),
        _ => Value::Null,
    })
}
