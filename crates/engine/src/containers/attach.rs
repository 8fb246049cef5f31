//! `attach`: to what runs, or to what is about to.

use std::sync::Arc;

use futures_util::StreamExt;
use havre_runtime::logs::LogPosition;
use havre_runtime::{AttachRequest, Shim};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use super::streams::{self, Input};
use super::table::{Container, lock};
use super::{AttachOptions, Attachment, Containers, Inner, LogOptions, Output, Status};
use crate::error::blocking;
use crate::{EngineError, Result};

/// A client that attached before the start.
pub(crate) struct PendingAttach {
    request: AttachRequest,
    read: oneshot::Sender<OwnedReadHalf>,
    write: oneshot::Sender<OwnedWriteHalf>,
}

/// Connects everybody who waited for the start. Called between the creation of the shim and its start.
pub(crate) fn wire_pending(inner: &Inner, container: &Container, shim: &Shim) -> Result<()> {
    let pending = std::mem::take(&mut *lock(&container.pending));
    for client in pending.into_iter().filter(|client| !client.read.is_closed()) {
        let (read, write) = connect(inner, shim.attach(client.request)?)?;
        let _ = client.read.send(read);
        if client.request.stdin {
            if let Err(write) = client.write.send(write) {
                write.forget();
            }
        } else {
            write.forget();
        }
    }
    Ok(())
}

/// A shim's connection, ready for async use.
pub(super) fn connect(
    inner: &Inner,
    stream: std::os::unix::net::UnixStream,
) -> Result<(OwnedReadHalf, OwnedWriteHalf)> {
    stream.set_nonblocking(true)?;
    let _runtime = inner.handle.enter();
    Ok(UnixStream::from_std(stream)?.into_split())
}

impl Containers {
    /// May be called before the start: the streams are wired before the first process runs.
    pub async fn attach(&self, name: &str, options: AttachOptions) -> Result<Attachment> {
        let container = self.find(name)?;
        let (tty, open_stdin, stdin_once) = {
            let config = &container.read().config;
            (config.tty, config.open_stdin, config.stdin_once)
        };
        // Only with a log that can be read.
        let log = match options.logs {
            true => Some(self.log_path(&container)?),
            false => None,
        };
        if !options.stream {
            let output = match log {
                Some(_) => self.logged(&container, &options, None).await?,
                None => Box::pin(futures_util::stream::empty()),
            };
            return Ok(Attachment {
                tty,
                output,
                input: None,
            });
        }
        let request = AttachRequest {
            stdin: options.stdin && open_stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        let passes_end = stdin_once && !tty;
        let detach = tty.then(|| options.detach_keys.clone().unwrap_or_default());
        // Starts hold the lock: either they see this client, or this sees what they started.
        let op = container.op.clone().lock_owned().await;
        let status = container.status();
        // The end of what the stream does not have.
        let end_of_log = || log.as_deref().and_then(LogPosition::end_of);
        let (end, output, input) = match status {
            Status::Running => {
                let (inner, shim) = (self.0.clone(), self.0.runtime.shim(&container.id));
                let after_log = log.is_some();
                let ((read, write), position) = blocking(move || {
                    let (stream, position) = match after_log {
                        true => shim.attach_after_log(request)?,
                        false => (shim.attach(request)?, None),
                    };
                    Ok((connect(&inner, stream)?, position))
                })
                .await?;
                let input = if request.stdin {
                    Some(Input::new(write, passes_end, detach))
                } else {
                    write.forget();
                    None
                };
                (position.or_else(end_of_log), streams::output(read, tty), input)
            }
            Status::Paused => {
                return Err(EngineError::conflict(format!(
                    "container {} is paused, unpause the container before attach",
                    container.read().short_id()
                )));
            }
            Status::Removing | Status::Dead => {
                return Err(EngineError::conflict(format!(
                    "container {} is being removed",
                    container.read().short_id()
                )));
            }
            Status::Created | Status::Exited | Status::Restarting => {
                let (read, read_later) = oneshot::channel();
                let (write, write_later) = oneshot::channel();
                lock(&container.pending).push(PendingAttach { request, read, write });
                let input = request
                    .stdin
                    .then(|| Input::pending(write_later, passes_end, detach));
                (end_of_log(), streams::pending_output(read_later, tty), input)
            }
        };
        let output = match log {
            Some(_) => Box::pin(self.logged(&container, &options, end).await?.chain(output)),
            None => output,
        };
        drop(op);
        self.0.publish(&container, "attach", &[]);
        Ok(Attachment { tty, output, input })
    }

    async fn logged(
        &self,
        container: &Arc<Container>,
        options: &AttachOptions,
        end: Option<LogPosition>,
    ) -> Result<Output> {
        if !options.stdout && !options.stderr {
            return Ok(Box::pin(futures_util::stream::empty()));
        }
        let options = LogOptions {
            stdout: options.stdout,
            stderr: options.stderr,
            ..LogOptions::default()
        };
        Ok(self.read_log(container.clone(), options, end).await?.output)
    }

    /// Sets the size of the container's terminal.
    pub async fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        let container = self.find(name)?;
        if !container.status().is_live() {
            return Err(EngineError::conflict(format!(
                "container {} is not running",
                container.id
            )));
        }
        let shim = self.0.runtime.shim(&container.id);
        blocking(move || Ok(shim.resize(width, height)?)).await?;
        self.0.publish(
            &container,
            "resize",
            &[("height", height.to_string()), ("width", width.to_string())],
        );
        Ok(())
    }
}
