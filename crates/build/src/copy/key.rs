//! The content key of files: names, modes, owners, attributes and bytes. Never times.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use havre_oci::{Algorithm, Digest, Digester};
use havre_sys::rooted::{Mode, OFlags, Root};

use super::{Item, ItemKind};
use crate::files::Special;

/// One digest over everything that decides what a copy of `items` makes. Contents are read on all processors.
pub(crate) fn content_digest(root: &Root, items: &[Item]) -> io::Result<Digest> {
    let contents = contents(root, items)?;
    let mut digester = Digester::new(Algorithm::Sha256);
    let mut field = |bytes: &[u8]| {
        digester.update(&(bytes.len() as u64).to_le_bytes());
        digester.update(bytes);
    };
    for (item, content) in items.iter().zip(contents) {
        field(item.target.as_os_str().as_bytes());
        match &item.kind {
            ItemKind::File => field(b"file"),
            ItemKind::Dir => field(b"dir"),
            ItemKind::Symlink(to) => {
                field(b"link");
                field(to.as_os_str().as_bytes());
            }
            ItemKind::Special(special) => {
                let (kind, major, minor) = match special {
                    Special::Char { major, minor } => ("char", *major, *minor),
                    Special::Block { major, minor } => ("block", *major, *minor),
                    Special::Fifo => ("fifo", 0, 0),
                };
                field(format!("{kind} {major} {minor}").as_bytes());
            }
        }
        let attributes = &item.attributes;
        field(format!("{:o} {} {}", attributes.mode, attributes.uid, attributes.gid).as_bytes());
        field(&(attributes.xattrs.len() as u64).to_le_bytes());
        for (name, value) in &attributes.xattrs {
            field(name);
            field(value);
        }
        if let Some(content) = content {
            field(content.as_str().as_bytes());
        }
    }
    Ok(digester.finish())
}

/// Digests of the regular files' bytes, in the order of `items`.
fn contents(root: &Root, items: &[Item]) -> io::Result<Vec<Option<Digest>>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Digest>>> = Mutex::new(vec![None; items.len()]);
    let work = || -> io::Result<()> {
        let mut buffer = vec![0_u8; 256 << 10];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return Ok(());
            };
            if item.kind == ItemKind::File {
                let digest = digest_file(root, item, &mut buffer)?;
                results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(digest);
            }
        }
    };
    let bytes: u64 = items.iter().map(|item| item.size).sum();
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
                    .unwrap_or_else(|_| Err(io::Error::other("a hashing thread panicked")))
            })
        })?;
    }
    Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn digest_file(root: &Root, item: &Item, buffer: &mut [u8]) -> io::Result<Digest> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = std::fs::File::from(root.open_at(&item.source, flags, Mode::empty())?);
    let mut digester = Digester::new(Algorithm::Sha256);
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(length) => digester.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("{}: {error}", item.source.display()),
                ));
            }
        }
    }
}
