//! `attach` to a running container.

use serde::Deserialize;

use super::run::keys;
use crate::args::container::attach::Attach;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::shuttle::{self, Ended, Streams, shuttle};
use crate::terminal::RawMode;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    state: State,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    paused: bool,
    restarting: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    tty: bool,
    open_stdin: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Waited {
    status_code: i64,
}

/// `docker attach`.
pub(crate) async fn attach(session: &Session, args: Attach) -> Done {
    let client = session.client()?;
    let name = &args.operands[0];
    let Inspected { id, state, config } = client.get(format!("/containers/{name}/json")).answer().await?;
    let refused = |why: &str| {
        Err(CliError::Invalid(format!(
            "You cannot attach to a {why} container, {}",
            advice(why)
        )))
    };
    if !state.running {
        return refused("stopped");
    }
    if state.paused {
        return refused("paused");
    }
    if state.restarting {
        return refused("restarting");
    }
    let stdin = !args.no_stdin && config.open_stdin;
    if stdin && config.tty && !session.printer.in_is_terminal() {
        return Err(CliError::Invalid("the input device is not a TTY".to_owned()));
    }
    let stream = client
        .post(format!("/containers/{id}/attach"))
        .query("stream", "1")
        .query_if("stdin", stdin)
        .query("stdout", "1")
        .query("stderr", "1")
        .hijack()
        .await?;
    let raw = if config.tty && stdin {
        Some(RawMode::enter()?)
    } else {
        None
    };
    let resize = format!("/containers/{id}/resize");
    let follow_size = config.tty && session.printer.out_is_terminal();
    let proxy = args.sig_proxy && !config.tty;
    let streams = Streams {
        tty: config.tty,
        stdin,
        detach_keys: keys(session, args.detach_keys.as_deref())?,
    };
    let moved = tokio::select! {
        moved = shuttle(stream, streams, &session.printer) => moved,
        Err(error) = shuttle::follow_size(client, &resize), if follow_size => Err(error.into()),
        Err(error) = shuttle::forward_signals(client, &id), if proxy => Err(error.into()),
        Err(error) = shuttle::ended_by_signal(), if config.tty => Err(error),
    };
    drop(raw);
    if moved? == Ended::Detached {
        session.printer.warn("read escape sequence");
        return Ok(ExitStatus::SUCCESS);
    }
    match client
        .post(format!("/containers/{id}/wait"))
        .answer::<Waited>()
        .await
    {
        Ok(waited) => Ok(ExitStatus::from_program(waited.status_code)),
        // It was removed as soon as it ended.
        Err(error) if error.is_not_found() => Ok(ExitStatus::SUCCESS),
        Err(error) => Err(error),
    }
}

fn advice(state: &str) -> &'static str {
    match state {
        "stopped" => "start it first",
        "paused" => "unpause it first",
        _ => "wait until it is running",
    }
}
