//! `info`.

use std::fmt::Write as _;

use crate::args::system::info::Info;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::size;
use crate::session::Session;
use crate::template::{Template, Value};

/// `docker info`.
pub(crate) async fn info(session: &Session, args: Info) -> Done {
    let format = args.format.as_deref().filter(|format| !format.is_empty());
    let info: Result<Value, CliError> = match session.client() {
        Ok(client) => client.get("/info").answer().await,
        Err(error) => Err(error),
    };
    if let Some(format) = format {
        let format = if format == "json" { "{{json .}}" } else { format };
        let failed = |error| CliError::Usage {
            text: format!("template parsing error: {error}"),
            status: ExitStatus(64),
        };
        let text = Template::parse(format)
            .map_err(failed)?
            .render(&info?)
            .map_err(failed)?;
        session.printer.line(&text);
        return Ok(ExitStatus::SUCCESS);
    }
    let context = session.settings.context_name()?;
    let mut text = format!(
        "Client:\n Version:    {}\n Context:    {context}\n Debug Mode: false\n\nServer:\n",
        env!("CARGO_PKG_VERSION")
    );
    match info {
        Ok(info) => {
            text.push_str(&server(&info));
            session.printer.out(&text);
            if let Some(Value::List(warnings)) = get(&info, "Warnings") {
                for warning in warnings {
                    session.printer.warn(&warning.to_string());
                }
            }
            Ok(ExitStatus::SUCCESS)
        }
        Err(error) => {
            session.printer.out(&text);
            Err(error)
        }
    }
}

fn get<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Map(entries) => entries
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
            .filter(|value| **value != Value::Null),
        _ => None,
    }
}

fn server(info: &Value) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            let colon = if label.is_empty() { "" } else { ": " };
            let _ = writeln!(text, " {label}{colon}{value}");
        }
    };
    let shown = |name: &str| get(info, name).map(ToString::to_string);
    let filled = |name: &str| shown(name).filter(|text| !text.is_empty());
    for (label, name) in [
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Paused", "ContainersPaused"),
        (" Stopped", "ContainersStopped"),
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
    ] {
        line(label, filled(name));
    }
    if let Some(Value::List(pairs)) = get(info, "DriverStatus") {
        for pair in pairs {
            if let Value::List(pair) = pair
                && let [name, value] = pair.as_slice()
            {
                line(&format!(" {name}"), Some(value.to_string()));
            }
        }
    }
    line("Logging Driver", filled("LoggingDriver"));
    line("Cgroup Driver", filled("CgroupDriver"));
    line("Cgroup Version", filled("CgroupVersion"));
    if let Some(plugins) = get(info, "Plugins") {
        line("Plugins", Some(String::new()));
        for (label, name) in [(" Volume", "Volume"), (" Network", "Network"), (" Log", "Log")] {
            if let Some(Value::List(names)) = get(plugins, name) {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                line(label, Some(names.join(" ")));
            }
        }
    }
    let swarm = get(info, "Swarm").and_then(|swarm| get(swarm, "LocalNodeState"));
    line(
        "Swarm",
        swarm.map(ToString::to_string).filter(|text| !text.is_empty()),
    );
    if let Some(Value::Map(runtimes)) = get(info, "Runtimes") {
        let names: Vec<&str> = runtimes.iter().map(|(name, _)| name.as_str()).collect();
        line("Runtimes", Some(names.join(" ")));
    }
    line("Default Runtime", filled("DefaultRuntime"));
    line("Init Binary", filled("InitBinary"));
    if let Some(Value::List(options)) = get(info, "SecurityOptions") {
        line("Security Options", Some(String::new()));
        for option in options {
            let option = option.to_string();
            let mut pairs = option.split(',');
            if let Some(name) = pairs.next().and_then(|pair| pair.strip_prefix("name=")) {
                line("", Some(format!(" {name}")));
            }
            for (key, value) in pairs.filter_map(|pair| pair.split_once('=')) {
                line(&format!("  {}", capitalised(key)), Some(value.to_owned()));
            }
        }
    }
    line("Kernel Version", filled("KernelVersion"));
    line("Operating System", filled("OperatingSystem"));
    line("OSType", filled("OSType"));
    line("Architecture", filled("Architecture"));
    line("CPUs", filled("NCPU"));
    if let Some(Value::Int(bytes)) = get(info, "MemTotal") {
        line("Total Memory", Some(size::binary(*bytes)));
    }
    line("Name", filled("Name"));
    line("ID", filled("ID"));
    line("Docker Root Dir", filled("DockerRootDir"));
    line("Debug Mode", filled("Debug"));
    line("Experimental", filled("ExperimentalBuild"));
    if let Some(registries) = get(info, "RegistryConfig") {
        line("Insecure Registries", Some(String::new()));
        if let Some(Value::Map(indexes)) = get(registries, "IndexConfigs") {
            for (name, index) in indexes {
                if get(index, "Secure") == Some(&Value::Bool(false)) {
                    let _ = writeln!(text, "  {name}");
                }
            }
        }
        if let Some(Value::List(networks)) = get(registries, "InsecureRegistryCIDRs") {
            for network in networks {
                let _ = writeln!(text, "  {network}");
            }
        }
        if let Some(Value::List(mirrors)) = get(registries, "Mirrors")
            && !mirrors.is_empty()
        {
            text.push_str(" Registry Mirrors:\n");
            for mirror in mirrors {
                let _ = writeln!(text, "  {mirror}");
            }
        }
    }
    if let Some(live) = get(info, "LiveRestoreEnabled") {
        let _ = writeln!(text, " Live Restore Enabled: {live}");
    }
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_server() {
        let info: Value = serde_json::from_str(
            r#"{"Containers":2,"ContainersRunning":1,"Images":3,"ServerVersion":"0.1","Driver":"overlay2",
                "DriverStatus":[["Backing Filesystem","extfs"]],"SecurityOptions":["name=seccomp,profile=builtin"],
                "NCPU":2,"MemTotal":25159000000,"RegistryConfig":{"InsecureRegistryCIDRs":["127.0.0.0/8"],"Mirrors":[]}}"#,
        )
        .unwrap();
        assert_eq!(
            server(&info),
            " Containers: 2\n  Running: 1\n Images: 3\n Server Version: 0.1\n Storage Driver: overlay2\n  Backing Filesystem: extfs\n \
             Security Options:\n  seccomp\n   Profile: builtin\n CPUs: 2\n Total Memory: 23.43GiB\n Insecure Registries:\n  127.0.0.0/8\n"
                .replace("\n  Security", "\n Security")
        );
    }
}
