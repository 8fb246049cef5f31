//! Bytes between the user and a hijacked connection: input, output, detach keys, signals, terminal size.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::client::stdcopy::{Demultiplexer, Stream};
use crate::client::{Client, Hijacked};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::printer::Printer;
use crate::spec::detach_keys::DetachKeys;
use crate::terminal;

/// What flows.
#[derive(Debug)]
pub(crate) struct Streams {
    /// The container has a terminal: one raw stream.
    pub(crate) tty: bool,
    /// Standard input is sent.
    pub(crate) stdin: bool,
    /// Keys that detach.
    pub(crate) detach_keys: DetachKeys,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The engine closed the stream.
    Stream,
    /// The user typed the detach keys.
    Detached,
}

/// Moves bytes until the engine closes the stream or the user detaches.
pub(crate) async fn shuttle(
    stream: Hijacked,
    streams: Streams,
    printer: &Printer,
) -> Result<Ended, CliError> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let Streams {
        tty,
        stdin,
        mut detach_keys,
    } = streams;
    let watch_keys = stdin && tty && printer.in_is_terminal();
    let input = async {
        if !stdin {
            return std::future::pending().await;
        }
        let mut typed = read_stdin();
        while let Some(bytes) = typed.recv().await {
            let (bytes, detached) = if watch_keys {
                detach_keys.filter(&bytes)
            } else {
                (bytes.to_vec(), false)
            };
            if !bytes.is_empty() && (writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err())
            {
                break;
            }
            if detached {
                return Ended::Detached;
            }
        }
        // The end of input is passed on; output goes on until the container ends.
        let _ = writer.shutdown().await;
        std::future::pending().await
    };
    let output = async {
        let mut frames = Demultiplexer::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match reader.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(CliError::Broken(error.to_string())),
            };
            deliver(&buffer[..count], tty, &mut frames, printer)?;
        }
    };
    tokio::select! {
        result = output => result.map(|()| Ended::Stream),
        ended = input => Ok(ended),
    }
}

/// Writes a piece of an output stream, framed unless the container has a terminal.
pub(crate) fn deliver(
    bytes: &[u8],
    raw: bool,
    frames: &mut Demultiplexer,
    printer: &Printer,
) -> Result<(), CliError> {
    if raw {
        printer.out_bytes(bytes);
        return Ok(());
    }
    let mut system = Vec::new();
    // What follows one another on the same stream is written at once.
    let (mut stream, mut run) = (Stream::Out, Vec::new());
    let mut write = |stream, run: &mut Vec<u8>| {
        match stream {
            Stream::Out => printer.out_bytes(run),
            Stream::Err => printer.err_bytes(run),
            Stream::System => system.extend_from_slice(run),
        }
        run.clear();
    };
    let fed = frames.feed(bytes, |next, payload| {
        if next != stream {
            write(std::mem::replace(&mut stream, next), &mut run);
        }
        run.extend_from_slice(payload);
    });
    write(stream, &mut run);
    fed.map_err(|error| CliError::Broken(error.to_string()))?;
    if system.is_empty() {
        return Ok(());
    }
    Err(CliError::Stream(format!(
        "error from daemon in stream: {}",
        String::from_utf8_lossy(&system)
    )))
}

/// Standard input in pieces, read by a thread of its own: a read of a terminal cannot be cancelled, and the process
/// must be able to end without it.
pub(crate) fn read_stdin() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    if sender
                        .blocking_send(Bytes::copy_from_slice(&buffer[..count]))
                        .is_err()
                    {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    receiver
}

/// Tells the engine the terminal's size now and whenever it changes; never returns. `path` ends in `/resize`.
pub(crate) async fn follow_size(client: &Client, path: &str) -> io::Result<std::convert::Infallible> {
    let mut changed = signal(SignalKind::window_change())?;
    loop {
        resize(client, path).await;
        changed.recv().await;
    }
}

/// Tells the engine the terminal's size. A container that has just ended cannot be resized: no matter.
pub(crate) async fn resize(client: &Client, path: &str) {
    if let Some((rows, columns)) = terminal::size() {
        let call = client
            .post(path)
            .query("h", rows.to_string())
            .query("w", columns.to_string());
        if let Err(error) = call.status().await {
            tracing::debug!(%error, "resize");
        }
    }
}

/// Signals that are passed on to the container.
const PROXIED: [(i32, &str); 7] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (10, "USR1"),
    (12, "USR2"),
    (15, "TERM"),
    (18, "CONT"),
];

/// Passes signals on to a container; never returns.
pub(crate) async fn forward_signals(client: &Client, id: &str) -> io::Result<std::convert::Infallible> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for (number, name) in PROXIED {
        let mut stream = signal(SignalKind::from_raw(number))?;
        let sender = sender.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(name).is_ok() {} });
    }
    loop {
        if let Some(name) = receiver.recv().await {
            let call = client
                .post(format!("/containers/{id}/kill"))
                .query("signal", name);
            if let Err(error) = call.status().await {
                tracing::debug!(%error, signal = name, "forward");
            }
        }
    }
}

/// Ends with the status of a signal that would end the process, so that the terminal is given back first.
pub(crate) async fn ended_by_signal() -> Result<std::convert::Infallible, CliError> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let number = tokio::select! {
        _ = hangup.recv() => 1,
        _ = terminate.recv() => 15,
    };
    Err(CliError::Silent(ExitStatus(128 + number)))
}
