//! Files of a context, read while somebody may be changing them.
//!
//! A file counts as read only if the kernel says the same of it before and after, and the same as when it was listed. What
//! is too young for the kernel's word is compared by its digest as well when it is read a second time.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use havre_oci::{Algorithm, Digester};
use havre_sys::rooted::{Mode, OFlags, Root};

use super::{CopyError, Item, ItemKind};
use crate::context::{Hashes, Sha256, Stamp, now, raw};

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// What is known of an item's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Sha256,
    /// Whether an equal stamp proves equal bytes.
    settled: bool,
}

/// The contents of the regular files among `items`, in their order; what `hashes` does not know is read, on all
/// processors.
pub(crate) fn contents(
    root: &Root,
    items: &[Item],
    hashes: Option<&Hashes>,
) -> Result<Vec<Option<Content>>, CopyError> {
    let files: Vec<&Item> = items.iter().filter(|item| item.kind == ItemKind::File).collect();
    let known = match hashes {
        Some(hashes) => hashes.find(files.iter().map(|item| (key(item), &item.stamp))),
        None => vec![None; files.len()],
    };
    let unknown: Vec<&Item> = files
        .iter()
        .zip(&known)
        .filter(|(_, known)| known.is_none())
        .map(|(item, _)| *item)
        .collect();
    let read = read_all(root, &unknown)?;
    if let Some(hashes) = hashes {
        let lasting = unknown.iter().zip(&read).filter(|(_, read)| read.lasting);
        let lasting: Vec<_> = lasting
            .map(|(item, read)| (key(item), item.stamp, read.content.digest))
            .collect();
        if !lasting.is_empty() {
            hashes.add(lasting.into_iter());
        }
    }
    let mut read = read.into_iter();
    let mut known = known.into_iter();
    let contents = items.iter().map(|item| {
        if item.kind != ItemKind::File {
            return None;
        }
        let known = known.next().flatten().map(|digest| Content {
            digest,
            settled: true,
        });
        known.or_else(|| read.next().map(|read| read.content))
    });
    Ok(contents.collect())
}

fn key(item: &Item) -> &[u8] {
    item.source.as_os_str().as_bytes()
}

#[derive(Debug, Clone, Copy)]
struct Fresh {
    content: Content,
    /// May be remembered for other builds.
    lasting: bool,
}

fn read_all(root: &Root, items: &[&Item]) -> Result<Vec<Fresh>, CopyError> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Fresh>>> = Mutex::new(vec![None; items.len()]);
    let locals: Mutex<HashMap<u64, bool>> = Mutex::default();
    let work = || -> Result<(), CopyError> {
        let mut buffer = vec![0_u8; PIECE];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return Ok(());
            };
            let fresh = read(root, item, &mut buffer, &locals).inspect_err(|_| {
                // Nobody needs the rest.
                next.store(items.len(), Ordering::Relaxed);
            })?;
            results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(fresh);
        }
    };
    let bytes: u64 = items.iter().map(|item| item.stamp.size).sum();
    let threads = match items.len() > 256 || bytes > 16 << 20 {
        true => std::thread::available_parallelism().map_or(1, usize::from).min(8),
        false => 1,
    };
    if threads == 1 {
        work()?;
    } else {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a hashing thread panicked").into()))
            })
        })?;
    }
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(results.into_iter().flatten().collect())
}

fn read(
    root: &Root,
    item: &Item,
    buffer: &mut [u8],
    locals: &Mutex<HashMap<u64, bool>>,
) -> Result<Fresh, CopyError> {
    let started = now();
    let settled = item.stamp.settled(started);
    let mut reading = Reading::open(root, item, None)?;
    let local = {
        let mut locals = locals.lock().unwrap_or_else(PoisonError::into_inner);
        let of_file = || is_local(&reading.file);
        *locals.entry(item.stamp.device).or_insert_with(of_file)
    };
    let mut digester = Digester::new(Algorithm::Sha256);
    loop {
        match reading.next(buffer)? {
            0 => break,
            length => digester.update(&buffer[..length]),
        }
    }
    let content = Content {
        digest: raw(&digester.finish()),
        settled: settled && local,
    };
    Ok(Fresh {
        content,
        lasting: settled && local,
    })
}

