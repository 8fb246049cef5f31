//! Reading, hashing and unpacking an archive at the same time.
//!
//! ```text
//! reader thread: decompress ──chunks──► caller: parse and write
//!                          └──chunks──► hasher thread: digest
//! ```
//! The channels are bounded: the slowest of the three sets the pace and memory stays at a few chunks.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use havre_oci::{Digest, Digester};

use crate::ApplyError;

const CHUNK: usize = 256 << 10;
/// Chunks waiting in each channel.
const WAITING: usize = 8;

/// Bytes of the archive; its memory is used again when all are done with it.
struct Chunk {
    bytes: Vec<u8>,
    pool: Sender<Vec<u8>>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let _ = self.pool.send(std::mem::take(&mut self.bytes));
    }
}

/// Feeds `tar` to `work`, which must read to its end to succeed; its result, and the digest of everything.
pub(crate) fn run<T>(
    tar: impl Read + Send,
    progress: &mut dyn FnMut(u64),
    work: impl FnOnce(&mut dyn BufRead) -> Result<T, ApplyError>,
) -> Result<(T, Digest), ApplyError> {
    thread::scope(|scope| {
        let (to_work, chunks) = sync_channel(WAITING);
        let (to_hash, hashed) = sync_channel::<Arc<Chunk>>(WAITING);
        scope.spawn(move || read(tar, &to_work, &to_hash));
        let hasher = scope.spawn(move || {
            let mut digester = Digester::sha256();
            for chunk in hashed {
                digester.update(&chunk.bytes);
            }
            digester.finish()
        });
        let mut chunks = Chunks {
            chunks,
            current: None,
            position: 0,
            consumed: 0,
            progress,
        };
        let done = work(&mut chunks);
        // Lets the reader stop, if it hasn't.
        drop(chunks);
        let value = done?;
        let digest = hasher
            .join()
            .map_err(|_| ApplyError::Read(io::Error::other("hashing failed")))?;
        Ok((value, digest))
    })
}

fn read(mut tar: impl Read, to_work: &SyncSender<io::Result<Arc<Chunk>>>, to_hash: &SyncSender<Arc<Chunk>>) {
    let (pool, used) = channel();
    loop {
        let mut bytes: Vec<u8> = used.try_recv().unwrap_or_default();
        bytes.resize(CHUNK, 0);
        let mut filled = 0;
        let failure = loop {
            match tar.read(&mut bytes[filled..]) {
                Ok(0) => break None,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
            if filled == CHUNK {
                break None;
            }
        };
        bytes.truncate(filled);
        let end = filled < CHUNK;
        let chunk = Arc::new(Chunk {
            bytes,
            pool: pool.clone(),
        });
        let sent = to_hash.send(chunk.clone()).is_ok() && to_work.send(Ok(chunk)).is_ok();
        if let Some(error) = failure {
            let _ = to_work.send(Err(error));
            return;
        }
        if end || !sent {
            return;
        }
    }
}

/// The chunks as a stream.
struct Chunks<'a> {
    chunks: Receiver<io::Result<Arc<Chunk>>>,
    current: Option<Arc<Chunk>>,
    position: usize,
    consumed: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl BufRead for Chunks<'_> {
    /// A whole chunk, or what is left of it.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self
            .current
            .as_ref()
            .is_none_or(|chunk| self.position == chunk.bytes.len())
        {
            if let Some(chunk) = self.current.take() {
                self.consumed += chunk.bytes.len() as u64;
                (self.progress)(self.consumed);
            }
            match self.chunks.recv() {
                Ok(chunk) => (self.current, self.position) = (Some(chunk?), 0),
                // The reader has ended.
                Err(_) => return Ok(&[]),
            }
        }
        let rest = self.current.as_ref().map(|chunk| &chunk.bytes[self.position..]);
        Ok(rest.unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.fill_buf()?;
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        self.consume(length);
        Ok(length)
    }
}
