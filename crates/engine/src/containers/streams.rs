//! Streams between a client and a container: output frames, the input sink, detach keys.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::{EngineError, Result};

/// Which stream a frame came from. With a terminal everything is `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    Stdout,
    Stderr,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub stream: StreamKind,
    pub bytes: Bytes,
}

/// Output in order; ends when the container (or exec) closed both streams or ended.
pub type Output = Pin<Box<dyn Stream<Item = std::io::Result<Frame>> + Send>>;

/// A connection to a container's or exec's standard streams.
pub struct Attachment {
    /// A terminal: the API sends raw bytes instead of frames with headers.
    pub tty: bool,
    pub output: Output,
    /// `None` when input was not asked for or the container has none open.
    pub input: Option<Input>,
}

/// The input side. Dropping it closes the input, as `close` does.
pub struct Input {
    sink: Pin<Box<dyn AsyncWrite + Send>>,
    detach: Option<DetachScanner>,
}

/// What became of a piece of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Forwarded,
    /// The detach keys were typed: the client wants to leave; nothing more is forwarded.
    Detached,
}

impl Input {
    pub(crate) fn new(sink: impl AsyncWrite + Send + 'static, detach: Option<DetachKeys>) -> Self {
        Input {
            sink: Box::pin(sink),
            detach: detach.map(DetachScanner::new),
        }
    }

    /// Passes bytes on. Errors when the container closed its input.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<Sent> {
        let Some(scanner) = &mut self.detach else {
            self.sink.write_all(bytes).await?;
            return Ok(Sent::Forwarded);
        };
        let (forward, detached) = scanner.scan(bytes);
        if !forward.is_empty() {
            self.sink.write_all(&forward).await?;
        }
        Ok(if detached { Sent::Detached } else { Sent::Forwarded })
    }

    /// Ends the input: the container reads end of file.
    pub async fn close(mut self) -> std::io::Result<()> {
        self.sink.shutdown().await
    }
}

/// The key sequence that leaves a container without stopping it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`
    fn default() -> Self {
        DetachKeys(vec![16, 17])
    }
}

impl DetachKeys {
    /// Parses Docker's form: single characters or `ctrl-x` (a letter or one of `@[\]^_`), separated by commas. The empty
    /// string is the default.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let invalid = || EngineError::invalid(format!("Invalid escape keys ({text}) provided"));
        let mut keys = Vec::new();
        for key in text.split(',') {
            let code = match key.as_bytes() {
                [single] => *single,
                [b'c', b't', b'r', b'l', b'-', letter @ b'a'..=b'z'] => letter - b'a' + 1,
                b"ctrl-@" => 0,
                b"ctrl-[" => 27,
                b"ctrl-\\" => 28,
                b"ctrl-]" => 29,
                b"ctrl-^" => 30,
                b"ctrl-_" => 31,
                _ => return Err(invalid()),
            };
            keys.push(code);
        }
        Ok(DetachKeys(keys))
    }
}

/// Finds the detach keys in typed input. A partial match is held back until it either completes or fails.
#[derive(Debug)]
pub(crate) struct DetachScanner {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachScanner {
    pub(crate) fn new(keys: DetachKeys) -> Self {
        DetachScanner {
            keys: keys.0,
            matched: 0,
        }
    }

    /// What to pass on, and whether the sequence is complete.
    pub(crate) fn scan(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut forward = Vec::with_capacity(input.len());
        for &byte in input {
            // The longest border keeps sequences such as a,a,b working on "aaab".
            while self.matched > 0 && self.keys[self.matched] != byte {
                let shorter = self.border();
                forward.extend_from_slice(&self.keys[..self.matched - shorter]);
                self.matched = shorter;
            }
            if self.keys[self.matched] == byte {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return (forward, true);
                }
            } else {
                forward.push(byte);
            }
        }
        (forward, false)
    }

    /// Length of the longest proper prefix of what matched that is also its suffix.
    fn border(&self) -> usize {
        let matched = &self.keys[..self.matched];
        (0..matched.len())
            .rev()
            .find(|&length| matched.ends_with(&matched[..length]))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_keys() {
        assert_eq!(DetachKeys::parse("").unwrap(), DetachKeys(vec![16, 17]));
        assert_eq!(
            DetachKeys::parse("ctrl-p,ctrl-q").unwrap(),
            DetachKeys(vec![16, 17])
        );
        assert_eq!(
            DetachKeys::parse("a,ctrl-\\").unwrap(),
            DetachKeys(vec![b'a', 28])
        );
        for bad in ["ctrl-P", "ab", "ctrl-", ",", "ctrl-1"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn detaches_across_pieces() {
        let mut scanner = DetachScanner::new(DetachKeys::default());
        assert_eq!(scanner.scan(b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(scanner.scan(b"\x11more"), (vec![], true));
    }

    #[test]
    fn a_failed_match_is_forwarded() {
        let mut scanner = DetachScanner::new(DetachKeys::default());
        assert_eq!(scanner.scan(b"\x10x"), (b"\x10x".to_vec(), false));
        assert_eq!(scanner.scan(b"\x10\x10\x10"), (b"\x10\x10".to_vec(), false));
        assert_eq!(scanner.scan(b"\x11"), (vec![], true));
    }

    #[test]
    fn overlapping_sequences() {
        let mut scanner = DetachScanner::new(DetachKeys::parse("a,a,b").unwrap());
        assert_eq!(scanner.scan(b"aaab"), (b"a".to_vec(), true));
    }
}
