//! A [`Draft`] as the archive of its layer, straight from where the files are.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use havre_oci::layer::{Entry, Kind, encode_header, padding};
use havre_sys::rooted::Root;

use super::CopyError;
use super::content::Reading;
use super::draft::{Draft, Node, NodeKind};
use crate::files::{Attributes, Special};

/// Why a stream ended early, kept beside the error its reader got.
#[derive(Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<CopyError>>>);

impl Failure {
    fn put(&self, error: CopyError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(crate) fn take(&self) -> Option<CopyError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

enum Payload<'a> {
    Nothing,
    Item(Reading<'a>),
    Text(&'a [u8]),
    File { file: &'a File, at: u64, size: u64 },
}

/// The uncompressed archive of a draft's layer.
pub(crate) struct LayerStream<'a> {
    source: &'a Root,
    nodes: std::vec::IntoIter<Node<'a>>,
    /// Padding and headers to come before the payload, and how much of them went out.
    raw: Vec<u8>,
    sent: usize,
    payload: Payload<'a>,
    /// Bytes the payload has in all.
    size: u64,
    done: bool,
    failure: Failure,
}

impl<'a> LayerStream<'a> {
    /// `source` is where the items of the draft are.
    pub(crate) fn new(draft: Draft<'a>, source: &'a Root, failure: Failure) -> Self {
        LayerStream {
            source,
            nodes: draft.into_nodes().into_iter(),
            raw: Vec::new(),
            sent: 0,
            payload: Payload::Nothing,
            size: 0,
            done: false,
            failure,
        }
    }

    /// The next bytes; 0 at the end.
    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, CopyError> {
        loop {
            let rest = &self.raw[self.sent..];
            if !rest.is_empty() {
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                self.sent += length;
                return Ok(length);
            }
            let length = match &mut self.payload {
                Payload::Nothing => 0,
                Payload::Item(reading) => reading.next(buffer)?,
                Payload::Text(text) => text.read(buffer)?,
                Payload::File { at, size, .. } if at == size => 0,
                Payload::File { file, at, size } => {
                    let room = usize::try_from(*size - *at)
                        .unwrap_or(usize::MAX)
                        .min(buffer.len());
                    match file.read_at(&mut buffer[..room], *at)? {
                        0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                        length => {
                            *at += length as u64;
                            length
                        }
                    }
                }
            };
            if length > 0 || self.done {
                return Ok(length);
            }
            self.advance()?;
        }
    }

    /// Goes on to the next payload. Entries without one are taken together.
    fn advance(&mut self) -> Result<(), CopyError> {
        self.raw.clear();
        self.sent = 0;
        self.raw.extend_from_slice(padding(self.size));
        self.payload = Payload::Nothing;
        self.size = 0;
        while matches!(self.payload, Payload::Nothing) && self.raw.len() < 64 << 10 {
            let Some(node) = self.nodes.next() else {
                self.raw.extend_from_slice(&[0; 1024]);
                self.done = true;
                return Ok(());
            };
            self.entry(node)?;
        }
        Ok(())
    }

    fn entry(&mut self, node: Node<'a>) -> Result<(), CopyError> {
        let Attributes {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        } = node.attributes;
        if node.path.is_empty() && (mode, uid, gid) == (0o755, 0, 0) && xattrs.is_empty() {
            // Every layer's root starts so.
            return Ok(());
        }
        let mut entry = Entry {
            path: node.path,
            mode,
            uid,
            gid,
            // Whole seconds, as in every layer made here.
            mtime: mtime.0,
            xattrs,
            ..Entry::default()
        };
        match node.kind {
            NodeKind::Dir { .. } => entry.kind = Kind::Dir,
            NodeKind::Symlink(target) => {
                entry.kind = Kind::Symlink;
                entry.target = target.as_os_str().as_bytes().to_vec();
            }
            NodeKind::Special(special) => {
                entry.kind = match special {
                    Special::Char { major, minor } => Kind::Char { major, minor },
                    Special::Block { major, minor } => Kind::Block { major, minor },
                    Special::Fifo => Kind::Fifo,
                };
            }
            NodeKind::Item(item, content) => {
                entry.size = item.stamp.size;
                self.payload = Payload::Item(Reading::open(self.source, item, content.as_ref())?);
            }
            NodeKind::Text(text) => {
                entry.size = text.len() as u64;
                self.payload = Payload::Text(text.as_bytes());
            }
            NodeKind::File(file, size) => {
                entry.size = size;
                self.payload = Payload::File { file, at: 0, size };
            }
        }
        self.size = entry.size;
        encode_header(&entry, &mut self.raw);
        Ok(())
    }
}

impl Read for LayerStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.next(buffer).map_err(|error| {
            let text = error.to_string();
            self.failure.put(error);
            io::Error::other(text)
        })
    }
}
