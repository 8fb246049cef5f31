//! Durations as Go's `time.ParseDuration` reads them, with its errors.

use std::str::FromStr;

use super::ValueError;

/// Nanoseconds written as `1h15m`, `1.5s`, `300ms`, `-2s` or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) i64);

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let invalid = || ValueError::Duration(text.to_owned());
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (whole, after) = digits(rest);
            let (fraction, after) = match after.strip_prefix('.') {
                Some(after) => digits(after),
                None => ("", after),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(invalid());
            }
            let end = after
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            if unit.is_empty() {
                return Err(ValueError::Unitless(text.to_owned()));
            }
            let factor: i128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => {
                    return Err(ValueError::Unit {
                        unit: unit.to_owned(),
                        text: text.to_owned(),
                    });
                }
            };
            let whole: i128 = match whole {
                "" => 0,
                whole => whole
                    .parse()
                    .ok()
                    .filter(|number| *number <= i128::from(i64::MAX))
                    .ok_or_else(invalid)?,
            };
            // What is finer than a nanosecond of an hour is nothing.
            let fraction = &fraction[..fraction.len().min(18)];
            let part = match fraction {
                "" => 0,
                fraction => {
                    let number: i128 = fraction.parse().map_err(|_| invalid())?;
                    number * factor / 10_i128.pow(fraction.len() as u32)
                }
            };
            total += whole * factor + part;
            if total > i128::from(i64::MAX) {
                return Err(invalid());
            }
            rest = after;
        }
        i64::try_from(sign * total).map(Self).map_err(|_| invalid())
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("5s", 5_000_000_000),
            ("1h15m30.918s", 4_530_918_000_000),
            ("+.5m", 30_000_000_000),
            ("1.s", 1_000_000_000),
            ("300ms", 300_000_000),
            ("2us3µs4ns", 5_004),
            ("-1.5h", -5_400_000_000_000),
            ("0.33333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Span(nanoseconds)), "{text}");
        }
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("s", "time: invalid duration \"s\""),
            (".s", "time: invalid duration \".s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1s5", "time: missing unit in duration \"1s5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("1 s", "time: unknown unit \" s\" in duration \"1 s\""),
            (
                "9223372036854775808ns",
                "time: invalid duration \"9223372036854775808ns\"",
            ),
            (
                "99999999999999999999999999999999999999999h",
                "time: invalid duration \"99999999999999999999999999999999999999999h\"",
            ),
            ("3000000h", "time: invalid duration \"3000000h\""),
        ] {
            assert_eq!(text.parse::<Span>().unwrap_err().to_string(), error);
        }
    }
}
