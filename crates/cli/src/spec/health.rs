//! `--health-*` and `--no-healthcheck`.

use serde_json::{Map, Value, json};

use super::SpecError;
use crate::args::container::container_flags::ContainerFlags;
use crate::values::Span;

/// The field `Healthcheck`; `None`: what the image says. Zeros and an empty command say nothing, as with Docker.
pub(crate) fn check(flags: &ContainerFlags) -> Result<Option<Value>, SpecError> {
    let spans = [
        ("interval", "Interval", flags.health_interval),
        ("timeout", "Timeout", flags.health_timeout),
        ("start-period", "StartPeriod", flags.health_start_period),
        ("start-interval", "StartInterval", flags.health_start_interval),
    ];
    let numbers = spans.map(|(flag, field, span)| (flag, field, span.map(|Span(nanoseconds)| nanoseconds)));
    let retries = [("retries", "Retries", flags.health_retries)];
    let mut check = Map::new();
    if let Some(line) = flags.health_cmd.as_ref().filter(|line| !line.is_empty()) {
        check.insert("Test".to_owned(), json!(["CMD-SHELL", line]));
    }
    for (flag, field, number) in numbers.into_iter().chain(retries) {
        match number.unwrap_or(0) {
            0 => {}
            number if number < 0 && !flags.no_healthcheck => {
                return Err(SpecError::value(format!("--health-{flag} cannot be negative")));
            }
            number => {
                check.insert(field.to_owned(), number.into());
            }
        }
    }
    match (flags.no_healthcheck, check.is_empty()) {
        (true, true) => Ok(Some(json!({"Test": ["NONE"]}))),
        (true, false) => Err(SpecError::value(
            "--no-healthcheck conflicts with --health-* options".to_owned(),
        )),
        (false, true) => Ok(None),
        (false, false) => Ok(Some(check.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::container::run::Run;
    use crate::parse::{Parsed, parse};

    fn told(words: &[&str]) -> Result<Option<Value>, String> {
        let words: Vec<String> = words
            .iter()
            .map(|word| (*word).to_owned())
            .chain(["x".to_owned()])
            .collect();
        match parse::<Run>("docker run", &words) {
            Ok(Parsed::Arguments(run)) => check(&run.container).map_err(|error| error.to_string()),
            Ok(Parsed::Help) => panic!("{words:?}"),
            Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    #[test]
    fn only_what_is_said() {
        assert_eq!(told(&[]), Ok(None));
        assert_eq!(told(&["--health-interval", "0", "--health-cmd", ""]), Ok(None));
        assert_eq!(told(&["--no-healthcheck"]), Ok(Some(json!({"Test": ["NONE"]}))));
        assert_eq!(told(&["--no-healthcheck=false"]), Ok(None));
        assert_eq!(
            told(&["--health-timeout=1.5s"]),
            Ok(Some(json!({"Timeout": 1_500_000_000})))
        );
        assert_eq!(
            told(&[
                "--health-cmd",
                "test -f /ok",
                "--health-interval",
                "1m",
                "--health-timeout",
                "2s",
                "--health-retries",
                "4",
                "--health-start-period",
                "5s",
                "--health-start-interval",
                "600ms",
            ]),
            Ok(Some(json!({
                "Test": ["CMD-SHELL", "test -f /ok"],
                "Interval": 60_000_000_000_i64,
                "Timeout": 2_000_000_000,
                "Retries": 4,
                "StartPeriod": 5_000_000_000_i64,
                "StartInterval": 600_000_000,
            })))
        );
    }

    #[test]
    fn nonsense_in_the_words_of_dockers_client() {
        for flag in ["interval", "timeout", "start-period", "start-interval"] {
            let name = format!("--health-{flag}");
            assert_eq!(
                told(&[&name, "-1s"]).unwrap_err(),
                format!("{name} cannot be negative")
            );
            assert_eq!(
                told(&[&name, "5"]).unwrap_err(),
                format!("invalid argument \"5\" for \"{name}\" flag: time: missing unit in duration \"5\"")
            );
        }
        assert_eq!(
            told(&["--health-retries", "-1"]).unwrap_err(),
            "--health-retries cannot be negative"
        );
        assert_eq!(
            told(&["--no-healthcheck", "--health-retries", "-1"]).unwrap_err(),
            "--no-healthcheck conflicts with --health-* options"
        );
    }
}
