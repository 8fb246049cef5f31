//! `start`: many in the background, or one in the foreground.

use serde::Deserialize;

use super::run::{Foreground, keys};
use super::timings::Stopwatch;
use crate::args::container::start::Start;
use crate::commands::{Done, Failures};
use crate::error::CliError;
use crate::session::Session;
use crate::spec::container::Attached;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    config: Config,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    tty: bool,
    open_stdin: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    auto_remove: bool,
}

/// `docker start`.
pub(crate) async fn start(session: &Session, args: Start) -> Done {
    let client = session.client()?;
    if args.attach || args.interactive {
        let [name] = args.operands.as_slice() else {
            return Err(CliError::Invalid(
                "you cannot start and attach multiple containers at once".to_owned(),
            ));
        };
        let inspected: Inspected = client.get(format!("/containers/{name}/json")).answer().await?;
        let detach_keys = keys(session, args.detach_keys.as_deref())?;
        let foreground = Foreground {
            session,
            client,
            id: &inspected.id,
            tty: inspected.config.tty,
            attached: Attached {
                stdin: args.interactive && inspected.config.open_stdin,
                stdout: true,
                stderr: true,
            },
            sig_proxy: !inspected.config.tty,
            condition: if inspected.host_config.auto_remove {
                "removed"
            } else {
                "next-exit"
            },
        };
        return foreground.run(detach_keys, &Stopwatch::new(false)).await;
    }
    let mut failures = Failures::default();
    let mut failed = Vec::new();
    for name in &args.operands {
        match client.post(format!("/containers/{name}/start")).status().await {
            Ok(_) => session.printer.line(name),
            Err(error) => {
                failures.add(&error);
                failed.push(name.as_str());
            }
        }
    }
    let status = failures.finish(session);
    if !failed.is_empty() {
        session.printer.warn(&format!(
            "Error: failed to start containers: {}",
            failed.join(", ")
        ));
    }
    Ok(status)
}
