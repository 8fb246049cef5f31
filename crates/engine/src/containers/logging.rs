//! Log drivers: what a container's options say of its log, and what its entries say of the container.

use std::collections::BTreeMap;

use havre_runtime::logs::LogFormat;
use regex::Regex;

use super::LogConfig;
use super::record::Record;
use crate::{EngineError, Result};

/// Drivers that exist elsewhere, and need a program that is not here.
const ELSEWHERE: &[&str] = &[
    "awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "splunk", "syslog",
];

/// What the local driver does unless told otherwise.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILES: u32 = 5;

/// A log that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Logging {
    pub format: LogFormat,
    pub max_size: Option<u64>,
    pub max_files: u32,
    pub compress: bool,
    extra: Extra,
}

/// Which attributes entries have.
#[derive(Debug, Clone, Default)]
struct Extra {
    labels: Vec<String>,
    labels_regex: Option<Regex>,
    env: Vec<String>,
    env_regex: Option<Regex>,
    tag: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

/// What a tag can say.
const FIELDS: &[&str] = &[
    "Command",
    "ContainerID",
    "ContainerImageID",
    "ContainerImageName",
    "ContainerName",
    "DaemonName",
    "FullID",
    "Hostname",
    "ID",
    "ImageFullID",
    "ImageID",
    "ImageName",
    "Name",
];

fn cannot(reason: impl std::fmt::Display) -> EngineError {
    EngineError::invalid(format!("failed to initialize logging driver: {reason}"))
}

impl Logging {
    /// `None`: nothing is logged.
    pub(crate) fn parse(config: &LogConfig) -> Result<Option<Self>> {
        let mut logging = match config.driver.as_str() {
            "none" => return Ok(None),
            "" | "json-file" => Logging {
                format: LogFormat::Json,
                max_size: None,
                max_files: 1,
                compress: false,
                extra: Extra::default(),
            },
            "local" => Logging {
                format: LogFormat::Local,
                max_size: Some(LOCAL_SIZE),
                max_files: LOCAL_FILES,
                compress: true,
                extra: Extra::default(),
            },
            known if ELSEWHERE.contains(&known) => {
                return Err(EngineError::invalid(format!(
                    "log driver {known} is not supported: logs are kept here by json-file or local, or not at all by none"
                )));
            }
            other => {
                return Err(EngineError::invalid(format!(
                    "error looking up logging plugin {other}: plugin \"{other}\" not found (there are json-file, local and none)"
                )));
            }
        };
        let local = logging.format == LogFormat::Local;
        check_mode(&config.options)?;
        for (key, value) in &config.options {
            let list = || {
                value
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
            };
            let pattern = || {
                let pattern = (!value.is_empty()).then(|| Regex::new(value)).transpose();
                pattern.map_err(|error| cannot(format!("error parsing regexp of {key}: {error}")))
            };
            match key.as_str() {
                "mode" => {}
                "max-size" => logging.max_size = size(value)?,
                "max-file" => {
                    let count: i64 = value.parse().map_err(|_| {
                        cannot(format!("invalid value for max-file: {value:?} is not a number"))
                    })?;
                    logging.max_files = u32::try_from(count)
                        .ok()
                        .filter(|count| *count > 0)
                        .ok_or_else(|| cannot("max-file cannot be less than 1"))?;
                }
                "compress" => {
                    logging.compress = match value.as_str() {
                        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
                        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
                        _ => {
                            return Err(cannot(format!(
                                "invalid value for compress: {value:?} is neither true nor false"
                            )));
                        }
                    };
                }
                "labels" => logging.extra.labels = list().collect(),
                "labels-regex" => logging.extra.labels_regex = pattern()?,
                "env" => logging.extra.env = list().collect(),
                "env-regex" => logging.extra.env_regex = pattern()?,
                "tag" => logging.extra.tag = template(value)?,
                _ if local => {
                    return Err(EngineError::invalid(format!(
                        "unknown log opt '{key}' for log driver local"
                    )));
                }
                _ => {
                    return Err(EngineError::invalid(format!(
                        "unknown log opt '{key}' for json-file log driver"
                    )));
                }
            }
        }
        let alone = logging.max_files < 2 || logging.max_size.is_none();
        if logging.compress && alone {
            return Err(cannot(if local {
                "compression cannot be enabled when max file count is 1"
            } else {
                "compress cannot be true when max-file is less than 2 or max-size is not set"
            }));
        }
        Ok(Some(logging))
    }

