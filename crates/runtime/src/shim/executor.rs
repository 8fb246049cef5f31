//! The last steps inside the container: find the program, give up what exec processes still hold, run it.
//!
//! What goes wrong in there has to reach the shim. libcontainer hands over only the outermost sentence of an error,
//! so everything goes through a pipe of our own: failures of the program as [`Failure`]s, failures of libcontainer as
//! the error events it logs, the first of which names the cause ([`Report`]).

use std::cell::Cell;
use std::ffi::CString;
use std::fmt::{self, Write as _};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;

use havre_sys::{process, userns};
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use oci_spec::runtime::{LinuxCapabilities, Spec};
use rustix::fs::{Access, AtFlags, FileType};
use serde::{Deserialize, Serialize};

use crate::error::errno_text;
use crate::protocol::Failure;

/// What is written to the pipe, one JSON value per line.
#[derive(Serialize, Deserialize)]
enum Line {
    Failure(Failure),
    /// An error event of libcontainer: its message and its error, if it has one.
    Event {
        message: String,
        error: String,
    },
}

/// A pipe that forked children write failures to.
pub(super) struct Report {
    reader: OwnedFd,
    writer: Rc<OwnedFd>,
}

impl Report {
    pub(super) fn new() -> io::Result<Self> {
        use rustix::pipe::PipeFlags;
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        EVENTS.get_or_init(|| {
            // The shim has no other use for log events; a failure to install only costs detail in messages.
            let _ = tracing::subscriber::set_global_default(ErrorEvents);
        });
        TARGET.with(|target| target.set(rustix::io::fcntl_dupfd_cloexec(&writer, 3).ok()));
        Ok(Report {
            reader,
            writer: Rc::new(writer),
        })
    }

    /// What the children wrote until now.
    fn lines(&self) -> Vec<Line> {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = rustix::io::read(&self.reader, &mut buffer) {
            text.extend_from_slice(&buffer[..read]);
        }
        text.split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    /// The failure behind `error`, which libcontainer returned.
    pub(super) fn failure(self, error: &dyn std::error::Error, cwd: &str) -> Failure {
        let mut events = Vec::new();
        for line in self.lines() {
            match line {
                Line::Failure(failure) => return failure,
                Line::Event { message, error } => events.push((message, error)),
            }
        }
        let Some((message, cause)) = events.into_iter().find(|(message, _)| !message.is_empty()) else {
            return Failure::Setup {
                message: chain(error),
            };
        };
        if message == "failed to chdir" || message == "failed to chdir to cwd" {
            let reason = match cause.as_str() {
                "ENOENT" => "no such file or directory",
                "EACCES" | "EPERM" => "permission denied",
                "ENOTDIR" => "not a directory",
                other => other,
            };
            let message = crate::spec::working_directory_error(cwd, reason);
            return Failure::WorkingDirectory {
                path: cwd.to_owned(),
                message,
            };
        }
        let text = if cause.is_empty() {
            message.clone()
        } else {
            format!("{message}: {cause}")
        };
        if message.contains("mount") {
            Failure::Mount { message: text }
        } else {
            Failure::Setup { message: text }
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        TARGET.with(|target| target.set(None));
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

static EVENTS: OnceLock<()> = OnceLock::new();

thread_local! {
    /// Where error events go; the shim has one thread.
    static TARGET: Cell<Option<OwnedFd>> = const { Cell::new(None) };
}

/// Sends error events to the current [`Report`] and ignores everything else.
struct ErrorEvents;

impl tracing::Subscriber for ErrorEvents {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::ERROR)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        TARGET.with(|target| {
            let current = target.take();
            if let Some(fd) = &current {
                write_line(
                    fd,
                    &Line::Event {
                        message: fields.message,
                        error: fields.error,
                    },
                );
            }
            target.set(current);
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    error: String,
}

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "err" | "e" | "error" => self.error = format!("{value:?}"),
            _ => {}
        }
    }
}

fn write_line(fd: impl AsFd, line: &Line) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        // Full or closed: the outer error has to do.
        let _ = rustix::io::write(fd, &text);
    }
}

/// What a process gives up at the end. (libcontainer would do it for a container's init, and forget the seccomp
/// filter for further processes; see also [`crate::spec`] on how it reads profiles.)
pub(super) struct Restrictions {
    pub(super) capabilities: LinuxCapabilities,
    /// The program and flags of a seccomp filter.
    pub(super) seccomp: Option<(Vec<u8>, u32)>,
    pub(super) no_new_privileges: bool,
    /// Who a further process in a user namespace is there; libcontainer leaves it in the host's, as root.
    pub(super) entry: Option<Entry>,
}

/// How to become a user of a user namespace.
pub(super) struct Entry {
    pub(super) namespace: OwnedFd,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// Who owns its terminal, on the host.
    pub(super) terminal: Option<u32>,
}

/// Runs the program of a specification.
#[derive(Clone)]
pub(super) struct Program {
    report: Rc<OwnedFd>,
    init: bool,
    restrictions: Rc<Restrictions>,
}

