//! `run`: create, attach, start, and be the program until it ends.

use serde::Deserialize;

use super::create::{Request, check_pull, make};
use super::timings::{self, Stopwatch};
use crate::args::container::run::Run;
use crate::client::{Client, Hijacked};
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::shuttle::{self, Ended, Streams, shuttle};
use crate::spec::container::{Attached, Extra, body};
use crate::spec::detach_keys::DetachKeys;
use crate::terminal::RawMode;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Waited {
    status_code: i64,
    #[serde(default)]
    error: Option<WaitError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WaitError {
    #[serde(default)]
    message: String,
}

/// `docker run`.
pub(crate) async fn run(session: &Session, args: Run) -> Done {
    let program = &session.program;
    execute(session, &args)
        .await
        .map_err(|error| error.of_run(program))
}

async fn execute(session: &Session, args: &Run) -> Done {
    let [image, command @ ..] = args.operands.as_slice() else {
        return Ok(ExitStatus::FAILURE);
    };
    check_pull(args.pull.as_deref())?;
    let flags = &args.container;
    if args.detach && !flags.attach.is_empty() {
        return Err(CliError::plain(
            "conflicting options: cannot specify both --attach and --detach",
        ));
    }
    if args.rm
        && flags
            .restart
            .as_deref()
            .is_some_and(|policy| !matches!(policy, "" | "no"))
    {
        return Err(CliError::Invalid(
            "conflicting options: cannot specify both --restart and --rm".to_owned(),
        ));
    }
    let attached = Attached::of(flags, args.detach)?;
    if flags.interactive && flags.tty && attached.stdin && !session.printer.in_is_terminal() {
        return Err(CliError::plain("the input device is not a TTY"));
    }
    let detach_keys = keys(session, args.detach_keys.as_deref())?;
    let extra = Extra {
        image,
        command,
        remove: args.rm,
        detach: args.detach,
    };
    let mut body = body(flags, &extra)?;
    if flags.tty
        && let Some((rows, columns)) = crate::terminal::size()
    {
        body["HostConfig"]["ConsoleSize"] = serde_json::json!([rows, columns]);
    }
    let request = Request {
        body,
        image,
        name: args.name.as_deref(),
        platform: args.platform.as_deref(),
        pull: args.pull.as_deref(),
        quiet: args.quiet,
        cidfile: flags.cidfile.as_deref(),
        api_socket: flags.use_api_socket,
    };
    let watch = Stopwatch::new(args.timings);
    let id = watch.stage("create", make(session, request)).await?;
    let client = session.client()?;
    if !attached.stdin && !attached.stdout && !attached.stderr {
        start(client, &id, &watch).await?;
        session.printer.line(&id);
        watch.report(&session.printer);
        return Ok(ExitStatus::SUCCESS);
    }
    let foreground = Foreground {
        session,
        client,
        id: &id,
        tty: flags.tty,
        attached,
        sig_proxy: args.sig_proxy && !flags.tty,
        condition: if args.rm { "removed" } else { "next-exit" },
    };
    let status = foreground.run(detach_keys, &watch).await;
    watch.report(&session.printer);
    status
}

async fn start(client: &Client, id: &str, watch: &Stopwatch) -> Result<(), CliError> {
    let mut call = client.post(format!("/containers/{id}/start"));
    if watch.is_running() {
        call = call.header(timings::REQUEST, "1");
    }
    let headers = watch.stage("start", call.headers()).await?;
    watch.within(&headers);
    Ok(())
}

/// The detach keys of a flag, of the configuration file, or the usual ones.
pub(super) fn keys(session: &Session, flag: Option<&str>) -> Result<DetachKeys, CliError> {
    let keys = match flag {
        Some(keys) => keys.to_owned(),
        None => session.settings.config()?.detach_keys.clone(),
    };
    Ok(DetachKeys::parse(&keys)?)
}

/// A container that runs as if it were this process.
pub(super) struct Foreground<'a> {
    pub(super) session: &'a Session,
    pub(super) client: &'a Client,
    pub(super) id: &'a str,
    pub(super) tty: bool,
    pub(super) attached: Attached,
    pub(super) sig_proxy: bool,
    /// What `wait` waits for.
    pub(super) condition: &'static str,
}

impl Foreground<'_> {
    /// Attaches, starts, and moves bytes until the end.
    pub(super) async fn run(&self, detach_keys: DetachKeys, watch: &Stopwatch) -> Done {
        // Both must stand before the start, or output and status of a short program would be lost.
        let attached = async { tokio::try_join!(self.attach(), self.wait()) };
        let (stream, waiting) = watch.stage("attach", attached).await?;
        start(self.client, self.id, watch).await?;
        let raw = self.enter_raw()?;
        let streams = Streams {
            tty: self.tty,
            stdin: self.attached.stdin,
            detach_keys,
        };
        let resize = format!("/containers/{}/resize", self.id);
        let follow_size = self.tty && self.session.printer.out_is_terminal();
        let shuttle = shuttle(stream, streams, &self.session.printer);
        let moved = tokio::select! {
            moved = watch.stage("program", shuttle) => moved,
            Err(error) = shuttle::follow_size(self.client, &resize), if follow_size => Err(error.into()),
            Err(error) = shuttle::forward_signals(self.client, self.id), if self.sig_proxy => Err(error.into()),
            Err(error) = shuttle::ended_by_signal(), if self.tty => Err(error),
        };
        drop(raw);
        if moved? == Ended::Detached {
            self.session.printer.warn("read escape sequence");
            return Ok(ExitStatus::SUCCESS);
        }
        tokio::select! {
            status = watch.stage("end", finished(waiting)) => status,
            Err(error) = shuttle::forward_signals(self.client, self.id), if self.sig_proxy => Err(error.into()),
        }
    }

    fn enter_raw(&self) -> Result<Option<RawMode>, CliError> {
        let wanted = self.tty && self.attached.stdin && self.session.printer.in_is_terminal();
        Ok(if wanted { Some(RawMode::enter()?) } else { None })
    }

    async fn attach(&self) -> Result<Hijacked, CliError> {
        self.client
            .post(format!("/containers/{}/attach", self.id))
            .query("stream", "1")
            .query_if("stdin", self.attached.stdin)
            .query_if("stdout", self.attached.stdout)
            .query_if("stderr", self.attached.stderr)
            .hijack()
            .await
    }

    async fn wait(&self) -> Result<hyper::Response<crate::client::Body>, CliError> {
        self.client
            .post(format!("/containers/{}/wait", self.id))
            .query("condition", self.condition)
            .send()
            .await
    }
}

/// The status of the program once the engine tells it.
async fn finished(response: hyper::Response<crate::client::Body>) -> Done {
    use http_body_util::BodyExt;
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(|error| CliError::Broken(error.to_string()))?
        .to_bytes();
    let waited: Waited = serde_json::from_slice(&bytes).map_err(|error| CliError::Protocol {
        request: "POST /containers/wait".to_owned(),
        reason: error.to_string(),
    })?;
    match waited.error {
        Some(error) if !error.message.is_empty() => Err(CliError::Stream(error.message)),
        _ => Ok(ExitStatus::from_program(waited.status_code)),
    }
}
