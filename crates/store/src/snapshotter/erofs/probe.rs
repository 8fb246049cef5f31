//! What the machine can mount, found out by doing it.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fs_err as fs;
use havre_erofs::{BlockSize, DATA_START, Layout, Metadata, Node, Options, Tree};
use havre_sys::erofs::Backing;
use havre_sys::mount;

use crate::layout::STAGED_LAYER;
use crate::snapshotter::{FS, IMAGE, Stack, Upper};
use crate::{Result, StoreError};

/// Mounts a tiny image below an overlay, in a directory of its own in `scratch`, and reads a file.
pub(in crate::snapshotter) fn attempt(scratch: &Path, backing: Backing, aligned: bool) -> Result<()> {
    let block = if aligned {
        BlockSize::B4096
    } else {
        BlockSize::B512
    };
    let dir = tempfile::Builder::new()
        .prefix(STAGED_LAYER)
        .tempdir_in(scratch)
        .map_err(StoreError::at("create a directory in", scratch))?;
    let path = |name: &str| dir.path().join(name);
    let [target, merged, upper, work] = [FS, "merged", "upper", "work"].map(path);
    for dir in [&target, &merged, &upper, &work] {
        fs::create_dir(dir).map_err(StoreError::at("create", dir))?;
    }
    let image = path(IMAGE);
    // At one block's bound and more than a page long, so that reading it means reading at every bound there may be.
    let contents: Vec<u8> = (0..9000_u32).map(|n| n as u8).collect();
    write(&image, block, &contents)?;

    let mounted = |source| StoreError::Mount {
        target: target.clone(),
        source,
    };
    let outcome = havre_sys::erofs::mount(&image, &target, backing)
        .map_err(mounted)
        .and_then(|()| read(&target.join("file"), &contents))
        // The kernel counts how many file systems lie on each other.
        .and_then(|()| {
            let upper = Upper::Writable {
                upper: &upper,
                work: &work,
            };
            Stack::new(&path("empty"))?.mount(std::slice::from_ref(&target), upper, &merged)
        })
        .and_then(|()| read(&merged.join("file"), &contents));
    for target in [&merged, &target] {
        mount::unmount(target, true).map_err(mounted)?;
    }
    outcome
}

fn write(path: &Path, block: BlockSize, contents: &[u8]) -> Result<()> {
    let failed = |error| StoreError::io("write", path, error);
    let invalid = |error| failed(io::Error::other(error));
    let offset = DATA_START + block.bytes();
    let mut tree = Tree::new(Options {
        block,
        ..Options::default()
    });
    let node = Node::File {
        offset,
        size: contents.len() as u64,
    };
    let metadata = Metadata {
        mode: 0o644,
        ..Metadata::default()
    };
    tree.add(b"file", node, &metadata, &[]).map_err(invalid)?;
    let layout = Layout::new(tree, offset + contents.len() as u64).map_err(invalid)?;
    let mut bytes = Vec::new();
    layout.write_metadata(&mut bytes).map_err(invalid)?;
    let file = fs::File::create(path).map_err(StoreError::at("create", path))?;
    let at = |bytes: &[u8], offset| file.file().write_all_at(bytes, offset).map_err(failed);
    at(contents, offset)?;
    at(&bytes, layout.offset())?;
    at(&layout.superblock([0; 16]), 0)
}

fn read(path: &Path, expected: &[u8]) -> Result<()> {
    let mut read = Vec::new();
    let opened = fs::File::open(path).map_err(StoreError::at("open", path))?;
    opened
        .take(expected.len() as u64 + 1)
        .read_to_end(&mut read)
        .map_err(StoreError::at("read", path))?;
    if read == expected {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        path: path.to_path_buf(),
        reason: "the kernel shows other bytes than were written".to_owned(),
    })
}
