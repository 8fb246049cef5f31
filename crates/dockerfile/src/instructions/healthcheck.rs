//! `HEALTHCHECK` and the durations in its flags.

use havre_oci::Healthcheck;

use super::InstructionError;
use super::flags::Flags;
use crate::parser::{Node, json_strings};

pub(super) fn read(node: &Node) -> Result<Healthcheck, InstructionError> {
    let (kind, rest) = node
        .rest
        .split_once(char::is_whitespace)
        .unwrap_or((&node.rest, ""));
    let rest = rest.trim();
    let mut flags = Flags::new(&node.flags);
    match kind.to_ascii_uppercase().as_str() {
        "" => Err(InstructionError::AtLeastOne("HEALTHCHECK")),
        "NONE" => {
            if !rest.is_empty() {
                return Err(InstructionError::HealthcheckNone);
            }
            flags.finish()?;
            Ok(Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Healthcheck::default()
            })
        }
        "CMD" => {
            let test = match json_strings(rest) {
                Some(Ok(words)) if !words.is_empty() => [vec!["CMD".to_owned()], words].concat(),
                Some(Err(_)) => return Err(InstructionError::NotStrings),
                _ if rest.is_empty() || rest == "[]" => return Err(InstructionError::HealthcheckCommand),
                _ => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
            };
            let mut time = |name: &str| match flags.value(name)? {
                None => Ok(0),
                Some(text) => {
                    let nanos = duration(&text).ok_or_else(|| InstructionError::Duration {
                        flag: name.to_owned(),
                        value: text,
                    })?;
                    match nanos {
                        0 => Ok(0),
                        1..1_000_000 => Err(InstructionError::ShortDuration(name.to_owned())),
                        nanos if nanos < 0 => Err(InstructionError::ShortDuration(name.to_owned())),
                        nanos => Ok(nanos),
                    }
                }
            };
            let (interval, timeout) = (time("--interval")?, time("--timeout")?);
            let (start_period, start_interval) = (time("--start-period")?, time("--start-interval")?);
            let retries = match flags.value("--retries")? {
                None => 0,
                Some(text) => match text.parse::<i32>() {
                    Ok(number) if number >= 0 => i64::from(number),
                    Ok(_) => return Err(InstructionError::NegativeRetries(text)),
                    Err(_) => {
                        return Err(InstructionError::Number {
                            flag: "--retries",
                            value: text,
                        });
                    }
                },
            };
            flags.finish()?;
            Ok(Healthcheck {
                test,
                interval,
                timeout,
                start_period,
                start_interval,
                retries,
            })
        }
        _ => Err(InstructionError::HealthcheckKind(kind.to_owned())),
    }
}

/// Go's `time.ParseDuration`, in nanoseconds: `1h2m3.5s`, `300ms`, `-1.5h`, `0`.
pub(super) fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (factor, length) = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 6e10),
            ("h", 3.6e12),
        ]
        .into_iter()
        .filter(|(unit, _)| rest.starts_with(unit))
        .max_by_key(|(unit, _)| unit.len())
        .map(|(unit, factor)| (factor, unit.len()))?;
        rest = &rest[length..];
        total += number * factor;
    }
    if total > 9.2e18 {
        return None;
    }
    Some(sign * total.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go() {
        let rows = [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("300ms", Some(300_000_000)),
            ("-2us", Some(-2_000)),
            ("0", Some(0)),
            ("30", None),
            ("s", None),
            ("", None),
            ("1x", None),
            ("1e5s", None),
            ("99999999999h", None),
        ];
        for (text, expected) in rows {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}
