//! Streams between a client and a container: output frames, the input sink, detach keys.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

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

/// The input side. Dropping it detaches: the container's input stays open for others.
pub struct Input {
    sink: Sink,
    /// Whether the client's end of input is the container's, too.
    passes_end: bool,
    detach: Option<DetachScanner>,
}

enum Sink {
    /// The container has not started yet.
    Pending(oneshot::Receiver<OwnedWriteHalf>),
    Open(OwnedWriteHalf),
    Gone,
}

impl Drop for Input {
    fn drop(&mut self) {
        // Without `forget` the half would send an end of input on its way out.
        if let Sink::Open(half) = std::mem::replace(&mut self.sink, Sink::Gone) {
            half.forget();
        }
    }
}

/// What became of a piece of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Forwarded,
    /// The detach keys were typed: the client wants to leave; nothing more is forwarded.
    Detached,
}

impl Input {
    pub(crate) fn new(half: OwnedWriteHalf, passes_end: bool, detach: Option<DetachKeys>) -> Self {
        Input {
            sink: Sink::Open(half),
            passes_end,
            detach: detach.map(DetachScanner::new),
        }
    }

    pub(crate) fn pending(
        half: oneshot::Receiver<OwnedWriteHalf>,
        passes_end: bool,
        detach: Option<DetachKeys>,
    ) -> Self {
        Input {
            sink: Sink::Pending(half),
            passes_end,
            detach: detach.map(DetachScanner::new),
        }
    }

    /// Passes bytes on; waits for the start of a container that has not started yet. Errors when the container closed its
    /// input or ended.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<Sent> {
        let Some(scanner) = &mut self.detach else {
            self.write(bytes).await?;
            return Ok(Sent::Forwarded);
        };
        let (forward, detached) = scanner.scan(bytes);
        if !forward.is_empty() {
            self.write(&forward).await?;
        }
        Ok(if detached { Sent::Detached } else { Sent::Forwarded })
    }

    /// The client's input has ended. The container reads end of file if its input ends with its first client
    /// (`StdinOnce`) and it has no terminal; otherwise its input stays open.
    pub async fn close(mut self) -> std::io::Result<()> {
        match self.passes_end {
            true => self.open().await?.shutdown().await,
            false => Ok(()),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.open().await?.write_all(bytes).await
    }

    async fn open(&mut self) -> std::io::Result<&mut OwnedWriteHalf> {
        let gone = || std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the container did not start");
        if let Sink::Pending(receiver) = &mut self.sink {
            let received = receiver.await;
            self.sink = received.map_or(Sink::Gone, Sink::Open);
        }
        match &mut self.sink {
            Sink::Open(half) => Ok(half),
            _ => Err(gone()),
        }
    }
}

/// Largest piece a shim may announce; it sends far smaller ones.
const LARGEST_FRAME: usize = 16 << 20;

/// The output of a shim's connection: raw bytes of a terminal, else frames with Docker's header of 8 bytes (stream 1 or 2,
/// three zeros, big-endian length).
pub(crate) fn output(half: OwnedReadHalf, tty: bool) -> Output {
    let reader = tokio::io::BufReader::with_capacity(32 << 10, half);
    Box::pin(futures_util::stream::unfold(
        Some(reader),
        move |reader| async move {
            let mut reader = reader?;
            let read = if tty {
                read_raw(&mut reader).await
            } else {
                read_frame(&mut reader).await
            };
            match read {
                Ok(Some(frame)) => Some((Ok(frame), Some(reader))),
                Ok(None) => None,
                // A killed container takes its connection with it; that is its end, not an error.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
                Err(error) => Some((Err(error), None)),
            }
        },
    ))
}

/// Output that begins when the other side is there; nothing if it never comes.
pub(crate) fn pending_output(half: oneshot::Receiver<OwnedReadHalf>, tty: bool) -> Output {
    let begun = futures_util::stream::once(half)
        .filter_map(move |half| std::future::ready(half.ok().map(|half| output(half, tty))));
    Box::pin(begun.flatten())
}

async fn read_raw(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Frame>> {
    let bytes = Bytes::copy_from_slice(reader.fill_buf().await?);
    reader.consume(bytes.len());
    Ok((!bytes.is_empty()).then_some(Frame {
        stream: StreamKind::Stdout,
        bytes,
    }))
}

async fn read_frame(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Frame>> {
    if reader.fill_buf().await?.is_empty() {
        return Ok(None);
    }
    let mut header = [0; 8];
    reader.read_exact(&mut header).await?;
    let [kind, _, _, _, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    let stream = match kind {
        1 => StreamKind::Stdout,
        2 => StreamKind::Stderr,
        _ => {
            return Err(std::io::Error::other(format!(
                "unexpected stream {kind} from the container's shim"
            )));
        }
    };
    if length > LARGEST_FRAME {
        return Err(std::io::Error::other(format!(
            "a frame of {length} bytes from the container's shim"
        )));
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).await?;
    Ok(Some(Frame {
        stream,
        bytes: bytes.into(),
    }))
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

    #[tokio::test]
    async fn frames_are_taken_apart() {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let (read, write) = ours.into_split();
        theirs
            .write_all(b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x03err")
            .await
            .unwrap();
        drop(theirs);
        let frames: Vec<_> = output(read, false).map(|frame| frame.unwrap()).collect().await;
        assert_eq!(
            frames[0],
            Frame {
                stream: StreamKind::Stdout,
                bytes: "hi".into()
            }
        );
        assert_eq!(
            frames[1],
            Frame {
                stream: StreamKind::Stderr,
                bytes: "err".into()
            }
        );
        assert_eq!(frames.len(), 2);
        drop(write);
    }

    #[tokio::test]
    async fn a_cut_frame_is_an_error() {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let (read, _write) = ours.into_split();
        theirs.write_all(b"\x01\0\0\0\0\0\0\x09cut").await.unwrap();
        drop(theirs);
        let frames: Vec<_> = output(read, false).collect().await;
        assert!(frames.len() == 1 && frames[0].is_err());
    }

    #[tokio::test]
    async fn leaving_does_not_end_the_input_and_closing_does() {
        for (close, passes_end, expected) in [
            (false, true, "hi|open"),
            (true, false, "hi|open"),
            (true, true, "hi|end"),
        ] {
            let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
            // The read half stays, as it does while output is still being delivered.
            let (_read, write) = ours.into_split();
            let mut input = Input::new(write, passes_end, None);
            input.send(b"hi").await.unwrap();
            if close {
                input.close().await.unwrap();
            } else {
                drop(input);
            }
            let mut got = [0; 2];
            theirs.read_exact(&mut got).await.unwrap();
            let end =
                tokio::time::timeout(std::time::Duration::from_millis(50), theirs.read(&mut [0; 1])).await;
            let seen = format!(
                "{}|{}",
                String::from_utf8_lossy(&got),
                if end.is_ok() { "end" } else { "open" }
            );
            assert_eq!(seen, expected, "{close} {passes_end}");
        }
    }

    #[tokio::test]
    async fn pending_ends_when_nothing_starts() {
        let (sender, receiver) = oneshot::channel();
        drop(sender);
        assert_eq!(pending_output(receiver, false).count().await, 0);
        let (sender, receiver) = oneshot::channel();
        drop(sender);
        assert!(Input::pending(receiver, true, None).send(b"x").await.is_err());
    }

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
