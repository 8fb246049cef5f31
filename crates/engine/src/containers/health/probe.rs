//! One probe: an exec in the container that is given a time, and whose first words are kept.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::check::Check;
use super::state::HealthProbe;
use crate::containers::table::Container;
use crate::containers::{Attachment, ExecConfig, ExecStart, Inner, exec};
use crate::duration::precise;
use crate::error::blocking;
use crate::{EngineError, Result};

/// Bytes that are kept of what a probe says.
const LONGEST_OUTPUT: usize = 4096;

/// Starting a process in a container may take so long on a machine that is busy. It does not count as the probe's time.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A killed probe ends at once, unless the kernel holds it: then nobody waits for it.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What a program said is there when it has ended; only a process it left behind can hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Probes that are being started, of all containers: each takes a thread for that moment, and processor time.
static STARTING: Semaphore = Semaphore::const_new(8);

/// Makes a probe. Dropped before it is done, it kills what it started.
pub(super) async fn run(engine: &Weak<Inner>, container: &Arc<Container>, check: &Check) -> HealthProbe {
    let permit = STARTING.acquire().await;
    let start = Timestamp::now();
    let running = begin(engine, container, check).await;
    drop(permit);
    let (exit_code, output) = match running {
        Ok(running) => running.end(check.timeout).await,
        Err(error) => (-1, error.to_string()),
    };
    HealthProbe {
        start,
        end: Timestamp::now(),
        exit_code,
        output,
    }
}

async fn begin(engine: &Weak<Inner>, container: &Arc<Container>, check: &Check) -> Result<Running> {
    let config = ExecConfig {
        attach_stdout: true,
        attach_stderr: true,
        cmd: check.args.clone(),
        ..ExecConfig::default()
    };
    let (engine, container) = (engine.clone(), container.clone());
    blocking(move || {
        let inner = engine
            .upgrade()
            .ok_or_else(|| EngineError::system("the engine is shutting down"))?;
        inner.runtime.anticipate();
        let exec = exec::register(&inner, &container, config)?;
        let attachment = exec::run(&inner, &exec, &ExecStart::default(), Some(START_PATIENCE))?;
        Ok(Running {
            engine,
            exec: Some(exec),
            attachment,
        })
    })
    .await
}

/// A probe whose program runs. Dropped, it is killed.
struct Running {
    engine: Weak<Inner>,
    /// `None` once it has ended.
    exec: Option<Arc<exec::Exec>>,
    attachment: Option<Attachment>,
}

impl Running {
    /// Its exit code and output; -1 when it took too long.
    async fn end(mut self, patience: Duration) -> (i64, String) {
        let mut kept = Kept::default();
        let ended = tokio::time::timeout(patience, self.follow(&mut kept)).await;
        if let Ok(code) = ended {
            self.exec = None;
            return (code, kept.text());
        }
        if let Some(exec) = self.exec.take() {
            let engine = self.engine.clone();
            let killed = exec.clone();
            let kill = tokio::task::spawn_blocking(move || kill(&engine, &killed));
            let gone = async {
                let _ = kill.await;
                exec.ended().await
            };
            let _ = tokio::time::timeout(KILL_PATIENCE, gone).await;
        }
        let said = kept.text();
        let colon = if said.is_empty() { "" } else { ": " };
        (
            -1,
            format!(
                "Health check exceeded timeout ({}){colon}{said}",
                precise(patience)
            ),
        )
    }

    async fn follow(&mut self, kept: &mut Kept) -> i64 {
        let Some(exec) = self.exec.clone() else { return -1 };
        let mut output = self.attachment.take().map(|attachment| attachment.output);
        let mut ended = std::pin::pin!(exec.ended());
        let code = loop {
            let Some(open) = &mut output else {
                break ended.await;
            };
            tokio::select! {
                code = &mut ended => break code,
                frame = open.next() => match frame {
                    Some(Ok(frame)) => kept.add(&frame.bytes),
                    _ => output = None,
                },
            }
        };
        if let Some(mut open) = output {
            let rest = async {
                while let Some(Ok(frame)) = open.next().await {
                    kept.add(&frame.bytes);
                }
            };
            let _ = tokio::time::timeout(LAST_WORDS, rest).await;
        }
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(exec) = self.exec.take() else { return };
        let engine = self.engine.clone();
        if let Some(inner) = engine.upgrade() {
            inner.handle.spawn_blocking(move || kill(&engine, &exec));
        }
    }
}

fn kill(engine: &Weak<Inner>, exec: &exec::Exec) {
    if let Some(inner) = engine.upgrade() {
        exec.kill(&inner);
    }
}

/// The beginning of what a program says.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    more: bool,
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) {
        let room = LONGEST_OUTPUT - self.bytes.len();
        let taken = bytes.len().min(room);
        self.bytes.extend_from_slice(&bytes[..taken]);
        self.more |= taken < bytes.len();
    }

    /// What is no UTF-8 becomes U+FFFD byte by byte, as Go's JSON writes it.
    fn text(&self) -> String {
        let mut text = String::with_capacity(self.bytes.len());
        for chunk in self.bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        if self.more {
            text.push_str("...");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded_and_readable() {
        let mut kept = Kept::default();
        kept.add(b"caf\xc3\xa9 \xff\xfe\n");
        assert_eq!(kept.text(), "caf\u{e9} \u{fffd}\u{fffd}\n");
        kept.add(&[b'x'; LONGEST_OUTPUT - 9]);
        assert!(!kept.text().ends_with("..."), "it just fits");
        kept.add(b"");
        assert!(!kept.more);
        kept.add(b"y");
        assert_eq!(kept.bytes.len(), LONGEST_OUTPUT);
        assert!(kept.text().ends_with("xx..."));
    }
}
