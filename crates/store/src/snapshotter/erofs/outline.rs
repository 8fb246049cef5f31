//! What is in a layer that is not here: its entries, without their contents.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use havre_erofs::{BlockSize, DATA_START, Layout, Options, Tree};
use havre_oci::layer::Entry;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::writer::{At, Refused, add, refused};
use crate::layers::LayerTree;
use crate::{ApplyError, Result, StoreError};

/// Bytes the entries of one layer may take in memory: four million with names of some 25 bytes.
const MEMORY: u64 = 256 << 20;
/// What addresses are multiples of.
const UNIT: u64 = 512;

/// Entries of a layer's archive, collected as unpacking them would. The contents of each file have an address, by which
/// whoever has them finds them; nothing is at it here.
#[derive(Clone, Debug)]
pub struct Outline {
    tree: Tree,
    /// Where the last address ends.
    end: u64,
}

impl Default for Outline {
    fn default() -> Self {
        let options = Options {
            block: BlockSize::B512,
            memory: MEMORY,
        };
        Self {
            tree: Tree::new(options),
            end: 0,
        }
    }
}

impl Outline {
    /// Adds an entry, whose contents, if it is a file with any, have the `address`: a multiple of 512, below 2^40, and no
    /// other's.
    pub fn add(&mut self, entry: &Entry, address: u64) -> Result<(), ApplyError> {
        debug_assert!(address.is_multiple_of(UNIT));
        let end = address.saturating_add(entry.size);
        add(&mut self.tree, entry, DATA_START + address, None).map_err(|error| match error {
            Refused::Memory => ApplyError::Limit {
                what: "bytes of names and attributes",
                limit: MEMORY,
            },
            Refused::Entry(error) => error,
        })?;
        self.end = self.end.max(end);
        Ok(())
    }

    /// The tree of all entries, in a file without a name in `directory`.
    pub(crate) fn tree(self, directory: &Path) -> Result<LayerTree, ApplyError> {
        let failed = |error| StoreError::io("write a file in", directory, error);
        let file = nameless(directory)?;
        let layout =
            Layout::new(self.tree, DATA_START + self.end).map_err(|error| refused(directory, error))?;
        let mut output = std::io::BufWriter::new(At::new(&file, layout.offset()));
        layout
            .write_metadata(&mut output)
            .map_err(|error| refused(directory, error))?;
        output.flush().map_err(failed)?;
        drop(output);
        std::os::unix::fs::FileExt::write_all_at(file.file(), &layout.superblock([0; 16]), 0)
            .map_err(failed)?;
        let size = layout.size();
        file.set_len(size).map_err(failed)?;
        Ok(LayerTree::of_outline(file, size))
    }
}

/// A new file without a name.
pub(crate) fn nameless(directory: &Path) -> Result<fs::File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let made = openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR);
    let made = made.map_err(|errno| StoreError::io("make a file in", directory, errno.into()))?;
    Ok(fs::File::from_parts(std::fs::File::from(made), directory))
}

#[cfg(test)]
mod tests {
    use havre_oci::layer::{Class, Kind};

    use super::*;
    use crate::TreeKind;

    fn entry(path: &[u8], kind: Kind, size: u64) -> Entry {
        Entry {
            path: path.to_vec(),
            kind,
            size,
            mode: 0o644,
            ..Entry::default()
        }
    }

    #[test]
    fn entries_are_found_with_the_address_of_their_contents() {
        let mut outline = Outline::default();
        outline.add(&entry(b"a/b", Kind::File, 700), 1 << 30).unwrap();
        outline.add(&entry(b"empty", Kind::File, 0), 0).unwrap();
        let link = Entry {
            target: b"a/b".to_vec(),
            ..entry(b"c", Kind::Hardlink, 0)
        };
        outline.add(&link, 0).unwrap();
        let gone = Entry {
            class: Class::Whiteout {
                path: b"gone".to_vec(),
            },
            ..entry(b".wh.gone", Kind::File, 0)
        };
        outline.add(&gone, 0).unwrap();
        let aside = tempfile::tempdir().unwrap();
        let some = outline.clone().tree(aside.path()).unwrap();
        outline.add(&entry(b"late", Kind::File, 1), 512).unwrap();
        let all = outline.tree(aside.path()).unwrap();
        for tree in [&some, &all] {
            assert_eq!(tree.address(b"a/b").unwrap(), Some((1 << 30, 700)));
            assert_eq!(tree.address(b"c").unwrap(), Some((1 << 30, 700)));
            assert_eq!(tree.address(b"empty").unwrap(), Some((0, 0)));
            assert_eq!(tree.address(b"a").unwrap(), None);
            assert_eq!(tree.find(b"gone").unwrap().unwrap().kind, TreeKind::Whiteout);
        }
        assert!(some.find(b"late").unwrap().is_none() && all.find(b"late").unwrap().is_some());
        assert_eq!(fs::read_dir(aside.path()).unwrap().count(), 0);
    }
}