/// Whether the kernel itself keeps the file system's times.
fn is_local(file: impl AsFd) -> bool {
    const NETWORK: [u32; 10] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
        0x0102_1997, // 9P
        0x6573_5546, // FUSE, virtiofs
        0x00c3_6400, // Ceph
        0x5346_414f, // AFS
        0x6b41_4653, // kAFS
        0x7461_636f, // OCFS2
    ];
    rustix::fs::fstatfs(file).is_ok_and(|status| !NETWORK.contains(&(status.f_type as u32)))
}

/// An item's file being read from its beginning to its end.
pub(crate) struct Reading<'a> {
    item: &'a Item,
    file: std::fs::File,
    left: u64,
    /// The digest to be found, if the stamp alone proves nothing.
    check: Option<Box<(Digester, Sha256)>>,
}

impl<'a> Reading<'a> {
    /// `content` is what an earlier reading found, if there was one.
    pub(crate) fn open(root: &Root, item: &'a Item, content: Option<&Content>) -> Result<Self, CopyError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match root.open_at(&item.source, flags, Mode::empty()) {
            Ok(fd) => std::fs::File::from(fd),
            // It was there a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(changed(item)),
            Err(error) => return Err(error.into()),
        };
        let check = content
            .filter(|content| !content.settled)
            .map(|content| Box::new((Digester::new(Algorithm::Sha256), content.digest)));
        let reading = Reading {
            item,
            file,
            left: item.stamp.size,
            check,
        };
        reading.compare()?;
        Ok(reading)
    }

    /// The file, for a reader of its own. Only [`compare`](Self::compare) can tell then whether it stayed as it was.
    pub(crate) fn file(&mut self) -> &mut std::fs::File {
        &mut self.file
    }

    pub(crate) fn compare(&self) -> Result<(), CopyError> {
        let status = rustix::fs::fstat(&self.file).map_err(|errno| failed(self.item, errno.into()))?;
        match Stamp::of(&status) == self.item.stamp {
            true => Ok(()),
            false => Err(changed(self.item)),
        }
    }

    /// The next bytes; 0 at the end, which is reached only if the file stayed as it was.
    pub(crate) fn next(&mut self, buffer: &mut [u8]) -> Result<usize, CopyError> {
        if self.left > 0 {
            let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let length = loop {
                match self.file.read(&mut buffer[..wanted]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other.map_err(|error| failed(self.item, error))?,
                }
            };
            if length == 0 {
                return Err(changed(self.item));
            }
            self.left -= length as u64;
            if let Some(check) = &mut self.check {
                check.0.update(&buffer[..length]);
            }
            return Ok(length);
        }
        self.compare()?;
        let differs = self
            .check
            .take()
            .is_some_and(|check| raw(&check.0.finish()) != check.1);
        match differs {
            true => Err(changed(self.item)),
            false => Ok(0),
        }
    }
}

/// Writes an item's bytes to `target`; how many.
pub(crate) fn pour(
    root: &Root,
    item: &Item,
    content: Option<&Content>,
    target: &mut dyn Write,
) -> Result<u64, CopyError> {
    let mut reading = Reading::open(root, item, content)?;
    let mut buffer = vec![
        0_u8;
        PIECE
            .min(usize::try_from(item.stamp.size).unwrap_or(PIECE))
            .max(1)
    ];
    loop {
        match reading.next(&mut buffer)? {
            0 => return Ok(item.stamp.size),
            length => target.write_all(&buffer[..length])?,
        }
    }
}

fn changed(item: &Item) -> CopyError {
    CopyError::Changed {
        path: item.source.display().to_string(),
    }
}

fn failed(item: &Item, error: io::Error) -> CopyError {
    shown(&item.source, &error)
}

