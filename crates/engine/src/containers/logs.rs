//! `logs`: the log as a stream.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use havre_runtime::logs::{LogEntry, LogFormat, LogPosition, LogQuery, LogReader, LogStream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::mpsc;

use super::record::Record;
use super::table::Container;
use super::{Containers, Frame, LogOptions, Logging, Logs, Status, StreamKind, files};
use crate::error::blocking;
use crate::{EngineError, ErrorKind, Result};

/// Entries read ahead of a slow client.
const AHEAD: usize = 256;

impl Containers {
    /// What was written so far, and with `follow` what comes until the container ends.
    pub async fn logs(&self, name: &str, options: LogOptions) -> Result<Logs> {
        let container = self.find(name)?;
        if !options.stdout && !options.stderr {
            return Err(EngineError::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        self.read_log(container, options, None).await
    }

    /// Where the log is, if it can be read.
    pub(super) fn log_path(&self, container: &Container) -> Result<PathBuf> {
        let format = readable(&container.read())?.format;
        Ok(files::log_path(&self.0.store, &container.id, format))
    }

    /// As [`logs`](Self::logs), up to a place.
    pub(super) async fn read_log(
        &self,
        container: Arc<Container>,
        options: LogOptions,
        end: Option<LogPosition>,
    ) -> Result<Logs> {
        let (tty, format, attributes) = {
            let record = container.read();
            let logging = readable(&record)?;
            // The other form has them in every entry.
            let local = logging.format == LogFormat::Local && options.details;
            let attributes = local.then(|| logging.attributes(&record));
            (record.config.tty, logging.format, attributes.unwrap_or_default())
        };
        let query = LogQuery {
            format,
            stdout: options.stdout,
            stderr: options.stderr,
            tail: options.tail.map(|lines| lines as u64),
            since: options.since,
            until: options.until,
            follow: options.follow,
            end,
        };
        let path = files::log_path(&self.0.store, &container.id, format);
        let (sender, receiver) = mpsc::channel(AHEAD);
        let closed = sender.clone();
        let ended = move || closed.is_closed() || has_ended(&container);
        let mut reader = blocking(move || Ok(LogReader::open(&path, query, Box::new(ended))?)).await?;
        // A thread of its own: following may last for days.
        std::thread::Builder::new()
            .name("logs".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                for entry in &mut reader {
                    let frame = entry.map(|mut entry| {
                        if format == LogFormat::Local {
                            entry.attributes.clone_from(&attributes);
                        }
                        frame(entry, &options)
                    });
                    let frame = frame.map_err(std::io::Error::other);
                    if sender.blocking_send(frame).is_err() {
                        return;
                    }
                }
            })?;
        let output = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        Ok(Logs {
            tty,
            output: output.boxed(),
        })
    }
}

/// The logging of a container, if its log can be read.
fn readable(record: &Record) -> Result<Logging> {
    Logging::parse(&record.host_config.log_config)?.ok_or_else(|| {
        EngineError::new(
            ErrorKind::NotImplemented,
            "configured logging driver does not support reading",
        )
    })
}

fn has_ended(container: &Arc<Container>) -> bool {
    !matches!(
        container.status(),
        Status::Running | Status::Paused | Status::Restarting
    )
}

/// What a query keeps as it is; a space becomes a plus.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

/// `key=value,key=value`, encoded as in a query.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let escape = |part| utf8_percent_encode(part, KEPT).to_string().replace(' ', "+");
    let pairs = attributes
        .iter()
        .map(|(key, value)| format!("{}={}", escape(key), escape(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn frame(entry: LogEntry, options: &LogOptions) -> Frame {
    let stream = match entry.stream {
        LogStream::Stdout => StreamKind::Stdout,
        LogStream::Stderr => StreamKind::Stderr,
    };
    let mut bytes = Vec::with_capacity(entry.line.len() + 40);
    if options.timestamps {
        bytes.extend_from_slice(format!("{:.9} ", entry.time).as_bytes());
    }
    if options.details {
        bytes.extend_from_slice(details(&entry.attributes).as_bytes());
        bytes.push(b' ');
    }
    bytes.extend_from_slice(&entry.line);
    Frame {
        stream,
        bytes: Bytes::from(bytes),
    }
}
