//! `port`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::args::container::port::Port;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::ports::join;
use crate::session::Session;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    network_settings: NetworkSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

/// `docker port`.
pub(crate) async fn port(session: &Session, args: Port) -> Done {
    let container = &args.operands[0];
    let inspected: Inspected = session
        .client()?
        .get(format!("/containers/{container}/json"))
        .answer()
        .await?;
    let ports = inspected.network_settings.ports.unwrap_or_default();
    let mut lines: Vec<(u16, String)> = Vec::new();
    if let Some(wanted) = args.operands.get(1) {
        let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
        if number.parse::<u16>().is_err() {
            return Err(CliError::Invalid(format!("Error: invalid port ({wanted})")));
        }
        let Some(Some(bindings)) = ports.get(&format!("{number}/{protocol}")) else {
            return Err(CliError::Invalid(format!(
                "Error: No public port '{wanted}' published for {container}"
            )));
        };
        for binding in bindings {
            session.printer.line(&join(&binding.host_ip, &binding.host_port));
        }
        return Ok(ExitStatus::SUCCESS);
    }
    for (port, bindings) in &ports {
        let number = port
            .split('/')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        for binding in bindings.iter().flatten() {
            lines.push((
                number,
                format!("{port} -> {}", join(&binding.host_ip, &binding.host_port)),
            ));
        }
    }
    lines.sort();
    for (_, line) in lines {
        session.printer.line(&line);
    }
    Ok(ExitStatus::SUCCESS)
}
