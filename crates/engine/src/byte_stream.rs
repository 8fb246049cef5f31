//! Streams of bytes for clients, and their blocking end.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{EngineError, Result};

/// A stream of bytes such as a tar archive.
pub type ByteStream = std::pin::Pin<Box<dyn futures_util::Stream<Item = io::Result<Bytes>> + Send>>;

/// Pieces made ahead of a slow client, each of up to [`PIECE`] bytes.
const AHEAD: usize = 8;
const PIECE: usize = 128 << 10;

/// What `write` writes on a thread of its own, as a stream. A client that leaves ends the work.
pub fn produced<E>(
    write: impl FnOnce(io::BufWriter<Pieces>) -> Result<(), E> + Send + 'static,
) -> Result<ByteStream>
where
    EngineError: From<E>,
{
    let (sender, receiver) = mpsc::channel(AHEAD);
    let failed = sender.clone();
    std::thread::Builder::new()
        .name("archive".to_owned())
        .spawn(move || {
            let writer = io::BufWriter::with_capacity(PIECE, Pieces(sender));
            if let Err(error) = write(writer) {
                // Nobody listens if it was the client who left.
                let _ = failed.blocking_send(Err(io::Error::other(EngineError::from(error))));
            }
        })?;
    Ok(Box::pin(futures_util::stream::unfold(
        receiver,
        |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) },
    )))
}

/// The blocking end of a stream.
#[derive(Debug)]
pub struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client left");
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
