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

const SERVER: &str = "\nServer:{{range .Server.Components}}\n {{.Name}}:\n  Version:          {{.Version}}\n{{- range $key, $value := .Details}}\n  {{printf \"%-18s\" (printf \"%s:\" $key)}}{{$value}}\n{{- end}}\n{{- end}}\n";

fn page(all: &Value) -> Result<String, CliError> {
    let failed = |error| CliError::Invalid(format!("template: {error}"));
    let mut text = Template::parse(CLIENT)
        .map_err(failed)?
        .render(all)
        .map_err(failed)?;
    let Value::Map(entries) = all else { return Ok(text) };
    if entries
        .iter()
        .any(|(name, value)| name == "Server" && *value != Value::Null)
    {
        text.push_str(
            &Template::parse(SERVER)
                .map_err(failed)?
                .render(all)
                .map_err(failed)?,
        );
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
                "Server":{"Components":[{"Name":"Engine","Version":"2","Details":{"Os":"linux","ApiVersion":"1.53"}}]}}"#,
        )
        .unwrap();
        assert_eq!(
            page(&all).unwrap(),
            "Client:\n Version:           1\n API version:       1.53\n OS/Arch:           linux/amd64\n Context:           default\n\n\
             Server:\n Engine:\n  Version:          2\n  ApiVersion:       1.53\n  Os:               linux\n"
        );
    }
}
