//! Values of flags as Docker's client reads them: sizes, decimals, booleans, integers.

mod span;

use std::str::FromStr;

pub(crate) use span::Span;

/// A number of bytes written as people do: `512`, `64m`, `1.5g`, `2GiB`; -1 where the flag allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) i64);

/// Why a value is refused; worded as Docker's client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// Not a size.
    #[error("invalid size: '{0}'")]
    Size(String),
    /// Not a decimal number.
    #[error("failed to parse {0} as a rational number")]
    Decimal(String),
    /// More than nine digits behind the point.
    #[error("value is too precise")]
    Precise,
    /// Not a boolean.
    #[error("strconv.ParseBool: parsing \"{0}\": invalid syntax")]
    Bool(String),
    /// Not a duration.
    #[error("time: invalid duration {0:?}")]
    Duration(String),
    /// A duration without its unit.
    #[error("time: missing unit in duration {0:?}")]
    Unitless(String),
    /// A duration with a unit that Go doesn't know.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    Unit { unit: String, text: String },
    /// No `key=value`.
    #[error("{0} must be formatted as key=value")]
    Pair(String),
    /// Not an integer.
    #[error("strconv.ParseInt: parsing \"{0}\": invalid syntax")]
    Int(String),
}

/// `key=value,key=value`, where a value with a comma stands in double quotes as in CSV: pflag's `stringToString`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl FromStr for Pairs {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fields = match text.matches('=').count() {
            1 => vec![text.trim_matches('"').to_owned()],
            _ => crate::spec::mounts::csv(text),
        };
        fields
            .iter()
            .map(|field| {
                let (key, value) = field
                    .split_once('=')
                    .ok_or_else(|| ValueError::Pair(field.clone()))?;
                Ok((key.to_owned(), value.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "-1" {
            return Ok(Self(-1));
        }
        let bad = || ValueError::Size(text.to_owned());
        let split = text
            .rfind(|c: char| c.is_ascii_digit() || c == '.')
            .ok_or_else(bad)?
            + 1;
        let (number, suffix) = text.split_at(split);
        let suffix = suffix.trim_start_matches(' ').to_ascii_lowercase();
        let shift = match suffix.as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            "p" | "pb" | "pib" => 50,
            _ => return Err(bad()),
        };
        let value: f64 = number.parse().map_err(|_| bad())?;
        if !value.is_finite() || value < 0.0 {
            return Err(bad());
        }
        let bytes = value * (1_i64 << shift) as f64;
        if bytes >= i64::MAX as f64 {
            return Err(bad());
        }
        Ok(Self(bytes as i64))
    }
}

/// A number of processors in billionths: `--cpus 1.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NanoCpus(pub(crate) i64);

impl FromStr for NanoCpus {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bad = || ValueError::Decimal(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return Err(bad());
        }
        let trimmed = fraction.trim_end_matches('0');
        if trimmed.len() > 9 {
            return Err(ValueError::Precise);
        }
        let whole: i64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| bad())?
        };
        let fraction: i64 = format!("{trimmed:0<9}").parse().map_err(|_| bad())?;
        whole
            .checked_mul(1_000_000_000)
            .and_then(|n| n.checked_add(fraction))
            .map(Self)
            .ok_or_else(bad)
    }
}

/// A boolean as Go's flag packages read it.
pub(crate) fn parse_bool(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ValueError::Bool(text.to_owned())),
    }
}

/// A signed integer flag.
pub(crate) fn parse_int(text: &str) -> Result<i64, ValueError> {
    text.parse().map_err(|_| ValueError::Int(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("1.5g", 3 << 29),
            ("2GiB", 2 << 30),
            ("10 k", 10 << 10),
            ("-1", -1),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "m", "-5", "12x", "1e400", "99999999999p", "1..2", "nan"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn cpus() {
        assert_eq!("1.5".parse(), Ok(NanoCpus(1_500_000_000)));
        assert_eq!(".25".parse(), Ok(NanoCpus(250_000_000)));
        assert_eq!("2".parse(), Ok(NanoCpus(2_000_000_000)));
        assert_eq!("0.0000000001".parse::<NanoCpus>(), Err(ValueError::Precise));
        assert!("one".parse::<NanoCpus>().is_err());
        assert!("-1".parse::<NanoCpus>().is_err());
    }

    #[test]
    fn booleans_are_go_booleans() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("0"), Ok(false));
        assert_eq!(
            parse_bool("foo").unwrap_err().to_string(),
            "strconv.ParseBool: parsing \"foo\": invalid syntax"
        );
    }
}
