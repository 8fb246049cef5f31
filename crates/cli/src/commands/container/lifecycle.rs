//! `stop`, `restart`, `kill`, `pause`, `unpause`: the same to each of many containers, at the same time.

use futures_util::future::join_all;

use crate::args::container::kill::Kill;
use crate::args::container::pause::Pause;
use crate::args::container::restart::Restart;
use crate::args::container::stop::Stop;
use crate::args::container::unpause::Unpause;
use crate::client::Call;
use crate::commands::{Done, Failures};
use crate::error::CliError;
use crate::session::Session;

/// No more requests at once.
const AT_ONCE: usize = 50;

/// `docker stop`.
pub(crate) async fn stop(session: &Session, args: Stop) -> Done {
    each(session, &args.operands, "stop", |call| {
        call.query_some("signal", args.signal.as_ref())
            .query_some("t", args.timeout.map(|t| t.to_string()))
    })
    .await
}

/// `docker restart`.
pub(crate) async fn restart(session: &Session, args: Restart) -> Done {
    each(session, &args.operands, "restart", |call| {
        call.query_some("signal", args.signal.as_ref())
            .query_some("t", args.timeout.map(|t| t.to_string()))
    })
    .await
}

/// `docker kill`.
pub(crate) async fn kill(session: &Session, args: Kill) -> Done {
    each(session, &args.operands, "kill", |call| {
        call.query_some("signal", args.signal.as_ref())
    })
    .await
}

/// `docker pause`.
pub(crate) async fn pause(session: &Session, args: Pause) -> Done {
    each(session, &args.operands, "pause", |call| call).await
}

/// `docker unpause`.
pub(crate) async fn unpause(session: &Session, args: Unpause) -> Done {
    each(session, &args.operands, "unpause", |call| call).await
}

async fn each<'a>(
    session: &'a Session,
    names: &[String],
    action: &str,
    with: impl Fn(Call<'a>) -> Call<'a>,
) -> Done {
    let client = session.client()?;
    let mut failures = Failures::default();
    for names in names.chunks(AT_ONCE) {
        let calls = names
            .iter()
            .map(|name| with(client.post(format!("/containers/{name}/{action}"))).status());
        for (name, result) in names.iter().zip(join_all(calls).await) {
            match result {
                Ok(_) => session.printer.line(name),
                Err(error @ CliError::Unreachable { .. }) => return Err(error),
                Err(error) => failures.add(&error),
            }
        }
    }
    Ok(failures.finish(session))
}
