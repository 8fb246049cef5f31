//! `--change` of import and commit: Dockerfile instructions that only touch the configuration.

use std::collections::BTreeMap;

use havre_oci::{Healthcheck, RunConfig};

use crate::filter::go_duration;

/// An instruction that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    #[error("{0} is not a valid change command")]
    Unsupported(String),
    #[error("{instruction} requires at least one argument")]
    NoArgument { instruction: String },
    #[error("{instruction} requires exactly one argument")]
    OneArgument { instruction: String },
    #[error("syntax error - can't find = in {word:?}. Must be of the form: name=value")]
    NameValue { word: String },
    #[error("{instruction} names can not be blank")]
    BlankName { instruction: String },
    #[error("invalid containerPort: {0}")]
    Port(String),
    #[error("unterminated quote in {0:?}")]
    Quote(String),
    #[error("invalid signal: {0}")]
    Signal(String),
    #[error("invalid HEALTHCHECK: {0}")]
    Healthcheck(String),
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnBuild(String),
}

/// Applies `--change` instructions (of import and commit) to a configuration: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK,
/// LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR.
pub fn apply_changes(config: &mut RunConfig, changes: &[String]) -> Result<(), ChangeError> {
    for line in changes.iter().flat_map(|change| change.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let instruction = word.to_ascii_uppercase();
        let change = Change {
            instruction: &instruction,
            rest: rest.trim(),
        };
        change.apply(config)?;
    }
    Ok(())
}

struct Change<'a> {
    instruction: &'a str,
    rest: &'a str,
}