impl Program {
    pub(super) fn new(report: &Report, init: bool, restrictions: Restrictions) -> Self {
        Program {
            report: Rc::clone(&report.writer),
            init,
            restrictions: Rc::new(restrictions),
        }
    }

    fn restrict(&self, restrictions: &Restrictions) -> Result<(), String> {
        if let Some(entry) = &restrictions.entry {
            if let Some(owner) = entry.terminal {
                rustix::fs::fchown(
                    rustix::stdio::stdin(),
                    Some(rustix::fs::Uid::from_raw(owner)),
                    None,
                )
                .map_err(|error| format!("give away the terminal: {error}"))?;
            }
            userns::enter(&entry.namespace, entry.uid, entry.gid, &entry.groups)
                .map_err(|error| format!("enter the user namespace: {error}"))?;
        }
        let load = || match &restrictions.seccomp {
            Some((program, flags)) => process::load_seccomp_filter(program, *flags)
                .map_err(|error| format!("load the seccomp filter: {error}")),
            None => Ok(()),
        };
        // Without no-new-privileges loading takes a capability; with it, the filter comes as late as it can.
        if !restrictions.no_new_privileges {
            load()?;
        }
        let syscall = libcontainer::syscall::syscall::create_syscall();
        libcontainer::capabilities::drop_privileges(&restrictions.capabilities, syscall.as_ref())
            .map_err(|error| format!("drop capabilities: {}", chain(&error)))?;
        if restrictions.no_new_privileges {
            load()?;
        }
        Ok(())
    }

    fn fail(&self, failure: Failure) -> ExecutorValidationError {
        write_line(&*self.report, &Line::Failure(failure));
        ExecutorValidationError::ArgValidationError("the program cannot be run".into())
    }
}

impl Executor for Program {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.restrict(&self.restrictions)
            .map_err(|message| self.fail(Failure::Setup { message }))?;
        find(spec).map(|_| ()).map_err(|failure| self.fail(failure))
    }

    fn setup_envs(
        &self,
        _envs: std::collections::HashMap<String, String>,
    ) -> Result<(), ExecutorSetEnvsError> {
        // The environment goes to execve in its own order; ours is not inherited.
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let program = find(spec).map_err(|_| ExecutorError::InvalidArg)?;
        let strings = |values: &[String]| {
            values
                .iter()
                .map(|value| CString::new(value.as_str()).map_err(|_| ExecutorError::InvalidArg))
                .collect::<Result<Vec<_>, _>>()
        };
        let args = strings(args(spec))?;
        let env = strings(env(spec))?;
        let path = CString::new(program.clone().into_os_string().into_vec())
            .map_err(|_| ExecutorError::InvalidArg)?;
        let failed = |error: io::Error| {
            let message = format!("exec {}: {}\n", program.display(), errno_text(&error));
            let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
        };
        if self.init {
            rename_process();
            process::run_as_init(&path, &args, &env, failed);
        }
        process::reset_signals();
        failed(process::exec(&path, &args, &env));
        std::process::exit(255);
    }
}

fn rename_process() {
    let _ = rustix::thread::set_name(c"docker-init");
}

fn args(spec: &Spec) -> &[String] {
    spec.process()
        .as_ref()
        .and_then(|process| process.args().as_deref())
        .unwrap_or_default()
}

fn env(spec: &Spec) -> &[String] {
    spec.process()
        .as_ref()
        .and_then(|process| process.env().as_deref())
        .unwrap_or_default()
}

/// The program's path, found as Go's `exec.LookPath` finds it, with its errors, as users of Docker know them.
fn find(spec: &Spec) -> Result<PathBuf, Failure> {
    let Some(arg) = args(spec).first() else {
        return Err(Failure::Setup {
            message: "no command specified".into(),
        });
    };
    if arg.contains('/') {
        let path = PathBuf::from(arg);
        return match check(&path) {
            Ok(()) => Ok(path),
            Err(Unusable::Missing(reason)) => Err(Failure::NotFound {
                arg: arg.clone(),
                message: format!("exec: {arg:?}: stat {arg}: {reason}"),
            }),
            Err(Unusable::Forbidden(reason)) => Err(Failure::NotExecutable {
                arg: arg.clone(),
                message: format!("exec: {arg:?}: {reason}"),
            }),
        };
    }
    let path = env(spec)
        .iter()
        .find_map(|variable| variable.strip_prefix("PATH="))
        .unwrap_or_default();
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = Path::new(directory).join(arg);
        if check(&candidate).is_ok() {
            return Ok(candidate);
        }
    }
    Err(Failure::NotFound {
        arg: arg.clone(),
        message: format!("exec: {arg:?}: executable file not found in $PATH"),
    })
}

enum Unusable {
    Missing(String),
    Forbidden(String),
}

fn check(path: &Path) -> Result<(), Unusable> {
    let unusable = |error: rustix::io::Errno| match error {
        rustix::io::Errno::ACCESS => Unusable::Forbidden(errno_text(&error.into())),
        error => Unusable::Missing(errno_text(&error.into())),
    };
    let stat = rustix::fs::stat(path).map_err(unusable)?;
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Unusable::Forbidden("is a directory".into()));
    }
    rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(unusable)
}
