//! `exec`: another program in a running container.

use serde::Deserialize;
use serde_json::json;

use super::run::keys;
use crate::args::container::exec::Exec;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::shuttle::{self, Ended, Streams, shuttle};
use crate::spec::environment::environment;
use crate::terminal::{self, RawMode};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    running: bool,
    #[serde(default)]
    exit_code: Option<i64>,
}

/// `docker exec`.
pub(crate) async fn exec(session: &Session, args: Exec) -> Done {
    let [container, command @ ..] = args.operands.as_slice() else {
        return Ok(ExitStatus::FAILURE);
    };
    let client = session.client()?;
    let attach = !args.detach;
    let stdin = attach && args.interactive;
    if stdin && args.tty && !session.printer.in_is_terminal() {
        return Err(CliError::Invalid("the input device is not a TTY".to_owned()));
    }
    let detach_keys = keys(session, args.detach_keys.as_deref())?;
    let env = environment(&args.env_file, &args.env, |name| std::env::var(name).ok())?;
    let size = if args.tty { terminal::size() } else { None };
    let mut body = json!({
        "Cmd": command, "Tty": args.tty, "Privileged": args.privileged, "Env": env,
        "AttachStdin": stdin, "AttachStdout": attach, "AttachStderr": attach,
    });
    if let Some(user) = &args.user {
        body["User"] = json!(user);
    }
    if let Some(directory) = &args.workdir {
        body["WorkingDir"] = json!(directory);
    }
    if let Some((rows, columns)) = size {
        body["ConsoleSize"] = json!([rows, columns]);
    }
    let Created { id } = client
        .post(format!("/containers/{container}/exec"))
        .json(&body)
        .answer()
        .await?;
    let mut start = json!({"Detach": args.detach, "Tty": args.tty});
    if let Some((rows, columns)) = size {
        start["ConsoleSize"] = json!([rows, columns]);
    }
    let call = client.post(format!("/exec/{id}/start")).json(&start);
    if args.detach {
        call.status().await?;
        return Ok(ExitStatus::SUCCESS);
    }
    let stream = call.hijack().await?;
    let raw = if args.tty && stdin {
        Some(RawMode::enter()?)
    } else {
        None
    };
    let resize = format!("/exec/{id}/resize");
    let follow_size = args.tty && session.printer.out_is_terminal();
    let streams = Streams {
        tty: args.tty,
        stdin,
        detach_keys,
    };
    let moved = tokio::select! {
        moved = shuttle(stream, streams, &session.printer) => moved,
        Err(error) = shuttle::follow_size(client, &resize), if follow_size => Err(error.into()),
        Err(error) = shuttle::ended_by_signal(), if args.tty => Err(error),
    };
    drop(raw);
    if moved? == Ended::Detached {
        session.printer.warn("read escape sequence");
        return Ok(ExitStatus::SUCCESS);
    }
    let inspected: Inspected = client.get(format!("/exec/{id}/json")).answer().await?;
    match inspected.exit_code {
        Some(code) if !inspected.running => Ok(ExitStatus::from_program(code)),
        _ => Ok(ExitStatus::SUCCESS),
    }
}
