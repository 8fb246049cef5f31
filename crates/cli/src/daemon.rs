//! The daemon role: opens the engine, listens, serves until told to end. Containers go on without it.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use havre_api::Listener;
use havre_engine::{ConfigFile, Ending, Engine, EngineOptions};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::activation::{OWN, Passed};
use crate::args::Declaration;
use crate::args::daemon::Daemon;
use crate::autostart::READY;
use crate::endpoint::{DEFAULT_ROOT, DEFAULT_SOCKET};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::handover::{Handover, Sockets};
use crate::help;
use crate::listening::{self, Place};
use crate::logging;
use crate::parse::{Parsed, declare, parse};
use crate::printer::Printer;
use crate::service;
use crate::terminal;

/// Where a daemon keeps its things when nothing else is said.
const DEFAULT_STATE: &str = "/run/havre";
/// How long blocking parts of requests may go on when the daemon ends.
const REQUESTS: Duration = Duration::from_secs(5);
/// And how long, after them, what is cleaned up behind containers that have ended.
const CLEAN_UP: Duration = Duration::from_secs(10);
const DEFAULT_CONFIGS: [&str; 2] = ["/etc/havre/config.toml", "/etc/docker/daemon.json"];

/// `havre daemon`.
pub(crate) fn run(path: &str, words: &[String]) -> Result<ExitStatus, CliError> {
    let args = match parse::<Daemon>(path, words)? {
        Parsed::Arguments(args) => args,
        Parsed::Help => {
            let text = help::command(path, &Daemon::SHAPE, &declare::<Daemon>(), terminal::columns());
            Printer.out(&text);
            return Ok(ExitStatus::SUCCESS);
        }
    };
    if args.install {
        return service::install(&args, words);
    }
    if args.uninstall {
        return service::uninstall(&args);
    }
    if args.units.is_some() {
        return Err(CliError::Invalid(
            "--units goes with --install or --uninstall".to_owned(),
        ));
    }
    let handover = Handover::prepare();
    logging::begin(args.log_level.as_deref())?;
    if args.notify {
        // Started by a client: out of its session, so that its terminal's signals do not come here.
        if let Err(error) = rustix::process::setsid() {
            tracing::warn!(%error, "stays in the session of the client that started it");
        }
    }
    crate::rest::watch();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(crate::rest::KEEP_THREADS)
        .build()?;
    let result = runtime.block_on(serve(&args, handover.as_ref()));
    runtime.shutdown_timeout(REQUESTS);
    let Served { ending, result, next } = result?;
    ending.finish(CLEAN_UP);
    match (handover, next) {
        (Some(handover), Some(sockets)) => Err(handover.execute(sockets)),
        _ => result.map(|()| ExitStatus::SUCCESS),
    }
}

/// A daemon that serves no more.
struct Served {
    ending: Ending,
    result: Result<(), CliError>,
    /// For the next daemon, which takes over in this process.
    next: Option<Sockets>,
}

/// Directories and socket a daemon works with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) socket: PathBuf,
}

impl Places {
    pub(crate) fn of(args: &Daemon) -> Self {
        let own = args
            .root
            .as_deref()
            .filter(|root| *root != DEFAULT_ROOT)
            .map(Path::new);
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let place = |flag: &Option<String>, usual: &str, beneath: &str| match (flag, own) {
            (Some(path), _) => absolute(Path::new(path)),
            (None, Some(root)) => absolute(&root.join(beneath)),
            (None, None) => PathBuf::from(usual),
        };
        Self {
            root: absolute(own.unwrap_or(Path::new(DEFAULT_ROOT))),
            state: place(&args.state, DEFAULT_STATE, "run"),
            socket: place(&args.socket, DEFAULT_SOCKET, "havre.sock"),
        }
    }
}

