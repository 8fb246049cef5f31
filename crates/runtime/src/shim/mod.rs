//! The process beside each container: it owns the standard streams, the log and the exit status, and outlives the
//! daemon. One thread, one blocking `poll` loop, nothing allocated that is not needed.
//!
//! It is told what to run over its standard input, answers there once the container is created, and from then on
//! serves requests on its socket. When the container has ended, its output is in the log, the status is in
//! `exit.json`, and nobody is connected any more, it ends; a status asked for later is read from the file.

mod container;
mod executor;
mod external;
mod log;
mod relay;
mod server;
mod stage;
mod stdio;

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;

use havre_sys::process;

use crate::protocol::{self, Failure, Reply, Setup};

/// Role of the process that the daemon starts for each container: call it from `main` before any thread or async
/// runtime exists, for the arguments that follow [`crate::RuntimeConfig::shim_args`] on the command line. They only
/// say in a process list which container this is for. Never returns.
pub fn main(_args: impl Iterator<Item = OsString>) -> ! {
    let code = match run() {
        Ok(()) => 0,
        Err(error) => {
            let message = format!("havre shim: {error}\n");
            let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
            1
        }
    };
    std::process::exit(code)
}

fn run() -> io::Result<()> {
    process::close_from(3);
    process::detach()?;
    let daemon = take_stdin()?;
    let setup: Setup = protocol::receive(&daemon)?;
    rustix::process::chdir(&setup.directory)?;
    process::become_subreaper()?;
    let children = process::child_signals()?;
    let listener = protocol::listen(&crate::shim_client::socket_path(&setup.directory))?;
    match container::create(&setup) {
        Ok((container, pid, streams)) => {
            let server = server::Server::new(setup, listener, children, container, pid, streams)?;
            // A daemon that died meanwhile gets no answer; its successor finds a container that was never started.
            let _ = protocol::send(&daemon, &Reply::State(server.state()));
            drop(daemon);
            server.serve()
        }
        Err(failure) => {
            // Its first process may have got as far as the cgroup; the daemon removes everything else.
            crate::cgroup::Cgroup::new(&*setup.cgroup)
                .kill(rustix::process::Signal::KILL.as_raw())
                .unwrap_or_default();
            protocol::send(&daemon, &Reply::Failed(limit(failure)))
        }
    }
}

/// The socket to the daemon, whose place the null device takes.
fn take_stdin() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixStream::from(socket))
}

/// Messages come from inside the container in part: not longer than a person reads.
fn limit(mut failure: Failure) -> Failure {
    const MAX: usize = 4096;
    match &mut failure {
        Failure::NotFound { message, .. }
        | Failure::NotExecutable { message, .. }
        | Failure::WorkingDirectory { message, .. }
        | Failure::Mount { message }
        | Failure::Setup { message }
        | Failure::Refused { message } => {
            if let Some((end, _)) = message.char_indices().nth(MAX) {
                message.truncate(end);
            }
        }
        Failure::NotRunning | Failure::NoSuchExec { .. } => {}
    }
    failure
}
