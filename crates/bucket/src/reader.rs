//! An object's bytes as a reader that blocks.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::runtime::Handle;

pub(crate) struct Reader {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    runtime: Handle,
    piece: Bytes,
}

impl Reader {
    pub(crate) fn new(stream: BoxStream<'static, object_store::Result<Bytes>>, runtime: Handle) -> Self {
        Self {
            stream,
            runtime,
            piece: Bytes::new(),
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buf.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buf.len());
        self.piece.copy_to_slice(&mut buf[..length]);
        Ok(length)
    }
}