async fn serve(args: &Daemon, handover: Option<&Handover>) -> Result<Served, CliError> {
    let mut passed = Passed::take()?;
    let Places { root, state, socket } = Places::of(args);
    let mut config = match &args.config {
        Some(path) => read_config(Path::new(path))?,
        None => match DEFAULT_CONFIGS.iter().map(Path::new).find(|path| path.exists()) {
            Some(path) => read_config(path)?,
            None => ConfigFile::default(),
        },
    };
    if let Some(setting) = &args.userns_remap {
        config.userns_remap.clone_from(setting);
    }
    let places = listening::places(&args.listening, &config.listening)?;
    // Handlers stand before the engine opens: a signal while it recovers ends it cleanly too.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let options = EngineOptions {
        root,
        state,
        shim_exe: None,
        config,
    };
    let engine = Engine::start(options)
        .await
        .map_err(|error| CliError::Invalid(with_sources(&error)))?;
    // A socket that systemd has opened stays when this daemon ends.
    let (listener, own) = match passed.unix(&socket)? {
        Some(passed) => passed,
        None => {
            let bound = Listener::unix(&socket);
            (
                bound.map_err(|error| CliError::Invalid(with_sources(&error)))?,
                true,
            )
        }
    };
    let mut listeners = vec![listener];
    let inode = || fs_err::metadata(&socket).ok().map(|file| file.ino());
    let bound = inode().filter(|_| own);
    for place in &places {
        listeners.push(match passed.place(place)? {
            Some(listener) => listener,
            None => place.bind().await?,
        });
    }
    listeners.extend(passed.rest()?);
    let sockets = listeners
        .iter()
        .map(Listener::duplicate)
        .collect::<io::Result<_>>()?;
    let mut named = vec![if own { OWN.to_owned() } else { "passed".to_owned() }];
    named.push(socket.to_string_lossy().into_owned());
    named.extend(places.iter().map(Place::name));
    let sockets = Sockets {
        sockets,
        places: named.join("\n"),
    };
    tracing::info!(socket = %socket.display(), "listening");
    tell(&[NotifyState::Ready, NotifyState::Status("Serving")]);
    if args.notify {
        ready()?;
    }
    let builds = engine.builds().clone();
    let mut hands_over = false;
    let ended = async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => if takes_over(handover).await {
                    hands_over = true;
                    break;
                },
            }
        }
        tracing::info!("ending; containers go on");
        if !hands_over {
            tell(&[NotifyState::Stopping]);
        }
        builds.cancel_all();
    };
    let result = havre_api::serve(engine.clone(), listeners, ended).await;
    // Another daemon may have taken the place meanwhile: only our own socket goes.
    if bound.is_some() && inode() == bound && !hands_over {
        let _ = fs_err::remove_file(&socket);
    }
    Ok(Served {
        ending: engine.shutdown().await,
        result: result.map_err(CliError::from),
        next: hands_over.then_some(sockets),
    })
}

/// After a hang-up: whether there is a program that can take over. If not, this one goes on.
async fn takes_over(handover: Option<&Handover>) -> bool {
    let checked = match handover {
        Some(handover) => handover.check().await,
        None => Err("the place of this program is not known".to_owned()),
    };
    match checked {
        Ok(version) => {
            tracing::info!(version, "handing over");
            match NotifyState::monotonic_usec_now() {
                Ok(now) => tell(&[NotifyState::Reloading, now]),
                Err(_) => tell(&[NotifyState::Reloading]),
            }
            true
        }
        Err(reason) => {
            tracing::error!(reason, "no handing over");
            false
        }
    }
}

/// Tells systemd, if it has started this daemon.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd the state of the daemon");
    }
}

fn read_config(path: &Path) -> Result<ConfigFile, CliError> {
    ConfigFile::read(path).map_err(|error| CliError::Invalid(with_sources(&error)))
}

/// Tells the client that waits at the other end of standard output, and lets go of it.
fn ready() -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(READY.as_bytes())?;
    stdout.flush()?;
    let null = fs_err::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null).map_err(io::Error::from)?;
    Ok(())
}

pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors already tell their cause themselves.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(line: &str) -> Places {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse::<Daemon>("havre daemon", &words) {
            Ok(Parsed::Arguments(args)) => Places::of(&args),
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn a_root_of_its_own_has_its_own_places() {
        let usual = places("");
        assert_eq!(usual.socket, Path::new(DEFAULT_SOCKET));
        assert_eq!(usual.state, Path::new(DEFAULT_STATE));
        let own = places("--root /tmp/x");
        assert_eq!(own.state, Path::new("/tmp/x/run"));
        assert_eq!(own.socket, Path::new("/tmp/x/havre.sock"));
        assert_eq!(places("--root /tmp/x --socket /s").socket, Path::new("/s"));
        assert!(places("--root x").root.is_absolute());
    }
}
