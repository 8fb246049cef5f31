//! The list of what is in a layer.

use std::collections::HashMap;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use havre_explore::{Entry, Kind};
use havre_oci::compression;
use havre_oci::layer::{self, Class, LayerError, Limits, Reader};

/// What is in a layer, in the order of its archive.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) entries: Vec<Entry>,
    /// By path: which entry of the archive has the contents of the file, and its size.
    files: Vec<(u32, u64, u64)>,
}

/// Ends when the time is over.
struct Timed<R> {
    inner: R,
    until: Instant,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        self.inner.read(buffer)
    }
}

/// Takes no notice of how an archive is written.
type Careless = fn(layer::Segment<'_>) -> io::Result<()>;
/// A reader of what a blob holds.
pub(super) type Unpacked<'a> = Reader<Box<dyn Read + Send + 'a>, Careless>;

/// A reader of what a blob holds, however it is compressed.
pub(super) fn unpacked<'a>(
    blob: impl Read + Send + 'a,
    limits: Limits,
    most: Duration,
) -> Result<Unpacked<'a>, LayerError> {
    let until = Instant::now() + most;
    let bounds = compression::Limits {
        output: limits.size,
        ..Default::default()
    };
    let timed = Timed { inner: blob, until };
    let (_, plain) = compression::detecting_decoder(timed, bounds).map_err(LayerError::Read)?;
    // A little of a blob can become much of an archive.
    let plain: Box<dyn Read + Send + 'a> = Box::new(Timed { inner: plain, until });
    Ok(Reader::new(plain, limits, |_| Ok(())))
}

impl Index {
    /// Reads a layer to its end, within bounds.
    pub(super) fn read(
        blob: impl Read + Send,
        entries: usize,
        bytes: u64,
        time: Duration,
    ) -> Result<Self, LayerError> {
        let limits = Limits {
            entries: entries as u64,
            size: bytes,
            ..Default::default()
        };
        let mut reader = unpacked(blob, limits, time)?;
        let mut index = Self::default();
        let mut found = layer::Entry::default();
        // By path of a file: which entry has its contents, and how many bytes they are.
        let mut files: HashMap<Vec<u8>, (u64, u64)> = HashMap::new();
        let mut number = 0;
        while reader.next_entry(&mut found)? {
            let at = number;
            number += 1;
            let mut entry = Entry {
                path: found.path.clone(),
                kind: kind(&found),
                size: 0,
                mode: found.mode,
                uid: found.uid,
                gid: found.gid,
                mtime: found.mtime,
                inode: 0,
            };
            match &found.class {
                Class::Normal => {}
                Class::Whiteout { path } => (entry.path, entry.kind) = (path.clone(), Kind::Removed),
                Class::Opaque { dir } => {
                    (entry.path, entry.kind) = (dir.clone(), Kind::Directory { opaque: true });
                    (entry.mode, entry.mtime) = (0o755, 0);
                }
                Class::Metadata => continue,
            }
            if entry.kind == Kind::File {
                let contents = match found.kind {
                    layer::Kind::Hardlink => files.get(&found.target).copied(),
                    _ => Some((at, found.size)),
                };
                // A link to a file of a layer below has no contents of its own.
                let (at, size) = contents.unwrap_or((at, 0));
                (entry.inode, entry.size) = (at + 1, size);
                files.insert(entry.path.clone(), (at, size));
            } else {
                files.remove(&entry.path);
            }
            index.entries.push(entry);
        }
        reader.finish()?;
        let at = |at: &usize| &index.entries[*at].path;
        let mut order: Vec<usize> = (0..index.entries.len())
            .filter(|number| files.contains_key(at(number)))
            .collect();
        order.sort_by(|one, two| at(one).cmp(at(two)));
        order.dedup_by(|one, two| at(one) == at(two));
        index.files = order
            .iter()
            .filter_map(|number| {
                let (entry, size) = files.get(at(number))?;
                Some((u32::try_from(*number).ok()?, *entry, *size))
            })
            .collect();
        Ok(index)
    }

