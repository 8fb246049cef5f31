//! `logs`.

use http_body_util::BodyExt;
use serde::Deserialize;

use crate::args::container::logs::Logs;
use crate::client::stdcopy::Demultiplexer;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::time::point;
use crate::session::Session;
use crate::shuttle::deliver;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    tty: bool,
}

/// `docker logs`.
pub(crate) async fn logs(session: &Session, args: Logs) -> Done {
    let client = session.client()?;
    let time = |flag: &str, value: &Option<String>| {
        value
            .as_deref()
            .filter(|value| !value.is_empty())
            .map(point)
            .transpose()
            .map_err(|error| CliError::Invalid(format!("invalid value for \"{flag}\": {error}")))
    };
    let since = time("since", &args.since)?;
    let until = time("until", &args.until)?;
    let Inspected { id, config } = client
        .get(format!("/containers/{}/json", args.operands[0]))
        .answer()
        .await?;
    let response = client
        .get(format!("/containers/{id}/logs"))
        .query("stdout", "1")
        .query("stderr", "1")
        .query_if("follow", args.follow)
        .query_if("timestamps", args.timestamps)
        .query_if("details", args.details)
        .query_some("since", since)
        .query_some("until", until)
        .query(
            "tail",
            args.tail
                .as_deref()
                .filter(|tail| !tail.is_empty())
                .unwrap_or("all"),
        )
        .send()
        .await?;
    let mut body = response.into_body();
    let mut frames = Demultiplexer::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CliError::Broken(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            deliver(&data, config.tty, &mut frames, &session.printer)?;
        }
    }
    Ok(ExitStatus::SUCCESS)
}