fn shown(path: &Path, error: &io::Error) -> CopyError {
    io::Error::new(error.kind(), format!("{}: {error}", path.display())).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    use fs_err as fs;

    use super::*;
    use crate::context::IgnoreRules;
    use crate::copy::Tree;

    struct Home {
        dir: tempfile::TempDir,
        root: Root,
    }

    impl Home {
        fn new(text: &str) -> Self {
            let dir = tempfile::tempdir().expect("temp dir");
            fs::write(dir.path().join("f"), text).expect("written");
            let root = Root::open(dir.path()).expect("open");
            Home { dir, root }
        }

        fn items(&self) -> Vec<Item> {
            let rules = IgnoreRules::default();
            let tree = Tree {
                keyword: "COPY",
                root: &self.root,
                rules: Some(&rules),
                keep_owners: false,
            };
            let picked = tree.pick("f").expect("picked");
            tree.items(&picked[0], &rules).expect("items")
        }

        fn change(&self, text: &str) {
            let file = fs::File::options().write(true).open(self.dir.path().join("f"));
            let file = file.expect("open");
            file.file().write_all_at(text.as_bytes(), 0).expect("written");
        }
    }

    fn is_changed<T>(result: Result<T, CopyError>) -> bool {
        matches!(result, Err(CopyError::Changed { path }) if path == "f")
    }

    #[test]
    fn what_is_remembered_is_not_read() {
        let home = Home::new("text");
        std::thread::sleep(Duration::from_millis(80));
        let items = home.items();
        let hashes = Hashes::default();
        let read = contents(&home.root, &items, Some(&hashes)).expect("read");
        assert_eq!(read[0].map(|content| content.settled), Some(true));
        hashes.add([(&b"f"[..], items[0].stamp, [5; 32])].into_iter());
        let remembered = contents(&home.root, &items, Some(&hashes)).expect("read");
        assert_eq!(remembered[0].map(|content| content.digest), Some([5; 32]));
        let other = contents(&home.root, &items, None).expect("read");
        assert_eq!(other, read);
    }

    #[test]
    fn young_files_are_not_remembered_and_checked_twice() {
        let home = Home::new("text");
        let items = home.items();
        let hashes = Hashes::default();
        let read = contents(&home.root, &items, Some(&hashes)).expect("read");
        assert_eq!(read[0].map(|content| content.settled), Some(false));
        assert_eq!(hashes.find([(&b"f"[..], &items[0].stamp)].into_iter()), [None]);
        let mut out = Vec::new();
        assert_eq!(
            pour(&home.root, &items[0], read[0].as_ref(), &mut out).expect("poured"),
            4
        );
        assert_eq!(out, b"text");
        // As after a change within one tick: the stamp is the same, the bytes are not.
        let wrong = read[0].map(|content| Content {
            digest: [1; 32],
            ..content
        });
        assert!(is_changed(pour(
            &home.root,
            &items[0],
            wrong.as_ref(),
            &mut Vec::new()
        )));
    }

    #[test]
    fn changes_between_listing_and_the_end_of_reading_are_seen() {
        let home = Home::new(&"x".repeat(1 << 20));
        let items = home.items();
        std::thread::sleep(Duration::from_millis(20));
        let mut buffer = vec![0; 4096];
        let mut reading = Reading::open(&home.root, &items[0], None).expect("open");
        reading.next(&mut buffer).expect("read");
        home.change("changed");
        let rest = loop {
            match reading.next(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        assert!(is_changed(rest), "changed in the middle");
        assert!(
            is_changed(Reading::open(&home.root, &items[0], None)),
            "changed before"
        );
        assert!(is_changed(contents(&home.root, &items, None)), "changed before");

        let items = home.items();
        let mut reading = Reading::open(&home.root, &items[0], None).expect("open");
        let file = fs::File::options()
            .write(true)
            .open(home.dir.path().join("f"))
            .expect("open");
        file.set_len(5000).expect("cut");
        let mut total = 0;
        let cut = loop {
            match reading.next(&mut buffer) {
                Ok(length) => total += length,
                Err(error) => break Err::<(), _>(error),
            }
        };
        assert!(is_changed(cut));
        assert_eq!(total, 5000);
        fs::remove_file(home.dir.path().join("f")).expect("removed");
        assert!(is_changed(contents(&home.root, &items, None)), "gone");
    }
}
