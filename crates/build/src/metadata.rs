//! Instructions that change only the image's configuration.

use havre_oci::ImageConfig;

use crate::context::clean;
use crate::error::StepError;
use crate::expand;
use crate::instructions::{CommandLine, Kind};
use crate::state::{Globals, State};

/// Applies an instruction to the stage's configuration and gives its history text. `None` for instructions that make
/// files.
pub(crate) fn apply(
    kind: &Kind,
    state: &mut State,
    globals: &Globals,
    escape: char,
) -> Result<Option<String>, StepError> {
    let before = state.clone();
    let expand = |text: &str| {
        expand::word(text, &before, escape).map_err(|source| StepError::Expand {
            text: text.to_owned(),
            source,
        })
    };
    let config: &mut ImageConfig = &mut state.config;
    let comment = match kind {
        Kind::From(_) | Kind::Run(_) | Kind::Copy(_) | Kind::Workdir(_) => return Ok(None),
        Kind::Arg(args) => {
            let mut shown = Vec::new();
            for arg in args {
                let default = arg.default.as_deref().map(|text| {
                    expand::word(text, state, escape).map_err(|source| StepError::Expand {
                        text: text.to_owned(),
                        source,
                    })
                });
                let default = default.transpose()?;
                shown.push(match &default {
                    Some(value) => format!("{}={value}", arg.name),
                    None => arg.name.clone(),
                });
                let given = globals.given.get(&arg.name).cloned();
                let value = given
                    .or(default)
                    .or_else(|| globals.inherited(&arg.name).map(str::to_owned));
                match value {
                    Some(value) => state.args.insert(arg.name.clone(), value),
                    None => state.args.remove(&arg.name),
                };
            }
            return Ok(Some(state.nop(&format!("ARG {}", shown.join(" ")))));
        }
        Kind::Env(pairs) => {
            let mut shown = Vec::new();
            for (name, value) in pairs {
                let (name, value) = (expand(name)?, expand(value)?);
                if name.is_empty() {
                    return Err(StepError::BlankName("ENV"));
                }
                state.set_env(&name, &value);
                shown.push(format!("{name}={value}"));
            }
            format!("ENV {}", shown.join(" "))
        }
        Kind::Label(pairs) => {
            let mut shown = Vec::new();
            for (name, value) in pairs {
                let (name, value) = (expand(name)?, expand(value)?);
                if name.is_empty() {
                    return Err(StepError::BlankName("LABEL"));
                }
                shown.push(format!("{name}={value}"));
                config.config.labels.insert(name, value);
            }
            format!("LABEL {}", shown.join(" "))
        }
        Kind::Cmd(command) => {
            let words = words(command, &before);
            let comment = format!("CMD {}", quoted(&words));
            config.config.cmd = Some(words);
            config.config.args_escaped = false;
            state.cmd_set = true;
            comment
        }
        Kind::Entrypoint(command) => {
            let words = words(command, &before);
            let comment = format!("ENTRYPOINT {}", quoted(&words));
            config.config.entrypoint = (!words.is_empty()).then_some(words);
            // A command inherited from the base would be arguments of the wrong program.
            if !state.cmd_set {
                state.config.config.cmd = None;
            }
            comment
        }
        Kind::Expose(text) => {
            let ports = expand::words(text, &before, escape).map_err(|source| StepError::Expand {
                text: text.clone(),
                source,
            })?;
            for port in &ports {
                for exposed in exposed(port)? {
                    config.config.exposed_ports.insert(exposed, Default::default());
                }
            }
            format!("EXPOSE {}", ports.join(" "))
        }
        Kind::Volume(paths) => {
            let paths = paths
                .iter()
                .map(|path| expand(path))
                .collect::<Result<Vec<_>, _>>()?;
            for path in &paths {
                if path.trim().is_empty() {
                    return Err(StepError::EmptyVolume);
                }
                config.config.volumes.insert(path.clone(), Default::default());
            }
            format!("VOLUME [{}]", paths.join(" "))
        }
        Kind::User(user) => {
            let user = expand(user)?;
            let comment = format!("USER {user}");
            config.config.user = user;
            comment
        }
        Kind::Healthcheck(check) => {
            config.config.healthcheck = Some(check.clone());
            let time = |nanos: i64| quote(&go_duration(nanos));
            format!(
                "HEALTHCHECK &{{{} {} {} {} {} '\\x{:02x}'}}",
                quoted(&check.test),
                time(check.interval),
                time(check.timeout),
                time(check.start_period),
                time(check.start_interval),
                check.retries
            )
        }
        Kind::Shell(words) => {
            config.config.shell = Some(words.clone());
            format!("SHELL [{}]", words.join(" "))
        }
        Kind::StopSignal(signal) => {
            let signal = expand(signal)?;
            if !is_signal(&signal) {
                return Err(StepError::Signal(signal));
            }
            let comment = format!("STOPSIGNAL {signal}");
            config.config.stop_signal = signal;
            comment
        }
        Kind::Onbuild(trigger) => {
            config.config.on_build.push(trigger.clone());
            format!("ONBUILD {trigger}")
        }
        Kind::Maintainer(name) => {
            config.author = name.clone();
            format!("MAINTAINER {name}")
        }
    };
    // The shell of the moment before: SHELL itself is recorded with the new one, as Docker does.
    Ok(Some(state.nop(&comment)))
}