impl Change<'_> {
    fn apply(&self, config: &mut RunConfig) -> Result<(), ChangeError> {
        match self.instruction {
            "CMD" => {
                self.needed()?;
                config.cmd = Some(self.command(config));
                config.args_escaped = false;
            }
            "ENTRYPOINT" => {
                self.needed()?;
                let command = self.command(config);
                // An entrypoint of one's own makes the base's command meaningless; an empty one is "none".
                config.entrypoint = (!command.is_empty()).then_some(command);
            }
            "ENV" => {
                for (name, value) in self.pairs()? {
                    set_env(&mut config.env, &name, &value);
                }
            }
            "LABEL" => config.labels.extend(self.pairs()?),
            "EXPOSE" => {
                self.needed()?;
                for word in words(self.rest)? {
                    for port in ports(&word)? {
                        config.exposed_ports.insert(port, Default::default());
                    }
                }
            }
            "USER" => config.user = self.single()?,
            "WORKDIR" => config.working_dir = self.directory(&config.working_dir)?,
            "VOLUME" => {
                self.needed()?;
                let paths = json_list(self.rest).map_or_else(|| words(self.rest), Ok)?;
                for path in paths {
                    if path.trim().is_empty() {
                        return Err(ChangeError::BlankName {
                            instruction: "VOLUME".to_owned(),
                        });
                    }
                    config.volumes.insert(path, Default::default());
                }
            }
            "STOPSIGNAL" => {
                let signal = self.single()?;
                if !is_signal(&signal) {
                    return Err(ChangeError::Signal(signal));
                }
                config.stop_signal = signal;
            }
            "ONBUILD" => {
                self.needed()?;
                let trigger = self
                    .rest
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_ascii_uppercase();
                if matches!(trigger.as_str(), "ONBUILD" | "MAINTAINER" | "FROM") {
                    return Err(ChangeError::OnBuild(trigger));
                }
                config.on_build.push(self.rest.to_owned());
            }
            "HEALTHCHECK" => config.healthcheck = Some(self.healthcheck(config)?),
            other => return Err(ChangeError::Unsupported(other.to_owned())),
        }
        Ok(())
    }

    fn needed(&self) -> Result<(), ChangeError> {
        if self.rest.is_empty() {
            return Err(ChangeError::NoArgument {
                instruction: self.instruction.to_owned(),
            });
        }
        Ok(())
    }

    fn single(&self) -> Result<String, ChangeError> {
        match words(self.rest)?.as_slice() {
            [one] => Ok(one.clone()),
            _ => Err(ChangeError::OneArgument {
                instruction: self.instruction.to_owned(),
            }),
        }
    }

    /// The JSON form as it is, else a line for the shell.
    fn command(&self, config: &RunConfig) -> Vec<String> {
        json_list(self.rest).unwrap_or_else(|| {
            let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
            let mut command = config
                .shell
                .clone()
                .filter(|shell| !shell.is_empty())
                .unwrap_or_else(default);
            command.push(self.rest.to_owned());
            command
        })
    }

    /// `NAME=value …`, or the old form `NAME value with spaces`.
    fn pairs(&self) -> Result<BTreeMap<String, String>, ChangeError> {
        self.needed()?;
        let words = words(self.rest)?;
        let blank = || ChangeError::BlankName {
            instruction: self.instruction.to_owned(),
        };
        if !words.first().is_some_and(|word| word.contains('=')) {
            let (name, value) =
                self.rest
                    .split_once(char::is_whitespace)
                    .ok_or_else(|| ChangeError::NameValue {
                        word: self.rest.to_owned(),
                    })?;
            return Ok(BTreeMap::from([(name.to_owned(), value.trim().to_owned())]));
        }
        let mut pairs = BTreeMap::new();
        for word in words {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| ChangeError::NameValue { word: word.clone() })?;
            if name.is_empty() {
                return Err(blank());
            }
            pairs.insert(name.to_owned(), value.to_owned());
        }
        Ok(pairs)
    }

    /// An absolute, clean path; a relative one continues the present directory.
    fn directory(&self, present: &str) -> Result<String, ChangeError> {
        self.needed()?;
        let wanted = unquoted(self.rest)?;
        let joined = if wanted.starts_with('/') {
            wanted
        } else {
            format!("{present}/{wanted}")
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        Ok(format!("/{}", parts.join("/")))
    }

    fn healthcheck(&self, config: &RunConfig) -> Result<Healthcheck, ChangeError> {
        let invalid = |why: &str| ChangeError::Healthcheck(why.to_owned());
        let mut check = Healthcheck::default();
        let mut rest = self.rest;
        while let Some(flag) = rest.strip_prefix("--") {
            let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
            let (name, value) = flag
                .split_once('=')
                .ok_or_else(|| invalid("a flag has the form --NAME=VALUE"))?;
            rest = after.trim_start();
            if name == "retries" {
                check.retries = value
                    .parse()
                    .ok()
                    .filter(|n: &i64| *n >= 0)
                    .ok_or_else(|| invalid("--retries"))?;
                continue;
            }
            let nanos = go_duration(value)
                .and_then(|duration| i64::try_from(duration.as_nanos()).ok())
                .filter(|nanos| *nanos == 0 || *nanos >= 1_000_000)
                .ok_or_else(|| invalid(&format!("--{name} is not a duration of at least 1ms")))?;
            match name {
                "interval" => check.interval = nanos,
                "timeout" => check.timeout = nanos,
                "start-period" => check.start_period = nanos,
                "start-interval" => check.start_interval = nanos,
                _ => return Err(invalid(&format!("unknown flag: {name}"))),
            }
        }
        let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match kind.to_ascii_uppercase().as_str() {
            "NONE" if command.trim().is_empty() => check.test = vec!["NONE".to_owned()],
            "CMD" if !command.trim().is_empty() => {
                let command = command.trim();
                check.test = match json_list(command) {
                    Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
                    None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
                };
            }
            "NONE" => return Err(invalid("NONE takes no arguments")),
            "CMD" => return Err(invalid("missing command after HEALTHCHECK CMD")),
            other => {
                return Err(ChangeError::Healthcheck(format!(
                    "unknown type {other:?} (try CMD)"
                )));
            }
        }
        let _ = config;
        Ok(check)
    }
}