    /// Which entry of the archive has the contents of a file, and its size.
    pub(super) fn file(&self, path: &[u8]) -> Option<(u64, u64)> {
        let path_of =
            |(number, ..): &(u32, u64, u64)| self.entries.get(*number as usize).map(|entry| &entry.path[..]);
        let found = self
            .files
            .binary_search_by(|place| path_of(place).unwrap_or_default().cmp(path));
        let (_, entry, size) = self.files.get(found.ok()?)?;
        Some((*entry, *size))
    }
}

fn kind(entry: &layer::Entry) -> Kind {
    match entry.kind {
        layer::Kind::File | layer::Kind::Hardlink => Kind::File,
        layer::Kind::Dir => Kind::Directory { opaque: false },
        layer::Kind::Symlink => Kind::Link {
            target: entry.target.clone(),
        },
        layer::Kind::Char { major, minor } => Kind::Char { major, minor },
        layer::Kind::Block { major, minor } => Kind::Block { major, minor },
        layer::Kind::Fifo => Kind::Fifo,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use havre_testing::{Compression, Layer};

    use super::*;
    use crate::layers::contents;

    const SOON: Duration = Duration::from_secs(60);

    fn index(blob: &[u8]) -> Result<Index, LayerError> {
        Index::read(blob, 1000, 1 << 30, SOON)
    }

    #[test]
    fn all_kinds_of_entries_however_they_are_compressed() {
        let tar = Layer::new()
            .dir("etc")
            .file("etc/a", "old")
            .file("etc/b", "one")
            .hardlink("etc/c", "etc/b")
            .symlink("etc/d", "b")
            .whiteout("etc/gone")
            .file("etc/a", "newer")
            .tar();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let blob = compression.compress(&tar);
            let index = index(&blob).expect("a list");
            let read = |path: &[u8]| {
                let (entry, size) = index.file(path)?;
                let mut bytes = Vec::new();
                let mut each = |piece: &[u8]| {
                    bytes.extend_from_slice(piece);
                    std::ops::ControlFlow::Continue(())
                };
                contents::read(&blob[..], entry, 1 << 30, &mut each).expect("contents");
                assert_eq!(bytes.len() as u64, size);
                String::from_utf8(bytes).ok()
            };
            assert_eq!(read(b"etc/a").as_deref(), Some("newer"));
            assert_eq!(read(b"etc/c").as_deref(), Some("one"));
            assert_eq!(read(b"etc/d"), None);
            assert_eq!(read(b"etc/gone"), None);
            assert_eq!(index.entries.len(), 7);
            assert_eq!(index.entries[5].kind, Kind::Removed);
            assert_eq!(index.entries[3].inode, index.entries[2].inode);
        }
    }

    #[test]
    fn what_asks_for_too_much_is_refused() {
        let mut layer = Layer::new();
        for number in 0..1001 {
            layer = layer.file(&format!("f{number}"), "");
        }
        let many = index(&layer.tar()).expect_err("too many");
        assert!(matches!(many, LayerError::TooManyEntries { .. }), "{many}");
        let zeros = Layer::new().file("zeros", vec![0; 200 << 20]).tar();
        let bomb = Compression::Zstd.compress(&zeros);
        assert!(bomb.len() < 1 << 20);
        assert!(index(&bomb).is_err());
        let large = Index::read(&zeros[..], 1000, 1 << 20, SOON).expect_err("too large");
        assert!(large.to_string().contains("larger than") || matches!(large, LayerError::Read(_)));
        let late = Index::read(&zeros[..], 1000, 1 << 30, Duration::ZERO).expect_err("too late");
        assert!(
            matches!(&late, LayerError::Read(error) if error.kind() == io::ErrorKind::TimedOut),
            "{late}"
        );
        assert!(index(b"\x1f\x8b\x08 no archive at all").is_err());
        assert!(index(&[b'x'; 5000]).is_err());
    }
}