/// The working directory after `WORKDIR text`.
pub(crate) fn workdir(text: &str, state: &State, escape: char) -> Result<String, StepError> {
    let text = expand::word(text, state, escape).map_err(|source| StepError::Expand {
        text: text.to_owned(),
        source,
    })?;
    if text.is_empty() {
        return Err(StepError::EmptyWorkdir);
    }
    let joined = if text.starts_with('/') {
        text
    } else {
        format!("{}/{text}", state.workdir())
    };
    Ok(clean(&joined))
}

fn words(command: &CommandLine, state: &State) -> Vec<String> {
    match command {
        CommandLine::Exec(words) => words.clone(),
        CommandLine::Shell(text) if text.is_empty() => Vec::new(),
        CommandLine::Shell(text) => [state.shell(), vec![text.clone()]].concat(),
    }
}

/// `["a" "b"]`, Go's `%q` of a list.
fn quoted(words: &[String]) -> String {
    format!(
        "[{}]",
        words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
    )
}

fn quote(text: &str) -> String {
    let mut result = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\t' => result.push_str("\\t"),
            '\r' => result.push_str("\\r"),
            char if char.is_control() => result.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => result.push(char),
        }
    }
    result.push('"');
    result
}

/// `1m30s`, Go's way of writing durations.
fn go_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        return format!("{}ms", nanos as f64 / 1e6);
    }
    let seconds = nanos as f64 / 1e9;
    let (hours, rest) = ((seconds / 3600.0).floor(), seconds % 3600.0);
    let (minutes, rest) = ((rest / 60.0).floor(), rest % 60.0);
    match (hours > 0.0, minutes > 0.0) {
        (true, _) => format!("{hours}h{minutes}m{rest}s"),
        (false, true) => format!("{minutes}m{rest}s"),
        (false, false) => format!("{rest}s"),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp` → `80/tcp` ….
fn exposed(text: &str) -> Result<Vec<String>, StepError> {
    let bad = || StepError::Port(text.to_owned());
    // Docker accepts `host:container` here and takes the container's part.
    let text_container = text.rsplit(':').next().unwrap_or(text);
    let (ports, protocol) = text_container.split_once('/').unwrap_or((text_container, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(StepError::Protocol(protocol));
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (
        first.parse().map_err(|_| bad())?,
        last.parse().map_err(|_| bad())?,
    );
    if first == 0 || first > last {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |prefix: &str, sign: char| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_prefix(sign)
                    .is_some_and(|number| number.parse::<u32>().is_ok_and(|n| n <= 30))
        })
    };
    NAMES.contains(&name)
        || matches!(name, "CLD" | "IOT" | "POLL")
        || real_time("RTMIN", '+')
        || real_time("RTMAX", '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(exposed("80").expect("valid"), ["80/tcp"]);
        assert_eq!(exposed("8080:53/UDP").expect("valid"), ["53/udp"]);
        assert_eq!(
            exposed("7000-7002").expect("valid"),
            ["7000/tcp", "7001/tcp", "7002/tcp"]
        );
        for bad in ["", "x", "0", "70000", "9-8", "80/http"] {
            assert!(exposed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn signals() {
        for good in ["9", "SIGTERM", "term", "SIGRTMIN+3", "RTMAX-1", "SIGQUIT"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["", "0", "65", "SIGFOO", "RTMIN-1", "RTMIN+99"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }

    #[test]
    fn go_forms() {
        assert_eq!(go_duration(90_000_000_000), "1m30s");
        assert_eq!(go_duration(500_000_000), "500ms");
        assert_eq!(go_duration(3_600_000_000_000), "1h0m0s");
        assert_eq!(
            quoted(&["a".to_owned(), "b\"c\n".to_owned()]),
            "[\"a\" \"b\\\"c\\n\"]"
        );
    }
}
