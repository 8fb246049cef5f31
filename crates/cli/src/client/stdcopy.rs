//! The framing that carries standard output and standard error over one stream.
//!
//! Each frame: one byte naming the stream, three zero bytes, four bytes of length (big endian), the payload.

/// Where a frame's payload belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output (0 and 1).
    Out,
    /// Standard error (2).
    Err,
    /// An error of the engine itself (3).
    System,
}

/// A frame header that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized stream: {0}")]
pub(crate) struct UnknownStream(u8);

/// Splits a framed byte stream, whatever the sizes of the pieces it comes in.
#[derive(Debug, Default)]
pub(crate) struct Demultiplexer {
    header: [u8; 8],
    filled: usize,
    current: Option<(Stream, usize)>,
}

impl Demultiplexer {
    /// Hands each piece of payload in `bytes` to `sink`.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Stream, &[u8]),
    ) -> Result<(), UnknownStream> {
        while !bytes.is_empty() {
            if let Some((stream, left)) = self.current {
                let (payload, rest) = bytes.split_at(left.min(bytes.len()));
                sink(stream, payload);
                self.current = (payload.len() < left).then_some((stream, left - payload.len()));
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at((8 - self.filled).min(bytes.len()));
            self.header[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
            bytes = rest;
            if self.filled == 8 {
                self.filled = 0;
                let [kind, _, _, _, a, b, c, d] = self.header;
                let stream = match kind {
                    0 | 1 => Stream::Out,
                    2 => Stream::Err,
                    3 => Stream::System,
                    other => return Err(UnknownStream(other)),
                };
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                self.current = (length > 0).then_some((stream, length));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn any_chunking_gives_the_same_streams() {
        let bytes = [
            frame(1, b"hello "),
            frame(2, b"oops"),
            frame(1, b""),
            frame(1, b"world"),
            frame(3, b"x"),
        ]
        .concat();
        for size in 1..=bytes.len() {
            let mut demultiplexer = Demultiplexer::default();
            let (mut out, mut err, mut system) = (Vec::new(), Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                let sink = |stream, payload: &[u8]| match stream {
                    Stream::Out => out.extend_from_slice(payload),
                    Stream::Err => err.extend_from_slice(payload),
                    Stream::System => system.extend_from_slice(payload),
                };
                demultiplexer.feed(piece, sink).unwrap();
            }
            assert_eq!(
                (out.as_slice(), err.as_slice(), system.as_slice()),
                (&b"hello world"[..], &b"oops"[..], &b"x"[..])
            );
        }
    }

    #[test]
    fn an_unknown_stream_is_an_error() {
        let mut demultiplexer = Demultiplexer::default();
        assert_eq!(
            demultiplexer.feed(&frame(9, b"x"), |_, _| ()),
            Err(UnknownStream(9))
        );
    }
}
