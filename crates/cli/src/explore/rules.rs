//! Thresholds of `--ci`, by the names and the file of dive.

use fs_err as fs;
use havre_explore::Waste;

use crate::error::CliError;
use crate::format::size;

/// The file that is read if it is there and none is named.
const FILE: &str = ".dive-ci";

/// What the command line says: it counts before the file.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) lowest_efficiency: Option<String>,
    pub(crate) highest_wasted_bytes: Option<String>,
    pub(crate) highest_user_wasted_percent: Option<String>,
}

/// The thresholds: of what is not there nothing is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rules {
    lowest_efficiency: Option<f64>,
    highest_wasted_bytes: Option<u64>,
    highest_user_wasted_percent: Option<f64>,
}

/// The outcome of a rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) rule: &'static str,
    /// [`None`]: the rule is disabled.
    pub(crate) passed: Option<bool>,
    pub(crate) message: String,
}

const EFFICIENCY: &str = "lowestEfficiency";
const BYTES: &str = "highestWastedBytes";
const SHARE: &str = "highestUserWastedPercent";

impl Rules {
    /// The command line, then the file, then dive's defaults.
    pub(crate) fn read(given: Given, file: Option<&str>) -> Result<Self, CliError> {
        let text = match file {
            Some(file) => fs::read_to_string(file)?,
            None => match fs::read_to_string(FILE) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error.into()),
            },
        };
        let of_file = parse(&text)
            .map_err(|reason| CliError::Invalid(format!("{}: {reason}", file.unwrap_or(FILE))))?;
        let value = |given: Option<String>, file: Option<String>, default: &str| {
            given.or(file).unwrap_or_else(|| default.to_owned())
        };
        Ok(Self {
            lowest_efficiency: share(
                EFFICIENCY,
                &value(given.lowest_efficiency, of_file.lowest_efficiency, "0.9"),
            )?,
            highest_wasted_bytes: bytes(&value(
                given.highest_wasted_bytes,
                of_file.highest_wasted_bytes,
                "disabled",
            ))?,
            highest_user_wasted_percent: share(
                SHARE,
                &value(
                    given.highest_user_wasted_percent,
                    of_file.highest_user_wasted_percent,
                    "0.1",
                ),
            )?,
        })
    }

    pub(crate) fn judge(&self, waste: &Waste) -> [Outcome; 3] {
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        let efficiency = self.lowest_efficiency.map(|least| {
            let asked = format!("at least {}", percent(least));
            (waste.efficiency >= least, percent(waste.efficiency), asked)
        });
        let human = |bytes: u64| size::short(i64::try_from(bytes).unwrap_or(i64::MAX));
        let wasted = self.highest_wasted_bytes.map(|most| {
            let asked = format!("at most {}", human(most));
            (waste.wasted_bytes <= most, human(waste.wasted_bytes), asked)
        });
        let user = self.highest_user_wasted_percent.map(|most| {
            let asked = format!("at most {}", percent(most));
            (
                waste.user_wasted_share <= most,
                percent(waste.user_wasted_share),
                asked,
            )
        });
        [(SHARE, user), (BYTES, wasted), (EFFICIENCY, efficiency)].map(|(rule, found)| match found {
            None => Outcome {
                rule,
                passed: None,
                message: "disabled".to_owned(),
            },
            Some((passed, is, asked)) => Outcome {
                rule,
                passed: Some(passed),
                message: format!("{is}, asked: {asked}"),
            },
        })
    }
}

fn is_disabled(value: &str) -> bool {
    matches!(
        value.trim().to_ascii_lowercase().as_str(),
        "" | "disabled" | "off" | "false"
    )
}

fn share(rule: &str, value: &str) -> Result<Option<f64>, CliError> {
    if is_disabled(value) {
        return Ok(None);
    }
    match value.trim().parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(Some(number)),
        _ => Err(CliError::Invalid(format!(
            "{rule}: {value:?} is no number from 0 to 1, nor 'disabled'"
        ))),
    }
}

/// `20MB`, `512KiB`, `1024`, with dive's units: those of ten, and with an `i` those of two.
fn bytes(value: &str) -> Result<Option<u64>, CliError> {
    if is_disabled(value) {
        return Ok(None);
    }
    let invalid = || {
        CliError::Invalid(format!(
            "{BYTES}: {value:?} is no size, as 20MB or 512KiB, nor 'disabled'"
        ))
    };
    let text = value.trim().to_ascii_lowercase();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| invalid())?;
    let unit = text[end..].trim();
    let letters = unit.strip_suffix('b').unwrap_or(unit);
    let (letters, base) = match letters.strip_suffix('i') {
        Some(letters) => (letters, 1024.0_f64),
        None => (letters, 1000.0),
    };
    let power = match letters {
        "" if base > 1000.0 => return Err(invalid()),
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(invalid()),
    };
    let bytes = number * base.powi(power);
    if !bytes.is_finite() || bytes >= u64::MAX as f64 {
        return Err(invalid());
    }
    Ok(Some(bytes as u64))
}

/// The three keys below `rules:`, each on a line of its own; comments, quotes and dive's older hyphens are understood.
fn parse(text: &str) -> Result<Given, String> {
    let mut given = Given::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split_once(" #").map_or(line, |(before, _)| before).trim();
        if line.is_empty() || line.starts_with('#') || matches!(line, "---" | "rules:") {
            continue;
        }
        let wrong = |what: &str| Err(format!("line {}: {what}: {line:?}", number + 1));
        let Some((key, value)) = line.split_once(':') else {
            return wrong("expected KEY: VALUE");
        };
        let value = value.trim().trim_matches(['"', '\'']).to_owned();
        let place = match key.trim().trim_matches(['"', '\'']) {
            EFFICIENCY | "lowest-efficiency" => &mut given.lowest_efficiency,
            BYTES | "highest-wasted-bytes" => &mut given.highest_wasted_bytes,
            SHARE | "highest-user-wasted-percent" => &mut given.highest_user_wasted_percent,
            _ => return wrong("unknown rule"),
        };
        *place = Some(value);
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_dive() {
        let given = parse(
            "---\nrules:\n  # not less\n  lowestEfficiency: 0.95   # of 1\n  highestWastedBytes: \"20MB\"\n  highest-user-wasted-percent: disabled\n",
        )
        .unwrap();
        assert_eq!(given.lowest_efficiency.as_deref(), Some("0.95"));
        assert_eq!(given.highest_wasted_bytes.as_deref(), Some("20MB"));
        assert_eq!(given.highest_user_wasted_percent.as_deref(), Some("disabled"));
        assert_eq!(
            parse("rules:\n  lowestEficiency: 1\n").unwrap_err(),
            "line 2: unknown rule: \"lowestEficiency: 1\""
        );
    }

    #[test]
    fn sizes() {
        for (text, number) in [
            ("20MB", 20_000_000),
            ("1.5 kB", 1500),
            ("512KiB", 512 << 10),
            ("7", 7),
            ("2g", 2_000_000_000),
        ] {
            assert_eq!(bytes(text).unwrap(), Some(number), "{text}");
        }
        assert_eq!(bytes("disabled").unwrap(), None);
        for text in ["x", "5 apples", "-1", "1ib", "1e99"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert!(share(EFFICIENCY, "1.1").is_err() && share(EFFICIENCY, "nan").is_err());
    }
}
