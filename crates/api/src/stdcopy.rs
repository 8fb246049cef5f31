//! The framing that carries standard output and standard error over one connection when there is no terminal.
//!
//! Eight bytes go before each piece: the stream (0 input, 1 output, 2 error, 3 a system error), three zero bytes, and the
//! length of the piece as a big-endian 32-bit number.

/// Which stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    /// An error of the engine, in words.
    SystemError = 3,
}

/// The length of a frame's header.
pub const HEADER_LEN: usize = 8;

/// The header of a frame with `len` bytes of payload.
pub fn header(stream: Stream, len: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

/// Appends `payload` as a frame; as several if it is longer than a header can say.
pub fn encode(stream: Stream, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + HEADER_LEN);
    for piece in payload.chunks(u32::MAX as usize) {
        out.extend_from_slice(&header(stream, piece.len() as u32));
        out.extend_from_slice(piece);
    }
}

/// Why bytes are not frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("unrecognized input header: {0}")]
    UnknownStream(u8),
}

/// Takes frames apart as bytes arrive. Payloads are handed on in pieces as they come, never collected: a frame's length
/// costs no memory.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    header: [u8; HEADER_LEN],
    header_len: usize,
    current: Option<Stream>,
    left: u32,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in `input`, calling `sink` for every piece of payload in it.
    pub fn feed(&mut self, mut input: &[u8], mut sink: impl FnMut(Stream, &[u8])) -> Result<(), DecodeError> {
        while !input.is_empty() {
            if let Some(stream) = self.current {
                let len = input.len().min(self.left as usize);
                let (piece, rest) = input.split_at(len);
                sink(stream, piece);
                self.left -= len as u32;
                input = rest;
                if self.left == 0 {
                    self.current = None;
                }
                continue;
            }
            let len = input.len().min(HEADER_LEN - self.header_len);
            let (piece, rest) = input.split_at(len);
            self.header[self.header_len..self.header_len + len].copy_from_slice(piece);
            self.header_len += len;
            input = rest;
            if self.header_len == HEADER_LEN {
                self.header_len = 0;
                let [stream, _, _, _, a, b, c, d] = self.header;
                self.left = u32::from_be_bytes([a, b, c, d]);
                let stream = match stream {
                    0 => Stream::Stdin,
                    1 => Stream::Stdout,
                    2 => Stream::Stderr,
                    3 => Stream::SystemError,
                    other => return Err(DecodeError::UnknownStream(other)),
                };
                self.current = (self.left > 0).then_some(stream);
            }
        }
        Ok(())
    }

    /// Whether what came so far ends between two frames.
    pub fn is_complete(&self) -> bool {
        self.current.is_none() && self.header_len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_documented_header() {
        assert_eq!(header(Stream::Stderr, 0x0102_0304), [2, 0, 0, 0, 1, 2, 3, 4]);
        let mut out = Vec::new();
        encode(Stream::Stdout, b"hi", &mut out);
        assert_eq!(out, b"\x01\0\0\0\0\0\0\x02hi");
        encode(Stream::Stdout, b"", &mut out);
        assert_eq!(out.len(), 10, "nothing makes no frame");
    }

    #[test]
    fn unknown_streams_are_refused() {
        let error = Decoder::new().feed(b"HTTP/1.1 200 OK", |_, _| {}).unwrap_err();
        assert_eq!(error, DecodeError::UnknownStream(b'H'));
    }

    #[test]
    fn a_cut_frame_is_incomplete() {
        let mut decoder = Decoder::new();
        decoder
            .feed(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'x'], |_, _| {})
            .unwrap();
        assert!(!decoder.is_complete());
    }

    fn stream() -> impl Strategy<Value = Stream> {
        prop_oneof![
            Just(Stream::Stdin),
            Just(Stream::Stdout),
            Just(Stream::Stderr),
            Just(Stream::SystemError)
        ]
    }

    proptest! {
        #[test]
        fn round_trip(
            frames in proptest::collection::vec((stream(), proptest::collection::vec(any::<u8>(), 1..100)), 0..20),
            cuts in proptest::collection::vec(1usize..40, 1..50),
        ) {
            let mut wire = Vec::new();
            for (stream, payload) in &frames {
                encode(*stream, payload, &mut wire);
            }
            let mut decoder = Decoder::new();
            let mut seen: Vec<(Stream, u8)> = Vec::new();
            let mut rest = wire.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                decoder.feed(piece, |stream, bytes| seen.extend(bytes.iter().map(|b| (stream, *b)))).unwrap();
                rest = after;
            }
            let expected: Vec<_> = frames.iter().flat_map(|(s, bytes)| bytes.iter().map(|b| (*s, *b))).collect();
            prop_assert_eq!(seen, expected);
            prop_assert!(decoder.is_complete());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decoder::new().feed(&bytes, |_, _| {});
        }
    }
}