    /// What the entries of a container's log say of it.
    pub(crate) fn attributes(&self, record: &Record) -> BTreeMap<String, String> {
        let extra = &self.extra;
        let mut attributes = BTreeMap::new();
        let mut add = |key: &str, value: &str, keys: &[String], regex: Option<&Regex>| {
            if keys.iter().any(|wanted| wanted == key) || regex.is_some_and(|regex| regex.is_match(key)) {
                attributes.insert(key.to_owned(), value.to_owned());
            }
        };
        for (key, value) in &record.config.labels {
            add(key, value, &extra.labels, extra.labels_regex.as_ref());
        }
        for (key, value) in record.config.env.iter().filter_map(|entry| entry.split_once('=')) {
            add(key, value, &extra.env, extra.env_regex.as_ref());
        }
        let tag: String = extra.tag.iter().map(|piece| piece.of(record)).collect();
        if !tag.is_empty() {
            attributes.insert("tag".to_owned(), tag);
        }
        attributes
    }
}

impl Piece {
    fn of(&self, record: &Record) -> String {
        let field = match self {
            Piece::Text(text) => return text.clone(),
            Piece::Field(field) => field,
        };
        match field.as_str() {
            "ID" => record.short_id().to_owned(),
            "FullID" | "ContainerID" => record.id.clone(),
            "Name" => record.name.clone(),
            "ContainerName" => format!("/{}", record.name),
            "ImageID" => record.image.hex()[..12].to_owned(),
            "ImageFullID" | "ContainerImageID" => record.image.to_string(),
            "ImageName" | "ContainerImageName" => record.config.image.clone(),
            "DaemonName" => "docker".to_owned(),
            "Hostname" => super::spec::host_name(),
            "Command" => record.args.join(" "),
            _ => String::new(),
        }
    }
}

/// Where and how waiting for the log is decided: here a program never waits for a reader.
fn check_mode(options: &BTreeMap<String, String>) -> Result<()> {
    match options.get("mode").map(String::as_str) {
        None | Some("" | "blocking") => {}
        Some("non-blocking") => {
            return Err(EngineError::invalid(
                "log opt 'mode=non-blocking' is not supported: a log is a local file here, which waits for no reader; leave \
                 mode and max-buffer-size out",
            ));
        }
        Some(mode) => {
            return Err(EngineError::invalid(format!(
                "logger: logging mode not supported: {mode}"
            )));
        }
    }
    if options.contains_key("max-buffer-size") {
        return Err(EngineError::invalid(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ));
    }
    Ok(())
}

/// `10m`, `1.5GB`, `64k`: powers of 1000, as Docker reads sizes of logs; -1 is without a limit.
fn size(text: &str) -> Result<Option<u64>> {
    if text == "-1" {
        return Ok(None);
    }
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let invalid = || cannot(format!("invalid size: '{text}'"));
    let number: f64 = text[..split].parse().map_err(|_| invalid())?;
    let unit = text[split..].trim().to_ascii_lowercase();
    let power = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(invalid()),
    };
    let bytes = number * 1000f64.powi(power);
    if !(0.0..9.0e18).contains(&bytes) {
        return Err(invalid());
    }
    match bytes as u64 {
        0 => Err(cannot("max-size must be a positive number")),
        bytes => Ok(Some(bytes)),
    }
}

