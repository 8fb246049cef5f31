//! An engine behind ssh: the system's `ssh` runs `docker system dial-stdio` there, whose standard streams are the
//! connection.

use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::endpoint::SshHost;

/// How much of what ssh complains of is shown, in bytes.
const COMPLAINT: u64 = 4 << 10;

/// What ssh ended with instead of an end of the conversation.
#[derive(Debug, thiserror::Error)]
#[error(
    "command [{command}] has exited with {status}, make sure the URL is valid, and Docker 18.09 or later is installed on the remote host: stderr={complaint}"
)]
pub(crate) struct SshEnded {
    command: String,
    status: String,
    complaint: String,
}

type Ending = Pin<Box<dyn Future<Output = io::Result<(ExitStatus, Vec<u8>)>> + Send>>;

/// The streams of a running `ssh`.
pub(super) struct Ssh {
    command: String,
    /// Closed when our side says no more.
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Reaps the process and collects its complaints.
    ending: Option<Ending>,
}

impl Ssh {
    /// Starts ssh in a session of its own: Ctrl-C is the container's matter.
    pub(super) fn start(host: &SshHost) -> io::Result<Self> {
        let arguments = host.arguments();
        let mut command = std::process::Command::new("ssh");
        command.args(&arguments);
        havre_sys::process::in_own_session(&mut command);
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::other(format!("cannot start ssh: {error}")))?;
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        Ok(Self {
            command: format!("ssh {}", arguments.join(" ")),
            input: Some(child.stdin.take().ok_or_else(missing)?),
            output: child.stdout.take().ok_or_else(missing)?,
            ending: Some(Box::pin(end(child))),
        })
    }
}

async fn end(mut child: Child) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(COMPLAINT).read_to_end(&mut complaint).await;
    }
    Ok((child.wait().await?, complaint))
}

impl AsyncRead for Ssh {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.output).poll_read(context, into))?;
        if into.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        // The end: whether it is one of peace only the process's status tells.
        let Some(ending) = &mut this.ending else {
            return Poll::Ready(Ok(()));
        };
        let (status, complaint) = ready!(ending.as_mut().poll(context))?;
        this.ending = None;
        if status.success() {
            return Poll::Ready(Ok(()));
        }
        let status = match status.code() {
            Some(code) => format!("exit status {code}"),
            None => status.to_string(),
        };
        Poll::Ready(Err(io::Error::other(SshEnded {
            command: this.command.clone(),
            status,
            complaint: String::from_utf8_lossy(&complaint).trim_end().to_owned(),
        })))
    }
}

impl AsyncWrite for Ssh {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().input {
            Some(input) => Pin::new(input).poll_write(context, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().input {
            Some(input) => Pin::new(input).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(input) = &mut this.input {
            ready!(Pin::new(input).poll_flush(context))?;
        }
        this.input = None;
        Poll::Ready(Ok(()))
    }
}
