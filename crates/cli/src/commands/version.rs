//! `version`.

use crate::args::version::Version;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::template::{Template, Value};

/// The newest version of the API this client knows.
const API_VERSION: &str = "1.53";

/// `Docker version 0.1.0, build …`, as `--version` prints.
pub(crate) fn one_line(program: &str) -> String {
    let name = if program == "docker" { "Docker" } else { "Havre" };
    format!("{name} version {}, build havre", env!("CARGO_PKG_VERSION"))
}

/// `docker version`.
pub(crate) async fn version(session: &Session, args: Version) -> Done {
    let server: Result<Value, CliError> = match session.client() {
        Ok(client) => client.get("/version").answer().await,
        Err(error) => Err(error),
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let context = session.settings.context_name()?;
    let cells = [
        ("Version", env!("CARGO_PKG_VERSION")),
        ("ApiVersion", API_VERSION),
        ("DefaultAPIVersion", API_VERSION),
        ("GitCommit", ""),
        ("Os", std::env::consts::OS),
        ("Arch", architecture),
        ("Context", context.as_str()),
    ];
    let client: Vec<(String, Value)> = cells
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect();
    let (server, failure) = match server {
        Ok(server) => (server, None),
        Err(error) => (Value::Null, Some(error)),
    };
    let all = Value::Map(vec![
        ("Client".to_owned(), Value::Map(client)),
        ("Server".to_owned(), server),
    ]);
    let text = match args.format.as_deref().filter(|format| !format.is_empty()) {
        None => page(&all)?,
        Some(format) => {
            let format = if format == "json" { "{{json .}}" } else { format };
            let failed = |error| CliError::Usage {
                text: format!("template parsing error: {error}"),
                status: ExitStatus(64),
            };
            Template::parse(format)
                .map_err(failed)?
                .render(&all)
                .map_err(failed)?
                + "\n"
        }
    };
    session.printer.out(&text);
    match failure {
        Some(error) => Err(error),
        None => Ok(ExitStatus::SUCCESS),
    }
}

const CLIENT: &str = "Client:\n Version:           {{.Client.Version}}\n API version:       {{.Client.ApiVersion}}\n OS/Arch:           {{.Client.Os}}/{{.Client.Arch}}\n Context:           {{.Client.Context}}\n";

/// The components of a server. The engine's details have names of their own in Docker's page.
fn components(server: &Value) -> String {
    let mut text = String::from("\nServer:\n");
    let Some(Value::List(components)) = get(server, "Components") else {
        return text;
    };
    for component in components {
        let shown = |name: &str| get(component, name).map(ToString::to_string).unwrap_or_default();
        let details = get(component, "Details").unwrap_or(&Value::Null);
        let detail = |name: &str| get(details, name).map(ToString::to_string).unwrap_or_default();
        let name = shown("Name");
        if name != "Engine" {
            if let Value::Map(entries) = details {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                text.push_str(&format!(" {name}:\n  Version:          {}\n", shown("Version")));
                for (key, value) in entries {
                    let label = format!("{key}:");
                    text.push_str(&format!("  {label:<18}{value}\n"));
                }
            }
            continue;
        }
        text.push_str(&format!(" {name}:\n"));
        let api = match detail("MinAPIVersion") {
            minimum if minimum.is_empty() => detail("ApiVersion"),
            minimum => format!("{} (minimum version {minimum})", detail("ApiVersion")),
        };
        for (label, value) in [
            ("Version", shown("Version")),
            ("API version", api),
            ("Go version", detail("GoVersion")),
            ("Git commit", detail("GitCommit")),
            ("Built", detail("BuildTime")),
            ("OS/Arch", format!("{}/{}", detail("Os"), detail("Arch"))),
            ("Experimental", detail("Experimental")),
        ] {
            if !value.is_empty() {
                let label = format!("{label}:");
                text.push_str(&format!("  {label:<18}{value}\n"));
            }
        }
    }
    text
}

fn get<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Map(entries) => entries
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value),
        _ => None,
    }
}

fn page(all: &Value) -> Result<String, CliError> {
    let failed = |error| CliError::Invalid(format!("template: {error}"));
    let mut text = Template::parse(CLIENT)
        .map_err(failed)?
        .render(all)
        .map_err(failed)?;
    if let Some(server) = get(all, "Server").filter(|server| **server != Value::Null) {
        text.push_str(&components(server));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_components() {
        let all: Value = serde_json::from_str(
            r#"{"Client":{"Version":"1","ApiVersion":"1.53","Os":"linux","Arch":"amd64","Context":"default"},
                "Server":{"Components":[{"Name":"Engine","Version":"2","Details":{"Os":"linux","Arch":"amd64","ApiVersion":"1.53","MinAPIVersion":"1.24"}},
                {"Name":"shim","Version":"3","Details":{"GitCommit":"x"}}]}}"#,
        )
        .unwrap();
        assert_eq!(
            page(&all).unwrap(),
            "Client:\n Version:           1\n API version:       1.53\n OS/Arch:           linux/amd64\n Context:           default\n\n\
             Server:\n Engine:\n  Version:          2\n  API version:      1.53 (minimum version 1.24)\n  OS/Arch:          linux/amd64\n \
             shim:\n  Version:          3\n  GitCommit:        x\n"
        );
    }
}