/// Text with `{{.Field}}` in it.
fn template(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, behind) = after
            .split_once("}}")
            .ok_or_else(|| cannot("template: log-tag: unclosed action"))?;
        let field = action
            .trim()
            .strip_prefix('.')
            .filter(|field| FIELDS.contains(field));
        let field = field.ok_or_else(|| {
            cannot(format!(
                "template: log-tag: cannot evaluate {{{{{action}}}}}: a tag can have {}",
                FIELDS
                    .iter()
                    .map(|field| format!("{{{{.{field}}}}}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
        })?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Field(field.to_owned()));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: &str, options: &[(&str, &str)]) -> Result<Option<Logging>> {
        Logging::parse(&LogConfig {
            driver: driver.to_owned(),
            options: options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        })
    }

    #[test]
    fn options_are_read() {
        let log = parse(
            "",
            &[("max-size", "10m"), ("max-file", "3"), ("compress", "true")],
        );
        let log = log.unwrap().unwrap();
        assert_eq!(
            (log.format, log.max_size, log.max_files, log.compress),
            (LogFormat::Json, Some(10_000_000), 3, true)
        );
        let log = parse("local", &[("mode", "blocking")]).unwrap().unwrap();
        assert_eq!(
            (log.format, log.max_size, log.max_files, log.compress),
            (LogFormat::Local, Some(20 << 20), 5, true)
        );
        assert!(parse("none", &[("whatever", "1")]).unwrap().is_none());
        // Without a size nothing is rotated, whatever the number of files.
        assert_eq!(
            parse("json-file", &[("max-file", "3")])
                .unwrap()
                .unwrap()
                .max_size,
            None
        );
        assert_eq!(
            parse("json-file", &[("max-size", "-1")])
                .unwrap()
                .unwrap()
                .max_size,
            None
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_dockers_words() {
        for (driver, options, said) in [
            (
                "json-file",
                ("max-size", "abc"),
                "failed to initialize logging driver: invalid size: 'abc'",
            ),
            (
                "json-file",
                ("max-size", "0"),
                "max-size must be a positive number",
            ),
            ("json-file", ("max-file", "0"), "max-file cannot be less than 1"),
            ("json-file", ("max-file", "x"), "max-file"),
            ("json-file", ("compress", "maybe"), "compress"),
            (
                "json-file",
                ("compress", "true"),
                "compress cannot be true when max-file is less than 2",
            ),
            (
                "local",
                ("max-file", "1"),
                "compression cannot be enabled when max file count is 1",
            ),
            (
                "json-file",
                ("nope", "1"),
                "unknown log opt 'nope' for json-file log driver",
            ),
            (
                "local",
                ("nope", "1"),
                "unknown log opt 'nope' for log driver local",
            ),
            (
                "json-file",
                ("mode", "x"),
                "logger: logging mode not supported: x",
            ),
            ("json-file", ("mode", "non-blocking"), "leave mode"),
            (
                "json-file",
                ("max-buffer-size", "1m"),
                "only supported with 'mode=non-blocking'",
            ),
            ("json-file", ("labels-regex", "("), "labels-regex"),
            ("json-file", ("tag", "{{.Name"), "unclosed action"),
            ("json-file", ("tag", "{{.Foo}}"), "{{.Name}}"),
            (
                "syslog",
                ("tag", "x"),
                "log driver syslog is not supported: logs are kept here by json-file or local",
            ),
            ("zap", ("tag", "x"), "plugin \"zap\" not found"),
        ] {
            let error = parse(driver, &[options]).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn tags_are_text_with_fields() {
        assert_eq!(
            template("a/{{.Name}}{{ .ID }}z").unwrap(),
            [
                Piece::Text("a/".to_owned()),
                Piece::Field("Name".to_owned()),
                Piece::Field("ID".to_owned()),
                Piece::Text("z".to_owned())
            ]
        );
        assert_eq!(template("").unwrap(), []);
    }
}