/// Replaces a variable or appends it.
fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
        Some(old) => *old = line,
        None => env.push(line),
    }
}

fn json_list(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') {
        serde_json::from_str(text).ok()
    } else {
        None
    }
}

/// Words separated by spaces; quotes group, a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, ChangeError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(ChangeError::Quote(text.to_owned()));
    }
    words.extend(word);
    Ok(words)
}

fn unquoted(text: &str) -> Result<String, ChangeError> {
    Ok(words(text)?.join(" "))
}

/// `80`, `80/udp`, `8000-8010/tcp`, each port for itself.
fn ports(text: &str) -> Result<Vec<String>, ChangeError> {
    let invalid = || ChangeError::Port(text.to_owned());
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(invalid());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (
        first.parse().map_err(|_| invalid())?,
        last.parse().map_err(|_| invalid())?,
    );
    if first > last || first == 0 {
        return Err(invalid());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|n| n.parse::<u8>().is_ok_and(|n| (1..=15).contains(&n)))
    };
    SIGNALS.contains(&name) || real_time("RTMIN+") || real_time("RTMAX-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<RunConfig, ChangeError> {
        let mut config = RunConfig {
            working_dir: "/srv".into(),
            ..RunConfig::default()
        };
        config.env.push("PATH=/bin".into());
        apply_changes(
            &mut config,
            &changes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>(),
        )?;
        Ok(config)
    }

    #[test]
    fn every_instruction_has_its_effect() {
        let config = changed(&[
            r#"cmd ["a", "b c"]"#,
            "ENTRYPOINT run it",
            r#"ENV A=1 B="two words" PATH=/x"#,
            "ENV OLD form with spaces",
            "LABEL k=v 'x y'=z",
            "EXPOSE 80 53/udp 8000-8002",
            "USER 1000:1000",
            "WORKDIR app/../lib",
            r#"VOLUME ["/data", "/log"]"#,
            "VOLUME /a /b",
            "STOPSIGNAL SIGQUIT",
            "ONBUILD RUN make",
            "HEALTHCHECK --interval=5s --retries=3 CMD curl -f localhost",
        ])
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "run it"]);
        assert_eq!(
            config.env,
            ["PATH=/x", "A=1", "B=two words", "OLD=form with spaces"]
        );
        assert_eq!(config.labels["x y"], "z");
        let ports: Vec<_> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
        assert_eq!(config.user, "1000:1000");
        assert_eq!(config.working_dir, "/srv/lib");
        assert_eq!(config.volumes.len(), 4);
        assert_eq!(config.stop_signal, "SIGQUIT");
        assert_eq!(config.on_build, ["RUN make"]);
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (5_000_000_000, 3));
        assert_eq!(check.test, ["CMD-SHELL", "curl -f localhost"]);
    }

    #[test]
    fn what_is_refused() {
        for (change, message) in [
            ("RUN make", "RUN is not a valid change command"),
            ("CMD", "CMD requires at least one argument"),
            ("USER a b", "USER requires exactly one argument"),
            (
                "ENV A=1 B",
                "syntax error - can't find = in \"B\". Must be of the form: name=value",
            ),
            ("ENV =1", "ENV names can not be blank"),
            ("EXPOSE 80/icmp", "invalid containerPort: 80/icmp"),
            ("EXPOSE 9-8", "invalid containerPort: 9-8"),
            ("LABEL a=\"b", "unterminated quote in \"a=\\\"b\""),
            ("STOPSIGNAL SIGFOO", "invalid signal: SIGFOO"),
            ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
            (
                "HEALTHCHECK --interval=x CMD y",
                "invalid HEALTHCHECK: --interval is not a duration of at least 1ms",
            ),
        ] {
            assert_eq!(changed(&[change]).unwrap_err().to_string(), message, "{change}");
        }
    }
}
